"""Logarithms of positive and of rotation matrices: against scipy, and where several angles are equal or π."""

import math

import pytest
import scipy.linalg
import torch

from grids import seeded
from intertwine.groups import SO, GLPlus
from intertwine.groups.matrix_log import log_rotation, polar_parts, sinhc


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_log_rotation_is_the_principal_one(n):
    R = SO(n).sample(20, generator=seeded())
    Y = log_rotation(R)
    assert (Y + Y.mT).abs().max() < 1e-12
    assert (torch.linalg.matrix_exp(Y) - R).abs().max() < 1e-12
    assert torch.linalg.eigvals(Y).imag.abs().max() <= math.pi + 1e-12
    assert max(abs(scipy.linalg.logm(r.numpy()) - y.numpy()).max() for r, y in zip(R, Y)) < 1e-7


@pytest.mark.parametrize("angles", [(0.0, 0.0), (1.0, 1.0), (1.0, -1.0), (math.pi, 0.5), (math.pi, math.pi)])
def test_log_rotation_with_angles_that_coincide(angles):
    planes = []
    for angle in angles:
        c, s = math.cos(angle), math.sin(angle) * (angle != math.pi)
        planes.append(torch.tensor([[c, -s], [s, c]], dtype=torch.float64))
    axes = SO(5).sample(1, generator=seeded())[0]
    R = axes @ torch.block_diag(*planes, torch.ones(1, 1, dtype=torch.float64)) @ axes.mT
    Y = log_rotation(R.requires_grad_())
    assert (torch.linalg.matrix_exp(Y) - R).abs().max() < 1e-12
    found = sorted(torch.linalg.eigvals(Y.detach()).imag.abs().tolist())
    assert found == pytest.approx(sorted([0, *(abs(angle) for angle in angles for _ in range(2))]), abs=1e-7)
    (slope,) = torch.autograd.grad(Y.square().sum(), R)
    assert slope.isfinite().all()


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_polar_parts_are_those_of_scipy(n):
    g = GLPlus(n).sample(10, generator=seeded())
    X, R = polar_parts(g)
    for one, x, r in zip(g, X, R):
        rotation, positive = scipy.linalg.polar(one.numpy(), side="left")
        assert abs(rotation - r.numpy()).max() < 1e-11
        assert abs(positive - torch.linalg.matrix_exp(x).numpy()).max() < 1e-11 * abs(positive).max()


def test_batches_of_any_shape():
    for shape in ((), (0,), (2, 3)):
        R = SO(3).sample(math.prod(shape), generator=seeded()).reshape(*shape, 3, 3)
        assert log_rotation(R).shape == R.shape
        assert polar_parts(R)[0].shape == R.shape


def test_sinhc_is_smooth_at_zero():
    x = torch.tensor([0.0, 1e-6, 1e-3, -2.0], dtype=torch.float64)
    assert sinhc(x).tolist() == pytest.approx([1, 1 + 1e-12 / 6, 1 + 1e-6 / 6, math.sinh(2) / 2], rel=1e-12)
