"""Chunks of edges: the work behind the edge convolution, its value and both derivatives, in memory that is reused."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .paths import EdgePlan, Source, Strand

CHUNK_BYTES_ELSEWHERE = 1 << 30  # messages of one chunk where there is no cache to fit
Constants = tuple[Tensor, Tensor, Tensor]  # plan.table, plan.entries, plan.entry_weights
_SMALL = 400  # torch.bmm leaves the fast library below this many products per matrix


def plain(
    plan: EdgePlan, constants: Constants, x: Tensor, Y: Tensor, w: Tensor, src: Tensor, dst: Tensor, n_nodes: int
) -> Tensor:
    """The whole sum in six ordinary operations, all messages at once: for a compiler, and as the reference."""
    table, entries, weights = constants
    T, sender = Y @ table, x.index_select(0, src)
    rows = []
    for s in plan.sources:
        matrices = T[:, s.table : s.table + s.dim * s.rows].unflatten(1, (s.dim, s.rows))
        block = sender[:, s.x : s.x + s.dim * s.channels].unflatten(1, (s.dim, s.channels))
        rows.append(torch.bmm(matrices.mT, block).flatten(1))
    message = torch.cat(rows, 1).index_select(1, entries) * w.index_select(1, weights)
    return message.new_zeros(n_nodes, plan.dim_out).index_add(0, dst, message)


# The views below are made by the thousand: `as_strided` and `narrow` cost a third of what indexing costs.


def _view(x: Tensor, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    """A view of a contiguous tensor [e, n]: [e, *shape] from entry `start` of each row."""
    return x.as_strided((x.shape[0], *shape), (x.stride(0), *strides), x.storage_offset() + start)


def _block(x: Tensor, s: Source) -> Tensor:
    """[e, 2l1+1, channels] of a feature, a view."""
    return _view(x, s.x, (s.dim, s.channels), (s.channels, 1))


def _matrices(T: Tensor, s: Source) -> Tensor:
    """[e, 2l1+1, rows], a view."""
    return _view(T, s.table, (s.dim, s.rows), (s.rows, 1))


def _strand_of_rows(z: Tensor, s: Strand) -> Tensor:
    """[e, 2l3+1, width] in [e, rows, channels], a view."""
    return _view(z, s.row * z.shape[2], (s.dim, s.width), (s.width, 1))


def _strand_of_message(m: Tensor, s: Strand) -> Tensor:
    """[e, 2l3+1, width] in a message [e, dim_out], a view."""
    return _view(m, s.out + s.channel, (s.dim, s.width), (s.channels, 1))


def _strand_of_weight(w: Tensor, s: Strand) -> Tensor:
    """[e, 1, width] in the weights [e, weights], a view; a stride of zero is one weight for all edges."""
    edge, one = w.stride()
    return w.as_strided((w.shape[0], 1, s.width), (edge, edge, one), w.storage_offset() + s.weight * one)


def _parts(plan: EdgePlan, Y: Tensor) -> list[tuple[int, int]]:
    """Chunks of edges of about equal length: (first, count). Their best length on the CPU was measured."""
    edges = Y.shape[0]
    row = plan.dim_out * Y.element_size()
    most = int(20_000 / math.sqrt(row)) if Y.device.type == "cpu" else CHUNK_BYTES_ELSEWHERE // row
    size = max(1, -(-edges // max(1, -(-edges // max(64, most)))))
    return [(start, min(size, edges - start)) for start in range(0, edges, size)]


class _Work:
    """Working memory for chunks of `edges` edges, with all its views made once and used for every chunk.

    Fresh memory costs more than the arithmetic here (the system hands it out page by page), and so do views.
    """

    def __init__(self, plan: EdgePlan, table: Tensor, edges: int, store: dict[str, Tensor]):
        self.plan, self.table, self.edges, self._store = plan, table, edges, store
        self.columns = [table.narrow(1, source.table, source.dim * source.rows).T for source in plan.sources]
        self._made: dict[str, object] = {}

    def empty(self, name: str, *shape: int) -> Tensor:
        """The memory called `name` in a shape, for all edges of the chunk."""
        if name not in self._store:
            need = self.edges * max(math.prod(shape), self.plan.widest if len(shape) == 2 else 0)
            self._store[name] = torch.empty(need, dtype=self.table.dtype, device=self.table.device)
        strides = (shape[1], 1) if len(shape) == 2 else (1,)
        return self._store[name].as_strided((self.edges, *shape), (math.prod(shape), *strides))

    def _once(self, name: str, make):
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def feature(self, name: str) -> tuple[Tensor, list[Tensor]]:
        """A feature [edges, dim_in] and its blocks."""

        def make():
            x = self.empty(name, self.plan.dim_in)
            return x, [_block(x, source) for source in self.plan.sources]

        return self._once(name, make)

    def message(self, name: str) -> tuple[Tensor, list[list[Tensor]]]:
        """A message [edges, dim_out] and its strands, source by source."""

        def make():
            m = self.empty(name, self.plan.dim_out)
            return m, [[_strand_of_message(m, s) for s in source.strands] for source in self.plan.sources]

        return self._once(name, make)

    def matrices(self, name: str, Y: Tensor) -> list[Tensor]:
        """T(Y) of every source."""

        def make():
            T = self.empty(name, self.table.shape[1])
            return T, [_matrices(T, source) for source in self.plan.sources]

        T, views = self._once(name, make)
        torch.mm(Y, self.table, out=T)
        return views

    def rows(self, name: str, i: int) -> tuple[Tensor, list[Tensor]]:
        """Rows [edges, rows, channels] of source i and their strands; one memory serves all sources."""

        def make():
            source = self.plan.sources[i]
            z = self.empty(name, source.rows, source.channels)
            return z, [_strand_of_rows(z, s) for s in source.strands]

        return self._once(f"{name}{i}", make)

    def bmm(self, a: Tensor, b: Tensor, out: Tensor, add: bool = False) -> Tensor:
        """a @ b into `out`, or added to it; tiny products as a sum of outer ones."""
        k = a.shape[2]
        if a.shape[1] * k * b.shape[2] >= _SMALL or k > 9 or a.device.type != "cpu":
            return torch.baddbmm(out, a, b, out=out) if add else torch.bmm(a, b, out=out)
        if not add:
            torch.mul(a.narrow(2, 0, 1), b.narrow(1, 0, 1), out=out)
        for n in range(0 if add else 1, k):
            out.addcmul_(a.narrow(2, n, 1), b.narrow(1, n, 1))
        return out

    def inner(self, i: int, change: str, a: Tensor, b: Tensor) -> Tensor:
        """a @ b for the block of source i: [edges, 2l1+1, channels]."""
        source = self.plan.sources[i]
        return self.bmm(a, b, self._once(f"{change}{i}", lambda: self.empty(change, source.dim, source.channels)))

    def weighted(self, name: str, i: int, G: list[Tensor], w: Tensor) -> Tensor:
        """G ⊙ w in the rows of source i."""
        U, strands = self.rows(name, i)
        for s, g, u in zip(self.plan.sources[i].strands, G, strands):
            torch.mul(g, _strand_of_weight(w, s), out=u)
        return U

    def fill(self, message: list[Tensor], i: int, strands: list[Tensor], w: Tensor, add: bool) -> None:
        """w ⊙ z set into, or added to, the messages of source i."""
        for s, z, m in zip(self.plan.sources[i].strands, strands, message):
            if add:
                m.addcmul_(z, _strand_of_weight(w, s))
            else:
                torch.mul(z, _strand_of_weight(w, s), out=m)

    def weight_gradient(self, gw: Tensor, i: int, G: list[Tensor], strands: list[Tensor]) -> None:
        """Set the weights of source i to Σ_m3 G ⊙ z; z is overwritten."""
        for s, g, z in zip(self.plan.sources[i].strands, G, strands):
            if s.dim == 1:
                torch.mul(z, g, out=_strand_of_weight(gw, s))
            else:
                torch.sum(z.mul_(g), 1, keepdim=True, out=_strand_of_weight(gw, s))

    def harmonics_gradient(self, gY: Tensor, i: int, block: Tensor, U: Tensor) -> None:
        """Add the part of source i to the gradient by Y."""
        source = self.plan.sources[i]
        gT = self._once(f"gT{i}", lambda: self.empty("gT", source.dim, source.rows))
        gY.addmm_(self.bmm(block, U.mT, gT).view(self.edges, -1), self.columns[i])


def _steps(plan: EdgePlan, table: Tensor, Y: Tensor) -> Iterator[tuple[_Work, Callable[[Tensor], Tensor]]]:
    """For every chunk the working memory, and what cuts the chunk out of a tensor over edges."""
    work, store = None, {}  # the last chunk may be shorter: other views, the same memory
    for start, count in _parts(plan, Y):
        if work is None or work.edges != count:
            work = _Work(plan, table, count, store)
        yield work, lambda t, start=start, count=count: t.narrow(0, start, count)


def value(plan: EdgePlan, table: Tensor, x: Tensor, Y: Tensor, w: Tensor, src: Tensor, dst: Tensor, n: int) -> Tensor:
    out = x.new_zeros(n, plan.dim_out)
    for work, cut in _steps(plan, table, Y):
        A, (sender, a), (message, m) = work.matrices("T", cut(Y)), work.feature("x"), work.message("message")
        torch.index_select(x, 0, cut(src), out=sender)
        weight = cut(w)
        for i in range(len(plan.sources)):
            z, strands = work.rows("z", i)
            work.bmm(A[i].mT, a[i], z)
            work.fill(m[i], i, strands, weight, False)
        out.index_add_(0, cut(dst), message)
    return out


def first(
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
    gx = torch.zeros_like(x) if need_x else None
    gY, gw = torch.zeros_like(Y) if need_Y else None, w.new_empty(w.shape) if need_w else None
    for work, cut in _steps(plan, table, Y):
        A, (sender, a), (received, G) = work.matrices("T", cut(Y)), work.feature("x"), work.message("g")
        send, weight = cut(src), cut(w)
        torch.index_select(x, 0, send, out=sender)
        torch.index_select(g, 0, cut(dst), out=received)
        slope_Y, slope_w = cut(gY) if need_Y else None, cut(gw) if need_w else None
        for i in range(len(plan.sources)):
            if need_w:
                z, strands = work.rows("z", i)
                work.bmm(A[i].mT, a[i], z)
                work.weight_gradient(slope_w, i, G[i], strands)
            if need_x or need_Y:
                U = work.weighted("U", i, G[i], weight)
            if need_Y:
                work.harmonics_gradient(slope_Y, i, a[i], U)
            if need_x:  # the gathered block is not needed any more: the gradient takes its place
                a[i].copy_(work.inner(i, "gx", A[i], U))
        if need_x:
            for idle in plan.idle:
                sender[:, idle] = 0
            gx.index_add_(0, send, sender)
    return [gx, gY, gw]


def second(
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
    """Derivatives by g, x, Y and w of ⟨hx, ∂x⟩ + ⟨hY, ∂Y⟩ + ⟨hw, ∂w⟩, the ∂ being those of `first`."""
    gg, gx, gY, gw = x.new_zeros(n, plan.dim_out), torch.zeros_like(x), torch.zeros_like(Y), w.new_zeros(w.shape)
    for work, cut in _steps(plan, table, Y):
        A, (sender, a), (received, G) = work.matrices("T", cut(Y)), work.feature("x"), work.message("g")
        (message, m), (turned, t) = work.message("message"), work.feature("turned")
        send, receive, weight, slope_Y, slope_w = cut(src), cut(dst), cut(w), cut(gY), cut(gw)
        torch.index_select(x, 0, send, out=sender)
        torch.index_select(g, 0, receive, out=received)
        turned.zero_()
        if hY is not None:
            B = work.matrices("hT", cut(hY))
        if hx is not None:
            hsender, b = work.feature("hx")
            torch.index_select(hx, 0, send, out=hsender)
        for i in range(len(plan.sources)):
            z, strands = work.rows("z", i)
            if hw is not None:
                work.bmm(A[i].mT, a[i], z)
                work.fill(m[i], i, strands, cut(hw), False)
                V = work.weighted("U", i, G[i], cut(hw))
                work.harmonics_gradient(slope_Y, i, a[i], V)
                t[i].add_(work.inner(i, "gx", A[i], V))
            if hx is None and hY is None:
                continue
            U = work.weighted("U", i, G[i], weight)
            if hx is not None:
                work.bmm(A[i].mT, b[i], z)
                work.harmonics_gradient(slope_Y, i, b[i], U)
            if hY is not None:
                work.bmm(B[i].mT, a[i], z, add=hx is not None)
                t[i].add_(work.inner(i, "gx", B[i], U))
            work.fill(m[i], i, strands, weight, hw is not None)
            work.weight_gradient(slope_w, i, G[i], strands)
        gg.index_add_(0, receive, message)
        gx.index_add_(0, send, turned)
    return [gg, gx, gY, gw]
