"""Rotations, reflections and rigid motions of space, and what all groups of matrices share."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .group import Group, positive


class LinearGroup(Group):
    """A group whose elements are matrices [..., n, n] on V."""

    element_ndim: ClassVar[int] = 2

    @property
    def dim_V(self) -> int:
        return self.n

    def generators(self) -> Tensor:
        """None: the group is connected."""
        return torch.zeros(0, self.dim_V, self.dim_V, dtype=torch.float64)

    @property
    def is_connected(self) -> bool:
        return len(self.generators()) == 0

    def identity(self, *batch: int) -> Tensor:
        return torch.eye(self.dim_V, dtype=torch.float64).expand(*batch, self.dim_V, self.dim_V)

    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        return g @ h

    def inverse(self, g: Tensor) -> Tensor:
        return torch.linalg.inv(g)

    def matrix(self, g: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """The element itself."""
        return g.to(dtype)

    def _elements(self) -> Tensor:
        return self.identity(1)  # a finite group of matrices is trivial, but for O(1)

    def contains_each(self, g: Tensor, tol: float = 1e-6) -> Tensor:
        fits = g.shape[-2:] == (self.dim_V, self.dim_V) and g.is_floating_point()
        return self._inside(g, tol) if fits else torch.zeros((), dtype=torch.bool)

    @abstractmethod
    def _inside(self, g: Tensor, tol: float) -> Tensor:
        """`contains_each` for square matrices of the right size."""


def preserves(form: Tensor, g: Tensor, tol: float) -> Tensor:
    """Whether g^T form g = form for each matrix g [..., n, n], bool [...]."""
    form = form.to(g)
    return ((g.mT @ form @ g - form).abs() <= tol).all(-1).all(-1)


def unit(n: int, i: int, j: int) -> Tensor:
    """The matrix with a one at (i, j), float64 [n, n]."""
    e = torch.zeros(n, n, dtype=torch.float64)
    e[i, j] = 1
    return e


def stack(matrices: list[Tensor], n: int) -> Tensor:
    """A possibly empty list of matrices as float64 [len, n, n]."""
    return torch.stack(matrices) if matrices else torch.zeros(0, n, n, dtype=torch.float64)


def antisymmetric(n: int) -> Tensor:
    """E_ij - E_ji for i < j, lexicographic, float64 [n(n-1)/2, n, n]."""
    return stack([unit(n, i, j) - unit(n, j, i) for i in range(n) for j in range(i + 1, n)], n)


def haar_orthogonal(k: int, n: int, generator: torch.Generator) -> Tensor:
    """Q of a Gaussian matrix, its signs fixed by a positive diagonal of R: uniform on O(n)."""
    gaussian = torch.randn(k, n, n, generator=generator, dtype=torch.float64, device=generator.device)
    q, r = torch.linalg.qr(gaussian)
    return q * r.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]


def haar_special_orthogonal(k: int, n: int, generator: torch.Generator) -> Tensor:
    """Uniform on SO(n): an orthogonal matrix, its first column turned round where the determinant is negative."""
    q = haar_orthogonal(k, n, generator)
    q[..., 0] = q[..., 0] * torch.linalg.det(q).sign()[..., None]
    return q


@dataclass(frozen=True, eq=False, repr=False)
class O(LinearGroup):  # noqa: E742
    """Rotations and reflections of R^n. Elements: orthogonal matrices [..., n, n]."""

    n: int
    is_compact: ClassVar[bool] = True
    is_orthogonal: ClassVar[bool] = True

    def __post_init__(self):
        positive(type(self).__name__, self.n)

    def __str__(self) -> str:
        return f"O({self.n})"

    @property
    def is_finite(self) -> bool:
        return self.n == 1

    @property
    def order(self) -> int | None:
        return 2 if self.n == 1 else None

    @property
    def is_abelian(self) -> bool:
        return self.n == 1

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Tensor:
        """Haar."""
        return haar_orthogonal(k, self.n, generator).to(device, dtype)

    def generators(self) -> Tensor:
        """The reflection diag(-1, 1, ..., 1)."""
        reflection = torch.eye(self.n, dtype=torch.float64)
        reflection[0, 0] = -1
        return reflection[None]

    def lie_algebra(self) -> Tensor:
        """E_ij - E_ji for i < j, lexicographic."""
        return antisymmetric(self.n)

    def _elements(self) -> Tensor:
        return torch.tensor([[[1.0]], [[-1.0]]], dtype=torch.float64)  # of O(1)

    def inverse(self, g: Tensor) -> Tensor:
        return g.mT

    def _inside(self, g: Tensor, tol: float) -> Tensor:
        return preserves(torch.eye(self.n), g, tol)


class SO(O):
    """Rotations of R^n. Elements: orthogonal matrices of determinant 1."""

    def __str__(self) -> str:
        return f"SO({self.n})"

    @property
    def order(self) -> int | None:
        return 1 if self.n == 1 else None

    @property
    def is_abelian(self) -> bool:
        return self.n <= 2

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Tensor:
        """Haar."""
        return haar_special_orthogonal(k, self.n, generator).to(device, dtype)

    generators = LinearGroup.generators
    _elements = LinearGroup._elements

    def _inside(self, g: Tensor, tol: float) -> Tensor:
        return super()._inside(g, tol) & (torch.linalg.det(g) > 0)


@dataclass(frozen=True, eq=False, repr=False)
class E(LinearGroup):
    """Rigid motions of R^n, reflections included: x -> Rx + t. Elements: homogeneous matrices [..., n+1, n+1].

    V is the homogeneous R^(n+1); `linear_part` is the homomorphism to `linear`, which is O(n). The motion of points is
    an Action (`reps.Points`), not a representation.
    """

    n: int

    def __post_init__(self):
        positive(type(self).__name__, self.n)

    def __str__(self) -> str:
        return f"E({self.n})"

    @property
    def dim_V(self) -> int:
        return self.n + 1

    @property
    def linear(self) -> O:
        """The group of linear parts."""
        return O(self.n)

    def linear_part(self, g: Tensor) -> Tensor:
        """The rotation or reflection R, [..., n, n]."""
        return g[..., : self.n, : self.n]

    def translation_part(self, g: Tensor) -> Tensor:
        """The translation t, [..., n]."""
        return g[..., : self.n, self.n]

    def element(self, linear: Tensor, translation: Tensor | None = None) -> Tensor:
        """The motion x -> linear x + translation."""
        g = torch.zeros(*linear.shape[:-2], self.n + 1, self.n + 1, dtype=linear.dtype, device=linear.device)
        g[..., : self.n, : self.n] = linear
        if translation is not None:
            g[..., : self.n, self.n] = translation
        g[..., self.n, self.n] = 1
        return g

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Tensor:
        """A Haar linear part and a translation from N(0, 1)."""
        linear = self.linear.sample(k, generator=generator)
        translation = torch.randn(k, self.n, generator=generator, dtype=torch.float64, device=generator.device)
        return self.element(linear.to(translation), translation).to(device, dtype)

    def generators(self) -> Tensor:
        """Those of the linear part."""
        return self.element(self.linear.generators())

    def lie_algebra(self) -> Tensor:
        """Rotations, then translations."""
        n, linear = self.n, self.linear.lie_algebra()
        algebra = torch.zeros(len(linear) + n, n + 1, n + 1, dtype=torch.float64)
        algebra[: len(linear), :n, :n] = linear
        algebra[len(linear) :, :n, n] = torch.eye(n, dtype=torch.float64)
        return algebra

    def inverse(self, g: Tensor) -> Tensor:
        linear = self.linear_part(g).mT
        return self.element(linear, -(linear @ self.translation_part(g)[..., None])[..., 0])

    def _inside(self, g: Tensor, tol: float) -> Tensor:
        last_row = torch.eye(self.n + 1, dtype=g.dtype, device=g.device)[-1]
        homogeneous = ((g[..., -1, :] - last_row).abs() <= tol).all(-1)
        return homogeneous & self.linear.contains_each(self.linear_part(g), tol)


class SE(E):
    """Rigid motions of R^n without reflections."""

    def __str__(self) -> str:
        return f"SE({self.n})"

    @property
    def is_abelian(self) -> bool:
        return self.n == 1  # translations of the line

    @property
    def linear(self) -> SO:
        return SO(self.n)
