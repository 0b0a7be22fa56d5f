"""Representations of products: external tensor products, pulled factors, products of products."""

import pytest
import torch

from grids import seeded
from intertwine.groups import SO, Cyclic, DirectProduct, O, S, Sp
from intertwine.reps import outer, pull
from intertwine.reps.pullback import Pulled


def test_different_groups_multiply_externally():
    rep = (2 * S(3).V) * (SO(3).V + SO(3).trivial)
    assert rep.group == S(3) * SO(3)
    assert str(rep) == "2*V[0]*V[1] + 2*V[0]"
    p, R = g = rep.group.sample(4, generator=seeded())
    block = torch.stack([torch.kron(a, b) for a, b in zip(S(3).matrix(p), R)])
    assert torch.equal(rep.matrix(g)[:, :18:2, :18:2], block)


def test_outer_is_external_even_for_one_group():
    rep = outer(O(2).V, O(2).V)
    assert rep.group == O(2) * O(2)
    assert rep != O(2).V ** 2
    a, b = rep.group.sample(1, generator=seeded())
    assert (rep.matrix((a, b))[0] - torch.kron(a[0], b[0])).abs().max() < 1e-15


def test_products_of_products_shift_the_members():
    left, right = S(3).V * SO(3).V, Sp(2).V * Cyclic(5).irrep(1)
    assert str(left * right) == "V[0]*V[1]*V[2]*irrep(1)[3]"
    assert (left * right).group == S(3) * SO(3) * Sp(2) * Cyclic(5)
    assert (S(3).V * SO(3).V) * Sp(2).V == S(3).V * (SO(3).V * Sp(2).V)


def test_what_belongs_to_several_members_is_lifted_whole():
    """The regular representation and the determinant of a product are no tensor products of members' factors."""
    inner = S(2) * Cyclic(3)
    for rep in (inner.regular, inner.det, (inner.V + inner.regular).induce(inner)):
        lifted = rep * O(2).V
        g = lifted.group.sample(5, generator=seeded())
        expected = torch.stack([torch.kron(a, b) for a, b in zip(rep.matrix(g[:2]), g[2])])
        assert (lifted.matrix(g) - expected).abs().max() < 1e-15
    assert str(O(2).V * inner.regular) == "V[0]*regular[1:3]"
    assert (O(2).V * inner.regular).dual == O(2).V * inner.regular


def test_finite_members_stand_still_in_flows():
    rep = S(3).regular * SO(3).V
    X = rep.group.lie_algebra()
    assert (rep.algebra_matrix(X) - torch.stack([torch.kron(torch.eye(6).double(), x) for x in X[1]])).abs().max() == 0


def test_pull():
    group = S(3) * SO(3) * S(3)
    assert pull(group, 2, S(3).V) != pull(group, 0, S(3).V)
    assert pull(group, 0, S(3).V * SO(3).V) == group.pull(0, S(3).V) * group.pull(1, SO(3).V)
    assert pull(S(3), 0, S(3).V) == S(3).V
    assert pull(group, 1, SO(3).V + 2 * SO(3).trivial).dim == 5


@pytest.mark.parametrize("index", [-1, 3, 1.0])
def test_members_are_counted_from_zero(index):
    with pytest.raises(ValueError, match=r"pull: S\(3\) \* SO\(3\) has factors 0 to 1, got"):
        pull(S(3) * SO(3), index, S(3).V)


def test_the_wrong_member_is_named():
    with pytest.raises(
        ValueError, match=r"pull: factor 1 of S\(3\) \* SO\(3\) is SO\(3\), the representation is of S\(3\)"
    ):
        pull(S(3) * SO(3), 1, S(3).V)
    with pytest.raises(
        ValueError, match=r"factor 0 of S\(3\) \* SO\(3\) is S\(3\), the representation belongs to SO\(3\)"
    ):
        Pulled(DirectProduct((S(3), SO(3))), 0, SO(3).V.terms[0][0].factors[0])
    with pytest.raises(ValueError, match="has no factor 2"):
        Pulled(DirectProduct((S(3), SO(3))), 2, SO(3).V.terms[0][0].factors[0])


def test_adjoint_of_a_product_joins_those_of_its_members():
    group = O(2) * S(3) * SO(3)
    assert str(group.adjoint) == "adjoint[0] + adjoint[2]"
    assert group.adjoint.dim == len(group.lie_algebra()[0])
