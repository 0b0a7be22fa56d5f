"""Sort the diagrams of a layer into matrix products: which contraction of which input meets which part of the output.

Every diagram is an input side (what is contracted), an output side (what is copied) and a bijection of the t blocks
that pass through. Diagrams with equal t, of all pairs of terms, make one matrix product: N = Σ_t a_t b_t t! of them.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .category import SPARE, Diagram, sign_of
from .lattice import Lattice, Level, Node, axes_of, build
from .small import Small, matrices
from .steps import Head, Runs

DENSE_TABLE = 4096  # a head's matrix with at most so many entries is kept dense


@dataclass(frozen=True)
class Calculus:
    """What a group's diagrams contract with: n, the forms on pairs (None for partitions), the metric on top legs."""

    n: int
    below: Runs | None = None
    above: Runs | None = None
    metric: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Sides:
    """One diagram, split: the level it meets on, its nodes, the bijection (output axis i is input axis order[i]), and
    the sign by which its head differs from ε(through, top legs, bottom legs)."""

    level: Level
    below: Node
    above: Node
    order: tuple[int, ...]
    sign: int


def split(d: Diagram, types_out: Sequence[int], types_in: Sequence[int]) -> Sides:
    """The two sides of a diagram between terms whose axes have these types."""
    tied = {i for i in d.head if i != SPARE}
    parts = [
        (tuple(p for p in block if p < d.l), tuple(p - d.l for p in block if p >= d.l), i in tied)
        for i, block in enumerate(d.blocks)
    ]

    def row(here: int, types: Sequence[int]):
        kept = [part for part in parts if part[here] and (part[1 - here] or part[2])]
        kept.sort(key=lambda part: (types[part[here][0]], part[here]))
        gone = tuple(sorted(part[here] for part in parts if part[here] and part not in kept))
        return kept, tuple(part[here] for part in kept), gone

    (above, *top), (below, *bottom) = row(0, types_out), row(1, types_in)
    through_above, through_below = [p for p in above if p[1]], [p for p in below if p[0]]
    order = tuple(through_below.index(part) for part in through_above)
    if not d.head:
        second = sum(types_in[part[1][0]] for part in through_below)
        return Sides(("plain", len(order) - second, second), Node(*bottom), Node(*top), order, 1)
    legs_above = tuple(i for i, part in enumerate(above) if not part[1])
    legs_below = tuple(i for i, part in enumerate(below) if not part[0])
    a, b = len(legs_above), len(legs_below)
    level: Level = ("head", len(order), a, b)
    sign = 1
    if d.kind == "jellyfish":
        first = through_below if head_below(a, b) else through_above
        arranged = [*first, *(p for p in above if not p[1]), *(p for p in below if not p[0])]
        sign = sign_of(parts.index(part) for part in arranged)
    return Sides(level, Node(*bottom, legs_below, level), Node(*top, legs_above, level), order, sign)


def head_below(a: int, b: int) -> bool:
    """Whether the head is applied to the input (a legs on top, b below): where fewer axes meet the weights."""
    return a <= b


@dataclass(frozen=True)
class Meeting:
    """One matrix product: all diagrams whose sides meet on one level.

    ins, outs: (term, slots). orders: bijections of the through axes. cells: for (output term, input term) the diagrams
    [input slot, order, output slot] as positions in the block's basis, N where there is none.
    """

    level: Level
    axes: int
    ins: tuple[tuple[int, int], ...]
    outs: tuple[tuple[int, int], ...]
    orders: tuple[tuple[int, ...], ...]
    cells: dict[tuple[int, int], np.ndarray]


