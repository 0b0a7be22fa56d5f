"""Maps from or to an induced representation, by Frobenius reciprocity: solve for the subgroup, spread over the cosets.

Hom_G(Ind U, W) = Hom_H(U, Res W): an H-map A acts on block i as rho_W(t_i) A. Hom_G(W, Ind U) = Hom_H(Res W, U): block
i of the result is A rho_W(t_i)^-1. So the problem to solve is smaller by the index of H.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from ..groups import Group
from ..reps import Induced, Product, Rep
from .dense import DenseKernel, costs
from .kernel import Kernel, Plan

Find = Callable[[Group, Product, Product], Kernel]


@dataclass(frozen=True)
class BlockByBlock(Plan):
    """Apply the maps of the subgroup to every block. Constants: rho_W(t_i) side by side, [dim_W, cosets dim_W] (with
    `gather`, from an induced term) or rho_W(t_i)^-1 one below the other; then those of the inner plan."""

    inner: Plan
    cosets: int
    gather: bool

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        moved, rest = constants[0], constants[1:]
        if not self.gather:
            x = moved @ x
        y = self.inner.run(x.unflatten(-2, (self.cosets, -1)), w, rest).flatten(-3, -2)
        return moved @ y if self.gather else y


@dataclass(frozen=True, eq=False)
class FrobeniusKernel(Kernel):
    """The basis that `inner`, of the subgroup, is spread to. elements: [cosets, d, d], rho_W(t_i) for maps from the
    induced term, its inverse for maps to it."""

    inner: Kernel
    elements: np.ndarray
    gather: bool

    @property
    def route(self) -> str:
        return f"frobenius ({self.inner.route})"

    @property
    def dim_in(self) -> int:
        return self.inner.dim_in * (len(self.elements) if self.gather else 1)

    @property
    def dim_out(self) -> int:
        return self.inner.dim_out * (1 if self.gather else len(self.elements))

    @property
    def labels(self) -> tuple[str, ...]:
        return self.inner.labels

    def dense(self) -> np.ndarray:
        B = self.inner.dense()
        spread = "iab,nbc->naic" if self.gather else "nab,ibc->niac"
        operands = (self.elements, B) if self.gather else (B, self.elements)
        return np.einsum(spread, *operands).reshape(len(B), self.dim_out, self.dim_in)

    def plan(self, c_in: int, c_out: int) -> Plan:
        count, d, _ = self.elements.shape
        inner = self.inner.plan(c_in, c_out)
        flops = count * inner.flops + 2 * count * d * d * (c_out if self.gather else c_in)
        if min(costs(self.N, self.dim_out, self.dim_in, c_in, c_out)) <= flops:
            return DenseKernel(self.dense(), self.labels, self.route).plan(c_in, c_out)
        moved = self.elements.transpose(1, 0, 2).reshape(d, -1) if self.gather else self.elements.reshape(-1, d)
        return BlockByBlock((np.ascontiguousarray(moved), *inner.constants), flops, inner, count, self.gather)

    @cached_property
    def transpose(self) -> "FrobeniusKernel":
        return FrobeniusKernel(self.inner.transpose, self.elements.swapaxes(-1, -2), not self.gather)


def kernel(group: Group, U: Product, W: Product, find: Find, *, asked: bool) -> FrobeniusKernel | None:
    """Hom(U, W) where one term is an induced factor alone; None elsewhere.

    Unless asked for, not between terms that permute their components up to sign: their orbits are exact.
    """
    if not asked and all(factor.is_signed_permutation for factor in (*U.factors, *W.factors)):
        return None
    for term, other, gather in ((U, W, True), (W, U, False)):
        if len(term.factors) == 1 and isinstance(term.factors[0], Induced):
            induced = term.factors[0]
            there = Rep(group, [(other, 1)])
            ((small, _),) = there.restrict(induced.embed.source, induced.embed).terms
            t = induced.cosets.representatives()
            elements = there.matrix(t if gather else group.inverse(t)).numpy()
            inner = _summed(induced, small, gather, find)
            return FrobeniusKernel(inner, elements, gather)
    return None


def _summed(induced: Induced, small: Product, gather: bool, find: Find) -> Kernel:
    """Hom between the representation that was induced, a sum of terms with channels perhaps, and one term."""
    H, terms = induced.base.group, induced.base.terms
    if len(terms) == 1 and terms[0][1] == 1:
        return find(H, terms[0][0], small) if gather else find(H, small, terms[0][0])
    blocks, names, start, d = [], [], 0, small.dim
    for k, (term, c) in enumerate(terms):
        found = find(H, term, small) if gather else find(H, small, term)
        for channel in range(c):
            places = start + channel + c * np.arange(term.dim)
            B = np.zeros((found.N, d, induced.base.dim) if gather else (found.N, induced.base.dim, d))
            if gather:
                B[:, :, places] = found.dense()
            else:
                B[:, places] = found.dense()
            blocks.append(B)
            names += [f"{k}.{channel}:{label}" for label in found.labels]
        start += term.dim * c
    return DenseKernel(np.concatenate(blocks), tuple(names), "sum")
