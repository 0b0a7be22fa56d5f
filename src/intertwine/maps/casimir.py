"""The null space of a positive sparse matrix with few eigenvalues: the Casimir operator of a group on tensors.

For a Lie algebra closed under transpose, C = sum_a K_a^T K_a over an orthonormal basis is the Casimir operator of the
compact form: its spectrum is discrete with a gap of order one, one eigenvalue for each kind of irrep. So Lanczos finds
all of them in as many steps as there are, and a polynomial that vanishes on the others projects random probes onto the
invariants. Nothing here relies on it: a matrix with many eigenvalues goes through a Chebyshev filter, and a small one
through a dense eigendecomposition.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import qr
from scipy.sparse import coo_array, csr_array

DENSE = 400  # up to this size an eigendecomposition is quicker than a filter
LANCZOS_STEPS = 120
ZERO = 1e-9  # an eigenvalue below this fraction of the largest is zero


@dataclass(frozen=True)
class NullSpace:
    """Orthonormal columns [N, r], the method, and the largest accepted over the smallest rejected size."""

    Q: np.ndarray
    method: str
    gap: float


class Operator(Protocol):
    """A symmetric matrix as far as a filter needs it: a sparse one, or one that is only known by what it does."""

    shape: tuple[int, int]

    def __matmul__(self, X: np.ndarray) -> np.ndarray: ...

    def toarray(self) -> np.ndarray:
        """All entries."""
        ...


def gram(algebra: list[np.ndarray]) -> csr_array:
    """sum_a K_a^T K_a of the derivations K_a = sum_i 1 x ... x A_a,i x ... x 1, sparse [N, N].

    algebra: per axis [D, d, d]. Assembled from pairs of axes, so that its cost does not grow with D.
    """
    shape = tuple(A.shape[1] for A in algebra)
    N = int(np.prod(shape, dtype=np.int64))
    rows, columns, values = [], [], []
    for i, A in enumerate(algebra):
        own = np.einsum("akx,aky->xy", A, A)
        for j in range(i, len(algebra)):
            if i == j:
                entries = _pair(own.reshape(shape[i], 1, shape[i], 1), shape, i, None)
            else:
                mixed = np.einsum("axp,aqy->pqxy", A, algebra[j]) + np.einsum("apx,ayq->pqxy", A, algebra[j])
                entries = _pair(mixed, shape, i, j)
            for kept, new in zip((rows, columns, values), entries):
                kept.append(new)
    if not rows:
        return csr_array((N, N), dtype=np.float64)
    triple = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return csr_array(coo_array(triple, shape=(N, N)))


def _pair(M: np.ndarray, shape: tuple[int, ...], i: int, j: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Entries of a matrix [p, q, x, y] that sends (x, y) on axes i and j to (p, q) and leaves the other axes alone."""
    strides = np.cumprod((1, *shape[:0:-1]), dtype=np.int64)[::-1]
    offsets = np.zeros(1, dtype=np.int64)
    for axis, d in enumerate(shape):
        if axis not in (i, j):
            offsets = (offsets[:, None] + np.arange(d) * strides[axis]).reshape(-1)
    p, q, x, y = np.nonzero(np.abs(M) > 1e-15)
    second = 0 if j is None else strides[j]
    rows = (offsets[:, None] + p * strides[i] + q * second).reshape(-1)
    columns = (offsets[:, None] + x * strides[i] + y * second).reshape(-1)
    return rows, columns, np.tile(M[p, q, x, y], len(offsets))


def null_space(
    C: Operator, *, expected: int | None, rng: np.random.Generator, budget: int, top: float | None = None
) -> NullSpace:
    """The whole null space of a positive semidefinite C [N, N]: probes are added until their rank is below their count.

    expected: its dimension, if known, to choose the number of probes. top: a bound on the spectrum, if C is not sparse.
    Raises MemoryError when the probes would need more than `budget` bytes, ArithmeticError when no filter separates
    zero from the rest.
    """
    N = C.shape[0]
    if top is None:
        top = float(abs(C).sum(1).max()) if C.nnz else 0.0
    if top == 0.0:
        if budget < 8 * N * N:
            raise MemoryError(N)
        return NullSpace(np.eye(N), "everything", 0.0)
    if N <= DENSE:
        return _dense(C.toarray(), top)
    return _filtered(C, top, expected, rng, budget)


def _dense(C: np.ndarray, top: float) -> NullSpace:
    values, vectors = np.linalg.eigh(C)
    small = values < ZERO * top
    least = values[~small].min(initial=top)
    # C squares the constraints, so the ratio of singular values is the root of this one
    return NullSpace(vectors[:, small], "eigh", float(np.sqrt(np.abs(values[small]).max(initial=0.0) / least)))


