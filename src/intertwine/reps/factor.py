"""The atoms of representations: one component axis each; a term of a Rep is a tensor product of them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..groups import DirectProduct, Group
from ..groups.group import Element


class Factor(ABC):
    """A representation with one component axis of size `dim`, out of which `Product`s and `Rep`s are built.

    Immutable, hashable, equal when group and printed name agree.
    """

    group: Group
    is_permutation: ClassVar[bool] = False
    is_signed_permutation: ClassVar[bool] = False  # includes permutations
    is_orthogonal: ClassVar[bool] = False

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of components."""

    @abstractmethod
    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        """The matrix of g, [..., dim, dim], acting on columns."""

    def algebra(self, X: Element) -> Tensor:
        """The matrix of a Lie algebra element X (a matrix on the group's V, or a tuple of them), [..., dim, dim]."""
        raise ValueError(f"{self} of {self.group}: no Lie algebra acts on it")

    def permutation(self, g: Element) -> Tensor:
        """The image of each component, int64 [..., dim]; only where `is_permutation`."""
        raise ValueError(f"{self} of {self.group} is not a permutation representation")

    @property
    def dual(self) -> "Factor":
        """The contragredient, g -> matrix(g)^-T; an orthogonal factor is its own dual."""
        return self if self.is_orthogonal else Dual(self)

    @abstractmethod
    def __str__(self) -> str: ...

    def __repr__(self) -> str:
        return str(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Factor) and self.group == other.group and str(self) == str(other)

    def __hash__(self) -> int:
        return hash((str(self.group), str(self)))


@dataclass(frozen=True, eq=False, repr=False)
class Defining(Factor):
    """V, the defining representation of a group."""

    group: Group

    def __str__(self) -> str:
        return "V"

    @property
    def dim(self) -> int:
        return self.group.dim_V

    @property
    def is_permutation(self) -> bool:
        return self.group.is_permutation

    @property
    def is_signed_permutation(self) -> bool:
        return self.group.is_permutation

    @property
    def is_orthogonal(self) -> bool:
        return self.group.is_orthogonal

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        return self.group.matrix(g, dtype)

    def algebra(self, X: Tensor) -> Tensor:
        return X

    def permutation(self, g: Element) -> Tensor:
        return self.group.permutation(g) if self.is_permutation else super().permutation(g)


@dataclass(frozen=True, eq=False, repr=False)
class Dual(Factor):
    """The contragredient of a factor that is not orthogonal."""

    base: Factor

    def __str__(self) -> str:
        return f"{self.base}*"

    @property
    def group(self) -> Group:
        return self.base.group

    @property
    def dim(self) -> int:
        return self.base.dim

    @property
    def dual(self) -> Factor:
        return self.base

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        return self.base.matrix(self.group.inverse(g), dtype).mT

    def algebra(self, X: Element) -> Tensor:
        return -self.base.algebra(X).mT


@dataclass(frozen=True, eq=False, repr=False)
class Determinant(Factor):
    """The one-dimensional g -> det of g on V; the sign, for permutations."""

    group: Group

    def __str__(self) -> str:
        return "det"

    @property
    def dim(self) -> int:
        return 1

    @property
    def is_signed_permutation(self) -> bool:
        return self.group.is_orthogonal

    @property
    def is_orthogonal(self) -> bool:
        return self.group.is_orthogonal

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.linalg.det(self.group.matrix(g)).to(dtype)[..., None, None]

    def algebra(self, X: Tensor) -> Tensor:
        return X.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


@dataclass(frozen=True, eq=False, repr=False)
class Regular(Factor):
    """R^|G| of a finite group, g e_h = e_gh, coordinates in the order of `elements()`."""

    group: Group
    is_permutation: ClassVar[bool] = True
    is_signed_permutation: ClassVar[bool] = True
    is_orthogonal: ClassVar[bool] = True

    def __post_init__(self):
        if not self.group.is_finite:
            raise ValueError(
                f"regular: {self.group} is infinite; only a finite group has a regular representation here"
            )

    def __str__(self) -> str:
        return "regular"

    @property
    def dim(self) -> int:
        return self.group.order

    def permutation(self, g: Element) -> Tensor:
        group = self.group
        elements = group.elements()
        batch = group.batch_shape(g)
        moved = group.compose(group.reshape(g, *batch, 1), elements)
        # V may be unfaithful (Dihedral(2)), so elements are told apart by their coordinates, not by their matrices
        return _lookup(_coordinates(group, elements), _coordinates(group, moved))

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.nn.functional.one_hot(self.permutation(g), self.dim).mT.to(dtype)


