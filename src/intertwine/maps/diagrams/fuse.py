"""Run diagrams inside a Map: one block alone, its transpose, or all blocks of a layer, sharing contractions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ..kernel import Plan
from . import bases
from .apply import run, run_transposed
from .layout import Layout
from .plan import LayerPlan

if TYPE_CHECKING:
    from .kernel import DiagramKernel


class Layer:
    """All blocks between some terms of diagram kernels, as one computation on features [..., components, channels].

    kernels: (output term, input term) -> kernel; c_in, c_out: channels of each term. `arrays` are the constants.
    """

    def __init__(self, kernels: dict[tuple[int, int], "DiagramKernel"], c_in: Sequence[int], c_out: Sequence[int]):
        from .kernel import musical

        group = next(iter(kernels.values())).group
        sources = {i: kernel.U for (_, i), kernel in kernels.items()}
        targets = {o: kernel.W for (o, _), kernel in kernels.items()}
        self.ins = [sources[i] for i in range(len(c_in))]
        self.outs = [targets[o] for o in range(len(c_out))]
        self.n = group.dim_V
        layout = Layout(
            bases.calculus(group),
            [_types(group, term) for term in self.ins],
            [_types(group, term) for term in self.outs],
            {key: kernel.diagrams for key, kernel in kernels.items()},
        )
        self.plan = LayerPlan(layout, tuple(c_in), tuple(c_out))
        self.arrays: list[np.ndarray] = list(self.plan.arrays)
        self._raise = [self._keep(musical(group, term, lower=False)) for term in self.ins]
        self._lower = [self._keep(musical(group, term, lower=True)) for term in self.outs]

    def _keep(self, found: tuple[np.ndarray, np.ndarray] | None) -> int | None:
        if found is None:
            return None
        index, sign = found
        self.arrays += [index, sign[:, None]]
        return len(self.arrays) - 2

    @property
    def flops(self) -> int:
        """Multiplications and additions for one sample."""
        return self.plan.flops()

    def run(self, terms: Sequence[Tensor], weights: Sequence[Tensor], constants: Sequence[Tensor]) -> list[Tensor]:
        """Output terms [..., components, c_out] of input terms [..., components, c_in]; weights in the order of the
        kernels, each [N, c_in, c_out]."""
        lead = terms[0].shape[:-2]
        shaped = [self._shaped(x, term, signs, constants) for x, term, signs in zip(terms, self.ins, self._raise)]
        made = run(self.plan, shaped, list(weights), list(constants[: len(self.plan.arrays)]))
        return [self._flat(y, lead, signs, constants) for y, signs in zip(made, self._lower)]

    def run_transposed(self, grad: Tensor, weight: Tensor, constants: Sequence[Tensor]) -> Tensor:
        """The transposed matrix of a layer of one block, on [..., components, c_out]; weight [N, c_in, c_out]."""
        lead = grad.shape[:-2]
        if (place := self._lower[0]) is not None:
            grad = _back(grad, constants[place], constants[place + 1])
        shaped = self._shaped(grad, self.outs[0], None, constants)
        (made,) = run_transposed(self.plan, [shaped], [weight], list(constants[: len(self.plan.arrays)]))
        made = self._flat(made, lead, None, constants)
        if (place := self._raise[0]) is not None:
            made = _back(made, constants[place], constants[place + 1])
        return made

    def _shaped(self, x: Tensor, term: bases.Term, signs: int | None, constants: Sequence[Tensor]) -> Tensor:
        if signs is not None:
            x = x.index_select(-2, constants[signs]) * constants[signs + 1].to(x.dtype)
        return x.reshape(math.prod(x.shape[:-2]), *(self.n,) * term.order, x.shape[-1])

    def _flat(self, y: Tensor, lead, signs: int | None, constants: Sequence[Tensor]) -> Tensor:
        y = y.reshape(*lead, math.prod(y.shape[1:-1]), y.shape[-1])
        if signs is not None:
            y = y.index_select(-2, constants[signs]) * constants[signs + 1].to(y.dtype)
        return y


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
        layer = Layer({(0, 0): kernel}, [c_in], [c_out])
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
        layer = Layer({(0, 0): kernel}, [c_out], [c_in])
        return cls(tuple(layer.arrays), layer.flops, layer)

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        return self.layer.run_transposed(x, w.transpose(1, 2), constants)
