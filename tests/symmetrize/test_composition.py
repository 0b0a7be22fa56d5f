"""Wrapped models are modules like any other: wrapped again, saved and loaded, exported."""

import io
import warnings

import pytest
import torch
from torch import nn

from intertwine.audit import assert_equivariant
from intertwine.groups import SE, SO, Cyclic, E, O, S
from intertwine.reps import Images, Invariant, Nested, Permute, Points, Vectors
from intertwine.symmetrize import (
    Canonicalize,
    ContinuousCanonicalizer,
    FrameAverage,
    GroupAverage,
    OrbitCanonicalize,
    OrbitSource,
    PCAFrame,
    PlanarFrame,
    PointFrame,
    ScalarGenerator,
    SortFrame,
    StochasticFrame,
)
from symmetrize.models import CLOUDS, FlatMLP

TURNS, FOUR = Images(Cyclic(4)), 4 * O(3).V


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Vectors3(nn.Module):
    """Three vectors as mixtures of five positions, equivariant under SO(3)."""

    def __init__(self, seed: int):
        super().__init__()
        self.net, self.rep_in, self.rep_out = FlatMLP(5, 3, 5, seed=seed), Points(SO(3)), 3 * SO(3).V

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.norm(dim=-1)) @ x


def framed(seed: int, source) -> FrameAverage:
    return FrameAverage(FlatMLP(15, 3, seed=seed), Points(source.group), Vectors(source.group), frame=source)


def generator(seed: int, project: bool) -> OrbitSource:
    net = ScalarGenerator(FOUR, width=8, generator=torch.Generator().manual_seed(seed)).double()
    return OrbitSource(net, O(3), project=project)


# Each makes a wrapped model from a seed of its weights, and a batch.
EXPORTED = {
    "frames": (lambda s: framed(s, PCAFrame(E(3), on_degenerate="warn")), (3, 5, 3)),
    "rotations": (lambda s: framed(s, PCAFrame(SE(3), on_degenerate="warn")), (3, 5, 3)),
    "planar": (lambda s: framed(s, PlanarFrame(E(3), on_degenerate="warn")), (3, 5, 3)),
    "stochastic": (lambda s: framed(s, StochasticFrame(PCAFrame(E(3), on_degenerate="warn"))), (3, 5, 3)),
    "group": (lambda s: GroupAverage(FlatMLP(16, 1, 4, 4, seed=s), TURNS, TURNS), (3, 1, 4, 4)),
    "pose": (
        lambda s: Canonicalize(FlatMLP(16, 1, 4, 4, seed=s), TURNS, TURNS, FlatMLP(16, 1, seed=s + 1)),
        (3, 1, 4, 4),
    ),
    "rotation": (
        lambda s: Canonicalize(
            FlatMLP(15, 3, seed=s), Points(SE(3)), Vectors(SE(3)), ContinuousCanonicalizer(Vectors3(s), SE(3))
        ),
        (3, 5, 3),
    ),
    "orbit": (lambda s: OrbitCanonicalize(FlatMLP(12, 3, seed=s), FOUR, O(3).V, generator(s, project=False)), (3, 12)),
}
SAVED = EXPORTED | {
    "orbit, projecting": (
        lambda s: OrbitCanonicalize(FlatMLP(12, 3, seed=s), FOUR, O(3).V, generator(s, project=True)),
        (3, 12),
    ),
    "points": (lambda s: framed(s, PointFrame(SE(3))), (3, 5, 3)),
    "sorted": (lambda s: FrameAverage(FlatMLP(10, 5, seed=s), Permute(S(5)), Permute(S(5))), (3, 5, 2)),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_exported(name):
    """The program gives what the model gives, for other data too."""
    make, shape = EXPORTED[name]
    model = make(0).eval()
    program = torch.export.export(model, (randn(*shape),)).module()
    x = 0.3 * randn(*shape, seed=1)
    torch.testing.assert_close(program(x), model(x), atol=1e-14, rtol=0)


def test_canonicalizers_compile_to_one_graph():
    """The first of tied poses is used then: of a constant image, its own."""
    model = EXPORTED["pose"][0](0).eval()
    x = torch.cat([randn(1, 1, 4, 4), torch.ones(1, 1, 4, 4)])
    y, info = torch.compile(model, fullgraph=True, backend="eager")(x, return_info=True)
    assert info["mask"].shape == (2, 1) and info["ties"].tolist() == [1, 4]
    torch.testing.assert_close(y, torch.cat([model(x[:1]), model.model(x[1:])]), atol=1e-14, rtol=0)


@pytest.mark.parametrize("name", ["points", "sorted", "frames of any cloud"])
def test_what_the_data_decides_is_not_exported(name):
    make, shape = SAVED.get(name, (lambda s: framed(s, PCAFrame(E(3))), (3, 5, 3)))
    with pytest.raises(ValueError, match="the data decides how many elements there are"):
        torch.export.export(make(0), (randn(*shape),))


@pytest.mark.parametrize("name", SAVED)
def test_saved_and_loaded(name):
    """The state is parameters only, and all that is needed for the same outputs."""
    make, shape = SAVED[name]
    model, other, x = make(0).eval(), make(7).eval(), 0.3 * randn(*shape)
    assert model.state_dict().keys() == {name for name, _ in model.named_parameters()}
    assert not torch.equal(model(x), other(x))
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(model(x), other(x))


def test_a_wrapper_in_a_wrapper_has_both_symmetries():
    """Where the outer one's elements do not see the inner symmetry, as principal axes do not see the order of points.

    Sorting by coordinates sees their pose, sorting by distances does not.
    """
    x = randn(2, 5, 3)

    def error(model, group):
        action = Points(group) if group == E(3) else Permute(group)
        rep_out = Vectors(group) if group == E(3) else Invariant(group)
        try:
            return assert_equivariant(model, rep_in=action, rep_out=rep_out, data=x, elements=2).forward
        except AssertionError:
            return 1.0

    net = FlatMLP(15, 3)
    ordered = FrameAverage(net, Permute(S(5)), Invariant())
    axes = FrameAverage(net, Points(E(3)), Vectors(E(3)))
    far = SortFrame(S(5), key=lambda x: (x - x.mean(1, keepdim=True)).norm(dim=-1, keepdim=True), on_large="error")
    outside = {
        "axes": FrameAverage(ordered, Points(E(3)), Vectors(E(3))),
        "order by coordinates": FrameAverage(axes, Permute(S(5)), Invariant()),
        "order by distances": FrameAverage(axes, Permute(S(5)), Invariant(), frame=far),
    }
    kept = {name: (error(model, E(3)) < 1e-10, error(model, S(5)) < 1e-10) for name, model in outside.items()}
    assert kept == {"axes": (True, True), "order by coordinates": (False, True), "order by distances": (True, True)}


def test_nested_wrappers_train_save_and_say_what_they_cost():
    def make(seed: int) -> nn.Module:
        inner = GroupAverage(FlatMLP(16, 2, seed=seed), TURNS, Invariant())
        return Canonicalize(inner, TURNS, Invariant(), FlatMLP(16, 1, seed=seed + 1))

    model, x = make(0), randn(4, 1, 4, 4)
    assert set(model.state_dict()) == {
        *(f"model.model.{name}" for name in FlatMLP(16, 2).state_dict()),
        *(f"source.score.net.{name}" for name in FlatMLP(16, 1).state_dict()),
    }
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    before = model(x).square().mean().item()
    for _ in range(20):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < before / 2
    other = make(5)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.eval()(x), model.eval()(x))
    assert "×1 forward cost" in repr(model) and "×4 forward cost" in repr(model)
    assert_equivariant(model, data=x)


