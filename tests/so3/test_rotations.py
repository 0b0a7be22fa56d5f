"""Rotations in every form: exact round trips, half turns, poles, and the convention of the angles."""

import math

import pytest
import torch
from hypothesis import given
from torch.testing import assert_close

from hard_rotations import HARD, about, quaternions, rotation
from intertwine import so3

EXACT = {"atol": 1e-12, "rtol": 0.0}


def test_random_rotations_are_rotations_and_uniform(generator):
    R = so3.random_rotation(20000, generator=generator)
    assert_close(R @ R.mT, torch.eye(3, dtype=torch.float64).expand_as(R), **EXACT)
    assert_close(torch.linalg.det(R), torch.ones(20000, dtype=torch.float64), **EXACT)
    # uniform on SO(3): the mean of R is 0, that of R_ij² is 1/3, the mean angle is π/2 + 2/π
    assert R.mean(0).abs().max() < 0.02
    assert (R.square().mean(0) - 1 / 3).abs().max() < 0.02
    angle = so3.geodesic_distance(torch.eye(3, dtype=torch.float64), R)
    assert abs(angle.mean() - (math.pi / 2 + 2 / math.pi)) < 0.02


def test_random_rotations_repeat_and_follow_the_dtype():
    draws = [so3.random_rotation(2, 3, generator=torch.Generator().manual_seed(5)) for _ in range(2)]
    assert draws[0].shape == (2, 3, 3, 3)
    assert torch.equal(*draws)
    assert so3.random_rotation(generator=torch.Generator(), dtype=torch.float32).dtype == torch.float32


@given(quaternions, quaternions)
def test_quaternion_product_is_the_matrix_product(p, q):
    a, b = torch.tensor(p, dtype=torch.float64), torch.tensor(q, dtype=torch.float64)
    product = torch.cat(
        [
            (a[0] * b[0] - a[1:] @ b[1:])[None],
            a[0] * b[1:] + b[0] * a[1:] + torch.linalg.cross(a[1:], b[1:]),
        ]
    )
    assert_close(so3.quaternion_to_matrix(product), rotation(p) @ rotation(q), **EXACT)


@given(quaternions)
def test_round_trips(q):
    R = rotation(q)
    assert_close(so3.quaternion_to_matrix(so3.matrix_to_quaternion(R)), R, **EXACT)
    assert_close(so3.axis_angle_to_matrix(*so3.matrix_to_axis_angle(R)), R, **EXACT)
    assert_close(so3.angles_to_matrix(*so3.matrix_to_angles(R)), R, **EXACT)


@pytest.mark.parametrize("R", HARD, ids=range(len(HARD)))
def test_round_trips_at_the_identity_half_turns_and_poles(R):
    assert_close(so3.quaternion_to_matrix(so3.matrix_to_quaternion(R)), R, **EXACT)
    assert_close(so3.axis_angle_to_matrix(*so3.matrix_to_axis_angle(R)), R, **EXACT)
    assert_close(so3.angles_to_matrix(*so3.matrix_to_angles(R)), R, **EXACT)


def test_angles_are_e3nn_s(o3, generator):
    R = so3.random_rotation(50, generator=generator)
    for ours, theirs in zip(so3.matrix_to_angles(R), o3.matrix_to_angles(R)):
        assert_close(ours, theirs, atol=1e-7, rtol=0.0)  # theirs takes an arccosine
    angles = torch.rand(3, 50, generator=generator, dtype=torch.float64)
    assert_close(so3.angles_to_matrix(*angles), o3.angles_to_matrix(*angles), **EXACT)


def test_angles_broadcast():
    one = torch.tensor(0.3, dtype=torch.float64)
    assert so3.angles_to_matrix(one, torch.zeros(4, 1, dtype=torch.float64), one).shape == (4, 1, 3, 3)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, math.pi - 1e-9, math.pi])
def test_geodesic_distance_is_accurate_at_both_ends(angle, generator):
    R = so3.random_rotation(generator=generator)
    found = so3.geodesic_distance(R, R @ about([0.3, -0.2, 0.9], angle))
    assert abs(found.item() - angle) < 1e-15 + 1e-12 * angle + (1e-8 if angle == math.pi else 0)


def test_procrustes_finds_the_motion(generator):
    x = torch.randn(4, 10, 3, generator=generator, dtype=torch.float64)
    R, t = so3.random_rotation(4, generator=generator), torch.randn(4, 3, generator=generator, dtype=torch.float64)
    y = x @ R.mT + t[:, None]
    y[:, 0] += 100  # an outlier of weight zero
    w = torch.ones(4, 10, dtype=torch.float64)
    w[:, 0] = 0
    found, shift = so3.procrustes(x, y, w)
    assert_close(found, R, **EXACT)
    assert_close(shift, t, **EXACT)


def test_procrustes_gives_a_proper_rotation_for_a_mirror_image(generator):
    x = torch.randn(10, 3, generator=generator, dtype=torch.float64)
    R, _ = so3.procrustes(x, -x)
    assert_close(torch.linalg.det(R), torch.tensor(1.0, dtype=torch.float64), **EXACT)


def test_procrustes_names_both_shapes():
    with pytest.raises(ValueError, match=r"\(4, 3\), y has \(5, 3\)"):
        so3.procrustes(torch.zeros(4, 3), torch.zeros(5, 3))
