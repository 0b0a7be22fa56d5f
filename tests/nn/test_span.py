"""The layer of a span: torch's own layers with copied weights, derivatives twice, unit variance, compiled."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from intertwine import nn
from intertwine.audit import assert_equivariant
from intertwine.groups import Cyclic, Dihedral
from intertwine.maps import Span
from intertwine.maps.constants import Constants

SPANS = {
    "dense": Span.dense(4, 3),
    "convolution": Span.conv((4, 3), 3, padding=1, stride=2),
    "circular": Span.conv((5,), 3, padding=1, circular=True),
    "tied": Span.conv((2, 4), 3, padding=1).tied(Cyclic(2), (np.arange(8).reshape(2, 4)[:, ::-1].reshape(1, 8),) * 2),
    "transposed": Span.conv((5,), 3, stride=2).transpose(),
    "graph": Span.graph([[0, 1, 2, 0], [1, 2, 0, 2]], 3, self_loops=True, normalize=True),
    "typed graph": Span.graph([[0, 1, 2, 0], [1, 2, 0, 2]], 3, edge_type=[0, 1, 1, 1]),
}


def test_the_layer_is_torchs(generator):
    linear = torch.nn.Linear(5, 7)
    layer = nn.SpanLinear(Span.dense(1, 1), 5, 7)
    conv = torch.nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
    conv_layer = nn.SpanLinear(Span.conv((6, 6), 3, padding=1, circular=True), 3, 4)
    with torch.no_grad():
        layer.weight.copy_(linear.weight.T[None])
        layer.bias.copy_(linear.bias)
        conv_layer.weight.copy_(conv.weight.flatten(2).permute(2, 1, 0))
        conv_layer.bias.copy_(conv.bias)
    x = torch.randn(8, 5, generator=generator)
    assert_close(layer(x[:, None])[:, 0], linear(x), atol=1e-6, rtol=0)
    x = torch.randn(8, 3, 6, 6, generator=generator)
    assert_close(conv_layer(x.flatten(2).mT).mT.reshape(8, 4, 6, 6), conv(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", SPANS)
def test_derivatives_of_both_orders(name, generator):
    span = SPANS[name]
    for route in (*span._routes, *span._cells):
        layer = nn.SpanLinear(span, 2, 3, generator=generator).double()
        layer.route, layer.constants = route, Constants(route.arrays, torch.float64)
        x = torch.randn(2, span.num_in, 2, generator=generator, dtype=torch.float64, requires_grad=True)

        def call(x, w, b, layer=layer):
            return torch.func.functional_call(layer, {"weight": w, "bias": b}, (x,))

        inputs = (x, layer.weight, layer.bias)
        assert torch.autograd.gradcheck(call, inputs, fast_mode=True)
        assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)
        v = torch.randn(2, span.num_out, 3, generator=generator, dtype=torch.float64)
        gx, gw = torch.autograd.grad(layer(x), (x, layer.weight), v)
        assert_close(span.transpose().apply(v, layer.weight.mT), gx, atol=1e-12, rtol=1e-12)
        assert_close(span.weight_gradient(x, v), gw, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", SPANS)
def test_variance_at_the_start(name, generator):
    span = SPANS[name]
    layer = nn.SpanLinear(span, 64, 128, generator=generator)
    y = layer(torch.randn(300, span.num_in, 64, generator=generator))
    assert 0.8 < y.var() < 1.2


class Flat(torch.nn.Module):
    """An orbit layer on flat features, with its representations."""

    def __init__(self, rep_in, rep_out, c_in, c_out):
        super().__init__()
        self.rep_in, self.rep_out = c_in * rep_in, c_out * rep_out
        self.layer = nn.SpanLinear(Span.orbit(rep_in, rep_out), c_in, c_out)

    def forward(self, x):
        return self.layer(x.unflatten(-1, (self.layer.span.num_in, -1))).flatten(-2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("channels", [(1, 1), (2, 3)])
def test_orbit_layers_stay_equivariant(dtype, channels):
    group = Dihedral(5)
    assert_equivariant(Flat(group.V, group.regular, *channels).to(dtype), steps=2)


def test_state_and_bad_input():
    layer = nn.SpanLinear(SPANS["graph"], 2, 3, bias=False)
    assert list(layer.state_dict()) == ["weight"] and layer.bias is None
    assert repr(layer) == "SpanLinear(Span(3 -> 3, edges=7, weights=1), 2 -> 3, by dense)"
    with pytest.raises(ValueError, match="c_out=0"):
        nn.SpanLinear(SPANS["dense"], 1, 0)
    with pytest.raises(ValueError, match=r"\[..., 3, 2\], got shape \[5, 2, 2\]"):
        layer(torch.ones(5, 2, 2))


def test_bfloat16():
    layer = nn.SpanLinear(SPANS["graph"], 2, 3).bfloat16()
    assert layer(torch.ones(2, 3, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.slow
def test_compiles_whole(generator):
    """One layer to machine code; for the others, and the pooling, that all of it is one graph."""
    typed = Span.graph(torch.arange(80).reshape(2, 40) % 33, 40, edge_type=[0, 1] * 20)
    names = ["sum, then product", "convolution", "dense"]
    for span, name in zip([typed, SPANS["tied"], SPANS["dense"]], names):
        layer = nn.SpanLinear(span, 2, 3, generator=generator)
        x = torch.randn(2, span.num_in, 2, generator=generator)
        assert layer.route.name == name
        compiled = torch.compile(layer, fullgraph=True, backend="inductor" if span is typed else "aot_eager")
        assert_close(compiled(x), layer(x), atol=1e-5, rtol=1e-5)
    pool = nn.SubgroupPool(2, Cyclic(8), 0, 2, canonicalise=True)
    x = pool.rep_in.randn(3, generator=generator)
    there_and_back = torch.compile(lambda x: pool.upsample(*pool(x)), fullgraph=True, backend="aot_eager")
    assert_close(there_and_back(x), pool.upsample(*pool(x)), atol=1e-5, rtol=0)
