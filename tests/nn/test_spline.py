"""Splines of a distance: their formula, their derivatives to any order, and copies of other functions."""

import itertools
import math

import pytest
import torch
from scipy.interpolate import BSpline
from torch.testing import assert_close

from intertwine import nn

CUTOFF = 5.0


def made(n_knots=12, n_out=3, envelope=None):
    return nn.SplineRadial(n_knots, CUTOFF, n_out, envelope, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("n_knots", [1, 2, 12])
def test_it_is_the_uniform_cubic_b_spline(n_knots):
    spline = made(n_knots)
    step = CUTOFF / n_knots
    knots = step * torch.arange(-3, n_knots + 4, dtype=torch.float64)
    theirs = BSpline(knots.numpy(), spline.weight.detach().numpy(), 3)
    r = torch.linspace(0, CUTOFF, 101, dtype=torch.float64)
    assert_close(spline(r).detach(), torch.from_numpy(theirs(r.numpy())), atol=1e-12, rtol=0.0)
    assert_close(spline.basis(r).sum(1), torch.ones_like(r), atol=1e-14, rtol=0.0)
    assert_close(spline.basis(r) @ spline.weight, spline(r), atol=1e-12, rtol=0.0)


def test_values_start_at_order_one():
    spline = nn.SplineRadial(50, CUTOFF, 200, generator=torch.Generator().manual_seed(0))
    assert spline(torch.linspace(0, CUTOFF, 400)).std().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("edges", [0, 1, 7])
def test_derivatives(edges, generator):
    """By the distance and by the weights, mixed and to second order."""
    spline = made(6, 2, nn.PolynomialEnvelope(CUTOFF))
    r = (0.1 + (CUTOFF - 0.2) * torch.rand(edges, generator=generator, dtype=torch.float64)).requires_grad_()
    weight = spline.weight.detach().clone().requires_grad_()

    def fn(r, weight):
        return torch.func.functional_call(spline, {"weight": weight}, (r,))

    assert fn(r, weight).shape == (edges, 2)
    if edges:
        assert torch.autograd.gradcheck(fn, (r, weight))
        assert torch.autograd.gradgradcheck(fn, (r, weight))
        by_tape = torch.autograd.grad(fn(r, weight).square().sum(), r)[0]
        assert_close(torch.func.grad(lambda r: fn(r, weight).square().sum())(r), by_tape, atol=1e-12, rtol=0.0)


def test_second_derivatives_are_continuous_at_knots():
    spline = made(6, 1)

    def curvature(r):
        return torch.func.grad(torch.func.grad(lambda r: spline(r[None]).sum()))(torch.tensor(r, dtype=torch.float64))

    for knot in (CUTOFF / 6, CUTOFF / 2):
        assert_close(curvature(knot - 1e-9), curvature(knot + 1e-9), atol=1e-6, rtol=0.0)
        assert curvature(knot).abs() > 1e-3


def test_beyond_the_cutoff():
    r = torch.tensor([CUTOFF, CUTOFF + 1e-9, 9.0], dtype=torch.float64)
    assert_close(made(envelope=nn.ExpSwitch(CUTOFF))(r), torch.zeros(3, 3, dtype=torch.float64))
    bare = made()(r)
    assert_close(bare, bare[:1].expand(3, 3), atol=1e-12, rtol=0.0)


def test_copies_converge_in_fourth_order():
    envelope = nn.PolynomialEnvelope(CUTOFF)
    basis = nn.Bessel(CUTOFF, 4)
    r = torch.linspace(0, CUTOFF + 1, 1001, dtype=torch.float64)

    def radial(r):
        return torch.tanh(basis(r)) * envelope(r)[:, None]

    errors = []
    for n_knots in (32, 64, 128):
        plain = nn.splinify(radial, n_knots, cutoff=CUTOFF)
        outside = nn.splinify(radial, n_knots, cutoff=CUTOFF, envelope=envelope)
        errors.append([(spline(r) - radial(r)).abs().max().item() for spline in (plain, outside)])
        assert outside(r[r >= CUTOFF]).eq(0).all()
        assert outside.weight.abs().max() < 10  # what an envelope hides stays small
    for before, after in itertools.pairwise(errors):
        assert all(12 < a / b < 24 for a, b in zip(before, after))
    assert max(errors[-1]) < 1e-5


def test_a_spline_is_copied_exactly():
    spline = made(8, 2)
    assert_close(nn.splinify(spline, 8, cutoff=CUTOFF).weight, spline.weight, atol=1e-10, rtol=0.0)


@pytest.mark.slow
def test_a_compiler_gets_the_same_values():
    spline = made(envelope=nn.ExpSwitch(CUTOFF))

    def force(r):
        return torch.func.grad(lambda r: spline(r).square().sum())(r)

    compiled = torch.compile(force, fullgraph=True, dynamic=True, backend="aot_eager")
    for n in (3, 6):
        r = torch.linspace(0.1, 6, n, dtype=torch.float64)
        assert_close(compiled(r), force(r), atol=1e-12, rtol=0.0)


def test_errors():
    for arguments, says in [
        ((0, CUTOFF, 1), "n_knots must be at least 1, got 0"),
        ((4, CUTOFF, 0), "n_out must be at least 1"),
        ((4, math.inf, 1), "cutoff must be positive"),
    ]:
        with pytest.raises(ValueError, match=says):
            nn.SplineRadial(*arguments)
