"""A linear layer as two index maps and a map to its weights: dense, convolution, graph, pooling are choices of them."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..groups import Group
from ..reps import Rep
from .constants import tensors
from .orbits import orbits
from .span_edges import Edges, as_array, as_index, bounded, of_graph
from .span_grid import Convolution, Grid
from .span_routes import Cells, Matrix
from .span_symmetry import Moves, images, pair_images


@dataclass(frozen=True, eq=False, repr=False)
class Span:
    """Edges e with a source in X, a target in Y, a weight in W and a measure: y[t] = Σ_e μ_e w[π(e)] x[s(e)].

    num_in, num_out, num_weights: sizes of X, Y, W. source, target, weight: one index for each edge, any integer
    sequence or tensor of one axis; several edges between the same points add. measure: one number for each edge, 1
    where None. Features are [..., X, c_in], weights [W, c_in, c_out]: each weight is a matrix on channels.
    Immutable; equal when all parts are.
    Raises ValueError for lengths that differ, an index out of range, a measure that is not finite; TypeError for an
    index that is no integer.
    Source: arXiv:2208.00809, definition 1.
    """

    num_in: int
    num_out: int
    num_weights: int
    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    measure: np.ndarray | None = None
    _convolution: Convolution | None = field(default=None, init=False)

    def __post_init__(self):
        for name, size in [("source", self.num_in), ("target", self.num_out), ("weight", self.num_weights)]:
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"Span: the {name}s must be counted by an integer of at least 1, got {size!r}")
            object.__setattr__(self, name, as_index(name, getattr(self, name), size))
        lengths = {name: len(getattr(self, name)) for name in ("source", "target", "weight")}
        if self.measure is not None:
            measure = as_array(self.measure).astype(np.float64)
            if measure.ndim != 1 or not np.isfinite(measure).all():
                raise ValueError(f"Span: measure must be finite, one number for each edge, got shape {measure.shape}")
            lengths["measure"] = len(measure)
            measure.flags.writeable = False
            object.__setattr__(self, "measure", None if (measure == 1).all() else measure)
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Span: one entry for each edge, but the lengths are {lengths}")

    # --- constructors

    @classmethod
    def dense(cls, num_in: int, num_out: int) -> "Span":
        """Every input to every output, each pair its own weight: weight j num_in + i joins i to j, as in torch."""
        bounded("dense", num_in * num_out)
        j, i = np.divmod(np.arange(num_in * num_out), num_in)
        return cls(num_in, num_out, num_in * num_out, i, j, np.arange(num_in * num_out))

    @classmethod
    def conv(
        cls,
        size: Sequence[int],
        kernel: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        circular: bool = False,
    ) -> "Span":
        """A convolution on a grid of any dimension; weights are the offsets of the kernel, as torch orders them.

        A pixel o of the output sees the pixels stride·o + dilation·k - padding; those outside the grid are absent
        (padding with zeros) or, if `circular`, wrap around. groups: channel blocks that do not mix: X, Y and W are then
        (pixels, groups), (pixels, groups), (offsets, groups), and c_in, c_out count the channels of one block.
        Raises ValueError where the kernel does not fit.
        """
        axes = len(size)
        each = [(k,) * axes if isinstance(k, int) else tuple(k) for k in (kernel, stride, padding, dilation)]
        grid = Grid(tuple(size), *each, groups, circular)
        bounded("conv", grid.count)
        sizes = math.prod(grid.size) * groups, math.prod(grid.out) * groups, grid.offsets * groups
        return cls(*sizes, *grid.edges())._as(Convolution(grid) if axes <= 3 else None)

    @classmethod
    def pool(
        cls,
        size: Sequence[int],
        kernel: int | Sequence[int],
        *,
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
    ) -> "Span":
        """Means over windows, one weight: with w = identity `torch.nn.functional.avg_pool`; zeros of the padding count.

        stride: that of the windows, by default their size.
        """
        span = cls.conv(size, kernel, stride=kernel if stride is None else stride, padding=padding)
        measure = np.full(len(span.weight), 1 / span.num_weights)
        return cls(span.num_in, span.num_out, 1, span.source, span.target, np.zeros_like(span.weight), measure)

    @classmethod
    def graph(cls, edge_index, num_nodes: int, *, edge_type=None, self_loops: bool = False, normalize: bool = False):
        """Messages along edges, [2, E] of (source, target), with one weight for each edge type.

        self_loops: every node also hears itself: by the same weight where there are no types, otherwise by a weight of
        its own, the last. normalize: μ = 1 / √(d_s d_t), d counting the edges that arrive; with self_loops the graph
        convolution of arXiv:1609.02907.
        """
        return cls._of(of_graph(edge_index, num_nodes, edge_type, self_loops, normalize))

    @classmethod
    def orbit(cls, rep_in: Rep, rep_out: Rep) -> "Span":
        """All equivariant maps between two permutation representations: one weight for each orbit of pairs.

        Raises ValueError where the groups differ, or a representation does not permute its entries.
        """
        if rep_in.group != rep_out.group:
            raise ValueError(f"orbit: rep_in belongs to {rep_in.group}, rep_out to {rep_out.group}")
        X, Y = rep_in.dim, rep_out.dim
        bounded("orbit", X * Y)
        ends = (images(rep.group, rep, rep.dim) for rep in (rep_in, rep_out))
        label = orbits(pair_images(*ends), X * Y)
        j, i = np.divmod(np.arange(X * Y), X)
        return cls(X, Y, int(label.max()) + 1, i, j, label)

    # --- the layer and its derivatives

    def apply(
        self, x: Float[Tensor, "*batch X c_in"], w: Float[Tensor, "W c_in c_out"]
    ) -> Float[Tensor, "*batch Y c_out"]:
        """y = t_!(s^*x · π^*w), by the route that moves fewest bytes. Raises ValueError for shapes that do not fit."""
        check_features(self, x, w)
        route = self.route(w.shape[1], w.shape[2], max(1, math.prod(x.shape[:-2])))
        y = route.run(x.reshape(-1, *x.shape[-2:]), w, tensors(route.arrays, x.dtype, x.device))
        return y.reshape(*x.shape[:-2], *y.shape[-2:])

    def transpose(self) -> "Span":
        """Input and output exchanged; with the transposed matrices `w.mT` the adjoint, hence the gradient in x."""
        span = Span(self.num_out, self.num_in, self.num_weights, self.target, self.source, self.weight, self.measure)
        return span._as(self._convolution and self._convolution.adjoint())

    def weight_gradient(
        self, x: Float[Tensor, "*batch X c_in"], gy: Float[Tensor, "*batch Y c_out"]
    ) -> Float[Tensor, "W c_in c_out"]:
        """gw = π_!(s^*x · t^*gy), summed over the batch: the gradient in w of sum(gy * apply(x, w))."""
        x, gy = x.reshape(-1, *x.shape[-2:]), gy.reshape(-1, *gy.shape[-2:])
        cells = min(self._cells, key=lambda cells: cells.cost(1, x.shape[-1], gy.shape[-1]))
        return cells.weight_gradient(x, gy)

    def compose(self, first: "Span") -> "Span":
        """This span after another, as one: the edges are the pairs that meet (the fibre product).

        Its weights are pairs, `first`'s outermost; `compose_weights` makes them. Raises ValueError where the middle
        sizes differ.
        """
        if first.num_out != self.num_in:
            raise ValueError(f"compose: {first!r} has {first.num_out} outputs, {self!r} takes {self.num_in}")
        return Span._of(self._edges.after(first._edges).merged())

    @staticmethod
    def compose_weights(
        first: Float[Tensor, "W1 c_in c_mid"], second: Float[Tensor, "W2 c_mid c_out"]
    ) -> Float[Tensor, "W1xW2 c_in c_out"]:
        """The weights of `second_span.compose(first_span)`."""
        return torch.einsum("aij,bjk->abik", first, second).flatten(0, 1)

    # --- symmetry

    def is_equivariant(self, group: Group, actions: Sequence) -> bool:
        """Whether the layer commutes with a group for every choice of weights, decided on the edges alone.

        actions: how the group permutes X, and Y: two permutation Reps, or for each the images of its points under
        each of `group.generators()`, integers [generators, points].
        """
        return self._moves(group, actions).keep_edges()

    def tied(self, group: Group, actions: Sequence) -> "Span":
        """The same edges with as many weights made equal as it takes to be equivariant. `actions` as above.

        Raises ValueError where the group moves an edge off the span, to one of another measure, or where two edges
        join the same points.
        """
        label = self._moves(group, actions).weight_classes(repr(self))
        parts = self.source, self.target, label[self.weight], self.measure
        tied = Span(self.num_in, self.num_out, int(label.max()) + 1, *parts)
        return tied._as(self._convolution and self._convolution.tied(label))

    def _moves(self, group: Group, actions: Sequence) -> Moves:
        if len(actions) != 2:
            raise ValueError(f"actions: one for the input and one for the output, got {len(actions)}")
        ends = images(group, actions[0], self.num_in), images(group, actions[1], self.num_out)
        return Moves(self._merged, *ends)

    # --- how

    def route(self, c_in: int, c_out: int, batch: int = 16):
        """How so many channels and samples are computed: `.name`, `.arrays` (constants), `.run(x, w, constants)`."""
        return min(self._routes, key=lambda route: route.cost(batch, c_in, c_out))

    @cached_property
    def _edges(self) -> Edges:
        parts = self.source, self.target, self.weight, self.measure
        return Edges(self.num_in, self.num_out, self.num_weights, *parts)

    @cached_property
    def _cells(self) -> tuple[Cells, Cells]:
        return Cells(self._edges, True), Cells(self._edges, False)

    @cached_property
    def _routes(self) -> tuple:
        if self._convolution is not None:
            return Matrix(self._edges), self._convolution  # which never move more than the cells
        return Matrix(self._edges), *self._cells

    @cached_property
    def _merged(self) -> Edges:
        return self._edges.merged()

    @classmethod
    def _of(cls, e: Edges) -> "Span":
        return cls(e.num_in, e.num_out, e.num_weights, e.source, e.target, e.weight, e.measure)

    def _as(self, convolution: Convolution | None) -> "Span":
        object.__setattr__(self, "_convolution", convolution)
        return self

    @property
    def mean_square(self) -> float:
        """Σ over edges into a point of the squared measure, mean over points: the variance that weights of 1 add."""
        return float((self._merged.measures**2).sum()) / self.num_out

    @cached_property
    def _digest(self) -> bytes:
        digest = hashlib.blake2s(repr((self.num_in, self.num_out, self.num_weights)).encode())
        for part in (self.source, self.target, self.weight, self._edges.measures):
            digest.update(part.tobytes())
        return digest.digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Span) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"Span({self.num_in} -> {self.num_out}, edges={len(self.source)}, weights={self.num_weights})"


def check_features(span: Span, x: Tensor, w: Tensor) -> None:
    """Raise ValueError unless x is [..., X, c_in] and w [W, c_in, c_out]."""
    if w.ndim != 3 or w.shape[0] != span.num_weights:
        raise ValueError(f"{span!r} takes weights [{span.num_weights}, c_in, c_out], got shape {list(w.shape)}")
    if x.ndim < 2 or x.shape[-2] != span.num_in or x.shape[-1] != w.shape[1]:
        raise ValueError(f"{span!r} takes features [..., {span.num_in}, {w.shape[1]}], got shape {list(x.shape)}")
