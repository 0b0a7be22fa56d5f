"""The SO(2) edge sum in a few whole operations, differentiable to every order: what its higher derivatives are made of.

All degrees go into the frame by one matrix for each edge: at the sizes in use, calls cost more than the zeros in it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..maps.own_derivatives import quick
from .dense_frame import placed
from .edge_frame import torque
from .so2_orders import convolved
from .so2_plan import SO2Plan


def whole_sum(
    plan: SO2Plan,
    x: Tensor,
    direction: Tensor,
    bias: Tensor | None,
    scale: Tensor | None,
    src: Tensor,
    dst: Tensor,
    weights: Sequence[Tensor],
    blocks: Sequence[Tensor],
    n: int,
) -> Tensor:
    """Σ_{edges src → dst} D W(s ∘ Dᵀ x_src), [n, components, channels]; inputs as those of `SO2EdgeSum`."""
    into, back = (
        blocks if plan.are_dense(blocks) else (placed(blocks, l, plan.mmax) for l in (plan.lmax_in, plan.lmax_out))
    )
    y = _Into.apply(x.index_select(0, src), direction, into).flatten(1)
    if scale is not None:
        factors = scale.split([plan.widths(m)[0] for m in range(plan.mmax + 1)], 1)
        y = y * torch.cat([factors[0], *(f for factor in factors[1:] for f in (factor, factor))], 1)
    z = convolved(plan, y, list(weights))
    if bias is not None:
        z = z + nn.functional.pad(bias[: plan.widths(0)[1]], (0, z.shape[1] - plan.widths(0)[1]))
    inside = z.unflatten(1, (-1, plan.channels_out))
    message = _OutOf.apply(inside, direction, back)
    return message.new_zeros(n, *message.shape[1:]).index_add(0, dst, message)


class _Into(torch.autograd.Function):
    """(x, direction, D) -> Dᵀx; derivatives by the direction as in `edge_frame`."""

    generate_vmap_rule = True

    @staticmethod
    @quick
    def forward(x: Tensor, direction: Tensor, D: Tensor) -> Tensor:
        return torch.bmm(D.mT, x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g: Tensor):
        x, direction, D = ctx.saved_tensors
        back = _OutOf.apply(g, direction, D)
        turn = torch.linalg.cross(direction, torque(back, x)) if ctx.needs_input_grad[1] else None
        return back, turn, None


class _OutOf(torch.autograd.Function):
    """(y, direction, D) -> D y."""

    generate_vmap_rule = True

    @staticmethod
    @quick
    def forward(y: Tensor, direction: Tensor, D: Tensor) -> Tensor:
        return torch.bmm(D, y)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, direction, D = inputs
        ctx.save_for_backward(direction, D, output)

    @staticmethod
    def backward(ctx, g: Tensor):
        direction, D, z = ctx.saved_tensors
        turn = torch.linalg.cross(torque(g, z), direction) if ctx.needs_input_grad[1] else None
        return _Into.apply(g, direction, D), turn, None
