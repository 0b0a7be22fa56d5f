"""The SO(2) edge convolution as one differentiable operation, in chunks of edges that fit the cache.

The messages of all edges never exist at once, neither forward nor in the first derivative, which recomputes them; the
second derivative takes larger chunks of ordinary operations.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..maps.own_derivatives import quick, transforming
from .edge_frame import torque
from .so2_chunks import CHUNK_BYTES_ELSEWHERE, chunk_bytes, chunks
from .so2_orders import Matrices
from .so2_plan import SO2Plan
from .so2_whole import whole_sum

Inputs = tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor, Tensor]  # x, direction, bias, scale, src, dst


def so2_edge_sum(plan: SO2Plan, n: int, *tensors: Tensor | None) -> Tensor:
    """out [n, components, channels] of x, direction, bias, scale, src, dst, weights and the frame's blocks."""
    if not torch.is_grad_enabled() and not transforming():
        return SO2EdgeSum.forward(plan, n, *tensors)  # a node costs as much as several small products
    return SO2EdgeSum.apply(plan, n, *tensors)


class SO2EdgeSum(torch.autograd.Function):
    """out [n, components, channels] of x, direction, bias, scale, src, dst, weights and the frame's blocks."""

    @staticmethod
    @quick
    def forward(plan: SO2Plan, n: int, *tensors: Tensor | None) -> Tensor:
        """The sum, in chunks of edges."""
        inputs, weights, blocks = _parts(plan, tensors)
        x, _, bias, scale, src, dst = inputs
        out = x.new_zeros(n, (plan.lmax_out + 1) ** 2 * plan.channels_out)
        halves, bias = Matrices(plan, weights), None if bias is None else bias[: plan.widths(0)[1]]
        for work, cut in chunks(plan, x, blocks, slopes=False):
            message = work.forward(x, cut(src), halves, bias, None if scale is None else cut(scale))
            out.index_add_(0, cut(dst), message.flatten(1))
        return out.view(n, -1, plan.channels_out)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the inputs: everything else is recomputed."""
        ctx.plan, ctx.n, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, g: Tensor):
        """By x, direction, bias, scale and weights."""
        needs = tuple(ctx.needs_input_grad[2:])
        found = iter(SO2EdgeSumGrad.apply(ctx.plan, ctx.n, needs, g, *ctx.saved_tensors) if any(needs) else ())
        return None, None, *(next(found) if need else None for need in needs)

    @staticmethod
    def vmap(info, in_dims, plan: SO2Plan, n: int, *tensors: Tensor | None):
        """In ordinary operations."""
        return torch.vmap(lambda *t: _plain(plan, n, t), in_dims[2:])(*tensors), 0


class SO2EdgeSumGrad(torch.autograd.Function):
    """Derivatives of ⟨g, SO2EdgeSum⟩ by the inputs that are needed."""

    @staticmethod
    @quick
    def forward(plan: SO2Plan, n: int, needs: tuple[bool, ...], g: Tensor, *tensors: Tensor | None):
        """The derivatives, in chunks of edges."""
        (x, direction, bias, scale, src, dst), weights, blocks = _parts(plan, tensors)
        wanted = [t if need else None for t, need in zip(tensors, needs)]
        found = [None if t is None else torch.zeros_like(t) for t in wanted[: 6 + len(weights)]]
        gx, gr, gb, gs, _, _, *gw = found
        halves, slopes = Matrices(plan, weights), Matrices(plan, gw)
        bias, gb = (None if t is None else t[: plan.widths(0)[1]] for t in (bias, gb))
        for work, cut in chunks(plan, x, blocks, slopes=True):
            factors = None if scale is None else cut(scale)
            message = work.forward(x, cut(src), halves, bias, factors, only_orders=gr is None)
            down = g.index_select(0, cut(dst))
            back = work.backward(down, halves, factors, slopes, gb, None if gs is None else cut(gs))
            if gx is not None:
                gx.index_add_(0, cut(src), back)
            if gr is not None:
                turn = torque(down, message).sub_(torque(back, work.source.outside))
                cut(gr).copy_(torch.linalg.cross(turn, cut(direction)))
        return tuple(d for d in found if d is not None)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the inputs."""
        ctx.plan, ctx.n, ctx.needs, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, *h: Tensor):
        """By g and everything else, in ordinary operations on one large chunk of edges after another."""
        plan, needs = ctx.plan, ctx.needs
        g, *tensors = ctx.saved_tensors
        which = [i for i, need in enumerate(needs) if need]
        per_edge = [1, 3]  # direction, scale: a row for each edge
        found: list[Tensor | None] = [None] * (1 + len(which))
        edges, size = len(tensors[4]), max(1, CHUNK_BYTES_ELSEWHERE // chunk_bytes(plan, tensors[0]) // 8)
        rows: dict[int, list[Tensor]] = {}
        for start in range(0, edges, size) or [0]:
            stop = min(start + size, edges)
            own = list(tensors)
            for i in (1, 3, 4, 5, *range(6 + plan.mmax + 1, len(own))):
                own[i] = None if own[i] is None else own[i][start:stop]
            cotangent = tuple(d[start:stop] if i in per_edge else d for i, d in zip(which, h))

            if not torch.is_grad_enabled():  # no third derivative follows: the plain way costs half
                for k, d in enumerate(_second(plan, ctx.n, own, which, g, cotangent)):
                    i = (-1, *which)[k]
                    if i in per_edge:
                        rows.setdefault(k, []).append(d)
                    else:
                        found[k] = d if found[k] is None else found[k] + d
                continue

            def slopes(g, *moving, own=own):
                def value(*moving):
                    given = list(own)
                    for i, t in zip(which, moving):
                        given[i] = t
                    return _plain(plan, ctx.n, given)

                return torch.func.vjp(value, *moving)[1](g)

            _, pull = torch.func.vjp(slopes, g, *(own[i] for i in which))
            for k, (i, d) in enumerate(zip((-1, *which), pull(cotangent))):
                if i in per_edge:
                    rows.setdefault(k, []).append(d)
                else:
                    found[k] = d if found[k] is None else found[k] + d
        for k, parts in rows.items():
            found[k] = torch.cat(parts)
        back: list[Tensor | None] = [None] * len(tensors)
        for i, d in zip(which, found[1:]):
            back[i] = d
        return None, None, None, found[0], *back

    @staticmethod
    def vmap(info, in_dims, plan: SO2Plan, n: int, needs: tuple[bool, ...], g: Tensor, *tensors: Tensor | None):
        """In ordinary operations."""
        which = [i for i, need in enumerate(needs) if need]

        def run(g, *tensors):
            def value(*moving):
                given = list(tensors)
                for i, t in zip(which, moving):
                    given[i] = t
                return _plain(plan, n, given)

            return torch.func.vjp(value, *(tensors[i] for i in which))[1](g)

        return torch.vmap(run, in_dims[3:])(g, *tensors), (0,) * len(which)


def _second(
    plan: SO2Plan, n: int, tensors: Sequence[Tensor | None], which: Sequence[int], g: Tensor, h: Sequence[Tensor]
) -> list[Tensor]:
    """Derivatives by g and the chosen inputs of ⟨h, first derivatives of ⟨g, sum⟩ by these⟩."""
    with torch.enable_grad():
        given, g = list(tensors), g.detach().requires_grad_()
        for i in which:
            given[i] = given[i].detach().requires_grad_()
        moving = [given[i] for i in which]
        slopes = torch.autograd.grad(_plain(plan, n, given), moving, g, create_graph=True)
        found = torch.autograd.grad(slopes, [g, *moving], h, allow_unused=True)
    return [torch.zeros_like(t) if d is None else d for t, d in zip((g, *moving), found)]


def _parts(plan: SO2Plan, tensors: Sequence[Tensor | None]) -> tuple[Inputs, list[Tensor], list[Tensor]]:
    last = 6 + plan.mmax + 1
    return tuple(tensors[:6]), list(tensors[6:last]), list(tensors[last:])


def _plain(plan: SO2Plan, n: int, tensors: Sequence[Tensor | None]) -> Tensor:
    (x, direction, bias, scale, src, dst), weights, blocks = _parts(plan, tensors)
    return whole_sum(plan, x, direction, bias, scale, src, dst, weights, blocks, n)
