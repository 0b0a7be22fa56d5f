"""Layers of products on the sphere: equal to the product they are made of, equivariant, of unit variance, compiled."""

import pytest
import torch
from torch.testing import assert_close

from intertwine import so3
from intertwine.so3 import EdgeFrame, GauntConv, GauntSelfMix, GauntTensorProduct, gaunt_product

EXACT = {"atol": 1e-12, "rtol": 0.0}


def turned(x: torch.Tensor, R: torch.Tensor) -> torch.Tensor:
    """Features of parity (-1)^l, R of any determinant."""
    rows = [so3.wigner_D(l, R) @ x[..., l * l : (l + 1) ** 2, :] for l in range(round(x.shape[-2] ** 0.5))]
    return torch.cat(rows, -2)


class Waves(torch.nn.Module):
    """A radial function with a parameter: f_l(r) = w cos((l+1) r), [edges, degrees, channels]."""

    def __init__(self, degrees: int, channels: int):
        super().__init__()
        self.w = torch.nn.Parameter(torch.arange(1, channels + 1).double())
        self.degrees = degrees

    def forward(self, r):
        return torch.cos(torch.arange(1, self.degrees + 1) * r[:, None])[..., None] * self.w


class Case:
    """A small graph, some edges along the axis."""

    def __init__(self, generator, lmax: int, channels: int = 2):
        self.src, self.dst = torch.randint(4, (2, 9), generator=generator)
        self.r = torch.randn(9, 3, generator=generator, dtype=torch.float64)
        self.r[:2] = torch.tensor([[0.0, 1.3, 0.0], [0.0, -0.7, 0.0]])
        self.x = torch.randn(4, (lmax + 1) ** 2, channels, generator=generator, dtype=torch.float64)

    def through(self, conv, x, r):
        """The convolution of features and edge vectors."""
        frame = EdgeFrame.from_vectors(r, max(conv.lmax_in, conv.lmax_out))
        return conv(x, frame, r.norm(dim=1), self.src, self.dst)

    def definition(self, conv, x, r):
        """Products with the filter Σ f_l Y_l."""
        f = conv.radial(r.norm(dim=1))
        Y = so3.spherical_harmonics(r, f.shape[1] - 1, normalization="integral")
        filters = torch.cat([f[:, l : l + 1] * Y[:, l * l : (l + 1) ** 2, None] for l in range(f.shape[1])], 1)
        wide = conv.lmax_in + f.shape[1] - 1
        message = gaunt_product(x[self.src], filters, min(wide, conv.lmax_out))
        message = torch.nn.functional.pad(message, (0, 0, 0, (conv.lmax_out + 1) ** 2 - message.shape[1]))
        return torch.zeros(len(x), *message.shape[1:], dtype=x.dtype).index_add(0, self.dst, message)


@pytest.mark.parametrize(("lmax_in", "lmax_out", "degrees"), [(2, 2, 5), (3, 1, 3), (1, 3, 5), (2, 2, 1), (0, 2, 3)])
def test_convolution_is_the_product_with_the_filter(lmax_in, lmax_out, degrees, generator):
    case = Case(generator, lmax_in)
    conv = GauntConv(lmax_in, lmax_out, 2, radial=Waves(degrees, 2)).double()
    x, r = case.x.requires_grad_(), case.r.requires_grad_()
    ours, theirs = case.through(conv, x, r), case.definition(conv, x, r)
    assert_close(ours, theirs, **EXACT)
    h = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    inputs = (x, r, conv.radial.w)
    slopes = torch.autograd.grad(ours, inputs, h, create_graph=True)
    expected = torch.autograd.grad(theirs, inputs, h, create_graph=True)
    for a, b in zip(slopes, expected):
        assert_close(a, b, atol=1e-11, rtol=0)
    again, definition = (
        torch.autograd.grad(s[1].square().sum() + s[0].sin().sum(), inputs) for s in (slopes, expected)
    )
    for a, b in zip(again, definition):
        assert_close(a, b, atol=1e-9, rtol=0)


def test_convolution_is_equivariant(generator):
    case = Case(generator, 3)
    conv = GauntConv(3, 2, 2, radial=Waves(4, 2)).double()
    R = so3.random_rotation(generator=generator)
    for g in (R, -R):
        moved = case.through(conv, turned(case.x, g), case.r @ g.T)
        assert_close(moved, turned(case.through(conv, case.x, case.r), g), **EXACT)


