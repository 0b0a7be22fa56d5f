"""What a tensor network is made of: kinds of tensors of space, each in Cartesian indices, and how many invariants."""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement, permutations
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int

from .diagrams.independence import PRIME


class TensorType(Protocol):
    """A kind of tensor of three-dimensional space: an input, or the output, of a tensor network.

    rank: Cartesian indices inside a network; symmetric: they may be swapped; traceless: any two of them sum to zero;
    parity: what inversion does, +1 or -1; shape: axes of the user's tensor. lift [3^rank, size] turns the user's
    entries into Cartesian ones, lower [3^rank, size] projects back, flat @ lower; None where they are the same.
    """

    rank: int
    symmetric: bool
    traceless: bool
    parity: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes of the user's tensor."""

    @property
    def lift(self) -> Float[np.ndarray, "cartesian size"] | None:
        """From the user's entries to Cartesian ones."""

    @property
    def lower(self) -> Float[np.ndarray, "cartesian size"] | None:
        """From Cartesian entries to the user's, the part of another kind projected away."""


@dataclass(frozen=True)
class Cartesian:
    """Tensors [3, ..., 3] of `rank` indices; rank 0 is a number, shape [].

    symmetric: under every permutation of the indices; traceless: in every pair of them (rank 2, or symmetric). Inputs
    are trusted to be so. parity: -1 to the power rank, the natural one, unless given; Cartesian(1, parity=1) is an
    axial vector. Raises ValueError for a negative rank, another parity, or a traceless kind that is not supported.
    """

    rank: int
    symmetric: bool = False
    traceless: bool = False
    parity: int | None = None

    def __post_init__(self):
        if isinstance(self.rank, bool) or not isinstance(self.rank, int) or self.rank < 0:
            raise ValueError(f"Cartesian: rank must be an integer of at least 0, got {self.rank!r}")
        if self.parity not in (1, -1, None):
            raise ValueError(f"Cartesian: parity must be 1, -1 or None (natural), got {self.parity!r}")
        if self.traceless and not self.symmetric and self.rank > 2:
            raise ValueError(f"Cartesian: traceless tensors of rank {self.rank} must be symmetric too")
        if self.parity is None:
            object.__setattr__(self, "parity", (-1) ** self.rank)

    @property
    def shape(self) -> tuple[int, ...]:
        """[3] * rank."""
        return (3,) * self.rank

    @property
    def lift(self) -> None:
        """The entries are Cartesian already."""
        return None

    @property
    def lower(self) -> Float[np.ndarray, "cartesian cartesian"] | None:
        """The orthogonal projector onto this kind, None where that is everything."""
        if self.rank < 2 or not (self.symmetric or self.traceless):
            return None
        return projector(self.rank, self.symmetric, self.traceless)


ONE, DELTA, EPSILON = "1", "δ", "ε"
BUILT_IN = {ONE: Cartesian(0), DELTA: Cartesian(2, symmetric=True), EPSILON: Cartesian(3, parity=1)}


def constant(name: str) -> np.ndarray:
    """1, δ or ε, float64, flat."""
    if name == ONE:
        return np.ones(1)
    if name == DELTA:
        return np.eye(3).ravel()
    epsilon = np.zeros((3, 3, 3))
    for places in permutations(range(3)):
        epsilon[places] = np.linalg.det(np.eye(3)[list(places)]).round()
    return epsilon.ravel()


@lru_cache(maxsize=32)
def projector(rank: int, symmetric: bool, traceless: bool) -> np.ndarray:
    """Orthogonal projector [3^rank, 3^rank] onto symmetric, traceless, or symmetric and traceless tensors."""
    if not symmetric:
        delta = np.eye(3).ravel() / np.sqrt(3)
        found = np.eye(9) - np.outer(delta, delta)
    else:
        indices = list(combinations_with_replacement(range(3), rank))
        row = {index: k for k, index in enumerate(indices)}
        U = np.zeros((3**rank, len(indices)))
        for flat, index in enumerate(np.ndindex(*(3,) * rank)):
            U[flat, row[tuple(sorted(index))]] = 1
        U /= np.linalg.norm(U, axis=0)
        if traceless:
            traces = np.einsum("iirn->rn", U.reshape(3, 3, -1, len(indices)))
            _, _, right = np.linalg.svd(traces)
            U = U @ right[len(indices) - (2 * rank + 1) :].T
        found = U @ U.T
    found.setflags(write=False)
    return found


