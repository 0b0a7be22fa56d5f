"""NERO for images, vector fields and point clouds: what turns, what leaves the frame, and where a model fails."""

import pytest
import torch

from intertwine import audit
from intertwine.audit import OrbitGrid
from intertwine.groups import SE, SO, Cyclic, Dihedral
from intertwine.reps import Action, Images, Invariant, Points, Vectors

D4, REVERSED = Dihedral(4), Dihedral(4) * Cyclic(2)


def pairs(n, generator, size=9):
    """Two frames of smooth random brightness."""
    x = torch.randn(n, 2, size, size, generator=generator, dtype=torch.float64)
    return torch.nn.functional.avg_pool2d(x, 3, 1, 1)


def gradient(x):
    """The gradient of the change of brightness, central differences inside, zero at the border; y points down."""
    change = x[:, 1:] - x[:, :1]
    flow = x.new_zeros(len(x), 2, *x.shape[2:])
    flow[:, 0, :, 1:-1] = (change[:, 0, :, 2:] - change[:, 0, :, :-2]) / 2
    flow[:, 1, 1:-1] = (change[:, 0, 2:] - change[:, 0, :-2]) / 2
    return flow


def sideways(x):
    """Sees no flow up or down that is large."""
    flow = gradient(x)
    return torch.stack([flow[:, 0], flow[:, 1].clamp(-0.1, 0.1)], 1)


ARROWS = Images(D4, channel_rep=D4.irrep(1, 1))


def test_a_field_whose_arrows_turn_is_flat_and_one_without_is_not(generator):
    x, grid = pairs(8, generator), OrbitGrid.finite(D4)
    for options in ({}, {"targets": gradient(x)}, {"consensus": "mean"}, {"consensus": "median"}):
        r = audit.nero(gradient, Images(D4), ARROWS, x, orbit=grid, metric="epe", generator=generator, **options)
        assert r.values.abs().max() < 1e-10
    assert (r.agreement == 1).all()
    forgotten = audit.nero(gradient, Images(D4), Images(D4), x, orbit=grid, metric="epe", generator=generator)
    assert forgotten.aggregate[0, 0] == 0
    assert forgotten.aggregate[0, 1:].min() > 0.05, "the usual mistake: the grid turns, the arrows do not"
    broken = audit.nero(sideways, Images(D4), ARROWS, x, orbit=grid, metric="epe", generator=generator)
    odd = D4.elements()[:, 1] % 2 == 1
    assert broken.aggregate[0, odd].min() > 0.02
    assert broken.aggregate[0, ~odd].max() < 1e-10, "half turns and mirrors keep up and down"


def test_end_point_error_is_the_mean_length_of_error_vectors(generator):
    x = pairs(3, generator)
    wanted = gradient(x) + torch.tensor([3.0, 4.0]).double()[:, None, None]
    grid = OrbitGrid.finite(D4)
    r = audit.nero(gradient, Images(D4), ARROWS, x, orbit=grid, metric="epe", targets=wanted, generator=generator)
    torch.testing.assert_close(r.values, torch.full_like(r.values, 5.0))


class FlowPair(Action):
    """Turns and mirrors of two frames, which the reversal of time swaps."""

    group = REVERSED

    def act(self, g, x):
        turn, time = g
        moved = Images(D4)(turn, x)
        return torch.where(time.reshape(*time.shape, *[1] * (x.ndim - time.ndim)) == 1, moved.flip(-3), moved)


class Flow(Action):
    """The flow between them, which it negates."""

    group = REVERSED

    def act(self, g, x):
        turn, time = g
        return ARROWS(turn, x) * (1 - 2 * time.reshape(*time.shape, *[1] * (x.ndim - time.ndim)))


def late(x):
    """Looks at the second frame only."""
    return gradient(torch.cat([0 * x[:, :1], x[:, 1:]], 1))


