"""Functions on the sphere: from coefficients of spherical harmonics to values at points and back, exactly."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .harmonics import spherical_harmonics
from .wigner import _frozen, check_degree

_DENSE_LMAX = 8  # above, polar and azimuthal sums one after the other are cheaper than one matrix


@dataclass(frozen=True)
class S2Grid:
    """Points and weights on the sphere; the weights add up to 4π.

    Made by `gauss_legendre`, `exact`, `uniform` or `fibonacci`. Coefficients are those of orthonormal harmonics
    ("integral"), degrees 0..lmax, components first and channels last.
    """

    kind: str
    size: tuple[int, ...]

    # --- constructors

    @classmethod
    def gauss_legendre(cls, n_beta: int, n_alpha: int) -> "S2Grid":
        """Gauss-Legendre nodes in cos β times equispaced α: integrates degree min(2 n_beta, n_alpha) - 1 exactly."""
        return cls("gauss_legendre", _positive("S2Grid.gauss_legendre", n_beta, n_alpha))

    @classmethod
    def exact(cls, degree: int, order: int = 2) -> "S2Grid":
        """The smallest Gauss-Legendre grid that integrates products of `order` functions of that degree exactly.

        order=2: to the grid and back is the identity. order=3: the product of two functions, projected back.
        """
        check_degree("S2Grid.exact", degree, order)
        return cls.gauss_legendre(degree * order // 2 + 1, degree * order + 1)

    @classmethod
    def uniform(cls, n_beta: int, n_alpha: int) -> "S2Grid":
        """Equispaced β (midpoints) and α, e3nn's grid: integrates degree min(n_beta, n_alpha) - 1 exactly.

        The weights are those of Fejér's first rule, all positive. Gauss-Legendre needs half as many β.
        """
        return cls("uniform", _positive("S2Grid.uniform", n_beta, n_alpha))

    @classmethod
    def fibonacci(cls, n: int) -> "S2Grid":
        """n points of equal weight along a spiral."""
        return cls("fibonacci", _positive("S2Grid.fibonacci", n))

    # --- what it is

    @property
    def points(self) -> Float[Tensor, "points 3"]:
        """Unit vectors, float64; a product grid runs over β slowly and α fast."""
        return torch.tensor(_points(self)[0])

    @property
    def weights(self) -> Float[Tensor, " points"]:
        """Areas, float64, Σ = 4π."""
        return torch.tensor(_points(self)[1])

    def __len__(self) -> int:
        return len(_points(self)[1])

    @property
    def exactness(self) -> int:
        """The highest degree of functions that the weighted sum integrates exactly; 0 where only constants."""
        if self.kind == "fibonacci":
            return 0
        n_beta, n_alpha = self.size
        polar = 2 * n_beta - 1 if self.kind == "gauss_legendre" else n_beta - 1 + n_beta % 2  # odd powers of cos β
        return min(polar, n_alpha - 1)

    # --- transforms

    def to_grid(self, x: Float[Tensor, "*batch components channels"]) -> Float[Tensor, "*batch points channels"]:
        """Values at the points of Σ x_lm Y_lm, with (lmax+1)² components. Raises ValueError for another number."""
        lmax = degree_of("S2Grid.to_grid", x)
        if self.kind != "fibonacci" and lmax > _DENSE_LMAX:
            polar, azimuthal = _separable(self, lmax)
            rows, flat = _by_order(lmax), x.new_zeros(1)
            padded = torch.cat([x, flat.expand(*x.shape[:-2], 1, x.shape[-1])], -2)
            by_order = padded[..., torch.tensor(rows, device=x.device), :]  # [.., order, degree, channels]
            rings = torch.einsum("mbl,...mlc->...bmc", _tensor(polar, x), by_order)
            return torch.einsum("am,...bmc->...bac", _tensor(azimuthal, x), rings).flatten(-3, -2)
        return _tensor(_matrix(self, lmax), x) @ x

    def from_grid(
        self, f: Float[Tensor, "*batch points channels"], lmax: int
    ) -> Float[Tensor, "*batch (lmax+1)**2 channels"]:
        """Coefficients ∫ f Y_lm by the weighted sum, degrees 0..lmax. Raises ValueError for another grid."""
        check_degree("S2Grid.from_grid", lmax)
        if f.ndim < 2 or f.shape[-2] != len(self):
            raise ValueError(
                f"S2Grid.from_grid: {self} has {len(self)} points, got values of shape {tuple(f.shape)} "
                "(points first, channels last)"
            )
        if self.kind != "fibonacci" and lmax > _DENSE_LMAX:
            polar, azimuthal = _separable(self, lmax)
            weights = _points(self)[1].reshape(self.size)[:, 0]
            values = f.unflatten(-2, self.size)
            rings = torch.einsum("am,...bac->...bmc", _tensor(azimuthal, f), values)
            by_order = torch.einsum("mbl,...bmc->...mlc", _tensor(polar * weights[:, None], f), rings)
            rows = _by_order(lmax)
            places = np.empty((lmax + 1) ** 2, dtype=np.int64)
            inside = rows < len(places)
            places[rows[inside]] = np.flatnonzero(inside)
            return by_order.flatten(-3, -2)[..., torch.tensor(places, device=f.device), :]
        return _tensor((_matrix(self, lmax) * _points(self)[1][:, None]).T.copy(), f) @ f


def degree_of(name: str, x: Tensor) -> int:
    """lmax of coefficients [..., (lmax+1)², channels]. Raises ValueError where the components are no square."""
    lmax = round(x.shape[-2] ** 0.5) - 1 if x.ndim >= 2 else -1
    if lmax < 0 or (lmax + 1) ** 2 != x.shape[-2]:
        raise ValueError(f"{name}: expected shape [.., (lmax+1)², channels], got {tuple(x.shape)}")
    return lmax


def _positive(name: str, *sizes: int) -> tuple[int, ...]:
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{name}: a grid needs at least one point each way, got {size!r}")
    return sizes


def _tensor(x: np.ndarray, like: Tensor) -> Tensor:
    return torch.tensor(x, dtype=like.dtype, device=like.device)


@lru_cache(maxsize=64)
def _points(grid: S2Grid) -> tuple[np.ndarray, np.ndarray]:
    if grid.kind == "fibonacci":
        (n,) = grid.size
        height = 1 - (2 * np.arange(n) + 1) / n
        alpha = 2 * np.pi * np.arange(n) * 2 / (1 + 5**0.5)
        weights = np.full(n, 4 * np.pi / n)
    else:
        n_beta, n_alpha = grid.size
        if grid.kind == "gauss_legendre":
            height, area = np.polynomial.legendre.leggauss(n_beta)
            height, area = height[::-1], area[::-1]  # from the north pole, +y
        else:
            beta, k = np.pi * (np.arange(n_beta) + 0.5) / n_beta, np.arange(1, n_beta // 2 + 1)
            height = np.cos(beta)
            area = (1 - 2 * (np.cos(2 * np.outer(beta, k)) / (4.0 * k * k - 1)).sum(1)) * 2 / n_beta  # Fejér (1933)
        alpha = np.tile(2 * np.pi * np.arange(n_alpha) / n_alpha, n_beta)
        height, weights = np.repeat(height, n_alpha), np.repeat(area * 2 * np.pi / n_alpha, n_alpha)
    radius = np.sqrt(1 - height**2)
    return _frozen(np.stack([radius * np.sin(alpha), height, radius * np.cos(alpha)], 1)), _frozen(weights)


@lru_cache(maxsize=64)
def _matrix(grid: S2Grid, lmax: int) -> np.ndarray:
    """Orthonormal harmonics at the points, [points, (lmax+1)²]."""
    points = torch.tensor(_points(grid)[0], device="cpu")
    return _frozen(spherical_harmonics(points, lmax, normalization="integral").numpy())


@lru_cache(maxsize=64)
def _separable(grid: S2Grid, lmax: int) -> tuple[np.ndarray, np.ndarray]:
    """Y at ring b and azimuth a is polar[m, b, l] · azimuthal[a, m]; orders m = -lmax..lmax, [m, b, l] and [a, m]."""
    n_beta, n_alpha = grid.size
    alpha = 2 * np.pi * np.arange(n_alpha) / n_alpha
    m = np.arange(-lmax, lmax + 1)
    azimuthal = np.where(m >= 0, np.cos(np.outer(alpha, m)), np.sin(np.outer(alpha, -m)))
    meridian = _points(grid)[0].reshape(n_beta, n_alpha, 3)[:, 0]  # α = 0: there cos mα is 1
    Y = spherical_harmonics(torch.tensor(meridian, device="cpu"), lmax, normalization="integral").numpy()
    polar = np.zeros((2 * lmax + 1, n_beta, lmax + 1))
    for l in range(lmax + 1):
        for order in range(l + 1):
            polar[lmax + order, :, l] = polar[lmax - order, :, l] = Y[:, l * l + l + order]
    return _frozen(polar), _frozen(azimuthal)


@lru_cache(maxsize=64)
def _by_order(lmax: int) -> np.ndarray:
    """Row of coefficient (l, m) at [lmax + m, l]; (lmax+1)², one past the end, where there is none."""
    rows = np.full((2 * lmax + 1, lmax + 1), (lmax + 1) ** 2)
    for l in range(lmax + 1):
        rows[lmax - l : lmax + l + 1, l] = l * l + np.arange(2 * l + 1)
    return _frozen(rows)
