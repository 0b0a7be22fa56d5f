"""The matrices of an SO(2) convolution applied to the orders of a feature, its transpose, and its slope by them.

Orders ±m are one complex number, (y₊ + i y₋)(R + i I): three real products do, not four. Each of the three maps is
bilinear, and the derivatives of each are the other two, so they are differentiable to every order.
"""

from functools import lru_cache, partial

import torch
from torch import Tensor

from ..maps.own_derivatives import quick
from .so2_plan import SO2Plan

_THREE = 64  # numbers of an order, from which a product saved is worth the sums that it takes; measured
Parts = list[list[Tensor]]  # for each order its numbers, [edges, width]: of 0, and of +m and -m


class Matrices:
    """The matrices of every order, or their derivatives: views of the parts R and I; None where there are none."""

    def __init__(self, plan: SO2Plan, weights: list[Tensor | None]):
        widths = [plan.widths(m)[1] for m in range(len(weights))]
        self.real = [None if w is None else w[:, :width] for w, width in zip(weights, widths)]
        self.imaginary = [
            None if w is None or m == 0 or plan.parity else w[:, width:]
            for m, (w, width) in enumerate(zip(weights, widths))
        ]
        self._made: list[tuple[Tensor, Tensor] | None] | None = None

    @property
    def three(self) -> list[tuple[Tensor, Tensor] | None]:
        """R + I and I - R of the orders that are large enough to go by three products."""
        if self._made is None:
            self._made = [
                (real + imaginary, imaginary - real) if imaginary is not None and min(real.shape) >= _THREE else None
                for real, imaginary in zip(self.real, self.imaginary)
            ]
        return self._made


def parts(plan: SO2Plan, flat: Tensor, side: int) -> Parts:
    """Views of a flat feature in the frame; side 0: in, 1: out."""
    # made by the dozen for each chunk: `narrow` costs half of what indexing does
    return [[flat.narrow(1, start, width) for start, width in pair] for pair in _spans(plan, side)]


@lru_cache(maxsize=256)
def _spans(plan: SO2Plan, side: int) -> list[list[tuple[int, int]]]:
    pairs = [[pair[side] for pair in plan.spans(m)] for m in range(plan.mmax + 1)]
    return [[(span.start, span.stop - span.start) for span in pair] for pair in pairs]


def spare(plan: SO2Plan, like: Tensor, edges: int, side: int) -> list[Tensor]:
    """Memory for +m or -m of each order; orders share it."""
    memory = like.new_empty(edges, max((plan.widths(m)[side] for m in range(1, plan.mmax + 1)), default=0))
    return [memory[:, : plan.widths(m)[side] if m else 0] for m in range(plan.mmax + 1)]


def apply(w: Matrices, y: Parts, z: Parts, memory: list[Tensor], bias: Tensor | None = None) -> None:
    """Set z to the convolution of y; memory: `spare` of y."""
    for m, (a, b) in enumerate(zip(y, z)):
        real, imaginary, three = w.real[m], w.imaginary[m], w.three[m]
        if m == 0:
            torch.mm(a[0], real, out=b[0]) if bias is None else torch.addmm(bias, a[0], real, out=b[0])
        elif three is not None:
            torch.mm(torch.add(a[0], a[1], out=memory[m]), real, out=b[0])
            torch.addmm(b[0], a[0], three[1], out=b[1])
            b[0].addmm_(a[1], three[0], alpha=-1)
        else:
            for sign in (0, 1):
                torch.mm(a[sign], real, out=b[sign])
                if imaginary is not None:
                    b[sign].addmm_(a[1 - sign], imaginary, alpha=1 if sign else -1)


def apply_back(w: Matrices, gz: Parts, gy: Parts, memory: list[Tensor]) -> None:
    """Set gy to the transpose of the convolution applied to gz; memory: `spare` of gz."""
    for m, (a, b) in enumerate(zip(gz, gy)):
        real, imaginary, three = w.real[m], w.imaginary[m], w.three[m]
        if three is not None:
            torch.mm(torch.add(a[0], a[1], out=memory[m]), real.T, out=b[0])
            torch.addmm(b[0], a[0], three[0].T, alpha=-1, out=b[1])
            b[0].addmm_(a[1], three[1].T)
            continue
        for sign in range(len(a)):
            torch.mm(a[sign], real.T, out=b[sign])
            if imaginary is not None:  # y₊ reaches z₋ by +I, y₋ reaches z₊ by -I
                b[sign].addmm_(a[1 - sign], imaginary.T, alpha=-1 if sign else 1)


def add_slopes(y: Parts, gz: Parts, slopes: Matrices) -> None:
    """Add to `slopes` the derivative by the matrices."""
    for a, b, real, imaginary in zip(y, gz, slopes.real, slopes.imaginary):
        if real is None:
            continue
        if imaginary is not None and min(real.shape) >= _THREE:
            both = a[1].T @ (b[0] + b[1])
            real.add_(both).addmm_((a[0] - a[1]).T, b[0])
            imaginary.sub_(both).addmm_((a[0] + a[1]).T, b[1])
            continue
        for sign in range(len(a)):
            real.addmm_(a[sign].T, b[sign])
            if imaginary is not None:
                imaginary.addmm_(a[sign].T, b[1 - sign], alpha=-1 if sign else 1)


