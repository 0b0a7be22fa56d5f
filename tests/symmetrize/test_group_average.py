"""Averages over a group: exact when whole, right on the average when drawn, and honest about which."""

import pytest
import torch
from torch import nn

from intertwine.audit import assert_equivariant
from intertwine.groups import SO, A, Cyclic, Dihedral, E, O, S
from intertwine.reps import Images, Invariant, Points, Vectors
from intertwine.symmetrize import GroupAverage, Sampled, Subset, Symmetrizer, WholeGroup
from symmetrize.models import FlatMLP


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def cnn(channels: int = 3, out: int = 2) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, out, 3, padding=1)).double()


@pytest.mark.parametrize("group", [Cyclic(4), Dihedral(4)], ids=str)
def test_a_cnn_turns_with_its_image(group):
    fields = GroupAverage(cnn(), Images(group), Images(group))
    assert assert_equivariant(fields, data=randn(2, 3, 6, 6)).forward < 1e-10
    head = nn.Sequential(cnn(), nn.Flatten(), nn.Linear(72, 5, dtype=torch.float64))
    labels = GroupAverage(head, Images(group), Invariant())
    assert assert_equivariant(labels, data=randn(2, 3, 6, 6)).forward < 1e-10


@pytest.mark.parametrize("group", [Dihedral(4), Cyclic(3) * S(3), S(1)], ids=str)
def test_representations(group):
    rep_in, rep_out = 3 * group.V, group.V + 2 * group.trivial
    model = GroupAverage(FlatMLP(rep_in.dim, rep_out.dim), rep_in, rep_out)
    assert assert_equivariant(model).forward < 1e-12
    assert model.guarantee == "exact" and model.cost.calls_per_sample == (group.order, group.order)


def test_chunks_give_the_same_values_and_gradients():
    group = Dihedral(4)
    rep = 2 * group.V
    net = FlatMLP(rep.dim, rep.dim)
    whole, parts = GroupAverage(net, rep, rep), GroupAverage(net, rep, rep, chunk=3)
    x = randn(5, rep.dim).requires_grad_()
    torch.testing.assert_close(parts(x), whole(x), atol=1e-12, rtol=0)
    grads = [torch.autograd.grad(m(x).square().sum(), [x, *net.parameters()]) for m in (whole, parts)]
    for a, b in zip(*grads):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)
    assert (whole.cost.peak_activation_multiplier, parts.cost.peak_activation_multiplier) == (8, 3)


def test_draws_are_right_on_the_average_and_say_how_far_off_they_are():
    group, x = O(2), randn(3, 4, 2)
    net = FlatMLP(8, 2)
    model = GroupAverage(net, Points(group), Vectors(group), samples=50)
    assert model.guarantee == "in expectation"
    steps = 2000
    angles = 2 * torch.pi * torch.arange(steps, dtype=torch.float64) / steps
    turns = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], -1).reshape(-1, 2, 2)
    mirrored = turns @ torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
    truth = Symmetrizer(net, Points(group), Vectors(group), Subset(group, torch.cat([turns, mirrored])))(x)
    generator = torch.Generator().manual_seed(1)
    runs = [model(x, generator=generator, return_info=True) for _ in range(40)]
    values, variances = torch.stack([y for y, _ in runs]), torch.stack([info["variance"] for _, info in runs])
    error = values.mean(0) - truth
    assert (error.abs() < 4 * values.std(0) / 40**0.5).all()
    ratio = variances.mean(0) / values.var(0)
    assert ratio.min() > 0.5 and ratio.max() < 2


