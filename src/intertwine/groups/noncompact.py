"""Non-compact matrix groups: symplectic, linear and Lorentz groups."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .group import positive
from .matrix import LinearGroup, antisymmetric, haar_orthogonal, haar_special_orthogonal, preserves, stack, unit
from .unitary import haar_unitary


class _NonCompact(LinearGroup):
    """Sampled as exp(symmetric part) times a compact part: well conditioned, documented as not Haar."""

    def _symmetric_algebra(self) -> Tensor:
        """The symmetric directions of the Lie algebra; the algebras below are closed under transpose."""
        algebra = self.lie_algebra()
        symmetric = algebra + algebra.mT
        return symmetric[symmetric.abs().sum((-1, -2)) > 0] / 2

    def _boost(self, k: int, scale: float, generator: torch.Generator) -> Tensor:
        directions = self._symmetric_algebra().to(generator.device)
        weights = torch.randn(k, len(directions), generator=generator, dtype=torch.float64, device=generator.device)
        return torch.linalg.matrix_exp(scale * torch.einsum("kd,dij->kij", weights, directions))


@dataclass(frozen=True, eq=False, repr=False)
class Sp(_NonCompact):
    """The real symplectic group on R^n, n even; interleaved basis (e1, e1', e2, e2', ...), form w(ei, ei') = 1."""

    n: int

    def __post_init__(self):
        positive("Sp", self.n)
        if self.n % 2:
            raise ValueError(f"Sp({self.n}): n must be even, it is the dimension of the symplectic space")

    def __str__(self) -> str:
        return f"Sp({self.n})"

    def form(self) -> Tensor:
        """The matrix of the symplectic form, float64 [n, n]."""
        return torch.block_diag(*[torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)] * (self.n // 2))

    def lie_algebra(self) -> Tensor:
        """w^-1 S for the symmetric unit matrices S, lexicographic."""
        inverse = -self.form()
        units = [
            (unit(self.n, i, j) + unit(self.n, j, i)) / (2 if i == j else 1)
            for i in range(self.n)
            for j in range(i, self.n)
        ]
        return inverse @ torch.stack(units)

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu", scale: float = 0.3) -> Tensor:
        """exp(symmetric part of size `scale`) times a Haar element of the compact U(n/2); not Haar."""
        u = haar_unitary(k, self.n // 2, generator)
        compact = torch.stack(
            [torch.stack([u.real, u.imag], -1), torch.stack([-u.imag, u.real], -1)], -2
        )  # [k, m, m, 2, 2]
        compact = compact.permute(0, 1, 3, 2, 4).reshape(k, self.n, self.n)
        return (self._boost(k, scale, generator) @ compact).to(device, dtype)

    def inverse(self, g: Tensor) -> Tensor:
        form = self.form().to(g)
        return -form @ g.mT @ form

    def _inside(self, g: Tensor, tol: float) -> Tensor:
        return preserves(self.form(), g, tol)


@dataclass(frozen=True, eq=False, repr=False)
class GLPlus(_NonCompact):
    """Linear maps of R^n with positive determinant. Elements: matrices [..., n, n]."""

    n: int

    def __post_init__(self):
        positive(type(self).__name__, self.n)

    def __str__(self) -> str:
        return f"GLPlus({self.n})"

    @property
    def is_abelian(self) -> bool:
        return self.n == 1

    def lie_algebra(self) -> Tensor:
        """The units E_ij, lexicographic."""
        return torch.stack([unit(self.n, i, j) for i in range(self.n) for j in range(self.n)])

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu", scale: float = 0.3) -> Tensor:
        """exp(symmetric part of size `scale`) times a Haar rotation; not Haar."""
        rotation = haar_special_orthogonal(k, self.n, generator)
        return (self._boost(k, scale, generator) @ rotation).to(device, dtype)

    def _inside(self, g: Tensor, tol: float) -> Tensor:
        return torch.linalg.det(g) > 0


class GL(GLPlus):
    """Invertible linear maps of R^n. Elements: matrices [..., n, n]."""

    def __str__(self) -> str:
        return f"GL({self.n})"

    def generators(self) -> Tensor:
        """The reflection diag(-1, 1, ..., 1)."""
        reflection = torch.eye(self.n, dtype=torch.float64)
        reflection[0, 0] = -1
        return reflection[None]

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu", scale: float = 0.3) -> Tensor:
        """exp(symmetric part of size `scale`) times a Haar orthogonal matrix; not Haar."""
        return (self._boost(k, scale, generator) @ haar_orthogonal(k, self.n, generator)).to(device, dtype)

    def _inside(self, g: Tensor, tol: float) -> Tensor:
        return torch.linalg.det(g) != 0


class SL(GLPlus):
    """Linear maps of R^n with determinant 1."""

    def __str__(self) -> str:
        return f"SL({self.n})"

    @property
    def is_finite(self) -> bool:
        return self.n == 1

    @property
    def is_compact(self) -> bool:
        return self.n == 1

    @property
    def order(self) -> int | None:
        return 1 if self.n == 1 else None

    def lie_algebra(self) -> Tensor:
        """E_ij for i != j, then E_ii - E_(i+1)(i+1)."""
        n = self.n
        off_diagonal = [unit(n, i, j) for i in range(n) for j in range(n) if i != j]
        diagonal = [unit(n, i, i) - unit(n, i + 1, i + 1) for i in range(n - 1)]
        return stack(off_diagonal + diagonal, n)

    def _inside(self, g: Tensor, tol: float) -> Tensor:
        return (torch.linalg.det(g) - 1).abs() <= tol


COMPONENTS = ("full", "proper", "orthochronous", "restricted")


@dataclass(frozen=True, eq=False, repr=False)
class Lorentz(_NonCompact):
    """Linear maps of R^(p+q) that keep diag(+1 p times, -1 q times); the first p axes carry +1.

    component: "full"; "proper" (determinant 1); "orthochronous" (keeps the direction of the p axes); "restricted"
    (both).
    """

    p: int
    q: int
    component: str = "full"

    def __post_init__(self):
        positive("Lorentz", self.p)
        positive("Lorentz", self.q)
        if self.component not in COMPONENTS:
            raise ValueError(f"Lorentz: component must be one of {COMPONENTS}, got {self.component!r}")

    def __str__(self) -> str:
        component = "" if self.component == "full" else f", {self.component!r}"
        return f"Lorentz({self.p}, {self.q}{component})"

    @property
    def n(self) -> int:
        """Dimension p + q of space-time."""
        return self.p + self.q

    @property
    def is_abelian(self) -> bool:
        return self.n == 2 and self.component in ("proper", "restricted")

    def form(self) -> Tensor:
        """The metric, float64 [p+q, p+q]."""
        return torch.diag(torch.tensor([1.0] * self.p + [-1.0] * self.q, dtype=torch.float64))

    def lie_algebra(self) -> Tensor:
        """form() times the antisymmetric units, lexicographic."""
        return self.form() @ antisymmetric(self.n)

    def _flips(self) -> Tensor:
        """diag with -1 on the first axis of the + block, and on the first axis of the - block."""
        flips = torch.ones(2, self.n, dtype=torch.float64)
        flips[0, 0] = flips[1, self.p] = -1
        return torch.diag_embed(flips)

    def generators(self) -> Tensor:
        """One reflection per missing component."""
        plus, minus = self._flips()
        return {
            "full": torch.stack([plus, minus]),
            "proper": (plus @ minus)[None],
            "orthochronous": minus[None],
            "restricted": plus.new_zeros(0, self.n, self.n),
        }[self.component]

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu", scale: float = 0.3) -> Tensor:
        """A boost of rapidity about `scale`, a Haar rotation of both blocks, a uniform component; not Haar."""
        compact = torch.zeros(k, self.n, self.n, dtype=torch.float64, device=generator.device)
        compact[:, : self.p, : self.p] = haar_special_orthogonal(k, self.p, generator)
        compact[:, self.p :, self.p :] = haar_special_orthogonal(k, self.q, generator)
        g = self._boost(k, scale, generator) @ compact
        for reflection in self.generators().to(g):
            coin = torch.rand(k, generator=generator, device=generator.device) < 0.5
            g = torch.where(coin[:, None, None], g @ reflection, g)
        return g.to(device, dtype)

    def inverse(self, g: Tensor) -> Tensor:
        form = self.form().to(g)
        return form @ g.mT @ form

    def _inside(self, g: Tensor, tol: float) -> Tensor:
        inside = preserves(self.form(), g, tol)
        plus = torch.linalg.det(g[..., : self.p, : self.p]) > 0
        minus = torch.linalg.det(g[..., self.p :, self.p :]) > 0
        return {
            "full": inside,
            "proper": inside & (plus == minus),
            "orthochronous": inside & plus,
            "restricted": inside & plus & minus,
        }[self.component]
