"""Layers pulled towards several symmetries: the pull is a projection, and what stays off says which one is broken."""

import warnings

import pytest
import torch
from torch import nn

from intertwine import maps
from intertwine.groups import SO, Dihedral, O
from intertwine.groups.generated import MatrixGroup
from intertwine.reps import Rep
from intertwine.symmetrize import SoftEquivariance
from intertwine.symmetrize.projection import Projection


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def about(axis: int) -> MatrixGroup:
    """Rotations about an axis of space and mirrors that contain it."""
    i, j = (k for k in range(3) if k != axis)
    turn, mirror = torch.zeros(1, 3, 3), torch.eye(3)[None].clone()
    turn[0, i, j], turn[0, j, i], mirror[0, i, i] = 1, -1, -1
    return MatrixGroup(turn, mirror)


def nearest(space: maps.Map, M: torch.Tensor) -> torch.Tensor:
    return Projection({"it": space}).nearest("it", M)


GROUPS = {"O(3)": O(3), "SO(3)": SO(3)} | {f"about {a}": about(k) for k, a in enumerate("xyz")}


def bodies(group) -> tuple[Rep, Rep]:
    """Five masses and positions, and a matrix."""
    return 5 * group.trivial + 5 * group.V, group.V * group.V


def soft(names, bias: bool = True, **options) -> SoftEquivariance:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 9, bias=bias)).double()
    return SoftEquivariance(model, {name: {"0": bodies(GROUPS[name])} for name in names}, **options)


AXES = [(f"about {a}", 30, 2) for a in "xyz"]


@pytest.mark.parametrize(("name", "weights", "biases"), [("O(3)", 5, 1), ("SO(3)", 10, 1), *AXES])
def test_projections(name, weights, biases):
    rep_in, rep_out = bodies(GROUPS[name])
    space = maps.between(rep_in, rep_out)
    assert (space.dim, maps.invariants(rep_out).dim) == (weights, biases)
    A, B = randn(9, 20), randn(9, 20, seed=1)
    PA, PB = nearest(space, A), nearest(space, B)
    torch.testing.assert_close(PA, space.matrix(space.project(A)), atol=1e-10, rtol=0)
    torch.testing.assert_close(nearest(space, PA), PA, atol=1e-10, rtol=0)
    torch.testing.assert_close((A * PB).sum(), (PA * B).sum(), atol=1e-10, rtol=0)
    off = sum(r.square().sum() for r in Projection({"it": space}).residual("it", A))
    torch.testing.assert_close(off, (A - PA).square().sum(), atol=1e-10, rtol=0)


@pytest.mark.parametrize("group", [O(3), SO(3)], ids=str)
def test_of_a_compact_group_it_is_the_average_to_three_standard_errors(group, generator):
    rep_in, rep_out = bodies(group)
    A, g = randn(9, 20), group.sample(2000, generator=generator)
    turned = rep_out.matrix(group.inverse(g)) @ A @ rep_in.matrix(g)
    off = (turned.mean(0) - nearest(maps.between(rep_in, rep_out), A)) / (turned.std(0) / 2000**0.5).clamp_min(1e-12)
    assert (off.abs() > 3).double().mean() < 0.02 and off.abs().max() < 5  # of 180 entries, 0.27 % would be off by 3


def test_of_a_group_that_is_not_orthogonal_it_is_still_the_nearest():
    """Shifts in homogeneous coordinates: no average, but a null space."""
    shift = torch.zeros(2, 3, 3)
    shift[0, 0, 2] = shift[1, 1, 2] = 1
    group = MatrixGroup(shift)
    space = maps.between(2 * group.V, group.V)
    A = randn(3, 6)
    PA = nearest(space, A)
    basis = space.basis().flatten(1)
    assert basis.shape[0] > 0
    torch.testing.assert_close(basis @ (A - PA).flatten(), torch.zeros(len(basis)).double(), atol=1e-10, rtol=0)
    g = torch.matrix_exp(0.7 * shift[0].double() - 0.2 * shift[1].double())
    torch.testing.assert_close(group.V.matrix(g) @ PA, PA @ (2 * group.V).matrix(g), atol=1e-10, rtol=0)


def test_of_a_finite_group_it_is_the_average():
    group = Dihedral(4)
    rep_in, rep_out = 2 * group.V + group.trivial, group.V
    A, elements = randn(4, 9), group.elements()
    mean = (rep_out.matrix(group.inverse(elements)) @ A @ rep_in.matrix(elements)).mean(0)
    torch.testing.assert_close(nearest(maps.between(rep_in, rep_out), A), mean, atol=1e-10, rtol=0)


