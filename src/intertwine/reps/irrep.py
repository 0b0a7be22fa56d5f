"""Irreducible factors: what Schur's lemma needs to know about a representation."""

import torch
from torch import Tensor

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
