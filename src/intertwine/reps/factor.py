"""The atoms of representations: one component axis each; a term of a Rep is a tensor product of them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..groups import DirectProduct, Embedding, Group
from ..groups.finite import parity, permutation_matrix
from ..groups.group import Element, listable
from ..groups.product import parts


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
    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Float[Tensor, "... dim dim"]:
        """The matrix of g, [..., dim, dim], acting on columns."""

    def algebra(self, X: Element) -> Float[Tensor, "... dim dim"]:
        """The matrix of a Lie algebra element X (a matrix on the group's V, or a tuple of them), [..., dim, dim].

        Zero for a finite group. Raises ValueError where the factor does not define it.
        """
        if not self.group.is_finite:
            raise ValueError(f"{self} of {self.group} does not say how the Lie algebra acts: define algebra(X)")
        first = X if isinstance(X, Tensor) else X[0]
        return first.new_zeros(*self.group.algebra_batch_shape(X), self.dim, self.dim)

    def permutation(self, g: Element) -> Int[Tensor, "... dim"]:
        """The image of each component, int64 [..., dim]; only where `is_permutation`."""
        raise ValueError(f"{self} of {self.group} is not a permutation representation")

    @property
    def dual(self) -> "Factor":
        """The contragredient, g -> matrix(g)^-T; an orthogonal factor is its own dual."""
        return self if self.is_orthogonal else Dual(self)

    def restricted_to(self, embed: Embedding) -> "Factor | None":
        """The factor of `embed.source` with the same matrices that has a name of its own; None if there is none."""
        return None

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

    def algebra(self, X: Element) -> Tensor:
        return self.group.algebra_matrix(X)

    def permutation(self, g: Element) -> Tensor:
        return self.group.permutation(g) if self.is_permutation else super().permutation(g)

    def restricted_to(self, embed: Embedding) -> Factor | None:
        return Defining(embed.source) if embed.keeps_V else None


@dataclass(frozen=True, eq=False, repr=False)
class Dual(Factor):
    """The contragredient of a factor that is not orthogonal; printed with a prime."""

    base: Factor

    def __str__(self) -> str:
        return f"{self.base}'"

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

    def restricted_to(self, embed: Embedding) -> Factor | None:
        base = self.base.restricted_to(embed)
        return None if base is None else base.dual


@dataclass(frozen=True, eq=False, repr=False)
class Determinant(Factor):
    """The one-dimensional g -> det of g on V; the sign, for permutations."""

    group: Group
    is_orthogonal: bool = field(init=False)  # whether every element has determinant 1 or -1

    def __post_init__(self):
        object.__setattr__(self, "is_orthogonal", all(map(_keeps_volume, parts(self.group))))

    def __str__(self) -> str:
        return "det"

    @property
    def dim(self) -> int:
        return 1

    @property
    def is_signed_permutation(self) -> bool:
        return self.is_orthogonal

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        value = _determinant(self.group, g)
        # elements in float32 miss a determinant of exactly one by their rounding
        value = value.sign() if self.is_orthogonal else value
        return value.to(dtype)[..., None, None]

    def algebra(self, X: Element) -> Tensor:
        return self.group.algebra_matrix(X).diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]

    def restricted_to(self, embed: Embedding) -> Factor | None:
        return Determinant(embed.source) if embed.keeps_V else None


def _determinant(group: Group, g: Element) -> Tensor:
    """The determinant of g on V; of a Kronecker product, each member's to the power of the other dimensions."""
    if isinstance(group, DirectProduct):
        value = torch.ones((), dtype=torch.float64, device=group.device_of(g))
        for member, part in zip(group.factors, g):
            value = value * _determinant(member, part) ** (group.dim_V // member.dim_V)
        return value
    return parity(group.permutation(g)).double() if group.is_permutation else torch.linalg.det(group.matrix(g))


def _keeps_volume(group: Group) -> bool:
    """Whether every element has determinant 1 or -1 on V: if generators have, and the Lie algebra has no trace."""
    if group.is_orthogonal:
        return True
    traces = group.lie_algebra().diagonal(dim1=-2, dim2=-1).sum(-1)
    return bool(
        (traces.abs() < 1e-9).all() and ((_determinant(group, group.generators()).abs() - 1).abs() < 1e-9).all()
    )


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
        listable(self.group)

    def __str__(self) -> str:
        return "regular"

    @property
    def dim(self) -> int:
        return self.group.order

    def permutation(self, g: Element) -> Tensor:
        group = self.group
        g, elements = group.to(g, dtype=torch.float64), group.to(group.elements(), group.device_of(g))
        return group.index(group.compose(group.reshape(g, *group.batch_shape(g), 1), elements))

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        return permutation_matrix(self.permutation(g), dtype)


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
        if not self.group.is_orthogonal:
            return False
        basis = self.group.lie_algebra().flatten(1)
        gram = basis @ basis.mT
        return bool(torch.allclose(gram, gram[0, 0] * torch.eye(self.dim).to(gram)))

    def _coordinates(self, X: Tensor) -> Tensor:
        basis = self.group.lie_algebra().flatten(1)
        return X.flatten(-2) @ torch.linalg.pinv(basis).to(X)

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        M, inverse = self.group.matrix(g), self.group.matrix(self.group.inverse(g))
        moved = M[..., None, :, :] @ self.group.lie_algebra().to(M) @ inverse[..., None, :, :]
        return self._coordinates(moved).mT.to(dtype)

    def algebra(self, X: Tensor) -> Tensor:
        basis = self.group.lie_algebra().to(X)
        X = X[..., None, :, :]
        return self._coordinates(X @ basis - basis @ X).mT

    def restricted_to(self, embed: Embedding) -> Factor | None:
        same = embed.keeps_V and torch.equal(embed.source.lie_algebra(), self.group.lie_algebra())
        return Adjoint(embed.source) if same else None
