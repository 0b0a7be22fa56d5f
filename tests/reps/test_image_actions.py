"""Images under the symmetries of a polygon: quarter turns and mirrors are exact, and they compose."""

import pytest
import torch

from intertwine.groups import SE, SO, Cyclic, Dihedral, E, O, S
from intertwine.reps import Images


@pytest.mark.parametrize("group", [Cyclic(4), Dihedral(4), Cyclic(2), Dihedral(2)], ids=str)
def test_finite_groups_act_exactly_on_square_images(group):
    action, elements = Images(group), group.elements()
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = [action(group.take(elements, i), x) for i in range(group.order)]
    for i in range(group.order):
        for j in range(group.order):
            product = int(group.index(group.compose(group.take(elements, i), group.take(elements, j))))
            again = action(group.take(elements, i), moved[j])
            assert torch.equal(again, moved[product])


def test_a_quarter_turn_is_that_of_the_plane():
    """y points down, so the matrix that takes x to y turns clockwise as displayed."""
    x = torch.randn(3, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned = Images(Cyclic(4))(torch.tensor(1), x)
    assert torch.equal(turned, torch.rot90(x, -1, (2, 3)))
    matrix = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(turned, Images(SO(2))(matrix, x), atol=1e-12, rtol=0)
    mirrored = Images(Dihedral(4))(torch.tensor([1, 0]), x)
    assert torch.equal(mirrored, x.flip(2))
    each = Images(Cyclic(4))(torch.tensor([0, 1, 2]), x)  # one element for each image
    assert torch.equal(each[1], torch.rot90(x[1], -1, (1, 2)))
    wide = x[..., :4]
    assert torch.equal(Images(Dihedral(2))(torch.tensor([1, 1]), wide), wide.flip(3))
    round_trip = Images(Cyclic(4))(torch.tensor(3), Images(Cyclic(4))(torch.tensor(1), wide))
    assert not torch.allclose(round_trip, wide)  # a quarter turn of 6 x 4 pixels loses what leaves the image


@pytest.mark.parametrize("group", [Cyclic(4), SO(2), SE(2)], ids=str)
def test_an_empty_batch_stays_empty(group):
    x = torch.zeros(0, 2, 5, 5)
    g = group.sample(0, generator=torch.Generator().manual_seed(0))
    assert Images(group)(g, x).shape == x.shape


def test_other_groups_are_refused():
    with pytest.raises(ValueError, match="does not move the plane"):
        Images(S(4))


ARROWS = [(Cyclic(4), Cyclic(4).irrep(1)), (Dihedral(4), Dihedral(4).irrep(1, 1)), (SO(2), SO(2).V), (E(2), O(2).V)]


@pytest.mark.parametrize("group, rep", ARROWS, ids=lambda value: str(value))
def test_the_arrows_of_a_field_turn_with_its_grid(group, rep, generator):
    """The field f(x) = x moves to itself under turns and mirrors, which a field of two scalars does not."""
    ramp = (2 * torch.arange(9.0, dtype=torch.float64) - 8) / 9
    y, x = torch.meshgrid(ramp, ramp, indexing="ij")
    disc = (x.square() + y.square() < 0.6).double()
    field = torch.stack([x, y])[None]
    g = group.sample(6, generator=generator)
    if isinstance(group, E):
        g[:, :2, 2] = 0
    moved = Images(group, channel_rep=rep)(g, field.expand(6, 2, 9, 9))
    torch.testing.assert_close(moved * disc, (field * disc).expand_as(moved), atol=1e-6, rtol=0)
    quarter = Cyclic(4).elements()[1]
    assert (Images(Cyclic(4))(quarter, field) - field).abs().max() > 1


@pytest.mark.parametrize("group, rep", ARROWS[:2], ids=lambda value: str(value))
def test_moving_arrows_is_an_action(group, rep, generator):
    x = torch.randn(3, 2 * 2, 6, 6, generator=generator, dtype=torch.float64)
    action, elements = Images(group, channel_rep=2 * rep), group.elements()
    for i in range(group.order):
        for j in range(group.order):
            one, two = group.take(elements, i), group.take(elements, j)
            torch.testing.assert_close(action(group.compose(one, two), x), action(one, action(two, x)))
    assert repr(action) == f"Images({group}, channel_rep='{2 * rep!r}')"


def test_which_pixels_come_from_inside():
    x = torch.zeros(2, 3, 8, 8)
    assert Images(Cyclic(4))(torch.tensor(1), x).shape == x.shape
    assert (Images(Cyclic(4)).inside(torch.tensor(1), x) == 1).all()
    shift = SE(2).element(torch.eye(2).double(), torch.tensor([0.5, 0.0]).double())  # a quarter of the image
    inside = Images(SE(2)).inside(shift, x)
    assert inside.shape == (2, 1, 8, 8)
    assert inside[0, 0, 0].tolist() == [0, 0, 1, 1, 1, 1, 1, 1]


def test_a_representation_of_another_group_is_refused():
    with pytest.raises(ValueError, match=r"the group is Cyclic\(4\), channel_rep .* belongs to SO\(2\)"):
        Images(Cyclic(4), channel_rep=SO(2).V)
    with pytest.raises(ValueError, match="3"):
        Images(SO(2), channel_rep=SO(2).V)(SO(2).identity(), torch.zeros(1, 3, 4, 4))
