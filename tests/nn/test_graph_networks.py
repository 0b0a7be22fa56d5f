"""Graph and set networks on features of several orders at once: vertices, edges and triples, with every bias."""

import pytest
import torch
from torch.nn import functional as F

from intertwine import maps, nn
from intertwine.audit import assert_equivariant
from intertwine.groups import A, S


def network(rep_in, hidden, rep_out, generator):
    """Two linear layers with random biases, and gelu between them."""
    layers = nn.Linear(rep_in, hidden, generator=generator), nn.Linear(hidden, rep_out, generator=generator)
    for layer in layers:
        layer.bias.data.normal_(generator=generator)
    return torch.nn.Sequential(layers[0], nn.Activation(hidden, F.gelu), layers[1])


@pytest.mark.parametrize("group", [S(4), S(2), A(4)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_several_orders_at_once(group, channels, generator):
    V = group.V
    hidden = channels * (V + V**2 + V**3) + 2 * group.trivial
    for rep_in, rep_out in ((2 * V + V**2, group.trivial), (V**2, V + V**2)):
        model = network(rep_in, hidden, rep_out, generator)
        assert_equivariant(model.double(), rep_in=rep_in, rep_out=rep_out, generator=generator)
        assert_equivariant(model.float(), rep_in=rep_in, rep_out=rep_out, generator=generator)
        for batch in ((0,), (1,), (2, 3)):
            assert model(rep_in.randn(*batch, generator=generator)).shape == (*batch, rep_out.dim)


def test_every_order_has_its_bias():
    """Bell numbers: one bias for a vertex, two for an edge, five for a triple, each times the channels."""
    V = S(4).V
    layer = nn.Linear(V**2, 3 * (V + V**2 + V**3))
    assert len(layer.bias) == 3 * (1 + 2 + 5)
    assert layer.map.dim == 3 * sum(maps.dimension(V**2, V**k) for k in (1, 2, 3)) == 3 * (5 + 15 + 52 - 1)
