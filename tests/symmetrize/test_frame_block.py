"""Frames of latent vectors and of neighbourhoods, and the metrics of single frames."""

import pytest
import torch
from torch import nn

from intertwine.audit import assert_equivariant
from intertwine.groups import SE, SO, Cyclic, E, O
from intertwine.reps import Invariant, Nested, Points, Tensors, Vectors
from intertwine.symmetrize import (
    FrameAverage,
    FrameBlock,
    GroupAverage,
    local_clouds,
    local_frames,
    symmetry_metrics,
)
from symmetrize.models import FlatMLP


def cloud(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Layer(nn.Module):
    """Nodes exchange their mean; the output is flat."""

    def __init__(self, n_in: int, n_out: int, seed: int = 0):
        super().__init__()
        self.net = FlatMLP(2 * n_in + 1, n_out, seed=seed)

    def forward(self, h: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        mean = h.mean(1, keepdim=True).expand_as(h)
        features = torch.cat([h, mean, time[:, None, None].expand(*h.shape[:2], 1)], -1)
        return self.net(features.flatten(0, 1)).unflatten(0, h.shape[:2])


@pytest.mark.parametrize("group", [E(3), SO(3), O(2)], ids=str)
def test_a_chain_of_blocks_is_equivariant(group):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            d = group.n
            self.first = FrameBlock(Layer(2 * d, 4 * d), 4, group)
            self.second = FrameBlock(Layer(4 * d, 3 * d, seed=1), 3, group)

        def forward(self, x):
            time = torch.linspace(0, 1, len(x), dtype=x.dtype)
            return self.second(self.first(x, time), time)

    x = cloud(3, 5, 2, group.n)
    assert Net()(x).shape == (3, 5, 3, group.n)
    assert_equivariant(Net(), rep_in=Points(group), rep_out=Points(group), data=x, elements=3)


def test_blocks_say_what_does_not_fit():
    with pytest.raises(ValueError, match="channels"):
        FrameBlock(Layer(6, 6), 0, E(3))
    with pytest.raises(ValueError, match="no frames of points"):
        FrameBlock(Layer(6, 6), 2, Cyclic(3))
    with pytest.raises(ValueError, match="latent vectors are"):
        FrameBlock(Layer(6, 6), 2, E(3))(cloud(2, 5, 3), torch.ones(2))
    with pytest.raises(ValueError, match="needs 3 vectors of 3 numbers"):
        FrameBlock(Layer(6, 6), 3, E(3))(cloud(2, 5, 2, 3), torch.ones(2, dtype=torch.float64))


def test_frames_of_neighbourhoods_move_along():
    group, x = SE(3), cloud(2, 12, 3)
    frames = local_frames(x, 6, group)
    assert frames.g.shape == (24, 4, 4, 4)
    g = group.sample(1, generator=torch.Generator().manual_seed(0))[0]
    moved = local_frames(Points(group)(g, x), 6, group)
    apart = (moved.g[:, :, None] - group.compose(g, frames.g)[:, None]).abs().amax((-1, -2))
    assert apart.amin(2).max() < 1e-10  # the same set, in any order
    with pytest.raises(ValueError, match="k=13 neighbours"):
        local_frames(x, 13, group)
    same = torch.cat([x[:, :5], x[:, :5]], 1)  # every point twice
    assert torch.equal(local_clouds(same, 3)[:, 0], same.flatten(0, 1))
    whole = FrameAverage(FlatMLP(18, 3, 3), Points(group), Tensors(group))
    assert torch.equal(whole.source(local_clouds(x, 6)).g, frames.g)

    def stress(x):
        return whole(local_clouds(x, 6)).unflatten(0, x.shape[:2])

    assert_equivariant(stress, rep_in=Points(group), rep_out=Tensors(group), data=x, elements=2)


class EnergyAndForces(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = FlatMLP(15, 1)

    def forward(self, data):
        with torch.enable_grad():
            pos = data["pos"].detach().requires_grad_()
            E = self.net(pos)
            return {"energy": E, "forces": -torch.autograd.grad(E.sum(), pos)[0]}


def test_metrics_of_single_frames():
    group = E(3)
    rep_out = Nested({"energy": Invariant(), "forces": Vectors(group)})
    model = FrameAverage(EnergyAndForces(), Nested({"pos": Points(group)}), rep_out, frame="stochastic")
    data, generator = {"pos": cloud(20, 5, 3)}, torch.Generator().manual_seed(0)
    drawn = symmetry_metrics(model, data, generator=generator)
    assert set(drawn) == {"Rot-I", "Refl-I", "Perc", "Pos", "F-Rot-E", "F-Refl-E", "within_frame_std"}
    assert min(drawn.values()) > 1e-4
    whole = symmetry_metrics(model.eval(), data, generator=generator)
    assert max(value for name, value in whole.items() if name != "within_frame_std") < 1e-10
    y = torch.stack([model.train()(data, generator=generator)["energy"] for _ in range(300)])
    spread = y.var(0).mean().sqrt().item()
    assert abs(drawn["within_frame_std"] - spread) < 0.1 * spread


def test_metrics_need_turns():
    model = GroupAverage(FlatMLP(4, 1), Cyclic(4).V, Invariant())
    with pytest.raises(ValueError, match="does not turn points"):
        symmetry_metrics(model, cloud(2, 4), generator=torch.Generator())


def test_rotation_frames_do_not_promise_mirrors():
    model = FrameAverage(FlatMLP(15, 1), Points(SE(3)), Invariant())
    found = symmetry_metrics(model, cloud(20, 5, 3), generator=torch.Generator().manual_seed(0))
    assert found["Rot-I"] < 1e-12 < 1e-6 < found["Refl-I"] and "within_frame_std" not in found
