"""EGNN (arXiv:2102.09844): messages that read distances only, and points that move along the lines between them."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...nn.perceptron import affine, perceptron
from ...nn.segment import segment_sum
from .dynamics import Dynamics, edge_charges, edge_squares
from .lengths import root

AGGREGATIONS = ("mean", "sum")
NORMALIZATIONS = (False, "plus_one", "detached")
BLOCK = 1 << 18  # edges times width taken at once: its arrays stay in cache


class EGNNLayer(nn.Module):
    """One layer, for points in any dimension, equivariant under rotations, reflections, translations and permutations.

    m_ij = φ_e(h_i, h_j, |x_i - x_j|², a_ij);  x_i ← x_i + C Σ_j (x_i - x_j) φ_x(m_ij) [+ φ_v(h_i) v_i];
    h_i ← [h_i +] φ_h(h_i, Σ_j m_ij, b_i), over the edges j → i. All φ are perceptrons of width `hidden`.

    edge_features, node_features: widths of a and b; residual: add the old h. attention: weights σ(linear m) on
    messages. coord_aggregation: C is one over the number of edges received ("mean") or 1 ("sum"). normalize_diff:
    "plus_one" divides x_i - x_j by d + 1, "detached" by d, which is then no function to differentiate: forces from such
    a network are wrong. tanh: bounds φ_x. max_shift: longest move along one edge; the published bound on components
    breaks the symmetry and is left out. velocity: with the term of v. update_coords=False: x stays as it is.
    The centre of mass moves, unless φ_x is the same for ij and ji.
    Raises ValueError for sizes below 1 and unknown words. Source: arXiv:2102.09844, eq. 3-7.
    """

    def __init__(
        self,
        hidden: int,
        *,
        edge_features: int = 0,
        node_features: int = 0,
        residual: bool = True,
        attention: bool = False,
        coord_aggregation: str = "mean",
        normalize_diff: bool | str = False,
        tanh: bool = False,
        max_shift: float | None = None,
        velocity: bool = False,
        update_coords: bool = True,
        act: type[nn.Module] = nn.SiLU,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if hidden < 1 or edge_features < 0 or node_features < 0:
            raise ValueError(f"EGNNLayer: impossible sizes {hidden=}, {edge_features=}, {node_features=}")
        if coord_aggregation not in AGGREGATIONS:
            raise ValueError(f"EGNNLayer: coord_aggregation must be one of {AGGREGATIONS}, got {coord_aggregation!r}")
        if normalize_diff not in NORMALIZATIONS:
            raise ValueError(f"EGNNLayer: normalize_diff must be one of {NORMALIZATIONS}, got {normalize_diff!r}")
        if velocity and not update_coords:
            raise ValueError("EGNNLayer: velocity=True moves points, update_coords=False does not; give one of them")
        self.hidden, self.edge_features, self.node_features = hidden, edge_features, node_features
        self.residual, self.mean, self.normalize_diff = residual, coord_aggregation == "mean", normalize_diff
        self.max_shift, self.update_coords = max_shift, update_coords
        made: dict[str, Any] = {"generator": generator}
        self.edge = nn.Sequential(*perceptron([2 * hidden + 1 + edge_features, hidden, hidden], act, **made), act())
        self.node = perceptron([2 * hidden + node_features, hidden, hidden], act, **made)
        self.attend = nn.Sequential(affine(hidden, 1, **made), nn.Sigmoid()) if attention else None
        self.coord = self.velocity = None
        if update_coords:
            last = affine(hidden, 1, bias=False, **made)
            nn.init.xavier_uniform_(last.weight, gain=1e-3, generator=generator)
            self.coord = nn.Sequential(affine(hidden, hidden, **made), act(), last, *[nn.Tanh()] * tanh)
        if velocity:
            self.velocity = perceptron([hidden, hidden, 1], act, **made)

    def forward(
        self,
        h: Float[Tensor, "nodes hidden"],
        x: Float[Tensor, "nodes dim"],
        edge_index: Int[Tensor, "2 edges"],
        edge_attr: Float[Tensor, "edges edge_features"] | None = None,
        node_attr: Float[Tensor, "nodes node_features"] | None = None,
        v: Float[Tensor, "nodes dim"] | None = None,
        edge_weight: Float[Tensor, " edges"] | None = None,
    ) -> tuple[Float[Tensor, "nodes hidden"], Float[Tensor, "nodes dim"]]:
        """New h and x. edge_index: (source j, target i). edge_weight: of each edge in both sums; 0 removes it.

        Raises ValueError for a, b or v that are missing or not expected.
        """
        self._check("edge_attr", edge_attr, self.edge_features)
        self._check("node_attr", node_attr, self.node_features)
        self._check("v", v, self.velocity is not None)
        # Linear in h_i, h_j and the rest, so the product of φ_e's first map with h is taken at nodes, not at edges.
        receive, send, own = self.edge[0].weight.split([self.hidden, self.hidden, 1 + self.edge_features], 1)
        at_target = nn.functional.linear(h, receive, self.edge[0].bias)
        at_source = nn.functional.linear(h, send)
        sums: list[Tensor] = []
        for edges in _chunks(edge_index, edge_attr, edge_weight, BLOCK // self.hidden):
            parts = self._edges(x, at_target, at_source, own, *edges)
            target = edges[0][1]
            if not sums:
                sums = [segment_sum(part, target, len(h)) for part in parts]
            else:
                sums = [total.index_add_(0, target, part) for total, part in zip(sums, parts)]
        gathered, *moved = sums
        x_new = x
        if self.coord is not None:
            x_new = x + (moved[0] / moved[1].clamp(min=1) if self.mean else moved[0])
        if self.velocity is not None:
            x_new = x_new + self.velocity(h) * v
        out = self.node(torch.cat([h, gathered] if node_attr is None else [h, gathered, node_attr], 1))
        return (h + out if self.residual else out), x_new

    def _edges(
        self,
        x: Tensor,
        at_target: Tensor,
        at_source: Tensor,
        own: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None,
        edge_weight: Tensor | None,
    ) -> list[Tensor]:
        """What some edges add at their targets: messages, moves of points, and ones to count edges by."""
        source, target = edge_index
        difference = x.index_select(0, target) - x.index_select(0, source)
        square = difference.square().sum(1, keepdim=True)
        a = square if edge_attr is None else torch.cat([square, edge_attr], 1)
        m = at_target.index_select(0, target) + at_source.index_select(0, source)
        m = self.edge[1:](torch.addmm(m, a, own.mT))
        if self.attend is not None:
            m = m * self.attend(m)
        parts = [m]
        if self.coord is not None:
            parts.append(self._shift(m, difference, square))
            if self.mean:
                parts.append(torch.ones_like(square))
        if edge_weight is not None:
            parts[:2] = [part * edge_weight[:, None] for part in parts[:2]]
            parts[2:] = [(edge_weight[:, None] != 0).to(x) for _ in parts[2:]]
        return parts

    def _shift(self, m: Tensor, difference: Tensor, square: Tensor) -> Tensor:
        """(x_i - x_j) φ_x(m_ij), normalised and bounded."""
        if self.normalize_diff:
            distance = root(square)
            difference = difference / (distance + 1 if self.normalize_diff == "plus_one" else distance.detach() + 1e-8)
        shift = difference * self.coord(m)
        if self.max_shift is not None:
            length = root(shift.square().sum(1, keepdim=True))
            shift = shift * (self.max_shift / length.clamp(min=self.max_shift))
        return shift

    def _check(self, name: str, given: Tensor | None, wanted: int) -> None:
        if (given is not None) != bool(wanted):
            what = "was not" if given is not None else "was"
            raise ValueError(f"EGNNLayer: {name} {'given' if given is not None else 'missing'}, but {what} declared")


class EGNN(nn.Module):
    """Layers on features and points: (h, x) -> (h, x).

    in_features, out_features: widths before and after, with an affine map from and to `hidden`; 0: h of the last layer.
    options: as for `EGNNLayer`. v is the same in every layer. Raises as `EGNNLayer` does, and for no layers.
    Source: arXiv:2102.09844.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int = 64,
        out_features: int = 0,
        layers: int = 4,
        *,
        generator: torch.Generator | None = None,
        **options: Any,
    ):
        super().__init__()
        if in_features < 1 or layers < 1 or out_features < 0:
            raise ValueError(f"EGNN: impossible sizes {in_features=}, {layers=}, {out_features=}")
        self.embed = affine(in_features, hidden, generator=generator)
        self.layers = nn.ModuleList(EGNNLayer(hidden, generator=generator, **options) for _ in range(layers))
        self.out = affine(hidden, out_features, generator=generator) if out_features else None

    def forward(
        self,
        h: Float[Tensor, "nodes in_features"],
        x: Float[Tensor, "nodes dim"],
        edge_index: Int[Tensor, "2 edges"],
        edge_attr: Float[Tensor, "edges edge_features"] | None = None,
        node_attr: Float[Tensor, "nodes node_features"] | None = None,
        v: Float[Tensor, "nodes dim"] | None = None,
        edge_weight: Float[Tensor, " edges"] | None = None,
    ) -> tuple[Float[Tensor, "nodes out"], Float[Tensor, "nodes dim"]]:
        """Features and points after the last layer; arguments as for `EGNNLayer`."""
        h = self.embed(h)
        for layer in self.layers:
            h, x = layer(h, x, edge_index, edge_attr, node_attr, v, edge_weight)
        return (h if self.out is None else self.out(h)), x


