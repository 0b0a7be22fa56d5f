"""Layers pulled towards several symmetries: the pull is a projection, and what stays off says which one is broken."""

import pytest
import torch
from torch import nn

from intertwine import maps
from intertwine.groups import SO, Dihedral, O
from intertwine.groups.generated import MatrixGroup
from intertwine.reps import Rep
from intertwine.symmetrize import SoftEquivariance
from intertwine.symmetrize.soft import nearest


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def about(axis: int) -> MatrixGroup:
    """Rotations about an axis of space and mirrors that contain it."""
    i, j = (k for k in range(3) if k != axis)
    turn, mirror = torch.zeros(1, 3, 3), torch.eye(3)[None].clone()
    turn[0, i, j], turn[0, j, i], mirror[0, i, i] = 1, -1, -1
    return MatrixGroup(turn, mirror)


GROUPS = {"O(3)": O(3), "SO(3)": SO(3)} | {f"about {a}": about(k) for k, a in enumerate("xyz")}


def bodies(group) -> tuple[Rep, Rep]:
    """Five masses and positions, and a matrix."""
    return 5 * group.trivial + 5 * group.V, group.V * group.V


def soft(names, bias: bool = True, **options) -> SoftEquivariance:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 9, bias=bias)).double()
    return SoftEquivariance(model, {name: {"0": bodies(GROUPS[name])} for name in names}, **options)


@pytest.mark.parametrize(("name", "weights", "biases"), [("O(3)", 5, 1), ("SO(3)", 10, 1), ("about z", 30, 2)])
def test_projections(name, weights, biases):
    rep_in, rep_out = bodies(GROUPS[name])
    space = maps.between(rep_in, rep_out)
    assert (space.dim, maps.invariants(rep_out).dim) == (weights, biases)
    A, B = randn(9, 20), randn(9, 20, seed=1)
    PA, PB = nearest(space, A), nearest(space, B)
    torch.testing.assert_close(nearest(space, PA), PA, atol=1e-10, rtol=0)
    torch.testing.assert_close((A * PB).sum(), (PA * B).sum(), atol=1e-10, rtol=0)


def test_of_a_finite_group_it_is_the_average():
    group = Dihedral(4)
    rep_in, rep_out = 2 * group.V + group.trivial, group.V
    A, elements = randn(4, 9), group.elements()
    mean = (rep_out.matrix(group.inverse(elements)) @ A @ rep_in.matrix(elements)).mean(0)
    torch.testing.assert_close(nearest(maps.between(rep_in, rep_out), A), mean, atol=1e-10, rtol=0)


def test_penalties_see_what_is_not_equivariant_and_nothing_else():
    model = soft(["O(3)", "about z"])
    layer = model.model[0]
    before = model.penalties()
    space = maps.between(*bodies(O(3)))
    with torch.no_grad():
        layer.weight += space.matrix(randn(space.dim))
    for name, R in model.penalties().items():  # an O(3) map is one for the axis too
        torch.testing.assert_close(R, before[name], atol=1e-10, rtol=0)
    assert before["about z"] < before["O(3)"]  # a smaller group asks for less
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
    torch.testing.assert_close(model.loss().detach(), expected)
    model.observe()
    with torch.no_grad():
        model.model[0].weight.mul_(10)
    model.observe()  # the smaller penalties stay
    new, least = model.rebalance(), min(R for name, R in found.items() if name != "SO(3)")
    for name, R in found.items():
        assert new[name] == pytest.approx(0 if name == "SO(3)" else 2 * float(least / R) ** 2)
    nothing = soft(["O(3)"], weight=0.0)
    assert nothing.loss() == 0 and not nothing.loss().requires_grad


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
    assert fitted(0.5, 1e4).levels()["O(3)"] < 1e-4  # a strong pull makes it equivariant


def test_what_does_not_fit_is_named():
    net, reps = nn.Sequential(nn.Linear(20, 9), nn.SiLU()), bodies(O(3))
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
