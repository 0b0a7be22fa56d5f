"""Rotations, reflections and rigid motions: Haar measure, algebras in their documented order, homogeneous matrices."""

import math

import pytest
import torch

from grids import seeded
from intertwine.groups import SE, SO, E, O


def within_four_errors(values: torch.Tensor, expected: float) -> bool:
    return abs(values.mean() - expected) < 4 * values.std() / math.sqrt(len(values))


@pytest.mark.parametrize(
    "group, second, fourth", [(O(3), 1, 3), (SO(3), 1, 3), (O(2), 1, 3), (SO(2), 2, 6), (SO(4), 1, 4)], ids=str
)
def test_moments_of_the_trace_are_those_of_haar_measure(group, second, fourth):
    """E[tr^2] and E[tr^4] count the invariants of V^2 and V^4 (arXiv:2212.08630)."""
    trace = group.V.character(group.sample(20_000, generator=seeded()))
    assert within_four_errors(trace, 0)
    assert within_four_errors(trace**2, second)
    assert within_four_errors(trace**4, fourth)


@pytest.mark.parametrize("group", [O(3), SO(3)], ids=str)
def test_haar_measure_does_not_change_under_translation(group):
    """The mean of g_00 g_11 g_22 is the same after a fixed element on either side."""
    g = group.sample(20_000, generator=seeded(1))
    fixed = group.sample(1, generator=seeded(2))
    values = [M.diagonal(dim1=-2, dim2=-1).prod(-1) for M in (fixed @ g, g @ fixed)]
    expected = 1 / 6 if group == SO(3) else 0.0  # only det, the sum over signed permutations, survives: 1/3!
    assert all(within_four_errors(value, expected) for value in values)


def test_determinants():
    g = O(3).sample(4000, generator=seeded())
    assert within_four_errors(torch.linalg.det(g), 0)
    assert (torch.linalg.det(SO(4).sample(4000, generator=seeded())) > 0).all()


def test_the_algebra_of_rotations_is_listed_lexicographically():
    basis = SO(3).lie_algebra()
    for X, (i, j) in zip(basis, [(0, 1), (0, 2), (1, 2)], strict=True):
        assert (X[i, j], X[j, i], X.abs().sum()) == (1, -1, 2)
    assert torch.equal(O(3).lie_algebra(), basis)


def test_generators():
    assert torch.equal(O(3).generators(), torch.diag(torch.tensor([-1.0, 1, 1]).double())[None])
    assert SO(3).generators().shape == (0, 3, 3)
    assert torch.equal(E(2).generators(), torch.diag(torch.tensor([-1.0, 1, 1]).double())[None])
    assert SE(2).generators().shape == (0, 3, 3)


def test_motions_act_on_points_and_compose():
    group = E(2)
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]]).double()
    g = group.element(quarter, torch.tensor([5.0, 7.0]).double())
    x = torch.tensor([1.0, 0.0, 1.0]).double()
    assert (g @ x).tolist() == [5.0, 8.0, 1.0]
    assert (group.compose(group.inverse(g), g) - torch.eye(3)).abs().max() < 1e-12
    assert torch.equal(group.linear_part(g), quarter)
    assert group.translation_part(g).tolist() == [5.0, 7.0]
    assert group.linear == O(2)
    assert SE(2).linear == SO(2)
    assert torch.equal(group.element(quarter)[:2, 2], torch.zeros(2).double())


def test_translations_are_standard_normal():
    t = SE(3).translation_part(SE(3).sample(20_000, generator=seeded()))
    assert all(within_four_errors(t[:, i], 0) and within_four_errors(t[:, i] ** 2, 1) for i in range(3))


def test_the_algebra_of_motions_is_rotations_then_translations():
    basis = E(2).lie_algebra()
    assert basis[0].tolist() == [[0, 1, 0], [-1, 0, 0], [0, 0, 0]]
    assert basis[1].tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert basis[2].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("group", [O(3), SO(3), E(2), SE(2)], ids=str)
def test_membership(group):
    reflection = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    assert group.contains(torch.eye(3))
    assert group.contains(reflection) == (group in (O(3), E(2)))
    assert not group.contains(2 * torch.eye(3))
    assert not group.contains(torch.eye(2))
    assert not group.contains(torch.eye(3).long())
    assert not group.contains(torch.ones(3, 3))
    inside = group.contains_each(torch.stack([torch.eye(3), 2 * torch.eye(3)]))
    assert inside.tolist() == [True, False]


def test_the_last_row_of_a_motion_matters():
    g = torch.eye(3)
    g[2, 0] = 0.1
    assert not E(2).contains(g)