class EGNNDynamics(Dynamics):
    """EGNN with velocities for charged points: h = |v|, a = (q_i q_j, |x_i - x_j|² at the start).

    Published for the n-body problem: 4 layers of width 64, Adam with rate 5e-4, batches of 100, all pairs.
    Raises as `EGNN` does. Source: arXiv:2102.09844, section 5.1.
    """

    def __init__(
        self,
        hidden: int = 64,
        layers: int = 4,
        *,
        dim: int = 3,
        generator: torch.Generator | None = None,
        **options: Any,
    ):
        super().__init__(dim)
        self.egnn = EGNN(1, hidden, 0, layers, edge_features=2, velocity=True, generator=generator, **options)

    def move(self, x: Tensor, v: Tensor, q: Tensor, edge_index: Tensor) -> Tensor:
        """x after the last layer."""
        edge = torch.cat([edge_charges(q, edge_index), edge_squares(x, edge_index)], 1)
        return self.egnn(root(v.square().sum(1, keepdim=True)), x, edge_index, edge, v=v)[1]


class EGNNProperty(nn.Module):
    """Numbers that describe a whole point cloud, invariant under E(n): points stay, messages have attention.

    Every layer also reads the inputs h. After the layers a perceptron on nodes, the sum over each graph, and another
    perceptron. Published for molecules: 7 layers of width 128, all pairs. Raises as `EGNN` does.
    Source: arXiv:2102.09844, section 5.3.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int = 1,
        hidden: int = 128,
        layers: int = 7,
        *,
        edge_features: int = 0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        options: dict[str, Any] = {"update_coords": False, "attention": True, "edge_features": edge_features}
        self.egnn = EGNN(in_features, hidden, 0, layers, node_features=in_features, generator=generator, **options)
        self.node = perceptron([hidden, hidden, hidden], generator=generator)
        self.graph = perceptron([hidden, hidden, out_features], generator=generator)

    def forward(
        self,
        h: Float[Tensor, "nodes in_features"],
        x: Float[Tensor, "nodes dim"],
        edge_index: Int[Tensor, "2 edges"],
        batch: Int[Tensor, " nodes"] | None = None,
        n_graphs: int = 1,
        edge_attr: Float[Tensor, "edges edge_features"] | None = None,
    ) -> Float[Tensor, "n_graphs out_features"]:
        """One row for each graph. batch: the graph of each node; None: one graph."""
        nodes = self.node(self.egnn(h, x, edge_index, edge_attr, h)[0])
        if batch is None:
            batch = torch.zeros(len(h), dtype=torch.int64, device=h.device)
        return self.graph(segment_sum(nodes, batch, n_graphs))


def _chunks(
    edge_index: Tensor, edge_attr: Tensor | None, edge_weight: Tensor | None, size: int
) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
    """Edges, `size` at a time; all at once where a program is compiled for any number of them."""
    count = edge_index.shape[1]
    if torch.compiler.is_compiling() or count <= size:
        yield edge_index, edge_attr, edge_weight
        return
    for start in range(0, count, max(size, 1)):
        part = slice(start, start + max(size, 1))
        yield (
            edge_index[:, part],
            None if edge_attr is None else edge_attr[part],
            None if edge_weight is None else edge_weight[part],
        )
