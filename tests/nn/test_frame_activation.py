"""The S² activation between two convolutions in an edge frame: what S2Activation is outside, and equivariance."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from intertwine import nn
from intertwine.so3 import EdgeFrame, Irreps, S2Grid, SO2Convolution, random_rotation


class Message(torch.nn.Module):
    """Into the frame, a convolution, the activation with or without scalars, a convolution, and out again."""

    def __init__(self, lmax, mmax, channels, fn, grid, separable, generator):
        super().__init__()
        extra = channels if separable else 0
        options = {"mmax": mmax, "generator": generator}
        self.first = SO2Convolution(lmax, lmax, channels, channels, extra_scalars=extra, **options)
        self.act = nn.FrameS2Activation(lmax, fn, grid, mmax=mmax)
        self.second = SO2Convolution(lmax, lmax, channels, channels, **options)
        self.lmax, self.mmax, self.separable = lmax, mmax, separable

    def forward(self, x, r):
        frame = EdgeFrame.from_vectors(r, self.lmax, self.mmax)
        y = self.first(frame.into(x))
        y = self.act(*y) if self.separable else self.act(y)
        return frame.out_of(self.second(y))


def error(message, generator, dtype=torch.float64, edges=6, channels=2):
    """The largest change of values and of slopes by x and r, relative to the largest of them."""
    lmax = message.lmax
    rep = Irreps.spherical(lmax, channels, None)
    x = rep.randn(edges, generator=generator, dtype=torch.float64)
    r = torch.randn(edges, 3, generator=generator, dtype=torch.float64)
    R = random_rotation(generator=generator)
    v = rep.randn(edges, generator=generator, dtype=torch.float64)
    found = []
    for g in (None, R):
        a, b, h = (x, r, v) if g is None else (rep.act(g, x), r @ g.mT, rep.act(g, v))
        a, b = (t.to(dtype).requires_grad_() for t in (a, b))
        out = message(a.unflatten(1, (-1, channels)), b).flatten(1)
        slopes = torch.autograd.grad((out * h.to(dtype)).sum(), (a, b))
        found.append([t.detach().double() for t in (out, *slopes)])
    (y, dx, dr), (y2, dx2, dr2) = found
    pairs = [(rep.act(R, y), y2), (rep.act(R, dx), dx2), (dr @ R.mT, dr2)]
    return [((a - b).abs().max() / b.abs().max()).item() for a, b in pairs]


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize(("lmax", "mmax"), [(2, 2), (4, 2), (3, 0), (11, 2)])
def test_polynomials_commute_with_rotations_exactly(lmax, mmax, separable, generator):
    grid = S2Grid.gauss_legendre(lmax + 1, 3 * mmax + 1)  # enough α for squares; any β
    message = Message(lmax, mmax, 2, torch.square, grid, separable, generator).double()
    assert message.act.equivariance_error() < 1e-12
    assert max(error(message, generator)) < 1e-10
    assert max(error(message.float(), generator, torch.float32)) < 1e-4


@pytest.mark.parametrize(("lmax", "mmax"), [(3, 3), (4, 2), (6, 2)])
def test_a_smooth_function_as_far_as_its_grid(lmax, mmax, generator):
    message = Message(lmax, mmax, 2, F.silu, "exact:1e-4", True, generator).double()
    act = message.act
    assert act.equivariance_error() < 1e-4
    assert error(message, generator)[0] < 1e-3
    fewer = S2Grid.gauss_legendre(act.grid.size[0], act.grid.size[1] - 1)
    assert nn.FrameS2Activation(lmax, F.silu, fewer, mmax=mmax).equivariance_error() > 1e-4
    assert mmax == lmax or len(act.grid) < len(nn.S2Activation(Irreps.spherical(lmax), F.silu).grid)


def test_with_all_orders_it_is_the_activation_outside_the_frame(generator):
    lmax, grid = 3, S2Grid.exact(3, 3)
    x = torch.randn(5, 16, 2, generator=generator, dtype=torch.float64)
    frame = EdgeFrame.from_vectors(torch.randn(5, 3, generator=generator, dtype=torch.float64), lmax)
    inside = frame.out_of(nn.FrameS2Activation(lmax, torch.square, grid)(frame.into(x)))
    outside = nn.S2Activation(Irreps.spherical(lmax, 2), torch.square, grid)(x.flatten(1))
    assert_close(inside.flatten(1), outside, atol=1e-12, rtol=0.0)
    scalars = torch.randn(5, 2, generator=generator, dtype=torch.float64)
    separable = nn.SeparableS2Activation(Irreps.spherical(lmax, 2), torch.square, grid)
    inside = frame.out_of(nn.FrameS2Activation(lmax, torch.square, grid)(frame.into(x), scalars))
    outside = separable(torch.cat([scalars, x.flatten(1)], 1))
    assert_close(inside.flatten(1), outside, atol=1e-12, rtol=0.0)


def test_truncated_orders_have_the_variance_of_whole_degrees(generator):
    act = nn.FrameS2Activation(6, lambda z: z, S2Grid.exact(6), mmax=2, normalize=False)
    to, back = act.constants(torch.zeros(1, dtype=torch.float64))
    weights = act.grid.weights / (4 * torch.pi)
    variance = torch.einsum("g,gk->k", weights, to.square())  # of the values, from one coefficient of variance 1
    degrees = torch.tensor([l for m in range(3) for _ in range(2 if m else 1) for l in range(m, 7)])
    for l in range(7):
        assert_close(variance[degrees == l].sum().item(), 1 / 7, atol=1e-12, rtol=0.0)
    grown = torch.where(degrees > 2, (2 * degrees + 1) / 5, 1.0).double()
    assert_close((back @ to).diagonal(), grown, atol=1e-6, rtol=0.0)  # both ways, as published


@pytest.mark.parametrize(("lmax", "mmax"), [(3, 3), (3, 1), (2, 0)])
def test_the_gate_in_the_frame_is_the_gate_outside(lmax, mmax, generator):
    channels, edges = 2, 5
    x = torch.randn(edges, (lmax + 1) ** 2, channels, generator=generator, dtype=torch.float64)
    gates = torch.randn(edges, lmax * channels, generator=generator, dtype=torch.float64)
    vectors = torch.randn(edges, 3, generator=generator, dtype=torch.float64)
    frame = EdgeFrame.from_vectors(vectors, lmax, mmax)
    rep = Irreps.spherical(lmax, channels, None)
    first, rest = Irreps(f"{channels}x0"), Irreps([(channels, irrep) for irrep, _ in rep.blocks[1:]])
    gate = nn.Gate(first, F.silu, rest, normalize=False)
    x = frame.out_of(frame.into(x))  # without the orders that are dropped
    expected = gate(torch.cat([x[:, 0], gates, x[:, 1:].flatten(1)], 1)).unflatten(1, (-1, channels))
    assert_close(frame.out_of(nn.frame_gate(frame.into(x), gates)), expected, atol=1e-12, rtol=0.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("edges", [0, 1, 3])
def test_dtypes_and_empty_graphs(dtype, edges, generator):
    act = nn.FrameS2Activation(2, F.silu, S2Grid.exact(3), mmax=1)
    y = [torch.randn(edges, 3, 4, generator=generator), torch.randn(edges, 2, 2, 4, generator=generator)]
    y = [part.to(dtype).requires_grad_() for part in y]
    for scalars in ((), (torch.ones(edges, 4, dtype=dtype),)):
        out = act(y, *scalars)
        assert [part.shape for part in out] == [part.shape for part in y]
        slopes = torch.autograd.grad(sum(part.sum() for part in out), y)
        assert all(part.dtype == dtype and torch.isfinite(part).all() for part in (*out, *slopes))


def test_compiles_and_has_second_derivatives(generator):
    act = nn.FrameS2Activation(2, F.silu, S2Grid.exact(2), mmax=1)
    y = [torch.randn(2, 3, 1, generator=generator), torch.randn(2, 2, 2, 1, generator=generator)]
    y = [part.double().requires_grad_() for part in y]
    assert torch.autograd.gradgradcheck(lambda *y: act(y), y)
    compiled = torch.compile(act, fullgraph=True, backend="eager")
    assert_close(compiled(y), act(y), atol=1e-12, rtol=0.0)


def test_errors():
    with pytest.raises(ValueError, match="mmax must be an integer from 0 to lmax=2, got 3"):
        nn.FrameS2Activation(2, F.silu, mmax=3)
    with pytest.raises(ValueError, match="an integer of at least 0, got -1"):
        nn.FrameS2Activation(-1, F.silu)
    with pytest.raises(ValueError, match='FrameS2Activation: grid must be an S2Grid, or "exact:"'):
        nn.FrameS2Activation(2, F.silu, "coarse")
    act = nn.FrameS2Activation(2, F.silu, S2Grid.exact(2), mmax=1)
    y = (torch.zeros(4, 3, 5), torch.zeros(4, 2, 2, 5))
    with pytest.raises(ValueError, match=r"expected orders 0\.\.1 of \[3, 2\] degrees, got 1 orders of \[3\] degrees"):
        act(y[:1])
    with pytest.raises(ValueError, match=r"scalars of shape \(4, 6\)"):
        act(y, torch.zeros(4, 6))
