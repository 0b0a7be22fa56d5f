"""Unitary groups as real matrices: complex vectors are pairs (Re, Im), so that features stay real."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from .group import positive
from .matrix import LinearGroup, preserves, stack


def haar_unitary(k: int, n: int, generator: torch.Generator) -> Complex[Tensor, "k n n"]:
    """Q of a complex Gaussian matrix, its phases fixed by a positive diagonal of R: uniform on U(n)."""
    real, imaginary = torch.randn(2, k, n, n, generator=generator, dtype=torch.float64, device=generator.device)
    q, r = torch.linalg.qr(torch.complex(real, imaginary))
    phase = r.diagonal(dim1=-2, dim2=-1)
    return q * (phase / phase.abs())[..., None, :]


def real_form(u: Complex[Tensor, "... n n"]) -> Float[Tensor, "... twice twice"]:
    """A complex matrix A + iB as the real matrix [[A, -B], [B, A]] on (Re, Im)."""
    return torch.cat([torch.cat([u.real, -u.imag], -1), torch.cat([u.imag, u.real], -1)], -2)


def complex_form(g: Float[Tensor, "... twice twice"]) -> Complex[Tensor, "... n n"]:
    """The complex matrix whose real form has the left half of g."""
    n = g.shape[-1] // 2
    return torch.complex(g[..., :n, :n].contiguous(), g[..., n:, :n].contiguous())


@dataclass(frozen=True, eq=False, repr=False)
class U(LinearGroup):
    """The unitary group on C^n. Elements: real matrices [..., 2n, 2n] that are orthogonal and commute with J.

    V is R^(2n), real parts before imaginary ones; J = `complex_structure()` = [[0, -1], [1, 0]] multiplies by i.
    """

    n: int
    is_compact: ClassVar[bool] = True
    is_orthogonal: ClassVar[bool] = True

    def __post_init__(self):
        positive(type(self).__name__, self.n)

    def __str__(self) -> str:
        return f"U({self.n})"

    @property
    def dim_V(self) -> int:
        return 2 * self.n

    @property
    def is_abelian(self) -> bool:
        return self.n == 1

    def complex_structure(self) -> Float[Tensor, "twice twice"]:
        """J, multiplication by i, float64 [2n, 2n]."""
        return real_form(1j * torch.eye(self.n, dtype=torch.complex128))

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Tensor:
        """Haar."""
        return real_form(haar_unitary(k, self.n, generator)).to(device, dtype)

    def lie_algebra(self) -> Tensor:
        """E_jk - E_kj, then i(E_jk + E_kj), for j < k lexicographic, then i E_jj."""
        return self._algebra([_imaginary(self.n, {(j, j): 1}) for j in range(self.n)])

    def _algebra(self, diagonal: list[Tensor]) -> Tensor:
        pairs = [(j, k) for j in range(self.n) for k in range(j + 1, self.n)]
        real = [-1j * _imaginary(self.n, {(j, k): 1, (k, j): -1}) for j, k in pairs]
        imaginary = [_imaginary(self.n, {(j, k): 1, (k, j): 1}) for j, k in pairs]
        return stack([real_form(X) for X in (*real, *imaginary, *diagonal)], self.dim_V)

    def inverse(self, g: Tensor) -> Tensor:
        return g.mT

    def _inside(self, g: Tensor, tol: float) -> Tensor:
        return preserves(torch.eye(self.dim_V), g, tol) & preserves(self.complex_structure(), g, tol)


class SU(U):
    """The unitary matrices of complex determinant 1."""

    def __str__(self) -> str:
        return f"SU({self.n})"

    @property
    def is_finite(self) -> bool:
        return self.n == 1

    @property
    def order(self) -> int | None:
        return 1 if self.n == 1 else None

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Tensor:
        """Haar: a unitary matrix, its first column turned until the determinant is 1."""
        u = haar_unitary(k, self.n, generator)
        # of one column nothing is left but a one, without its rounding
        u[..., 0] = u[..., 0] / torch.linalg.det(u)[..., None] if self.n > 1 else 1
        return real_form(u).to(device, dtype)

    def lie_algebra(self) -> Tensor:
        """E_jk - E_kj, then i(E_jk + E_kj), for j < k lexicographic, then i(E_jj - E_(j+1)(j+1))."""
        return self._algebra([_imaginary(self.n, {(j, j): 1, (j + 1, j + 1): -1}) for j in range(self.n - 1)])

    def _inside(self, g: Tensor, tol: float) -> Tensor:
        return super()._inside(g, tol) & ((torch.linalg.det(complex_form(g)) - 1).abs() <= tol)


def _imaginary(n: int, entries: dict[tuple[int, int], int]) -> Complex[Tensor, "n n"]:
    X = torch.zeros(n, n, dtype=torch.complex128)
    for place, value in entries.items():
        X[place] = 1j * value
    return X