@pytest.mark.parametrize("method", ["auto", "grid", "fourier", "cg"])
def test_weights_are_separable(method, generator):
    layer = GauntTensorProduct(2, 1, 3, 2, method=method).double()
    x, y = (torch.randn(5, k, 2, generator=generator, dtype=torch.float64) for k in (9, 4))
    plain = GauntTensorProduct(2, 1, 3, 2, method=method, weights="none").double()
    assert not list(plain.parameters()) and list(plain.state_dict()) == []
    with torch.no_grad():
        for w in layer.weights:
            w.fill_(1)
        scale = layer(x, y) / plain(x, y)  # both are scaled to unit variance, each for its own weights
        for l in range(4):
            part = scale[:, l * l : (l + 1) ** 2]
            assert_close(part, part[0, 0, 0].expand(part.shape), **EXACT)
        for w in layer.weights:
            w.copy_(torch.randn(w.shape, generator=generator))
    rows = [w.repeat_interleave(2 * torch.arange(len(w)) + 1, 0) for w in layer.weights]
    assert_close(layer(x, y), scale[0, :, :1] * rows[2] * plain(rows[0] * x, rows[1] * y), **EXACT)
    assert_close(layer(x, y[0]), layer(x, y[:1].expand(5, -1, -1)), **EXACT)  # broadcasting
    R = so3.random_rotation(generator=generator)
    assert_close(layer(turned(x, -R), turned(y, -R)), turned(layer(x, y), -R), **EXACT)


def test_layers_keep_unit_variance(generator):
    layer = GauntTensorProduct(3, 2, 4, 16)
    x, y = (torch.randn(4000, k, 16, generator=generator) for k in (16, 9))
    for made in (layer, GauntTensorProduct(3, 2, 4, 16, weights="none")):
        for block in made.rep_out.split(made(x, y).flatten(1)):
            assert abs(block.square().mean().item() - 1) < 0.05
    mix = GauntSelfMix(2, 16, generator=generator)
    with torch.no_grad():
        for w in mix.weights:
            w.copy_(torch.eye(16))
    change = mix(x[:, :9]) - x[:, :9]
    for l in range(3):
        assert abs(change[:, l * l : (l + 1) ** 2].square().mean().item() - 1) < 0.05


@pytest.mark.parametrize("batch", [(), (0,), (2, 3)])
@pytest.mark.parametrize("hidden", [None, 1, 5])
def test_self_mix(batch, hidden, generator):
    mix = GauntSelfMix(2, 3, hidden, generator=generator).double()
    x = torch.randn(*batch, 9, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    R = so3.random_rotation(generator=generator)
    there = turned(x.detach(), -R).requires_grad_()
    assert_close(mix(there), turned(mix(x), -R), **EXACT)
    slope = torch.autograd.grad(mix(x).square().sum(), x)[0]
    assert_close(torch.autograd.grad(mix(there).square().sum(), there)[0], turned(slope, -R), atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    "make", [lambda: GauntTensorProduct(2, 2, 3, 2), lambda: GauntSelfMix(2, 2)], ids=["product", "mix"]
)
def test_compiles(make, generator):
    layer = make()
    x = torch.randn(5, 9, 2, generator=generator)
    inputs = (x, x.flip(0)) if isinstance(layer, GauntTensorProduct) else (x,)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert_close(compiled(*inputs), layer(*inputs))


def test_errors(generator):
    with pytest.raises(ValueError, match="no weight for each path"):
        GauntTensorProduct(2, 2, 2, 3, weights="per_path")
    with pytest.raises(ValueError, match="'all' is not one of"):
        GauntTensorProduct(2, 2, 2, 3, weights="all")
    with pytest.raises(ValueError, match=r"expected shape \[.., 9, 3\]"):
        GauntTensorProduct(2, 2, 2, 3)(torch.zeros(1, 9, 2), torch.zeros(1, 9, 3))
    with pytest.raises(ValueError, match="must be at least 1"):
        GauntSelfMix(2, 3, 0)
    case = Case(generator, 2)
    with pytest.raises(ValueError, match="up to 4"):
        case.through(GauntConv(2, 1, 2, radial=Waves(5, 2)).double(), case.x, case.r)
    frame = EdgeFrame.from_vectors(case.r, 1)
    with pytest.raises(ValueError, match="frames up to degree 1"):
        GauntConv(2, 1, 2, radial=Waves(2, 2))(case.x, frame, case.r.norm(dim=1), case.src, case.dst)
