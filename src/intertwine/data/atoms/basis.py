"""Which orbitals an atom of each element brings: the shells of a basis set, as representations of rotations."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from ...so3 import Irrep, Irreps
from .species import atomic_numbers, symbol


@dataclass(frozen=True)
class Basis:
    """Degrees l of the shells of each element, in order: `Basis({"H": [0], "O": [0, 1]})`.

    Keys are symbols or atomic numbers. A shell of degree l has 2l+1 orbitals, in the order and with the signs of
    `so3.spherical_harmonics`, and parity (-1)^l. Two bases are equal when their shells are.
    Raises ValueError for what is no element, an element twice, no element or no shell, a degree below 0.
    """

    shells: Mapping[int | str, Sequence[int]]

    def __post_init__(self):
        given = {}
        for key, degrees in self.shells.items():
            (z,) = atomic_numbers([key])
            if z in given:
                raise ValueError(f"Basis: {symbol(z)} is given twice")
            given[z] = tuple(int(l) for l in degrees)
            if not given[z] or min(given[z]) < 0:
                raise ValueError(f"Basis: {symbol(z)} needs shells of degree 0 or more, got {list(degrees)}")
        if not given:
            raise ValueError("Basis: no element")
        object.__setattr__(self, "shells", dict(sorted(given.items())))

    def __hash__(self) -> int:
        return hash(tuple(self.shells.items()))

    @classmethod
    def gfn2(cls, elements: Iterable[str | int]) -> "Basis":
        """The valence shells of GFN2-xTB (10.1021/acs.jctc.8b01176): H 1, C, N, O 4, S 9 orbitals. Up to Rn."""
        return cls({z: _gfn2(z) for z in atomic_numbers(elements)})

    @classmethod
    def def2_svp(cls, elements: Iterable[str | int]) -> "Basis":
        """def2-SVP (10.1039/b508541a) for H to Ar: H 5 orbitals, C, N, O 14."""
        return cls({z: _def2_svp(z) for z in atomic_numbers(elements)})

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers, sorted."""
        return tuple(self.shells)

    @cached_property
    def widest(self) -> Irreps:
        """For each degree as many shells as any element has: the shape in which blocks of all elements fit."""
        counts: dict[int, int] = {}
        for degrees in self.shells.values():
            for l in degrees:
                counts[l] = max(counts.get(l, 0), degrees.count(l))
        return Irreps([(c, Irrep(l, (-1) ** l)) for l, c in sorted(counts.items())])

    def check(self, numbers: Iterable[int]) -> None:
        """Raise ValueError naming the first element that has no shells here."""
        for z in numbers:
            if int(z) not in self.shells:
                raise ValueError(
                    f"the basis has no shells for {symbol(int(z))}; it knows {', '.join(map(symbol, self.shells))}"
                )

    def irreps(self, numbers: Iterable[int]) -> Irreps:
        """The orbitals of these atoms, one after the other: a Rep of O(3) whose matrices turn their Hamiltonian.

        Raises ValueError for an element that has no shells here.
        """
        numbers = [int(z) for z in numbers]
        self.check(numbers)
        return Irreps([(1, Irrep(l, (-1) ** l)) for z in numbers for l in self.shells[z]])

    def positions(self, z: int) -> Int[np.ndarray, " orbitals"]:
        """Where the orbitals of an element stand in `widest`."""
        self.check([z])
        blocks = {irrep.l: (W, c) for (irrep, c), W in zip(self.widest.blocks, _starts(self.widest))}
        seen: dict[int, int] = {}
        found = []
        for l in self.shells[z]:
            start, channels = blocks[l]
            found.append(start + channels * np.arange(2 * l + 1) + seen.get(l, 0))
            seen[l] = seen.get(l, 0) + 1
        return np.concatenate(found)


def _starts(irreps: Irreps) -> list[int]:
    sizes = [irrep.dim * c for irrep, c in irreps.blocks]
    return np.cumsum([0, *sizes[:-1]]).tolist()


def _gfn2(z: int) -> tuple[int, ...]:
    if z > 86:
        raise ValueError(f"Basis.gfn2: GFN2-xTB ends at Rn, {symbol(z)} is beyond")
    if z == 1:
        return (0,)
    transition = {21: 29, 39: 47, 57: 79}
    if any(first <= z <= last for first, last in transition.items()):
        return (2, 0, 1)
    without_d = {*range(2, 10), 11, 19, 30, 37, 48, 55, *range(80, 85)}
    return (0, 1) if z in without_d else (0, 1, 2)


def _def2_svp(z: int) -> tuple[int, ...]:
    counts = {1: (2, 1), 3: (3, 2), 5: (3, 2, 1), 11: (4, 2, 1), 12: (4, 3, 1)}  # from this element on
    if z > 18:
        raise ValueError(f"Basis.def2_svp: only H to Ar are listed; write Basis({{{symbol(z)!r}: [...]}})")
    row = counts[max(first for first in counts if first <= z)]
    return tuple(l for l, count in enumerate(row) for _ in range(count))
