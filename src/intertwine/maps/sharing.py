"""Apply orbit bases, where every matrix entry belongs to at most one basis map: gathers and sums instead of products.

In such a basis a map is a pattern of weight sharing. Rows that a group element carries into each other hold the same
weights, each equally often, so a class of rows is one table of columns, cut into segments of equal length.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .dense import DenseKernel, costs
from .kernel import Kernel, Plan

GATHER = 48  # time to gather and sum one number, in units of one operation of a matrix product (measured on CPUs)


@dataclass(frozen=True)
class RowClass:
    """Rows with the same weights: `rows` [R], the weights `labels` [N_R], and for each length m of segment the columns
    [R, n, m] of the n weights that occur m times in each row, with signs where there are any."""

    rows: np.ndarray
    labels: np.ndarray
    segments: tuple[tuple[np.ndarray, np.ndarray | None], ...]


def row_classes(label: np.ndarray, sign: np.ndarray | None) -> list[RowClass]:
    """Group the rows of a weight-sharing pattern [rows, columns]; -1 marks an entry that is always zero."""
    order = label.argsort(1, kind="stable")
    held = np.take_along_axis(label, order, 1)
    kinds, kind = np.unique(held, axis=0, return_inverse=True)
    classes = []
    for k, weights in enumerate(kinds):
        rows = np.flatnonzero(kind.reshape(-1) == k)
        names, starts, counts = np.unique(weights, return_index=True, return_counts=True)
        alive = names >= 0
        names, starts, counts = names[alive], starts[alive], counts[alive]
        labels, segments = [], []
        for m in np.unique(counts):
            chosen = counts == m
            places = (starts[chosen][:, None] + np.arange(m)).reshape(-1)
            columns = order[rows][:, places].reshape(len(rows), -1, m)
            signs = None
            if sign is not None:
                signs = sign[rows[:, None, None], columns].astype(np.float64)
                signs = None if (signs > 0).all() else signs
            labels.append(names[chosen])
            segments.append((columns, signs))
        found = np.concatenate(labels) if labels else names
        classes.append(RowClass(rows, found.astype(np.int64), tuple(segments)))
    return classes


@dataclass(frozen=True)
class GatherRows(Plan):
    """Sum the inputs that share a weight, then mix channels, one matrix product for each class of rows."""

    shapes: tuple[tuple[int, tuple[tuple[int, int, bool], ...]], ...]  # per class: rows, (weights, length, signed)
    reorder: bool

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        rest = iter(constants)
        blocks = []
        for rows, segments in self.shapes:
            labels = next(rest)
            sums = []
            for weights, length, signed in segments:
                taken = x.index_select(-2, next(rest))
                if signed:
                    taken = taken * next(rest)[:, None]
                if length > 1:
                    taken = taken.unflatten(-2, (rows * weights, length)).sum(-2)
                sums.append(taken.unflatten(-2, (rows, weights)))
            if not sums:
                blocks.append(x.new_zeros(*x.shape[:-2], rows, w.shape[-1]))
                continue
            joined = sums[0] if len(sums) == 1 else torch.cat(sums, -2)
            blocks.append(joined.flatten(-2) @ w.index_select(0, labels).flatten(0, 1))
        y = blocks[0] if len(blocks) == 1 else torch.cat(blocks, -2)
        return y.index_select(-2, next(rest)) if self.reorder else y


@dataclass(frozen=True)
class MixFirst(Plan):
    """Mix channels for each class of columns, then sum what reaches each row."""

    columns: tuple[tuple[int, int], ...]  # per class of columns: columns, weights
    rows: tuple[tuple[int, int, bool], ...]  # per class of rows: rows, entries, signed
    reorder: bool

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        rest = iter(constants)
        mixed = []
        for columns, weights in self.columns:
            chosen, labels = next(rest), next(rest)
            spread = w.index_select(0, labels).transpose(0, 1).flatten(1)
            z = x.index_select(-2, chosen) @ spread
            mixed.append(z.reshape(*x.shape[:-2], columns * weights, w.shape[-1]))
        z = mixed[0] if len(mixed) == 1 else torch.cat(mixed, -2)
        blocks = []
        for rows, entries, signed in self.rows:
            taken = z.index_select(-2, next(rest))
            if signed:
                taken = taken * next(rest)[:, None]
            blocks.append(taken.unflatten(-2, (rows, entries)).sum(-2))
        y = blocks[0] if len(blocks) == 1 else torch.cat(blocks, -2)
        return y.index_select(-2, next(rest)) if self.reorder else y


@dataclass(frozen=True, eq=False)
class OrbitKernel(Kernel):
    """Indicators of orbits: `label` int64 [dim_out, dim_in] names the basis map of each entry, `sign` its value."""

    label: np.ndarray
    sign: np.ndarray | None
    labels: tuple[str, ...]
    route: str = "orbits"

    @property
    def dim_in(self) -> int:
        return self.label.shape[1]

    @property
    def dim_out(self) -> int:
        return self.label.shape[0]

    def dense(self) -> np.ndarray:
        hot = (self.label == np.arange(self.N)[:, None, None]).astype(np.float64)
        return hot if self.sign is None else hot * self.sign

    @cached_property
    def _classes(self) -> list[RowClass]:
        return row_classes(self.label, self.sign)

    def squares(self) -> np.ndarray:
        return np.bincount(self.label[self.label >= 0], minlength=self.N).astype(np.float64)

    def row_sums(self) -> np.ndarray:
        sums = np.zeros(self.N)
        for group in self._classes:
            lengths = [np.full(columns.shape[1], columns.shape[2]) for columns, _ in group.segments]
            if lengths:
                sums[group.labels] = np.concatenate(lengths)
        return sums

    def row_norms(self) -> np.ndarray:
        return np.sqrt(self.row_sums())

    @cached_property
    def transpose(self) -> "OrbitKernel":
        sign = None if self.sign is None else self.sign.T
        return OrbitKernel(self.label.T, sign, self.labels, self.route)

    def plan(self, c_in: int, c_out: int) -> Plan:
        entries = int((self.label >= 0).sum())
        mixing = sum(len(group.rows) * len(group.labels) for group in self._classes)
        spreading = sum(len(group.rows) * len(group.labels) for group in self.transpose._classes)
        gather = entries * c_in + 2 * mixing * c_in * c_out
        mix = entries * c_out + 2 * spreading * c_in * c_out
        dense = min(costs(self.N, *self.label.shape, c_in, c_out))
        times = gather + GATHER * entries * c_in, mix + GATHER * entries * c_out
        if dense <= min(times):
            return DenseKernel(self.dense(), self.labels, self.route).plan(c_in, c_out)
        return self._gather(gather) if times[0] <= times[1] else self._mix(mix)

    def _reordering(self) -> tuple[np.ndarray, ...]:
        """The place of each row among the rows of all classes, unless they come in order."""
        rows = np.concatenate([group.rows for group in self._classes])
        return () if (rows == np.arange(len(rows))).all() else (rows.argsort(),)

    def _gather(self, flops: int) -> Plan:
        constants, shapes = [], []
        for group in self._classes:
            constants.append(group.labels)
            for columns, signs in group.segments:
                constants.append(columns.reshape(-1))
                if signs is not None:
                    constants.append(signs.reshape(-1))
            segments = tuple((c.shape[1], c.shape[2], s is not None) for c, s in group.segments)
            shapes.append((len(group.rows), segments))
        reorder = self._reordering()
        return GatherRows((*constants, *reorder), flops, tuple(shapes), bool(reorder))

    def _mix(self, flops: int) -> Plan:
        constants, columns, rows = [], [], []
        place = np.full((self.dim_in, self.N), -1)  # where the product of a column and a weight is found
        start = 0
        for group in self.transpose._classes:
            if len(group.labels) == 0:
                continue
            count = len(group.rows) * len(group.labels)
            place[np.ix_(group.rows, group.labels)] = start + np.arange(count).reshape(len(group.rows), -1)
            start += count
            constants += [group.rows, group.labels]
            columns.append((len(group.rows), len(group.labels)))
        for group in self._classes:
            alive = [np.flatnonzero(self.label[row] >= 0) for row in group.rows]
            entries = np.stack(alive) if alive else np.zeros((0, 0), dtype=np.int64)
            held = np.take_along_axis(self.label[group.rows], entries, 1)
            constants.append(place[entries, held].reshape(-1))
            signed = self.sign is not None and bool((self.sign[group.rows[:, None], entries] < 0).any())
            if signed:
                constants.append(self.sign[group.rows[:, None], entries].reshape(-1).astype(np.float64))
            rows.append((len(group.rows), entries.shape[1], signed))
        reorder = self._reordering()
        return MixFirst((*constants, *reorder), flops, tuple(columns), tuple(rows), bool(reorder))
