"""Unitary groups as real matrices: Haar measure, the complex structure, the determinant."""

import math

import pytest
import torch

from grids import seeded
from intertwine.groups import SU, U
from intertwine.groups.unitary import complex_form, real_form


def within_four_errors(values: torch.Tensor, expected: float) -> bool:
    return abs(values.mean() - expected) < 4 * values.std() / math.sqrt(len(values))


def test_the_real_form_multiplies_as_complex_matrices_do():
    generator = seeded()
    real, imaginary = torch.randn(2, 2, 5, 3, 3, generator=generator, dtype=torch.float64)
    u, v = torch.complex(real, imaginary)
    assert (real_form(u @ v) - real_form(u) @ real_form(v)).abs().max() < 1e-12
    assert (complex_form(real_form(u)) - u).abs().max() == 0
    J = U(3).complex_structure()
    assert J[:3, 3:].tolist() == (-torch.eye(3)).tolist()
    assert torch.equal(J @ J, -torch.eye(6).double())
    assert (real_form(1j * u) - J @ real_form(u)).abs().max() < 1e-15


@pytest.mark.parametrize(
    "group, second, fourth", [(U(1), 2, 6), (U(2), 2, 12), (SU(2), 4, 32), (SU(3), 2, 12)], ids=str
)
def test_moments_of_the_trace_are_those_of_haar_measure(group, second, fourth):
    """E[chi^2] = 4 for SU(2) on R^4, and the table of maps for the others."""
    trace = group.V.character(group.sample(20_000, generator=seeded()))
    assert within_four_errors(trace, 0)
    assert within_four_errors(trace**2, second)
    assert within_four_errors(trace**4, fourth)


def test_determinants():
    generator = seeded()
    turned = torch.linalg.det(complex_form(U(2).sample(2000, generator=generator)))
    assert (turned.abs() - 1).abs().max() < 1e-12
    assert within_four_errors(turned.real, 0)
    assert (torch.linalg.det(complex_form(SU(3).sample(200, generator=generator))) - 1).abs().max() < 1e-12


def test_the_algebra_is_skew_hermitian_in_the_documented_order():
    X = complex_form(U(2).lie_algebra())
    assert X[0].tolist() == [[0, 1], [-1, 0]]
    assert X[1].tolist() == [[0, 1j], [1j, 0]]
    assert X[2].tolist() == [[1j, 0], [0, 0]]
    assert complex_form(SU(2).lie_algebra())[2].tolist() == [[1j, 0], [0, -1j]]
    for group in (U(3), SU(3)):
        X = complex_form(group.lie_algebra())
        assert (X + X.mH).abs().max() == 0


def test_membership():
    phase = real_form(torch.tensor([[1j]]) * torch.eye(2))
    flip = torch.diag(torch.tensor([1.0, 1.0, -1.0, -1.0]))  # complex conjugation
    assert U(2).contains(phase)
    assert not SU(2).contains(phase)
    assert not U(2).contains(flip)
    assert not U(2).contains(2 * torch.eye(4))
    assert not U(2).contains(torch.eye(2))
