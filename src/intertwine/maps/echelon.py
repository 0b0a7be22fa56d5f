"""One basis for one subspace: what a weight multiplies may not depend on random probes, on rounding or on the machine.

A numerical null space comes in an arbitrary basis. Its reduced echelon form is unique, and so is the orthonormal basis
that Gram-Schmidt makes of it; both are read off the pivot rows, the first rows of the basis that are independent.
"""

from fractions import Fraction

import numpy as np


def pivots(Q: np.ndarray, tol: float = 1e-6) -> np.ndarray:
    """The first rows, in order, that span the row space of orthonormal columns Q [N, r]: r indices.

    Raises ValueError when fewer than r rows are independent to `tol`.
    """
    N, r = Q.shape
    threshold = tol * np.sqrt((Q * Q).sum(1)).max(initial=0.0)
    seen = np.zeros((r, 0))
    found: list[int] = []
    for start in range(0, N, 256):
        if len(found) == r:
            break
        rows = Q[start : start + 256]
        rows = rows - (rows @ seen) @ seen.T
        for i in range(len(rows)):
            row = rows[i] - seen @ (seen.T @ rows[i])  # twice is enough
            size = np.sqrt(row @ row)
            if size > threshold:
                found.append(start + i)
                row /= size
                seen = np.column_stack([seen, row])
                rows = rows - np.outer(rows @ row, row)
                if len(found) == r:
                    break
    if len(found) < r:
        raise ValueError(f"only {len(found)} of {r} columns are independent")
    return np.array(found, dtype=np.int64)


def orthonormal(Q: np.ndarray) -> np.ndarray:
    """The canonical orthonormal basis of the span of orthonormal columns Q [N, r]: triangular on the pivot rows."""
    if Q.shape[1] == 0:
        return Q
    rotation, triangle = np.linalg.qr(Q[pivots(Q)].T)
    B = Q @ (rotation * np.sign(np.diag(triangle)))
    B[np.abs(B) < 1e-14] = 0.0
    return B


def readable(Q: np.ndarray, largest: int = 24, tol: float = 1e-8) -> np.ndarray:
    """The reduced echelon basis of the span of orthonormal columns Q [N, r], snapped to fractions where all of it fits.

    Each column is 1 on its own pivot row and 0 on the others. Denominators go up to `largest`; when an entry is further
    than `tol` from every such fraction, the numbers are returned as they are.
    """
    if Q.shape[1] == 0:
        return Q
    E = Q @ np.linalg.inv(Q[pivots(Q)])
    values, where = np.unique(np.round(E, 9), return_inverse=True)
    snapped = np.array([float(Fraction(float(v)).limit_denominator(largest)) for v in values])
    near = snapped[where.reshape(E.shape)]
    return near if np.abs(near - E).max() < tol else E