def test_sixteen_tiles_of_turns_mirrors_and_reversed_time(generator):
    """Quarter turns in rows, mirror and time in columns, as for image-pair velocimetry."""
    turn = torch.tensor([[f, r] for r in range(4) for f in (0, 0, 1, 1)])
    time = torch.tensor([0, 1, 0, 1] * 4)
    names = [f"{90 * r}°{', mirrored' * f}{', reversed' * t}" for (f, r), t in zip(turn.tolist(), time.tolist())]
    grid = OrbitGrid.finite(REVERSED, (turn, time), labels=names, columns=4)
    assert grid.shape == (4, 4)
    x = pairs(6, generator)
    r = audit.nero(
        {"right": gradient, "late": late}, FlowPair(), Flow(), x, orbit=grid, metric="epe", generator=generator
    )
    assert r.values[0].abs().max() < 1e-10
    assert r.aggregate[1, time == 0].max() < 1e-10
    assert r.aggregate[1, time == 1].min() > 0.02
    assert "reversed" in r.sentence(1)


def test_consensus_counts_only_pixels_that_come_from_inside(generator):
    """A model that answers with its input: pulled back, what left the frame must not pull the average to zero."""
    x = 1 + torch.rand(3, 1, 8, 8, generator=generator, dtype=torch.float64)
    grid = OrbitGrid.torus(5, 5, 0.5, group=SE(2))  # whole pixels
    images = Images(SE(2))
    outputs = torch.stack([images(grid.elements, one.expand(25, 1, 8, 8)) for one in x])
    for kind in ("mean", "median"):
        found = audit.consensus(outputs, images, grid.elements, kind=kind)
        torch.testing.assert_close(found.value, x)
        assert (found.agreement == 1).all()
        r = audit.nero(lambda x: x, images, images, x, orbit=grid, consensus=kind, generator=generator)
        assert r.values.abs().max() < 1e-10
        assert (r.agreement == 1).all()


def test_what_leaves_the_frame_is_said(generator):
    x = torch.rand(4, 1, 8, 8, generator=generator, dtype=torch.float64)
    shifts, turns = OrbitGrid.torus(3, 3, 0.5, group=SE(2)), OrbitGrid.circle(8)
    r = audit.nero(lambda x: x, Images(SE(2)), Images(SE(2)), x, orbit=shifts, generator=generator)
    torch.testing.assert_close(r.inside.reshape(3, 3), torch.tensor([0.75, 1, 0.75]).double().outer(
        torch.tensor([0.75, 1, 0.75]).double()))  # fmt: skip
    assert r.cut
    assert r.plot().count('class="cut"') == 8
    turned = audit.nero(lambda x: x, Images(SO(2)), Images(SO(2)), x, orbit=turns, generator=generator)
    assert turned.inside[0].item() == pytest.approx(1)
    assert 0.7 < turned.inside[1] < 0.95
    points = audit.nero(lambda x: x, Points(SE(2)), Points(SE(2)), x[:, 0, :, :2], orbit=shifts, generator=generator)
    assert points.inside is None
    assert not points.cut
    assert 'class="cut"' not in points.plot()


def test_point_clouds_over_the_rotations_of_space(generator):
    """Which way is a cloud heaviest? One model knows, the other looks for the largest coordinate."""
    x = torch.randn(10, 12, 3, generator=generator, dtype=torch.float64)

    def heavy(x):
        return (x * x.square().sum(2, keepdim=True)).sum(1)

    def axis(x):
        v = heavy(x)
        return v * torch.nn.functional.one_hot(v.abs().argmax(1), 3)

    grid = OrbitGrid.sphere_axis_angle(20, 7)
    V, cloud = Vectors(SO(3)), Points(SO(3))
    for options in ({}, {"targets": heavy(x)}, {"consensus": "mean"}):
        r = audit.nero(
            {"sum": heavy, "axis": axis}, cloud, V, x, orbit=grid, metric="epe", generator=generator, **options
        )
        assert r.values[0].max() < 1e-10
        assert r.aggregate[1].max() > 1
    classes = [int(v) for v in heavy(x)[:, 2] > 0]

    def up(x):
        v = heavy(x)[:, 2]
        return torch.stack([-v, v], 1)

    r = audit.nero(up, cloud, Invariant(SO(3)), x, orbit=grid, metric="accuracy", targets=classes, generator=generator)
    turned = grid.coordinates["angle"] == 180
    tilt = grid.coordinates["axis"][:, 2].abs()
    assert (r.aggregate[0, grid.coordinates["angle"] == 0] == 1).all()
    assert r.aggregate[0, turned & (tilt > 0.9)].mean() > r.aggregate[0, turned & (tilt < 0.3)].mean() + 0.5