class Counting(nn.Module):
    """A model of dicts that counts the samples it is given."""

    def __init__(self):
        super().__init__()
        self.net, self.seen = FlatMLP(15, 3), 0

    def forward(self, data):
        self.seen += len(data["pos"])
        return {"dipole": self.net(data["pos"]) * data["mass"][:, None], "label": data["label"]}


@pytest.mark.parametrize("chunk", [None, 1, 5])
def test_a_symmetric_sample_costs_its_neighbours_nothing(chunk):
    """Methane has 24 frames, the others 8: 24 + 2·8 calls, whatever the chunks, and the gradient of each alone."""
    data = {"pos": torch.cat([randn(1, 5, 3), CLOUDS["methane"][None], randn(1, 5, 3, seed=1)]), "mass": randn(3)}
    data["label"] = torch.arange(3)
    rep_in = Nested({"pos": Points(E(3)), "mass": Invariant(), "label": Invariant()})
    rep_out = Nested({"dipole": Vectors(E(3)), "label": Invariant()})
    model = FrameAverage(Counting(), rep_in, rep_out, chunk=chunk)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = model({**data, "pos": data["pos"].requires_grad_()})
        assert model.model.seen == 24 + 2 * 8 and y["label"].tolist() == [0, 1, 2]
        (slope,) = torch.autograd.grad(y["dipole"].square().sum(), data["pos"])
        for k in range(3):
            one = {name: value[k : k + 1].detach() for name, value in data.items()}
            alone = model({**one, "pos": one["pos"].requires_grad_()})["dipole"]
            torch.testing.assert_close(y["dipole"][k : k + 1], alone, atol=1e-14, rtol=0)
            (own,) = torch.autograd.grad(alone.square().sum(), one["pos"])
            torch.testing.assert_close(slope[k : k + 1], own, atol=1e-13, rtol=0)


@pytest.mark.filterwarnings("ignore:DiscreteCanonicalizer")
def test_a_tied_pose_in_training():
    """The slope of the mixture goes to every copy of a tied sample, and to no other."""
    x = torch.cat([torch.ones(1, 1, 4, 4), randn(2, 1, 4, 4)])
    model = EXPORTED["pose"][0](0)
    weights = list(model.source.parameters())
    whole = torch.autograd.grad(model(x).square().sum(), weights)
    parts = [torch.autograd.grad(model(x[k : k + 1]).square().sum(), weights) for k in range(3)]
    for got, *expected in zip(whole, *parts):
        torch.testing.assert_close(got, sum(expected), atol=1e-12, rtol=0)


@pytest.mark.parametrize("chunk", [None, 3])
def test_three_deep(chunk):
    """A drawn frame of a whole frame of an average: nothing is lost, whatever the chunks."""
    first = FrameAverage(FlatMLP(6, 2), Points(SO(2)), Vectors(SO(2)), chunk=chunk)
    second = FrameAverage(first, Points(E(2)), Vectors(E(2)), chunk=chunk)
    third = FrameAverage(second, Points(E(2)), Vectors(E(2)), frame="stochastic", chunk=chunk)
    x = randn(3, 3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(third(x), second(x), atol=1e-12, rtol=0)  # one draw of what does not change
    assert_equivariant(third.eval(), data=x, elements=2)
