"""Chunks on the grid change no number: values, slopes, second and third derivatives, in torch.func and vmap."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from intertwine import nn
from intertwine.nn import on_grid as module
from intertwine.nn.on_grid import on_grid, repeats
from intertwine.so3 import Irreps, S2Grid

EXACT = {"atol": 1e-12, "rtol": 0.0}


@pytest.fixture
def small(monkeypatch):
    """Chunks of two samples, however little memory the whole takes."""
    monkeypatch.setattr(module, "WHOLE", 0)
    monkeypatch.setattr(module, "CHUNK", 32)


@pytest.fixture
def functions(generator):
    """The operation in chunks, the same in ordinary operations, and an input."""
    to, back = (
        torch.randn(15, 9, generator=generator).double() / 3,
        torch.randn(4, 15, generator=generator).double() / 4,
    )
    x = torch.randn(5, 9, 1, generator=generator, dtype=torch.float64, requires_grad=True)
    return (lambda x: on_grid(F.silu, to, back, x, chunked=True)), (lambda x: back @ F.silu(to @ x)), x


def test_derivatives(small, functions):
    chunked, plain, x = functions
    assert_close(chunked(x), plain(x), **EXACT)
    assert torch.autograd.gradcheck(chunked, x)
    assert torch.autograd.gradgradcheck(chunked, x)

    def third(f):
        first = torch.autograd.grad(f(x).pow(2).sum(), x, create_graph=True)[0]
        second = torch.autograd.grad(first.pow(2).sum(), x, create_graph=True)[0]
        return torch.autograd.grad(second.pow(2).sum(), x)[0]

    assert_close(third(chunked), third(plain), **EXACT)


def test_transforms(small, functions):
    chunked, plain, x = functions

    def force(f):
        return torch.func.grad(lambda x: f(x).square().sum())

    assert_close(force(chunked)(x), force(plain)(x), **EXACT)
    trained = [torch.autograd.grad(force(f)(x).square().sum(), x)[0] for f in (chunked, plain)]
    assert_close(*trained, **EXACT)
    nested = [torch.func.grad(lambda x, f=f: force(f)(x).square().sum())(x) for f in (chunked, plain)]
    assert_close(*nested, **EXACT)
    many = torch.stack([x, 2 * x, x.sin()]).detach()
    assert_close(torch.vmap(chunked)(many), torch.vmap(plain)(many), **EXACT)
    assert_close(torch.vmap(force(chunked))(many), torch.vmap(force(plain))(many), **EXACT)


@pytest.mark.parametrize("batch", [(0,), (1,), (3, 0), (2, 3)])
def test_layers_give_the_same_numbers(small, batch, generator):
    layer = nn.SeparableS2Activation(Irreps.spherical(2, 2), F.silu, S2Grid.exact(3))
    x = layer.rep_in.randn(*batch, generator=generator, dtype=torch.float64).requires_grad_()
    found = []
    for layer.chunked in (True, False):
        y = layer(x)
        found.append((y, *torch.autograd.grad(y.square().sum(), x)))
    assert_close(*found, **EXACT)


def test_many_samples_are_chunked_by_themselves(generator):
    layer = nn.S2Activation(Irreps.spherical(2, 8), F.silu, S2Grid.exact(8))
    x = layer.rep_in.randn(4000, generator=generator)
    assert len(x) * len(layer.grid) * 8 > module.WHOLE
    whole = layer(x.requires_grad_())
    assert "OnGrid" in str(whole.grad_fn.next_functions[0][0].next_functions)
    assert_close(whole[:9], layer(x[:9]), atol=1e-5, rtol=0.0)


def test_functions_that_may_not_be_recomputed_are_left_whole():
    assert repeats(F.silu) and repeats(torch.nn.SiLU()) and repeats(torch.nn.ReLU(inplace=True))
    assert not repeats(torch.nn.PReLU())  # parameters need gradients
    assert not repeats(torch.nn.Dropout(0.5)) and not repeats(lambda z: F.dropout(z, 0.5))
    assert not repeats(lambda z: z / z.norm())
