"""Write a diagram as permutation ∘ planar ∘ permutation, the form in which one diagram is applied step by step."""

import itertools
from functools import lru_cache

from .category import Diagram, permutation

MAX_BLOCKS = 12  # blocks of one type whose orders are compared exactly, 2^12 subsets

Blocks = tuple[tuple[int, ...], ...]


def factor(diagram: Diagram) -> tuple[Diagram, Diagram, Diagram]:
    """(top, planar, bottom) with diagram = top @ planar @ bottom: top and bottom permute, planar has no crossing.

    The planar diagram has, from left to right, on top the top-only blocks, then the through blocks; below the through
    blocks in the same order, then the bottom-only blocks by ascending size. Among those: the fewest crossings in the
    permutations, ties broken by the smallest points first, so that the answer is unique.
    Raises ValueError for a diagram with a head, whose sign depends on the order, and above 12 blocks of one type.
    Source: arXiv:2304.14165, section 4.
    """
    if diagram.head:
        raise ValueError(f"factor: {diagram} has a head, whose sign depends on the order of its legs")
    l, k = diagram.l, diagram.k
    by_size = itertools.groupby(sorted(diagram.bottom_only, key=len), key=len)
    bottom = [block for _, group in by_size for block in _least_crossings(tuple(group), l)]
    top, through = _least_crossings(diagram.top_only, l), _least_crossings(diagram.through, l)
    above = [p for block in (*top, *through) for p in block if p < l]
    below = [p for block in (*through, *bottom) for p in block if p >= l]
    place = {p: i for i, p in enumerate(above)} | {p: l + i for i, p in enumerate(below)}
    planar = Diagram(l, k, tuple(tuple(place[p] for p in block) for block in diagram.blocks), diagram.kind)
    lower = permutation(tuple(place[l + i] - l for i in range(k)), diagram.kind)
    return permutation(tuple(above), diagram.kind), planar, lower


def crossings(left: tuple[int, ...], right: tuple[int, ...], l: int) -> int:
    """Crossings between two blocks when the points of `left` move to the left of those of `right`, in both rows."""
    return sum(a > b and (a < l) == (b < l) for a in left for b in right)


@lru_cache(maxsize=1024)
def _least_crossings(blocks: Blocks, l: int) -> Blocks:
    """The order of blocks with the fewest crossings, by dynamic programming over which blocks are still to come."""
    if len(blocks) > MAX_BLOCKS:
        raise ValueError(f"factor: {len(blocks)} blocks of one type; orders of at most {MAX_BLOCKS} are compared")
    count = len(blocks)
    cost = [[crossings(a, b, l) for b in blocks] for a in blocks]
    least, first = [0] * 2**count, [0] * 2**count
    for rest in range(1, 2**count):
        members = [i for i in range(count) if rest >> i & 1]
        totals = [least[rest ^ (1 << i)] + sum(cost[i][j] for j in members if j != i) for i in members]
        least[rest] = min(totals)
        first[rest] = members[totals.index(least[rest])]
    order, rest = [], 2**count - 1
    while rest:
        order.append(blocks[first[rest]])
        rest ^= 1 << first[rest]
    return tuple(order)


def is_planar(diagram: Diagram) -> bool:
    """Whether the diagram can be drawn without crossings: top from left to right, then bottom from right to left."""
    around = {p: p if p < diagram.l else 2 * diagram.l + diagram.k - 1 - p for p in range(diagram.l + diagram.k)}
    blocks = [sorted(around[p] for p in block) for block in diagram.blocks]
    return not any(
        a < b < c < d
        for x, y in itertools.permutations(blocks, 2)
        for a, c in itertools.combinations(x, 2)
        for b, d in itertools.combinations(y, 2)
    )
