"""Clebsch-Gordan products channel by channel on the CPU, with derivatives of their own, in memory that is reused.

The product T(x, y, w) is linear in each argument, so its derivatives are such products again, and theirs too. Autograd
would keep all products of components, (L+1)⁴ numbers for each sample and channel, and make as many at each step back;
here they are made anew, chunk by chunk, and stay near. A path with a scalar makes none: it is a number times a dot
product, whichever of the three features the scalar is in. Channels of the product are pairs (u, v), of which a factor
may know only one, or none: what it lacks, it has once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .scratch import scratch, taken

CACHED = 3 << 18  # products of components in one chunk of samples; measured
LEAST_SAMPLES = 32  # below, a call costs more than the cache saves
Tables = Sequence[Tensor]
Triple = tuple[Tensor | None, Tensor | None, Tensor | None]


@dataclass(frozen=True)
class Span:
    """A block of a flat feature: `rows` components of channels (u, v), as many u and v as `pairs` says."""

    start: int
    rows: int
    pairs: tuple[int, int]


@dataclass(frozen=True)
class ScalarPath:
    """factor · w · a · (b · c): spans in x, y and the product, and which of the three is the scalar a."""

    spans: tuple[Span, Span, Span]
    scalar: int
    factor: float
    weight: int


@dataclass(frozen=True)
class Branch:
    """One path of a group: the first of its rows, where they are added, the first of its weights."""

    row: int
    out: Span
    weight: int


@dataclass(frozen=True)
class Group:
    """All paths from two pieces: coefficients [rows, components of x · components of y] are its table, by number."""

    x: Span
    y: Span
    table: int
    branches: tuple[Branch, ...]

    @property
    def pairs(self) -> tuple[int, int]:
        """Channels (u, v) of the product."""
        return self.branches[0].out.pairs


@dataclass(frozen=True)
class ChannelPlan:
    """What is added up to a product of `dim` numbers."""

    scalars: tuple[ScalarPath, ...]
    groups: tuple[Group, ...]
    dim: int


def channel_product(plan: ChannelPlan, tables: Tables, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
    """The sum over all paths, [samples, dim], of two features [samples, ..]; w: [numbers], [samples, numbers] or none.

    All are on the CPU and have one dtype, that of the tables.
    """
    return _Product.apply(x, y, w, plan, tables)


class _Chunk:
    """Some samples: views of their features and weights, and working memory, shared by all chunks."""

    def __init__(self, first: int, count: int, like: Tensor):
        self.first, self.count, self._like, self._store = first, count, like, scratch(like)

    def of(self, x: Tensor, span: Span) -> Tensor:
        """[samples, rows, u, v], a view."""
        (sample, one), (u, v) = x.stride(), span.pairs
        start = x.storage_offset() + self.first * sample + span.start * one
        return x.as_strided((self.count, span.rows, u, v), (sample, u * v * one, v * one, one), start)

    def weights(self, w: Tensor, start: int, pairs: tuple[int, int]) -> Tensor:
        """[samples or 1, 1, u, v], a view."""
        sample, one = (0, w.stride(0)) if w.ndim == 1 else w.stride()
        start = w.storage_offset() + self.first * sample + start * one
        return w.as_strided((1 if w.ndim == 1 else self.count, 1, *pairs), (sample, 0, pairs[1] * one, one), start)

    def memory(self, name: str, rows: int, pairs: tuple[int, int]) -> Tensor:
        """[rows, samples · u · v]"""
        width = self.count * pairs[0] * pairs[1]
        return taken(self._store, name, self._like, rows * width).view(rows, width)

    def copied(self, name: str, x: Tensor, span: Span, pairs: tuple[int, int]) -> Tensor:
        """Components in front, [rows, samples · u · v], with all channels of the product."""
        made = self.memory(name, span.rows, pairs)
        made.view(span.rows, self.count, *pairs).copy_(self.of(x, span).transpose(0, 1))
        return made

    def rows(self, made: Tensor, branch: Branch) -> Tensor:
        """The rows of one path, [rows, samples, u, v], a view."""
        return made.narrow(0, branch.row, branch.out.rows).view(branch.out.rows, self.count, *branch.out.pairs)

    def products(self, table: Tensor, x: Tensor, y: Tensor, pairs: tuple[int, int]) -> Tensor:
        """All rows of a group without weights, [rows, samples · u · v]."""
        made = self.memory("pairs", table.shape[1], pairs)
        torch.mul(x.unsqueeze(1), y, out=made.view(len(x), len(y), -1))
        return torch.mm(table, made, out=self.memory("rows", len(table), pairs))


def _chunks(plan: ChannelPlan, x: Tensor) -> Iterator[_Chunk]:
    widest = max((g.x.rows * g.y.rows * g.pairs[0] * g.pairs[1] for g in plan.groups), default=plan.dim)
    size = max(LEAST_SAMPLES, CACHED // max(1, widest))
    for first in range(0, len(x), size):
        yield _Chunk(first, min(size, len(x) - first), x)


def _product(plan: ChannelPlan, tables: Tables, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
    out = x.new_zeros(len(x), plan.dim)
    for chunk in _chunks(plan, x):
        for path in plan.scalars:
            _add_scalar_path(chunk, path, (x, y, None), w, (None, None, out), None)
        for group in plan.groups:
            pairs = group.pairs
            factors = chunk.copied("x", x, group.x, pairs), chunk.copied("y", y, group.y, pairs)
            made = chunk.products(tables[group.table], *factors, pairs)
            for branch in group.branches:
                rows, place = chunk.rows(made, branch).transpose(0, 1), chunk.of(out, branch.out)
                if w is None:
                    place.add_(rows)
                else:
                    place.addcmul_(rows, chunk.weights(w, branch.weight, pairs))
    return out


def _derivative(plan: ChannelPlan, tables: Tables, given: Triple, w: Tensor | None, needs: Sequence[bool]) -> Triple:
    """The derivatives of Σ g T(x, y, w), given (x, y, g), by those of x, y and w that are needed."""
    dx, dy, dw = (torch.zeros_like(a) if needed else None for a, needed in zip((*given[:2], w), needs))
    for chunk in _chunks(plan, given[0]):
        for path in plan.scalars:
            _add_scalar_path(chunk, path, given, w, (dx, dy, None), dw)
        for group in plan.groups:
            _add_group(chunk, group, tables[group.table], given, w, (dx, dy), dw)
    return dx, dy, dw


def _add_scalar_path(
    chunk: _Chunk, path: ScalarPath, given: Triple, w: Tensor | None, totals: Triple, dw: Tensor | None
) -> None:
    """Add the derivatives of one path by x, y and g (the product itself) to the totals there are, and those by w."""
    legs = [None if a is None else chunk.of(a, span) for a, span in zip(given, path.spans)]
    sums = [None if a is None else chunk.of(a, span) for a, span in zip(totals, path.spans)]
    a, f, pairs = path.scalar, path.factor, path.spans[2].pairs
    b, c = (k for k in range(3) if k != a)
    weight = None if w is None else chunk.weights(w, path.weight, pairs)
    if sums[a] is not None or dw is not None:
        dot = (legs[b] * legs[c]).sum(1, keepdim=True)
        if sums[a] is not None:
            _add_product(sums[a], dot, weight, f, pairs)
        if dw is not None:
            total = chunk.weights(dw, path.weight, pairs)
            total.add_((dot * legs[a]).sum(0, keepdim=True) if w.ndim == 1 else dot * legs[a], alpha=f)
    if sums[b] is not None or sums[c] is not None:
        scaled = legs[a] if weight is None else legs[a] * weight
        for k, other in ((b, c), (c, b)):
            if sums[k] is not None:
                _add_product(sums[k], legs[other], scaled, f, pairs)


def _add_product(total: Tensor, a: Tensor, b: Tensor | None, factor: float, pairs: tuple[int, int]) -> None:
    """Add factor · a · b, b being 1 where it is None, summed over the channels that the total does not know."""
    if total.shape[2:] != pairs:
        total.add_((a if b is None else a * b).sum_to_size(total.shape), alpha=factor)
    elif b is None:
        total.add_(a, alpha=factor)
    else:
        total.addcmul_(a, b, value=factor)


def _add_group(
    chunk: _Chunk,
    group: Group,
    table: Tensor,
    given: Triple,
    w: Tensor | None,
    totals: tuple[Tensor | None, Tensor | None],
    dw: Tensor | None,
) -> None:
    """Add the derivatives of a group of paths by x, y and w to the totals there are."""
    pairs = group.pairs
    x, y = (chunk.copied(name, a, span, pairs) for name, a, span in zip("xy", given, (group.x, group.y)))
    g = given[2]
    if dw is not None:
        made = chunk.products(table, x, y, pairs)
        for branch in group.branches:
            z = chunk.rows(made, branch).mul_(chunk.of(g, branch.out).transpose(0, 1))
            z = z.sum((0, 1)) if w.ndim == 1 else z.sum(0).unsqueeze(1)
            chunk.weights(dw, branch.weight, pairs).add_(z)
    if totals[0] is None and totals[1] is None:
        return
    made = chunk.memory("rows", len(table), pairs)
    for branch in group.branches:
        z, back = chunk.rows(made, branch).transpose(0, 1), chunk.of(g, branch.out)
        if w is None:
            z.copy_(back)
        else:
            torch.mul(back, chunk.weights(w, branch.weight, pairs), out=z)
    back = torch.mm(table.T, made, out=chunk.memory("pairs", table.shape[1], pairs)).view(len(x), len(y), -1)
    if totals[0] is not None:
        turned = torch.mul(back, y, out=chunk.memory("turned", table.shape[1], pairs).view_as(back))
        _add_rows(chunk.of(totals[0], group.x), turned.sum(1), pairs)
    if totals[1] is not None:
        _add_rows(chunk.of(totals[1], group.y), back.mul_(x.unsqueeze(1)).sum(0), pairs)


def _add_rows(total: Tensor, rows: Tensor, pairs: tuple[int, int]) -> None:
    """Add [rows, samples · u · v] to [samples, rows, ..], summed over the channels that the total does not know."""
    samples, components = total.shape[:2]
    total.add_(rows.view(components, samples, *pairs).transpose(0, 1).sum_to_size(total.shape))


class _Product(torch.autograd.Function):
    """(x, y, w, plan, tables) -> T(x, y, w)."""

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, w: Tensor | None, plan: ChannelPlan, tables: Tables) -> Tensor:
        ctx.save_for_backward(x, y, w)
        ctx.rest = plan, tables
        return _product(plan, tables, x, y, w)

    @staticmethod
    def backward(ctx, g: Tensor):
        x, y, w = ctx.saved_tensors
        return *_Derivative.apply(x, y, w, g, *ctx.rest, ctx.needs_input_grad[:3]), None, None


class _Derivative(torch.autograd.Function):
    """(x, y, w, g, plan, tables, needs) -> the derivatives of Σ g T(x, y, w)."""

    @staticmethod
    def forward(ctx, x, y, w, g, plan: ChannelPlan, tables: Tables, needs: Sequence[bool]):
        ctx.save_for_backward(x, y, w, g)
        ctx.rest = plan, tables
        ctx.set_materialize_grads(False)
        return _derivative(plan, tables, (x, y, g), w, needs)

    @staticmethod
    def backward(ctx, *u: Tensor | None):
        """Of Σ g (T(u₁, y, w) + T(x, u₂, w) + T(x, y, u₃))."""
        *arguments, g = ctx.saved_tensors
        by, totals = ctx.needs_input_grad[:4], [None] * 4
        for k, own in enumerate(u):
            if own is None:
                continue
            one = [own if i == k else a for i, a in enumerate(arguments)]
            needs = [by[i] and i != k for i in range(3)]
            parts = _Derivative.apply(*one, g, *ctx.rest, needs) if any(needs) else [None] * 3
            parts = [*parts, _Product.apply(*one, *ctx.rest) if by[3] else None]
            totals = [a if b is None else b if a is None else a + b for a, b in zip(totals, parts)]
        return *totals, None, None, None
