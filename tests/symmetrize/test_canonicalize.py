"""A learned pose for each input: exact whatever the network of scores, one call of the model, ties by a rule."""

import pytest
import torch
from torch import nn

from intertwine.audit import assert_equivariant
from intertwine.groups import SO, Cyclic, Dihedral
from intertwine.reps import Images, Invariant, Nested
from intertwine.symmetrize import (
    Canonicalize,
    DiscreteCanonicalizer,
    EnergyScore,
    GroupAverage,
    VectorScore,
)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def cnn(out: int | None = None, seed: int = 0) -> nn.Module:
    """From images [.., 2, 6, 6] to numbers, or without `out` to images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = [nn.Conv2d(2, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 2, 3, padding=1)]
        return nn.Sequential(*body, *([nn.Flatten(), nn.Linear(72, out)] if out else [])).double()


def scored(group, score=None, **options) -> DiscreteCanonicalizer:
    return DiscreteCanonicalizer(EnergyScore(score or cnn(1, seed=1), Images(group)), **options)


@pytest.mark.parametrize("group", [Cyclic(4), Dihedral(4)], ids=str)
def test_exact_for_any_network_of_scores(group):
    action, x = Images(group), randn(3, 2, 6, 6)
    labels = Canonicalize(cnn(5), action, Invariant(), scored(group))
    assert (labels.guarantee, labels.cost.calls_per_sample) == ("exact", (1.0, group.order))
    fields = Canonicalize(cnn(), action, action, cnn(1, seed=1))  # a plain network is one of scores
    labels.eval(), fields.eval()
    for i in range(group.order):
        h = group.take(group.elements(), i)
        assert torch.equal(labels(action(h, x)), labels(x))
        assert torch.equal(fields(action(h, x)), action(h, fields(x)))
        assert labels.canonicalizer.alignment(x, h) == 1
    assert assert_equivariant(labels, data=x).gradient < 1e-10
    assert assert_equivariant(fields, data=x).gradient < 1e-10


def test_eighth_turns_are_off_by_the_interpolation_and_no_more():
    group, n = Cyclic(8), 12
    action, grid = Images(group), torch.linspace(-1, 1, n, dtype=torch.float64)
    blob = torch.exp(-8 * ((grid[:, None] - 0.3) ** 2 + grid[None] ** 2)) + torch.exp(-20 * ((grid + 0.1) ** 2))
    x = action(torch.tensor(1), torch.stack([blob, blob.mT * grid])[None])
    model = Canonicalize(
        nn.Identity(), action, Invariant(), scored(group, nn.Sequential(nn.Flatten(), Uneven(2 * n * n)))
    )
    h = torch.tensor(1)
    assert model.canonicalizer.alignment(x, h) == 1
    pose, info = model(x, return_info=True)
    moved = model(action(h, x))
    floor = action(group.inverse(group.compose(h, info["chosen"])), action(h, x)) - pose
    torch.testing.assert_close(moved - pose, floor, atol=1e-12, rtol=0)
    assert floor.abs().max() > 1e-4


class Uneven(nn.Module):
    """The weighted sum of its inputs, weights falling: prefers what is bright in the first rows."""

    def __init__(self, n: int):
        super().__init__()
        self.slope = nn.Parameter(torch.linspace(3, -3, n, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.slope


def test_training_and_evaluation_choose_the_same():
    group, x = Dihedral(4), randn(4, 2, 6, 6)
    model = Canonicalize(cnn(3), Images(group), Invariant(), scored(group, beta=2.0))
    y, info = model(x, return_info=True)
    again, quiet = model.eval()(x, return_info=True)
    assert torch.equal(y, again) and torch.equal(info["chosen"], quiet["chosen"])
    assert info["mixture"].requires_grad and "mixture" not in quiet
    assert torch.equal(model(x), again)


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_the_slope_is_that_of_the_soft_mixture(batch):
    group = Cyclic(2)
    action, x, beta = Images(group), randn(batch, 1, 4, 4), 1.7
    readout = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, dtype=torch.float64))  # linear: the same slope everywhere
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 1, dtype=torch.float64))
    model = Canonicalize(readout, action, Invariant(), scored(group, net, beta=beta))
    (got,) = torch.autograd.grad(model(x).square().sum(), net[1].weight)
    poses = torch.stack([x, x.flip((2, 3))], 1)
    soft = (beta * net(poses.flatten(0, 1)).reshape(batch, 2)).softmax(1)
    mixed = readout(torch.einsum("bk,bkchw->bchw", soft, poses))
    (expected,) = torch.autograd.grad((2 * model(x).detach() * mixed).sum(), net[1].weight)
    torch.testing.assert_close(got, expected, atol=1e-12, rtol=0)
    model.source.gradient = "none"
    assert torch.autograd.grad(model(x).sum(), net[1].weight, allow_unused=True)[0] is None


def test_gumbel_draws_in_training_only():
    group, x = Cyclic(4), randn(200, 1, 4, 4)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 1, dtype=torch.float64))
    model = Canonicalize(nn.Flatten(), Images(group), Invariant(), scored(group, net, gradient="gumbel"))
    draws = [model(x, generator=torch.Generator().manual_seed(s), return_info=True)[1]["chosen"] for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert model.guarantee == "in expectation"
    best, info = model.eval()(x, return_info=True)
    expected = info["scores"].softmax(1).amax(1).mean().item()
    hits = (draws[0] == info["chosen"]).double().mean().item()
    assert abs(hits - expected) < 4 * (expected * (1 - expected) / 200) ** 0.5 and expected < 0.6
    assert model.guarantee == "exact" and torch.equal(model(x), best)


def test_the_prior_wants_the_pose_of_the_data():
    group = Cyclic(4)
    source = scored(group)
    sure = torch.zeros(5, 4, dtype=torch.float64)
    sure[:, 0] = 60
    chosen = {"chosen": sure.argmax(1)}
    assert source.prior_loss({"scores": sure}) < 1e-12 and source.identity_metric(chosen) == 1
    assert source.prior_loss({"scores": sure.roll(1, 1)}) > 50
    even = torch.full((4,), 0.25, dtype=torch.float64)
    level = scored(group, prior=even)
    assert level.prior_loss({"scores": 0 * sure}).abs() < 1e-15 < level.prior_loss({"scores": sure})
    data, net = randn(64, 1, 4, 4).abs(), nn.Sequential(nn.Flatten(), nn.Linear(16, 1, dtype=torch.float64))
    data[:, :, :2] += 1  # bright above
    model = Canonicalize(nn.Flatten(), Images(group), Invariant(), net)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        _, info = model(data, return_info=True)
        model.canonicalizer.prior_loss(info).backward()
        optimizer.step()
    assert model.canonicalizer.identity_metric(model(data, return_info=True)[1]) > 0.95


def test_a_frozen_model_is_left_alone():
    net = nn.Sequential(cnn(4), nn.BatchNorm1d(4, dtype=torch.float64), nn.Dropout(0.5))
    model = Canonicalize(net, Images(Cyclic(4)), Invariant(), cnn(1, seed=1), freeze_model=True).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    model(randn(4, 2, 6, 6)).square().sum().backward()
    assert not net.training and all(p.grad is None for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is not None for p in model.source.score.net.parameters())


def test_symmetric_inputs_keep_all_their_best_poses():
    group = Dihedral(4)
    action = Images(group)
    x = randn(3, 2, 6, 6)
    x[0] = 1.0  # the same in all poses
    x[1] = x[1] + x[1].flip((1, 2))  # in half of them
    model = Canonicalize(cnn(), action, action, scored(group)).eval()
    with pytest.warns(UserWarning, match=r"2 of 3 samples have several best poses \(up to 8\)"):
        y, info = model(x, return_info=True)
    assert info["ties"].tolist() == [8, 2, 1] and info["degenerate"].tolist() == [True, True, False]
    average = GroupAverage(model.model, action, action)
    torch.testing.assert_close(y[0], average(x)[0], atol=1e-12, rtol=0)
    assert assert_equivariant(model, data=x).gradient < 1e-10
    x[2] = float("nan")
    y, info = model(x, return_info=True)
    assert info["mask"][2].sum() == 1 and torch.isfinite(y[:2]).all() and torch.isnan(y[2]).all()


def test_likeness_to_a_reference():
    group, x = Cyclic(4), randn(3, 2, 6, 6)
    score = VectorScore(cnn(7, seed=2), Images(group), randn(7), learn_reference=True)
    model = Canonicalize(cnn(3), Images(group), Invariant(), DiscreteCanonicalizer(score))
    assert model.guarantee == "exact"
    assert assert_equivariant(model, data=x).forward == 0
    S = score.outputs(x).detach()
    expected = sum(abs(float(a @ b)) for s in S for i, a in enumerate(s) for j, b in enumerate(s) if i != j) / 36
    torch.testing.assert_close(score.overlap(x).item(), expected)
    (model(x).sum() + score.overlap(x)).backward()
    assert torch.isfinite(score.reference.grad).all() and score.reference.grad.abs().max() > 0


def test_dicts_and_further_arguments():
    group = Cyclic(4)
    rep_in = Nested({"image": Images(group), "age": Invariant()})

    class Both(nn.Module):
        def __init__(self, out: int):
            super().__init__()
            self.net = cnn(out)

        def forward(self, data, scale=1.0):
            return scale * self.net(data["image"]) + data["age"]

    x = {"image": randn(2, 2, 6, 6), "age": randn(2, 1)}
    model = Canonicalize(Both(3), rep_in, Invariant(), Both(1))
    assert assert_equivariant(model, data=x).forward == 0
    torch.testing.assert_close(model(x, 2.0) - x["age"], 2 * (model(x) - x["age"]))
    slope = torch.autograd.grad(model(x).square().sum(), next(model.source.parameters()))[0]
    assert torch.isfinite(slope).all() and slope.abs().max() > 0


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="not finite; every element is scored"):
        Canonicalize(cnn(1), Images(SO(2)), Invariant(), cnn(1))
    with pytest.raises(ValueError, match="needs a finite group"):
        DiscreteCanonicalizer(cnn(4))
    with pytest.raises(ValueError, match="gradient must be"):
        scored(Cyclic(4), gradient="soft")
    with pytest.raises(ValueError, match="prior must be 4 probabilities"):
        scored(Cyclic(4), prior=torch.ones(4))
    with pytest.raises(ValueError, match="one number per sample, got shape"):
        Canonicalize(cnn(1), Images(Cyclic(4)), Invariant(), cnn(3))(randn(1, 2, 6, 6))
    free = DiscreteCanonicalizer(cnn(3), Cyclic(4))
    assert free.guarantee == "approximate"
    with pytest.raises(ValueError, match="the scores have shape"):
        Canonicalize(cnn(1), Images(Cyclic(4)), Invariant(), free)(randn(1, 2, 6, 6))
    with pytest.raises(ValueError, match="a vector other than 0"):
        VectorScore(cnn(3), Images(Cyclic(4)), torch.zeros(3))
