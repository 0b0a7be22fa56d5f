"""Factors that read another representation: of a member of a product, or of a larger group."""

from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..groups import DirectProduct, Embedding, Group
from ..groups.group import Element
from ..groups.product import parts
from .factor import Factor
from .rep import Rep


class Derived(Factor):
    """A factor made from a `base`, which it is like: a permutation, a signed one, orthogonal, or none of these."""

    base: Factor | Rep

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
        return self if self.is_orthogonal else replace(self, base=self.base.dual)


class Pullback(Derived):
    """A factor of another group, at the images of this group's elements under a homomorphism."""

    base: Factor

    @property
    def dim(self) -> int:
        return self.base.dim

    @abstractmethod
    def image(self, g: Element) -> Element:
        """The element of the other group that g stands for."""

    @abstractmethod
    def tangent(self, X: Element) -> Element:
        """The same for a Lie algebra element."""

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        return self.base.matrix(self.image(g), dtype)

    def algebra(self, X: Element) -> Tensor:
        return super().algebra(X) if self.group.is_finite else self.base.algebra(self.tangent(X))

    def permutation(self, g: Element) -> Tensor:
        return self.base.permutation(self.image(g))


@dataclass(frozen=True, eq=False, repr=False)
class Pulled(Pullback):
    """A factor of one member of a direct product, or of several neighbouring ones; the others act trivially."""

    group: DirectProduct
    index: int
    base: Factor

    def __post_init__(self):
        members = parts(self.base.group)
        if not 0 <= self.index <= len(self.group.factors) - len(members):
            raise ValueError(f"Pulled: {self.group} has no factor {self.index} for a representation of {members}")
        there = self.group.factors[self.index : self.index + len(members)]
        if there != members:
            raise ValueError(
                f"Pulled: factor {self.index} of {self.group} is {' * '.join(map(str, there))}, "
                f"the representation belongs to {self.base.group}"
            )

    def __str__(self) -> str:
        count = len(parts(self.base.group))
        return f"{self.base}[{self.index}]" if count == 1 else f"{self.base}[{self.index}:{self.index + count}]"

    def image(self, g: Element) -> Element:
        members = parts(self.base.group)
        one = not isinstance(self.base.group, DirectProduct)
        return g[self.index] if one else g[self.index : self.index + len(members)]

    tangent = image

    def restricted_to(self, embed: Embedding) -> Factor | None:
        own = not embed.name and self.base.group == embed.source
        return self.base if own and self.group.factors.count(embed.source) == 1 else None


@dataclass(frozen=True, eq=False, repr=False)
class Restricted(Pullback):
    """A factor of a larger group, taken at the images of a smaller group's elements."""

    base: Factor
    embed: Embedding

    def __post_init__(self):
        if self.base.group != self.embed.target:
            raise ValueError(f"Restricted: {self.base} belongs to {self.base.group}, the embedding is {self.embed}")

    def __str__(self) -> str:
        return f"Res({self.base.group}, {self.base}{', ' if self.embed.name else ''}{self.embed.name})"

    @property
    def group(self) -> Group:
        """The smaller group."""
        return self.embed.source

    def image(self, g: Element) -> Element:
        return self.embed(g)

    def tangent(self, X: Element) -> Element:
        return self.embed.algebra(X)


def lift(group: DirectProduct, offset: int, factor: Factor) -> Factor:
    """A factor of one operand of an external tensor product, as a factor of the product group."""
    if isinstance(factor, Pulled):
        return Pulled(group, offset + factor.index, factor.base)
    return Pulled(group, offset, factor)
