"""Four ways to multiply two functions on the sphere, and what each costs; all work on columns, [components, n].

The product is a trilinear form, symmetric in its three functions: so its derivatives are products of the same kind.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .grid import S2Grid, _by_order, _separable
from .harmonics import spherical_harmonics
from .rates import rate
from .wigner import _frozen, clebsch_gordan

METHODS = ("grid", "rings", "fourier", "cg")


@dataclass(frozen=True)
class Plan:
    """How to multiply degrees 0..degrees[0] by 0..degrees[1] and keep 0..degrees[2].

    method: "grid" (values at points, dense matrices), "rings" (points, polar and azimuthal sums one after the other),
    "fourier" (series on the torus) or "cg" (Gaunt coefficients).
    """

    method: str
    degrees: tuple[int, int, int]
    grid: S2Grid | None = None

    def derivative(self, place: int) -> "Plan":
        """The plan of the derivative by one factor: that of (output, other factor) -> this factor."""
        l1, l2, l3 = self.degrees
        return replace(self, degrees=(l3, l2, l1) if place == 0 else (l3, l1, l2))

    @property
    def rows(self) -> int:
        """Numbers in a column of the largest intermediate."""
        l1, l2, _ = self.degrees
        if self.method == "cg":
            return (2 * l1 + 1) * (2 * l2 + 1)
        return 2 * (2 * (l1 + l2) + 1) ** 2 if self.method == "fourier" else len(self.grid)

    def cost(self) -> tuple[float, float]:
        """Operations, and bytes written and read between matrix products, for one column of float32."""
        l1, l2, l3 = self.degrees
        if self.method == "grid":
            return 2.0 * len(self.grid) * sum((l + 1) ** 2 for l in self.degrees), 12.0 * len(self.grid)
        if self.method == "rings":
            n_beta = self.grid.size[0]
            rings = sum((2 * l + 1) * (l + 1) * n_beta for l in self.degrees)
            return 2.0 * (rings + len(self.grid) * sum(2 * l + 1 for l in self.degrees)), 12.0 * len(self.grid)
        if self.method == "fourier":
            n = 2 * (l1 + l2) + 1
            waves = 8.0 * (sum((l + 1) ** 2 * (2 * l + 1) for l in (l1, l2)) + (l3 + 1) ** 2 * n)
            return waves + 3 * 2.5 * n**2 * np.log2(n**2), 32.0 * n**2
        pairs, flops, moved = _pairs(*self.degrees), 0.0, 0.0
        for a, b in pairs:
            products, found = (2 * a + 1) * (2 * b + 1), sum(2 * c + 1 for c in _partners(a, b, l3))
            flops, moved = flops + 2 * products * found, moved + 8 * products + 12 * found
        return flops, moved

    @property
    def seconds(self) -> float:
        """Predicted time of one column."""
        return rate(f"gaunt_{self.method}").seconds(*self.cost())


def candidates(l1: int, l2: int, l3: int) -> list[Plan]:
    """Every exact way."""
    degree = l1 + l2 + l3
    grid = S2Grid.gauss_legendre(degree // 2 + 1, degree + 1)
    return [Plan(method, (l1, l2, l3), grid if method in ("grid", "rings") else None) for method in METHODS]


def _partners(l1: int, l2: int, lmax: int) -> list[int]:
    return list(range(abs(l1 - l2), min(l1 + l2, lmax) + 1, 2))


def gaunt_factor(l1: int, l2: int, l3: int) -> float:
    """g with ∫ Y_1 Y_2 Y_3 = g · `clebsch_gordan`; at least 0, and 0 for odd l1 + l2 + l3 or no triangle.

    Raises ValueError for a degree below 0. Source: arXiv:2401.10216, eq. 6.
    """
    C = clebsch_gordan(l1, l2, l3)  # orders 0 of all three: the 3j symbol of zeros, up to its sign
    odd = (l1 + l2 + l3) % 2  # zero; what is left is rounding
    sizes = (2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1)
    return 0.0 if odd else float(np.sqrt(sizes / (4 * np.pi)) * abs(C[l1, l2, l3]))


# --- the constants


@lru_cache(maxsize=128)
def tables(plan: Plan) -> tuple[np.ndarray, ...]:
    """The constants of a plan."""
    return {"grid": _grid_tables, "rings": _ring_tables, "fourier": _wave_tables, "cg": _cg_tables}[plan.method](plan)


def _grid_tables(plan: Plan) -> tuple[np.ndarray, ...]:
    first, second, third = (
        spherical_harmonics(plan.grid.points, l, normalization="integral").numpy() for l in plan.degrees
    )
    return first, second, _frozen((third * plan.grid.weights.numpy()[:, None]).T.copy())


def _ring_tables(plan: Plan) -> tuple[np.ndarray, ...]:
    found = []
    for l in plan.degrees[:2]:
        polar, azimuthal = _separable(plan.grid, l)
        found += [polar, azimuthal, np.minimum(_by_order(l), (l + 1) ** 2 - 1).ravel()]  # where polar is 0, any row
    lmax = plan.degrees[2]
    polar, azimuthal = _separable(plan.grid, lmax)
    weights = plan.grid.weights.numpy().reshape(plan.grid.size)[:, :1]
    rows = _by_order(lmax).ravel()
    places = np.argsort(rows, kind="stable")[: (lmax + 1) ** 2]
    return *found, np.ascontiguousarray((polar * weights).swapaxes(1, 2)), azimuthal.T.copy(), places


def _wave_tables(plan: Plan) -> tuple[np.ndarray, ...]:
    """For both factors the coefficients of Θ_lm(θ) = Σ_u t e^{iuθ}, [2, m, u, l], real and imaginary parts, and the
    rows of orders ±m; for the output ∫ Θ_lm e^{iuθ} sin θ over 0..π, [2, m, l, u]. Frequencies as in an FFT."""
    found, waves = [], None
    for l in plan.degrees:
        n = 2 * l + 1
        theta = 2 * np.pi * np.arange(n) / n
        meridian = np.stack([np.zeros(n), np.cos(theta), np.sin(theta)], 1)  # runs on over θ > π with sin θ < 0
        Y = spherical_harmonics(torch.tensor(meridian), l, normalization="integral").numpy()
        waves = np.zeros((l + 1, n, l + 1), dtype=complex)
        for m in range(l + 1):
            for degree in range(m, l + 1):
                waves[m, :, degree] = np.fft.fft(Y[:, degree * degree + degree + m]) / n
        rows = np.minimum(_by_order(l), (l + 1) ** 2 - 1)
        halved = waves / np.where(np.arange(l + 1) == 0, 1, 2)[:, None, None]  # cos mφ and sin mφ are halves of e^{imφ}
        found += [_parts(halved), rows[l:].ravel(), rows[l::-1].ravel()]
    total, lmax = 2 * (plan.degrees[0] + plan.degrees[1]) + 1, plan.degrees[2]
    u, k = (np.rint(np.fft.fftfreq(n, 1 / n)).astype(int) for n in (total, 2 * lmax + 1))
    sines = (_half_turn(u[:, None] + k + 1) - _half_turn(u[:, None] + k - 1)) / 2j
    integrals = 2 * np.pi * np.einsum("mkl,uk->mlu", waves, sines)
    l, m = np.array([(l, m) for l in range(lmax + 1) for m in range(-l, l + 1)]).T
    places = np.where(m < 0, (lmax + 1) ** 2, 0) + abs(m) * (lmax + 1) + l
    return *found[:6], _parts(integrals), places


def _parts(z: np.ndarray) -> np.ndarray:
    return np.stack([z.real, z.imag])


def _half_turn(k: np.ndarray) -> np.ndarray:
    """∫ e^{ikθ} over 0..π: π for k = 0, 0 for other even k, 2i/k for odd k."""
    odd = k % 2 == 1
    return np.where(k == 0, np.pi, 0) + np.where(odd, 2j / np.where(odd, k, 1), 0)


def _cg_tables(plan: Plan) -> tuple[np.ndarray, ...]:
    l1, l2, l3 = plan.degrees
    return tuple(
        _frozen(
            np.concatenate(
                [gaunt_factor(a, b, c) * clebsch_gordan(a, b, c).reshape(-1, 2 * c + 1).T for c in _partners(a, b, l3)]
            )
        )
        for a, b in _pairs(l1, l2, l3)
    )


def _pairs(l1: int, l2: int, l3: int) -> list[tuple[int, int]]:
    return [(a, b) for a in range(l1 + 1) for b in range(l2 + 1) if _partners(a, b, l3)]


# --- the products


def multiply(
    plan: Plan, constants: list[Tensor], x: Float[Tensor, "components1 n"], y: Float[Tensor, "components2 n"]
) -> Float[Tensor, "components_out n"]:
    """Columns times columns; constants: the tables of the plan as tensors. `x is y` is transformed once."""
    if plan.method == "cg":
        return _by_coefficients(plan, constants, x, y)
    if plan.method == "fourier":
        return _by_waves(plan, constants, x, y)
    f = to_points(plan, constants, x, 0)
    return from_points(plan, constants, f * (f if x is y else to_points(plan, constants, y, 1)))


def to_points(plan: Plan, constants: list[Tensor], x: Tensor, place: int) -> Float[Tensor, "points n"]:
    """Values of the factor `place` at the points, in an order of the plan's own."""
    if plan.method == "grid":
        return constants[place] @ x
    polar, azimuthal, rows = constants[3 * place : 3 * place + 3]
    rings = torch.bmm(polar, x.index_select(0, rows).unflatten(0, polar.shape[::2]))
    return (azimuthal @ rings.flatten(1)).reshape(-1, x.shape[1])


