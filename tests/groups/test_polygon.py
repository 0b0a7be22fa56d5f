"""Cyclic and dihedral groups: the meaning of their numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from intertwine.groups import Cyclic, Dihedral


def test_rotations_move_vertex_i_to_i_plus_k():
    assert Cyclic(4).permutation(torch.tensor([1, 3])).tolist() == [[1, 2, 3, 0], [3, 0, 1, 2]]
    assert Cyclic(4).V.act(torch.tensor(1), torch.arange(4)).tolist() == [3, 0, 1, 2]


def test_pairs_mean_reflect_then_rotate():
    f, r = torch.tensor([1, 0]), torch.tensor([0, 1])
    assert Dihedral(5).permutation(f).tolist() == [0, 4, 3, 2, 1]
    assert Dihedral(5).permutation(r).tolist() == [1, 2, 3, 4, 0]
    assert Dihedral(5).compose(r, f).tolist() == [1, 1]  # r f
    assert Dihedral(5).compose(f, r).tolist() == [1, 4]  # f r = r^-1 f


@given(st.integers(1, 9), *(st.integers(0, 1),) * 2, *(st.integers(0, 8),) * 2)
def test_the_product_rule(n, j1, j2, k1, k2):
    """(j1, k1)(j2, k2) = (j1 + j2 mod 2, k1 + (-1)^j1 k2 mod n)."""
    product = Dihedral(n).compose(torch.tensor([j1, k1 % n]), torch.tensor([j2, k2 % n]))
    assert product.tolist() == [(j1 + j2) % 2, (k1 + (-1) ** j1 * k2) % n]


def test_a_reflection_is_its_own_inverse():
    g = Dihedral(5).elements()
    assert torch.equal(Dihedral(5).inverse(g)[5:], g[5:])


def test_lists_hold_rotations_first():
    assert Cyclic(3).elements().tolist() == [0, 1, 2]
    assert Dihedral(3).elements().tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert Dihedral(1).generators().tolist() == [[1, 0]]
    assert Dihedral(3).generators().tolist() == [[0, 1], [1, 0]]
    assert Cyclic(1).generators().tolist() == []


@pytest.mark.parametrize("n", [1, 2])
def test_elements_stay_apart_where_vertices_do_not_tell_them_apart(n):
    group = Dihedral(n)
    assert len(group.permutation(group.elements()).unique(dim=0)) < group.order
    assert len(group.regular.permutation(group.elements()).unique(dim=0)) == group.order == 2 * n


def test_membership():
    assert Cyclic(3).contains_each(torch.tensor([-1, 0, 2, 3])).tolist() == [False, True, True, False]
    assert not Cyclic(3).contains(torch.tensor([0.0]))
    inside = Dihedral(3).contains_each(torch.tensor([[0, 0], [1, 2], [2, 0], [0, 3], [-1, 0]]))
    assert inside.tolist() == [True, True, False, False, False]
    assert not Dihedral(3).contains(torch.tensor([0, 0, 0]))