class Layout:
    """The contractions of every term, the products, and the constants of a layer given by its diagrams.

    orders_in, orders_out: types of the axes of every term (0, or 1 for a covector of GL). blocks: (output term, input
    term) -> diagrams. Constants: arrays that `Lattice.down` and `up` read.
    """

    def __init__(
        self,
        calculus: Calculus,
        types_in: Sequence[tuple[int, ...]],
        types_out: Sequence[tuple[int, ...]],
        blocks: dict[tuple[int, int], Sequence[Diagram]],
    ):
        self.calculus = calculus
        self.constants: list[np.ndarray] = []
        self._tables: dict[tuple, tuple[int, bool]] = {}
        sides = {(o, i): [split(d, types_out[o], types_in[i]) for d in ds] for (o, i), ds in blocks.items()}
        jelly = {s.level: d.kind == "jellyfish" for key, ds in blocks.items() for d, s in zip(ds, sides[key])}
        below = [{s.below for (_, i), ss in sides.items() if i == t for s in ss} for t in range(len(types_in))]
        above = [{s.above for (o, _), ss in sides.items() if o == t for s in ss} for t in range(len(types_out))]
        self.ins = [self._lattice(*pair, calculus.below, jelly, True) for pair in zip(types_in, below)]
        self.outs = [self._lattice(*pair, calculus.above, jelly, False) for pair in zip(types_out, above)]
        self.signs = {key: np.array([s.sign for s in ss], dtype=np.float64) for key, ss in sides.items()}
        self.meetings = self._meetings(sides)

    def _lattice(self, types, nodes, runs: Runs | None, jelly: dict[Level, bool], is_input: bool) -> Lattice | Small:
        def head(node: Node) -> Head:
            return self._head(node, jelly[node.meets], is_input)

        lattice = build(len(types), self.calculus.n, nodes, types=types, runs=runs, head=head)
        dense = matrices(lattice, self.constants)
        if dense is None:
            return lattice
        places = {level: len(self.constants) + i for i, level in enumerate(dense)}
        self.constants += dense.values()
        return Small(lattice, places)

    def _head(self, node: Node, jelly: bool, is_input: bool) -> Head:
        _, t, a, b = node.meets
        axes = range(len(node.kept))
        order = (*(i for i in axes if i not in node.legs), *node.legs)
        if head_below(a, b) != is_input:
            return Head(order, 0, 0, self.calculus.n, None, False)
        wide, narrow = (b, a) if is_input else (a, b)
        through = t if jelly else 0
        key = (through, a, b, is_input)
        if key not in self._tables:
            arrays = head_table(self.calculus.n, through, a, b, self.calculus.metric)
            if not is_input:
                arrays = (arrays[1], arrays[0], arrays[2])
            n = self.calculus.n
            shape = (n ** (through + narrow), n ** (through + wide))
            dense = shape[0] * shape[1] <= DENSE_TABLE
            self._tables[key] = len(self.constants), dense
            if dense:
                M = np.zeros(shape)
                M[arrays[0], arrays[1]] = arrays[2]
                self.constants.append(M)
            else:
                self.constants += arrays
        table, dense = self._tables[key]
        return Head(order, through + wide, through + narrow, self.calculus.n, table, dense)

    def _meetings(self, sides: dict[tuple[int, int], list[Sides]]) -> tuple[Meeting, ...]:
        made = []
        for level in sorted({s.level for ss in sides.values() for s in ss}, key=lambda level: (level[0], level[1:])):
            here = {key: [(k, s) for k, s in enumerate(ss) if s.level == level] for key, ss in sides.items()}
            here = {key: found for key, found in here.items() if found}
            ins = tuple((i, len(self.ins[i].slots[level])) for i in sorted({i for _, i in here}))
            outs = tuple((o, len(self.outs[o].slots[level])) for o in sorted({o for o, _ in here}))
            orders = tuple(sorted({s.order for found in here.values() for _, s in found}))
            cells = {}
            for (o, i), found in here.items():
                below, above = self.ins[i].slots[level], self.outs[o].slots[level]
                table = np.full((len(below), len(orders), len(above)), len(sides[o, i]))
                for k, s in found:
                    table[below[s.below], orders.index(s.order), above[s.above]] = k
                cells[o, i] = table
            made.append(Meeting(level, axes_of(level), ins, outs, orders, cells))
        return tuple(made)


@lru_cache(maxsize=64)
def head_table(
    n: int, through: int, a: int, b: int, metric: tuple[int, ...] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Entries of ε(p, q, w) with `through` indices p, a indices q, b indices w, a last one summed if one is left.

    Row (p, q), column (p, w), value ±1; the metric multiplies every q.
    """
    p = np.array(list(itertools.permutations(range(n))), dtype=np.int64).reshape(-1, n)
    inversions = sum((p[:, i] > p[:, j]).astype(np.int64) for i in range(n) for j in range(i + 1, n))
    values = (1 - 2 * (inversions % 2)) * np.ones(len(p))
    if metric is not None:
        values = values * np.array(metric)[p[:, through : through + a]].prod(1)

    def flat(columns: np.ndarray) -> np.ndarray:
        return columns @ n ** np.arange(columns.shape[1] - 1, -1, -1)

    rows = flat(p[:, : through + a])
    columns = flat(np.concatenate([p[:, :through], p[:, through + a : through + a + b]], 1))
    return rows, columns, values