def test_penalties_see_what_is_not_equivariant_and_nothing_else():
    model = soft(list(GROUPS))
    layer = model.model[0]
    before = model.penalties()
    space = maps.between(*bodies(O(3)))
    with torch.no_grad():
        layer.weight += space.matrix(randn(space.dim))
    for name, R in model.penalties().items():  # an O(3) map is one for the axis too
        torch.testing.assert_close(R, before[name], atol=1e-10, rtol=0)
    assert max(R for name, R in before.items() if name != "O(3)") < before["O(3)"]  # a smaller group asks for less
    R = model.penalties()["O(3)"]
    slope, slope_b = torch.autograd.grad(R, [layer.weight, layer.bias])
    torch.testing.assert_close(slope, layer.weight - nearest(space, layer.weight), atol=1e-12, rtol=0)
    assert 0 < slope_b.norm() < layer.bias.norm()
    with torch.no_grad():
        layer.weight.copy_(nearest(space, layer.weight))
        layer.bias.copy_(layer.bias - slope_b)
    assert max(model.penalties().values()) < 1e-20 and max(model.levels().values()) < 1e-20
    assert set(model.state_dict()) == {"model.0.weight", "model.0.bias"}
    x = randn(3, 20)
    assert torch.equal(model(x), model.model(x))


def test_weights():
    model = soft(GROUPS, weight={name: 2.0 * (name != "SO(3)") for name in GROUPS})
    found = {name: R.detach() for name, R in model.penalties().items()}
    expected = sum(2 * R for name, R in found.items() if name != "SO(3)")  # all but the one of weight 0
    torch.testing.assert_close(model.loss().detach(), expected, atol=0, rtol=1e-12)
    parameters = list(model.parameters())
    slow = sum(2 * R for name, R in model.penalties().items() if name != "SO(3)")
    for ours, theirs in zip(torch.autograd.grad(model.loss(), parameters), torch.autograd.grad(slow, parameters)):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)
    model.observe()
    with torch.no_grad():
        model.model[0].weight.mul_(10)
    model.observe()  # the smaller penalties stay
    new, least = model.rebalance(), min(R for name, R in found.items() if name != "SO(3)")
    for name, R in found.items():
        assert new[name] == pytest.approx(0 if name == "SO(3)" else 2 * float(least / R) ** 2)
    nothing = soft(["O(3)"], weight=0.0)
    assert nothing.loss() == 0 and not nothing.loss().requires_grad


def test_the_penalty_compiles_to_one_graph():
    model = soft(["O(3)", "about z"])
    assert torch.compile(model.loss, fullgraph=True, backend="eager")() == model.loss()


def test_every_symmetry_named_gets_its_weight():
    """In the published trainer the last one of the list is lost."""
    for name in GROUPS:
        model = soft(GROUPS, weight={other: 3.0 * (other == name) for other in GROUPS})
        torch.testing.assert_close(model.loss(), 3 * model.penalties()[name], atol=1e-10, rtol=0)
        assert model.loss() > 0


