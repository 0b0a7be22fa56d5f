"""Dense layers that start where the equivariant ones are."""

import pytest
import torch
from torch import nn

from intertwine.groups import SO, Cyclic, MatrixGroup, O
from intertwine.nn import Linear
from intertwine.symmetrize import SoftEquivariance, SoftLinear, relax, soft_layers

V, ONE = O(3).V, O(3).trivial


class Vectors(nn.Module):
    """Two equivariant layers, the second used twice, and a gate by lengths between them."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = Linear(2 * V, 4 * V, generator=generator)
        self.second = self.again = Linear(4 * V, 4 * V + 2 * ONE, generator=generator)
        self.last = Linear(4 * V + 2 * ONE, V**2, generator=generator)
        with torch.no_grad():
            self.second.bias.normal_(generator=generator)

    def forward(self, x):
        x = self.first(x)
        x = self.second(x * x.unflatten(-1, (3, 4)).norm(dim=-2).repeat(1, 3))
        return self.last(x + self.again(x[..., :12]))


def test_the_relaxed_model_starts_as_the_same_function(generator):
    model = Vectors().double()
    dense = relax(model)
    x = torch.randn(7, 6, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(dense(x), model(x), atol=1e-12, rtol=0)
    assert isinstance(model.first, Linear)
    assert dense.second is dense.again
    layers = soft_layers(dense)
    assert layers == {"first": (2 * V, 4 * V), "second": (4 * V, 4 * V + 2 * ONE), "last": (4 * V + 2 * ONE, V**2)}
    turn = MatrixGroup(torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 0]]]))
    about_z = soft_layers(dense, turn, lambda g: g)
    proper = soft_layers(dense, SO(3))
    soft = SoftEquivariance(dense, {"O(3)": layers, "SO(3)": proper, "about z": about_z})
    assert max(soft.penalties().values()) < 1e-20
    with torch.no_grad():
        dense.last.weight += torch.randn(dense.last.weight.shape, generator=generator)
    R = soft.penalties()
    assert R["O(3)"] >= R["SO(3)"] > R["about z"] > 1


def test_a_single_layer_and_what_cannot_be_relaxed():
    layer = Linear(2 * V, V).double()
    before = torch.get_rng_state()
    dense = relax(layer)
    assert isinstance(dense, SoftLinear)
    assert torch.equal(torch.get_rng_state(), before)
    x = torch.ones(0, 6, dtype=torch.float64)
    assert dense(x).shape == layer(x).shape
    with pytest.raises(ValueError, match="has no layer of type intertwine"):
        relax(nn.Linear(3, 3))
    with pytest.raises(ValueError, match=r"has no SoftLinear; relax\(model\) makes them"):
        soft_layers(layer)
    with pytest.raises(ValueError, match=r"rep_in belongs to O\(3\), rep_out to Cyclic\(4\)"):
        SoftLinear(V, Cyclic(4).V)


def test_drawn_from_a_generator():
    first, second = (SoftLinear(3 * V, V, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert 0.2 < first.weight.abs().max() <= 1 / 3
    assert SoftLinear(V, V, bias=False).bias is None
