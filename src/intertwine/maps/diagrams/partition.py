"""Set partitions: the basis of every S_n-equivariant map between tensor powers of R^n."""

import itertools
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from math import factorial, prod

import numpy as np

from .category import Diagram
from .tableaux import stirling


def restricted_growth(m: int, blocks: int) -> Iterator[list[int]]:
    """Strings a with a_0 = 0 and a_i <= 1 + max(a_0..a_{i-1}) < blocks, lexicographic: one for each set partition."""

    def grow(prefix: list[int], used: int) -> Iterator[list[int]]:
        if len(prefix) == m:
            yield prefix
            return
        for value in range(min(used + 1, blocks)):
            yield from grow([*prefix, value], max(used, value + 1))

    return grow([], 0)


def partitions(l: int, k: int, max_blocks: int | None = None) -> Iterator[Diagram]:
    """All partition diagrams of l outputs and k inputs, with at most `max_blocks` blocks, by restricted growth strings.

    With max_blocks = n they are a basis of Hom_S(n)(V^k, V^l) for every n (arXiv:2212.08648, theorem 5.4).
    """
    m = l + k
    for string in restricted_growth(m, m if max_blocks is None else max_blocks):
        blocks: list[list[int]] = [[] for _ in range(max(string, default=-1) + 1)]
        for point, block in enumerate(string):
            blocks[block].append(point)
        yield Diagram(l, k, tuple(map(tuple, blocks)))


def dimension(n: int, l: int, k: int) -> int:
    """dim Hom_S(n)(V^k, V^l): partitions of l + k points into at most n blocks, the Bell number only if n >= l + k."""
    m = l + k
    return sum(stirling(m, t) for t in range(min(n, m) + 1))


def dimension_by_walks(n: int, l: int, k: int) -> int:
    """The same number as closed walks of length l + k at the partition (n) of n: remove a box, then add a box."""
    walks = Counter({(n,): 1})
    for _ in range(l + k):
        step: Counter = Counter()
        for shape, count in walks.items():
            for smaller in _without_box(shape):
                for larger in _with_box(smaller):
                    step[larger] += count
        walks = step
    return walks[(n,)]


def _without_box(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for i, row in enumerate(shape):
        if i + 1 == len(shape) or shape[i + 1] < row:
            yield tuple(r for r in (*shape[:i], row - 1, *shape[i + 1 :]) if r)


def _with_box(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for i in range(len(shape) + 1):
        if i == len(shape):
            yield (*shape, 1)
        elif i == 0 or shape[i - 1] > shape[i]:
            yield (*shape[:i], shape[i] + 1, *shape[i + 1 :])


@lru_cache(maxsize=32)
def to_orbit(n: int, l: int, k: int) -> np.ndarray:
    """Integer matrix M with x_i = Σ_j M[i, j] d_j: orbit basis from diagram basis, both in the order of `partitions`.

    Unitriangular once diagrams are sorted by number of blocks; its inverse is 0/1, `d_j` being the sum of the coarser
    orbits. M[i, j] = Π over blocks of j of (-1)^(b-1) (b-1)!, b the number of blocks of i inside.
    Source: arXiv:2212.08648, section 5.
    """
    diagrams = list(partitions(l, k, n))
    index = {d.blocks: i for i, d in enumerate(diagrams)}
    M = np.zeros((len(diagrams),) * 2, dtype=np.int64)
    for i, d in enumerate(diagrams):
        for merging in restricted_growth(len(d.blocks), len(d.blocks)):
            groups = [[b for b, to in zip(d.blocks, merging) if to == g] for g in range(max(merging, default=-1) + 1)]
            coarse = tuple(sorted(tuple(sorted(itertools.chain(*group))) for group in groups))
            M[i, index[coarse]] = prod((-1) ** (len(g) - 1) * factorial(len(g) - 1) for g in groups)
    M.flags.writeable = False
    return M