def random_points(kind: TensorType, samples: int, rng: np.random.Generator) -> Int[np.ndarray, "samples cartesian"]:
    """Random tensors of a kind over the field of 2^31 - 1 elements, exactly symmetric and traceless where it says so.

    Sums of powers v ⊗ .. ⊗ v; they are traceless for v with v·v = 0, and there are such vectors over this field.
    """
    if kind.rank == 0 or not kind.symmetric:
        t = rng.integers(0, PRIME, (samples, 3**kind.rank))
        if kind.traceless and kind.rank == 2:
            t[:, 8] = -(t[:, 0] + t[:, 4]) % PRIME
        return t
    count = 2 * kind.rank + 1 if kind.traceless else (kind.rank + 1) * (kind.rank + 2) // 2
    draw = isotropic if kind.traceless and kind.rank > 1 else lambda shape, rng: rng.integers(0, PRIME, (*shape, 3))
    v = draw((samples, count), rng)
    power = rng.integers(0, PRIME, (samples, count, 1))
    for _ in range(kind.rank):
        power = (power[..., None] * v[:, :, None] % PRIME).reshape(samples, count, -1)
    return power.sum(1) % PRIME


def isotropic(shape: tuple[int, ...], rng: np.random.Generator) -> Int[np.ndarray, "*shape 3"]:
    """Vectors with v·v = 0 modulo 2^31 - 1: one is found by trial, the lines through it meet the cone once more."""
    one = next((x, root) for x in range(1, PRIME) if (root := square_root(-1 - x * x)) is not None)
    a, b = (rng.integers(0, PRIME, shape) for _ in range(2))
    # w = s n - t d with n·n = 0: w·w = 0 for s = d·d, t = 2 n·d
    n, d = (np.stack(v, -1) for v in ((np.full(shape, one[0]), np.full(shape, one[1]), np.ones(shape, int)), (a, b, a)))
    s = (d * d % PRIME).sum(-1, keepdims=True) % PRIME
    t = 2 * ((n * d % PRIME).sum(-1, keepdims=True) % PRIME) % PRIME
    return (s * n % PRIME - t * d % PRIME) % PRIME


def square_root(x: int) -> int | None:
    """A square root modulo 2^31 - 1, or None; the prime is 3 modulo 4, so that one power gives it."""
    root = pow(x % PRIME, (PRIME + 1) // 4, PRIME)
    return root if root * root % PRIME == x % PRIME else None


def weights(kind: TensorType) -> Counter[int]:
    """How often each order of a turn about one axis occurs in the space of such tensors."""
    if kind.symmetric and kind.traceless:
        return Counter(range(-kind.rank, kind.rank + 1))
    if kind.symmetric:
        return symmetric_power(Counter((-1, 0, 1)), kind.rank)
    total = Counter({0: 1})
    for _ in range(kind.rank):
        total = _product(total, Counter((-1, 0, 1)))
    if kind.traceless and kind.rank == 2:
        total[0] -= 1
    return total


def symmetric_power(orders: Counter[int], d: int) -> Counter[int]:
    """Orders in the symmetric power of degree d of a space with these orders."""
    powers = [Counter({0: 1}), *(Counter() for _ in range(d))]
    for order in orders.elements():
        for k in range(1, d + 1):
            for other, count in list(powers[k - 1].items()):
                powers[k][other + order] += count
    return powers[d]


def invariant_count(kinds: list[tuple[TensorType, int]]) -> int:
    """Dimension of the SO(3)-invariants of given degrees in several tensors: orders 0 less orders 1."""
    total = Counter({0: 1})
    for kind, d in kinds:
        total = _product(total, symmetric_power(weights(kind), d))
    return total[0] - total[1]


def _product(a: Counter[int], b: Counter[int]) -> Counter[int]:
    out: Counter[int] = Counter()
    for x, m in a.items():
        for y, n in b.items():
            out[x + y] += m * n
    return out
