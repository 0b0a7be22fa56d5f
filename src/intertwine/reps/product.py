"""A term of a representation: a tensor product of factors, without multiplicity."""

import math
from dataclasses import dataclass

from .factor import Factor


@dataclass(frozen=True)
class Product:
    """A tensor product of factors: one multiplicity-free term of a Rep; no factors means the trivial representation."""

    factors: tuple[Factor, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each component axis."""
        return tuple(factor.dim for factor in self.factors)

    @property
    def dim(self) -> int:
        """Number of components."""
        return math.prod(self.shape)

    @property
    def dual(self) -> "Product":
        """The contragredient, axis by axis."""
        return Product(tuple(factor.dual for factor in self.factors))

    def __mul__(self, other: "Product") -> "Product":
        return Product(self.factors + other.factors)

    def __str__(self) -> str:
        if not self.factors:
            return "1"
        runs: list[list] = []
        for factor in map(str, self.factors):
            factor = f"irrep({factor})" if factor.isdecimal() else factor  # a bare number is a count
            if runs and runs[-1][0] == factor:
                runs[-1][1] += 1
            else:
                runs.append([factor, 1])
        return "*".join(name if power == 1 else f"{name}^{power}" for name, power in runs)
