"""Chunks of edges: the working memory of the SO(2) edge convolution, its value and derivative in matrix products."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .so2_orders import Matrices, Parts, add_slopes, apply, apply_back, parts, spare
from .so2_plan import SO2Plan, dense_places

CACHE_BYTES = 1 << 22  # working memory of one chunk on the CPU; measured
LEAST_EDGES = 64  # below, a call costs more than its arithmetic
CHUNK_BYTES_ELSEWHERE = 1 << 30  # and where there is no cache to fit, or ordinary operations


def chunk_bytes(plan: SO2Plan, x: Tensor) -> int:
    """Working memory of one edge."""
    ends = (plan.lmax_in, plan.channels_in), (plan.lmax_out, plan.channels_out)
    return sum((l + 1) ** 2 * (2 * c + (l + 1) ** 2) for l, c in ends) * x.element_size()


def chunks(plan: SO2Plan, x: Tensor, blocks: list[Tensor], *, slopes: bool) -> Iterator:
    """For every chunk the working memory, its matrices set, and what cuts the chunk out of a tensor over edges.

    blocks: those of a frame, or two matrices of `dense_frame`, in and out. slopes: memory for derivatives, too.
    """
    edges = len(blocks[0])
    most = max(LEAST_EDGES, (CACHE_BYTES if x.device.type == "cpu" else CHUNK_BYTES_ELSEWHERE) // chunk_bytes(plan, x))
    size = -(-edges // max(1, -(-edges // most)))
    dense = [D.narrow(0, 0, size) for D in blocks] if plan.are_dense(blocks) else None
    whole = _Work(plan, x, size, dense, slopes) if edges else None
    for start in range(0, edges, max(size, 1)):
        count = min(size, edges - start)

        def cut(t: Tensor, start=start, count=count) -> Tensor:
            return t.narrow(0, start, count)

        work = whole if count == size else whole.shortened(count)
        work.set_frames([cut(D) for D in blocks])
        yield work, cut


class _Side:
    """One end of the convolution for the edges of a chunk: matrices, features outside and inside the frame, views."""

    def __init__(self, plan: SO2Plan, side: int, outside: Tensor, frames: Tensor | None, slopes: bool):
        lmax = (plan.lmax_in, plan.lmax_out)[side]
        places, rows, columns = dense_places(lmax, plan.mmax)
        self.places = torch.tensor(places, device=outside.device)
        self.orders = [min(l, plan.mmax) for l in range(lmax + 1)]
        edges, _, channels = outside.shape
        self.plan, self.side, self.outside = plan, side, outside
        self.frames = outside.new_zeros(edges, rows, columns) if frames is None else frames
        self.inside = outside.new_empty(edges, columns, channels)
        self.slopes = outside.new_empty(edges if slopes else 0, columns, channels)
        self.spare = spare(plan, outside, edges, side) if slopes or side == 0 else []
        self.look()

    def look(self) -> None:
        """Make the views that every chunk of this length uses: they cost as much as small products."""
        self.across, self.entries = self.frames.mT, self.frames.view(len(self.frames), -1)
        self.parts = parts(self.plan, self.inside.flatten(1), self.side)
        self.slope_parts = parts(self.plan, self.slopes.flatten(1), self.side) if len(self.slopes) else []

    def shortened(self, edges: int) -> "_Side":
        """The same memory for fewer edges."""
        short = object.__new__(_Side)
        short.__dict__ |= self.__dict__
        for name in ("frames", "inside", "outside", "slopes"):
            setattr(short, name, getattr(self, name)[:edges])
        short.spare = [memory[:edges] for memory in self.spare]
        short.look()
        return short

    def set_frames(self, blocks: list[Tensor]) -> None:
        """Blocks of all degrees into one matrix for each edge; what lies between them stays zero."""
        entries = [D.narrow(2, 0, 2 * m + 1).flatten(1) for D, m in zip(blocks, self.orders)]
        self.entries.index_copy_(1, self.places, torch.cat(entries, 1))


class _Work:
    """Working memory of one chunk: fresh memory would cost more than the arithmetic."""

    def __init__(self, plan: SO2Plan, x: Tensor, edges: int, dense: list[Tensor] | None, slopes: bool):
        self.plan, (first, second) = plan, dense or (None, None)
        shapes = (
            (edges, (plan.lmax_in + 1) ** 2, plan.channels_in),
            (edges, (plan.lmax_out + 1) ** 2, plan.channels_out),
        )
        sizes = [math.prod(shape) for shape in shapes]
        if slopes:
            memory = x.new_empty(sum(sizes)).split(sizes)
        else:  # what comes out may lie where what went in did
            whole = x.new_empty(max(sizes))
            memory = [whole[:size] for size in sizes]
        self.source = _Side(plan, 0, memory[0].view(shapes[0]), first, slopes)
        shared = self.source.frames if plan.lmax_in == plan.lmax_out else second
        self.target = _Side(plan, 1, memory[1].view(shapes[1]), shared, slopes)

    def shortened(self, edges: int) -> "_Work":
        """The same memory for fewer edges."""
        short = object.__new__(_Work)
        short.plan, short.source, short.target = self.plan, self.source.shortened(edges), self.target.shortened(edges)
        return short

    def set_frames(self, blocks: list[Tensor]) -> None:
        """The matrices of the chunk's edges."""
        if self.plan.are_dense(blocks):
            for side, dense in zip((self.source, self.target), blocks):
                side.frames, side.across = dense, dense.mT
            return
        self.source.set_frames(blocks)
        if self.plan.lmax_in != self.plan.lmax_out:
            self.target.set_frames(blocks)

    def forward(self, x, src, weights: Matrices, bias, scale, only_orders: bool = False) -> Tensor | None:
        """Messages of the chunk [edges, components, channels]; `only_orders`: only what `backward` needs."""
        source, target = self.source, self.target
        torch.index_select(x, 0, src, out=source.outside)
        torch.bmm(source.across, source.outside, out=source.inside)
        self._scale(source.parts, scale)
        if only_orders:
            return None
        apply(weights, source.parts, target.parts, source.spare, bias)
        return torch.bmm(target.frames, target.inside, out=target.outside)

    def _scale(self, orders: Parts, scale: Tensor | None) -> None:
        if scale is None:
            return
        for factors, rows in zip(scale.split([self.plan.widths(m)[0] for m in range(len(orders))], 1), orders):
            for row in rows:
                row *= factors

    def backward(self, down: Tensor, weights: Matrices, scale, slopes: Matrices, gb, gs) -> Tensor:
        """The derivative by the gathered x, [edges, components, channels]; adds to slopes and gb, sets gs."""
        source, target = self.source, self.target
        torch.bmm(target.across, down, out=target.slopes)
        apply_back(weights, target.slope_parts, source.slope_parts, target.spare)
        add_slopes(source.parts, target.slope_parts, slopes)
        if gb is not None:
            gb += target.slope_parts[0][0].sum(0)
        if scale is not None:
            self._through_scale(scale, gs)
        return torch.bmm(source.frames, source.slopes)

    def _through_scale(self, scale: Tensor, gs: Tensor | None) -> None:
        """The feature inside is scaled already, so for the derivative by the scale it is made anew."""
        source = self.source
        if gs is not None:
            torch.bmm(source.across, source.outside, out=source.inside)
            start = 0
            for y, gy in zip(source.parts, source.slope_parts):
                width = y[0].shape[1]
                gs[:, start : start + width] = sum(a * b for a, b in zip(y, gy))
                start += width
        self._scale(source.slope_parts, scale)