def test_draws_follow_their_generator():
    group, x = SO(3), randn(2, 4, 3)
    model = GroupAverage(FlatMLP(12, 3), Points(group), Vectors(group), samples=3)
    a, b, c = (model(x, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    twins = model(x[:1].expand(2, 4, 3), generator=torch.Generator().manual_seed(1))
    assert not torch.equal(twins[0], twins[1])  # each sample has draws of its own
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        d = model(x)
        torch.manual_seed(0)
        assert torch.equal(model(x), d)
    fixed = GroupAverage(FlatMLP(12, 3), Points(group), Vectors(group), samples=3, fixed=True)
    assert fixed.guarantee == "approximate" and torch.equal(fixed(x), fixed(x))


def test_a_subgroup_is_exact_for_itself_only():
    group = S(4)
    rep_in, rep_out = group.V, group.V
    net = FlatMLP(4, 4)
    model = Symmetrizer(net, rep_in, rep_out, Subset(group, A(4).elements()))
    assert model.guarantee == "approximate"
    even = model(rep_in.act(A(4).elements()[3], randn(2, 4))) - rep_out.act(A(4).elements()[3], model(randn(2, 4)))
    assert even.abs().max() < 1e-12
    swap = torch.tensor([1, 0, 2, 3])
    assert (model(rep_in.act(swap, randn(2, 4))) - rep_out.act(swap, model(randn(2, 4)))).abs().max() > 1e-6


def test_further_arguments():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = FlatMLP(7, 2)

        def forward(self, x, time, table, *, scale=None):
            return self.net(torch.cat([x, time[:, None], table[:1].expand(len(x), -1)], 1)) * scale[:, None]

    group = Cyclic(4)
    model = GroupAverage(Net(), group.V, Invariant(), invariant_args={1})
    x, time, table, scale = randn(3, 4), randn(3, seed=1), randn(5, 2, seed=2), randn(3, seed=3)
    y = model(x, time, table, scale=scale)
    moved = model(group.V.act(torch.tensor(1), x), time, table, scale=scale)
    torch.testing.assert_close(moved, y, atol=1e-12, rtol=0)
    alone = model(x[1:2], time[1:2], table, scale=scale[1:2])
    torch.testing.assert_close(alone, y[1:2], atol=1e-12, rtol=0)


def test_it_trains_and_its_state_is_the_models():
    group = Cyclic(4)
    rep = group.V
    model = GroupAverage(FlatMLP(4, 4), rep, rep)
    assert set(model.state_dict()) == {f"model.{name}" for name in model.model.state_dict()}
    other = GroupAverage(FlatMLP(4, 4, seed=5), rep, rep)
    other.load_state_dict(model.state_dict())
    x = randn(32, 4)
    target = x.roll(1, -1) * x
    torch.testing.assert_close(other(x), model(x))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (model(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert_equivariant(model)


def test_compiled_and_exported():
    """Dropped into other tools like any module: one graph, and an exported program."""
    group = Dihedral(4)
    model = GroupAverage(FlatMLP(4, 4), group.V, group.V)
    x = randn(3, 4)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x))
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x))


@pytest.mark.parametrize("size", [0, 1, 3])
def test_batches(size):
    group = Cyclic(4)
    model = GroupAverage(FlatMLP(4, 4), group.V, group.V)
    assert model(randn(size, 4)).shape == (size, 4)


def test_batch_norm_is_warned_of():
    group = Cyclic(4)
    with pytest.warns(UserWarning, match="statistics mix the 4 copies"):
        GroupAverage(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), group.V, group.V)


def test_what_does_not_fit_is_said_at_once():
    group, net = Cyclic(4), FlatMLP(4, 4)
    with pytest.raises(TypeError, match=r"must be a torch.nn.Module"):
        GroupAverage(lambda x: x, group.V, group.V)
    with pytest.raises(TypeError, match="must be an Action"):
        Symmetrizer(net, group.V, 4, WholeGroup(group))
    with pytest.raises(TypeError, match="names its group"):
        GroupAverage(net, 4, group.V)
    with pytest.raises(TypeError, match="ElementSource"):
        Symmetrizer(net, group.V, group.V, group)
    with pytest.raises(ValueError, match=r"rep_in belongs to Cyclic\(4\), rep_out to Cyclic\(3\)"):
        GroupAverage(net, group.V, Cyclic(3).V)
    with pytest.raises(ValueError, match=r"source gives elements of Cyclic\(3\)"):
        Symmetrizer(net, group.V, group.V, WholeGroup(Cyclic(3)))
    with pytest.raises(ValueError, match="chunk"):
        GroupAverage(net, group.V, group.V, chunk=0)
    with pytest.raises(ValueError, match="infinite; give samples=k"):
        GroupAverage(net, SO(3).V, SO(3).V)
    with pytest.raises(ValueError, match="order 40320"):
        GroupAverage(net, S(8).V, S(8).V)
    with pytest.raises(ValueError, match="not compact"):
        GroupAverage(net, Points(E(3)), Points(E(3)), samples=4)
    with pytest.raises(ValueError, match="not all elements given belong"):
        Subset(group, torch.tensor([0, 7]))
    with pytest.raises(ValueError, match="k must be"):
        Sampled(SO(3), 0)


def test_outputs_that_do_not_fit():
    class Total(nn.Module):
        def forward(self, x):
            return x.sum()

    class Nothing(nn.Module):
        def forward(self, x):
            return "nothing"

    group, x = Cyclic(4), randn(3, 4)
    with pytest.raises(ValueError, match="axis 0 must count samples"):
        GroupAverage(Total(), group.V, Invariant())(x)
    with pytest.raises(ValueError, match="holds no tensor"):
        GroupAverage(Nothing(), group.V, Invariant())(x)
    with pytest.raises(ValueError, match="single number"):
        GroupAverage(Total(), group.V, Invariant())(torch.tensor(1.0))