# --- the same for all edges at once, differentiable


def convolved(plan: SO2Plan, y: Tensor, weights: list[Tensor]) -> Tensor:
    """The convolution, without bias, of flat features in the frame, [edges, numbers] to [edges, numbers]."""
    return _Convolve.apply(plan, y, *weights)


def _plain(plan: SO2Plan, y: Tensor, *weights: Tensor) -> Tensor:
    """In ordinary operations."""
    found = []
    for m, weight in enumerate(weights):
        width = plan.widths(m)[1]
        u = [y[..., pair[0]] for pair in plan.spans(m)]
        real, imaginary = weight[:, :width], weight[:, width:]
        if m == 0 or plan.parity:
            found += [a @ real for a in u]
        else:
            found += [u[0] @ real - u[1] @ imaginary, u[1] @ real + u[0] @ imaginary]
    return torch.cat(found, -1)


class _Convolve(torch.autograd.Function):
    """(y, weights) -> z."""

    @staticmethod
    @quick
    def forward(plan: SO2Plan, y: Tensor, *weights: Tensor) -> Tensor:
        z = y.new_empty(len(y), plan.numbers(1))
        apply(Matrices(plan, list(weights)), parts(plan, y, 0), parts(plan, z, 1), spare(plan, y, len(y), 0))
        return z

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.plan, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, g: Tensor):
        y, *weights = ctx.saved_tensors
        need = ctx.needs_input_grad
        back = _Back.apply(ctx.plan, g, *weights) if need[1] else None
        slopes = _Slopes.apply(ctx.plan, y, g, *map(_columns, weights)) if any(need[2:]) else [None] * len(weights)
        return None, back, *slopes

    @staticmethod
    def vmap(info, in_dims, plan: SO2Plan, *tensors: Tensor):
        return torch.vmap(partial(_plain, plan), in_dims[1:])(*tensors), 0


class _Back(torch.autograd.Function):
    """(g, weights) -> the transpose of `_Convolve` applied to g."""

    @staticmethod
    @quick
    def forward(plan: SO2Plan, g: Tensor, *weights: Tensor) -> Tensor:
        y = g.new_empty(len(g), plan.numbers(0))
        apply_back(Matrices(plan, list(weights)), parts(plan, g, 1), parts(plan, y, 0), spare(plan, g, len(g), 1))
        return y

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.plan, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, h: Tensor):
        g, *weights = ctx.saved_tensors
        need = ctx.needs_input_grad
        along = _Convolve.apply(ctx.plan, h, *weights) if need[1] else None
        slopes = _Slopes.apply(ctx.plan, h, g, *map(_columns, weights)) if any(need[2:]) else [None] * len(weights)
        return None, along, *slopes

    @staticmethod
    def vmap(info, in_dims, plan: SO2Plan, *tensors: Tensor):
        def run(g: Tensor, *weights: Tensor) -> Tensor:
            zero = g.new_zeros(len(g), plan.numbers(0))
            return torch.func.vjp(lambda y: _plain(plan, y, *weights), zero)[1](g)[0]

        return torch.vmap(run, in_dims[1:])(*tensors), 0


class _Slopes(torch.autograd.Function):
    """(y, g) -> the derivative of ⟨g, `_Convolve`⟩ by the weights, whose numbers of columns come with it."""

    @staticmethod
    @quick
    def forward(plan: SO2Plan, y: Tensor, g: Tensor, *columns: int) -> tuple[Tensor, ...]:
        found = [y.new_zeros(plan.widths(m)[0], count) for m, count in enumerate(columns)]
        add_slopes(parts(plan, y, 0), parts(plan, g, 1), Matrices(plan, found))
        return tuple(found)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.plan, y, g, *columns = inputs
        ctx.count = len(columns)
        ctx.save_for_backward(y, g)

    @staticmethod
    def backward(ctx, *h: Tensor):
        y, g = ctx.saved_tensors
        need = ctx.needs_input_grad
        by_y = _Back.apply(ctx.plan, g, *h) if need[1] else None
        by_g = _Convolve.apply(ctx.plan, y, *h) if need[2] else None
        return None, by_y, by_g, *([None] * ctx.count)

    @staticmethod
    def vmap(info, in_dims, plan: SO2Plan, y: Tensor, g: Tensor, *columns: int):
        def run(y: Tensor, g: Tensor) -> tuple[Tensor, ...]:
            zeros = [y.new_zeros(plan.widths(m)[0], count) for m, count in enumerate(columns)]
            return torch.func.vjp(lambda *weights: _plain(plan, y, *weights), *zeros)[1](g)

        return torch.vmap(run, in_dims[1:3])(y, g), (0,) * len(columns)


def _columns(weight: Tensor) -> int:
    return weight.shape[1]
