"""Representations of a larger or smaller group from one at hand: induction spreads over cosets, restriction forgets."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..groups import Embedding, Group, embedding
from ..groups.finite import permutation_matrix
from ..groups.group import Element, listable
from ..groups.matrix import LinearGroup
from .product import Product
from .pullback import Derived, Restricted
from .rep import Rep


def restrict(rep: Rep, group: Group, embed=None) -> Rep:
    """`rep.restrict(group, embed)`: the same matrices, for the elements of a smaller group."""
    along = embedding(group, rep.group, embed)
    if group == rep.group and not along.name:
        return rep
    terms = [
        (Product(tuple(f.restricted_to(along) or Restricted(f, along) for f in W.factors)), c) for W, c in rep.terms
    ]
    return rep._with(group, terms)


def induce(rep: Rep, group: Group, embed=None) -> Rep:
    """`rep.induce(group, embed)`: one copy of every term for each coset, which the elements permute."""
    along = embedding(rep.group, group, embed)
    if group == rep.group and not along.name:
        return rep
    return Rep(group, [(Product((Induced(Rep(rep.group, [(W, 1)]), along),)), c) for W, c in rep.terms])


@dataclass(frozen=True, eq=False, repr=False)
class Induced(Derived):
    """Ind of a representation of a subgroup: its space once for each coset, [r d] with the coset outermost.

    The representatives t_1 = e, t_2, ... of the cosets tH come in the order in which `elements()` of the larger group
    first meets a new coset; g moves block i to block j by rho(h), where g t_i = t_j h. For infinite matrix groups of
    finite index, such as SO(n) in O(n), in the order in which the products of `generators()` meet them.
    Raises ValueError where the index is infinite.
    """

    base: Rep
    embed: Embedding
    cosets: "Cosets" = field(init=False)

    def __post_init__(self):
        if self.base.group != self.embed.source:
            raise ValueError(f"Induced: {self.base} belongs to {self.base.group}, the embedding is {self.embed}")
        object.__setattr__(self, "cosets", cosets(self.embed))

    def __str__(self) -> str:
        return f"Ind({self.base.group}, {self.base}{', ' if self.embed.name else ''}{self.embed.name})"

    @property
    def group(self) -> Group:
        """The larger group."""
        return self.embed.target

    @property
    def index(self) -> int:
        """Number of cosets."""
        return self.cosets.index

    @property
    def dim(self) -> int:
        return self.index * self.base.dim

    def _move(self, g: Element) -> tuple[Tensor, Element]:
        """For each coset i: the j and the h in g t_i = t_j h, int64 [..., r] and elements [..., r]."""
        G, space = self.group, self.cosets
        g = G.to(g, dtype=torch.float64)
        t = G.to(space.representatives(), G.device_of(g))
        return space.locate(G.compose(G.reshape(g, *G.batch_shape(g), 1), t))

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        if self.is_permutation:
            return permutation_matrix(self.permutation(g), dtype)
        j, h = self._move(g)
        blocks = self.base.matrix(h, dtype)
        place = torch.nn.functional.one_hot(j, self.index).to(blocks)
        return torch.einsum("...ij,...iab->...jaib", place, blocks).flatten(-2).flatten(-3, -2)

    def permutation(self, g: Element) -> Tensor:
        if not self.is_permutation:
            return super().permutation(g)
        j, h = self._move(g)
        return (j[..., None] * self.base.dim + self.base.permutation(h)).flatten(-2)

    def algebra(self, X: Element) -> Tensor:
        if self.group.is_finite:
            return super().algebra(X)
        t = self.cosets.representatives().to(X)
        blocks = self.base.algebra_matrix(self.group.inverse(t) @ X[..., None, :, :] @ t, X.dtype)
        place = torch.eye(self.index, dtype=X.dtype, device=X.device)
        return torch.einsum("ij,...iab->...jaib", place, blocks).flatten(-2).flatten(-3, -2)


class Cosets(ABC):
    """The cosets tH of a subgroup, in a fixed order, the subgroup itself first."""

    index: int  # their number

    @abstractmethod
    def representatives(self) -> Element:
        """One element t of each coset, stacked."""

    @abstractmethod
    def locate(self, g: Element) -> tuple[Int[Tensor, "..."], Element]:
        """For each g = t h its coset and h, an element of the subgroup."""


@lru_cache(maxsize=128)
def cosets(embed: Embedding) -> Cosets:
    """The cosets of the image of `embed`. Raises ValueError where they are infinite in number or cannot be listed."""
    H, G = embed.source, embed.target
    if G.is_finite:
        return _FiniteCosets(embed)
    if H.is_finite or _algebra_dim(H) < _algebra_dim(G):
        raise ValueError(f"induce: {H} has infinite index in {G}; only a subgroup of finite index can be induced from")
    if not (embed.keeps_V and isinstance(H, LinearGroup) and isinstance(G, LinearGroup)):
        raise ValueError(f"induce: the cosets of {embed} are not known; they are for matrix groups on the same space")
    return _MatrixCosets(embed)


def _algebra_dim(group: Group) -> int:
    return group.algebra_batch_shape(group.lie_algebra())[0]


class _FiniteCosets(Cosets):
    def __init__(self, embed: Embedding):
        H, G = embed.source, embed.target
        listable(G)
        images = embed(H.elements())
        if len(G.index(images).unique()) < H.order:
            raise ValueError(f"induce: {embed} sends several elements to one, so the image is not {H}")
        elements = G.elements()
        coset, part = np.full((2, G.order), -1)
        first = []
        for i in range(G.order):
            if coset[i] < 0:
                members = G.index(G.compose(G.take(elements, i), images)).numpy()  # t h for every h
                coset[members], part[members] = len(first), np.arange(H.order)
                first.append(i)
        self.H, self.G, self.index = H, G, len(first)
        self.first, self.coset, self.part = np.array(first), coset, part

    def representatives(self) -> Element:
        return self.G.take(self.G.elements(), torch.tensor(self.first))

    def locate(self, g: Element) -> tuple[Tensor, Element]:
        position, device = self.G.index(g), self.G.device_of(g)
        h = self.H.to(self.H.elements(), device)
        coset, part = torch.tensor(self.coset, device=device), torch.tensor(self.part, device=device)
        return coset[position], self.H.take(h, part[position])


class _MatrixCosets(Cosets):
    # The subgroup has the same Lie algebra, hence the same connected component, so generators reach every coset.
    def __init__(self, embed: Embedding):
        self.H, self.G = embed.source, embed.target
        self.t = [self.G.identity()]
        for t in self.t:  # grows while it is read, until nothing new is met
            for g in self.G.generators():
                if not self._inside(g @ t, torch.stack(self.t)).any():
                    self.t.append(g @ t)
        self.index = len(self.t)

    def representatives(self) -> Float[Tensor, "r n n"]:
        return torch.stack(self.t)

    def _inside(self, g: Tensor, t: Tensor) -> Tensor:
        """Whether t^-1 g lies in the subgroup, bool [..., r]; cosets lie far apart, so elements may be rough."""
        return self.H.contains_each(self.G.inverse(t) @ g[..., None, :, :], 1e-2)

    def locate(self, g: Tensor) -> tuple[Tensor, Tensor]:
        t = self.representatives().to(g)
        j = self._inside(g, t).int().argmax(-1)
        return j, self.G.inverse(t[j]) @ g
