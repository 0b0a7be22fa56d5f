"""Maps of a direct product are products of maps, member by member: Hom(UxX, WxY) = Hom(U, W) x Hom(X, Y)."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from ..groups import DirectProduct, Group
from ..reps import Product
from ..reps.pullback import Pulled
from .kernel import Kernel, Plan


@dataclass(frozen=True)
class OneMemberAtATime(Plan):
    """Apply the basis of each member along its own axes, then mix channels. Constants: [N_i * dim_out_i, dim_in_i]."""

    shape_in: tuple[int, ...]  # the axes as the term has them
    order_in: tuple[int, ...]  # the axes sorted by member
    sizes: tuple[tuple[int, int, int], ...]  # per member: N, dim_out, dim_in
    shape_out: tuple[int, ...]  # sorted by member
    order_out: tuple[int, ...]  # where each axis of the output term is found

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        lead, c = x.shape[:-2], x.shape[-1]
        n = len(lead)
        x = x.reshape(*lead, *self.shape_in, c)
        x = x.permute(*range(n), *(n + axis for axis in self.order_in), x.ndim - 1)
        maps, rows, columns = 1, 1, math.prod(self.shape_in)
        for (N, dim_out, dim_in), B in zip(self.sizes, constants):
            columns = columns // dim_in
            x = x.reshape(*lead, maps * rows, dim_in, columns * c)  # [maps, rows so far; here; the rest]
            x = (B @ x).reshape(*lead, maps, rows, N, dim_out, columns * c).transpose(n + 1, n + 2)
            maps, rows = maps * N, rows * dim_out
        x = x.reshape(*lead, maps, rows, c).transpose(-3, -2).reshape(*lead, rows, maps * c)
        y = x @ w.flatten(0, 1)
        y = y.reshape(*lead, *self.shape_out, w.shape[-1])
        y = y.permute(*range(n), *(n + axis for axis in self.order_out), y.ndim - 1)
        return y.reshape(*lead, rows, w.shape[-1])


@dataclass(frozen=True, eq=False)
class ProductKernel(Kernel):
    """The products of the basis maps of every member, the last member's index running fastest."""

    members: tuple[Kernel, ...]
    axes_in: tuple[tuple[int, int], ...]  # (member, size) of each axis of U
    axes_out: tuple[tuple[int, int], ...]

    @property
    def route(self) -> str:
        return "product of " + " and ".join(member.route for member in self.members)

    @property
    def dim_in(self) -> int:
        return math.prod(member.dim_in for member in self.members)

    @property
    def dim_out(self) -> int:
        return math.prod(member.dim_out for member in self.members)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(" x ".join(names) for names in itertools.product(*(member.labels for member in self.members)))

    def dense(self) -> np.ndarray:
        B = np.ones((1, 1, 1))
        for member in self.members:
            D = member.dense()
            sizes = [a * b for a, b in zip(B.shape, D.shape)]
            B = np.einsum("nij,mkl->nmikjl", B, D).reshape(sizes)
        for axis, places in ((1, self.axes_out), (2, self.axes_in)):
            order = _sorted(places)
            sizes = [places[k][1] for k in order]
            full = B.reshape(*B.shape[:axis], *sizes, *B.shape[axis + 1 :])
            back = [axis + int(k) for k in np.argsort(order)]
            turned = full.transpose(*range(axis), *back, *range(axis + len(sizes), full.ndim))
            B = turned.reshape(B.shape)
        return B

    def plan(self, c_in: int, c_out: int) -> Plan:
        constants, sizes, flops = [], [], 0
        maps, rows, columns = 1, 1, self.dim_in
        for member in self.members:
            constants.append(np.ascontiguousarray(member.dense()).reshape(-1, member.dim_in))
            sizes.append((member.N, member.dim_out, member.dim_in))
            flops += 2 * maps * rows * columns * member.N * member.dim_out * c_in
            maps, rows, columns = maps * member.N, rows * member.dim_out, columns // member.dim_in
        flops += 2 * rows * maps * c_in * c_out
        order_in, order_out = _sorted(self.axes_in), _sorted(self.axes_out)
        return OneMemberAtATime(
            tuple(constants),
            flops,
            tuple(size for _, size in self.axes_in),
            order_in,
            tuple(sizes),
            tuple(self.axes_out[k][1] for k in order_out),
            tuple(int(k) for k in np.argsort(order_out)),
        )

    @cached_property
    def transpose(self) -> "ProductKernel":
        return ProductKernel(tuple(member.transpose for member in self.members), self.axes_out, self.axes_in)

    def squares(self) -> np.ndarray:
        return self._outer([member.squares() for member in self.members])

    def row_norms(self) -> np.ndarray:
        return self._outer([member.row_norms() for member in self.members])

    def row_sums(self) -> np.ndarray:
        return self._outer([member.row_sums() for member in self.members])

    def _outer(self, values: list[np.ndarray]) -> np.ndarray:
        out = np.ones(1)
        for value in values:
            out = np.multiply.outer(out, value).reshape(-1)
        return out


def _sorted(axes: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    """Positions of the axes, those of the first member first, otherwise in order."""
    return tuple(sorted(range(len(axes)), key=lambda k: axes[k][0]))


def kernel(group: Group, U: Product, W: Product, member_kernel: Callable[[Group, Product, Product], Kernel]):
    """Hom(U, W) of a direct product whose factors each belong to one member; None for any other group or factor."""
    if not isinstance(group, DirectProduct):
        return None
    if not all(isinstance(factor, Pulled) for factor in (*U.factors, *W.factors)):
        return None

    def part(term: Product, i: int) -> Product:
        return Product(tuple(factor.base for factor in term.factors if factor.index == i))

    members = tuple(member_kernel(member, part(U, i), part(W, i)) for i, member in enumerate(group.factors))
    axes = [tuple((factor.index, factor.dim) for factor in term.factors) for term in (U, W)]
    return ProductKernel(members, *axes)
