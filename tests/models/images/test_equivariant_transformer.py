"""Stages that undo a transformation: the pose follows the image, the canonical image does not, and warps compose."""

import math

import pytest
import torch
from torch import nn

from conftest import TOL
from grids import seeded
from intertwine.audit import assert_equivariant, measure
from intertwine.groups import SO, Cyclic, MatrixGroup
from intertwine.models.images import (
    EquivariantTransformer,
    Pose,
    TransformedClassifier,
    TransformerParallel,
    TransformerSequence,
    look,
    projective,
)
from intertwine.models.images.equivariant_transformer import KINDS
from intertwine.models.images.warp import places
from intertwine.reps import Images, Invariant
from intertwine.symmetrize import canonical_coordinates

EVERY = [(kind, axis) for kind, (_, shifts) in KINDS.items() for axis in shifts]


class Fixed(nn.Module):
    """A predictor that says the same of every image."""

    def __init__(self, **at: float):
        super().__init__()
        self.at = at

    def forward(self, x: torch.Tensor) -> Pose:
        at = {axis: torch.full((len(x),), value, dtype=x.dtype) for axis, value in self.at.items()}
        return Pose(at, {}, torch.zeros(len(x), dtype=torch.bool))


def stage(kind: str, channels: int = 1, **options) -> EquivariantTransformer:
    return EquivariantTransformer(kind, channels, 6, **({"generator": seeded()} | options)).double().eval()


def fixed(kind: str, **at: float) -> EquivariantTransformer:
    made = stage(kind, strides=(1, 1))
    made.predictor = Fixed(**dict.fromkeys(made.axes, 0.0) | at)
    return made


def seeing_light(kind: str, **options) -> EquivariantTransformer:
    """A stage with positive weights: it looks for what is bright, as a trained one looks for something."""
    made = stage(kind, **({"strides": (1, 1)} | options))
    for layer in (*made.predictor.convolutions, *made.predictor.heads.values()):
        layer.weight.data.abs_()
    for head in made.predictor.heads.values():
        head.weight.data *= 3
    return made


def blob(xy: torch.Tensor) -> torch.Tensor:
    """A Gaussian off all axes, at positions [..., 2]."""
    x, y = xy.unbind(-1)
    return torch.exp(-20 * ((x - 0.45) ** 2 + (y - 0.5) ** 2)) + 0.4 * torch.exp(
        -20 * ((x - 0.5) ** 2 + (y + 0.2) ** 2)
    )


def pixels(side: int) -> torch.Tensor:
    axis = (torch.arange(side, dtype=torch.float64) + 0.5) * 2 / side - 1
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)


def random_images(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(), dtype=dtype)


@pytest.mark.parametrize("kind, axis", EVERY)
def test_the_matrix_is_the_shift_of_the_coordinates(kind, axis):
    """T of a pose t sends the canonical coordinates at (u, v) to those at (u + t, v), on every sheet: two bins here."""
    made, size = fixed(kind), (40, 20)
    coords, sheets = made.coords, made.sheets
    first = 0.1 if "perspective" not in kind else 1.2
    n = {"u": size[1], "v": size[0] // sheets}[axis]
    lim = (-math.pi, math.pi) if "polar" in coords and axis == "v" else (first, first + 0.15 * (n - 1))
    step = 2 * math.pi / n if lim[0] == -math.pi else 0.15
    options = {} if lim[0] == -math.pi else {f"{axis}lim": lim}
    made = EquivariantTransformer(kind, 1, 2, size=size, **options).double()
    made.predictor = Fixed(**dict.fromkeys(made.axes, 0.0) | {axis: 2 * step / ((lim[1] - lim[0]) / 2)})
    matrix = made(torch.zeros(1, 1, 40, 40, dtype=torch.float64)).matrix
    grid = canonical_coordinates(coords, size, dtype=torch.float64, ulim=made.ulim, vlim=made.vlim)
    moved = projective(matrix, grid)[0].unflatten(0, (sheets, -1))
    there = grid.unflatten(0, (sheets, -1))
    dim = {"v": 1, "u": 2}[axis]
    length = moved.shape[dim] - 2
    torch.testing.assert_close(moved.narrow(dim, 0, length), there.narrow(dim, 2, length), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("kind, axis", EVERY)
def test_the_pose_follows_the_image(kind, axis):
    """ψ(T_t I) = ψ(I) + t on real pixels, and what is seen at T·p stays the same, to interpolation."""
    made = seeing_light(kind, size=(64, 64))
    move = torch.linalg.matrix_exp(0.2 * made.generators.tensors()[0][made.axes.index(axis)])[None]
    images = torch.cat([blob(pixels(64))[None], blob(projective(torch.linalg.inv(move), pixels(64)))])[:, None]
    warp = made(images)
    found = warp.matrix[:1].inverse() @ warp.matrix[1:]
    assert (found - move).abs().max() < 0.15 * 0.2
    points = 0.3 * pixels(16)
    before, after = look(images, projective(move.inverse(), points)[0], warp.matrix)
    centred = look(images, points, torch.stack([torch.eye(3).double(), move[0]]))
    assert (centred[0] - centred[1]).abs().max() < 2e-2  # the two images show the same
    assert (before - after).abs().max() < 0.1 and not warp.degenerate.any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_quarter_turns_change_nothing(channels, dtype):
    """They are shifts by whole bins: the pose turns exactly, the output not at all, nor do the gradients."""
    transformer = TransformerSequence(
        *(seeing_light("rotation", channels=channels, strides=(2, 1)), seeing_light("x-shear", channels=channels))
    )
    net = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 3)).double()
    model = TransformedClassifier(net, transformer).to(dtype).eval()
    x = nn.functional.pad(torch.rand(3, channels, 2, 2, generator=seeded(), dtype=dtype), [1] * 4)
    x = nn.functional.pad(nn.functional.interpolate(x, (12, 12), mode="bilinear"), [2] * 4)  # fades towards the border
    assert isinstance(model.rep_in, Images) and model.rep_in.group == SO(2) == model.rep_out.group
    turns = Images(Cyclic(4))
    assert_equivariant(model, rep_in=turns, rep_out=Invariant(Cyclic(4)), data=x)
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=dtype)  # clockwise as displayed, as `Images` does
    first, moved = (transformer.transformers[0](y).matrix for y in (x, turns(torch.tensor(1), x)))
    assert (moved - turn @ first).abs().max() < TOL[dtype]


