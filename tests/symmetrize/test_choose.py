"""One door: the method by the group where one is exact, every wrapper by name, and errors that list the names."""

import pytest
import torch
from torch import nn

from intertwine.audit import assert_equivariant
from intertwine.groups import SO, Cyclic, E, Lorentz, O, S
from intertwine.reps import Images, Invariant, Permute, Points
from intertwine.symmetrize import (
    Canonicalize,
    FrameAverage,
    GroupAverage,
    OrbitCanonicalize,
    Sampled,
    ScalarGenerator,
    WholeGroup,
    symmetrize,
)
from symmetrize.models import FlatMLP, PointNet

TURNS = Images(Cyclic(4))
FOUR = 4 * O(3).V


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("group", [E(3), SO(3), O(3)], ids=str)
def test_groups_of_space_get_frames(group):
    model = symmetrize(PointNet(3, 1), Points(group), Invariant())
    assert type(model.source).__name__ == "PCAFrame" and model.guarantee == "exact"
    assert_equivariant(model, data=randn(2, 5, 3), elements=2)


def test_finite_groups_are_listed_and_large_ones_sorted():
    assert isinstance(symmetrize(FlatMLP(4, 1), Cyclic(4).V, Invariant()).source, WholeGroup)
    for n, name in ((4, "WholeGroup"), (5, "SortFrame")):  # 24 elements, 120
        model = symmetrize(PointNet(3, 1), Permute(S(n)), Invariant())
        assert type(model.source).__name__ == name
        assert_equivariant(model, data=randn(2, n, 3), elements=2)


def score() -> nn.Module:
    return FlatMLP(16, 1, seed=1)


NAMED = {
    "frame": (FrameAverage, lambda **kw: symmetrize(FlatMLP(15, 1), Points(E(3)), Invariant(), "frame", **kw), (5, 3)),
    "stochastic": (
        FrameAverage,
        lambda **kw: symmetrize(FlatMLP(15, 1), Points(E(3)), Invariant(), "stochastic", **kw),
        (5, 3),
    ),
    "group": (GroupAverage, lambda **kw: symmetrize(FlatMLP(16, 2), TURNS, Invariant(), "group", **kw), (1, 4, 4)),
    "canonicalize": (
        Canonicalize,
        lambda **kw: symmetrize(FlatMLP(16, 2), TURNS, Invariant(), "canonicalize", canonicalizer=score(), **kw),
        (1, 4, 4),
    ),
    "orbit": (
        OrbitCanonicalize,
        lambda **kw: symmetrize(
            FlatMLP(12, 1), FOUR, Invariant(), "orbit", source=ScalarGenerator(FOUR, width=8).double(), **kw
        ),
        (12,),
    ),
}


@pytest.mark.parametrize("how", NAMED)
def test_every_wrapper_by_its_name(how):
    kind, make, shape = NAMED[how]
    model = make(chunk=2).eval()
    assert type(model) is kind and model.chunk == 2
    assert ("×1 forward cost" in repr(make())) == (how in ("stochastic", "canonicalize", "orbit"))
    assert_equivariant(model, data=randn(3, *shape), elements=2)


def test_options_go_to_the_wrapper():
    drawn = symmetrize(PointNet(3, 1), Points(SO(3)), Invariant(), how="group", samples=2)
    assert isinstance(drawn.source, Sampled) and drawn.guarantee == "in expectation"
    assert symmetrize(PointNet(3, 1), Points(E(3)), Invariant(), how="stochastic").guarantee == "in expectation"
    with pytest.raises(TypeError, match="samples"):
        symmetrize(PointNet(3, 1), Points(SO(3)), Invariant(), how="frame", samples=2)


def test_what_cannot_be_chosen_is_said_with_the_names():
    names = "'auto', 'frame', 'stochastic', 'group', 'canonicalize', 'orbit'"
    with pytest.raises(ValueError, match=f"how must be one of {names}, got 'magic'"):
        symmetrize(FlatMLP(4, 1), Cyclic(4).V, Invariant(), how="magic")
    for group in (SO(3) * SO(2), Lorentz(1, 3)):
        with pytest.raises(ValueError, match=f"no exact method without training.*Valid: {names}"):
            symmetrize(FlatMLP(6, 1), group.V, Invariant())
    with pytest.raises(ValueError, match=f"SoftEquivariance.*Valid here: {names}"):
        symmetrize(FlatMLP(4, 1), Cyclic(4).V, Invariant(), how="soft")
    with pytest.raises(ValueError, match="needs canonicalizer="):
        symmetrize(FlatMLP(4, 1), Cyclic(4).V, Invariant(), how="canonicalize")
    with pytest.raises(ValueError, match="no frame is known"):
        symmetrize(FlatMLP(4, 1), Cyclic(4).V, Invariant(), how="frame")
    with pytest.raises(TypeError, match="names its group"):
        symmetrize(FlatMLP(4, 1), 4, Invariant())
