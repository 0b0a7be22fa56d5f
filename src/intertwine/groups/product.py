"""Direct products: elements are tuples, one part for each factor."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .group import Element, Group


@dataclass(frozen=True, eq=False, repr=False)
class DirectProduct(Group):
    """The direct product of groups; V is the tensor product of their defining representations.

    Elements are tuples with a common batch shape. `generators()` and `lie_algebra()` are tuples too: each row moves one
    factor and leaves the others alone. Built by `G * H`, which is associative: (G * H) * K has three factors.
    """

    factors: tuple[Group, ...]

    def __str__(self) -> str:
        return " * ".join(map(str, self.factors))

    @property
    def is_finite(self) -> bool:
        return all(group.is_finite for group in self.factors)

    @property
    def is_compact(self) -> bool:
        return all(group.is_compact for group in self.factors)

    @property
    def is_permutation(self) -> bool:
        return all(group.is_permutation for group in self.factors)

    @property
    def is_orthogonal(self) -> bool:
        return all(group.is_orthogonal for group in self.factors)

    @property
    def is_connected(self) -> bool:
        return all(group.is_connected for group in self.factors)

    @property
    def is_abelian(self) -> bool:
        return all(group.is_abelian for group in self.factors)

    @property
    def dim_V(self) -> int:
        return math.prod(group.dim_V for group in self.factors)

    @property
    def order(self) -> int | None:
        return math.prod(group.order for group in self.factors) if self.is_finite else None

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Element:
        """Independent samples of every factor."""
        return tuple(group.sample(k, generator=generator, dtype=dtype, device=device) for group in self.factors)

    def _one_factor_at_a_time(self, parts: list[Tensor], neutral) -> Element:
        counts = [len(part) for part in parts]
        return tuple(
            torch.cat([part if i == j else neutral(group, counts[j]) for j in range(len(parts))])
            for i, (group, part) in enumerate(zip(self.factors, parts))
        )

    def generators(self) -> Element:
        """Those of each factor, the other parts neutral."""
        return self._one_factor_at_a_time(
            [group.generators() for group in self.factors], lambda group, k: group.identity(k)
        )

    def lie_algebra(self) -> Element:
        """Those of each factor, the other parts zero: a tuple of [dim, n_i, n_i]."""
        return self._one_factor_at_a_time(
            [group.lie_algebra() for group in self.factors],
            lambda group, k: torch.zeros(k, group.dim_V, group.dim_V, dtype=torch.float64),
        )

    def _elements(self) -> Element:
        parts = [group.elements() for group in self.factors]
        grid = torch.meshgrid(*[torch.arange(group.order) for group in self.factors], indexing="ij")
        return tuple(part[index.reshape(-1)] for part, index in zip(parts, grid))

    def identity(self, *batch: int) -> Element:
        return tuple(group.identity(*batch) for group in self.factors)

    def compose(self, g: Element, h: Element) -> Element:
        return tuple(group.compose(a, b) for group, a, b in zip(self.factors, g, h))

    def inverse(self, g: Element) -> Element:
        return tuple(group.inverse(a) for group, a in zip(self.factors, g))

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        """The Kronecker product of the factors' matrices."""
        out = self.factors[0].matrix(g[0], dtype)
        for group, part in zip(self.factors[1:], g[1:]):
            right = group.matrix(part, dtype)
            out = torch.einsum("...ij,...kl->...ikjl", out, right)
            n = out.shape[-4] * out.shape[-3]
            out = out.reshape(*out.shape[:-4], n, n)
        return out

    def contains(self, g: Element, tol: float = 1e-6) -> bool:
        return len(g) == len(self.factors) and all(group.contains(a, tol) for group, a in zip(self.factors, g))

    def batch_shape(self, g: Element) -> torch.Size:
        return self.factors[0].batch_shape(g[0])

    def take(self, g: Element, index) -> Element:
        return tuple(group.take(part, index) for group, part in zip(self.factors, g))

    def reshape(self, g: Element, *batch: int) -> Element:
        return tuple(group.reshape(part, *batch) for group, part in zip(self.factors, g))


def parts(group: Group) -> tuple[Group, ...]:
    """The factors of a product; any other group is its own only factor."""
    return group.factors if isinstance(group, DirectProduct) else (group,)


def product(*groups: Group) -> DirectProduct:
    """The direct product of groups, flattened."""
    return DirectProduct(tuple(factor for group in groups for factor in parts(group)))
