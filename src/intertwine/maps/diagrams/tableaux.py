"""Count standard Young tableaux: every dimension formula of the diagram layers is a sum of their numbers."""

import math
from collections.abc import Iterator
from functools import lru_cache


def shapes(m: int, rows: int, largest: int | None = None) -> Iterator[tuple[int, ...]]:
    """Partitions of the integer m into at most `rows` parts, descending, largest first."""
    if m == 0:
        yield ()
    elif rows > 0:
        for first in range(min(m, largest or m), 0, -1):
            for rest in shapes(m - first, rows - 1, first):
                yield (first, *rest)


@lru_cache(maxsize=4096)
def tableaux(shape: tuple[int, ...]) -> int:
    """Number of standard Young tableaux of a shape, by the hook length formula."""
    columns = [sum(row > j for row in shape) for j in range(shape[0] if shape else 0)]
    hooks = math.prod(row - j + columns[j] - i - 1 for i, row in enumerate(shape) for j in range(row))
    return math.factorial(sum(shape)) // hooks


@lru_cache(maxsize=4096)
def stirling(m: int, t: int) -> int:
    """Stirling number of the second kind: ways to partition m points into t blocks."""
    if m == t:
        return 1
    return 0 if t <= 0 or t > m else t * stirling(m - 1, t) + stirling(m - 1, t - 1)
