"""Powers and wreath products: how parts change places, and what is refused."""

import pytest
import torch

from grids import seeded
from intertwine.groups import O, Power, S, Wreath
from intertwine.maps import dimension


def test_a_power_is_a_product():
    assert Power(O(3), 2) == O(3) * O(3)
    assert str(Power(S(2) * O(2), 2)) == "S(2) * O(2) * S(2) * O(2)"


def test_parts_move_then_turn():
    group = Wreath(O(2), 3)
    turn = O(2).sample(3, generator=seeded())
    p = torch.tensor([1, 2, 0])
    x = torch.randn(3, 2, generator=seeded(), dtype=torch.float64)
    y = group.V.act((turn, p), x.flatten()).view(3, 2)
    for i in range(3):
        assert torch.allclose(y[p[i]], turn[p[i]] @ x[i])


def test_permuting_parts_permute_coordinates():
    group = Wreath(S(3), 2)
    g = (torch.tensor([[1, 2, 0], [0, 2, 1]]), torch.tensor([1, 0]))
    assert group.permutation(g).tolist() == [3, 5, 4, 1, 2, 0]
    assert torch.equal(group.V.matrix(g), group.matrix(g))


def test_the_wreath_product_of_a_grid():
    """S(3) wr S(2) keeps the partition of 6 points into two rows: V² has orbits same, same row, other row."""
    V = Wreath(S(3), 2).V
    assert [dimension(V**k, V**0) for k in (1, 2)] == [1, 3]


@pytest.mark.parametrize("kind", [Power, Wreath])
def test_bad_arguments_are_named(kind):
    with pytest.raises(TypeError, match=f"{kind.__name__}: the first argument must be a group"):
        kind(3, 2)
    for m in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match=rf"{kind.__name__}: the number of copies of O\(3\) .* got {m!r}"):
            kind(O(3), m)


def test_membership():
    group = Wreath(O(2), 2)
    one = group.identity(4)
    assert group.contains(one)
    assert not group.contains((2 * one[0], one[1]))
    assert not group.contains((one[0], torch.zeros(4, 2, dtype=torch.int64)))
    assert not group.contains((one[0][:, :1], one[1]))
