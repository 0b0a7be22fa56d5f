"""Products of functions on the sphere: every method against the coefficients, their algebra, and their derivatives."""

from functools import reduce

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from intertwine import so3
from intertwine.so3 import S2Grid, clebsch_gordan, gaunt_factor, gaunt_power, gaunt_product
from intertwine.so3.gaunt import explain, plan_for
from intertwine.so3.gaunt_methods import candidates, multiply, tables

EXACT = {"atol": 1e-13, "rtol": 1e-13}
DEGREES = [(2, 2, 4), (3, 3, 3), (1, 4, 5), (3, 2, 2), (0, 3, 3), (2, 2, 0), (0, 0, 0)]


def functions(generator, *shapes, dtype=torch.float64):
    """Random features, one for each (degree, ...)."""
    return [torch.randn(*batch, (lmax + 1) ** 2, c, generator=generator, dtype=dtype) for lmax, *batch, c in shapes]


def turned(x: torch.Tensor, R: torch.Tensor) -> torch.Tensor:
    """Features of parity (-1)^l, R of any determinant."""
    rows = [so3.wigner_D(l, R) @ x[..., l * l : (l + 1) ** 2, :] for l in range(round(x.shape[-2] ** 0.5))]
    return torch.cat(rows, -2)


def by_coefficients(x: torch.Tensor, y: torch.Tensor, lmax: int) -> torch.Tensor:
    """The definition: Σ g C x y."""
    found = []
    for l3 in range(lmax + 1):
        out = torch.zeros(*x.shape[:-2], 2 * l3 + 1, x.shape[-1], dtype=x.dtype)
        for l1 in range(round(x.shape[-2] ** 0.5)):
            for l2 in range(round(y.shape[-2] ** 0.5)):
                if abs(l1 - l2) <= l3 <= l1 + l2:
                    C = torch.tensor(clebsch_gordan(l1, l2, l3)) * gaunt_factor(l1, l2, l3)
                    a, b = x[..., l1 * l1 : (l1 + 1) ** 2, :], y[..., l2 * l2 : (l2 + 1) ** 2, :]
                    out += torch.einsum("ijk,...ic,...jc->...kc", C, a, b)
        found.append(out)
    return torch.cat(found, -2)


def test_factors():
    known = {(1, 1, 0): 0.488603, (1, 1, 2): 0.690988, (2, 2, 2): 0.753930, (3, 3, 6): 1.299233}
    for degrees, g in known.items():
        assert abs(gaunt_factor(*degrees) - g) < 5e-7
    grid = S2Grid.exact(3, order=3)
    Y = so3.spherical_harmonics(grid.points, 3, normalization="integral").numpy()
    for l1, l2, l3 in np.ndindex(4, 4, 4):
        a, b, c = (Y[:, l * l : (l + 1) ** 2] for l in (l1, l2, l3))
        integral = np.einsum("p,pi,pj,pk->ijk", grid.weights.numpy(), a, b, c)
        inside = abs(l1 - l2) <= l3 <= l1 + l2
        C = clebsch_gordan(l1, l2, l3) if inside else np.zeros(integral.shape)
        g = gaunt_factor(l1, l2, l3) if inside else 0.0
        np.testing.assert_allclose(integral, g * C, atol=1e-13)
        assert g >= 0 and (g > 0) == (inside and (l1 + l2 + l3) % 2 == 0)


@pytest.mark.parametrize("degrees", DEGREES)
def test_every_method_is_the_definition(degrees, generator):
    x, y = functions(generator, (degrees[0], 3, 2), (degrees[1], 3, 2))
    expected = by_coefficients(x, y, degrees[2])
    for method in ("auto", "grid", "fourier", "cg"):
        assert_close(gaunt_product(x, y, degrees[2], method=method), expected, **EXACT)
    columns = [z.movedim(1, 0).flatten(1) for z in (x, y, expected)]
    for plan in candidates(*degrees):  # also the way on the grid that is not the faster one
        constants = [torch.tensor(table) for table in tables(plan)]
        assert_close(multiply(plan, constants, *columns[:2]), columns[2], **EXACT)


