"""A block between small terms by irreps: into them, one matrix product for each, and back. Fewer operations and fewer
calls than its diagrams need, where many diagrams act on few components.

The irreps are those of the algebra that the diagrams generate: no group element is drawn, and they are exact.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..families import families
from .lattice import cast
from .plan import LayerPlan
from .small import MAX_COMPONENTS

if TYPE_CHECKING:
    from .kernel import DiagramKernel

MAX_ENTRIES = 2**20  # of all basis maps as matrices
PRODUCTS = 8  # of two drawn maps, summed: enough to reach every copy of an irrep
ATTEMPTS = 3  # eigenvalues may lie too close to each other
TOLERANCE = 2e-13  # of the basis made from irreps again
SAMPLES = 8  # the batch for which operations are counted
WORTH = 1.1  # of the operations of the diagrams: a little above, fewer calls decide (measured on CPUs)
EXACT = (torch.float32, torch.float64)  # irreps have entries that half precision would round


@dataclass(frozen=True, eq=False)
class Irreps:
    """Orthonormal copies of irreps in both terms of a block, and what its diagrams are on them.

    ins, outs: for each irrep the copies [m, dim_term, d]. mix [Σ m_in m_out, N]: the number by which a diagram takes
    input copy a of an irrep to output copy b.
    """

    ins: tuple[np.ndarray, ...]
    outs: tuple[np.ndarray, ...]
    mix: np.ndarray


@lru_cache(maxsize=64)
def irreps(kernel: "DiagramKernel") -> Irreps | None:
    """The irreps that both terms of a block have in common; None where they are not all of real type."""
    basis = kernel.dense()
    for attempt in range(ATTEMPTS):
        found = _drawn(basis, np.random.default_rng(attempt))
        if found is not None and np.abs(_rebuilt(found) - basis).max() < TOLERANCE:
            return found
    return None


def _drawn(basis: np.ndarray, generator: np.random.Generator) -> Irreps | None:
    """The irreps as eigenspaces of random combinations of a basis of maps [N, dim_out, dim_in]."""
    inside, n = basis.shape[2], sum(basis.shape[1:])

    def one() -> np.ndarray:
        """A map from input to output and one back, as one matrix that commutes with the group."""
        M = np.zeros((n, n))
        M[inside:, :inside] = np.tensordot(generator.standard_normal(len(basis)), basis, 1)
        M[:inside, inside:] = np.tensordot(generator.standard_normal(len(basis)), basis, 1).T
        return M

    X, Y = (sum(one() @ one() for _ in range(PRODUCTS)) for _ in range(2))
    found = families(X + X.T, Y + one(), np.arange(n) >= inside)
    shared = [family for family in found or () if len({bool(t) for t, _ in family}) == 2]
    shared.sort(key=lambda family: family[0][1].shape[1])
    ins = tuple(np.array([E[:inside] for t, E in family if not t]) for family in shared)
    outs = tuple(np.array([E[inside:] for t, E in family if t]) for family in shared)
    mix = [
        np.einsum("nij,ajk,bik->abn", basis, F, G, optimize=True).reshape(-1, len(basis)) / F.shape[2]
        for F, G in zip(ins, outs)
    ]
    return Irreps(ins, outs, np.concatenate(mix)) if mix else None


def _rebuilt(found: Irreps) -> np.ndarray:
    """The basis made from irreps again."""
    parts = [
        np.einsum("bik,ajk->abij", G, F).reshape(-1, G.shape[1], F.shape[1]) for F, G in zip(found.ins, found.outs)
    ]
    return np.tensordot(found.mix.T, np.concatenate(parts), 1)


class Side:
    """A term as irreps: `copies` of each, which have `dims` components. `way` is the place among the constants of the
    matrix into the irreps; the one back follows."""

    def __init__(self, copies: tuple[np.ndarray, ...], c: int, way: int):
        self.c, self.way = c, way
        self.copies = [len(F) for F in copies]
        self.dims = [F.shape[2] for F in copies]
        self.rows = [F.shape[2] * len(F) for F in copies]
        self.columns = [len(F) * c for F in copies]

    def down(self, x: Tensor, constants: list[Tensor]) -> list[Tensor]:
        """For each irrep [batch·d, copies·c] of a term [batch, components, c]."""
        batch, parts = x.shape[0], _turned(constants[self.way], x).split(self.rows, 1)
        return [part.reshape(batch * d, width) for part, d, width in zip(parts, self.dims, self.columns)]

    def up(self, parts: list[Tensor], batch: int, constants: list[Tensor]) -> Tensor:
        """The adjoint of `down`."""
        parts = [part.view(batch, rows, self.c) for part, rows in zip(parts, self.rows)]
        return _turned(constants[self.way + 1], torch.cat(parts, 1))


def _way(copies: tuple[np.ndarray, ...]) -> np.ndarray:
    """The matrix of a term's irreps, rows by irrep, component, copy."""
    return np.concatenate([F.transpose(2, 0, 1).reshape(-1, F.shape[1]) for F in copies])


def _turned(way: Tensor, x: Tensor) -> Tensor:
    return torch.bmm(cast(way, x.dtype).expand(x.shape[0], *way.shape), x)


