"""What a function of single entries makes of a factor: f(λx) = χ(λ) f(x) turns each matrix entry λ into χ(λ)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..groups import Group
from ..groups.finite import permutation_matrix
from ..groups.group import Element
from .factor import Factor


@dataclass(frozen=True, eq=False, repr=False)
class Entrywise(Factor):
    """A factor with one non-zero entry λ in every row, each replaced by |λ|^power, times its sign where `odd`.

    Printed `abs(V)`, `abs(V, 2)` and `signed(V, 3)`. With power 1 and not odd, a signed permutation becomes the
    permutation behind it. The group must not mix entries of `base`, nor must its Lie algebra: `nn.admissible` checks.
    Source: arXiv:2401.09235, extended to functions that change the type.
    """

    base: Factor
    power: float = 1.0
    odd: bool = False

    def __str__(self) -> str:
        name = "signed" if self.odd else "abs"
        return f"{name}({self.base})" if self.power == 1 else f"{name}({self.base}, {self.power:g})"

    @property
    def group(self) -> Group:
        """The group of `base`."""
        return self.base.group

    @property
    def dim(self) -> int:
        return self.base.dim

    @property
    def is_permutation(self) -> bool:
        return self.is_orthogonal and not self.odd

    @property
    def is_signed_permutation(self) -> bool:
        return self.is_orthogonal

    @property
    def is_orthogonal(self) -> bool:
        return self.base.is_orthogonal or self.power == 0

    def _place(self, g: Element) -> tuple[Tensor, Tensor]:
        """The matrix of g on `base`, and the image of every component."""
        M = self.base.matrix(g)
        return M, M.abs().argmax(-2)

    def permutation(self, g: Element) -> Tensor:
        return self._place(g)[1] if self.is_permutation else super().permutation(g)

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        M, image = self._place(g)
        if self.is_permutation:
            return permutation_matrix(image, dtype)
        entry = M.gather(-2, image[..., None, :])
        value = entry.abs() ** self.power * (entry.sign() if self.odd else 1)
        return torch.zeros_like(M).scatter(-2, image[..., None, :], value).to(dtype)

    def algebra(self, X: Element) -> Tensor:
        return self.power * self.base.algebra(X)
