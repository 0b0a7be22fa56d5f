"""Grids on the sphere: exact exactly as far as they say."""

import pytest
import torch
from torch.testing import assert_close

from intertwine import so3
from intertwine.so3 import S2Grid

EXACT = {"atol": 1e-13, "rtol": 0.0}
DEGREES = [0, 1, 2, 6, 9, 12]  # above 8 the transform is separated


def coefficients(generator, lmax: int, *batch: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(*batch, (lmax + 1) ** 2, channels, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("lmax", DEGREES)
@pytest.mark.parametrize("batch", [(), (0,), (2,), (2, 1)])
def test_there_and_back(lmax, batch, generator):
    x, grid = coefficients(generator, lmax, *batch), S2Grid.exact(lmax)
    values = grid.to_grid(x)
    assert values.shape == (*batch, len(grid), 3)
    Y = so3.spherical_harmonics(grid.points, lmax, normalization="integral")
    assert_close(values, Y @ x, **EXACT)
    assert_close(grid.from_grid(values, lmax), x, **EXACT)


@pytest.mark.parametrize("lmax", [1, 2, 3, 6])
def test_one_row_or_column_less_is_too_few(lmax, generator):
    x = coefficients(generator, lmax)
    for fewer in (S2Grid.gauss_legendre(lmax, 2 * lmax + 1), S2Grid.gauss_legendre(lmax + 1, 2 * lmax)):
        assert (fewer.from_grid(fewer.to_grid(x), lmax) - x).abs().max() > 0.1


def test_product_of_two_functions(generator):
    a, b = coefficients(generator, 2), coefficients(generator, 3)
    n_beta, n_alpha = (2 + 3 + 4) // 2 + 1, 2 + 3 + 4 + 1
    found = []
    for grid in (S2Grid.gauss_legendre(n_beta, n_alpha), S2Grid.exact(8)):
        found.append(grid.from_grid(grid.to_grid(a) * grid.to_grid(b), 4))
    assert_close(*found, **EXACT)


@pytest.mark.parametrize(
    "grid", [S2Grid.gauss_legendre(4, 7), S2Grid.uniform(5, 6), S2Grid.fibonacci(40), S2Grid.exact(3, order=3)]
)
def test_points_are_unit_vectors_and_weights_areas(grid):
    assert_close(grid.points.norm(dim=1), torch.ones(len(grid), dtype=torch.float64), **EXACT)
    assert_close(grid.weights.sum().item(), 4 * torch.pi, atol=1e-12, rtol=0)
    assert grid.points.shape == (len(grid), 3)
    one = grid.to_grid(torch.ones(1, 1, dtype=torch.float64))
    assert_close(grid.from_grid(one, 0), torch.ones(1, 1, dtype=torch.float64), **EXACT)


def test_exactness_is_sharp(generator):
    sizes = [(3, 9), (5, 6), (4, 8)]
    uniform = [S2Grid.uniform(*size) for size in [(3, 9), (4, 9), (6, 9), (9, 4)]]
    for grid in [S2Grid.gauss_legendre(*size) for size in sizes] + uniform:
        Y = so3.spherical_harmonics(grid.points, grid.exactness + 1, normalization="integral")
        sums = (grid.weights @ Y)[1:].abs()
        exact = (grid.exactness + 1) ** 2 - 1
        assert sums[:exact].max() < 1e-13 and sums[exact:].max() > 1e-3


@pytest.mark.parametrize("size", [(6, 7), (18, 17)])
def test_uniform_grids_are_e3nn_s(size, o3, float64_default, generator):
    x = torch.randn(9, generator=generator)
    grid, theirs = S2Grid.uniform(*size), o3.ToS2Grid(2, size, normalization="integral")
    back = o3.FromS2Grid(size, 2, normalization="integral")
    assert_close(grid.to_grid(x[:, None])[:, 0], theirs(x).flatten(), atol=1e-12, rtol=0)
    f = torch.randn(len(grid), generator=generator)
    assert_close(grid.from_grid(f[:, None], 2)[:, 0], back(f.view(size)), atol=1e-12, rtol=0)
    assert (grid.weights > 0).all()


def test_fibonacci_grids_improve():
    def gap(n):
        grid, one = S2Grid.fibonacci(n), torch.eye(49, dtype=torch.float64)
        return float((grid.from_grid(grid.to_grid(one), 6) - one).abs().max())

    assert 0.1 > gap(128) > 3 * gap(512) > 0


@pytest.mark.parametrize("lmax", [3, 10])
def test_rotating_the_function(lmax, generator):
    R = so3.random_rotation(generator=generator)
    x, grid = coefficients(generator, lmax), S2Grid.exact(lmax)
    turned = torch.cat([so3.wigner_D(l, R) @ x[l * l : (l + 1) ** 2] for l in range(lmax + 1)])
    there = so3.spherical_harmonics(grid.points @ R, lmax, normalization="integral") @ x
    assert_close(grid.to_grid(turned), there, atol=1e-12, rtol=0)


@pytest.mark.parametrize("lmax", [2, 9])
def test_gradients_and_single_precision(lmax, generator):
    grid = S2Grid.exact(lmax)
    x = coefficients(generator, lmax, channels=1).requires_grad_()
    f = grid.to_grid(x).detach().requires_grad_()
    (up,) = torch.autograd.grad(grid.to_grid(x).square().sum() / 2, x)
    weighted = grid.from_grid(grid.to_grid(x) / grid.weights[:, None], lmax)  # the transpose of to_grid
    assert_close(up, weighted, atol=1e-11, rtol=0)
    assert torch.autograd.grad(grid.from_grid(f, lmax).sum(), f)[0].shape == f.shape
    rough = grid.from_grid(grid.to_grid(x.detach().float()), lmax)
    assert rough.dtype == torch.float32 and (rough.double() - x).abs().max() < 1e-5 * x.abs().max()


def test_another_default_device_changes_nothing(generator):
    grids = S2Grid.gauss_legendre(11, 23), S2Grid.gauss_legendre(12, 25), so3.SO3Grid.product(4)  # in no cache yet
    xs = coefficients(generator, 3), coefficients(generator, 10), torch.ones(10, 1, dtype=torch.float64)
    with torch.device("meta"):
        values = [grid.to_grid(x) for grid, x in zip(grids, xs)]
    for grid, x, value in zip(grids, xs, values):
        assert_close(value, grid.to_grid(x), **EXACT)


def test_bad_input():
    with pytest.raises(ValueError, match=r"\[\.\., \(lmax\+1\)², channels\], got \(8, 1\)"):
        S2Grid.exact(2).to_grid(torch.ones(8, 1))
    with pytest.raises(ValueError, match=r"has 15 points, got values of shape \(14, 1\)"):
        S2Grid.exact(2).from_grid(torch.ones(14, 1), 2)
    with pytest.raises(ValueError, match="at least one point each way, got 0"):
        S2Grid.gauss_legendre(0, 3)
