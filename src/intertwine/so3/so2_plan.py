"""What an SO(2) convolution computes: its sizes, the layout of orders, and the sum in ordinary operations."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .edge_frame import EdgeFrame, Orders
from .frame_blocks import column_orders
from .wigner import _frozen


@dataclass(frozen=True)
class SO2Plan:
    """Degrees, orders and channels of one convolution.

    In memory, the rows of a feature in the frame are sorted by order: degrees 0..lmax of order 0, then for each m > 0
    degrees m..lmax of +m and of -m.
    """

    lmax_in: int
    lmax_out: int
    mmax: int
    channels_in: int
    channels_out: int
    parity: bool

    def widths(self, m: int) -> tuple[int, int]:
        """Numbers of one order: degrees times channels, in and out."""
        return (self.lmax_in + 1 - m) * self.channels_in, (self.lmax_out + 1 - m) * self.channels_out

    def spans(self, m: int) -> list[tuple[slice, slice]]:
        """Where the numbers of +m and of -m stand in a flat feature of the frame, in and out; one pair for m = 0."""
        starts = [
            channels * (0 if m == 0 else first_row(lmax, m))
            for lmax, channels in ((self.lmax_in, self.channels_in), (self.lmax_out, self.channels_out))
        ]
        widths = self.widths(m)
        pairs = []
        for sign in range(1 if m == 0 else 2):
            pairs.append(tuple(slice(s + sign * w, s + (sign + 1) * w) for s, w in zip(starts, widths)))
        return pairs

    def numbers(self, side: int) -> int:
        """Numbers of a flat feature in the frame; side 0: in, 1: out."""
        return self.spans(self.mmax)[-1][side].stop

    def are_dense(self, frames: Sequence[Tensor]) -> bool:
        """Whether frames are two matrices with all degrees, in and out (`dense_frame`), not a block for each degree."""
        return [D.shape[1] for D in frames] == [(self.lmax_in + 1) ** 2, (self.lmax_out + 1) ** 2]

    @property
    def scale_numel(self) -> int:
        """Factors of the inputs of one edge: one for each order m >= 0, degree and channel."""
        return sum(self.widths(m)[0] for m in range(self.mmax + 1))


def first_row(lmax: int, m: int) -> int:
    """The first row of order +m among the rows of a frame, sorted by order."""
    return 0 if m == 0 else lmax + 1 + sum(2 * (lmax + 1 - k) for k in range(1, m))


@lru_cache(maxsize=64)
def dense_places(lmax: int, mmax: int) -> tuple[np.ndarray, int, int]:
    """Where the blocks of an `EdgeFrame` stand in one matrix for each edge, columns sorted by order; its two sizes."""
    columns = first_row(lmax, mmax) + (2 * (lmax + 1 - mmax) if mmax else lmax + 1)
    places = []
    for l in range(lmax + 1):
        own = [
            first_row(lmax, abs(m)) + l - abs(m) + (lmax + 1 - abs(m)) * (m < 0) for m in column_orders(min(l, mmax))
        ]
        places.append(np.add.outer(columns * (l * l + np.arange(2 * l + 1)), own).ravel())
    return _frozen(np.concatenate(places)), (lmax + 1) ** 2, columns


def convolve(
    plan: SO2Plan, y: Orders, weights: Sequence[Tensor], bias: Tensor | None, scale: Tensor | None
) -> tuple[Orders, Tensor]:
    """The convolution of a feature in the frame, and what order 0 gives beyond its outputs."""
    factors = None if scale is None else scale.split([plan.widths(m)[0] for m in range(plan.mmax + 1)], 1)
    out, extra = [], None
    for m, weight in enumerate(weights):
        x, width = y[m].flatten(-2), plan.widths(m)[1]
        if factors is not None:
            x = x * (factors[m] if m == 0 else factors[m][:, None])
        z = torch.matmul(x, weight) if m or bias is None else torch.addmm(bias, x, weight)
        if m == 0:
            z, extra = z[:, :width], z[:, width:]
        elif not plan.parity:
            real, imaginary = z.split(width, -1)
            z = torch.stack([real[:, 0] - imaginary[:, 1], real[:, 1] + imaginary[:, 0]], 1)
        out.append(z.unflatten(-1, (plan.lmax_out + 1 - m, plan.channels_out)))
    return tuple(out), extra


def edge_sum(
    plan: SO2Plan,
    frame: EdgeFrame,
    x: Tensor,
    weights: Sequence[Tensor],
    bias: Tensor | None,
    scale: Tensor | None,
    src: Tensor,
    dst: Tensor,
    n: int,
) -> Tensor:
    """Σ_{edges src → dst} D W(s ∘ Dᵀ x_src), all messages at once: for a compiler, derivatives, and as a reference."""
    y = frame.truncated(plan.lmax_in, plan.mmax).into(x.index_select(0, src))
    z, _ = convolve(plan, y, weights, bias, scale)
    message = frame.truncated(plan.lmax_out, plan.mmax).out_of(z)
    return message.new_zeros(n, *message.shape[1:]).index_add(0, dst, message)
