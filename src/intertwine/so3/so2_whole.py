"""The SO(2) edge sum in a few whole operations, differentiable to every order: what its higher derivatives are made of.

All degrees go into the frame by one matrix for each edge: at the sizes in use, calls cost more than the zeros in it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .edge_frame import torque
from .so2_plan import SO2Plan, dense_places


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
    into = _dense(blocks, plan.lmax_in, plan.mmax)
    back = into if plan.lmax_in == plan.lmax_out else _dense(blocks, plan.lmax_out, plan.mmax)
    y = _Into.apply(x.index_select(0, src), direction, into).flatten(1)
    factors = None if scale is None else scale.split([plan.widths(m)[0] for m in range(plan.mmax + 1)], 1)
    parts = []
    for m, weight in enumerate(weights):
        (width_in, width), spans = plan.widths(m), plan.spans(m)
        u = y.narrow(1, spans[0][0].start, width_in * len(spans)).unflatten(1, (len(spans), width_in))
        if factors is not None:
            u = u * factors[m].unsqueeze(1)
        z = u @ weight if m or bias is None else u @ weight + bias
        if m == 0:
            z = z[..., :width]
        elif not plan.parity:
            real, imaginary = z.split(width, -1)
            z = torch.stack([real[:, 0] - imaginary[:, 1], real[:, 1] + imaginary[:, 0]], 1)
        parts.append(z.flatten(1))
    inside = torch.cat(parts, 1).unflatten(1, (-1, plan.channels_out))
    message = _OutOf.apply(inside, direction, back)
    return message.new_zeros(n, *message.shape[1:]).index_add(0, dst, message)


def _dense(blocks: Sequence[Tensor], lmax: int, mmax: int) -> Tensor:
    """The blocks of a frame as one matrix for each edge, columns sorted by order."""
    places, rows, columns = dense_places(lmax, mmax)
    entries = [D.narrow(2, 0, 2 * min(l, mmax) + 1).flatten(1) for l, D in enumerate(blocks[: lmax + 1])]
    flat = blocks[0].new_zeros(len(blocks[0]), rows * columns)
    return flat.index_copy(1, torch.tensor(places, device=flat.device), torch.cat(entries, 1)).unflatten(
        1, (rows, columns)
    )


class _Into(torch.autograd.Function):
    """(x, direction, D) -> Dᵀx; derivatives by the direction as in `edge_frame`."""

    generate_vmap_rule = True

    @staticmethod
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
