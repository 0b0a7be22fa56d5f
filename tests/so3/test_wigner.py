"""Clebsch-Gordan tensors, generators and Wigner matrices: laws to 1e-12, and e3nn as a referee."""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from hard_rotations import HARD, quaternions, rotation
from intertwine import so3

EXACT = {"atol": 1e-12, "rtol": 0.0}
GOLDEN = json.loads((Path(__file__).parent / "golden" / "wigner.json").read_text())


def triples(lmax: int, l3max: int):
    return [
        (a, b, c) for a in range(lmax + 1) for b in range(lmax + 1) for c in range(abs(a - b), min(a + b, l3max) + 1)
    ]


# --- Clebsch-Gordan


@pytest.mark.parametrize("name", sorted(GOLDEN["clebsch_gordan"]))
def test_golden_signs_and_orders(name):
    C = so3.clebsch_gordan(*map(int, name.split()))
    found = {" ".join(map(str, index)): C[tuple(index)] for index in np.argwhere(C)}
    expected = GOLDEN["clebsch_gordan"][name]
    assert found.keys() == expected.keys()
    for index, value in expected.items():
        assert abs(found[index] - value) < 1e-15, index


def test_low_degrees_are_delta_and_epsilon():
    epsilon = np.zeros((3, 3, 3))
    epsilon[[0, 1, 2], [1, 2, 0], [2, 0, 1]], epsilon[[0, 2, 1], [2, 1, 0], [1, 0, 2]] = 1, -1
    np.testing.assert_allclose(so3.clebsch_gordan(1, 1, 1), epsilon / 6**0.5, atol=1e-15)
    np.testing.assert_allclose(so3.clebsch_gordan(1, 1, 0)[..., 0], np.eye(3) / 3**0.5, atol=1e-15)


def test_equal_to_e3nn_up_to_degree_eight(o3):
    for l1, l2, l3 in triples(8, 8):
        if l1 <= l2 <= l3:  # e3nn fills the other orders from these
            theirs = o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()
            np.testing.assert_allclose(so3.clebsch_gordan(l1, l2, l3), theirs, atol=1e-14, err_msg=f"{l1} {l2} {l3}")
    for l1, l2, l3 in triples(3, 6):
        theirs = o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()
        np.testing.assert_allclose(so3.clebsch_gordan(l1, l2, l3), theirs, atol=1e-14, err_msg=f"{l1} {l2} {l3}")


def test_columns_are_orthonormal_and_degrees_apart():
    for l1, l2 in [(0, 3), (1, 1), (2, 3), (4, 4), (5, 12)]:
        columns = [
            (2 * l3 + 1) ** 0.5 * so3.clebsch_gordan(l1, l2, l3).reshape(-1, 2 * l3 + 1)
            for l3 in range(abs(l1 - l2), l1 + l2 + 1)
        ]
        U = np.concatenate(columns, 1)
        np.testing.assert_allclose(U.T @ U, np.eye(len(U)), atol=1e-13)


def test_invariance(generator):
    R = so3.random_rotation(generator=generator)
    for l1, l2, l3 in [(1, 1, 1), (2, 3, 4), (5, 5, 7), (12, 3, 10)]:
        C = torch.tensor(so3.clebsch_gordan(l1, l2, l3))
        D1, D2, D3 = (so3.wigner_D(l, R) for l in (l1, l2, l3))
        assert_close(torch.einsum("ijk,ai,bj,ck->abc", C, D1, D2, D3), C, **EXACT)


def test_exchanging_inputs_changes_the_sign_of_odd_sums_only():
    for l1, l2, l3 in triples(4, 8):
        sign = (-1) ** (l1 + l2 + l3)
        swapped = so3.clebsch_gordan(l2, l1, l3).transpose(1, 0, 2)
        np.testing.assert_allclose(so3.clebsch_gordan(l1, l2, l3), sign * swapped, atol=1e-15)


def test_counts_of_entries_are_sharp():
    full, natural = [], []
    for L in range(1, 6):
        counts = {t: np.count_nonzero(so3.clebsch_gordan(*t)) for t in triples(L, 2 * L)}
        full.append(sum(counts.values()))
        natural.append(sum(n for t, n in counts.items() if t[2] <= L and sum(t) % 2 == 0))
    assert full == [27, 244, 1132, 3741, 9691]
    assert natural == [10, 83, 353, 1158, 2907]


def test_outside_the_triangle_it_is_zero():
    assert not so3.clebsch_gordan(1, 1, 3).any()
    assert so3.clebsch_gordan(1, 1, 3).shape == (3, 3, 7)


def test_constants_are_read_only():
    for table in (so3.clebsch_gordan(1, 1, 1), so3.generators(2)):
        assert table.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 1


@pytest.mark.parametrize("bad", [-1, 1.0, True])
def test_degrees_are_checked(bad):
    with pytest.raises(ValueError, match="integer of at least 0"):
        so3.clebsch_gordan(1, bad, 1)
    with pytest.raises(ValueError, match="integer of at least 0"):
        so3.wigner_D(bad, torch.eye(3))


# --- generators


