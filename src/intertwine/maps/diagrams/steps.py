"""The elementary moves on a stack of tensors [batch, n, .., n, slots·channels]: contract it, and the exact adjoint.

Every move reads one level of a lattice of contractions and makes part of a lower one (`down`); its adjoint adds a lower
level into a higher one (`up`). Diagonals are strided views in both directions: nothing larger than the input appears.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

Runs = tuple[
    tuple[int, int, int, int, int], ...
]  # a form with entries ±1: (row start, column start, step, count, sign)


class Move(ABC):
    """One contraction; axes are counted without the batch axis."""

    @abstractmethod
    def down(self, x: Tensor, dtype: torch.dtype, constants: list[Tensor]) -> Tensor:
        """The contracted tensor; sums are accumulated in `dtype`."""

    @abstractmethod
    def up(self, into: Tensor, y: Tensor, constants: list[Tensor]) -> None:
        """Add the adjoint of `down` at y to `into`, in place."""


@dataclass(frozen=True)
class Sum(Move):
    """Sum over one axis; the adjoint repeats along it."""

    axis: int

    def down(self, x, dtype, constants):
        return x.sum(1 + self.axis, dtype=dtype)

    def up(self, into, y, constants):
        into.add_(y.unsqueeze(1 + self.axis))


@dataclass(frozen=True)
class Diagonal(Move):
    """Set axis j equal to axis i < j; the adjoint adds into the diagonal."""

    i: int
    j: int

    def _view(self, x: Tensor) -> Tensor:
        return x.diagonal(dim1=1 + self.i, dim2=1 + self.j).movedim(-1, 1 + self.i)

    def down(self, x, dtype, constants):
        return self._view(x)

    def up(self, into, y, constants):
        self._view(into).add_(y)


@dataclass(frozen=True)
class Trace(Move):
    """Contract axes i < j with a form of entries ±1; the adjoint adds the form times y."""

    i: int
    j: int
    runs: Runs

    def _views(self, x: Tensor):
        for row, column, step, count, sign in self.runs:
            part = x
            for axis, start in ((1 + self.i, row), (1 + self.j, column)):
                part = part[(slice(None),) * axis + (slice(start, start + step * (count - 1) + 1, step),)]
            yield part.diagonal(dim1=1 + self.i, dim2=1 + self.j), sign

    def down(self, x, dtype, constants):
        total = None
        for part, sign in self._views(x):
            term = part.sum(-1, dtype=dtype)
            if total is None:
                total = term if sign == 1 else -term
            else:
                total = total + term if sign == 1 else total - term
        return total

    def up(self, into, y, constants):
        for part, sign in self._views(into):
            part.add_(y.unsqueeze(-1), alpha=sign)


@dataclass(frozen=True)
class Head(Move):
    """Arrange axes as (through, legs) and contract the legs with the sign of their values: a constant sparse matrix.

    order: the axes, through first. The matrix acts on the last `wide` axes and leaves `narrow`; `table` is where its
    constants begin: dense [n^narrow, n^wide], or the rows, columns and values of its entries; None leaves the legs.
    """

    order: tuple[int, ...]
    wide: int
    narrow: int
    n: int
    table: int | None
    dense: bool

    def _arranged(self, x: Tensor) -> Tensor:
        return x.permute(0, *(1 + axis for axis in self.order), x.ndim - 1)

    def down(self, x, dtype, constants):
        x = self._arranged(x)
        if self.table is None:
            return x
        before = x.shape[: x.ndim - 1 - self.wide]
        flat = x.to(dtype).reshape(-1, self.n**self.wide, x.shape[-1])
        out = self._times(flat, constants, transposed=False)
        return out.reshape(*before, *(self.n,) * self.narrow, x.shape[-1])

    def up(self, into, y, constants):
        view = self._arranged(into)
        if self.table is not None:
            before = y.shape[: y.ndim - 1 - self.narrow]
            flat = y.reshape(-1, self.n**self.narrow, y.shape[-1])
            y = self._times(flat, constants, transposed=True)
            y = y.reshape(*before, *(self.n,) * self.wide, y.shape[-1])
        view.add_(y)

    def _times(self, x: Tensor, constants: list[Tensor], transposed: bool) -> Tensor:
        if self.dense:
            M = constants[self.table].to(x.dtype)
            return (M.T if transposed else M) @ x
        rows, columns, values = constants[self.table : self.table + 3]
        if transposed:
            rows, columns = columns, rows
        size = self.n ** (self.wide if transposed else self.narrow)
        picked = x.index_select(1, columns) * values.to(x.dtype)[:, None]
        return x.new_zeros(x.shape[0], size, x.shape[-1]).index_add(1, rows, picked)
