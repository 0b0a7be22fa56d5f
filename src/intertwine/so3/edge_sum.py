"""The depth-wise edge convolution as a differentiable operation: products with Y and weights, summed onto receivers.

The sum  out_i = Σ_{edges e into i} w_e ⊙ (T(Y_e)ᵀ x_src(e))  is linear in x, Y and w. On the CPU edges are taken in
chunks, so that the messages of all edges never exist at once; first and second derivatives run in the same chunks.
"""

import torch
from torch import Tensor

from .paths import EdgePlan, Source, Strand

_CHUNK_BYTES = {"cpu": 4 << 20}  # messages that stay in cache; measured, see docs/benchmarks.md
_CHUNK_BYTES_ELSEWHERE = 1 << 30
_SMALL = 400  # torch.bmm leaves the fast library below this many products per matrix


def _chunks(plan: EdgePlan, Y: Tensor) -> list[slice]:
    budget = _CHUNK_BYTES.get(Y.device.type, _CHUNK_BYTES_ELSEWHERE)
    size = max(64, budget // (plan.dim_out * Y.element_size()))
    count = max(1, -(-len(Y) // size))
    size = max(1, -(-len(Y) // count))
    return [slice(start, min(start + size, len(Y))) for start in range(0, len(Y), size)]


def _bmm(a: Tensor, b: Tensor) -> Tensor:
    """Batched product [e, i, k] @ [e, k, j]; tiny ones as a sum of outer products."""
    if a.shape[1] * a.shape[2] * b.shape[2] >= _SMALL or a.shape[2] > 9 or a.device.type != "cpu":
        return torch.bmm(a, b)
    out = a[:, :, :1] * b[:, :1]
    for k in range(1, a.shape[2]):
        out.addcmul_(a[:, :, k : k + 1], b[:, k : k + 1])
    return out


def _block(x: Tensor, source: Source) -> Tensor:
    """[e, 2l1+1, channels] of a feature, a view."""
    return x[:, source.x : source.x + source.dim * source.channels].unflatten(1, (source.dim, source.channels))


def _matrices(T: Tensor, source: Source) -> Tensor:
    """[e, 2l1+1, rows], a view."""
    return T[:, source.table : source.table + source.dim * source.rows].unflatten(1, (source.dim, source.rows))


def _rows(z: Tensor, s: Strand) -> Tensor:
    """[e, 2l3+1, width]: the rows of one strand in [e, rows, channels], a view."""
    n = s.width // z.shape[2]
    return z[:, s.row : s.row + s.dim * n].view(len(z), s.dim, s.width)


def _message(m: Tensor, s: Strand) -> Tensor:
    """[e, 2l3+1, width]: the entries of one strand in a message [e, dim_out], a view."""
    block = m[:, s.out : s.out + s.dim * s.channels].unflatten(1, (s.dim, s.channels))
    return block[:, :, s.channel : s.channel + s.width]


def _weight(w: Tensor, s: Strand) -> Tensor:
    return w[:, None, s.weight : s.weight + s.width]


def plain(
    plan: EdgePlan, table: Tensor, x: Tensor, Y: Tensor, w: Tensor, src: Tensor, dst: Tensor, n_nodes: int
) -> Tensor:
    """The whole sum in ordinary operations, all messages at once: for a compiler, and as the reference."""
    T, sender = Y @ table, x.index_select(0, src)
    parts: dict[int, list[Tensor]] = {}
    for source in plan.sources:
        z = torch.bmm(_matrices(T, source).mT, _block(sender, source))
        for s in source.strands:
            n = s.width // source.channels
            rows = z[:, s.row : s.row + s.dim * n].reshape(-1, s.dim, s.width)
            parts.setdefault(s.out, []).append(rows * _weight(w, s))
    message = torch.cat([torch.cat(parts[start], 2).flatten(1) for start in sorted(parts)], 1)
    return message.new_zeros(n_nodes, plan.dim_out).index_add(0, dst, message)


def _value(plan: EdgePlan, table: Tensor, x: Tensor, Y: Tensor, w: Tensor, src: Tensor, dst: Tensor, n: int) -> Tensor:
    out = x.new_zeros(n, plan.dim_out)
    for part in _chunks(plan, Y):
        T, sender, weight = Y[part] @ table, x.index_select(0, src[part]), w[part]
        message = torch.empty(len(T), plan.dim_out, dtype=x.dtype, device=x.device)
        for source in plan.sources:
            z = _bmm(_matrices(T, source).mT, _block(sender, source))
            for s in source.strands:
                torch.mul(_rows(z, s), _weight(weight, s), out=_message(message, s))
        out.index_add_(0, dst[part], message)
    return out


def _first(
    plan: EdgePlan,
    table: Tensor,
    g: Tensor,
    x: Tensor,
    Y: Tensor,
    w: Tensor,
    src: Tensor,
    dst: Tensor,
    needs: tuple[bool, bool, bool],
) -> list[Tensor | None]:
    """Derivatives of ⟨g, out⟩ by x, Y and w, those that are needed."""
    need_x, need_Y, need_w = needs
    gx = [x.new_zeros(len(x), s.dim * s.channels) for s in plan.sources] if need_x else None
    gY, gw = torch.zeros_like(Y) if need_Y else None, torch.empty_like(w) if need_w else None
    for part in _chunks(plan, Y):
        T, sender, weight = Y[part] @ table, x.index_select(0, src[part]), w[part]
        G = g.index_select(0, dst[part])
        for i, source in enumerate(plan.sources):
            matrices, block = _matrices(T, source), _block(sender, source)
            if need_w:
                _weight_gradient(gw[part], source, G, _bmm(matrices.mT, block))
            if need_x or need_Y:
                U = _weighted(source, G, weight)
            if need_x:
                gx[i].index_add_(0, src[part], _bmm(matrices, U).flatten(1))
            if need_Y:
                gY[part].addmm_(torch.bmm(block, U.mT).flatten(1), _columns(table, source).T)
    return [_spread(plan, x, gx) if need_x else None, gY, gw]


def _second(
    plan: EdgePlan,
    table: Tensor,
    g: Tensor,
    x: Tensor,
    Y: Tensor,
    w: Tensor,
    src: Tensor,
    dst: Tensor,
    hx: Tensor | None,
    hY: Tensor | None,
    hw: Tensor | None,
    n: int,
) -> list[Tensor]:
    """Derivatives by g, x, Y and w of ⟨hx, ∂x⟩ + ⟨hY, ∂Y⟩ + ⟨hw, ∂w⟩, the ∂ being those of `_first`."""
    gg, gY, gw = torch.zeros(n, plan.dim_out, dtype=x.dtype, device=x.device), torch.zeros_like(Y), torch.zeros_like(w)
    gx = [x.new_zeros(len(x), s.dim * s.channels) for s in plan.sources]
    for part in _chunks(plan, Y):
        s_, d_ = src[part], dst[part]
        T, sender, weight, G = Y[part] @ table, x.index_select(0, s_), w[part], g.index_select(0, d_)
        HT = None if hY is None else hY[part] @ table
        hsender = None if hx is None else hx.index_select(0, s_)
        message = torch.zeros(len(T), plan.dim_out, dtype=x.dtype, device=x.device)
        for i, source in enumerate(plan.sources):
            matrices, block = _matrices(T, source), _block(sender, source)
            hmatrices = None if HT is None else _matrices(HT, source)
            hblock = None if hsender is None else _block(hsender, source)
            change = None  # of z = Tᵀ x
            if hblock is not None:
                change = _bmm(matrices.mT, hblock)
            if hmatrices is not None:
                more = _bmm(hmatrices.mT, block)
                change = more if change is None else change.add_(more)
            z = None if hw is None else _bmm(matrices.mT, block)
            for s in source.strands:
                target = _message(message, s)
                if change is not None:
                    torch.mul(_rows(change, s), _weight(weight, s), out=target)
                if z is not None:
                    target.addcmul_(_rows(z, s), _weight(hw[part], s))
            if change is not None:
                _weight_gradient(gw[part], source, G, change)
            columns = _columns(table, source).T
            if hblock is not None or hmatrices is not None:
                U = _weighted(source, G, weight)
            if hmatrices is not None:
                gx[i].index_add_(0, s_, _bmm(hmatrices, U).flatten(1))
            if hblock is not None:
                gY[part].addmm_(torch.bmm(hblock, U.mT).flatten(1), columns)
            if hw is not None:
                V = _weighted(source, G, hw[part])
                gx[i].index_add_(0, s_, _bmm(matrices, V).flatten(1))
                gY[part].addmm_(torch.bmm(block, V.mT).flatten(1), columns)
        gg.index_add_(0, d_, message)
    return [gg, _spread(plan, x, gx), gY, gw]


def _columns(table: Tensor, source: Source) -> Tensor:
    return table[:, source.table : source.table + source.dim * source.rows]


def _weighted(source: Source, G: Tensor, w: Tensor) -> Tensor:
    """G ⊙ w in the rows of one input block, [e, rows, channels]."""
    U = torch.empty(len(G), source.rows, source.channels, dtype=G.dtype, device=G.device)
    for s in source.strands:
        torch.mul(_message(G, s), _weight(w, s), out=_rows(U, s))
    return U


def _weight_gradient(gw: Tensor, source: Source, G: Tensor, z: Tensor) -> None:
    """Fill the weights of one input block with Σ_m3 G ⊙ z."""
    for s in source.strands:
        target = gw[:, s.weight : s.weight + s.width]
        target.copy_((_message(G, s) * _rows(z, s)).sum(1))


def _spread(plan: EdgePlan, x: Tensor, blocks: list[Tensor]) -> Tensor:
    """The gradient by x from those of its blocks; a block without a path has none."""
    if sum(block.shape[1] for block in blocks) == plan.dim_in:
        return torch.cat(blocks, 1)
    out = torch.zeros_like(x)
    for source, block in zip(plan.sources, blocks):
        out[:, source.x : source.x + block.shape[1]] = block
    return out


class EdgeSum(torch.autograd.Function):
    """out [n, dim_out] of x [N, dim_in], Y [E, K], w [E, weights]; see the module."""

    @staticmethod
    def forward(x, Y, w, table, src, dst, n: int, plan: EdgePlan):
        """The sum, in chunks of edges."""
        return _value(plan, table, x, Y, w, src, dst, n)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the inputs: everything else is recomputed."""
        *tensors, ctx.n, ctx.plan = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, g):
        """By x, Y and w."""
        needs = tuple(ctx.needs_input_grad[:3])
        found = iter(EdgeSumGrad.apply(g, *ctx.saved_tensors, ctx.n, ctx.plan, needs) if any(needs) else ())
        return *(next(found) if need else None for need in needs), None, None, None, None, None

    @staticmethod
    def vmap(info, in_dims, x, Y, w, table, src, dst, n: int, plan: EdgePlan):
        """In ordinary operations."""
        run = torch.vmap(lambda *tensors: plain(plan, tensors[3], *tensors[:3], *tensors[4:], n), in_dims[:6])
        return run(x, Y, w, table, src, dst), 0


class EdgeSumGrad(torch.autograd.Function):
    """Derivatives of ⟨g, EdgeSum⟩ by those of x, Y, w that are needed."""

    @staticmethod
    def forward(g, x, Y, w, table, src, dst, n: int, plan: EdgePlan, needs: tuple[bool, bool, bool]):
        """The derivatives, in chunks of edges."""
        return tuple(d for d in _first(plan, table, g, x, Y, w, src, dst, needs) if d is not None)

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
            return *_second(ctx.plan, table, g, x, Y, w, src, dst, hx, hY, hw, ctx.n), *end
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
            _, pull = torch.func.vjp(lambda x, Y, w: plain(plan, table, x, Y, w, src, dst, n), x, Y, w)
            return tuple(d for d, need in zip(pull(g), needs) if need)

        return torch.vmap(run, in_dims[:7])(g, x, Y, w, table, src, dst), (0,) * sum(needs)
