"""Positions along the axes of an image: they shift with the image, and are 0 where nothing has a position."""

import math

import pytest
import torch

from conftest import TOL
from grids import seeded
from intertwine.models.images import PosePredictor
from intertwine.symmetrize import canonical_coordinates

GRID = canonical_coordinates("polar", (32, 16), dtype=torch.float64)


def small(strides=(1, 1), dtype=torch.float64, sharp=1.0, channels=1, **changes) -> PosePredictor:
    options = {"strides": strides, "periodic": (False, True), "outputs": "v", "generator": seeded()} | changes
    predictor = PosePredictor(channels, 6, **options).to(dtype).eval()
    for head in predictor.heads.values():
        head.weight.data *= sharp
    return predictor


def picture(turn: float) -> torch.Tensor:
    """A sum of Gaussians turned by an angle, on the polar grid."""
    c, s = math.cos(turn), math.sin(turn)
    x, y = (GRID @ torch.tensor([[c, -s], [s, c]], dtype=torch.float64)).unbind(-1)
    blobs = torch.exp(-8 * ((x - 0.4) ** 2 + y**2)) + 0.5 * torch.exp(-20 * ((x + 0.1) ** 2 + (y - 0.5) ** 2))
    return blobs[None, None]


def off(predictor: PosePredictor, bins: float) -> float:
    """How far the answer is from shifting by as much as the picture turns, in radians."""
    turn = 2 * math.pi * bins / 32
    before, after = (predictor(picture(t)).at["v"].item() * math.pi for t in (0.0, turn))
    return abs(math.remainder(after - before - turn, 2 * math.pi))


@pytest.mark.parametrize("sharp", [1.0, 50.0])
def test_an_angle_follows_the_picture(sharp):
    """Every bin without strides; with a stride of two the even bins, and the odd ones to its aliasing."""
    assert max(off(small(sharp=sharp), j) for j in range(32)) < 1e-10
    strided = small((2, 1), sharp=sharp)
    assert max(off(strided, j) for j in range(0, 32, 2)) < 1e-10
    assert 1e-4 < off(strided, 3) < 2 * math.pi / 32
    assert off(small(sharp=50.0), 0.5) < 5e-3  # between two bins


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("outputs", ["u", "v", ("v", "u")])
def test_axes_that_close_up(outputs, dtype):
    """Shifts along both axes, forward and gradient; an axis that is not asked for does not matter."""
    predictor = small((2, 1), dtype, 20.0, channels=3, periodic=(True, True), outputs=outputs)
    x = torch.randn(2, 3, 16, 12, generator=seeded(), dtype=dtype).requires_grad_()
    pose, shifted = predictor(x), predictor(x.roll((4, 2), (2, 3)))
    assert pose.at.keys() == pose.heat.keys() == set(outputs)
    for axis, shift in {"u": 2 * 2 / 12, "v": 2 * 4 / 16}.items():
        if axis in outputs:
            error = (shifted.at[axis] - pose.at[axis] - shift + 1) % 2 - 1
            assert error.abs().max() < TOL[dtype]
            torch.testing.assert_close(pose.heat[axis].sum(-1), torch.ones(2, dtype=dtype))
            before, after = (torch.autograd.grad(p.at[axis].sum(), x, retain_graph=True)[0] for p in (pose, shifted))
            assert (before - after).abs().max() < TOL[dtype] * max(1, before.abs().max().item())


def test_an_open_axis():
    """Away from the ends, and with a heat map that is concentrated: a flat one leaves weight where nothing moves."""
    x = torch.zeros(1, 1, 40, 40, dtype=torch.float64)
    x[..., 16:21, 18:22] = torch.rand(5, 4, generator=seeded(), dtype=torch.float64)
    errors = []
    for sharp in (1.0, 1e4):
        predictor = small(sharp=sharp, periodic=(False, False), outputs=("u", "v"))
        before, after = predictor(x), predictor(x.roll((3, -5), (2, 3)))
        moved = torch.cat([after.at[axis] - before.at[axis] for axis in "vu"])
        errors.append((moved - torch.tensor([6 / 39, -10 / 39], dtype=torch.float64)).abs().max().item())
    assert errors[1] < 1e-10 and errors[0] > 0.01


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("what", ["blank", "the same turned by 180°"])
def test_no_direction_is_angle_zero_without_gradient(what, dtype):
    half = torch.randn(2, 1, 8, 10, generator=seeded(), dtype=dtype)
    x = torch.zeros(2, 1, 16, 10, dtype=dtype) if what == "blank" else torch.cat([half, half], 2)
    predictor = small((2, 1), dtype, periodic=(False, True), outputs=("u", "v"))
    predictor.offsets["v"].data += 0.2
    x.requires_grad_()
    pose = predictor(x)
    assert pose.degenerate.all() and torch.equal(pose.at["v"], torch.full((2,), 0.2, dtype=dtype).tanh())
    (gradient,) = torch.autograd.grad(pose.at["v"].sum(), x, retain_graph=True)
    assert (gradient == 0).all()
    for mode in (True, False):
        found = predictor.train(mode)(x)
        found.at["u"].sum().add(found.at["v"].sum()).backward()
    assert all(p.grad.isfinite().all() for p in (x, *predictor.parameters()))
    if what == "blank":
        assert pose.at["u"].abs().max() < 10 * torch.finfo(dtype).eps


def test_almost_no_direction_is_finite():
    """Just above the threshold the gradient is large, as it must be, and finite; a heat map of rounding is below it."""
    predictor = small(dtype=torch.float32)
    x = torch.full((1, 1, 32, 16), 0.3)
    assert predictor(x).degenerate
    for size in (1e-6, 1e-3):
        y = (x + size * picture(0.3).float()).requires_grad_()
        (gradient,) = torch.autograd.grad(predictor(y).at["v"].sum(), y)
        assert gradient.isfinite().all()


def test_batches_and_training():
    predictor = small(channels=2)
    x = torch.randn(5, 2, 32, 16, generator=seeded(), dtype=torch.float64)
    whole = predictor(x).at["v"]
    assert predictor(x[:0]).at["v"].shape == (0,)
    torch.testing.assert_close(predictor(x[3:4]).at["v"], whole[3:4], atol=1e-12, rtol=0)
    predictor.train()(x).at["v"].square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in predictor.parameters())
    again = small(channels=2).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in small(channels=2).state_dict().items())


def test_what_does_not_fit_is_named():
    for changes, message in (
        ({"kernel": 4}, "kernel odd, got 1, 6, .* and 4"),
        ({"strides": (0, 1)}, "strides must be at least 1"),
        ({"outputs": ()}, r"'u', 'v' or both, got \(\)"),
        ({"outputs": "w"}, "'u', 'v' or both, got 'w'"),
    ):
        with pytest.raises(ValueError, match=message):
            small(**changes)
    with pytest.raises(ValueError, match="axis v has 30 bins; it needs a multiple of the strides"):
        small((2, 2))(torch.zeros(1, 1, 30, 30, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"axis v has 2 bins; .* 2 bins or more behind the first"):
        small((2, 1))(torch.zeros(1, 1, 2, 9, dtype=torch.float64))
