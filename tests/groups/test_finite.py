"""Permutation groups: which way permutations compose and move things, and that samples are uniform."""

import math

import pytest
import torch
from scipy.stats import chi2

from grids import seeded
from intertwine.groups import A, Cyclic, Dihedral, O, S, Trivial
from intertwine.groups.finite import parity, permutation_matrix


def test_permutations_move_i_to_its_image():
    p = torch.tensor([2, 0, 1])  # 0 -> 2, 1 -> 0, 2 -> 1
    x = torch.tensor([10.0, 11.0, 12.0])
    assert S(3).V.act(p, x).tolist() == [11.0, 12.0, 10.0]
    assert (permutation_matrix(p, x.dtype) @ x).tolist() == [11.0, 12.0, 10.0]
    assert S(3).matrix(p).tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_composition_applies_the_right_one_first():
    g, h = torch.tensor([1, 0, 2]), torch.tensor([0, 2, 1])
    assert S(3).compose(g, h).tolist() == [1, 2, 0]  # h: 1 -> 2, then g: 2 -> 2
    assert S(3).inverse(torch.tensor([1, 2, 0])).tolist() == [2, 0, 1]


def test_lists_are_lexicographic():
    assert S(3).elements().tolist() == [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    assert A(3).elements().tolist() == [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    assert A(4).elements()[:3].tolist() == [[0, 1, 2, 3], [0, 2, 3, 1], [0, 3, 1, 2]]


def test_generators_are_the_documented_ones():
    assert S(4).generators().tolist() == [[1, 0, 2, 3], [1, 2, 3, 0]]
    assert A(4).generators().tolist() == [[1, 2, 0, 3], [1, 3, 2, 0]]
    assert [S(1).generators().shape, A(1).generators().shape, A(2).generators().shape] == [(0, 1), (0, 1), (0, 2)]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_parity_is_the_determinant(n):
    elements = S(n).elements()
    assert torch.equal(parity(elements).double(), torch.linalg.det(permutation_matrix(elements)).round())
    assert parity(elements).sum() == (1 if n == 1 else 0)


@pytest.mark.parametrize(
    "group", [S(4), S(3), A(4), A(5), A(2), Dihedral(5), Dihedral(2), Cyclic(7), O(1), S(3) * Cyclic(2)], ids=str
)
def test_samples_are_uniform(group):
    draws = 200 * group.order
    counts = group.index(group.sample(draws, generator=seeded())).bincount(minlength=group.order)
    statistic = float(((counts - 200) ** 2 / 200).sum())
    assert chi2.ppf(0.0005, group.order - 1) <= statistic <= chi2.ppf(0.9995, group.order - 1) or group.order == 1


def test_fixed_points_of_permutations_have_mean_and_variance_one():
    fixed = S(6).V.character(S(6).sample(20_000, generator=seeded()))
    error = fixed.std() / math.sqrt(len(fixed))
    assert abs(fixed.mean() - 1) < 4 * error
    squares = (fixed - 1) ** 2
    assert abs(squares.mean() - 1) < 4 * squares.std() / math.sqrt(len(fixed))


def test_membership():
    assert S(3).contains(torch.tensor([[2, 1, 0], [0, 1, 2]]))
    assert S(3).contains_each(torch.tensor([[2, 1, 0], [0, 1, 1]])).tolist() == [True, False]
    assert not S(3).contains(torch.tensor([0, 1]))
    assert not S(3).contains(torch.tensor([0.0, 1.0, 2.0]))
    assert not S(3).contains(torch.tensor([0, 1, 3]))
    assert A(3).contains_each(torch.tensor([[1, 2, 0], [1, 0, 2]])).tolist() == [True, False]
    assert not A(3).contains(torch.tensor([0, 1, 2, 3]))
    assert Trivial().contains_each(torch.tensor([0, 1])).tolist() == [True, False]


def test_trivial_groups_print_and_act_on_any_space():
    assert str(Trivial()) == "Trivial()"
    assert str(Trivial(4)) == "Trivial(4)"
    x = torch.randn(3, 4, generator=seeded())
    assert torch.equal(Trivial(4).V.act(torch.zeros(3, dtype=torch.int64), x), x)
