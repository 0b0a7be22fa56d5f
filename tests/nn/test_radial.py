"""Radial bases and envelopes: the limits, orthonormality, smooth ends, and derivatives that stay finite at zero."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from intertwine import nn

CUTOFF = 5.0
BASES = {
    "Bessel": nn.Bessel(CUTOFF),
    "Bessel, trainable": nn.Bessel(CUTOFF, trainable=True).double(),
    "Gaussian": nn.Gaussian(CUTOFF),
    "ExpBernstein": nn.ExpBernstein(),
}
ENVELOPES = {
    "polynomial 6": nn.PolynomialEnvelope(CUTOFF),
    "polynomial 2": nn.PolynomialEnvelope(CUTOFF, 2),
    "cosine": nn.CosineEnvelope(CUTOFF),
    "exp": nn.ExpEnvelope(CUTOFF),
    "bump": nn.SmoothBump(CUTOFF),
    "switch": nn.ExpSwitch(CUTOFF),
}
EVERYTHING = {**BASES, **ENVELOPES}


def quadrature(n: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return torch.tensor((nodes + 1) * CUTOFF / 2), torch.tensor(weights * CUTOFF / 2)


def derivatives(fn, r: float, count: int) -> list[float]:
    """Value and derivatives of the sum of a function's outputs at one distance."""
    x = torch.tensor([r], dtype=torch.float64, requires_grad=True)
    y, found = fn(x).sum(), []
    for _ in range(count + 1):
        found.append(y.item())
        (y,) = torch.autograd.grad(y, x, create_graph=True) if y.requires_grad else (torch.zeros(1),)
        y = y.sum()
    return found


# --- bases


def test_bessel_is_orthonormal():
    r, w = quadrature()
    b = nn.Bessel(CUTOFF, 12)(r)
    assert_close(b.mT @ (b * (w * r * r)[:, None]), torch.eye(12, dtype=torch.float64), atol=1e-12, rtol=0.0)


def test_bessel_is_its_formula_and_its_limit():
    r = torch.linspace(0.01, 6, 50, dtype=torch.float64)[:, None]
    n = torch.arange(1, 9, dtype=torch.float64)
    expected = math.sqrt(2 / CUTOFF) * torch.sin(n * math.pi * r / CUTOFF) / r
    assert_close(nn.Bessel(CUTOFF)(r[:, 0]), expected, atol=1e-13, rtol=0.0)
    limit = n * math.pi / CUTOFF * math.sqrt(2 / CUTOFF)
    assert_close(nn.Bessel(CUTOFF)(torch.zeros((), dtype=torch.float64)), limit, atol=1e-10, rtol=0.0)


def test_trainable_frequencies_are_parameters():
    basis = nn.Bessel(CUTOFF, 4, trainable=True)
    assert list(basis.state_dict()) == ["frequencies"]
    basis(torch.ones(3)).sum().backward()
    assert basis.frequencies.grad.abs().min() > 0
    assert not nn.Bessel(CUTOFF, 4).state_dict()


def test_gaussian_is_its_formula():
    r = torch.linspace(0, 6, 30, dtype=torch.float64)
    centres = torch.linspace(0, CUTOFF, 8, dtype=torch.float64)
    expected = torch.exp(-0.5 * ((r[:, None] - centres) / (0.7 * CUTOFF / 7)) ** 2)
    assert_close(nn.Gaussian(CUTOFF, 8, width=0.7)(r), expected, atol=1e-14, rtol=0.0)


def test_bernstein_is_a_partition_of_one_with_binomials():
    r = torch.linspace(0, 20, 40, dtype=torch.float64)
    found = nn.ExpBernstein(10, gamma=0.5)(r)
    assert_close(found.sum(-1), torch.ones(40, dtype=torch.float64), atol=1e-14, rtol=0.0)
    u = torch.exp(-0.5 * r)
    assert_close(found[:, 3], math.comb(9, 3) * u**3 * (1 - u) ** 6, atol=1e-14, rtol=0.0)


# --- envelopes


@pytest.mark.parametrize("name", ENVELOPES)
def test_envelopes_fall_from_one_to_zero_and_stay_there(name):
    envelope = ENVELOPES[name]
    u = envelope(torch.linspace(0, CUTOFF, 200, dtype=torch.float64))
    assert_close(u[0].item(), 1.0)
    assert (u.diff() <= 1e-15).all()
    beyond = torch.tensor([CUTOFF, CUTOFF + 1e-9, 6.0, 1e3], dtype=torch.float64)
    assert_close(envelope(beyond), torch.zeros(4, dtype=torch.float64), atol=1e-15, rtol=0.0)