def test_algebra(generator):
    x, y, z = functions(generator, (2, 3, 2), (1, 3, 2), (2, 3, 2))
    assert_close(gaunt_product(x, y, 3), gaunt_product(y, x, 3), **EXACT)
    left = gaunt_product(gaunt_product(x, y, 3), z, 5)
    assert_close(left, gaunt_product(x, gaunt_product(y, z, 3), 5), atol=1e-12, rtol=0)
    unit = torch.full((1, 1), (4 * torch.pi) ** 0.5, dtype=torch.float64)
    assert_close(gaunt_product(x, unit, 2), x, **EXACT)
    assert_close(gaunt_product(x[:, :1], y, 1), x[:, :1] * y / (4 * torch.pi) ** 0.5, **EXACT)


@pytest.mark.parametrize("method", ["grid", "fourier", "cg"])
def test_no_cross_product(method, generator):
    x, y = functions(generator, (1, 4, 3), (1, 4, 3))
    x[:, 0] = y[:, 0] = 0
    assert gaunt_product(x, y, 2, method=method)[:, 1:4].abs().max() < 1e-15


@pytest.mark.parametrize("batch", [(), (0,), (1,), (2, 3)])
def test_shapes_and_broadcasting(batch, generator):
    x, y = functions(generator, (2, *batch, 3), (1, 1))
    z = gaunt_product(x, y, 3)
    assert z.shape == (*batch, 16, 3) and z.is_contiguous()
    assert_close(z, by_coefficients(x, y.expand(*batch, 4, 3), 3), **EXACT)


def test_many_columns_go_in_chunks(generator):
    x, y = functions(generator, (3, 700, 16), (3, 700, 16))
    z = gaunt_product(x, y, 3, method="grid")
    assert_close(z[650:], gaunt_product(x[650:], y[650:], 3, method="grid"), **EXACT)


def test_powers(generator):
    (x,) = functions(generator, (2, 3, 2))
    assert_close(gaunt_power(x, 1, 2), x, **EXACT)
    assert_close(gaunt_power(x, 2, 4), gaunt_product(x, x, 4), atol=1e-12, rtol=0)
    cube = gaunt_product(gaunt_product(x, x, 4), x, 6)
    assert_close(gaunt_power(x, 3, 6), cube, atol=1e-12, rtol=0)
    assert_close(gaunt_power(x, 3, 2), cube[:, :9], atol=1e-12, rtol=0)
    fourth = gaunt_product(cube, x, 8)
    assert_close(gaunt_power(x, 4, 8), fourth, atol=1e-11, rtol=0)
    w = torch.randn(3, 3, 2, generator=generator, dtype=torch.float64)
    copies = [x * part.repeat_interleave(torch.tensor([1, 3, 5]), 0) for part in w]
    product = reduce(lambda a, b: gaunt_product(a, b, round(a.shape[1] ** 0.5) + 1), copies)
    assert_close(gaunt_power(x, 3, 6, weights=w), product, atol=1e-12, rtol=0)
    R = so3.random_rotation(generator=generator)
    assert_close(gaunt_power(turned(x, -R), 3, 2), turned(gaunt_power(x, 3, 2), -R), atol=1e-12, rtol=0)


@pytest.mark.parametrize("method", ["grid", "fourier", "cg"])
@pytest.mark.parametrize("degrees", [(2, 1, 3), (4, 4, 4)])
def test_equivariant_with_gradient(method, degrees, generator):
    l1, l2, l3 = degrees
    x, y, h = functions(generator, (l1, 3, 2), (l2, 3, 2), (l3, 3, 2))
    R = so3.random_rotation(generator=generator)
    for g in (R, -R):
        here = [x.clone().requires_grad_(), y.clone().requires_grad_()]
        there = [turned(z, g).requires_grad_() for z in (x, y)]
        z, moved = (gaunt_product(*pair, l3, method=method) for pair in (here, there))
        assert_close(moved, turned(z, g), atol=1e-12, rtol=0)
        slopes = torch.autograd.grad(z, here, h)
        for ours, theirs in zip(torch.autograd.grad(moved, there, turned(h, g)), slopes):
            assert_close(ours, turned(theirs, g), atol=1e-11, rtol=0)


@pytest.mark.parametrize("method", ["grid", "fourier"])
def test_high_degrees(method, generator):
    x, y = functions(generator, (11, 2, 2), (5, 2, 2))
    R = so3.random_rotation(generator=generator)
    moved = gaunt_product(turned(x, -R), turned(y, -R), 11, method=method)
    assert_close(moved, turned(gaunt_product(x, y, 11, method=method), -R), atol=1e-10, rtol=0)


