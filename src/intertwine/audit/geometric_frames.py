"""Frames that move with a set of vectors, and names for vectors that are equal up to a tolerance."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

GROUPS = ("O", "SO")


class AmbiguousTolerance(ValueError):
    """Two numbers differ by about the tolerance: whether they are equal cannot be said."""


def frames(vectors: np.ndarray, group: str, tol: float) -> np.ndarray:
    """Orthonormal frames [k, d, d] made from vectors [m, d]: turning the vectors turns the set of frames.

    Gram-Schmidt that always takes the vector farthest from the span of those before it; where several are equally far,
    one frame for each. Rows beyond the rank are zero. For SO the last row of a full frame makes the determinant 1.
    """
    d = vectors.shape[1]
    rest = vectors[None]
    made = np.zeros((1, 0, d))
    scale = max(1.0, float(np.abs(vectors).max(initial=0.0)))
    for _ in range(d):
        if not rest.shape[1]:
            break
        length = np.linalg.norm(rest, axis=-1)
        farthest = length.max()  # over all branches: one that falls short of it ends here
        if settled(farthest, tol * scale) == 0:
            break
        behind = farthest - length
        _check(behind, tol * scale)
        branch, index = np.nonzero(behind <= tol * scale)
        unit = rest[branch, index] / length[branch, index, None]
        made = _distinct(np.concatenate([made[branch], unit[:, None]], 1), tol)
        rest = vectors - np.einsum("kmr,krd->kmd", np.einsum("md,krd->kmr", vectors, made), made)
    full = np.zeros((len(made), d, d))
    full[:, : made.shape[1]] = made
    if group == "SO" and made.shape[1] == d:
        full[:, -1] *= np.sign(np.linalg.det(full))[:, None]
    return full


def named(rows: np.ndarray, tol: float) -> np.ndarray:
    """A number for each row of [m, k], equal where a chain of rows leads from one to the other by steps under tol.

    Raises AmbiguousTolerance where the nearest two numbers are between tol and 10 tol apart.
    """
    if not rows.shape[1]:
        return np.zeros(len(rows), dtype=np.int64)
    coarse, inverse = np.unique(np.round(rows / (tol / 16)), axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    near = cKDTree(coarse * (tol / 16)).query_pairs(10 * tol, output_type="ndarray")
    apart = np.linalg.norm((coarse[near[:, 0]] - coarse[near[:, 1]]) * (tol / 16), axis=1)
    link = near[apart <= tol]
    graph = coo_array((np.ones(len(link)), (link[:, 0], link[:, 1])), shape=(len(coarse),) * 2)
    label = connected_components(graph, directed=False)[1]
    split = label[near[:, 0]] != label[near[:, 1]]
    if split.any():
        raise AmbiguousTolerance(
            f"geometric WL: two of the vectors are {apart[split].min():.1e} apart, near the tolerance {tol:.1e}; "
            "choose a tol well above the noise of the positions and well below the distances that matter"
        )
    return label.astype(np.int64)[inverse]


def settled(length: float, tol: float) -> float:
    """The length, or 0 where it is below tol. Raises AmbiguousTolerance between tol and 10 tol."""
    _check(np.array([length]), tol)
    return 0.0 if length <= tol else length


def _check(gaps: np.ndarray, tol: float) -> None:
    unclear = (gaps > tol) & (gaps < 10 * tol)
    if unclear.any():
        raise AmbiguousTolerance(
            f"geometric WL: lengths differ by {gaps[unclear].min():.1e}, near the tolerance {tol:.1e}; "
            "choose a tol well above the noise of the positions and well below the distances that matter"
        )


def _distinct(made: np.ndarray, tol: float) -> np.ndarray:
    """One of each frame that several vectors give, as parallel ones do."""
    _, first = np.unique(named(made.reshape(len(made), -1), tol), return_index=True)
    return made[np.sort(first)]
