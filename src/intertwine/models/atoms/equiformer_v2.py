"""EquiformerV2 (arXiv:2306.12059): an equivariant transformer for high degrees, energies and direct forces of atoms."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from intertwine.nn.graph import nearest_edges
from intertwine.nn.radial import Gaussian, PolynomialEnvelope
from intertwine.nn.sphere_mlp import GridMLP
from intertwine.so3 import EdgeFrame, Irreps, S2Grid

from .equiformer_layers import (
    ATTENTION_ACTIVATIONS,
    FEED_FORWARDS,
    NORMS,
    Block,
    EdgeDegreeEmbedding,
    Edges,
    FeedForwardS2,
    Sizes,
    SO2Attention,
    normalization,
    normalized,
)

# The published sizes by their numbers of parameters (90 species), and one for tests and small molecules.
PRESETS = MappingProxyType(
    {
        "31M": {"degree": 4, "order": 2, "layers": 8},
        "83M": {"degree": 6, "order": 2, "layers": 12},
        "153M": {"degree": 6, "order": 3, "layers": 20},
        "tiny": {
            **{"degree": 2, "order": 2, "layers": 2, "channels": 16, "attn_hidden": 16, "heads": 2},
            **{"alpha_channels": 8, "value_channels": 8, "ffn_hidden": 16, "n_gaussian": 32, "edge_channels": 16},
            **{"cutoff": 5.0, "max_neighbors": None, "avg_nodes": 1.0, "alpha_drop": 0.0, "path_drop": 0.0},
        },
    }
)


class EquiformerV2(nn.Module):
    """One number and one vector per atom from its surroundings within `cutoff` Å; a `Backbone` with a force head.

    degree, order: L, and the highest order M kept in the frame of an edge; channels: of every degree; attn_hidden,
    heads, alpha_channels, value_channels: widths of the attention; ffn_hidden: of the feed-forward; layers: blocks;
    max_neighbors: each atom hears its nearest only (None: all); n_gaussian, edge_channels: of the radial networks.
    norm, attn_activation, ffn: the parts that the paper compares ("layer_norm_sh", "s2_sep", "grid_mlp" are its own),
    as is attn_renorm. grid: (β, α) points of equispaced grids on the sphere, or "exact:1e-4" for the smallest grids of
    a smaller error; "gate" for both nonlinearities needs no grid and is equivariant to rounding.
    envelope: edges fade at the cutoff, so that forces may be gradients; needs max_neighbors=None. force_head=False
    leaves the vectors out. alpha_drop, path_drop: dropout of attention, and of whole branches for a graph, in training.
    avg_nodes: numbers are divided by it; avg_num_neighbors: n̄ of the edge-degree embedding; generator: of the weights.
    Rotations and translations only: reflections are no symmetry of it. `PRESETS` holds the published sizes.
    Raises ValueError for sizes below 1, an unknown part, and an envelope with max_neighbors.
    """

    symmetry = "SO(3)"
    sees_graphs = True

    def __init__(
        self,
        species: Sequence[str],
        *,
        cutoff: float = 12.0,
        degree: int = 6,
        order: int = 2,
        channels: int = 128,
        attn_hidden: int = 64,
        heads: int = 8,
        alpha_channels: int = 64,
        value_channels: int = 16,
        ffn_hidden: int = 128,
        layers: int = 12,
        max_neighbors: int | None = 20,
        n_gaussian: int = 600,
        edge_channels: int = 128,
        norm: Literal["layer_norm_sh", "rms_norm_sh", "layer_norm"] = "layer_norm_sh",
        attn_activation: Literal["s2_sep", "s2", "gate"] = "s2_sep",
        ffn: Literal["grid_mlp", "s2_sep", "gate"] = "grid_mlp",
        grid: Sequence[int] | str = (18, 18),
        attn_renorm: bool = True,
        envelope: bool = False,
        force_head: bool = True,
        alpha_drop: float = 0.1,
        path_drop: float = 0.05,
        avg_nodes: float = 77.81,
        avg_num_neighbors: float = 23.40,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.config: dict[str, Any] = {
            **{"degree": degree, "order": order, "channels": channels, "attn_hidden": attn_hidden, "heads": heads},
            **{"alpha_channels": alpha_channels, "value_channels": value_channels, "ffn_hidden": ffn_hidden},
            **{"layers": layers, "max_neighbors": max_neighbors, "n_gaussian": n_gaussian},
            **{"edge_channels": edge_channels, "norm": norm, "attn_activation": attn_activation, "ffn": ffn},
            **{"grid": grid if isinstance(grid, str) else list(grid), "attn_renorm": attn_renorm},
            **{"envelope": envelope, "force_head": force_head, "alpha_drop": alpha_drop, "path_drop": path_drop},
            **{"avg_nodes": avg_nodes, "avg_num_neighbors": avg_num_neighbors},
        }
        _check(self.config)
        self.cutoff, self.degree, self.order, self.max_neighbors = float(cutoff), degree, order, max_neighbors
        self.direct_forces, self.smooth, self.avg_nodes = force_head, envelope, avg_nodes
        grids = _grids(grid, degree)
        shared = {name: self.config[name] for name in Sizes.__dataclass_fields__ if name in self.config}
        sizes = Sizes(species=len(species), edge_grid=grids[0], node_grid=grids[1], **shared)
        self.gaussians = Gaussian(self.cutoff, n_gaussian, width=2.0)
        self.envelope = PolynomialEnvelope(self.cutoff) if envelope else None
        self.embedding = nn.Parameter(torch.randn(len(species), channels, generator=generator))
        self.edge_degree = EdgeDegreeEmbedding(sizes, avg_num_neighbors, generator)
        self.blocks = nn.ModuleList(Block(sizes, generator) for _ in range(layers))
        self.norm = normalization(sizes)
        self.energy_head = FeedForwardS2(sizes, 1, generator)
        self.force_head = SO2Attention(sizes, 1, generator, drop=0.0) if force_head else None

    @property
    def rep_features(self) -> Irreps:
        """The representation of `features`, flattened."""
        return Irreps.spherical(self.degree, self.config["channels"], None)

    def forward(
        self,
        species: Int[Tensor, " atoms"],
        vectors: Float[Tensor, "edges 3"],
        edge_index: Int[Tensor, "2 edges"],
        graph: Int[Tensor, " atoms"] | None = None,
    ) -> Float[Tensor, " atoms"] | tuple[Float[Tensor, " atoms"], Float[Tensor, "atoms 3"]]:
        """A number for each atom, and with `force_head` a vector. graph: of each atom; None: all of one."""
        x, edges = self._features(species, vectors, edge_index, graph)
        energies = self.energy_head(x)[:, 0, 0] / self.avg_nodes
        if self.force_head is None:
            return energies
        return energies, self.force_head(x, edges)[:, 1:4, 0]  # degree 1 is (x, y, z)

    def features(
        self,
        species: Int[Tensor, " atoms"],
        vectors: Float[Tensor, "edges 3"],
        edge_index: Int[Tensor, "2 edges"],
        graph: Int[Tensor, " atoms"] | None = None,
    ) -> Float[Tensor, "atoms (degree+1)**2 channels"]:
        """What the heads read: degrees 0..L of each atom after the last norm, rows l² + l + m."""
        return self._features(species, vectors, edge_index, graph)[0]

    def _features(
        self, species: Tensor, vectors: Tensor, edge_index: Tensor, graph: Tensor | None
    ) -> tuple[Tensor, Edges]:
        edges = self._edges(species, vectors, edge_index)
        x = self.edge_degree(edges, species.shape[0])
        start = self.embedding.index_select(0, species)
        x = torch.cat([x[:, :1] + start[:, None], x[:, 1:]], 1)
        for block in self.blocks:
            x = block(x, edges, graph)
        return normalized(self.norm, x), edges

    def _edges(self, species: Tensor, vectors: Tensor, edge_index: Tensor) -> Edges:
        length, weight = torch.linalg.vector_norm(vectors, dim=1), None
        if self.envelope is not None:
            weight = self.envelope(length)
        elif self.max_neighbors is not None:
            kept = nearest_edges(length, edge_index[1], species.shape[0], self.max_neighbors)
            if torch.compiler.is_compiling():  # sizes that depend on data would break the graph
                weight = kept.to(length.dtype)
            else:
                vectors, edge_index, length = vectors[kept], edge_index[:, kept], length[kept]
        source, target = edge_index
        frame = EdgeFrame.from_vectors(vectors, self.degree, self.order)
        return Edges(source, target, frame, self.gaussians(length), species[source], species[target], weight)


def _grids(grid: Sequence[int] | str, degree: int) -> tuple[S2Grid | str, S2Grid]:
    """The grid about an edge, and that of an atom: sought once, for a small perceptron like those of all layers."""
    if not isinstance(grid, str):
        return (S2Grid.uniform(*grid),) * 2
    return grid, GridMLP(Irreps.spherical(degree, 8, None), (8, 8), grid=grid).grid


def _check(config: dict[str, Any]) -> None:
    parts = (("norm", NORMS), ("attn_activation", ATTENTION_ACTIVATIONS), ("ffn", FEED_FORWARDS))
    for name, known in parts:
        if config[name] not in known:
            raise ValueError(f"EquiformerV2: {name} must be one of {', '.join(known)}, got {config[name]!r}")
    least = dict.fromkeys(("degree", "channels", "attn_hidden", "heads", "alpha_channels", "value_channels"), 1)
    least |= {"ffn_hidden": 1, "layers": 1, "edge_channels": 1, "n_gaussian": 2, "max_neighbors": 1}
    for name, smallest in least.items():
        if config[name] is not None and config[name] < smallest:
            raise ValueError(f"EquiformerV2: {name} must be at least {smallest}, got {config[name]}")
    if not 0 <= config["order"] <= config["degree"]:
        raise ValueError(f"EquiformerV2: order must be from 0 to degree={config['degree']}, got {config['order']}")
    if not (0 <= config["alpha_drop"] < 1 and 0 <= config["path_drop"] < 1):
        raise ValueError(
            f"EquiformerV2: alpha_drop and path_drop must be in [0, 1), got {config['alpha_drop']}, "
            f"{config['path_drop']}"
        )
    if not isinstance(config["grid"], str) and len(config["grid"]) != 2:
        raise ValueError(
            f'EquiformerV2: grid must be two numbers of points or "exact:" and an error, got {config["grid"]}'
        )
    for name in ("avg_nodes", "avg_num_neighbors"):
        if not config[name] > 0:
            raise ValueError(f"EquiformerV2: {name} must be positive, got {config[name]}")
    if config["envelope"] and config["max_neighbors"] is not None:
        raise ValueError(
            f"EquiformerV2: with envelope=True edges fade at the cutoff, but max_neighbors={config['max_neighbors']} "
            "cuts some off before; pass max_neighbors=None"
        )