class IrrepPlan:
    """`LayerPlan` of one block by irreps: the same methods and the same numbers up to rounding, in single and double
    precision.

    Its constants, `arrays`, follow those of the other plan: the ways in and back of both terms; the matrix that takes
    weights of diagrams to those of pairs of copies; the order that sorts their rows (irrep, copy in, copy out, channel
    in) by irrep, copy in, channel in, copy out; the inverse order.
    """

    def __init__(self, found: Irreps, plan: LayerPlan):
        self.keys, self.c_in, self.c_out = plan.keys, plan.c_in, plan.c_out
        place, c = len(plan.arrays), self.c_in[0]
        self.ins = Side(found.ins, c, place)
        self.outs = Side(found.outs, self.c_out[0], place + 2)
        ways = [_way(found.ins), _way(found.outs)]
        pairs = [*zip(self.ins.copies, self.outs.copies)]
        self.sizes = [a * b * c for a, b in pairs]
        rows = np.split(np.arange(sum(self.sizes)), np.cumsum(self.sizes)[:-1])
        order = [row.reshape(a, b, c).swapaxes(1, 2).reshape(-1) for row, (a, b) in zip(rows, pairs)]
        self.arrays = [array for way in ways for array in (way, way.T.copy())]
        self.arrays += [found.mix, np.concatenate(order), np.concatenate(order).argsort()]
        self.mix = place + 4

    @classmethod
    def of(cls, kernel: "DiagramKernel", plan: LayerPlan) -> "IrrepPlan | None":
        """The plan for a layer of one block; None where diagrams serve it as well."""
        small, large = sorted((kernel.dim_in, kernel.dim_out))
        if kernel.flipped or kernel.mix is not None or small == 1 or large > MAX_COMPONENTS:
            return None
        if small * large * kernel.N > MAX_ENTRIES:
            return None
        # a step of training: three products with features, and two with weights
        theirs = WORTH * 3 * SAMPLES * plan.flops()
        weights = 4 * plan.c_in[0] * plan.c_out[0] * kernel.N  # for each pair of copies, of which there are about N
        ways = 2 * small * (kernel.dim_in * plan.c_in[0] + kernel.dim_out * plan.c_out[0])
        if 3 * SAMPLES * ways + weights * kernel.N > theirs or (found := irreps(kernel)) is None:
            return None
        made = cls(found, plan)
        return made if 3 * SAMPLES * made.flops() + weights * len(found.mix) < theirs else None

    def flops(self) -> int:
        """Multiplications and additions for one sample, without those that the weights need."""
        ins, outs, constants = self.ins, self.outs, self.arrays
        products = sum(d * a * b for d, a, b in zip(ins.dims, ins.columns, outs.columns))
        return 2 * (products + constants[0].size * ins.c + constants[2].size * outs.c)

    # --- weights

    def _matrices(self, w: Tensor, constants: list[Tensor]) -> list[Tensor]:
        """For each irrep the matrix of its product, [copies·c_in, copies·c_out]."""
        matrix, order = constants[self.mix], constants[self.mix + 1]
        mixed = cast(matrix, w.dtype).mm(w.reshape(w.shape[0], -1)).view(-1, w.shape[2])
        parts = mixed.index_select(0, order).split(self.sizes)
        return [part.view(a, b) for part, a, b in zip(parts, self.ins.columns, self.outs.columns)]

    def _unpacked(self, grads: list[Tensor], constants: list[Tensor]) -> Tensor:
        """The adjoint of `_matrices`."""
        matrix, back = constants[self.mix], constants[self.mix + 2]
        c, d = self.ins.c, self.outs.c
        mixed = torch.cat([g.reshape(-1, d) for g in grads]).index_select(0, back)
        return cast(matrix, mixed.dtype).mT.mm(mixed.view(-1, c * d)).view(-1, c, d)

    # --- the layer and its derivative

    def forward(
        self, terms: list[Tensor], weights: list[Tensor], constants: list[Tensor], kept: list | None = None
    ) -> list[Tensor]:
        """The output term [batch, components, c_out] of the input term and weights; `kept` as in `LayerPlan`."""
        X, W = self.ins.down(terms[0], constants), self._matrices(weights[0], constants)
        if kept is not None:
            kept += (X, W)
        return [self.outs.up([x.mm(w) for x, w in zip(X, W)], terms[0].shape[0], constants)]

    def backward(
        self,
        terms: list[Tensor],
        weights: list[Tensor],
        grads: list[Tensor],
        constants: list[Tensor],
        need_terms: bool = True,
        need_weights: bool = True,
        kept: list | None = None,
    ) -> tuple[list[Tensor] | None, list[Tensor] | None]:
        """Gradients of <grads, forward(terms, weights)> for the term and for the weights."""
        G = self.outs.down(grads[0], constants)
        for_terms = for_weights = None
        if need_terms:
            W = self._matrices(weights[0], constants) if kept is None else kept[1]
            for_terms = [self.ins.up([g.mm(w.mT) for g, w in zip(G, W)], grads[0].shape[0], constants)]
        if need_weights:
            X = self.ins.down(terms[0], constants) if kept is None else kept[0]
            for_weights = [self._unpacked([x.mT.mm(g) for x, g in zip(X, G)], constants)]
        return for_terms, for_weights
