"""Spherical tensors as a kind of input of tensor networks: degree l enters and leaves by the isometry P(l)."""

from dataclasses import dataclass

from jaxtyping import Float
from numpy import ndarray

from .cartesian import P
from .irreps import Irrep
from .wigner import check_degree


@dataclass(frozen=True)
class Spherical:
    """Features of degree l, shape [2l+1], as inputs of tensor networks; inside, symmetric traceless of rank l.

    parity: that of the harmonics, (-1)^l, unless given. Raises ValueError for a degree below 0 or another parity.
    Source: arXiv:2508.12596.
    """

    l: int
    parity: int | None = None

    def __post_init__(self):
        check_degree("Spherical", self.l)
        if self.parity not in (1, -1, None):
            raise ValueError(f"Spherical: parity must be 1, -1 or None (natural), got {self.parity!r}")
        if self.parity is None:
            object.__setattr__(self, "parity", (-1) ** self.l)

    @property
    def rank(self) -> int:
        """l indices inside a network."""
        return self.l

    @property
    def symmetric(self) -> bool:
        """In every index."""
        return True

    @property
    def traceless(self) -> bool:
        """In every pair of indices."""
        return True

    @property
    def shape(self) -> tuple[int]:
        """Orders -l..l."""
        return (2 * self.l + 1,)

    @property
    def irrep(self) -> Irrep:
        """The irrep of O(3)."""
        return Irrep(self.l, self.parity)

    @property
    def lift(self) -> Float[ndarray, "cartesian order"]:
        """P(l), flat: from orders to Cartesian entries."""
        return P(self.l).reshape(-1, 2 * self.l + 1)

    @property
    def lower(self) -> Float[ndarray, "cartesian order"]:
        """P(l) again: back to orders by its transpose."""
        return self.lift
