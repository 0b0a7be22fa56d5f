"""Choose a basis from a spanning set of diagrams exactly: evaluate them at random points of a finite field."""

from collections.abc import Sequence

import numpy as np

from ...groups import Group
from .category import HEADED, Diagram
from .functor import complex_structure, forms

PRIME = 2**31 - 1  # products of two residues fit in int64
PANEL = 64  # columns that are reduced one by one before the others follow in one product


def pivots(values: np.ndarray) -> list[int]:
    """Columns of an integer matrix [rows, columns] that are independent of the columns before them, modulo 2^31 - 1."""
    M = values.astype(np.int64) % PRIME
    found: list[int] = []
    for start in range(0, M.shape[1], PANEL):
        row, stop = len(found), start + PANEL
        if row == len(M):
            break
        L, picked = _eliminate(M[row:], start, stop)
        found += picked
        rest = M[row:, stop:]
        for q in range(len(picked)):
            rest[q + 1 : len(picked)] -= L[q + 1 : len(picked), q, None] * rest[q] % PRIME
            rest[q + 1 : len(picked)] %= PRIME
        done = len(picked)
        if done:
            rest[done:] = (rest[done:] - _panel_product(L[done:, :done], rest[:done])) % PRIME
    return found


def _eliminate(M: np.ndarray, start: int, stop: int) -> tuple[np.ndarray, list[int]]:
    """Row reduce columns start..stop of M in place, pivot rows first; the multipliers, and the pivot columns."""
    L = np.zeros((len(M), PANEL), dtype=np.int64)
    picked: list[int] = []
    for column in range(start, min(stop, M.shape[1])):
        at = len(picked)
        if at == len(M):
            break
        nonzero = np.flatnonzero(M[at:, column])
        if not len(nonzero):
            continue
        first = at + nonzero[0]
        for array in (M, L):
            array[[at, first]] = array[[first, at]]
        L[at + 1 :, at] = M[at + 1 :, column] * pow(int(M[at, column]), -1, PRIME) % PRIME
        M[at + 1 :, column:stop] -= L[at + 1 :, at, None] * M[at, column:stop] % PRIME
        M[at + 1 :, column:stop] %= PRIME
        picked.append(column)
    return L, picked


def _panel_product(L: np.ndarray, P: np.ndarray) -> np.ndarray:
    """L P modulo 2^31 - 1 through float64, exact because halves of L times P, summed over a panel, stay below 2^53."""
    high, low = ((half.astype(np.float64) @ P.astype(np.float64)).astype(np.int64) for half in (L >> 16, L & 0xFFFF))
    return ((high % PRIME << 16) + low) % PRIME


def exact_rank(values: np.ndarray) -> int:
    """Rank of an integer matrix modulo 2^31 - 1: never above the rank over the rationals."""
    return len(pivots(values))


def independent(diagrams: Sequence[Diagram], group: Group, rank: int) -> list[Diagram]:
    """The diagrams that are independent of those before them; pairings, also with a head or starred blocks.

    They are evaluated on random vectors v_1 ⊗ .. ⊗ v_m with integer coordinates: a pair gives the product of two
    vectors, a head or a starred block a determinant, so the cost does not depend on n^m.
    Raises RuntimeError if the rank is not `rank`.
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
    turned = gram
    if diagrams[0].kind == "unitary":
        J = np.broadcast_to(complex_structure(group) % PRIME, (samples, n, n))
        turned = _product(_product(v, J), v.swapaxes(1, 2))
    determinants: dict[tuple[int, ...], np.ndarray] = {}
    out = np.empty((samples, len(diagrams)), dtype=np.int64)
    for column, d in enumerate(diagrams):
        value = np.ones(samples, dtype=np.int64)
        legs = [tuple(d.blocks[i][0] for i in d.head)] if d.kind in HEADED else []
        for i, block in enumerate(d.blocks):
            if d.kind == "determinant" and i in d.head:
                legs.append(block)
            elif len(block) == 2:
                form = turned if i in d.head else gram
                value = value * form[:, block[0], block[1]] % PRIME
        for free in legs:
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
