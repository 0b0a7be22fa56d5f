"""What every symmetry group answers, so that representations, maps and audits never ask which group they hold."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

MAX_ELEMENTS = 1_000_000

Element = Any  # a tensor, or a tuple of tensors for a product; leading axes are batch axes


class Group(ABC):
    """A symmetry group with a defining representation V on R^dim_V.

    Immutable and hashable: two groups are equal when they print the same. Elements are tensors with batch axes in
    front (`element_ndim` trailing axes); elements of a product are tuples. `compose(g, h)` is "first h, then g".
    Elements of an infinite group are its matrices on V, and so are those of its Lie algebra.
    """

    element_ndim: ClassVar[int]
    is_finite: ClassVar[bool] = False
    is_compact: ClassVar[bool] = False
    is_permutation: ClassVar[bool] = False  # V permutes coordinates
    is_orthogonal: ClassVar[bool] = False  # V keeps the Euclidean norm

    _definitions: ClassVar[dict[tuple[type, str], Callable[..., Any]]] = {}

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

    # --- elements

    @abstractmethod
    def sample(
        self, k: int, *, generator: torch.Generator, dtype: torch.dtype = torch.float64, device="cpu"
    ) -> Element:
        """Draw k random elements: uniform (Haar) for compact groups, see the class otherwise."""

    @abstractmethod
    def generators(self) -> Element:
        """Discrete elements that, with the Lie algebra, generate the group topologically; stacked in front."""

    def lie_algebra(self) -> Float[Tensor, "dim n n"]:
        """Basis of the Lie algebra as matrices on V, float64 [dim, n, n]; (0, n, n) for a finite group."""
        return torch.zeros(0, self.dim_V, self.dim_V, dtype=torch.float64)

    def elements(self) -> Element:
        """All elements, the identity first, in the order the class documents. Raises ValueError when too many."""
        listable(self)
        return self._elements()

    def _elements(self) -> Element:
        raise NotImplementedError(f"{type(self).__name__} is finite, so it must define _elements()")

    def index(self, g: Element) -> Int[Tensor, "..."]:
        """Position of each element in `elements()`; raises ValueError where that does."""
        axis = g.ndim - self.element_ndim
        gap = (g.unsqueeze(axis) - self.to(self.elements(), g.device)).abs()
        return (gap.flatten(axis + 1).sum(-1) if self.element_ndim else gap).argmin(axis)

    def conjugacy_classes(self) -> tuple[Int[Tensor, " size"], ...]:
        """The conjugacy classes of a finite group: positions in `elements()`, ascending, the identity's class first."""
        elements, generators = self.elements(), self.generators()
        N, (count,) = self.order, self.batch_shape(generators)
        conjugated = [np.arange(N)]
        for c in (self.take(generators, i) for i in range(count)):
            conjugated.append(self.index(self.compose(self.compose(c, elements), self.inverse(c))).numpy())
        edges = np.tile(np.arange(N), len(conjugated)), np.concatenate(conjugated)
        _, label = connected_components(coo_array((np.ones(len(edges[0])), edges), shape=(N, N)), directed=False)
        classes = np.split(label.argsort(kind="stable"), np.bincount(label).cumsum()[:-1])
        return tuple(torch.from_numpy(indices) for indices in sorted(classes, key=lambda indices: indices[0]))

    @abstractmethod
    def identity(self, *batch: int) -> Element:
        """The neutral element, repeated over the given batch shape; on the CPU, float64 where not integer."""

    @abstractmethod
    def compose(self, g: Element, h: Element) -> Element:
        """The product gh: acts as h first, then g. Batch shapes broadcast."""

    @abstractmethod
    def inverse(self, g: Element) -> Element:
        """The inverse element."""

    @abstractmethod
    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Float[Tensor, "... n n"]:
        """The element as a matrix on V, [..., n, n], acting on columns."""

    def algebra_matrix(self, X: Element) -> Float[Tensor, "... n n"]:
        """The Lie algebra element X as a matrix on V: X itself, for a product the sum over its members."""
        return X

    @abstractmethod
    def contains_each(self, g: Element, tol: float = 1e-6) -> Bool[Tensor, "..."]:
        """Which elements of the batch belong to the group, to the given tolerance; one False for a wrong shape."""

    def contains(self, g: Element, tol: float = 1e-6) -> bool:
        """Whether every element of the batch belongs to the group, to the given tolerance."""
        return bool(self.contains_each(g, tol).all())

    # --- elements as data

    def batch_shape(self, g: Element) -> torch.Size:
        """The batch axes of an element."""
        return g.shape[: g.ndim - self.element_ndim]

    def algebra_batch_shape(self, X: Element) -> torch.Size:
        """The batch axes of a Lie algebra element."""
        return X.shape[:-2]

    def take(self, g: Element, index) -> Element:
        """Index the batch axes of an element: `take(g, 0)`, `take(g, slice(4))`, `take(g, None)`."""
        return g[index]

    def reshape(self, g: Element, *batch: int) -> Element:
        """Give the batch axes another shape."""
        return g.reshape(*batch, *g.shape[g.ndim - self.element_ndim :])

    def device_of(self, g: Element) -> torch.device:
        """The device an element lives on."""
        return g.device

    def to(self, g: Element, device=None, dtype: torch.dtype | None = None) -> Element:
        """The element on another device, and in another floating dtype where it is not made of integers."""
        return g.to(device=device, dtype=dtype if g.is_floating_point() else None)

    # --- structure

    def __mul__(self, other: "Group") -> "Group":
        from .product import product

        return product(self, other) if isinstance(other, Group) else NotImplemented

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return str(self)

    @abstractmethod
    def __str__(self) -> str: ...

    # --- representations, which packages to the right define

    @classmethod
    def defines(cls, name: str) -> Callable[[Callable], Callable]:
        """Decorator: `make(group, *label)` is the representation called `name` of every group of this class."""

        def register(make: Callable) -> Callable:
            Group._definitions[cls, name] = make
            return make

        return register

    def named(self, name: str, *label: int):
        """The representation of that name. Raises ValueError naming the known ones."""
        # Groups need no representations, so the package that defines them is loaded when the first one is asked for.
        import_module("intertwine.reps")
        for kind in type(self).__mro__:
            if (kind, name) in Group._definitions:
                return Group._definitions[kind, name](self, *label)
        known = sorted({known for kind, known in Group._definitions if isinstance(self, kind) and known[0] != "_"})
        raise ValueError(f"{self} has no representation named {name!r}; known: {', '.join(known)}")

    @property
    def V(self):
        """The defining representation."""
        return self.named("V")

    @property
    def trivial(self):
        """The one-dimensional representation on which every element acts as 1."""
        return self.named("trivial")

    @property
    def regular(self):
        """The regular representation of a finite group: R^|G|, coordinates in the order of `elements()`."""
        return self.named("regular")

    @property
    def adjoint(self):
        """The adjoint representation of a Lie group, on coordinates in the basis `lie_algebra()`."""
        return self.named("adjoint")

    @property
    def det(self):
        """The one-dimensional representation g -> det(g) of g on V; for permutations the sign."""
        return self.named("det")

    def irrep(self, *label: int):
        """The irreducible representation with that label, where the group has labels: see `reps.finite_irreps`."""
        return self.named("irrep", *label)


def positive(name: str, n: int) -> None:
    """Raise ValueError unless n is an integer of at least 1."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"{name}: n must be an integer of at least 1, got {n!r}")


def listable(group: Group) -> None:
    """Raise ValueError where a group has too many elements to list."""
    if group.order is None or group.order > MAX_ELEMENTS:
        size = "infinite" if group.order is None else f"of order {group.order}"
        raise ValueError(f"{group} is {size}: elements() lists at most {MAX_ELEMENTS}; use sample() or generators()")
