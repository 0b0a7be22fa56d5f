"""Matrix groups: rotations, reflections, Lorentz, symplectic and linear groups, and rigid motions of space."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .group import Group, positive


class _Matrix(Group):
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

    def _preserves(self, g: Tensor, form: Tensor, tol: float) -> bool:
        form = form.to(g)
        return g.shape[-2:] == form.shape and bool(((g.mT @ form @ g - form).abs() <= tol).all())


def _unit(n: int, i: int, j: int) -> Tensor:
    e = torch.zeros(n, n, dtype=torch.float64)
    e[i, j] = 1
    return e


def _stack(matrices: list[Tensor], n: int) -> Tensor:
    return torch.stack(matrices) if matrices else torch.zeros(0, n, n, dtype=torch.float64)


def _antisymmetric(n: int) -> Tensor:
    return _stack([_unit(n, i, j) - _unit(n, j, i) for i in range(n) for j in range(i + 1, n)], n)


def _haar_orthogonal(k: int, n: int, generator: torch.Generator) -> Tensor:
    """Q of a Gaussian matrix, its signs fixed by a positive diagonal of R: uniform on O(n)."""
    gaussian = torch.randn(k, n, n, generator=generator, dtype=torch.float64, device=generator.device)
    q, r = torch.linalg.qr(gaussian)
    return q * r.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]


def _haar_special_orthogonal(k: int, n: int, generator: torch.Generator) -> Tensor:
    q = _haar_orthogonal(k, n, generator)
    q[..., 0] = q[..., 0] * torch.linalg.det(q).sign()[..., None]
    return q


@dataclass(frozen=True, eq=False, repr=False)
class O(_Matrix):  # noqa: E742
    """Rotations and reflections of R^n. Elements: orthogonal matrices [..., n, n]."""

    n: int
    is_compact: ClassVar[bool] = True
    is_orthogonal: ClassVar[bool] = True

    def __post_init__(self):
        positive(type(self).__name__, self.n)

    def __str__(self) -> str:
        return f"O({self.n})"

    @property
    def is_abelian(self) -> bool:
        return self.n == 1

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Tensor:
        """Haar."""
        return _haar_orthogonal(k, self.n, generator).to(device, dtype)

    def generators(self) -> Tensor:
        """The reflection diag(-1, 1, ..., 1)."""
        reflection = torch.eye(self.n, dtype=torch.float64)
        reflection[0, 0] = -1
        return reflection[None]

    def lie_algebra(self) -> Tensor:
        """E_ij - E_ji for i < j, lexicographic."""
        return _antisymmetric(self.n)

    def inverse(self, g: Tensor) -> Tensor:
        return g.mT

    def contains(self, g: Tensor, tol: float = 1e-6) -> bool:
        return self._preserves(g, torch.eye(self.n), tol)


class SO(O):
    """Rotations of R^n. Elements: orthogonal matrices of determinant 1."""

    def __str__(self) -> str:
        return f"SO({self.n})"

    @property
    def is_abelian(self) -> bool:
        return self.n <= 2

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Tensor:
        """Haar."""
        return _haar_special_orthogonal(k, self.n, generator).to(device, dtype)

    generators = _Matrix.generators

    def contains(self, g: Tensor, tol: float = 1e-6) -> bool:
        return super().contains(g, tol) and bool((torch.linalg.det(g) > 0).all())


class _NonCompact(_Matrix):
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
            (_unit(self.n, i, j) + _unit(self.n, j, i)) / (2 if i == j else 1)
            for i in range(self.n)
            for j in range(i, self.n)
        ]
        return inverse @ torch.stack(units)

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu", scale: float = 0.3) -> Tensor:
        """exp(symmetric part of size `scale`) times a Haar element of the compact U(n/2); not Haar."""
        m = self.n // 2
        real, imaginary = torch.randn(2, k, m, m, generator=generator, dtype=torch.float64, device=generator.device)
        q, r = torch.linalg.qr(torch.complex(real, imaginary))
        phase = r.diagonal(dim1=-2, dim2=-1)
        u = q * (phase / phase.abs())[..., None, :]
        compact = torch.stack(
            [torch.stack([u.real, u.imag], -1), torch.stack([-u.imag, u.real], -1)], -2
        )  # [k, m, m, 2, 2]
        compact = compact.permute(0, 1, 3, 2, 4).reshape(k, self.n, self.n)
        return (self._boost(k, scale, generator) @ compact).to(device, dtype)

    def contains(self, g: Tensor, tol: float = 1e-6) -> bool:
        return self._preserves(g, self.form(), tol)


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
        return torch.stack([_unit(self.n, i, j) for i in range(self.n) for j in range(self.n)])

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu", scale: float = 0.3) -> Tensor:
        """exp(symmetric part of size `scale`) times a Haar rotation; not Haar."""
        rotation = _haar_special_orthogonal(k, self.n, generator)
        return (self._boost(k, scale, generator) @ rotation).to(device, dtype)

    def contains(self, g: Tensor, tol: float = 1e-6) -> bool:
        return g.shape[-2:] == (self.n, self.n) and bool((torch.linalg.det(g) > 0).all())


class SL(GLPlus):
    """Linear maps of R^n with determinant 1."""

    def __str__(self) -> str:
        return f"SL({self.n})"

    def lie_algebra(self) -> Tensor:
        """E_ij for i != j, then E_ii - E_(i+1)(i+1)."""
        n = self.n
        off_diagonal = [_unit(n, i, j) for i in range(n) for j in range(n) if i != j]
        diagonal = [_unit(n, i, i) - _unit(n, i + 1, i + 1) for i in range(n - 1)]
        return _stack(off_diagonal + diagonal, n)

    def contains(self, g: Tensor, tol: float = 1e-6) -> bool:
        return g.shape[-2:] == (self.n, self.n) and bool(((torch.linalg.det(g) - 1).abs() <= tol).all())


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

    def form(self) -> Tensor:
        """The metric, float64 [p+q, p+q]."""
        return torch.diag(torch.tensor([1.0] * self.p + [-1.0] * self.q, dtype=torch.float64))

    def lie_algebra(self) -> Tensor:
        """form() times the antisymmetric units, lexicographic."""
        return self.form() @ _antisymmetric(self.n)

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
        compact[:, : self.p, : self.p] = _haar_special_orthogonal(k, self.p, generator)
        compact[:, self.p :, self.p :] = _haar_special_orthogonal(k, self.q, generator)
        g = self._boost(k, scale, generator) @ compact
        for reflection in self.generators().to(g):
            coin = torch.rand(k, generator=generator, device=generator.device) < 0.5
            g = torch.where(coin[:, None, None], g @ reflection, g)
        return g.to(device, dtype)

    def contains(self, g: Tensor, tol: float = 1e-6) -> bool:
        if not self._preserves(g, self.form(), tol):
            return False
        plus = torch.linalg.det(g[..., : self.p, : self.p]) > 0
        minus = torch.linalg.det(g[..., self.p :, self.p :]) > 0
        allowed = {
            "full": torch.ones_like(plus),
            "proper": plus == minus,
            "orthochronous": plus,
            "restricted": plus & minus,
        }
        return bool(allowed[self.component].all())


@dataclass(frozen=True, eq=False, repr=False)
class E(_Matrix):
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
        n = self.n
        algebra = torch.zeros(n * (n - 1) // 2 + n, n + 1, n + 1, dtype=torch.float64)
        algebra[: n * (n - 1) // 2, :n, :n] = _antisymmetric(n)
        algebra[n * (n - 1) // 2 :, :n, n] = torch.eye(n, dtype=torch.float64)
        return algebra

    def inverse(self, g: Tensor) -> Tensor:
        linear = self.linear_part(g).mT
        return self.element(linear, -(linear @ self.translation_part(g)[..., None])[..., 0])

    def contains(self, g: Tensor, tol: float = 1e-6) -> bool:
        if g.shape[-2:] != (self.n + 1, self.n + 1):
            return False
        last_row = torch.eye(self.n + 1, dtype=g.dtype, device=g.device)[-1]
        return bool(((g[..., -1, :] - last_row).abs() <= tol).all()) and self.linear.contains(self.linear_part(g), tol)


class SE(E):
    """Rigid motions of R^n without reflections."""

    def __str__(self) -> str:
        return f"SE({self.n})"

    @property
    def linear(self) -> SO:
        return SO(self.n)
