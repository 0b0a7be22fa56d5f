"""The SE(3)-Transformer (arXiv:2006.10503), and its iterative form, which moves the points (arXiv:2102.13419)."""

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...so3 import EdgeFrame, Irreps
from .lengths import length
from .se3_attention import Edges, SE3Attention, TensorFieldLayer, irreps, norm

EdgeScalars = Callable[[Tensor, Tensor], Tensor]
CLOSE = 1e-5


class SE3Transformer(nn.Module):
    """`layers` times attention and norm nonlinearity, then a convolution: features on points, equivariant under SE(3).

    rep_in, rep_hidden, rep_out: one term for each degree, no parity, as in "16x0+4x1"; edge_scalars: numbers on each
    edge besides its length. heads, div, rel_pos, skip, self_interaction: as in `SE3Attention`. norm: "bias" or "mlp".
    Source: arXiv:2006.10503.
    """

    def __init__(
        self,
        rep_in: Irreps | str,
        rep_hidden: Irreps | str,
        rep_out: Irreps | str,
        edge_scalars: int = 0,
        *,
        layers: int = 4,
        heads: int = 1,
        div: int = 4,
        norm: str = "bias",
        rel_pos: str | None = None,
        skip: str = "cat",
        self_interaction: str = "1x1",
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        options = {"heads": heads, "div": div, "rel_pos": rel_pos, "skip": skip, "self_interaction": self_interaction}
        self.blocks = Blocks(rep_in, rep_hidden, edge_scalars, layers, norm, generator, options)
        self.last = TensorFieldLayer(self.blocks.rep_out, rep_out, edge_scalars, generator=generator)
        self.rep_in, self.rep_out = self.blocks.rep_in, self.last.rep_out
        self.lmax = max(self.blocks.lmax, _lmax(self.rep_out))

    def forward(
        self,
        features: Float[Tensor, "nodes dim_in"],
        pos: Float[Tensor, "nodes 3"],
        edge_index: Int[Tensor, "2 edges"],
        edge_scalars: Float[Tensor, "edges edge_scalars"] | None = None,
    ) -> Float[Tensor, "nodes dim_out"]:
        """Features of `rep_out`; edges run (source, target)."""
        edges = edges_of(pos, edge_index, edge_scalars, self.lmax)
        return self.last(self.blocks(features, edges), edges)


class Refined(NamedTuple):
    """Where the points end, what they carry, and where they were before each block: [iterations + 1, nodes, 3]."""

    pos: Float[Tensor, "nodes 3"]
    features: Float[Tensor, "nodes dim"]
    trajectory: Float[Tensor, "steps nodes 3"]


class IterativeSE3Transformer(nn.Module):
    """Several SE(3)-Transformers in a row that hand features on, each moving the points by a vector that it predicts.

    Everything about the edges (lengths, directions, edge scalars, neighbours) is computed again for the moved points.
    Features have `channels` of each degree up to `degree`; the first block starts from `rep_in` ("1x0": a constant).
    Points move by the first channel of degree 1, after the last block by a convolution to one vector.
    edge_scalars: how many numbers an edge has besides its length. neighbors: keep only that many incoming edges of each
    node, those with the largest first edge scalar. backprop_basis=False: directions of moved points are constants in
    the backward pass (the paper's ablation). detach_positions: positions are, between blocks. checkpoint_blocks: less
    memory, more time. heads, div and the rest as in `SE3Attention`.
    Raises ValueError for a degree below 1 and other sizes that do not fit. Source: arXiv:2102.13419, section 3.
    """

    def __init__(
        self,
        degree: int = 2,
        channels: int = 4,
        *,
        iterations: int = 3,
        layers: int = 4,
        heads: int = 1,
        div: int = 1,
        edge_scalars: int = 1,
        rep_in: Irreps | str = "1x0",
        neighbors: int | None = None,
        backprop_basis: bool = True,
        detach_positions: bool = False,
        checkpoint_blocks: bool = False,
        norm: str = "bias",
        rel_pos: str | None = None,
        skip: str = "cat",
        self_interaction: str = "1x1",
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if degree < 1 or channels < 1 or iterations < 1 or (neighbors is not None and neighbors < 1):
            raise ValueError(
                f"IterativeSE3Transformer: points move by features of degree 1, so degree, channels, iterations and "
                f"neighbors must be at least 1, got {degree=}, {channels=}, {iterations=}, {neighbors=}"
            )
        if neighbors is not None and not edge_scalars:
            raise ValueError(
                "IterativeSE3Transformer: neighbors are chosen by the first edge scalar, but there is none"
            )
        options = {"heads": heads, "div": div, "rel_pos": rel_pos, "skip": skip, "self_interaction": self_interaction}
        self.rep_in, self.rep = Irreps(rep_in), irreps(dict.fromkeys(range(degree + 1), channels))
        self.edge_scalars, self.neighbors = edge_scalars, neighbors
        self.backprop_basis, self.detach_positions = backprop_basis, detach_positions
        self.checkpoint_blocks = checkpoint_blocks
        self.blocks = nn.ModuleList(
            Blocks(self.rep if i else self.rep_in, self.rep, edge_scalars, layers, norm, generator, options)
            for i in range(iterations)
        )
        self.last = TensorFieldLayer(self.rep, irreps({1: 1}), edge_scalars, generator=generator)
        self.lmax = max(block.lmax for block in self.blocks)

    def forward(
        self,
        pos: Float[Tensor, "nodes 3"],
        edge_index: Int[Tensor, "2 edges"],
        edge_scalars: EdgeScalars | Float[Tensor, "edges edge_scalars"] | None = None,
        node_feat: Float[Tensor, "nodes dim_in"] | None = None,
    ) -> Refined:
        """Refine positions. edge_scalars: numbers, or a function of (lengths [kept], numbers of the edges [kept]) that
        is called again in each iteration. Edges run (source, target).
        """
        if edge_scalars is None and self.edge_scalars:
            raise ValueError(f"IterativeSE3Transformer: {self.edge_scalars} edge scalars are expected, none are given")
        if node_feat is None and self.rep_in.dim != 1:
            raise ValueError(f"IterativeSE3Transformer: the model starts from {self.rep_in}, give node_feat")
        f = pos.new_ones(len(pos), 1) if node_feat is None else node_feat
        trajectory = [pos]
        for i, block in enumerate(self.blocks):
            here = trajectory[-1].detach() if self.detach_positions and i else trajectory[-1]
            arguments = (i, block, here, f, edge_index, edge_scalars)
            if self.checkpoint_blocks and torch.is_grad_enabled():
                move, f = checkpoint(self._step, *arguments, use_reentrant=False)
            else:
                move, f = self._step(*arguments)
            trajectory.append(here + move)
        return Refined(trajectory[-1], f, torch.stack(trajectory))

    def _step(self, i: int, block: "Blocks", pos: Tensor, f: Tensor, edge_index: Tensor, given):
        """The move of the points and their features, by block i."""
        edges = self._edges(pos, edge_index, given)
        f = block(f, edges)
        if i == len(self.blocks) - 1:
            return self.last(f, edges), f
        return self.rep.split(f)[1][:, :, 0], f

    def _edges(self, pos: Tensor, edge_index: Tensor, given) -> Edges:
        ids = torch.arange(edge_index.shape[1], device=edge_index.device)

        def scalars(ids: Tensor) -> Tensor | None:
            if not callable(given):
                return given if given is None else given[ids]
            source, target = edge_index[:, ids]
            found = given(length(pos[source] - pos[target]), ids)
            return found[:, None] if found.ndim == 1 else found

        if self.neighbors is not None:
            with torch.no_grad():
                ids = _strongest(scalars(ids)[:, 0], edge_index[1], self.neighbors)
        return edges_of(pos, edge_index[:, ids], scalars(ids), self.lmax, self.backprop_basis)


class Blocks(nn.Module):
    """Attention and norm nonlinearity, `layers` times."""

    def __init__(self, rep_in, rep, edge_scalars: int, layers: int, kind: str, generator, options: dict):
        super().__init__()
        if layers < 1:
            raise ValueError(f"SE3Transformer: at least one layer is needed, got layers={layers}")
        self.rep_in, self.rep_out = Irreps(rep_in), Irreps(rep)
        reps = [self.rep_in, *[self.rep_out] * layers]
        made = {"generator": generator, **options}
        self.attention = nn.ModuleList(SE3Attention(a, b, edge_scalars, **made) for a, b in pairwise(reps))
        self.norms = nn.ModuleList(norm(kind, self.rep_out, generator) for _ in range(layers))
        self.lmax = max(_lmax(self.rep_in), _lmax(self.rep_out), 1)

    def forward(self, f: Tensor, edges: Edges) -> Tensor:
        """Features after all layers."""
        self.rep_in.check(f)
        for attention, nonlinearity in zip(self.attention, self.norms):
            f = nonlinearity(attention(f, edges))
        return f


def edges_of(
    pos: Float[Tensor, "nodes 3"],
    edge_index: Int[Tensor, "2 edges"],
    scalars: Float[Tensor, "edges edge_scalars"] | None,
    lmax: int,
    backprop_basis: bool = True,
) -> Edges:
    """Frames, lengths and scalars of edges (source, target). Edges of length zero keep J = 0 only, with a warning."""
    source, target = edge_index
    x = pos.index_select(0, source) - pos.index_select(0, target)
    r = length(x)
    apart = r.detach() > 0
    if not torch.compiler.is_compiling():
        least = float(r.detach().min()) if len(r) else CLOSE
        if least < CLOSE:
            warnings.warn(f"tensor field messages: two joined points are only {least:.1e} apart", stacklevel=2)
        if bool(apart.all()):
            apart = None
    direction = x if apart is None else torch.where(apart[:, None], x, x.new_tensor([0.0, 1.0, 0.0]))
    frame = EdgeFrame.from_vectors(direction if backprop_basis else direction.detach(), lmax)
    numbers = r[:, None] if scalars is None else torch.cat([r[:, None], scalars.to(r)], 1)
    return Edges(source, target, frame, numbers, apart)


def _strongest(strength: Tensor, target: Tensor, most: int) -> Tensor:
    """The edges with the largest strength at each target, at most `most`; of equals the first."""
    order = strength.argsort(descending=True, stable=True)
    order = order[target[order].argsort(stable=True)]
    sorted_target = target[order]
    start = torch.searchsorted(sorted_target, sorted_target)
    rank = torch.arange(len(order), device=order.device) - start
    return order[rank < most].sort().values


def _lmax(rep: Irreps) -> int:
    return max(irrep.l for irrep, _ in rep.blocks)
