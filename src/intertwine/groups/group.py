"""What every symmetry group answers, so that representations, maps and audits never ask which group they hold."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

MAX_ELEMENTS = 1_000_000

Element = Any  # a tensor, or a tuple of elements for a product; leading axes are batch axes


class Group(ABC):
    """A symmetry group with a defining representation V on R^dim_V.

    Immutable and hashable: two groups are equal when they print the same. Elements are tensors with batch axes in
    front (`element_ndim` trailing axes); elements of a product are tuples. `compose(g, h)` is "first h, then g".
    """

    element_ndim: ClassVar[int]
    is_finite: ClassVar[bool] = False
    is_compact: ClassVar[bool] = False
    is_permutation: ClassVar[bool] = False  # V permutes coordinates
    is_orthogonal: ClassVar[bool] = False  # V keeps the Euclidean norm

    _named_reps: ClassVar[dict[str, Callable[["Group"], Any]]] = {}

    @property
    @abstractmethod
    def dim_V(self) -> int:
        """Dimension of the defining representation."""

    @property
    def order(self) -> int | None:
        """Number of elements; None when infinite."""
        return None

    @property
    def is_connected(self) -> bool:
        """Whether every element is reached from the identity by a path (a finite group: only if trivial)."""
        return self.order == 1 if self.is_finite else False

    @property
    def is_abelian(self) -> bool:
        """Whether all elements commute."""
        return False

    @abstractmethod
    def sample(
        self, k: int, *, generator: torch.Generator, dtype: torch.dtype = torch.float64, device="cpu"
    ) -> Element:
        """Draw k random elements: uniform (Haar) for compact groups, see the class otherwise."""

    @abstractmethod
    def generators(self) -> Element:
        """Discrete elements that, with the Lie algebra, generate the group topologically; stacked in front."""

    def lie_algebra(self) -> Tensor:
        """Basis of the Lie algebra as matrices on V, float64 [dim, n, n]; (0, n, n) for a finite group."""
        return torch.zeros(0, self.dim_V, self.dim_V, dtype=torch.float64)

    def elements(self) -> Element:
        """All elements, the identity first, in the order the class documents. Raises ValueError when too many."""
        if self.order is None or self.order > MAX_ELEMENTS:
            size = "infinite" if self.order is None else f"of order {self.order}"
            raise ValueError(f"{self} is {size}: elements() lists at most {MAX_ELEMENTS}; use sample() or generators()")
        return self._elements()

    def _elements(self) -> Element:
        raise NotImplementedError

    @abstractmethod
    def identity(self, *batch: int) -> Element:
        """The neutral element, repeated over the given batch shape."""

    @abstractmethod
    def compose(self, g: Element, h: Element) -> Element:
        """The product gh: acts as h first, then g. Batch shapes broadcast."""

    @abstractmethod
    def inverse(self, g: Element) -> Element:
        """The inverse element."""

    @abstractmethod
    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        """The element as a matrix on V, [..., n, n], acting on columns."""

    @abstractmethod
    def contains(self, g: Element, tol: float = 1e-6) -> bool:
        """Whether every element of the batch belongs to the group, to the given tolerance."""

    def batch_shape(self, g: Element) -> torch.Size:
        """The batch axes of an element."""
        return g.shape[: g.ndim - self.element_ndim]

    def take(self, g: Element, index) -> Element:
        """Index the batch axes of an element: `take(g, 0)`, `take(g, slice(4))`, `take(g, None)`."""
        return g[index]

    def reshape(self, g: Element, *batch: int) -> Element:
        """Give the batch axes another shape."""
        return g.reshape(*batch, *g.shape[g.ndim - self.element_ndim :])

    def __mul__(self, other: "Group") -> "Group":
        from .product import product

        return product(self, other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return str(self)

    @abstractmethod
    def __str__(self) -> str: ...

    def _named(self, name: str):
        try:
            return self._named_reps[name](self)
        except KeyError:
            raise ImportError("representations are defined by intertwine.reps; import intertwine first") from None

    @property
    def V(self):
        """The defining representation."""
        return self._named("V")

    @property
    def trivial(self):
        """The one-dimensional representation on which every element acts as 1."""
        return self._named("trivial")

    @property
    def regular(self):
        """The regular representation of a finite group: R^|G|, coordinates in the order of `elements()`."""
        return self._named("regular")

    @property
    def adjoint(self):
        """The adjoint representation of a Lie group, on coordinates in the basis `lie_algebra()`."""
        return self._named("adjoint")

    @property
    def det(self):
        """The one-dimensional representation g -> det(g); for permutations the sign."""
        return self._named("det")


def positive(name: str, n: int) -> None:
    """Raise ValueError unless n is an integer of at least 1."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"{name}: n must be an integer of at least 1, got {n!r}")