@pytest.mark.parametrize(
    ("name", "order"), [("polynomial 6", 2), ("polynomial 2", 2), ("cosine", 1), ("exp", 3), ("bump", 3), ("switch", 2)]
)
def test_envelopes_end_smoothly(name, order):
    envelope = ENVELOPES[name]
    for k, slope in enumerate(derivatives(envelope, CUTOFF * (1 - 1e-4), order)):
        assert abs(slope) < {"cosine": 1e-3}.get(name, 1e-2), k
    for slope in derivatives(envelope, CUTOFF, order):
        assert abs(slope) < 1e-12


def test_polynomial_is_flat_at_zero():
    for p in (3, 6):
        slopes = derivatives(nn.PolynomialEnvelope(CUTOFF, p), 0.0, p - 1)
        assert slopes == [1.0, *[0.0] * (p - 1)]


def test_formulas_at_one_point():
    u = 0.4
    r = torch.tensor(u * CUTOFF, dtype=torch.float64)
    expected = {
        "polynomial 6": 1 - 28 * u**6 + 48 * u**7 - 21 * u**8,
        "polynomial 2": 1 - 6 * u**2 + 8 * u**3 - 3 * u**4,
        "cosine": (math.cos(math.pi * u) + 1) / 2,
        "exp": math.exp(-(u**2) / ((1 - u) * (1 + u))),
        "bump": math.exp(1 - 1 / (1 - u**2)),
    }
    for name, value in expected.items():
        assert abs(ENVELOPES[name](r).item() - value) < 1e-14, name


def test_the_switch_of_facet():
    r = torch.tensor([0.0, 4.8, 5.1, 5.4, 5.7, 6.0], dtype=torch.float64)
    expected = torch.tensor([1.0, 1.0, 0.956910, 0.5, 0.043090, 0.0], dtype=torch.float64)
    assert_close(nn.ExpSwitch(6.0)(r), expected, atol=1e-6, rtol=0.0)
    with pytest.raises(ValueError, match="ExpSwitch: start must be in"):
        nn.ExpSwitch(CUTOFF, start=1.0)


# --- everything


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("r", [0.0, 1e-8, 2.3, CUTOFF, 7.0])
def test_two_derivatives_are_finite_everywhere(name, r):
    assert all(math.isfinite(value) for value in derivatives(EVERYTHING[name], r, 2))


@pytest.mark.parametrize("name", EVERYTHING)
def test_derivatives_by_differences(name):
    r = torch.tensor([0.3, 2.1, 4.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(EVERYTHING[name], r)
    assert torch.autograd.gradgradcheck(EVERYTHING[name], r)


@pytest.mark.parametrize("name", sorted(set(EVERYTHING) - {"Bessel, trainable"}))
def test_dtype_and_shape_follow_the_input(name):
    fn = EVERYTHING[name]
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        y = fn(torch.rand(2, 3, dtype=torch.float64).to(dtype) * 6)
        assert y.dtype == dtype
        assert y.shape == ((2, 3, fn.count) if hasattr(fn, "count") else (2, 3))
        assert torch.isfinite(y).all()


@pytest.mark.parametrize("cutoff", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize(
    "kind", ["Bessel", "Gaussian", "PolynomialEnvelope", "CosineEnvelope", "ExpEnvelope", "ExpSwitch", "SmoothBump"]
)
def test_a_cutoff_that_is_not_positive_is_refused(kind, cutoff):
    with pytest.raises(ValueError, match=f"{kind}: cutoff must be positive"):
        getattr(nn, kind)(cutoff)


def test_other_sizes_are_checked():
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        nn.Bessel(CUTOFF, 0)
    with pytest.raises(ValueError, match="count must be at least 2, got 1"):
        nn.Gaussian(CUTOFF, 1)
    with pytest.raises(ValueError, match="width must be positive"):
        nn.Gaussian(CUTOFF, width=0.0)
    with pytest.raises(ValueError, match="gamma must be positive"):
        nn.ExpBernstein(gamma=-1.0)
    with pytest.raises(ValueError, match="p must be at least 2, got 1"):
        nn.PolynomialEnvelope(CUTOFF, 1)


def test_compiles_whole():
    stack = torch.nn.ModuleList(EVERYTHING[name] for name in EVERYTHING if name != "Bessel, trainable")

    def f(r):
        return sum(fn(r).sum() for fn in stack)

    compiled = torch.compile(f, fullgraph=True, dynamic=True, backend="aot_eager")
    for n in (3, 5):
        r = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 6
        assert_close(compiled(r), f(r), atol=1e-12, rtol=1e-12)