def test_an_audit_says_how_far_any_angle_is():
    """Between the pixels only to interpolation; without a stage every output changes."""
    net = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(64, 3)).double()
    model = TransformedClassifier(net, seeing_light("rotation"))
    x = torch.stack([blob(pixels(32) + 0.1 * k) + 0.5 * blob(pixels(32).flip(0) - 0.1 * k) for k in range(4)])[:, None]
    options = {"n_elements": 6, "dtype": "float64", "special": False}
    tables = [measure(f, Images(SO(2)), Invariant(SO(2)), x, generator=seeded(), **options).table for f in (model, net)]
    with_stage, without = ({row.name: row.value for row in table}["relative"] for table in tables)
    assert with_stage < 0.25 * without, (with_stage, without)


def test_a_pose_of_zero_gives_the_image_back():
    x = random_images(2, 3, 12, 9)
    stages = [fixed(kind) for kind in KINDS]
    for transformer in (None, stages[0], TransformerSequence(*stages), TransformerParallel(*stages)):
        model = TransformedClassifier(nn.Identity(), transformer)
        torch.testing.assert_close(model(x), x, atol=1e-12, rtol=0)


def test_a_sequence_multiplies_what_it_finds_on_the_way():
    first, second = seeing_light("rotation-scale", size=(32, 32)), seeing_light("x-shear", size=(32, 32))
    images = torch.stack([blob(pixels(32)), blob(-pixels(32))])[:, None]
    alone = first(images)
    once = TransformerSequence(first)(images)
    assert torch.equal(once.matrix, alone.matrix) and len(once.poses) == 1
    both = TransformerSequence(first, second)(images)
    seen = look(images, places(images, "x-shear", (32, 32)), alone.matrix)
    own = second.predictor(seen).at["v"] * 5
    by_hand = alone.matrix.clone()
    by_hand[:, :, 1] += by_hand[:, :, 0] * own[:, None]  # times [[1, t], [0, 1]]
    torch.testing.assert_close(both.matrix, by_hand, atol=1e-12, rtol=0)
    assert [list(pose.at) for pose in both.poses] == [["u", "v"], ["v"]]
    nested = TransformerSequence(first, TransformerSequence(second))(images)
    assert torch.equal(nested.matrix, both.matrix)


def test_parallel_stages_agree_where_they_commute():
    """A scale is found as before once whole bins of a rotation are undone; a shear is not."""
    images = torch.stack([blob(pixels(64)), blob(pixels(64).flip(-1))])[:, None]
    turn = fixed("rotation", v=2 * 5 / 64)
    for other, agree in (("scale", True), ("x-shear", False)):
        stages = (turn, seeing_light(other))
        one, all_at_once = (kind(*stages)(images) for kind in (TransformerSequence, TransformerParallel))
        difference = (one.matrix - all_at_once.matrix).abs().max()
        assert difference < 1e-10 if agree else difference > 0.01
        before = stage("y-shear")(images)
        later = TransformerParallel(*stages)(images, before)
        own = [made(images, before).matrix for made in stages]
        by_hand = own[0] @ before.matrix.inverse() @ own[1]
        torch.testing.assert_close(later.matrix, by_hand, atol=1e-10, rtol=0)
        assert len(later.poses) == 3


