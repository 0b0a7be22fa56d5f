"""What an invariant vector must satisfy, as small matrices per axis: one set for each generator of the group."""

from dataclasses import dataclass

import numpy as np

from ..groups import Group
from ..groups.group import Element
from ..reps import Factor


@dataclass(frozen=True)
class Constraints:
    """The generators of a group on a tensor product of axes of sizes `shape`.

    algebra: per axis [D, d, d], the Lie algebra; discrete: per axis [k, d, d], the discrete generators. `reductive`
    picks combinations [D', D] of the Lie algebra that span its largest part closed under transpose, orthonormal as
    matrices on V: for SO, SL, GL, Sp and Lorentz that is all of it, for rigid motions the rotations.
    """

    shape: tuple[int, ...]
    algebra: list[np.ndarray]
    discrete: list[np.ndarray]
    reductive: np.ndarray

    @property
    def N(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


def constraints(group: Group, factors: tuple[Factor, ...]) -> Constraints:
    """Read the generators of a group on every factor."""
    algebra = group.lie_algebra()
    coordinates = _coordinates(algebra)
    D = len(coordinates)
    generators = group.generators()
    return Constraints(
        tuple(factor.dim for factor in factors),
        [_algebra(factor, algebra, D) for factor in factors],
        [elements(factor, generators) for factor in factors],
        _reductive(coordinates, _coordinates(algebra, transposed=True)),
    )


def complete(group: Group) -> bool:
    """Whether the generators of a group are known to generate it, and the Casimir operator to see its Lie algebra.

    Not so for a group known by a sampler or by generators without end, and where translations or shears act.
    """
    if group.is_finite:
        return True
    rows = _coordinates(group.lie_algebra())
    return len(rows) > 0 and len(_reductive(rows, _coordinates(group.lie_algebra(), transposed=True))) == len(rows)


def elements(factor: Factor, g: Element) -> np.ndarray:
    """Matrices of a factor in float64."""
    return factor.matrix(g).detach().cpu().double().numpy()


def _algebra(factor: Factor, algebra: Element, D: int) -> np.ndarray:
    # a connected group cannot permute anything, and a permutation factor need not know a Lie algebra
    if D == 0 or factor.is_signed_permutation:
        return np.zeros((D, factor.dim, factor.dim))
    return factor.algebra(algebra).detach().cpu().double().numpy()


def _coordinates(algebra: Element, transposed: bool = False) -> np.ndarray:
    """The Lie algebra as rows of numbers, [D, sum of n²]; a product's parts side by side."""
    if isinstance(algebra, tuple):
        return np.concatenate([_coordinates(part, transposed) for part in algebra], 1)
    return (algebra.mT if transposed else algebra).flatten(1).numpy()


def _reductive(rows: np.ndarray, transposed: np.ndarray) -> np.ndarray:
    """Combinations of `rows` that form an orthonormal basis of the intersection with the span of `transposed`."""
    if len(rows) == 0:
        return np.zeros((0, 0))
    left, sizes, basis = np.linalg.svd(rows, full_matrices=False)
    other = np.linalg.svd(transposed, full_matrices=False)[2]
    turn, cosines, _ = np.linalg.svd(basis @ other.T)
    shared = turn[:, cosines > 1 - 1e-9].T  # in the orthonormal basis of the span
    return shared @ (left / sizes).T


def along(M: np.ndarray, X: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Multiply one axis of columns X [N, r] by a matrix."""
    before = int(np.prod(shape[:axis], dtype=np.int64))
    return (M @ X.reshape(before, shape[axis], -1)).reshape(X.shape)


def act(matrices: list[np.ndarray], X: np.ndarray) -> np.ndarray:
    """A group element, given by a matrix for each axis, on columns X [N, r]."""
    shape = tuple(len(M) for M in matrices)
    for axis, M in enumerate(matrices):
        X = along(M, X, shape, axis)
    return X


def derive(matrices: list[np.ndarray], X: np.ndarray) -> np.ndarray:
    """A Lie algebra element, given by a matrix for each axis, on columns X [N, r]."""
    shape = tuple(len(M) for M in matrices)
    total = np.zeros_like(X)
    for axis, M in enumerate(matrices):
        if M.any():
            total += along(M, X, shape, axis)
    return total
