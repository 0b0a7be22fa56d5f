"""Images under the symmetries of a polygon: quarter turns and mirrors are exact, and they compose."""

import pytest
import torch

from intertwine.groups import SO, Cyclic, Dihedral, S
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


def test_other_groups_are_refused():
    with pytest.raises(ValueError, match="does not move the plane"):
        Images(S(4))