def from_points(plan: Plan, constants: list[Tensor], f: Float[Tensor, "points n"]) -> Tensor:
    """Coefficients of the output from values at the points."""
    if plan.method == "grid":
        return constants[2] @ f
    polar, azimuthal, places = constants[6:]
    n_beta, n_alpha = plan.grid.size
    rings = azimuthal @ f.reshape(n_alpha, -1)
    return torch.bmm(polar, rings.reshape(-1, n_beta, f.shape[1])).flatten(0, 1).index_select(0, places)


def _by_coefficients(plan: Plan, constants: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    out: list[Tensor | None] = [None] * (plan.degrees[2] + 1)
    for (a, b), table in zip(_pairs(*plan.degrees), constants):
        left, right = x[a * a : (a + 1) ** 2], y[b * b : (b + 1) ** 2]
        partners = _partners(a, b, plan.degrees[2])
        found = table @ (left[:, None] * right).flatten(0, 1)
        for l, part in zip(partners, found.split([2 * l + 1 for l in partners])):
            out[l] = part if out[l] is None else out[l] + part
    zero = x[:1] * 0
    return torch.cat([zero.expand(2 * l + 1, -1) if part is None else part for l, part in enumerate(out)])


def _by_waves(plan: Plan, constants: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Fourier series of both on the torus, their product by way of values, and the integrals of every mode."""
    l1, l2, lmax = plan.degrees
    n = 2 * (l1 + l2) + 1
    values = [_torus(z, n, l, *constants[3 * k : 3 * k + 3]) for k, (z, l) in enumerate(((x, l1), (y, l2)))]
    series = torch.fft.rfftn(values[0] * values[1], dim=(1, 0), norm="forward")[: lmax + 1]
    integrals, places = constants[6:]
    found = torch.complex(*integrals) @ series  # [m, l, columns]; orders m in the real part, -m in the imaginary
    return torch.cat([found.real.flatten(0, 1), -found.imag.flatten(0, 1)]).index_select(0, places)


def _torus(x: Tensor, n: int, lmax: int, table: Tensor, plus: Tensor, minus: Tensor) -> Float[Tensor, "phi theta n"]:
    """Values at n × n equispaced angles of the function, continued to θ beyond π."""
    real, imaginary = (x.index_select(0, rows).unflatten(0, (lmax + 1, -1)) for rows in (plus, minus))
    orders = torch.complex(real, torch.cat([torch.zeros_like(real[:1]), -imaginary[1:]]))
    waves = torch.complex(*table) @ orders  # [m, u, columns]
    gap = waves.new_zeros(lmax + 1, n - 2 * lmax - 1, x.shape[1])
    series = torch.cat([waves[:, : lmax + 1], gap, waves[:, lmax + 1 :]], 1)
    return torch.fft.irfftn(series, s=(n, n), dim=(1, 0), norm="forward")