def _coordinates(group: Group, g: Element) -> Tensor:
    """A finite element's integers on one trailing axis."""
    if isinstance(group, DirectProduct):
        return torch.cat([_coordinates(part, h) for part, h in zip(group.factors, g)], -1)
    return g if group.element_ndim else g[..., None]


def _lookup(table: Tensor, rows: Tensor) -> Tensor:
    """Index in `table` [N, w] of each row of `rows` [..., w]."""
    base = int(max(table.max(), 0)) + 1
    digits = base ** torch.arange(table.shape[-1] - 1, -1, -1) if base ** table.shape[-1] < 2**62 else None
    if digits is None:
        _, code = torch.unique(torch.cat([table, rows.reshape(-1, rows.shape[-1])]), dim=0, return_inverse=True)
        keys, wanted = code[: len(table)], code[len(table) :].reshape(rows.shape[:-1])
    else:
        keys, wanted = (table * digits).sum(-1), (rows * digits).sum(-1)
    order = keys.argsort()
    return order[torch.searchsorted(keys[order], wanted)]


@dataclass(frozen=True, eq=False, repr=False)
class Adjoint(Factor):
    """The Lie algebra itself, X -> g X g^-1, in coordinates of the basis `group.lie_algebra()`."""

    group: Group

    def __post_init__(self):
        if self.dim == 0:
            raise ValueError(f"adjoint: {self.group} has no Lie algebra")

    def __str__(self) -> str:
        return "adjoint"

    @property
    def dim(self) -> int:
        return len(self.group.lie_algebra())

    @property
    def is_orthogonal(self) -> bool:
        return self.group.is_orthogonal  # the bases of so(n) are orthogonal and of equal length

    def _coordinates(self, X: Tensor) -> Tensor:
        basis = self.group.lie_algebra().to(X).flatten(1)
        return X.flatten(-2) @ torch.linalg.pinv(basis)

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        M, inverse = self.group.matrix(g), self.group.matrix(self.group.inverse(g))
        return self._coordinates(M[..., None, :, :] @ self.group.lie_algebra().to(M) @ inverse[..., None, :, :]).mT.to(
            dtype
        )

    def algebra(self, X: Tensor) -> Tensor:
        basis = self.group.lie_algebra().to(X)
        X = X[..., None, :, :]
        return self._coordinates(X @ basis - basis @ X).mT


@dataclass(frozen=True, eq=False, repr=False)
class Pulled(Factor):
    """A factor of one member of a direct product, on which the other members act trivially."""

    group: DirectProduct
    index: int
    base: Factor

    def __post_init__(self):
        if self.group.factors[self.index] != self.base.group:
            raise ValueError(
                f"Pulled: factor {self.index} of {self.group} is {self.group.factors[self.index]}, "
                f"the representation belongs to {self.base.group}"
            )

    def __str__(self) -> str:
        return f"{self.base}[{self.index}]"

    @property
    def dim(self) -> int:
        return self.base.dim

    @property
    def is_permutation(self) -> bool:
        return self.base.is_permutation

    @property
    def is_signed_permutation(self) -> bool:
        return self.base.is_signed_permutation

    @property
    def is_orthogonal(self) -> bool:
        return self.base.is_orthogonal

    @property
    def dual(self) -> Factor:
        return self if self.is_orthogonal else Pulled(self.group, self.index, self.base.dual)

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        return self.base.matrix(g[self.index], dtype)

    def algebra(self, X: Element) -> Tensor:
        return self.base.algebra(X[self.index])

    def permutation(self, g: Element) -> Tensor:
        return self.base.permutation(g[self.index])


def lift(group: DirectProduct, offset: int, factor: Factor) -> Factor:
    """A factor of one operand of an external tensor product, as a factor of the product group."""
    if isinstance(factor, Pulled):
        return Pulled(group, offset + factor.index, factor.base)
    return Pulled(group, offset, factor)
