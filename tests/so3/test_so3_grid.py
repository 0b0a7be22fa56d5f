"""Grids on SO(3): exact exactly as far as they say, and turned as `wigner_irreps` says."""

import math

import pytest
import torch
from torch.testing import assert_close

from intertwine import so3
from intertwine.so3 import SO3Grid, wigner_irreps

EXACT = {"atol": 1e-12, "rtol": 0.0}


def coefficients(generator, lmax: int, *batch: int, channels: int = 2) -> torch.Tensor:
    rows = sum((2 * l + 1) ** 2 for l in range(lmax + 1))
    return torch.randn(*batch, rows, channels, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("lmax", "points"), [(0, 1), (1, 18), (2, 75), (3, 196)])
@pytest.mark.parametrize("batch", [(), (0,), (2, 1)])
def test_there_and_back(lmax, points, batch, generator):
    x, grid = coefficients(generator, lmax, *batch), SO3Grid.product(lmax)
    values = grid.to_grid(x)
    assert values.shape == (*batch, points, 2) and len(grid) == points
    assert_close(grid.from_grid(values, lmax), x, **EXACT)


@pytest.mark.parametrize("lmax", [1, 2])
def test_values_are_the_sum_of_wigner_matrices(lmax, generator):
    x, grid = coefficients(generator, lmax), SO3Grid.hopf(0)
    expected, row = 0.0, 0
    for l in range(lmax + 1):
        a = x[row : (row := row + (2 * l + 1) ** 2)].reshape(2 * l + 1, 2 * l + 1, -1)
        expected = expected + math.sqrt(2 * l + 1) * torch.einsum("gmn,mnc->gc", so3.wigner_D(l, grid.rotations), a)
    assert_close(grid.to_grid(x), expected, **EXACT)


@pytest.mark.parametrize("lmax", [1, 2, 3])
def test_one_degree_more_is_too_much(lmax, generator):
    x, grid = coefficients(generator, lmax + 1), SO3Grid.product(lmax)
    assert (grid.from_grid(grid.to_grid(x), lmax + 1) - x).abs().max() > 0.1


def test_exactness_is_sharp():
    for lmax in (1, 2):
        grid = SO3Grid.product(lmax)
        below = sum((2 * l + 1) ** 2 for l in range(grid.exactness + 1))
        one = torch.eye(below + (2 * grid.exactness + 3) ** 2, dtype=torch.float64)
        sums = (grid.weights @ grid.to_grid(one))[1:].abs()
        assert sums[: below - 1].max() < 1e-13 and sums[below - 1 :].max() > 1e-3


@pytest.mark.parametrize("lmax", [1, 3])
def test_rotating_the_function(lmax, generator):
    grid, R = SO3Grid.hopf(0), so3.random_rotation(generator=generator)
    x = coefficients(generator, lmax)
    turned = wigner_irreps(lmax, 2).act(R, x.flatten()).view_as(x)
    values, row = 0.0, 0
    for l in range(lmax + 1):  # f(R⁻¹ g)
        a = x[row : (row := row + (2 * l + 1) ** 2)].reshape(2 * l + 1, 2 * l + 1, -1)
        D = so3.wigner_D(l, R.mT @ grid.rotations)
        values = values + math.sqrt(2 * l + 1) * torch.einsum("gmn,mnc->gc", D, a)
    assert_close(grid.to_grid(turned), values, **EXACT)


@pytest.mark.parametrize("level", [0, 1])
def test_hopf_grids(level):
    grid = SO3Grid.hopf(level)
    R = grid.rotations
    assert len(grid) == 72 * 8**level
    assert_close(R @ R.mT, torch.eye(3, dtype=torch.float64).expand_as(R), **EXACT)
    assert_close(grid.weights, torch.full((len(grid),), 1 / len(grid), dtype=torch.float64), **EXACT)
    poles = R[:: 6 * 2**level, :, 1]  # the points of the sphere: they lie evenly, their mean is the centre
    assert len(poles) == 12 * 4**level
    assert poles.mean(0).abs().max() < 1e-15
    apart = so3.geodesic_distance(R[:, None], R[None]) + 10 * torch.eye(len(R), dtype=torch.float64)
    nearest = apart.min(1).values
    assert nearest.min() > 0.4 / 2**level and nearest.max() < 1.1 / 2**level


