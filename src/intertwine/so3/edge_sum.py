"""The depth-wise edge convolution as a differentiable operation: products with Y and weights, summed onto receivers.

The sum  out_i = Σ_{edges e into i} w_e ⊙ (T(Y_e)ᵀ x_src(e))  is linear in x, Y and w. Edges are taken in chunks: the
messages of all edges never exist at once, and the work stays in cache. Both derivatives run in the same chunks.
"""

import torch
from torch import Tensor

from ..maps.own_derivatives import quick, transforming
from .edge_chunks import Constants, first, keeps, plain, second, value
from .paths import EdgePlan


def edge_sum(
    x: Tensor, Y: Tensor, w: Tensor, table: Tensor, src: Tensor, dst: Tensor, n: int, plan: EdgePlan
) -> Tensor:
    """The sum over edges, [n, dim_out], of x [N, dim_in], Y [E, K], w [E, weights]; see the module."""
    if not torch.is_grad_enabled() and not transforming():
        return value(plan, table, x, Y, w, src, dst, n)  # a node costs as much as several small products
    return (EdgeSum if transforming() else _DirectEdgeSum).apply(x, Y, w, table, src, dst, n, plan)


class EdgeSum(torch.autograd.Function):
    """out [n, dim_out] of x [N, dim_in], Y [E, K], w [E, weights]; see the module."""

    @staticmethod
    @quick
    def forward(x, Y, w, table, src, dst, n: int, plan: EdgePlan):
        """The sum, in chunks of edges."""
        return value(plan, table, x, Y, w, src, dst, n)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the inputs: everything else is recomputed."""
        *tensors, ctx.n, ctx.plan = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, g):
        """By x, Y and w."""
        needs = tuple(ctx.needs_input_grad[:3])
        if not torch.is_grad_enabled() and not transforming():  # nobody differentiates the derivative
            x, Y, w, table, src, dst = ctx.saved_tensors
            kept, ctx.kept = getattr(ctx, "kept", None), None
            return *first(ctx.plan, table, g, x, Y, w, src, dst, needs, kept), None, None, None, None, None
        found = iter(EdgeSumGrad.apply(g, *ctx.saved_tensors, ctx.n, ctx.plan, needs) if any(needs) else ())
        return *(next(found) if need else None for need in needs), None, None, None, None, None

    @staticmethod
    def vmap(info, in_dims, x, Y, w, table, src, dst, n: int, plan: EdgePlan):
        """In ordinary operations."""

        def run(x, Y, w, table, src, dst):
            return plain(plan, _with_indices(plan, table), x, Y, w, src, dst, n)

        return torch.vmap(run, in_dims[:6])(x, Y, w, table, src, dst), 0


class _DirectEdgeSum(torch.autograd.Function):
    """`EdgeSum` outside of torch.func transforms, whose functions bind their arguments by inspection at every call."""

    @staticmethod
    def forward(ctx, *inputs):
        """The sum, in chunks of edges."""
        EdgeSum.setup_context(ctx, inputs, None)
        x, Y, w, table, src, dst, n, plan = inputs
        ctx.kept = [] if any(ctx.needs_input_grad) and keeps(plan, table, len(Y)) else None
        return value(plan, table, x, Y, w, src, dst, n, ctx.kept)

    backward = EdgeSum.backward


def _with_indices(plan: EdgePlan, table: Tensor) -> Constants:
    return table, *(torch.tensor(index, device=table.device) for index in (plan.entries, plan.entry_weights))


class EdgeSumGrad(torch.autograd.Function):
    """Derivatives of ⟨g, EdgeSum⟩ by those of x, Y, w that are needed."""

    @staticmethod
    @quick
    def forward(g, x, Y, w, table, src, dst, n: int, plan: EdgePlan, needs: tuple[bool, bool, bool]):
        """The derivatives, in chunks of edges."""
        return tuple(d for d in first(plan, table, g, x, Y, w, src, dst, needs) if d is not None)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the inputs: everything else is recomputed."""
        *tensors, ctx.n, ctx.plan, ctx.needs = inputs
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, *h):
        """By g, x, Y and w: in chunks, or, when a third derivative may follow, by the operations above."""
        found = iter(h)
        hx, hY, hw = (next(found) if need else None for need in ctx.needs)
        g, x, Y, w, table, src, dst = ctx.saved_tensors
        end = (None,) * 6
        if hx is None and hY is None and hw is None:
            return None, None, None, None, *end
        if not torch.is_grad_enabled():
            return *second(ctx.plan, table, g, x, Y, w, src, dst, hx, hY, hw, ctx.n), *end
        total: list[Tensor | None] = [None] * 4
        for i, h_i in enumerate((hx, hY, hw)):
            if h_i is None:
                continue
            moved = [h_i if i == j else t for j, t in enumerate((x, Y, w))]
            rest = (table, src, dst, ctx.n, ctx.plan)
            needs = tuple(i != j for j in range(3))
            parts = list(EdgeSumGrad.apply(g, *moved, *rest, needs))
            parts.insert(i, None)
            for j, d in enumerate([EdgeSum.apply(*moved, *rest), *parts]):
                if d is not None:
                    total[j] = d if total[j] is None else total[j] + d
        return *total, *end

    @staticmethod
    def vmap(info, in_dims, g, x, Y, w, table, src, dst, n: int, plan: EdgePlan, needs: tuple[bool, bool, bool]):
        """In ordinary operations."""

        def run(g, x, Y, w, table, src, dst):
            constants = _with_indices(plan, table)
            _, pull = torch.func.vjp(lambda x, Y, w: plain(plan, constants, x, Y, w, src, dst, n), x, Y, w)
            return tuple(d for d, need in zip(pull(g), needs) if need)

        return torch.vmap(run, in_dims[:7])(g, x, Y, w, table, src, dst), (0,) * sum(needs)
