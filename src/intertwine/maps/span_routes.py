"""How a span is applied: as one matrix, or by gathering what meets a weight, one product, and a segment sum."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .constants import tensors
from .span_edges import Edges

OPERATIONS = 8  # multiplications that take as long as moving one float: what makes the routes comparable


@dataclass(frozen=True, eq=False)
class Matrix:
    """One dense product: the matrix [X c_in, Y c_out] is filled from the weights. Best where most pairs are joined."""

    edges: Edges
    name: str = "dense"

    @cached_property
    def _identity(self) -> bool:
        """Whether weight j X + i joins i to j: then the weights are the matrix."""
        e = self.edges
        if e.measure is not None or not e.num_weights == len(e.source) == e.num_in * e.num_out:
            return False
        numbered = np.arange(e.num_weights)
        return bool((e.weight == numbered).all() and (e.target * e.num_in + e.source == numbered).all())

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
class Sum:
    """y[:, put[e]] += measure[e] x[:, read[e]], from `start` rows to `stop` rows; as little of it as is needed."""

    start: int
    stop: int
    read: np.ndarray
    put: np.ndarray
    measure: np.ndarray | None = None

    @cached_property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Nothing where rows stay in place; what each row reads where it reads one; otherwise read, put, measure."""
        if self.measure is None and len(self.put) == self.stop and len(np.unique(self.put)) == self.stop:
            read = self.read[self.put.argsort()]
            return () if self.start == self.stop and (read == np.arange(self.stop)).all() else (read,)
        measure = () if self.measure is None else (self.measure[:, None],)
        return self.read, self.put, *measure

    def reverse(self) -> "Sum":
        """The transpose."""
        return Sum(self.stop, self.start, self.put, self.read, self.measure)

    def run(self, x: Tensor, constants: list[Tensor]) -> Tensor:
        """x [batch, start, c] -> [batch, stop, c]."""
        if not constants:
            return x
        read, *rest = constants
        x = x.index_select(1, read)
        if not rest:
            return x
        put, *measure = rest
        if measure:
            x = x * measure[0]
        return x.new_zeros(x.shape[0], self.stop, x.shape[2]).index_add(1, put, x)


@dataclass(frozen=True, eq=False)
class Cells:
    """Gather, one product for each weight, segment sum.

    A cell is a weight together with a point: of the output (`by_target`: what shares both is summed before the
    product) or of the input (it is summed after). Cells of one weight lie together; weights whose number of cells has
    the same power of two share a batched product, filled up with zeros: at most twice the work.
    """

    edges: Edges
    by_target: bool
    buckets: tuple[tuple[int, int, int], ...] = field(init=False)  # first slot, number of weights, cells for each
    weights: np.ndarray = field(init=False)  # in the order of the buckets
    gather: Sum = field(init=False)
    spread: Sum = field(init=False)

    def __post_init__(self):
        e = self.edges
        side, size = (e.target, e.num_out) if self.by_target else (e.source, e.num_in)
        cells, cell = np.unique(e.weight * size + side, return_inverse=True)
        cell_weight, point = cells // size, cells % size
        fibre = np.bincount(cell_weight, minlength=e.num_weights)
        level = np.ceil(np.log2(np.maximum(fibre, 1))).astype(np.int64)
        order, slots, first, buckets = [np.zeros(0, np.int64)], 0, np.zeros(e.num_weights, np.int64), []
        for k in np.unique(level[fibre > 0]):
            members = np.flatnonzero((level == k) & (fibre > 0))
            width = int(fibre[members].max())
            first[members] = slots + width * np.arange(len(members))
            buckets.append((slots, len(members), width))
            slots += width * len(members)
            order.append(members)
        slot = first[cell_weight] + np.arange(len(cells)) - np.searchsorted(cell_weight, cell_weight)
        if self.by_target:
            sums = Sum(e.num_in, slots, e.source, slot[cell], e.measure), Sum(slots, e.num_out, slot, point)
        else:
            sums = Sum(e.num_in, slots, point, slot), Sum(slots, e.num_out, slot[cell], e.target, e.measure)
        for name, value in zip(
            ("buckets", "weights", "gather", "spread"), (tuple(buckets), np.concatenate(order), *sums)
        ):
            object.__setattr__(self, name, value)

    @property
    def name(self) -> str:
        """What is done first."""
        return "sum, then product" if self.by_target else "product, then sum"

    @property
    def slots(self) -> int:
        """Cells, those that only fill up counted in."""
        return self.gather.stop

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return (self.weights, *self.gather.arrays, *self.spread.arrays)

    def cost(self, batch: int, c_in: int, c_out: int) -> float:
        """Floats moved, and operations."""
        moved = 2 * len(self.gather.read) * c_in + 2 * self.slots * (c_in + c_out) + 2 * len(self.spread.read) * c_out
        return batch * (moved + self.slots * c_in * c_out / OPERATIONS)

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        """x [batch, X, c_in], w [W, c_in, c_out] -> [batch, Y, c_out]."""
        weights, *sums = constants
        middle = len(self.gather.arrays)
        z = self.gather.run(x, sums[:middle])
        w = w.index_select(0, weights)
        products, used = [z.new_zeros(z.shape[0], 0, w.shape[-1])], 0
        for start, count, width in self.buckets:
            block = z[:, start : start + count * width].unflatten(1, (count, width))
            products.append(torch.einsum("bnfi,nio->bnfo", block, w[used : used + count]).flatten(1, 2))
            used += count
        z = products[1] if len(products) == 2 else torch.cat(products, 1)
        return self.spread.run(z, sums[middle:])

    def weight_gradient(self, x: Tensor, gy: Tensor) -> Tensor:
        """x [batch, X, c_in], gy [batch, Y, c_out] -> [W, c_in, c_out]."""
        back = self.spread.reverse()
        z = self.gather.run(x, tensors(self.gather.arrays, x.dtype, x.device))
        gz = back.run(gy, tensors(back.arrays, x.dtype, x.device))
        gw = x.new_zeros(self.edges.num_weights, x.shape[-1], gy.shape[-1])
        used = 0
        for start, count, width in self.buckets:
            a, b = (part[:, start : start + count * width].unflatten(1, (count, width)) for part in (z, gz))
            which = torch.from_numpy(self.weights[used : used + count]).to(x.device)
            gw = gw.index_add(0, which, torch.einsum("bnfi,bnfo->nio", a, b))
            used += count
        return gw
