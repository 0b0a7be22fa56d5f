"""Facet (arXiv:2509.08418): messages weighted by a linear basis of the distance, nodes mixed at points of a sphere."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from intertwine.nn.gate import Gate
from intertwine.nn.linear import Linear
from intertwine.nn.norm import SeparableLayerNorm
from intertwine.nn.radial import ExpSwitch
from intertwine.nn.scaled import mixed, normal
from intertwine.nn.sphere_mlp import ChannelMLP, SphereMLP
from intertwine.so3 import EdgeConv, Irrep, Irreps, S2Grid, spherical_harmonics

from .message_weights import LinearWeights, NetworkWeights, splined


class Facet(nn.Module):
    """One number per atom from its surroundings within `cutoff` Å; a `Backbone` for `Potential`.

    irreps: of the features of each layer; written with parities the network keeps E(3), without SE(3). A last layer of
    `out_channels` scalars follows. embed: channels of a species; radial: weights of the messages as functions of the
    distance, "spline" (cubic, `n_knots` intervals), "bessel_linear" (`n_bessel` functions with trainable frequencies),
    or the hidden widths of a network of the latter, such as (64, 64). node: "s2_mlp", a perceptron of mlp_hidden and
    mlp_heads at every point of a sphere, equivariant as far as `grid` goes (an error, as in `nn.SphereMLP`, or numbers
    of β and α); or "gate", exact. Messages are summed with n̄^(-norm_power), n̄ being avg_num_neighbors.
    trainable_cutoff: the radius at which messages end is learned, never above `cutoff`; it starts at 0.95 of it.
    Updates are normalised and start at zero: a new network sees the species alone. Differs from the published one in
    that nothing is dropped at random. Raises ValueError for sizes below 1, names that do not exist, irreps that repeat.
    """

    def __init__(
        self,
        species: Sequence[str],
        *,
        cutoff: float = 6.0,
        irreps: Sequence[str] = ("128x0 + 64x1 + 32x2",) * 2,
        out_channels: int = 64,
        embed: int = 64,
        radial: Literal["spline", "bessel_linear"] | Sequence[int] = "spline",
        n_bessel: int = 8,
        n_knots: int = 12,
        node: Literal["s2_mlp", "gate"] = "s2_mlp",
        grid: str | Sequence[int] = "exact:1e-3",
        mlp_hidden: int = 16,
        mlp_heads: int = 2,
        norm_power: float = 0.7,
        trainable_cutoff: bool = True,
        avg_num_neighbors: float = 1.0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        wanted = [Irreps(text) for text in irreps]
        _check(species, irreps, wanted, out_channels, embed, radial, node, avg_num_neighbors)
        self.cutoff = float(cutoff)
        self.config: dict[str, Any] = {
            **{"irreps": [str(rep) for rep in wanted], "out_channels": out_channels, "embed": embed, "node": node},
            **{"radial": radial if isinstance(radial, str) else list(radial), "n_bessel": n_bessel, "n_knots": n_knots},
            **{"grid": grid if isinstance(grid, str) else list(grid), "mlp_hidden": mlp_hidden, "mlp_heads": mlp_heads},
            **{"norm_power": float(norm_power), "trainable_cutoff": bool(trainable_cutoff)},
            "avg_num_neighbors": float(avg_num_neighbors),
        }
        scalar = Irrep(0, wanted[0].blocks[0][0].p and 1)
        self.symmetry = "SO(3)" if scalar.p is None else "O(3)"
        self.degree = max(rep.lmax for rep in wanted)
        self.embedding = normal(generator, len(species), embed)
        update = {"node": node, "grid": grid, "hidden": mlp_hidden, "heads": mlp_heads, "generator": generator}
        rep, scale = Irreps([(embed, scalar)]), float(avg_num_neighbors) ** -norm_power
        self.layers = nn.ModuleList()
        for out in (*wanted, Irreps([(out_channels, scalar)])):
            self.layers.append(FacetLayer(rep, self.degree, out, scale=scale, **update))
            rep = self.layers[-1].rep_out
        shapes = [layer.conv.weight_shape for layer in self.layers]
        if isinstance(radial, str):
            count = n_knots if radial == "spline" else n_bessel
            self.radial: nn.Module = LinearWeights(radial, count, shapes, generator=generator)
        else:
            self.radial = NetworkWeights(radial, n_bessel, shapes, generator=generator)
        self.envelope = ExpSwitch(1.0)
        self.logit = nn.Parameter(torch.tensor(math.log(0.95 / 0.05))) if trainable_cutoff else None
        self.readout = normal(generator, out_channels, 1)

    @property
    def radius(self) -> Tensor | float:
        """Where messages end, Å."""
        return self.cutoff if self.logit is None else self.cutoff * torch.sigmoid(self.logit)

    def forward(
        self, species: Int[Tensor, " atoms"], vectors: Float[Tensor, "edges 3"], edge_index: Int[Tensor, "2 edges"]
    ) -> Float[Tensor, " atoms"]:
        """Unscaled atom energies; `vectors` point from each edge's target to its source, Å."""
        source, target = edge_index
        x = torch.linalg.vector_norm(vectors, dim=1) / self.radius
        u = self.envelope(x)
        Y = spherical_harmonics(vectors, self.degree)
        if self.radial.linear:  # the envelope may as well stand here, where it meets fewest numbers
            Y = Y * u[:, None]
        h = self.embedding.index_select(0, species)
        for layer, weight in zip(self.layers, self.radial(x, u)):
            h = layer(h, Y, weight, source, target)
        return mixed(h, self.readout).squeeze(1)

    @torch.no_grad()
    def splinified(self, n_knots: int = 512) -> "Facet":
        """The same network with splines in place of its radial functions, fitted; for evaluation, float64 on the CPU.

        A trained network of distances becomes one look-up of four rows, whatever its widths.
        """
        species = [str(i) for i in range(len(self.embedding))]
        config = {**self.config, "radial": "spline", "n_knots": n_knots}
        other = Facet(species, cutoff=self.cutoff, **config).double()
        rest = {name: value for name, value in self.state_dict().items() if not name.startswith("radial.")}
        other.load_state_dict(rest, strict=False)
        other.radial = splined(self.radial, n_knots, self.envelope)
        return other.train(self.training)


