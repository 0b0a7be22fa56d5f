"""Maps of a space of inputs or targets: what the symmetry of a learning algorithm is measured with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Rows = Float[np.ndarray, "examples features"]
Space = Literal["X", "Y", "examples"]


@dataclass(frozen=True)
class SpaceMap:
    """One map of the rows of X (inputs) or of Y (targets), or of the order of the examples: a name, and what it does.

    injective: no two rows become one; a map of X that is not leaves the new predictor free where it merges.
    """

    name: str
    space: Space
    apply: Callable[[Rows], Rows]
    injective: bool = True

    def after(self, first: "SpaceMap") -> "SpaceMap":
        """First `first`, then this one. Raises ValueError for maps of different spaces."""
        if first.space != self.space:
            raise ValueError(f"{self.name} moves {self.space}, {first.name} moves {first.space}: they do not compose")
        apply = lambda rows: self.apply(first.apply(rows))  # noqa: E731
        return SpaceMap(f"{self.name} after {first.name}", self.space, apply, self.injective and first.injective)


Family = Callable[[Rows, np.random.Generator, Space], SpaceMap]  # from the rows that it will move, one random map


def linear(name: str, space: Space, A: Float[np.ndarray, "new old"]) -> SpaceMap:
    """v -> A v."""
    return SpaceMap(name, space, lambda rows: rows @ A.T, bool(np.linalg.matrix_rank(A) == A.shape[1]))


def affine(name: str, space: Space, A: Float[np.ndarray, "new old"], b: Float[np.ndarray, " new"]) -> SpaceMap:
    """v -> A v + b."""
    return SpaceMap(name, space, lambda rows: rows @ A.T + b, bool(np.linalg.matrix_rank(A) == A.shape[1]))


def rotation(rows: Rows, rng: np.random.Generator, space: Space) -> SpaceMap:
    """A random orthogonal matrix; in one dimension the change of sign."""
    n = rows.shape[1]
    q, r = np.linalg.qr(rng.normal(size=(n, n)))
    return linear("rotate", space, -np.eye(1) if n == 1 else q * np.sign(np.diag(r)))


def scaling(rows: Rows, rng: np.random.Generator, space: Space) -> SpaceMap:
    """One factor for all features, between 1/3 and 3: another unit."""
    return linear("scale", space, 3.0 ** rng.uniform(-1, 1) * np.eye(rows.shape[1]))


def feature_scaling(rows: Rows, rng: np.random.Generator, space: Space) -> SpaceMap:
    """A factor for each feature."""
    return linear("scale each feature", space, np.diag(3.0 ** rng.uniform(-1, 1, rows.shape[1])))


def shift(rows: Rows, rng: np.random.Generator, space: Space) -> SpaceMap:
    """Another origin, about three standard deviations away."""
    n = rows.shape[1]
    return affine("shift", space, np.eye(n), 3 * rows.std() * rng.normal(size=n))


def invertible(rows: Rows, rng: np.random.Generator, space: Space) -> SpaceMap:
    """A random matrix, singular values between 1/3 and 3."""
    return linear("any invertible matrix", space, _stretch(rows.shape[1], rng))


def isometric_embedding(rows: Rows, rng: np.random.Generator, space: Space) -> SpaceMap:
    """Into a space of two more dimensions, distances kept."""
    n = rows.shape[1]
    return linear("embed, distances kept", space, np.linalg.qr(rng.normal(size=(n + 2, n)))[0])


def embedding(rows: Rows, rng: np.random.Generator, space: Space) -> SpaceMap:
    """Into a space of two more dimensions, by any matrix of full rank."""
    n = rows.shape[1]
    isometry = np.linalg.qr(rng.normal(size=(n + 2, n)))[0]
    return linear("embed", space, isometry @ _stretch(n, rng))


def projection(rows: Rows, rng: np.random.Generator, space: Space) -> SpaceMap:
    """Onto a random hyperplane (of one dimension: onto 0): not injective."""
    n = rows.shape[1]
    v = rng.normal(size=n)
    return linear("project", space, np.eye(n) - np.outer(v, v) / (v @ v))


def reorder(rows: Rows, rng: np.random.Generator, space: Space = "examples") -> SpaceMap:
    """The same examples in another order."""
    order = rng.permutation(len(rows))
    return SpaceMap("reorder", space, lambda r: r[order])


def _stretch(n: int, rng: np.random.Generator) -> Float[np.ndarray, "n n"]:
    u, v = (np.linalg.qr(rng.normal(size=(n, n)))[0] for _ in range(2))
    return u * 3.0 ** rng.uniform(-1, 1, n) @ v


OF_INPUTS: tuple[Family, ...] = (
    *(rotation, scaling, feature_scaling, shift, invertible),
    *(isometric_embedding, embedding),
)
OF_TARGETS: tuple[Family, ...] = (rotation, scaling, shift, projection)
