"""The irreducible subspaces that matrices commuting with a group show by themselves, those of one kind aligned."""

import numpy as np

from .echelon import orthonormal

SMALL = 1e-6

Family = list[tuple[int, np.ndarray]]  # (term, aligned orthonormal basis [dim, d]) of copies of one irrep


def families(X: np.ndarray, Y: np.ndarray, owner: np.ndarray) -> list[Family] | None:
    """The eigenspaces of X, those that are the same irrep together and aligned; None where one is not irreducible."""
    spaces: Family = []
    for t in range(owner.max() + 1):
        rows = owner == t
        values, vectors = np.linalg.eigh(X[np.ix_(rows, rows)])
        cuts = np.flatnonzero(np.diff(values) > 1e-9 * max(1.0, np.abs(values).max())) + 1
        for columns in np.split(np.arange(len(values)), cuts):
            E = np.zeros((len(owner), len(columns)))
            E[rows] = orthonormal(vectors[:, columns])
            spaces.append((t, E))
    found: list[Family] = []
    for t, E in spaces:
        own = E.T @ Y @ E
        even = (own + own.T) / 2
        if np.abs(even - np.trace(even) / len(even) * np.eye(len(even))).max() > SMALL:
            return None
        for family in found:
            first = family[0][1]
            if first.shape != E.shape:
                continue
            T = E.T @ Y @ first
            size = np.linalg.norm(T) / np.sqrt(len(T))
            if size > SMALL:
                if np.abs(T.T @ T / size**2 - np.eye(len(T))).max() > SMALL:
                    return None
                family.append((t, E @ (T / size)))
                break
        else:
            found.append([(t, E)])
    return found
