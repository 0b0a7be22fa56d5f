"""How a span is applied: as one matrix, or by gathering what meets a weight, one product, and a segment sum."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

OPERATIONS = 8  # multiplications that take as long as moving one float: what makes the routes comparable


@dataclass(frozen=True, eq=False)
class Edges:
    """The edges of a span, after its checks: three int64 [E] and a float64 [E] or None."""

    num_in: int
    num_out: int
    num_weights: int
    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    measure: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Matrix:
    """One dense product: the matrix [X c_in, Y c_out] is filled from the weights. Best where most pairs are joined."""

    edges: Edges
    name: str = "dense"

    @cached_property
    def _identity(self) -> bool:
        """Whether weight j X + i joins i to j: then the weights are the matrix."""
        e = self.edges
        numbered = np.arange(e.num_in * e.num_out)
        return (
            e.measure is None
            and e.num_weights == len(e.source) == len(numbered)
            and bool((e.weight == numbered).all() and (e.target * e.num_in + e.source == numbered).all())
        )

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        e = self.edges
        if self._identity:
            return ()
        place = e.target * e.num_in + e.source, e.weight
        return place if e.measure is None else (*place, e.measure[:, None, None])

    def cost(self, batch: int, c_in: int, c_out: int) -> float:
        """Floats moved, and operations."""
        e = self.edges
        entries = e.num_in * e.num_out * c_in * c_out
        build = 2 * entries + (0 if self._identity else 2 * len(e.source) * c_in * c_out)
        return build + batch * (e.num_in * c_in + e.num_out * c_out + entries / OPERATIONS)

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        """x [batch, X, c_in], w [W, c_in, c_out] -> [batch, Y, c_out]."""
        X, Y, (c_in, c_out) = self.edges.num_in, self.edges.num_out, w.shape[1:]
        if constants:
            place, which, *measure = constants
            entries = w.index_select(0, which)
            if measure:
                entries = entries * measure[0]
            w = w.new_zeros(Y * X, c_in, c_out).index_add(0, place, entries)
        matrix = w.reshape(Y, X, c_in, c_out).permute(1, 2, 0, 3).reshape(X * c_in, Y * c_out)
        return (x.reshape(x.shape[0], X * c_in) @ matrix).reshape(x.shape[0], Y, c_out)


@dataclass(frozen=True, eq=False)
class Cells:
    """Gather, one product for each weight, segment sum.

    A cell is a weight together with a point: of the output (`by_target`: what shares both is summed before the
    product) or of the input (it is summed after). Cells of one weight lie together; weights whose number of cells has
    the same power of two share a batched product, filled up with zeros: at most twice the work.
    """

    edges: Edges
    by_target: bool
    slots: int = field(init=False)
    buckets: tuple[tuple[int, int, int], ...] = field(init=False)  # first slot, number of weights, cells for each
    arrays: tuple[np.ndarray, ...] = field(init=False)

    def __post_init__(self):
        e = self.edges
        side, size = (e.target, e.num_out) if self.by_target else (e.source, e.num_in)
        cells, cell = np.unique(e.weight * size + side, return_inverse=True)
        cell_weight, point = cells // size, cells % size
        fibre = np.bincount(cell_weight, minlength=e.num_weights)
        level = np.ceil(np.log2(np.maximum(fibre, 1))).astype(np.int64)
        order, start, first, buckets = [], 0, np.zeros(e.num_weights, np.int64), []
        for k in np.unique(level[fibre > 0]):
            members = np.flatnonzero((level == k) & (fibre > 0))
            width = int(fibre[members].max())
            first[members] = start + width * np.arange(len(members))
            buckets.append((start, len(members), width))
            start += width * len(members)
            order.append(members)
        slot = first[cell_weight] + np.arange(len(cells)) - np.searchsorted(cell_weight, cell_weight)
        # two sums, each (where to read, where to add): input -> slots -> output
        many, one = (e.source, slot[cell]), (slot, point)
        sums = (*many, *one) if self.by_target else (point, slot, slot[cell], e.target)
        weights = np.concatenate([np.zeros(0, np.int64), *order])
        measure = () if e.measure is None else (e.measure[:, None],)
        object.__setattr__(self, "slots", start)
        object.__setattr__(self, "buckets", tuple(buckets))
        object.__setattr__(self, "arrays", (*sums, weights, *measure))

    @property
    def name(self) -> str:
        """What is done first."""
        return "sum, then product" if self.by_target else "product, then sum"

    def cost(self, batch: int, c_in: int, c_out: int) -> float:
        """Floats moved, and operations."""
        read, _, collect, _ = self.arrays[:4]
        moved = 2 * len(read) * c_in + 2 * self.slots * (c_in + c_out) + 2 * len(collect) * c_out
        return batch * (moved + self.slots * c_in * c_out / OPERATIONS)

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        """x [batch, X, c_in], w [W, c_in, c_out] -> [batch, Y, c_out]."""
        read, put, collect, give, weights, *measure = constants
        z = add(x, read, put, self.slots, measure if self.by_target else ())
        w = w.index_select(0, weights)
        products, used = [z.new_zeros(*z.shape[:1], 0, w.shape[-1])], 0
        for start, count, width in self.buckets:
            block = z[:, start : start + count * width].unflatten(1, (count, width))
            products.append(torch.einsum("bnfi,nio->bnfo", block, w[used : used + count]).flatten(1, 2))
            used += count
        z = products[1] if len(products) == 2 else torch.cat(products, 1)
        return add(z, collect, give, self.edges.num_out, () if self.by_target else measure)

    def weight_gradient(self, x: Tensor, gy: Tensor, constants: list[Tensor]) -> Tensor:
        """x [batch, X, c_in], gy [batch, Y, c_out] -> [W, c_in, c_out]."""
        read, put, collect, give, weights, *measure = constants
        z = add(x, read, put, self.slots, measure if self.by_target else ())
        gz = add(gy, give, collect, self.slots, () if self.by_target else measure)
        parts = [x.new_zeros(0, x.shape[-1], gy.shape[-1])]
        for start, count, width in self.buckets:
            a, b = (part[:, start : start + count * width].unflatten(1, (count, width)) for part in (z, gz))
            parts.append(torch.einsum("bnfi,bnfo->nio", a, b))
        gw = torch.cat(parts)
        return gw.new_zeros(self.edges.num_weights, *gw.shape[1:]).index_add(0, weights, gw)


def add(x: Tensor, read: Tensor, put: Tensor, size: int, measure) -> Tensor:
    """y[:, put[e]] += measure[e] x[:, read[e]], with `size` rows."""
    x = x.index_select(1, read)
    if measure:
        x = x * measure[0]
    return x.new_zeros(x.shape[0], size, x.shape[2]).index_add(1, put, x)