@pytest.mark.parametrize("method", ["grid", "fourier", "cg"])
def test_single_precision(method, generator):
    x, y = functions(generator, (6, 5, 4), (6, 5, 4))
    R = so3.random_rotation(generator=generator)
    exact = turned(gaunt_product(x, y, 6), R)
    rough = gaunt_product(turned(x, R).float(), turned(y, R).float(), 6, method=method)
    assert rough.dtype == torch.float32
    assert (rough.double() - exact).abs().max() < 1e-5 * exact.abs().max()


@pytest.mark.parametrize("method", ["grid", "fourier", "cg"])
def test_derivatives(method, generator):
    x, y = (z.requires_grad_() for z in functions(generator, (2, 1), (1, 2, 1)))

    def product(x, y):
        return gaunt_product(x, y, 2, method=method)

    assert torch.autograd.gradcheck(product, (x, y))
    assert torch.autograd.gradgradcheck(product, (x, y))
    assert torch.autograd.gradcheck(lambda x: gaunt_product(x, x, 3, method=method), x)
    assert torch.autograd.gradgradcheck(lambda x: gaunt_product(x, x, 3, method=method), x)
    assert torch.autograd.gradcheck(lambda x: gaunt_power(x, 3, 2), x)
    many = torch.randn(4, 9, 1, generator=generator, dtype=torch.float64)
    slopes = torch.func.vmap(torch.func.grad(lambda x: product(x, y[0]).square().sum()))(many)
    one = torch.func.grad(lambda x: product(x, y[0]).square().sum())(many[2])
    assert_close(slopes[2], one, **EXACT)


def test_a_grid_of_your_own(generator):
    x, y = functions(generator, (2, 3, 2), (2, 3, 2))
    z = gaunt_product(x, y, 2)
    assert_close(gaunt_product(x, y, 2, grid=S2Grid.exact(2, order=3)), z, **EXACT)
    assert_close(gaunt_product(x, y, 2, grid=S2Grid.gauss_legendre(9, 12)), z, **EXACT)
    small = S2Grid.exact(2)
    with pytest.raises(ValueError, match=r"exact up to degree 4, degrees \(2, 2, 2\) need 6"):
        gaunt_product(x, y, 2, grid=small)
    assert (gaunt_product(x, y, 2, grid=small, allow_alias=True) - z).abs().max() > 1e-3
    near = gaunt_product(x, y, 2, grid=S2Grid.fibonacci(4000), allow_alias=True)
    assert_close(near, z, atol=1e-3, rtol=0)


def test_auto_takes_the_cheapest():
    assert plan_for("product", (6, 6, 6), "auto").method in ("grid", "rings")
    assert plan_for("product", (8, 8, 16), "grid").method == "rings"
    assert plan_for("product", (0, 3, 3), "auto").method == "cg"  # a factor for each sample
    for degrees in DEGREES:
        best = min(candidates(*degrees), key=lambda plan: plan.seconds)
        assert plan_for("product", degrees, "auto") == best
        assert explain(*degrees).splitlines()[1].split()[0] == best.method


def test_cost_follows_the_degree():
    """Operations by the degree, all degrees to all of twice the degree: what the paper's speed rests on."""
    cost = {plan.method: [] for plan in candidates(8, 8, 16)}
    for lmax in (8, 16):
        for plan in candidates(lmax, lmax, 2 * lmax):
            cost[plan.method].append(plan.cost()[0])
    exponent = {method: np.log2(b / a) for method, (a, b) in cost.items()}
    assert exponent["rings"] < 3.1 and exponent["grid"] < 4.1 and exponent["fourier"] < 3.3 and exponent["cg"] > 4.5


def test_errors(generator):
    x, y = functions(generator, (2, 3, 2), (1, 3, 2))
    with pytest.raises(ValueError, match="give none above their sum, not 4"):
        gaunt_product(x, y, 4)
    with pytest.raises(ValueError, match="gaunt_product: y: expected shape"):
        gaunt_product(x, y[:, :3], 2)
    with pytest.raises(ValueError, match="'magic' is not one of auto, grid, fourier, cg"):
        gaunt_product(x, y, 2, method="magic")
    with pytest.raises(ValueError, match="'cg' needs no grid"):
        gaunt_product(x, y, 2, method="cg", grid=S2Grid.exact(3, order=3))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        gaunt_power(x, 0, 2)
    with pytest.raises(ValueError, match="none above 4, asked for 5"):
        gaunt_power(x, 2, 5)
    with pytest.raises(ValueError, match=r"weights must be \[2, 3, channels\]"):
        gaunt_power(x, 2, 2, weights=torch.ones(2, 2))