class FacetLayer(nn.Module):
    """h ← h + s · norm(node(W₂ Σ_j w(r_ij) ⊙ (h_j ⊗ Y(r̂_ij)) + W_a h_i)), s starting at zero.

    h is cut, or continued by zeros, where channels differ. Features of `rep_in` to `rep_out`: the irreps of
    `rep_wanted` that edges can reach. scale: the factor of the sum.
    """

    def __init__(
        self,
        rep_in: Irreps,
        degree: int,
        rep_wanted: Irreps,
        *,
        scale: float,
        node: str,
        grid: str | Sequence[int],
        hidden: int,
        heads: int,
        generator: torch.Generator | None,
    ):
        super().__init__()
        self.rep_in, self.scale = rep_in, scale
        self.conv = EdgeConv(rep_in, degree, rep_wanted)
        reached = dict(self.conv.rep_out.blocks)
        self.rep_out = Irreps([(c, irrep) for irrep, c in rep_wanted.blocks if irrep in reached])
        if self.rep_out.lmax == 0 and all(irrep.is_trivial for irrep, _ in self.rep_out.blocks):
            width = self.rep_out.dim
            self.node = ChannelMLP([width] * 4, act_out=True, generator=generator)
            middle = self.rep_out
        elif node == "gate":
            self.node = gate_of(self.rep_out)
            middle = self.node.rep_in
        else:
            points = grid if isinstance(grid, str) else S2Grid.gauss_legendre(*grid)
            self.node = SphereMLP(self.rep_out, points, hidden=hidden, heads=heads, generator=generator)
            middle = self.rep_out
        self.linear = Linear(self.conv.rep_out, middle, bias=False, generator=generator)
        self.adaptor = Linear(rep_in, middle, bias=False, generator=generator, allow_zero=True)
        self.norm = SeparableLayerNorm(self.rep_out)
        nn.init.zeros_(self.norm.weight)
        self.norm.bias = None

    def forward(
        self,
        h: Float[Tensor, "atoms dim_in"],
        Y: Float[Tensor, "edges harmonics"],
        weight: Float[Tensor, "edges paths channels"],
        source: Int[Tensor, " edges"],
        target: Int[Tensor, " edges"],
    ) -> Float[Tensor, "atoms dim_out"]:
        """The next features."""
        return self.carried(h) + self.norm(self.update(h, Y, weight, source, target))

    def update(self, h: Tensor, Y: Tensor, weight: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """The new features before they are normalised and added."""
        summed = self.conv(h, Y, weight, source, target, h.shape[0])
        return self.node(self.linear(summed * self.scale) + self.adaptor(h))

    def carried(self, h: Float[Tensor, "atoms dim_in"]) -> Float[Tensor, "atoms dim_out"]:
        """The old features with as many channels as the new ones have."""
        old = {irrep: block for (irrep, _), block in zip(self.rep_in.blocks, self.rep_in.split(h))}
        parts = []
        for irrep, c in self.rep_out.blocks:
            block = old[irrep] if irrep in old else h.new_zeros(h.shape[0], irrep.dim, 0)
            parts.append(nn.functional.pad(block[..., :c], (0, max(0, c - block.shape[-1]))).flatten(1))
        return torch.cat(parts, 1)


def gate_of(rep: Irreps) -> Gate:
    """The gate whose output is `rep`, scalars before the others."""
    scalars = [(c, irrep) for irrep, c in rep.blocks if irrep.l == 0]
    # An odd scalar needs an odd function, else it would not be one afterwards.
    acts = [torch.tanh if irrep.p == -1 else nn.functional.silu for _, irrep in scalars]
    return Gate(Irreps(scalars), acts, Irreps([(c, irrep) for irrep, c in rep.blocks if irrep.l > 0]))


def _check(species, texts, irreps, out_channels, embed, radial, node, avg_num_neighbors) -> None:
    named = isinstance(radial, str)
    if min(out_channels, embed, *([1] if named else radial)) < 1 or not species or not irreps:
        raise ValueError(
            f"Facet: sizes must be at least 1, got {out_channels=} {embed=} {radial=}, {len(irreps)} layers and "
            f"{len(species)} species"
        )
    if named and radial not in ("spline", "bessel_linear"):
        raise ValueError(f"Facet: radial must be 'spline', 'bessel_linear' or widths of a network, got {radial!r}")
    if node not in ("s2_mlp", "gate"):
        raise ValueError(f"Facet: node must be 's2_mlp' or 'gate', got {node!r}")
    if not avg_num_neighbors > 0:
        raise ValueError(f"Facet: avg_num_neighbors must be positive, got {avg_num_neighbors}")
    for text, rep in zip(texts, irreps):
        kinds = [irrep for irrep, _ in rep.blocks]
        degrees = [irrep.l for irrep in kinds]
        if not kinds or not kinds[0].is_trivial or len(set(kinds)) < len(kinds) or degrees != sorted(degrees):
            raise ValueError(
                f"Facet: irreps must be distinct, by degree, and start with invariants (0e or 0), got {text!r}"
            )