def trained(model: nn.Module, extra) -> torch.Tensor:
    x, y = randn(40, 20), randn(40, 9, seed=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        ((model(x) - y).square().mean() + extra()).backward()
        optimizer.step()
    return [p.detach() for p in model.parameters()]


def test_without_weight_training_is_what_it_was_bit_for_bit():
    model = soft(GROUPS, weight=0.0)
    plain = soft(GROUPS).model
    for ours, theirs in zip(trained(model, model.loss), trained(plain, lambda: 0.0)):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("metric", ["log", "cosine"])
def test_other_distances(metric):
    model = soft(["O(3)", "about z"], metric=metric, weight={"O(3)": 0.0, "about z": 2.0})
    layer, (rep_in, rep_out) = model.model[0], bodies(GROUPS["about z"])
    W, b = layer.weight.detach(), layer.bias.detach()[:, None]
    both = [(W, nearest(maps.between(rep_in, rep_out), W)), (b, nearest(maps.invariants(rep_out), b))]
    if metric == "log":
        expected = sum(torch.logsumexp(2 * torch.log((M - PM).abs() + 1e-3).flatten(), 0) for M, PM in both)
    else:
        expected = sum(1 - nn.functional.cosine_similarity(M.flatten(), PM.flatten(), 0) for M, PM in both)
    before = model.loss()
    torch.testing.assert_close(before.detach(), 2 * expected, atol=1e-4, rtol=0)
    for p, slope in zip(model.parameters(), torch.autograd.grad(before, list(model.parameters()))):
        with torch.no_grad():
            p -= 1e-3 * slope
    assert model.loss() < before
    with torch.no_grad():
        layer.weight.copy_(both[0][1])
        layer.bias.zero_()
    assert metric == "log" or 0 <= model.loss() < 1e-12


@pytest.mark.parametrize("act", [nn.SiLU(), nn.PReLU(), nn.Tanh()], ids=lambda act: type(act).__name__)
def test_activations_of_single_entries_are_not_pulled(act):
    """R = 0 and not equivariant: the constructor says so, unless the activation sees scalars."""
    V, one = O(3).V, O(3).trivial
    net = nn.Sequential(nn.Linear(6, 6), act, nn.Linear(6, 3)).double()
    layers = {"0": (2 * V, 2 * V), "2": (2 * V, V)}
    with pytest.warns(UserWarning, match=r"with '1' the model does not keep 'O\(3\)'.*is not equivariant on V"):
        model = SoftEquivariance(net, {"O(3)": layers})
    x, g = randn(5, 6), O(3).sample(1, generator=torch.Generator().manual_seed(0))[0]
    with torch.no_grad():
        for path, (rep_in, rep_out) in layers.items():
            layer = net.get_submodule(path)
            layer.weight.copy_(nearest(maps.between(rep_in, rep_out), randn(rep_out.dim, rep_in.dim)))
            layer.bias.zero_()
        assert model.penalties()["O(3)"] < 1e-20
        assert (V.act(g, net(x)) - net((2 * V).act(g, x))).abs().max() > 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SoftEquivariance(net, {"O(3)": layers}, pointwise=["1"])
        scalars = nn.Sequential(nn.Linear(6, 4), act, nn.Linear(4, 3))
        SoftEquivariance(scalars, {"O(3)": {"0": (2 * V, 4 * one), "2": (4 * one, V)}})


def test_where_an_activation_stands_is_known_in_sequences_only():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.act = nn.Linear(3, 4), nn.ReLU()
            self.second = nn.Linear(4, 3)

    V, one = O(3).V, O(3).trivial
    layers = {"first": (V, 4 * one), "second": (4 * one, V)}
    with pytest.warns(UserWarning, match=r"pointwise=\['act'\]"):
        SoftEquivariance(Net(), {"O(3)": layers})


def fitted(strength: float, weight: float) -> SoftEquivariance:
    """Linear data that O(3) moves but for a part of the given strength that only keeps the z axis."""
    space, axis = maps.between(*bodies(O(3))), maps.between(*bodies(about(2)))
    W = space.matrix(randn(space.dim)) + strength * axis.matrix(randn(axis.dim, seed=1))
    x = randn(200, 20)
    y = x @ W.T
    model = soft(["O(3)", "about x", "about y", "about z"], bias=False, weight=weight)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=60)

    def closure():
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean() + model.loss()
        loss.backward()
        return loss

    optimizer.step(closure)
    return model


def test_levels_tell_which_symmetry_is_broken_and_by_how_much():
    weak, strong = (fitted(s, 1e-3).levels() for s in (0.1, 0.5))
    for levels in (weak, strong):
        assert levels["about z"] == min(levels.values()) and levels["about z"] < 0.02 * levels["O(3)"]
        assert min(levels["about x"], levels["about y"]) > 20 * levels["about z"]
    assert strong["O(3)"] > 4 * weak["O(3)"]
    pulled = fitted(0.5, 1e6)  # a strong pull makes it equivariant
    W = pulled.model[0].weight.detach()
    assert pulled.levels()["O(3)"] < 1e-4
    assert (W - nearest(maps.between(*bodies(O(3))), W)).norm() < 1e-4 * W.norm()


def test_what_does_not_fit_is_named():
    net, reps = nn.Sequential(nn.Linear(20, 9), nn.Identity()), bodies(O(3))
    with pytest.raises(ValueError, match=r"no layer 'head'; it has \['0'\]"):
        SoftEquivariance(net, {"O(3)": {"head": reps}})
    with pytest.raises(ValueError, match=r"not a torch\.nn\.Linear"):
        SoftEquivariance(net, {"O(3)": {"1": reps}})
    with pytest.raises(ValueError, match=r"has weights \(9, 20\)"):
        SoftEquivariance(net, {"O(3)": {"0": reps[::-1]}})
    with pytest.raises(ValueError, match="needs a weight ≥ 0 for each"):
        SoftEquivariance(net, {"O(3)": {"0": reps}}, weight={"SO(3)": 1.0})
    with pytest.raises(ValueError, match="at least one symmetry"):
        SoftEquivariance(net, {})
    with pytest.raises(ValueError, match="metric 'angle' is none of frobenius, log, cosine"):
        SoftEquivariance(net, {"O(3)": {"0": reps}}, metric="angle")
    with pytest.raises(ValueError, match=r"has \['O\(3\)'\], the state \['SO\(3\)'\]"):
        SoftEquivariance(net, {"O(3)": {"0": reps}}).balance = {"weight": {"SO(3)": 1.0}, "least": {}}
