"""Choose a basis from a spanning set of diagrams exactly: evaluate them at random points of a finite field."""

from collections.abc import Sequence

import numpy as np

from ...groups import Group
from .category import Diagram
from .functor import forms

PRIME = 2**31 - 1  # products of two residues fit in int64


def pivots(values: np.ndarray) -> list[int]:
    """Columns of an integer matrix [rows, columns] that are independent of the columns before them, modulo 2^31 - 1."""
    M = values.astype(np.int64) % PRIME
    found: list[int] = []
    for column in range(M.shape[1]):
        row = len(found)
        nonzero = np.flatnonzero(M[row:, column])
        if not len(nonzero):
            continue
        first = row + nonzero[0]
        M[[row, first]] = M[[first, row]]
        M[row, column:] = M[row, column:] * pow(int(M[row, column]), -1, PRIME) % PRIME
        below = row + 1 + np.flatnonzero(M[row + 1 :, column])
        M[below, column:] = (M[below, column:] - M[below, column, None] * M[row, column:] % PRIME) % PRIME
        found.append(column)
        if len(found) == len(M):
            break
    return found


def exact_rank(values: np.ndarray) -> int:
    """Rank of an integer matrix modulo 2^31 - 1: never above the rank over the rationals."""
    return len(pivots(values))


def independent(diagrams: Sequence[Diagram], group: Group, rank: int) -> list[Diagram]:
    """The diagrams that are independent of those before them; pairings, or pairings with a head.

    They are evaluated on random vectors v_1 ⊗ .. ⊗ v_m with integer coordinates: a pair gives the product of two
    vectors, a head a determinant, so the cost does not depend on n^m. Raises RuntimeError if the rank is not `rank`.
    """
    if rank == len(diagrams):
        return list(diagrams)
    rng = np.random.default_rng(0)
    chosen = pivots(evaluate(diagrams, group, rank + 16, rng))
    if len(chosen) != rank:
        raise RuntimeError(f"independent: rank {len(chosen)} of {len(diagrams)} diagrams for {group}, expected {rank}")
    return [diagrams[i] for i in chosen]


def evaluate(diagrams: Sequence[Diagram], group: Group, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Values modulo 2^31 - 1 of the diagrams' multilinear forms at random vectors, int64 [samples, diagrams]."""
    n, m = group.dim_V, diagrams[0].l + diagrams[0].k
    v = rng.integers(0, PRIME, (samples, m, n))
    below, _ = forms(group)
    lowered = _product(v, np.broadcast_to(below % PRIME, (samples, n, n)))
    gram = _product(lowered, v.swapaxes(1, 2))
    determinants: dict[tuple[int, ...], np.ndarray] = {}
    out = np.empty((samples, len(diagrams)), dtype=np.int64)
    for column, d in enumerate(diagrams):
        value = np.ones(samples, dtype=np.int64)
        for block in d.blocks:
            if len(block) == 2:
                value = value * gram[:, block[0], block[1]] % PRIME
        if d.head:
            free = tuple(d.blocks[i][0] for i in d.head)
            if free not in determinants:
                determinants[free] = determinant(v[:, free])
            value = value * determinants[free] % PRIME
        out[:, column] = value
    return out


def _product(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Matrix product modulo 2^31 - 1, one term at a time so that nothing overflows."""
    total = np.zeros((*A.shape[:-1], B.shape[-1]), dtype=np.int64)
    for i in range(A.shape[-1]):
        total = (total + A[..., i, None] * B[..., i, None, :] % PRIME) % PRIME
    return total


def determinant(M: np.ndarray) -> np.ndarray:
    """Determinants modulo 2^31 - 1 of integer matrices [.., n, n], by expanding over sets of columns."""
    n = M.shape[-1]
    minors = {0: np.ones(M.shape[:-2], dtype=np.int64)}
    for row in range(n):
        wider: dict[int, np.ndarray] = {}
        for columns, minor in minors.items():
            for j in range(n):
                if columns >> j & 1:
                    continue
                sign = (-1) ** bin(columns >> j).count("1")
                term = sign * minor * M[..., row, j] % PRIME
                key = columns | 1 << j
                wider[key] = (wider.get(key, 0) + term) % PRIME
        minors = wider
    return minors[2**n - 1]