@pytest.mark.parametrize("l", [0, 1, 2, 5, 12])
def test_generators(l):
    X, Y, Z = so3.generators(l)
    for a, b, c in ((X, Y, Z), (Y, Z, X), (Z, X, Y)):
        np.testing.assert_allclose(a @ b - b @ a, c, atol=1e-12)
        np.testing.assert_array_equal(a, -a.T)
    casimir = X @ X + Y @ Y + Z @ Z
    np.testing.assert_allclose(casimir, -l * (l + 1) * np.eye(2 * l + 1), atol=1e-11)


def test_generators_are_the_slopes_of_D():
    for k, axis in enumerate(torch.eye(3, dtype=torch.float64)):
        for l in (1, 2, 3):
            R = so3.axis_angle_to_matrix(axis, 0.7)
            expected = torch.linalg.matrix_exp(0.7 * torch.tensor(so3.generators(l)[k]))
            assert_close(so3.wigner_D(l, R), expected, **EXACT)


def test_a_turn_about_y_mixes_m_with_minus_m():
    angle, l = torch.tensor(0.4, dtype=torch.float64), 3
    D = so3.wigner_D(l, so3.axis_angle_to_matrix(torch.tensor([0.0, 1, 0], dtype=torch.float64), angle))
    v = torch.arange(1.0, 8, dtype=torch.float64)
    m = torch.arange(-l, l + 1)
    assert_close(D @ v, torch.cos(m * angle) * v - torch.sin(m * angle) * v.flip(0), **EXACT)


# --- D


@lru_cache
def points() -> torch.Tensor:
    r = torch.randn(5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return r / r.norm(dim=-1, keepdim=True)


def check_laws(R: torch.Tensor, S: torch.Tensor, lmax: int) -> None:
    Y, turned = so3.spherical_harmonics(points(), lmax), so3.spherical_harmonics(points() @ R.mT, lmax)
    for l in range(lmax + 1):
        D = so3.wigner_D(l, R)
        rows = slice(l * l, (l + 1) ** 2)
        assert_close(D @ so3.wigner_D(l, S), so3.wigner_D(l, R @ S), **EXACT)
        assert_close(D.mT @ D, torch.eye(2 * l + 1, dtype=torch.float64), **EXACT)
        assert_close(turned[:, rows], Y[:, rows] @ D.mT, **EXACT)


@pytest.mark.parametrize("R", HARD, ids=range(len(HARD)))
def test_laws_at_the_identity_half_turns_and_poles(R):
    check_laws(R, HARD[4], 12)
    check_laws(-R, HARD[4], 6)
    assert_close(so3.wigner_D(1, R), R, **EXACT)


@given(quaternions, quaternions, st.sampled_from([1, -1]), st.sampled_from([1, -1]), st.integers(0, 6))
def test_wigner_is_a_homomorphism(p, q, s, t, lmax):
    check_laws(s * rotation(p), t * rotation(q), lmax)


def test_equal_to_e3nn(o3, generator, float64_default):  # else e3nn's own tables are read in float32
    R = so3.random_rotation(10, generator=generator)
    angles = so3.matrix_to_angles(R)
    for l in range(9):
        theirs = o3.wigner_D(l, *angles)
        assert_close(so3.wigner_D(l, R), theirs, atol=1e-12, rtol=0.0)
        assert_close(so3.wigner_D_from_angles(l, *angles), theirs, atol=1e-12, rtol=0.0)


def test_golden_matrix():
    R = so3.angles_to_matrix(*torch.tensor(GOLDEN["angles"], dtype=torch.float64))
    assert_close(so3.wigner_D(2, R), torch.tensor(GOLDEN["D2"], dtype=torch.float64), atol=1e-14, rtol=0.0)


def test_irreps_give_the_matrix_of_the_whole_feature(generator):
    irreps, R = so3.Irreps("2x1o + 1x2e + 1x0o"), -so3.random_rotation(generator=generator)
    D = so3.wigner_D(irreps, R)
    assert D.shape == (12, 12)
    x = irreps.randn(generator=generator, dtype=torch.float64)
    assert_close(D @ x, irreps.act(R, x), **EXACT)
    vectors = torch.kron(R, torch.eye(2, dtype=torch.float64))  # components first, channels last
    assert_close(D[:6, :6], vectors, **EXACT)


def test_batches_dtypes_and_derivatives(generator):
    R = so3.random_rotation(2, 3, generator=generator)
    assert so3.wigner_D(4, R).shape == (2, 3, 9, 9)
    assert so3.wigner_D(4, R.float()).dtype == torch.float32
    assert_close(so3.wigner_D(6, R.float()).double(), so3.wigner_D(6, R), atol=2e-5, rtol=0.0)
    assert torch.autograd.gradcheck(lambda R: so3.wigner_D(3, R), R[0, 0].clone().requires_grad_())
    with pytest.raises(ValueError, match=r"\[..., 3, 3\], got \(2, 3\)"):
        so3.wigner_D(2, torch.zeros(2, 3))


def test_compiles_whole(generator):
    compiled = torch.compile(lambda R: so3.wigner_D(3, R), fullgraph=True, dynamic=True, backend="aot_eager")
    for n in (2, 5):
        R = so3.random_rotation(n, generator=generator)
        assert_close(compiled(R), so3.wigner_D(3, R), **EXACT)
