"""Chunks of edges: the working memory of the SO(2) edge convolution, its value and derivative in matrix products."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .so2_plan import SO2Plan, dense_places

CACHE_BYTES = 1 << 22  # working memory of one chunk on the CPU; measured
LEAST_EDGES = 64  # below, a call costs more than its arithmetic
CHUNK_BYTES_ELSEWHERE = 1 << 30  # and where there is no cache to fit, or ordinary operations


def chunk_bytes(plan: SO2Plan, x: Tensor) -> int:
    """Working memory of one edge."""
    ends = (plan.lmax_in, plan.channels_in), (plan.lmax_out, plan.channels_out)
    return sum((l + 1) ** 2 * (2 * c + (l + 1) ** 2) for l, c in ends) * x.element_size()


def chunks(plan: SO2Plan, x: Tensor, blocks: list[Tensor]) -> Iterator:
    """For every chunk the working memory, its matrices set, and what cuts the chunk out of a tensor over edges."""
    edges = len(blocks[0])
    most = max(LEAST_EDGES, (CACHE_BYTES if x.device.type == "cpu" else CHUNK_BYTES_ELSEWHERE) // chunk_bytes(plan, x))
    size = -(-edges // max(1, -(-edges // most)))
    whole = _Work(plan, x, size) if edges else None
    for start in range(0, edges, max(size, 1)):
        count = min(size, edges - start)

        def cut(t: Tensor, start=start, count=count) -> Tensor:
            return t.narrow(0, start, count)

        work = whole if count == size else whole.shortened(count)
        work.set_frames([cut(D) for D in blocks])
        yield work, cut


class _Side:
    """One end of the convolution for the edges of a chunk: matrices, features outside and inside the frame, views."""

    def __init__(self, like: Tensor, edges: int, lmax: int, channels: int, plan: SO2Plan, side: int, frames=None):
        places, rows, columns = dense_places(lmax, plan.mmax)
        self.places = torch.tensor(places, device=like.device)
        self.orders = [min(l, plan.mmax) for l in range(lmax + 1)]
        self.spans = [[pair[side] for pair in plan.spans(m)] for m in range(plan.mmax + 1)]
        self.frames = like.new_zeros(edges, rows, columns) if frames is None else frames
        self.outside = like.new_empty(edges, rows, channels)
        self.inside = like.new_empty(edges, columns, channels)
        self.slopes = like.new_empty(edges, columns, channels)
        self.look()

    def look(self) -> None:
        """Make the views that every chunk of this length uses: they cost as much as small products."""
        self.across, self.entries = self.frames.mT, self.frames.view(len(self.frames), -1)
        flat, slopes = self.inside.flatten(1), self.slopes.flatten(1)
        self.parts = [[flat[:, span] for span in spans] for spans in self.spans]
        self.slope_parts = [[slopes[:, span] for span in spans] for spans in self.spans]

    def shortened(self, edges: int) -> "_Side":
        """The same memory for fewer edges."""
        short = object.__new__(_Side)
        short.__dict__ |= self.__dict__
        for name in ("frames", "inside", "outside", "slopes"):
            setattr(short, name, getattr(self, name)[:edges])
        short.look()
        return short

    def set_frames(self, blocks: list[Tensor]) -> None:
        """Blocks of all degrees into one matrix for each edge; what lies between them stays zero."""
        entries = [D.narrow(2, 0, 2 * m + 1).flatten(1) for D, m in zip(blocks, self.orders)]
        self.entries.index_copy_(1, self.places, torch.cat(entries, 1))


class _Work:
    """Working memory of one chunk: fresh memory would cost more than the arithmetic."""

    def __init__(self, plan: SO2Plan, x: Tensor, edges: int):
        self.plan = plan
        self.source = _Side(x, edges, plan.lmax_in, plan.channels_in, plan, 0)
        shared = self.source.frames if plan.lmax_in == plan.lmax_out else None
        self.target = _Side(x, edges, plan.lmax_out, plan.channels_out, plan, 1, shared)

    def shortened(self, edges: int) -> "_Work":
        """The same memory for fewer edges."""
        short = object.__new__(_Work)
        short.plan, short.source, short.target = self.plan, self.source.shortened(edges), self.target.shortened(edges)
        return short

    def set_frames(self, blocks: list[Tensor]) -> None:
        """The matrices of the chunk's edges."""
        self.source.set_frames(blocks)
        if self.plan.lmax_in != self.plan.lmax_out:
            self.target.set_frames(blocks)

    def forward(self, x, src, weights: "Matrices", bias, scale, only_orders: bool = False) -> Tensor | None:
        """Messages of the chunk [edges, components, channels]; `only_orders`: only what `backward` needs."""
        source, target = self.source, self.target
        torch.index_select(x, 0, src, out=source.outside)
        torch.bmm(source.across, source.outside, out=source.inside)
        self._scale(source.parts, scale)
        if only_orders:
            return None
        for y, z, real, imaginary in zip(source.parts, target.parts, weights.real, weights.imaginary):
            if len(y) == 1:
                torch.mm(y[0], real, out=z[0]) if bias is None else torch.addmm(bias, y[0], real, out=z[0])
                continue
            for sign in (0, 1):
                torch.mm(y[sign], real, out=z[sign])
                if imaginary is not None:
                    z[sign].addmm_(y[1 - sign], imaginary, alpha=1 if sign else -1)
        return torch.bmm(target.frames, target.inside, out=target.outside)

    def _scale(self, parts: list[list[Tensor]], scale: Tensor | None) -> None:
        if scale is None:
            return
        for factors, rows in zip(scale.split([self.plan.widths(m)[0] for m in range(len(parts))], 1), parts):
            for row in rows:
                row *= factors

    def backward(self, down: Tensor, weights: "Matrices", scale, slopes: "Matrices", gb, gs) -> Tensor:
        """The derivative by the gathered x, [edges, components, channels]; adds to slopes and gb, sets gs."""
        source, target = self.source, self.target
        torch.bmm(target.across, down, out=target.slopes)
        lists = zip(
            source.parts,
            target.slope_parts,
            source.slope_parts,
            weights.real,
            weights.imaginary,
            slopes.real,
            slopes.imaginary,
        )
        for y, gz, gy, real, imaginary, g_real, g_imaginary in lists:
            for sign in range(len(y)):
                torch.mm(gz[sign], real.T, out=gy[sign])
                if g_real is not None:
                    g_real.addmm_(y[sign].T, gz[sign])
                if imaginary is not None:  # y₊ reaches z₋ by +I, y₋ reaches z₊ by -I
                    gy[sign].addmm_(gz[1 - sign], imaginary.T, alpha=-1 if sign else 1)
                    if g_imaginary is not None:
                        g_imaginary.addmm_(y[sign].T, gz[1 - sign], alpha=-1 if sign else 1)
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


class Matrices:
    """The matrices of every order, or their derivatives: views of the parts R and I; None where there are none."""

    def __init__(self, plan: SO2Plan, weights: list[Tensor | None]):
        widths = [plan.widths(m)[1] for m in range(len(weights))]
        self.real = [None if w is None else w[:, :width] for w, width in zip(weights, widths)]
        self.imaginary = [
            None if w is None or m == 0 or plan.parity else w[:, width:]
            for m, (w, width) in enumerate(zip(weights, widths))
        ]
