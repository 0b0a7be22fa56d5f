"""A tensor product with harmonics of a direction, run in the frame of that direction: there only equal orders mix."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..maps.constants import Constants
from .couplings import Path
from .edge_frame import EdgeFrame, check_orders
from .irreps import Irreps
from .so2_plan import SO2Plan, convolve
from .wigner import clebsch_gordan


class SO2Product(nn.Module):
    """Σ over paths of scale Σ w_uw C_ijk x_iu Y_j(r), mode "uvw" with one weight for all samples, at O(L³) a sample.

    The features have degrees 0..lmax once each, in equal channels. No parameters: the weights come with the call, and a
    constant matrix for each order turns those of the paths into those of an `SO2Convolution`.
    Source: arXiv:2302.03655, proposition 3.1.
    """

    def __init__(self, irreps1: Irreps, irreps2: Irreps, rep_out: Irreps, paths: tuple[Path, ...], mmax: int | None):
        super().__init__()
        (lmax_in, c_in), (lmax_out, c_out) = spherical_shape(irreps1), spherical_shape(rep_out)
        most = min(lmax_in, lmax_out)
        mmax = most if mmax is None else mmax
        check_orders("TensorProduct", mmax, most)
        self.plan = SO2Plan(lmax_in, lmax_out, mmax, c_in, c_out, False)
        self.direction = direction(irreps2)
        tables = []
        for m in range(mmax + 1):
            table = np.zeros((1 if m == 0 else 2, lmax_in + 1 - m, lmax_out + 1 - m, len(paths)))
            for p, path in enumerate(paths):
                l1, l2, l3 = (side.blocks[i][0].l for side, i in zip((irreps1, irreps2, rep_out), path[:3]))
                if min(l1, l3) < m:
                    continue
                C = clebsch_gordan(l1, l2, l3) * path.scale * math.sqrt(2 * l2 + 1)
                if (l1 + l2 + l3) % 2 == 0:
                    table[0, l1 - m, l3 - m, p] = C[l1 + m, l2, l3 + m]
                elif m:
                    table[1, l1 - m, l3 - m, p] = C[l1 + m, l2, l3 - m]
            tables.append(table.reshape(-1, len(paths)))
        self._tables = Constants(tables, any_dtype=True)

    def cost(self) -> tuple[float, float, int]:
        """Operations and bytes of float32 between them, for one sample; calls of the library."""
        plan, flops, moved = self.plan, 0.0, 0.0
        for lmax, channels in ((plan.lmax_in, plan.channels_in), (plan.lmax_out, plan.channels_out)):
            entries = sum((2 * l + 1) * (2 * min(l, plan.mmax) + 1) for l in range(lmax + 1))
            flops += 2 * entries * channels
            moved += 4 * (6 * (lmax + 1) ** 2 * channels + entries)
        top = max(plan.lmax_in, plan.lmax_out)
        frame = sum((2 * l + 1) * (2 * min(l, plan.mmax) + 1) for l in range(top + 1))
        flops += 4 * (2 * top + 1) * frame
        for m in range(plan.mmax + 1):
            rows, columns = plan.widths(m)
            flops += 2 * rows * columns * (1 if m == 0 else 4)
        return flops, moved + 24 * frame, 50 * (top + 1)

    def forward(self, x1: Tensor, x2: Tensor, weight: Tensor) -> Float[Tensor, "*batch dim_out"]:
        """The product of flat features; weight [numbers]."""
        plan = self.plan
        batch = torch.broadcast_shapes(x1.shape[:-1], x2.shape[:-1])
        x = x1.expand(*batch, -1).reshape(-1, (plan.lmax_in + 1) ** 2, plan.channels_in)
        toward = x2[..., self.direction].expand(*batch, -1).reshape(-1, 3)
        frame = EdgeFrame.from_vectors(toward, max(plan.lmax_in, plan.lmax_out), plan.mmax)
        numbers = weight.view(-1, plan.channels_in * plan.channels_out)
        matrices = []
        for m, table in enumerate(self._tables(x1)):
            shape = (-1, plan.lmax_in + 1 - m, plan.lmax_out + 1 - m, plan.channels_in, plan.channels_out)
            w = (table @ numbers).view(shape).transpose(2, 3).flatten(3).flatten(1, 2)
            matrices.append(torch.cat(list(w), 1))
        y = frame.truncated(plan.lmax_in, plan.mmax).into(x)
        z, _ = convolve(plan, y, matrices, None, None)
        return (
            frame.truncated(plan.lmax_out, plan.mmax)
            .out_of(z)
            .reshape(*batch, (plan.lmax_out + 1) ** 2 * plan.channels_out)
        )


def spherical_shape(irreps: Irreps) -> tuple[int, int] | None:
    """(lmax, channels) where degrees are 0..lmax, once each, in equal channels."""
    degrees, channels = [irrep.l for irrep, _ in irreps.blocks], {c for _, c in irreps.blocks}
    return (degrees[-1], channels.pop()) if degrees == list(range(len(degrees))) and len(channels) == 1 else None


def direction(irreps: Irreps) -> slice | None:
    """Where harmonics of one direction, some of its degrees, hold the direction itself: the entries of degree 1."""
    if any(c != 1 for _, c in irreps.blocks):
        return None
    start = 0
    for irrep, _ in irreps.blocks:
        if irrep.l == 1:
            return slice(start, start + 3)
        start += irrep.dim
    return None
