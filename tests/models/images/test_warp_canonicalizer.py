"""Transformers as canonicalizers: the same pose as in a classifier, and outputs that are images."""

import pytest
import torch
from torch import nn

from grids import seeded
from intertwine.audit import assert_equivariant
from intertwine.groups import SO, GLPlus
from intertwine.models.images import (
    EquivariantTransformer,
    TransformedClassifier,
    TransformerParallel,
    TransformerSequence,
    WarpCanonicalizer,
)
from intertwine.reps import Images, Invariant
from intertwine.symmetrize import Canonicalize

QUARTERS = torch.tensor([[[1.0, 0], [0, 1]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]]], dtype=torch.float64)


def stage(kind: str, **options) -> EquivariantTransformer:
    return EquivariantTransformer(kind, 2, 4, generator=seeded(), **options).double().eval()


def images(batch: int = 3) -> torch.Tensor:
    small = torch.randn(batch, 2, 4, 4, generator=seeded(), dtype=torch.float64)
    return nn.functional.interpolate(small, (16, 16), mode="bilinear")


@pytest.mark.parametrize("out", [Images(SO(2)), Invariant(SO(2))], ids=["images", "numbers"])
def test_quarter_turns_are_exact(out):
    net = nn.Conv2d(2, 3, 3, padding=1).double()
    if isinstance(out, Invariant):
        net = nn.Sequential(net, nn.SiLU(), nn.Flatten(), nn.Linear(3 * 16 * 16, 2)).double()
    model = Canonicalize(net, Images(SO(2)), out, WarpCanonicalizer(stage("rotation")))
    assert (model.guarantee, model.cost.calls_per_sample) == ("approximate", (1.0, 1))
    if isinstance(out, Invariant):
        assert_equivariant(model, data=images(), elements=QUARTERS)
        return
    x = images()  # a picture that was resampled is itself again after four turns; its output is a picture
    y, turned = model(x), model(Images(SO(2))(QUARTERS[1], x))
    assert (turned - out(QUARTERS[1], y)).abs().max() < 1e-10 < (turned - y).abs().max()


def test_it_sees_what_a_classifier_sees():
    transformer = TransformerSequence(stage("rotation-scale"), stage("x-shear"))
    net = nn.Sequential(nn.Flatten(), nn.Linear(2 * 16 * 16, 3)).double()
    group = GLPlus(2)
    model = Canonicalize(net, Images(group), Invariant(group), WarpCanonicalizer(transformer, group))
    x = images()
    torch.testing.assert_close(model(x), TransformedClassifier(net, transformer)(x), atol=1e-10, rtol=0)
    _, info = model(x, return_info=True)
    assert info["matrix"].shape == (3, 3, 3) and not info["degenerate"].any()
    (model(x).sum() + model.canonicalizer.prior_loss(info)).backward()
    assert all(weight.grad.any() for weight in transformer.transformers[1].predictor.convolutions.parameters())
    assert model.canonicalizer.prior_loss({"matrix": torch.eye(3).expand(2, 3, 3)}) == 0
    assert model(images(0)).shape == (0, 3)


def test_images_without_a_direction_are_counted_once():
    source = WarpCanonicalizer(stage("rotation"))
    x = images()
    x[1] = 0
    with pytest.warns(UserWarning, match="1 of 3 images have no direction"):
        found = source(x)
    assert torch.equal(found.g[1, 0], torch.eye(2).double()) and found.info["degenerate"].tolist() == [
        False,
        True,
        False,
    ]
    source(x)  # and no second warning


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="stages of x-perspective are no linear maps"):
        WarpCanonicalizer(TransformerSequence(stage("rotation"), stage("x-perspective")))
    with pytest.raises(ValueError, match="names no group; give one"):
        WarpCanonicalizer(TransformerParallel(stage("rotation"), stage("scale")))
    with pytest.raises(ValueError, match=r"the source gives elements of SO\(2\), the Actions belong to GLPlus\(2\)"):
        Canonicalize(nn.Identity(), Images(GLPlus(2)), Images(GLPlus(2)), WarpCanonicalizer(stage("rotation")))
