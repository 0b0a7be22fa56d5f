"""Ponita (arXiv:2310.02970): convolutions whose kernels see invariants of pairs of positions and directions."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu

from ...groups import SE, E
from ...maps.constants import Constants
from ...nn.graph import full_graph, radius_graph
from ...nn.perceptron import affine
from ...nn.radial import PolynomialEnvelope
from ...nn.segment import segment_mean, segment_sum
from ...reps import Action, Invariant, Points, Vectors
from ...so3.orientations import orientation_grid
from .fiber_conv import FiberBundleConv, KernelBasis, PointConv
from .invariants import angle_between, pair_invariants, seen_from
from .lengths import length
from .lift import LiftedGraph, lift_graph


class PonitaOutput(NamedTuple):
    """What `Ponita` returns: numbers and vectors of each node, or of each graph."""

    scalars: Float[Tensor, "rows out_scalars"]
    vectors: Float[Tensor, "rows out_vectors d"]


class Ponita(nn.Module):
    """Scalars and vectors at points to scalars and vectors of nodes or graphs, in the plane or in space.

    orientations: k > 0: features are functions on the same k directions at every point (the fibre bundle); 0: on
    positions alone, with kernels of the distance, and then without vectors; -1: on the lifted graph, where each edge
    becomes a position with the direction to its neighbour (`lift_graph`).
    hidden, layers, widening: channels, ConvNeXt blocks, and the width of their inner layer in channels. basis_dim,
    degree: functions that kernels are sums of, and the degree of the polynomials they are made from (`KernelBasis`).
    radius: kernels end there smoothly; None: no end. layer_scale: first value of learned factors on what each block
    adds, or None. task: "graph" sums over nodes. multiple_readouts: the mean of a read-out after every block, or the
    last one only. grid, seed: how the k directions are chosen, `so3.orientation_grid`. complete: tell all pairs apart
    (`pair_invariants`; the published numbers do not): for -1, and in the plane for k > 0, where it adds the sign of
    the angle; kernels of the bundle in space and of distances have nothing to add.

    Symmetry: 0 and -1 are equivariant exactly, under E(d), for -1 with complete=True or d = 2 under SE(d). k > 0 is so
    under translations and the rotations that permute the grid, all reflections among them in space; under other
    rotations up to an error that falls with k. grid="platonic" has all rotations of its solid.
    In the first training batch every kernel is scaled once (`Calibration`), which the state dict remembers.
    Compiled whole for a given `edge_index` (for -1 a `LiftedGraph`) and `n_graphs`; otherwise their making is not.

    Raises ValueError for sizes out of range, vectors without directions, and options that would have no effect.
    """

    def __init__(
        self,
        in_scalars: int,
        in_vectors: int = 0,
        hidden: int = 128,
        out_scalars: int = 1,
        out_vectors: int = 0,
        *,
        layers: int = 5,
        orientations: int = 20,
        basis_dim: int = 256,
        degree: int = 3,
        widening: int = 4,
        radius: float | None = None,
        layer_scale: float | None = None,
        task: Literal["graph", "node"] = "graph",
        multiple_readouts: bool = True,
        dim: Literal[2, 3] = 3,
        complete: bool = False,
        grid: Literal["repulsion", "fibonacci", "platonic"] = "repulsion",
        seed: int = 0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if min(hidden, layers, basis_dim, degree, widening, in_scalars + in_vectors, out_scalars + out_vectors) < 1:
            raise ValueError(
                f"Ponita: sizes must be at least 1, with one input and one output or more, got {hidden=} {layers=} "
                f"{basis_dim=} {degree=} {widening=} {in_scalars=} {in_vectors=} {out_scalars=} {out_vectors=}"
            )
        if min(in_scalars, in_vectors, out_scalars, out_vectors) < 0 or orientations < -1:
            raise ValueError("Ponita: numbers of scalars and vectors are 0 or more, orientations -1 or more")
        if task not in ("graph", "node") or dim not in (2, 3):
            raise ValueError(f"Ponita: task must be 'graph' or 'node' and dim 2 or 3, got {task!r} and {dim!r}")
        if orientations == 0 and (in_vectors or out_vectors):
            raise ValueError(
                f"Ponita: orientations=0 has no directions for {in_vectors} input and {out_vectors} output vectors; "
                "use orientations=k > 0 or -1, or give lengths as scalars"
            )
        if complete and (orientations == 0 or (orientations > 0 and dim == 3)):
            raise ValueError(
                f"Ponita: complete=True changes nothing for orientations={orientations} in {dim} dimensions, whose "
                "kernels see all that there is; it is for orientations=-1, or k > 0 in the plane"
            )
        self.in_scalars, self.in_vectors = in_scalars, in_vectors
        self.out_scalars, self.out_vectors = out_scalars, out_vectors
        self.orientations, self.dim, self.task, self.complete = orientations, dim, task, complete
        self.radius = radius
        self.envelope = None if radius is None else PolynomialEnvelope(radius)
        options = {"degree": degree, "generator": generator}
        if orientations > 0:
            self._grid = Constants([orientation_grid(dim, orientations, kind=grid, seed=seed).numpy()])
            self.basis = KernelBasis(2, hidden, basis_dim, **options)
            self.fiber_basis = KernelBasis(1 + complete, hidden, basis_dim, **options)
        else:
            numbers = {0: 1, -1: 3 + (dim - 1) * complete}[orientations]
            self.basis = KernelBasis(numbers, hidden, basis_dim, **options)
        conv = FiberBundleConv if orientations > 0 else PointConv
        self.embedding = affine(in_scalars + in_vectors, hidden, bias=False, generator=generator)
        self.blocks = nn.ModuleList(
            ConvNeXt(conv(hidden, basis_dim, generator=generator), widening, layer_scale, generator)
            for _ in range(layers)
        )
        self.readouts = nn.ModuleList(
            affine(hidden, out_scalars + out_vectors, generator=generator)
            for _ in range(layers if multiple_readouts else 1)
        )
        group = SE(dim) if complete or (dim == 2 and orientations) else E(dim)
        self.rep_in: tuple[Action, ...] = (Points(group), Invariant(group), Vectors(group))
        self.rep_out: tuple[Action, ...] = (Invariant(group), Vectors(group))

    def forward(
        self,
        pos: Float[Tensor, "nodes d"],
        scalars: Float[Tensor, "nodes in_scalars"] | None = None,
        vectors: Float[Tensor, "nodes in_vectors d"] | None = None,
        edge_index: Int[Tensor, "2 edges"] | LiftedGraph | None = None,
        batch: Int[Tensor, " nodes"] | None = None,
        n_graphs: int | None = None,
    ) -> PonitaOutput:
        """Features of nodes, or of graphs.

        edge_index: (source j, target i), taken as it is, loops too; None: all pairs of a graph within `radius`, or
        all, with loops. batch: the graph of each node, None: one graph. n_graphs: how many there are, so that it need
        not be read off the batch. Raises ValueError for shapes that do not fit.
        """
        self._check(pos, scalars, vectors, batch)
        lifted = edge_index if isinstance(edge_index, LiftedGraph) else None
        if edge_index is None:
            if self.radius is None:
                edge_index = full_graph(len(pos), batch, loops=True, device=pos.device)
            else:
                edge_index = radius_graph(pos, self.radius, batch, loops=True)
        if self.orientations < 0:
            lifted = lifted or lift_graph(edge_index, len(pos))
            numbers, values = self._on_lifted(pos, scalars, vectors, lifted)
        elif lifted is not None:
            raise ValueError(f"Ponita: orientations={self.orientations} takes an edge_index, not a lifted graph")
        elif self.orientations:
            numbers, values = self._on_bundle(pos, scalars, vectors, edge_index)
        else:
            basis = self._kernels(pair_invariants(*_ends(pos, edge_index)), pos, edge_index)
            numbers = self._through(self.embedding(scalars), edge_index, basis)
            values = pos.new_zeros(len(pos), 0, self.dim)
        if self.task == "graph":
            numbers, values = (_sum_graphs(x, batch, n_graphs) for x in (numbers, values))
        return PonitaOutput(numbers, values)

    def _on_bundle(
        self, pos: Tensor, scalars: Tensor | None, vectors: Tensor | None, edge_index: Tensor
    ) -> tuple[Tensor, Tensor]:
        (o,) = self._grid.tensors()
        k = len(o)
        lifted = [] if scalars is None else [scalars[:, None].expand(-1, k, -1)]
        lifted += [] if vectors is None else [torch.einsum("nvd,kd->nkv", vectors, o)]
        here, there = _ends(pos, edge_index)
        seen = torch.stack(seen_from((there - here)[:, None], o), -1)
        basis = self._kernels(seen, pos, edge_index)
        fiber_basis = self.fiber_basis(angle_between(o[:, None], o, self.complete))
        out = self._through(self.embedding(torch.cat(lifted, -1)), edge_index, basis, fiber_basis)
        numbers, along = out.split([self.out_scalars, self.out_vectors], -1)
        return numbers.mean(1), torch.einsum("nkv,kd->nvd", along, o) / k

    def _on_lifted(
        self, pos: Tensor, scalars: Tensor | None, vectors: Tensor | None, lifted: LiftedGraph
    ) -> tuple[Tensor, Tensor]:
        source, target = lifted.nodes
        here = pos.index_select(0, target)
        toward = pos.index_select(0, source) - here
        reach = length(toward)[:, None]
        o = toward / torch.where(reach > 0, reach, 1.0)  # points that coincide have no direction: zero
        x = [] if scalars is None else [scalars.index_select(0, target)]
        x += [] if vectors is None else [(vectors.index_select(0, target) * o[:, None]).sum(-1)]
        space = "R2xS1" if self.dim == 2 else "R3xS2"
        seen = pair_invariants(*_ends(here, lifted.pairs), *_ends(o, lifted.pairs), space=space, complete=self.complete)
        basis = self._kernels(seen, here, lifted.pairs)
        out = self._through(self.embedding(torch.cat(x, -1)), lifted.pairs, basis)
        numbers, along = out.split([self.out_scalars, self.out_vectors], -1)
        both = torch.cat([numbers, (along[..., None] * o[:, None]).flatten(1)], -1)
        mean = segment_mean(both, target, len(pos))
        numbers, along = mean.split([self.out_scalars, self.out_vectors * self.dim], -1)
        return numbers, along.unflatten(-1, (self.out_vectors, self.dim))

    def _kernels(self, seen: Tensor, pos: Tensor, edge_index: Tensor) -> Tensor:
        """Basis functions of all pairs, ended at the radius."""
        basis = self.basis(seen)
        if self.envelope is None:
            return basis
        here, there = _ends(pos, edge_index)
        window = self.envelope(length(there - here))
        return basis * window.reshape(-1, *[1] * (basis.ndim - 1))

    def _through(self, x: Tensor, edge_index: Tensor, *bases: Tensor) -> Tensor:
        """All blocks, and the mean of their read-outs."""
        read = []
        for depth, block in enumerate(self.blocks, start=len(self.readouts) - len(self.blocks)):
            x = block(x, edge_index, *bases)
            if depth >= 0:
                read.append(self.readouts[depth](x))
        return sum(read) / len(read)

    def _check(self, pos: Tensor, scalars: Tensor | None, vectors: Tensor | None, batch: Tensor | None) -> None:
        n = len(pos)
        wanted = {
            "pos": (pos, (n, self.dim)),
            "scalars": (scalars, (n, self.in_scalars) if self.in_scalars else None),
            "vectors": (vectors, (n, self.in_vectors, self.dim) if self.in_vectors else None),
            **({} if batch is None else {"batch": (batch, (n,))}),
        }
        for name, (given, shape) in wanted.items():
            found = None if given is None else tuple(given.shape)
            if found != shape:
                raise ValueError(f"Ponita: {name} must have shape {shape} for {n} nodes in {self.dim}D, got {found}")


class ConvNeXt(nn.Module):
    """x + s ⊙ W₂ gelu(W₁ norm(conv(x))): a convolution within channels, then a network across them."""

    def __init__(self, conv: nn.Module, widening: int, layer_scale: float | None, generator: torch.Generator | None):
        super().__init__()
        channels = conv.channels
        self.conv, self.norm = conv, nn.LayerNorm(channels)
        self.widen = affine(channels, widening * channels, generator=generator)
        self.narrow = affine(widening * channels, channels, generator=generator)
        self.scale = None if layer_scale is None else nn.Parameter(torch.full((channels,), float(layer_scale)))

    def forward(self, x: Tensor, edge_index: Tensor, *bases: Tensor) -> Tensor:
        """Features of the same shape."""
        y = self.narrow(gelu(self.widen(self.norm(self.conv(x, edge_index, *bases)))))
        return x + (y if self.scale is None else self.scale * y)


def _ends(x: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
    """What stands at the receiver and at the sender of each edge."""
    return x.index_select(0, edge_index[1]), x.index_select(0, edge_index[0])


def _sum_graphs(x: Tensor, batch: Tensor | None, n_graphs: int | None) -> Tensor:
    """Sums over the nodes of each graph."""
    if batch is None:
        return x.sum(0, keepdim=True)
    if n_graphs is None:
        n_graphs = int(batch.max()) + 1 if len(batch) else 0
    return segment_sum(x, batch, n_graphs)
