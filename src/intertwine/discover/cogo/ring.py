"""The semiring in which solutions are composed: hidden nodes of one frequency, added and multiplied."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex

# Products of coefficients summed over the nodes, a capital letter for the conjugate. "abc" is what a solution is made
# for; the sums of the others vanish in one, but for those of "aAc" and "bBc", which add a constant only.
POTENTIALS = ("abc", "Abc", "aBc", "abC", "aAc", "bBc", "aac", "bbc", "AAc", "BBc")


@dataclass(frozen=True, eq=False)
class Partial:
    """Hidden nodes of one frequency: rows a, b (the two inputs) and c (the output), a column for each node.

    p + q puts the nodes side by side, p * q multiplies every node of p with every node of q, those of p major; both
    are kept by every potential.
    Raises ValueError for another shape and for entries that are not finite. Source: arXiv:2410.01779, section 4.
    """

    z: Complex[np.ndarray, "3 nodes"]

    def __post_init__(self):
        z = np.array(self.z, dtype=np.complex128)
        if z.ndim != 2 or z.shape[0] != 3:
            raise ValueError(f"Partial: rows are a, b and c, so the shape is [3, nodes], got {list(z.shape)}")
        if not np.isfinite(z).all():
            raise ValueError("Partial: coefficients must be finite")
        z.setflags(write=False)
        object.__setattr__(self, "z", z)

    @property
    def nodes(self) -> int:
        """The number of hidden nodes, called the order of the solution."""
        return self.z.shape[1]

    def __add__(self, other: "Partial") -> "Partial":
        if not isinstance(other, Partial):
            return NotImplemented
        return Partial(np.concatenate([self.z, other.z], axis=1))

    def __mul__(self, other: "Partial") -> "Partial":
        if not isinstance(other, Partial):
            return NotImplemented
        return Partial((self.z[:, :, None] * other.z[:, None, :]).reshape(3, -1))

    def __repr__(self) -> str:
        return f"Partial({np.array2string(self.z, precision=3)})"


def potentials(partial: Partial) -> dict[str, complex]:
    """The ten sums over nodes of products of three coefficients, by name: "aBc" is the sum of a conj(b) c.

    Each is a homomorphism: of p + q the sum, of p * q the product. Source: arXiv:2410.01779, section 4.
    """
    rows = dict(zip("abcABC", [*partial.z, *partial.z.conj()]))
    return {name: complex(math.prod(rows[letter] for letter in name).sum()) for name in POTENTIALS}


def syn(alpha: complex = 1, beta: complex = 1) -> Partial:
    """Three nodes, a = (1, αω, βω̄), b = (1, ω/α, ω̄/β), c = (1, ω, ω̄) with ω = exp(2πi/3).

    Raises ValueError for alpha or beta 0. Source: arXiv:2410.01779, section 5.
    """
    _nonzero("syn", alpha=alpha, beta=beta)
    w = np.exp(2j * np.pi / 3)
    return Partial([[1, alpha * w, beta / w], [1, w / alpha, 1 / (w * beta)], [1, w, 1 / w]])


def nu(v: complex) -> Partial:
    """Two nodes, a = (1, v), b = (1, -v), c = (1, -1/v²); ValueError for v = 0. Source: arXiv:2410.01779, section 5."""
    _nonzero("nu", v=v)
    return Partial([[1, v], [1, -v], [1, -1 / v**2]])


def xi(x: complex, sign: complex = 1j) -> Partial:
    """Two nodes, a = (1, x), b = (1, 1/(x sign)), c = (1, sign), sign i or -i.

    Raises ValueError for x = 0 and for another sign. Source: arXiv:2410.01779, section 5.
    """
    _nonzero("xi", x=x)
    if sign not in (1j, -1j):
        raise ValueError(f"xi: sign must be 1j or -1j, got {sign!r}")
    return Partial([[1, x], [1, 1 / (x * sign)], [1, sign]])


def order6(v: complex = 1) -> Partial:
    """syn() * nu(v), six nodes that solve one frequency: the sum of abc is 6, the other potentials vanish.

    Raises ValueError unless |v| = 1. Source: arXiv:2410.01779, section 5.
    """
    _unit("order6", v)
    return syn() * nu(v)


def order4(x: complex = 1, sign: complex = 1j) -> Partial:
    """nu(i) * xi(x, sign), four nodes that solve one frequency up to a constant: the sum of abc is 4.

    The sums of |a|²c and of |b|²c are 2 (1 + sign), the other potentials vanish.
    Raises ValueError unless |x| = 1 and sign is i or -i. Source: arXiv:2410.01779, section 5.
    """
    _unit("order4", x)
    return nu(1j) * xi(x, sign)


def _nonzero(name: str, **values: complex) -> None:
    for letter, value in values.items():
        if value == 0:
            raise ValueError(f"{name}: {letter} must not be 0")


def _unit(name: str, value: complex) -> None:
    if not abs(abs(value) - 1) < 1e-9:
        raise ValueError(f"{name}: the parameter must lie on the unit circle, got {value!r}")
