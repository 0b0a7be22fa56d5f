"""Chunks of edges: the work behind the edge convolution, its value and both derivatives, in memory that is reused.

One input block after another, one chunk of its edges after another: what a chunk makes stays in the cache, and is added
to the nodes before it leaves. Products of a block lie in rows (order, path), which only nodes are sorted out of.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .paths import EdgePlan, Source
from .scratch import Store, scratch, taken

CACHE_BYTES = 1 << 21  # products of one chunk on the CPU; measured
CHUNK_BYTES_ELSEWHERE = 1 << 30  # and where there is no cache to fit
LEAST_EDGES = 32  # below, a call costs more than its arithmetic
Constants = tuple[Tensor, Tensor, Tensor]  # plan.table, plan.entries, plan.entry_weights
KEPT_BYTES = 1 << 20  # of T(Y) and senders: on the CPU, a graph of one chunk and less than this keeps them to the end
_KEPT = ("T", "x")
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


# The views below are made by the hundred: `as_strided` and `narrow` cost a third of what indexing costs.


def _block(x: Tensor, s: Source) -> Tensor:
    """The block of a feature over nodes, [n, (2l1+1) · channels]."""
    return x.narrow(1, s.x, s.dim * s.channels).contiguous()


def _taken(y: Tensor, pieces: Tensor, unit: int) -> Tensor:
    """The given units of every row of y, side by side."""
    n, units = len(y), y.shape[1] // unit
    return y.reshape(n, units, unit).index_select(1, pieces.to(y.device)).view(n, len(pieces) * unit)


def _weights(w: Tensor, s: Source) -> list[Tensor]:
    """[e, 1, width] of every band in the weights [e, weights], views; a stride of zero is one weight for all edges."""
    (edge, one), start = w.stride(), w.storage_offset()
    return [w.as_strided((len(w), 1, b.width), (edge, edge, one), start + b.weight * one) for b in s.bands]


class _Work:
    """Working memory of one source for chunks of `edges` edges, and the views of it, which cost as much as small sums.

    store: shared by all sources. keep: T(Y) and senders have their own memory instead, to last until the derivative.
    """

    def __init__(self, source: Source, columns: Tensor, edges: int, store: Store, keep: bool = False):
        self.source, self.columns, self.edges = source, columns, edges
        self._own: Store = {} if keep else store
        self._made: dict[str, tuple[Tensor, Tensor]] = {}
        self.use(store)

    def use(self, store: Store) -> "_Work":
        """Take all memory but what is kept from this store."""
        self._store = store
        self._made = {name: views for name, views in self._made.items() if name in _KEPT}
        self._bands: dict[str, list[Tensor]] = {}
        self._components: dict[str, list[list[Tensor]]] = {}
        return self

    def empty(self, name: str, *shape: int) -> tuple[Tensor, Tensor]:
        """The memory called `name` as [edges, a, b] and as [edges, a · b]."""
        if name not in self._made:
            store = self._own if name in _KEPT else self._store
            flat = taken(store, name, self.columns, self.edges * math.prod(shape)).view(self.edges, -1)
            self._made[name] = flat.view(self.edges, *shape), flat
        return self._made[name]

    def matrices(self, name: str, Y: Tensor) -> Tensor:
        """T(Y), [edges, 2l1+1, rows]."""
        T, flat = self.empty(name, self.source.dim, self.source.rows)
        torch.mm(Y, self.columns, out=flat)
        return T

    def feature(self, name: str) -> tuple[Tensor, Tensor]:
        """A block of a feature, [edges, 2l1+1, channels]."""
        return self.empty(name, self.source.dim, self.source.channels)

    def rows(self, name: str) -> tuple[Tensor, Tensor]:
        """Products, [edges, rows, channels]."""
        return self.empty(name, self.source.rows, self.source.channels)

    def bands(self, name: str) -> list[Tensor]:
        """[edges, components, width] of every band in the rows of that name."""
        if name not in self._bands:
            flat = self.rows(name)[1]
            self._bands[name] = [
                flat.as_strided((self.edges, b.count, b.width), (flat.stride(0), b.width, 1), b.start)
                for b in self.source.bands
            ]
        return self._bands[name]

    def components(self, name: str) -> list[list[Tensor]]:
        """The same, one component at a time: [edges, 1, width]."""
        if name not in self._components:
            self._components[name] = [[z.narrow(1, k, 1) for k in range(z.shape[1])] for z in self.bands(name)]
        return self._components[name]

    def sender(self, name: str, nodes: Tensor, index: Tensor) -> Tensor:
        """The block of the feature that each edge takes from its node."""
        block, flat = self.feature(name)
        torch.index_select(nodes, 0, index, out=flat)
        return block

    def receiver(self, name: str, nodes: Tensor, index: Tensor) -> None:
        """Set the rows of that name to those of the node of each edge."""
        torch.index_select(nodes, 0, index, out=self.rows(name)[1])

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

    def weigh(self, name: str, w: list[Tensor], into: str | None = None, add: bool = False) -> Tensor:
        """The rows of that name times weights, in place, or set into or added to others; flat."""
        into = into or name
        for z, factor, to in zip(self.bands(name), w, self.bands(into)):
            if add:
                to.addcmul_(z, factor)
            else:
                torch.mul(z, factor, out=to)
        return self.rows(into)[1]

    def weight_gradient(self, gw: Tensor, z: str, g: str) -> None:
        """Set the weights of this source to Σ over components of g ⊙ z."""
        for j, (slope, u, v) in enumerate(zip(_weights(gw, self.source), self.components(z), self.components(g))):
            for a, b in zip(u, v):
                if j == 0:  # every path has a first component
                    torch.mul(a, b, out=slope)
                else:
                    slope.addcmul_(a, b)

    def harmonics_gradient(self, gY: Tensor, x: Tensor, u: str) -> None:
        """Add x uᵀ, through the constants, to the gradient by Y."""
        slope, flat = self.empty("gT", self.source.dim, self.source.rows)
        self.bmm(x, self.rows(u)[0].mT, slope)
        gY.addmm_(flat, self.columns.T)


def _chunk_edges(s: Source, table: Tensor) -> int:
    """The most edges of a chunk."""
    bytes_ = CACHE_BYTES if table.device.type == "cpu" else CHUNK_BYTES_ELSEWHERE
    return max(LEAST_EDGES, bytes_ // (s.rows * s.channels * table.element_size()))


def keeps(plan: EdgePlan, table: Tensor, edges: int) -> bool:
    """Whether the graph is so small that what `value` makes of it is worth keeping for its first derivative."""
    numbers = sum(s.dim * (s.rows + s.channels) for s in plan.sources)
    small = table.device.type == "cpu" and edges * numbers * table.element_size() <= KEPT_BYTES
    return small and all(0 < edges <= _chunk_edges(s, table) for s in plan.sources)


def _chunks(s: Source, table: Tensor, edges: int, store: Store, keep: bool = False) -> Iterator[tuple]:
    """For every chunk of edges the working memory, and what cuts the chunk out of a tensor over edges."""
    columns = table.narrow(1, s.table, s.dim * s.rows)
    most = _chunk_edges(s, table)
    size = max(1, -(-edges // max(1, -(-edges // most))))
    work = None
    for start in range(0, edges, size):
        count = min(size, edges - start)
        if work is None or work.edges != count:  # the last chunk may be shorter: other views, the same memory
            work = _Work(s, columns, count, store, keep)
        yield work, lambda t, start=start, count=count: t.narrow(0, start, count)


def value(
    plan: EdgePlan,
    table: Tensor,
    x: Tensor,
    Y: Tensor,
    w: Tensor,
    src: Tensor,
    dst: Tensor,
    n: int,
    kept: list | None = None,
) -> Tensor:
    """The sum over edges, [n, dim_out]. kept: takes the working memory of every source, of a graph that `keeps`."""
    totals, store = [], scratch(table)
    for s in plan.sources:
        nodes, total = _block(x, s), x.new_zeros(n, s.rows * s.channels)
        for work, cut in _chunks(s, table, len(Y), store, kept is not None):
            T, a = work.matrices("T", cut(Y)), work.sender("x", nodes, cut(src))
            work.bmm(T.mT, a, work.rows("z")[0])
            total.index_add_(0, cut(dst), work.weigh("z", _weights(cut(w), s)))
            if kept is not None:
                kept.append((work, cut))
        totals.append(total)
    return _taken(torch.cat(totals, 1), plan.pieces, plan.unit)


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
    kept: list | None = None,
) -> list[Tensor | None]:
    """Derivatives of ⟨g, out⟩ by x, Y and w, those that are needed. kept: by `value`; it is used up."""
    need_x, need_Y, need_w = needs
    gx = torch.zeros_like(x) if need_x else None
    gY, gw = torch.zeros_like(Y) if need_Y else None, w.new_empty(w.shape) if need_w else None
    store = scratch(table)
    for k, (s, pieces) in enumerate(zip(plan.sources, plan.source_pieces)):
        nodes, received = _block(x, s), _taken(g, pieces, plan.unit)
        total = torch.zeros_like(nodes) if need_x else None
        for work, cut in _chunks(s, table, len(Y), store) if kept is None else kept[k : k + 1]:
            if kept is None:
                T, a = work.matrices("T", cut(Y)), work.sender("x", nodes, cut(src))
            else:  # perhaps on another thread
                work.use(store)
                T, a = work.empty("T", s.dim, s.rows)[0], work.feature("x")[0]
            work.receiver("g", received, cut(dst))
            if need_w:
                work.bmm(T.mT, a, work.rows("z")[0])
                work.weight_gradient(cut(gw), "z", "g")
            if need_x or need_Y:
                work.weigh("g", _weights(cut(w), s))
            if need_Y:
                work.harmonics_gradient(cut(gY), a, "g")
            if need_x:  # the sender is not needed any more: its gradient takes its place
                work.bmm(T, work.rows("g")[0], a)
                total.index_add_(0, cut(src), work.feature("x")[1])
        if need_x:
            gx.narrow(1, s.x, s.dim * s.channels).copy_(total)
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
    gx, gY, gw = torch.zeros_like(x), torch.zeros_like(Y), w.new_zeros(w.shape)
    store = scratch(table)
    totals = []
    for s, pieces in zip(plan.sources, plan.source_pieces):
        nodes, received = _block(x, s), _taken(g, pieces, plan.unit)
        total = x.new_zeros(n, s.rows * s.channels)
        moved, turned = None if hx is None else _block(hx, s), torch.zeros_like(nodes)
        for work, cut in _chunks(s, table, len(Y), store):
            T, a = work.matrices("T", cut(Y)), work.sender("x", nodes, cut(src))
            work.receiver("g", received, cut(dst))
            z, u, (t, slope) = work.rows("z")[0], work.rows("u")[0], work.feature("t")
            slope_Y, weights = cut(gY), _weights(cut(w), s)
            if hw is not None:
                factors = _weights(cut(hw), s)
                work.bmm(T.mT, a, z)
                work.weigh("z", factors, "message")
                work.weigh("g", factors, "u")
                work.harmonics_gradient(slope_Y, a, "u")
                work.bmm(T, u, t)
            if hx is not None or hY is not None:
                work.weigh("g", weights, "u")
            if hx is not None:
                b = work.sender("b", moved, cut(src))
                work.bmm(T.mT, b, z)
                work.harmonics_gradient(slope_Y, b, "u")
            if hY is not None:
                B = work.matrices("B", cut(hY))
                work.bmm(B.mT, a, z, add=hx is not None)
                work.bmm(B, u, t, add=hw is not None)
            if hx is not None or hY is not None:
                work.weigh("z", weights, "message", add=hw is not None)
                work.weight_gradient(cut(gw), "z", "g")
            total.index_add_(0, cut(dst), work.rows("message")[1])
            if hw is not None or hY is not None:
                turned.index_add_(0, cut(src), slope)
        totals.append(total)
        gx.narrow(1, s.x, s.dim * s.channels).copy_(turned)
    return [_taken(torch.cat(totals, 1), plan.pieces, plan.unit), gx, gY, gw]
