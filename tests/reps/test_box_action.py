"""Boxes move with the image that they are drawn on."""

import pytest
import torch

from intertwine.groups import SE, SO, Affine, Cyclic, Dihedral, E, S
from intertwine.reps import Boxes, Images, box_corners, box_hull

EXACT = [Cyclic(4), Dihedral(4), Cyclic(2)]
TURNING = [SO(2), E(2), Affine(2), Cyclic(5), Dihedral(3)]


def boxes(generator, *shape):
    x = torch.rand(*shape, 4, generator=generator, dtype=torch.float64) * 10
    return torch.cat([torch.minimum(x[..., :2], x[..., 2:]), torch.maximum(x[..., :2], x[..., 2:])], -1)


@pytest.mark.parametrize("size", [None, (12, 16)], ids=["halves", "pixels"])
@pytest.mark.parametrize("group", [*EXACT, *TURNING], ids=str)
def test_corners_keep_a_turned_box_so_any_group_acts_from_the_left(group, size, generator):
    action, x = Boxes(group, size), box_corners(boxes(generator, 4, 3))
    g, h = group.sample(20, generator=generator), group.sample(20, generator=generator)
    torch.testing.assert_close(action(group.identity(), x), x, atol=1e-12, rtol=0)
    for k in range(20):
        one, two = group.take(g, k), group.take(h, k)
        both = action(group.compose(one, two), x)
        torch.testing.assert_close(both, action(one, action(two, x)), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("group", EXACT, ids=str)
def test_upright_boxes_obey_the_laws_under_quarter_turns(group, generator):
    action, x = Boxes(group, (12, 12)), boxes(generator, 4, 3)
    elements = group.elements()
    for i in range(group.order):
        for j in range(group.order):
            one, two = group.take(elements, i), group.take(elements, j)
            both = action(group.compose(one, two), x)
            torch.testing.assert_close(both, action(one, action(two, x)), atol=1e-12, rtol=0)
    shifts = SE(2).element(torch.eye(2).expand(4, 2, 2).double(), torch.randn(4, 2, generator=generator).double())
    moved = Boxes(SE(2), (12, 12))(shifts, x)
    torch.testing.assert_close(moved[..., 2:] - moved[..., :2], x[..., 2:] - x[..., :2])
    torch.testing.assert_close(moved, Boxes(SE(2), (12, 12))(shifts, x.flatten(0, 0)))


def test_a_turned_box_gets_the_box_around_it(generator):
    x = boxes(generator, 5)
    eighth = Cyclic(8).elements()[1]
    action = Boxes(Cyclic(8))
    hull, corners = action(eighth, x), action(eighth, box_corners(x))
    torch.testing.assert_close(hull, box_hull(corners))
    back = action(Cyclic(8).inverse(eighth), hull)
    assert (back[:, :2] < x[:, :2]).all(), "what four numbers cannot hold"
    assert (back[:, 2:] > x[:, 2:]).all()
    again = action(Cyclic(8).inverse(eighth), corners)
    torch.testing.assert_close(again, box_corners(x), atol=1e-12, rtol=0)


@pytest.mark.parametrize("group", [Cyclic(4), Dihedral(4), SO(2), SE(2)], ids=str)
def test_a_box_stays_around_what_it_is_drawn_around(group, generator):
    """The bright pixels of a moved image lie in the moved box, and fill it where pixels go to pixels."""
    x = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    x[0, 0, 6:9, 5:10] = 1
    box = torch.tensor([[[5.0, 6.0, 10.0, 9.0]]], dtype=torch.float64)
    g = group.elements() if group.is_finite else group.sample(6, generator=generator)
    if group == SE(2):
        g[:, :2, 2] *= 0.1
    for k in range(group.batch_shape(g)[0]):
        element = group.take(g, k)
        moved = Images(group)(element, x)[0, 0] > 0.5
        rows, columns = moved.nonzero().unbind(1)
        seen = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).double()
        hull = Boxes(group, (16, 16))(element, box)[0, 0]
        if group.is_finite:
            assert torch.equal(seen, hull)
        else:
            assert (seen[:2] >= hull[:2] - 0.8).all()
            assert (seen[2:] <= hull[2:] + 0.8).all()


def test_one_element_for_each_image_and_dtypes(generator):
    x = boxes(generator, 4, 3)
    g = Dihedral(4).sample(4, generator=generator)
    action = Boxes(Dihedral(4), (12, 12))
    together = action(g, x)
    for i in range(4):
        assert torch.equal(together[i], action(g[i], x[i]))
    assert action(g, x.float()).dtype == torch.float32
    assert action(g[:1][0], x[:0]).shape == (0, 3, 4)
    assert repr(action) == "Boxes(Dihedral(4), size=(12, 12))"


def test_errors():
    with pytest.raises(ValueError, match=r"Boxes: S\(4\) does not move the plane"):
        Boxes(S(4))
    with pytest.raises(ValueError, match="size must be"):
        Boxes(SO(2), (12, 0))
    with pytest.raises(ValueError, match=r"boxes \[..., 4\] or corners"):
        Boxes(SO(2))(SO(2).identity(), torch.zeros(3, 5))
    with pytest.raises(ValueError, match=r"batch shape \(3,\), the data \(2, 5\)"):
        Boxes(SO(2))(SO(2).identity(3), torch.zeros(2, 5, 4))
