"""Which frames train, which validate, which test: decided by a seed, before anything has looked at the data."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

Rows = Int[np.ndarray, " rows"]


def sizes(n: int, parts: Sequence[float | int]) -> list[int]:
    """Sizes of the parts of n rows: fractions of n (largest remainders, nothing lost when they sum to 1), or counts.

    Raises ValueError when fractions exceed 1, counts exceed n, or a part that was asked for would be empty.
    """
    if not parts or any(p < 0 for p in parts):
        raise ValueError(f"split: parts must be non-negative fractions or counts, got {tuple(parts)}")
    if all(isinstance(p, (int, np.integer)) for p in parts):
        counts = [int(p) for p in parts]
        if sum(counts) > n:
            raise ValueError(f"split: parts {tuple(parts)} need {sum(counts)} rows, there are {n}")
        return counts
    if sum(parts) > 1 + 1e-9:
        raise ValueError(f"split: fractions {tuple(parts)} sum to {sum(parts):g}, more than 1")
    exact = [p * n for p in parts]
    counts = [int(np.floor(e + 1e-9)) for e in exact]
    total = int(np.floor(sum(exact) + 1e-9))
    by_remainder = sorted(range(len(parts)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    for i, p in enumerate(parts):
        if p > 0 and counts[i] == 0:  # a part that was asked for gets a row: a spare one, else one of the largest part
            largest = max(range(len(parts)), key=lambda j: counts[j])
            if sum(counts) == n:
                counts[largest] -= 1
            counts[i] = 1
            if not counts[largest]:
                raise ValueError(f"split: {n} rows are too few for the parts {tuple(parts)}")
    return counts


def random(n: int, parts: Sequence[float | int] = (0.8, 0.1, 0.1), *, seed: int = 0) -> tuple[Rows, ...]:
    """Disjoint random parts of range(n), each ascending; the same seed gives the same parts on every machine.

    Rows beyond the parts are left out. Raises ValueError as `sizes` does. Frames of a trajectory resemble their
    neighbours: for those use `blocks`.
    """
    order = np.random.default_rng(seed).permutation(n)
    ends = np.cumsum(sizes(n, parts))
    return tuple(np.sort(piece) for piece in np.split(order[: ends[-1]], ends[:-1]))


def blocks(
    n: int,
    parts: Sequence[float | int] = (0.8, 0.1, 0.1),
    *,
    seed: int = 0,
    pieces: int | None = None,
    gap: int = 0,
) -> tuple[Rows, ...]:
    """Disjoint parts made of consecutive rows, so that no part sits between the frames of another.

    pieces=None: one block per part, in the order of the parts (the seed plays no role). pieces=k: range(n) is cut into
    k blocks that are dealt to the parts at random, each part getting whole blocks as near to its size as they allow.
    gap: this many rows are left out at every border between different parts.
    Raises ValueError as `sizes` does, and when there are fewer pieces than parts.
    """
    counts = sizes(n, parts)
    if gap < 0:
        raise ValueError(f"split: gap must not be negative, got {gap}")
    owner = np.full(n, -1)
    if pieces is None:
        start = 0
        for part, count in enumerate(counts):
            owner[start : start + count] = part
            start += count
    else:
        wanted = sum(count > 0 for count in counts)
        if not wanted <= pieces <= n:
            raise ValueError(f"split: {pieces} pieces cannot make {wanted} parts of {n} rows")
        edges = np.linspace(0, n, pieces + 1).round().astype(int)
        owned = np.repeat(np.arange(len(counts)), sizes(pieces, [count / n for count in counts]))
        dealt = np.random.default_rng(seed).permutation(pieces)[: len(owned)]
        for piece, part in zip(dealt, owned):
            owner[edges[piece] : edges[piece + 1]] = part
    for border in np.flatnonzero(owner[1:] != owner[:-1]) + 1 if gap else []:
        owner[max(0, border - gap // 2) : border + (gap + 1) // 2] = -1
    return tuple(np.flatnonzero(owner == part) for part in range(len(counts)))
