"""Irreducible factors: what Schur's lemma needs to know about a representation."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..groups import Group
from .factor import Factor


class Irrep(Factor):
    """An irreducible real representation in a fixed basis.

    Two irreps of a group are isomorphic exactly when they print the same, and then `endomorphisms()` spans the maps
    between them: one for real type, two for complex type, four for quaternionic type.
    """

    @property
    def is_trivial(self) -> bool:
        """Whether every element acts as 1."""
        return False

    def endomorphisms(self) -> Tensor:
        """Basis of the maps that commute with the action, the identity first, float64 [1 | 2 | 4, dim, dim]."""
        return torch.eye(self.dim, dtype=torch.float64)[None]

    @property
    def endo(self) -> str:
        """The type: R, C or H, for one, two or four independent endomorphisms."""
        return {1: "R", 2: "C", 4: "H"}[len(self.endomorphisms())]


def known_irreps(group: Group) -> Iterator[Irrep] | None:
    """The irreps of a group that have labels, in a fixed order, without end where the group is infinite; or None.

    Cyclic(n), Dihedral(n), SO(2), O(2), SO(3) and O(3) have labels.
    """
    return group.named("_irreps")
