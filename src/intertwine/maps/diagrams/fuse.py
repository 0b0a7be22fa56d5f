"""Run diagrams inside a Map: one block alone, its transpose, or all blocks of a layer, sharing contractions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ...groups import Group, Lorentz, Sp
from ..kernel import Kernel, Plan
from . import bases
from .apply import run, run_transposed
from .category import Diagram
from .functor import forms
from .irreps import IrrepPlan
from .layout import Layout
from .plan import LayerPlan

if TYPE_CHECKING:
    from ..block import Block
    from .kernel import DiagramKernel


class Layer:
    """Blocks of diagrams between some terms, as one computation on features [..., components, channels].

    kernels: (output term, input term) -> kernel; c_in, c_out: the channels of each term that occurs. `ins` and `outs`
    list the terms, `arrays` are the constants, `members` is for whoever made the layer of some of its blocks.
    """

    def __init__(
        self,
        kernels: dict[tuple[int, int], "DiagramKernel"],
        c_in: dict[int, int],
        c_out: dict[int, int],
        members: tuple[int, ...] = (),
    ):
        group = next(iter(kernels.values())).group
        self.n, self.members = group.dim_V, members
        self.ins, self.outs = tuple(sorted(c_in)), tuple(sorted(c_out))
        sources = {i: kernel.U for (_, i), kernel in kernels.items()}
        targets = {o: kernel.W for (o, _), kernel in kernels.items()}
        self._terms_in, self._terms_out = [sources[i] for i in self.ins], [targets[o] for o in self.outs]
        layout = Layout(
            bases.calculus(group),
            [_types(group, term) for term in self._terms_in],
            [_types(group, term) for term in self._terms_out],
            {
                (self.outs.index(o), self.ins.index(i)): tuple(map(_free, kernel.diagrams))
                for (o, i), kernel in kernels.items()
            },
        )
        self.plan = LayerPlan(layout, tuple(c_in[i] for i in self.ins), tuple(c_out[o] for o in self.outs))
        turns_in = [musical(group, term, lower=False) for term in self._terms_in]
        turns_out = [musical(group, term, lower=True) for term in self._terms_out]
        self.by_irreps = None
        if len(kernels) == 1 and turns_in[0] is None and turns_out[0] is None:
            self.by_irreps = IrrepPlan.of(next(iter(kernels.values())), self.plan)
        self.arrays: list[np.ndarray] = [*self.plan.arrays, *(self.by_irreps.arrays if self.by_irreps else ())]
        self._shared = len(self.arrays)  # constants of the plans, before those of the layer itself
        self._raise, self._lower = ([self._keep(turn) for turn in turns] for turns in (turns_in, turns_out))
        self._mix = [self._matrix(kernel.mix) for kernel in kernels.values()]

    def _matrix(self, mix: np.ndarray | None) -> int | None:
        if mix is None:
            return None
        self.arrays.append(mix.T.astype(np.float64))
        return len(self.arrays) - 1

    def _keep(self, found: tuple[np.ndarray, np.ndarray] | None) -> int | None:
        if found is None:
            return None
        index, sign = found
        self.arrays += [index, sign[:, None]]
        return len(self.arrays) - 2

    @property
    def flops(self) -> int:
        """Multiplications and additions for one sample."""
        return (self.by_irreps or self.plan).flops()

    def run(self, terms: Sequence[Tensor], weights: Sequence[Tensor], constants: Sequence[Tensor]) -> list[Tensor]:
        """Output terms [..., components, c_out] of input terms [..., components, c_in]; weights in the order of the
        kernels, each [N, c_in, c_out]."""
        lead = terms[0].shape[:-2]
        shaped = [self._shaped(x, signs, constants) for x, signs in zip(terms, self._raise)]
        weights = [self._mixed(w, place, constants) for w, place in zip(weights, self._mix)]
        made = run(self.plan, shaped, weights, list(constants[: self._shared]), self.by_irreps)
        return [self._flat(y, lead, signs, constants) for y, signs in zip(made, self._lower)]

    def run_transposed(self, grad: Tensor, weight: Tensor, constants: Sequence[Tensor]) -> Tensor:
        """The transposed matrix of a layer of one block, on [..., components, c_out]; weight [N, c_in, c_out]."""
        lead = grad.shape[:-2]
        if (place := self._lower[0]) is not None:
            grad = _back(grad, constants[place], constants[place + 1])
        shaped = self._shaped(grad, None, constants)
        weight = self._mixed(weight, self._mix[0], constants)
        (made,) = run_transposed(self.plan, [shaped], [weight], list(constants[: len(self.plan.arrays)]))
        made = self._flat(made, lead, None, constants)
        if (place := self._raise[0]) is not None:
            made = _back(made, constants[place], constants[place + 1])
        return made

    def _mixed(self, w: Tensor, place: int | None, constants: Sequence[Tensor]) -> Tensor:
        """Weights of the diagrams from those of a basis of sums of diagrams."""
        return w if place is None else (constants[place].to(w.dtype) @ w.flatten(1)).unflatten(1, w.shape[1:])

    def _shaped(self, x: Tensor, signs: int | None, constants: Sequence[Tensor]) -> Tensor:
        if signs is not None:
            x = x.index_select(-2, constants[signs]) * constants[signs + 1].to(x.dtype)
        return x if x.ndim == 3 else x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])

    def _flat(self, y: Tensor, lead, signs: int | None, constants: Sequence[Tensor]) -> Tensor:
        if len(lead) != 1:
            y = y.reshape(*lead, *y.shape[1:])
        if signs is not None:
            y = y.index_select(-2, constants[signs]) * constants[signs + 1].to(y.dtype)
        return y


def _free(d: Diagram) -> Diagram:
    """A diagram with one determinant as one with free points tied to a head: the sign of their values."""
    if d.kind != "determinant":
        return d
    (star,) = d.head
    blocks = sorted([block for i, block in enumerate(d.blocks) if i != star] + [(p,) for p in d.blocks[star]])
    return Diagram(d.l, d.k, tuple(blocks), "brauer+free", tuple(i for i, b in enumerate(blocks) if len(b) == 1))


@lru_cache(maxsize=64)
def musical(group: Group, term: bases.Term, lower: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """V to V* (lower), or V* to V, on the dual axes of a term, by the group's form: (index, sign) with
    y[i] = sign[i] x[index[i]]; None where no axis is dual, and for GL(n), which has no form."""
    if not isinstance(group, Sp | Lorentz) or not any(term.dual):
        return None
    below, above = forms(group)
    form = below if lower else above
    index, sign = np.zeros(1, dtype=np.int64), np.ones(1)
    for dual in term.dual:
        M = form if dual else np.eye(group.dim_V, dtype=np.int64)
        there = np.abs(M).argmax(1)
        index = (index[:, None] * group.dim_V + there).reshape(-1)
        sign = (sign[:, None] * M[np.arange(group.dim_V), there]).reshape(-1)
    return index, sign


def _back(x: Tensor, index: Tensor, sign: Tensor) -> Tensor:
    """The transpose of x -> sign * x[index]."""
    return (x * sign.to(x.dtype)).index_select(-2, index.argsort())


def _types(group, term: bases.Term) -> tuple[int, ...]:
    """Types of the axes: told apart only where V* is not V, for GL(n)."""
    oriented = bases.is_oriented(group)
    return tuple(int(dual and oriented) for dual in term.dual)


@dataclass(frozen=True)
class AllAtOnce(Plan):
    """One block by the contractions that its diagrams share."""

    layer: Layer

    @classmethod
    def of(cls, kernel: "DiagramKernel", c_in: int, c_out: int) -> "AllAtOnce":
        """The plan of a kernel between so many channels."""
        layer = Layer({(0, 0): kernel}, {0: c_in}, {0: c_out})
        return cls(tuple(layer.arrays), layer.flops, layer)

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        (y,) = self.layer.run([x], [w], constants)
        return y


@dataclass(frozen=True)
class Transposed(Plan):
    """The transposed maps of one block, as the derivative of the block itself."""

    layer: Layer

    @classmethod
    def of(cls, kernel: "DiagramKernel", c_in: int, c_out: int) -> "Transposed":
        """The plan of the transpose of a kernel, between channels of the transpose."""
        layer = Layer({(0, 0): kernel}, {0: c_out}, {0: c_in})
        return cls(tuple(layer.arrays), layer.flops, layer)

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        return self.layer.run_transposed(x, w.transpose(1, 2), constants)


def together(blocks: Sequence["Block"]) -> Layer | None:
    """All blocks of a Map that diagrams serve, as one layer that shares their contractions; None if there are none.

    A block between invariants counts as one, whichever rule found it.
    """
    from .kernel import DiagramKernel

    def shares(kernel: Kernel) -> bool:
        return isinstance(kernel, DiagramKernel) and not kernel.flipped and kernel.way == "together"

    served = [block for block in blocks if shares(block.kernel)]
    if not served:
        return None
    found = {}
    for k, block in enumerate(blocks):
        kernel = block.kernel
        if not (block.U.factors or block.W.factors):
            kernel = DiagramKernel.scalars(served[0].kernel.group)
        if shares(kernel):
            found[k] = block, kernel
    return Layer(
        {(block.index_out, block.index_in): kernel for block, kernel in found.values()},
        {block.index_in: block.c_in for block, _ in found.values()},
        {block.index_out: block.c_out for block, _ in found.values()},
        tuple(found),
    )
