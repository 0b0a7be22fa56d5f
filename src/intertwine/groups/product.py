"""Direct products: elements are tuples, one part for each factor."""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .group import Element, Group, listable


@dataclass(frozen=True, eq=False, repr=False)
class DirectProduct(Group):
    """The direct product of groups; V is the tensor product of their defining representations.

    Elements are tuples with a common batch shape. `generators()` and `lie_algebra()` are tuples too: each row moves one
    factor and leaves the others alone. Built by `G * H`, which is associative: (G * H) * K has three factors.
    """

    factors: tuple[Group, ...]

    def __post_init__(self):
        for group in self.factors:
            if not isinstance(group, Group):
                raise TypeError(f"DirectProduct: factors must be groups, got {group!r}")
        if not self.factors:
            raise ValueError("DirectProduct: give at least one group; the group with one element is Trivial()")
        object.__setattr__(self, "factors", tuple(member for group in self.factors for member in parts(group)))

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
        return math.prod([group.dim_V for group in self.factors])

    @property
    def order(self) -> int | None:
        return math.prod([group.order for group in self.factors]) if self.is_finite else None

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
        return functools.reduce(_kronecker, [group.matrix(part, dtype) for group, part in zip(self.factors, g)])

    def permutation(self, g: Element) -> Tensor:
        """The image of each coordinate of V, int64 [..., n], the first member's index slowest."""
        image = torch.zeros((), dtype=torch.int64, device=self.device_of(g))
        for group, part in zip(self.factors, g):
            own = group.permutation(part)
            image = (image[..., None] * group.dim_V + own[..., None, :]).flatten(-2) if image.ndim else own
        return image

    def algebra_matrix(self, X: Element) -> Tensor:
        """The sum over members of 1 x ... x X_i x ... x 1, Kronecker products."""
        total = torch.zeros((), dtype=torch.float64)
        for i, group in enumerate(self.factors):
            term = group.algebra_matrix(X[i])
            before = math.prod([other.dim_V for other in self.factors[:i]])
            after = math.prod([other.dim_V for other in self.factors[i + 1 :]])
            term = _kronecker(torch.eye(before).to(term), _kronecker(term, torch.eye(after).to(term)))
            total = total.to(term) + term
        return total

    def index(self, g: Element) -> Tensor:
        """The first member's position changes slowest."""
        listable(self)
        position = self.factors[0].index(g[0])
        for group, part in zip(self.factors[1:], g[1:]):
            position = position * group.order + group.index(part)
        return position

    def contains_each(self, g: Element, tol: float = 1e-6) -> Tensor:
        if len(g) != len(self.factors):
            return torch.zeros((), dtype=torch.bool)
        inside = [group.contains_each(part, tol) for group, part in zip(self.factors, g)]
        return functools.reduce(torch.logical_and, inside)

    def batch_shape(self, g: Element) -> torch.Size:
        return self.factors[0].batch_shape(g[0])

    def algebra_batch_shape(self, X: Element) -> torch.Size:
        return self.factors[0].algebra_batch_shape(X[0])

    def take(self, g: Element, index) -> Element:
        return tuple(group.take(part, index) for group, part in zip(self.factors, g))

    def reshape(self, g: Element, *batch: int) -> Element:
        return tuple(group.reshape(part, *batch) for group, part in zip(self.factors, g))

    def device_of(self, g: Element) -> torch.device:
        return self.factors[0].device_of(g[0])

    def to(self, g: Element, device=None, dtype: torch.dtype | None = None) -> Element:
        return tuple(group.to(part, device, dtype) for group, part in zip(self.factors, g))

    def pull(self, index: int, rep):
        """A representation of member `index`, as one of the whole product; the other members act as 1."""
        return self.named("_pull", index, rep)


def _kronecker(a: Tensor, b: Tensor) -> Tensor:
    """Kronecker product of the last two axes; batch axes are shared."""
    product = torch.einsum("...ij,...kl->...ikjl", a, b)
    return product.flatten(-4, -3).flatten(-2, -1)


def parts(group: Group) -> tuple[Group, ...]:
    """The factors of a product; any other group is its own only factor."""
    return group.factors if isinstance(group, DirectProduct) else (group,)


def product(*groups: Group) -> DirectProduct:
    """The direct product of groups, flattened."""
    return DirectProduct(tuple(factor for group in groups for factor in parts(group)))
