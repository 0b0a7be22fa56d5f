"""Direct products: flat, associative, member by member."""

import pytest
import torch

from grids import distance, seeded
from intertwine.groups import SO, DirectProduct, E, O, S, Trivial
from intertwine.groups.product import parts, product


def test_products_are_flat_and_associative():
    left, right = (S(3) * O(2)) * SO(3), S(3) * (O(2) * SO(3))
    assert left == right == product(S(3), O(2), SO(3)) == DirectProduct((S(3) * O(2), SO(3)))
    assert str(left) == "S(3) * O(2) * SO(3)"
    assert left.factors == (S(3), O(2), SO(3))
    assert parts(S(3)) == (S(3),)
    assert S(3) * O(2) != O(2) * S(3)


def test_products_need_groups():
    with pytest.raises(TypeError, match="factors must be groups, got 3"):
        DirectProduct((S(2), 3))
    with pytest.raises(ValueError, match="at least one group"):
        DirectProduct(())


def test_V_is_the_tensor_product():
    group = S(2) * O(3)
    g = group.sample(4, generator=seeded())
    expected = torch.stack([torch.kron(S(2).matrix(p), R) for p, R in zip(*g)])
    assert group.dim_V == 6
    assert torch.equal(group.matrix(g), expected)
    assert torch.equal(group.V.matrix(g), expected)


def test_the_first_member_changes_slowest():
    first, second = (S(2) * S(3)).elements()
    assert first[:6].tolist() == [[0, 1]] * 6
    assert torch.equal(second[:6], S(3).elements())


def test_generators_and_algebra_move_one_member_at_a_time():
    group = S(3) * O(2) * SO(3)
    p, R, Q = group.generators()
    assert p.shape == (3, 3)
    assert R.shape == (3, 2, 2)
    assert torch.equal(p[2], torch.arange(3))
    assert torch.equal(R[:2], torch.eye(2).double().expand(2, 2, 2))
    assert torch.equal(Q, torch.eye(3).double().expand(3, 3, 3))
    X, Y, Z = group.lie_algebra()
    assert (X.shape, Y.shape, Z.shape) == ((4, 3, 3), (4, 2, 2), (4, 3, 3))
    assert torch.equal(X, torch.zeros(4, 3, 3).double())
    assert torch.equal(Y[0], SO(2).lie_algebra()[0])
    assert torch.equal(Z[1:], SO(3).lie_algebra())


def test_the_algebra_on_V_is_the_kronecker_sum():
    group = SO(2) * SO(3)
    X, Y = (0.3 * part for part in group.lie_algebra())
    flow = torch.linalg.matrix_exp(group.algebra_matrix((X, Y)))
    assert (flow - group.matrix((torch.linalg.matrix_exp(X), torch.linalg.matrix_exp(Y)))).abs().max() < 1e-12


def test_membership_is_that_of_every_member():
    group = S(2) * SO(2)
    flip = torch.diag(torch.tensor([-1.0, 1.0]))
    p = torch.tensor([[0, 1], [1, 0], [1, 1]])
    R = torch.stack([torch.eye(2), flip, torch.eye(2)])
    assert group.contains_each((p, R)).tolist() == [True, False, False]
    assert not group.contains((p,))


def test_representations_of_members_are_pulled():
    group = S(3) * E(2)
    assert group.pull(1, E(2).V) * group.pull(0, S(3).V) != group.V
    assert group.pull(0, S(3).V) * group.pull(1, E(2).V) == group.V
    g = group.sample(3, generator=seeded())
    assert torch.equal(group.pull(0, S(3).V).matrix(g), S(3).V.matrix(g[0]))


def test_the_same_member_twice():
    group = O(2) * O(2)
    g, h = group.sample(5, generator=seeded(0)), group.sample(5, generator=seeded(1))
    assert distance(group, group.compose(g, h), (g[0] @ h[0], g[1] @ h[1])) == 0
    assert (S(2) * Trivial()).order == 2