def test_healpix_points_of_the_first_two_sizes():
    # Górski et al. 2005, eq. 4 to 9, by hand
    z = SO3Grid.hopf(0).rotations[::6, 1, 1]
    assert_close(z, torch.tensor([2 / 3, 0, -2 / 3], dtype=torch.float64).repeat_interleave(4), **EXACT)
    rings = SO3Grid.hopf(1).rotations[::12]
    heights = torch.tensor([11, 8, 4, 0, -4, -8, -11], dtype=torch.float64) / 12
    assert_close(rings[:, 1, 1], heights.repeat_interleave(torch.tensor([4, 8, 8, 8, 8, 8, 4])), **EXACT)
    longitudes = torch.atan2(rings[:, 0, 1], rings[:, 2, 1])
    expected = torch.tensor([math.pi / 4, math.pi / 8, 0.0, math.pi / 8], dtype=torch.float64)
    assert_close(longitudes[torch.tensor([0, 4, 12, 20])], expected, **EXACT)


def test_near_identity():
    grid, one = SO3Grid.near_identity(0.3, n_alpha=6, n_beta=2, n_gamma=3), torch.eye(3, dtype=torch.float64)
    assert len(grid) == 36
    assert_close(grid.weights.sum().item(), 1.0, **EXACT)
    angles = so3.geodesic_distance(one, grid.rotations)
    assert angles.max() < 0.3 * math.sqrt(2)
    assert grid.rotations[:, 1, 1].acos().max() < 0.3  # the tilt of y
    assert grid.exactness == 0
    wide = SO3Grid.near_identity(math.pi, n_alpha=8, n_beta=96, n_gamma=8)  # the whole group, by midpoints
    values = wide.to_grid(torch.eye(35, dtype=torch.float64))
    assert (wide.weights @ values)[1:].abs().max() < 1e-3


def test_gradients_and_single_precision(generator):
    grid = SO3Grid.product(2)
    x = coefficients(generator, 2).requires_grad_()
    f = grid.to_grid(x)
    (up,) = torch.autograd.grad(f.square().sum() / 2, x, retain_graph=True)
    assert_close(up, grid.from_grid(f / grid.weights[:, None], 2), atol=1e-11, rtol=0)
    rough = grid.from_grid(grid.to_grid(x.detach().float()), 2)
    assert rough.dtype == torch.float32 and (rough.double() - x).abs().max() < 1e-5 * x.abs().max()


def test_bad_input():
    with pytest.raises(ValueError, match=r"\[\.\., Σ \(2l\+1\)², channels\], got \(9, 1\)"):
        SO3Grid.product(1).to_grid(torch.ones(9, 1))
    with pytest.raises(ValueError, match=r"has 18 rotations, got values of shape \(14, 1\)"):
        SO3Grid.product(1).from_grid(torch.ones(14, 1), 1)
    with pytest.raises(ValueError, match="an integer of at least 0, got -1"):
        SO3Grid.product(-1)
    with pytest.raises(ValueError, match=r"an integer of at least 0, got 0\.5"):
        SO3Grid.hopf(0.5)
    with pytest.raises(ValueError, match="above 0 and at most π, got 4"):
        SO3Grid.near_identity(4)
    with pytest.raises(ValueError, match="at least one point each way, got 0"):
        SO3Grid.near_identity(n_beta=0)
    with pytest.raises(ValueError, match="an integer of at least 0, got -1"):
        wigner_irreps(-1)