def test_y_looks_along_y():
    """A stretch of y moves the pose of "y-scale" and not that of "x-scale", and the other way round."""
    blobs = {"x": torch.tensor([0.7, 1.0]), "y": torch.tensor([1.0, 0.7])}
    for seen in "xy":
        made = seeing_light(f"{seen}-scale", size=(64, 32))
        before, *after = (
            made(blob(pixels(64) * scale.double())[None, None]).poses[0].at["u"]
            for scale in (torch.ones(2), blobs["x"], blobs["y"])
        )
        moved = {axis: abs(at - before).item() * math.log(10) / 2 for axis, at in zip("xy", after)}
        other = "y" if seen == "x" else "x"
        assert moved[seen] == pytest.approx(-math.log(0.7), rel=0.15) and moved[other] < 0.2 * moved[seen]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_trains_and_blank_images_are_harmless(kind):
    made = stage(kind, 2).train()
    for images in (random_images(4, 2, 16, 16), torch.zeros(4, 2, 16, 16, dtype=torch.float64)):
        made.zero_grad()
        warp = made(images)
        assert warp.matrix.shape == (4, 3, 3) and warp.matrix.isfinite().all()
        look(random_images(4, 2, 16, 16), places(images, "identity", (16, 16)), warp.matrix).square().sum().backward()
        assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in made.parameters())
        blank = not images.any()
        assert warp.degenerate.all() == (blank and "rotation" in kind)
        assert not blank or torch.allclose(warp.matrix, torch.eye(3).double(), atol=1e-12)
        assert blank or all(layer.weight.grad.any() for layer in made.predictor.convolutions)
    assert {name.split(".")[0] for name in made.state_dict()} == {"predictor"}


def test_groups_that_are_removed():
    assert stage("rotation").group == SO(2)
    assert (
        isinstance(stage("rotation-scale").group, MatrixGroup) and len(stage("rotation-scale").group.lie_algebra()) == 2
    )
    assert stage("x-perspective").group is None and stage("translation").group is None
    assert TransformerSequence(stage("scale"), stage("translation")).group == stage("scale").group
    assert TransformerParallel(stage("scale"), stage("rotation")).group is None
    assert not hasattr(TransformedClassifier(nn.Identity(), stage("translation")), "rep_in")
    assert not hasattr(TransformedClassifier(nn.Identity()), "rep_in")


def test_batches_sizes_and_downsampling(device):
    model = (
        TransformedClassifier(
            nn.Conv2d(1, 2, 3, padding=1),
            TransformerSequence(stage("rotation-scale", size=(16, 8)), stage("x-scale")),
            "log-polar",
            downsample=2,
        )
        .double()
        .eval()
        .to(device)
    )
    for batch, height, width in ((0, 16, 16), (1, 24, 20), (3, 18, 32)):
        x = random_images(batch, 1, height, width).to(device)
        y = model(x)
        assert (tuple(y.shape), y.device.type) == ((batch, 2, height // 2, width // 2), device)
        if batch == 3:
            torch.testing.assert_close(model(x[1:2]), y[1:2], atol=1e-10, rtol=0)


@pytest.mark.slow
def test_compiles_whole():
    torch._dynamo.reset()
    model = TransformedClassifier(nn.Identity(), stage("rotation-scale")).eval()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="eager")
    for batch, side in ((5, 16), (2, 24)):
        x = random_images(batch, 1, side, side)
        assert (compiled(x) - model(x)).abs().max() < 1e-12


def test_what_does_not_fit_is_named():
    x = random_images(1, 1, 15, 16)
    for call, message in (
        (lambda: stage("twist"), "kind must be one of .*got 'twist'"),
        (lambda: stage("rotation", vlim=(-1.0, 1.0)), "v of 'rotation' is an angle"),
        (lambda: stage("x-scale")(x), r"'x-scale' needs nv \(even for two sheets\) .* got \(15, 16\)"),
        (lambda: stage("rotation")(x), "periodic axis v has 15 bins"),
        (TransformerSequence, "TransformerSequence: needs at least one"),
        (TransformerParallel, "TransformerParallel: needs at least one"),
        (lambda: TransformedClassifier(nn.Identity(), coords="cubic"), "coords must be one of .*got 'cubic' and 1"),
        (lambda: TransformedClassifier(nn.Identity(), downsample=0), "downsample at least 1, got 'identity' and 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
