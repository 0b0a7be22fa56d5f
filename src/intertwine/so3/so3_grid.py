"""Functions on the rotation group: from coefficients of Wigner matrices to values at rotations and back."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .grid import _positive, _tensor
from .irreps import Irrep, Irreps
from .rotations import angles_to_matrix
from .wigner import _frozen, check_degree, wigner_blocks

_AT_ONCE = 4096  # rotations whose Wigner matrices are built together: those of degree 12 take a gigabyte


def wigner_irreps(lmax: int, channels: int = 1, parity: int | None = None) -> Irreps:
    """How functions on SO(3) transform under R ↦ f(g⁻¹R): degree l comes 2l+1 times for each channel.

    A flat feature of it is the `[Σ (2l+1)², channels]` of `SO3Grid`. parity: that of all degrees; None for SO(3).
    """
    check_degree("wigner_irreps: lmax", lmax)
    return Irreps([((2 * l + 1) * channels, Irrep(l, parity)) for l in range(lmax + 1)])


@dataclass(frozen=True)
class SO3Grid:
    """Rotations with weights that add up to 1. Made by `product`, `hopf` or `near_identity`.

    A function is f(R) = Σ_l √(2l+1) Σ_mn a^l_mn Dˡ_mn(R): its coefficients, row by row, degree by degree, are
    `[..., Σ (2l+1)², channels]`. The basis is orthonormal for the uniform measure of total 1, and `wigner_irreps` says
    how coefficients turn when f does.
    """

    kind: str
    size: tuple[float, ...]

    # --- constructors

    @classmethod
    def product(cls, degree: int) -> "SO3Grid":
        """The smallest grid in Euler angles that takes degrees up to `degree` to the grid and back exactly.

        degree + 1 Gauss-Legendre nodes in cos β, 2 degree + 1 equispaced α and γ: (degree+1)(2 degree+1)² rotations.
        """
        check_degree("SO3Grid.product", degree)
        return cls("product", (degree,))

    @classmethod
    def hopf(cls, level: int) -> "SO3Grid":
        """72·8^level rotations that lie evenly, of equal weight: HEALPix points on the sphere, times turns about y.

        Not exact for any degree. Source: Yershova et al. 2010, doi:10.1177/0278364909352700; the points of the sphere:
        Górski et al. 2005, doi:10.1086/427976, eq. 4 to 9, in the order of rings.
        """
        check_degree("SO3Grid.hopf: level", level)
        return cls("hopf", (level,))

    @classmethod
    def near_identity(
        cls, angle: float = np.pi / 8, *, n_alpha: int = 8, n_beta: int = 3, n_gamma: int = 3
    ) -> "SO3Grid":
        """Rotations of which y tilts by at most `angle` (radians) and whose turn about y is at most `angle`.

        R_y(α) R_x(β) R_y(γ - α) with equispaced α, and midpoints of [0, angle] for β, of [-angle, angle] for γ: the
        support of a local filter, weighted by area. Not a quadrature of the group.
        Raises ValueError unless 0 < angle <= π.
        """
        if not 0 < angle <= np.pi:
            raise ValueError(f"SO3Grid.near_identity: the angle must be above 0 and at most π, got {angle}")
        return cls("near_identity", (float(angle), *_positive("SO3Grid.near_identity", n_alpha, n_beta, n_gamma)))

    # --- what it is

    @property
    def rotations(self) -> Float[Tensor, "rotations 3 3"]:
        """The rotations, float64; a product grid runs over β slowly, then α, and γ fast."""
        alpha, beta, gamma = (torch.tensor(angle) for angle in _angles(self)[:3])
        return angles_to_matrix(alpha, beta, gamma)

    @property
    def weights(self) -> Float[Tensor, " rotations"]:
        """Shares of the group, float64, Σ = 1."""
        return torch.tensor(_angles(self)[3])

    def __len__(self) -> int:
        return len(_angles(self)[3])

    @property
    def exactness(self) -> int:
        """The highest degree of functions that the weighted sum integrates exactly; 0 where only constants."""
        return 2 * int(self.size[0]) if self.kind == "product" else 0

    # --- transforms

    def to_grid(self, x: Float[Tensor, "*batch components channels"]) -> Float[Tensor, "*batch rotations channels"]:
        """Values at the rotations, from Σ (2l+1)² components. Raises ValueError for another number of them."""
        return _tensor(wigner_basis(self, wigner_degree("SO3Grid.to_grid", x)), x) @ x

    def from_grid(
        self, f: Float[Tensor, "*batch rotations channels"], lmax: int
    ) -> Float[Tensor, "*batch components channels"]:
        """Coefficients of degrees 0..lmax by the weighted sum. Raises ValueError for another grid."""
        check_degree("SO3Grid.from_grid", lmax)
        if f.ndim < 2 or f.shape[-2] != len(self):
            raise ValueError(
                f"SO3Grid.from_grid: {self} has {len(self)} rotations, got values of shape {tuple(f.shape)} "
                "(rotations first, channels last)"
            )
        return _tensor((wigner_basis(self, lmax) * _angles(self)[3][:, None]).T.copy(), f) @ f


def wigner_degree(name: str, x: Tensor) -> int:
    """lmax of coefficients [..., Σ (2l+1)², channels]. Raises ValueError where the components are no such sum."""
    lmax, rows = 0, 1
    while x.ndim >= 2 and rows < x.shape[-2]:
        lmax += 1
        rows += (2 * lmax + 1) ** 2
    if x.ndim < 2 or rows != x.shape[-2]:
        raise ValueError(f"{name}: expected shape [.., Σ (2l+1)², channels], got {tuple(x.shape)}")
    return lmax


@lru_cache(maxsize=16)
def wigner_basis(grid: SO3Grid, lmax: int) -> np.ndarray:
    """√(2l+1) Dˡ_mn at the rotations, float64 [rotations, Σ (2l+1)²]."""
    with torch.device("cpu"):  # whatever the default is
        parts = [
            torch.cat([(2 * l + 1) ** 0.5 * D.flatten(1) for l, D in enumerate(wigner_blocks(lmax, some))], 1)
            for some in grid.rotations.split(_AT_ONCE)
        ]
        return _frozen(torch.cat(parts).numpy())


@lru_cache(maxsize=16)
def _angles(grid: SO3Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """α, β, γ and weights, flat."""
    if grid.kind == "product":
        degree = int(grid.size[0])
        height, area = np.polynomial.legendre.leggauss(degree + 1)
        turns = 2 * np.pi * np.arange(2 * degree + 1) / (2 * degree + 1)
        beta, alpha, gamma = np.meshgrid(np.arccos(height[::-1]), turns, turns, indexing="ij")
        weights = np.broadcast_to(area[::-1, None, None], beta.shape)
    elif grid.kind == "hopf":
        side = 2 ** int(grid.size[0])
        height, longitude = _healpix(side)
        alpha, gamma = np.meshgrid(longitude, 2 * np.pi * np.arange(6 * side) / (6 * side), indexing="ij")
        beta = np.broadcast_to(np.arccos(height)[:, None], alpha.shape)
        weights = np.ones_like(alpha)
    else:
        angle, n_alpha, n_beta, n_gamma = grid.size
        tilts = angle * (np.arange(n_beta) + 0.5) / n_beta
        turns = angle * ((2 * np.arange(n_gamma) + 1) / n_gamma - 1)
        beta, alpha, gamma = np.meshgrid(tilts, 2 * np.pi * np.arange(n_alpha) / n_alpha, turns, indexing="ij")
        gamma, weights = gamma - alpha, np.sin(beta)
    weights = weights / weights.sum()
    return tuple(_frozen(np.ascontiguousarray(a).ravel()) for a in (alpha, beta, gamma, weights))


def _healpix(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Height and longitude of the 12 side² centres of HEALPix cells, ring by ring from the north pole."""
    height, longitude = [], []
    for ring in range(1, 4 * side):
        if side <= ring <= 3 * side:  # the belt: 4 side cells, every second ring shifted by half a cell
            count, z = 4 * side, 4 / 3 - 2 * ring / (3 * side)
            start = (ring - side + 1) % 2 / 2
        else:
            cap = min(ring, 4 * side - ring)
            count, z = 4 * cap, (1 - cap**2 / (3 * side**2)) * (1 if ring < side else -1)
            start = 0.5
        height.append(np.full(count, z))
        longitude.append((np.arange(count) + start) * 2 * np.pi / count)
    return np.concatenate(height), np.concatenate(longitude)