def eigenvalues(C: Operator, top: float, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
    """Distinct eigenvalues of C by Lanczos, and whether they are all of them (the Krylov space closed)."""
    v = rng.standard_normal(C.shape[0])
    basis = [v / np.linalg.norm(v)]
    diagonal: list[float] = []
    beside: list[float] = []
    closed = False
    for _ in range(LANCZOS_STEPS):
        w = C @ basis[-1]
        diagonal.append(float(w @ basis[-1]))
        V = np.array(basis)
        for _ in range(2):
            w = w - V.T @ (V @ w)
        size = float(np.linalg.norm(w))
        closed = size < 1e-9 * top
        if closed:
            break
        beside.append(size)
        basis.append(w / size)
    T = np.diag(diagonal) + np.diag(beside[: len(diagonal) - 1], 1) + np.diag(beside[: len(diagonal) - 1], -1)
    return np.linalg.eigvalsh(T), closed


def _filtered(C: Operator, top: float, expected: int | None, rng: np.random.Generator, budget: int) -> NullSpace:
    found, closed = eigenvalues(C, top, rng)
    positive = found[found > ZERO * top]
    if closed and _amplification(positive) < 1e5:
        return _project(C, _roots(C, positive), "casimir", float(positive[0]), top, expected, rng, budget)
    if closed:
        top, gap = float(positive[-1]) * (1 + 1e-9), float(positive[0]) * (1 - 1e-9)
    else:
        gap = 0.7 * float(positive[0])  # Lanczos approaches the least eigenvalue from above
    for _ in range(4):
        try:
            return _project(C, _chebyshev(C, gap, top), "chebyshev", gap, top, expected, rng, budget)
        except ArithmeticError:
            gap /= 4
    raise ArithmeticError(f"no gap above zero: eigenvalues down to {gap / top:.1e} of the largest")


def _project(
    C: Operator,
    apply: Callable[[np.ndarray], np.ndarray],
    method: str,
    gap: float,
    top: float,
    expected: int | None,
    rng: np.random.Generator,
    budget: int,
) -> NullSpace:
    """Filter random probes until their rank stays below their number, then filter the basis once more."""
    N = C.shape[0]
    probes = 16 if expected is None else expected + 10
    while True:
        probes = min(probes, N)
        if 6 * N * probes * 8 > budget:
            raise MemoryError(probes)
        X = apply(rng.standard_normal((N, probes)))
        Q, rank, ratio = _range(X)
        if rank < probes or probes == N:
            break
        # the mean squared length of a projected probe is the dimension wanted
        probes = max(2 * probes, int(1.3 * (X * X).sum() / probes) + 10)
    if rank:
        Q = np.linalg.qr(apply(Q))[0]
        left = float(np.abs(np.linalg.eigvalsh(Q.T @ (C @ Q))).max())
        if left > ZERO * top:
            raise ArithmeticError(f"eigenvalue {left / top:.1e} of the largest survives the filter")
        ratio = max(ratio, float(np.sqrt(left / gap)))
    return NullSpace(Q, method, ratio)


def _amplification(values: np.ndarray) -> float:
    """How much the product filter, largest eigenvalue first, can blow up a rounding error."""
    if len(values) == 0:
        return 1.0
    factors = np.abs(1 - values[:, None] / values[None, :])  # [component, root]
    later = np.tril(factors, -1) + np.triu(np.ones_like(factors))  # the roots still to come are the smaller ones
    return float(np.cumprod(later, 1).max())


def _roots(C: Operator, values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """X -> prod (1 - C/lambda) X over the positive eigenvalues, largest first."""

    def apply(X: np.ndarray) -> np.ndarray:
        for value in values[::-1]:
            X = X - (C @ X) / value
        return X

    return apply


def _chebyshev(C: Operator, gap: float, top: float) -> Callable[[np.ndarray], np.ndarray]:
    """X -> p(C) X with p(0) = 1 and |p| < 1e-14 on [gap, top], by the three-term recurrence."""
    centre, radius = (top + gap) / 2, max((top - gap) / 2, 1e-6 * top)
    degree = int(np.ceil(np.arccosh(2e14) / np.arccosh(centre / radius)))

    def apply(X: np.ndarray) -> np.ndarray:
        # T_k grows like the value at 0, so both are kept scaled by it
        previous, current = X, X - (C @ X) / centre
        before, now = 1.0, centre / radius
        for _ in range(degree - 1):
            after = 2 * centre / radius * now - before
            step = (centre * current - C @ current) * (2 * now / (radius * after)) - previous * (before / after)
            previous, current, before, now = current, step, now, after
            if now > 1e100:
                before, now = before / now, 1.0
        return current

    return apply


def _range(X: np.ndarray) -> tuple[np.ndarray, int, float]:
    """Orthonormal basis of the numerical range of filtered probes, its rank, and the ratio at the cut."""
    Q, R, _ = qr(X, mode="economic", pivoting=True)
    sizes = np.abs(np.diag(R))
    # a probe has entries of order one, so an invariant part is of order one too
    rank = int((sizes > 1e-6).sum())
    rejected = float(sizes[rank:].max(initial=0.0))
    return Q[:, :rank], rank, rejected / float(sizes[:rank].min(initial=1.0))
