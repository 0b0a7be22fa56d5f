"""Spherical harmonics: e3nn's convention to the last digits, solid scaling, derivatives of every order, the origin."""

import json
from math import sqrt
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from intertwine import so3
from intertwine.so3.harmonics import _plain

GOLDEN = json.loads((Path(__file__).parent / "golden" / "harmonics.json").read_text())


@pytest.fixture
def unit(generator):
    r = torch.randn(500, 3, generator=generator, dtype=torch.float64)
    return r / r.norm(dim=-1, keepdim=True)


def test_golden_order_and_signs():
    r = torch.tensor(GOLDEN["r"], dtype=torch.float64)
    found = so3.spherical_harmonics(r, 3, normalization="norm")
    assert_close(found, torch.tensor(GOLDEN["norm"], dtype=torch.float64), atol=1e-14, rtol=0.0)


def test_degree_two_is_the_documented_polynomial(unit):
    x, y, z = unit.unbind(-1)
    expected = [sqrt(3) * x * z, sqrt(3) * x * y, y * y - (x * x + z * z) / 2, sqrt(3) * y * z]
    expected = torch.stack([*expected, sqrt(3) / 2 * (z * z - x * x)], -1)
    found = so3.spherical_harmonics(unit, 2, normalization="norm")
    assert_close(found[:, 4:], expected, atol=1e-14, rtol=0.0)
    assert_close(found[:, 1:4], unit, atol=1e-15, rtol=0.0)


def test_equal_to_e3nn_up_to_degree_eleven(o3, unit):
    theirs = o3.spherical_harmonics(list(range(12)), unit, normalize=False, normalization="norm")
    assert_close(so3.spherical_harmonics(unit, 11, False, "norm"), theirs, atol=3e-15, rtol=0.0)
    assert_close(so3.spherical_harmonics(unit, 11, True, "norm"), theirs, atol=3e-15, rtol=0.0)
    single = so3.spherical_harmonics(unit.float(), 11, normalization="norm")
    assert_close(single.double(), theirs, atol=2e-6, rtol=0.0)


@pytest.mark.parametrize("normalization", ["component", "norm", "integral"])
def test_normalizations_are_e3nn_s(o3, unit, normalization):
    theirs = o3.spherical_harmonics(list(range(5)), unit, normalize=False, normalization=normalization)
    assert_close(so3.spherical_harmonics(unit, 4, normalization=normalization), theirs, atol=1e-14, rtol=0.0)


def test_norms_per_degree(unit):
    for normalization, square in {"component": lambda l: 2 * l + 1, "norm": lambda l: 1}.items():
        Y = so3.spherical_harmonics(unit, 13, normalization=normalization)
        for l in range(14):
            found = Y[:, l * l : (l + 1) ** 2].square().sum(-1)
            assert_close(found, torch.full_like(found, square(l)), atol=1e-12, rtol=0.0)


@pytest.mark.parametrize("lmax", [0, 1, 4, 12])
def test_solid_form_is_homogeneous(unit, lmax):
    one, scaled = (so3.spherical_harmonics(s * unit, lmax, normalize=False) for s in (1.0, 0.7))
    degree = torch.cat([torch.full((2 * l + 1,), float(l), dtype=torch.float64) for l in range(lmax + 1)])
    assert_close(scaled, one * 0.7**degree, atol=1e-13, rtol=0.0)


def test_normalised_form_ignores_the_length(unit):
    reference = so3.spherical_harmonics(unit, 4)
    for scale in (1e-100, 1e-3, 50.0):
        assert_close(so3.spherical_harmonics(scale * unit, 4), reference, atol=1e-14, rtol=0.0)


@pytest.mark.parametrize("compiled_form", [False, True])
def test_origin(compiled_form, monkeypatch):
    if compiled_form:
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    r = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    Y = so3.spherical_harmonics(r, 4)
    assert torch.equal(Y[0].detach(), torch.eye(25, dtype=torch.float64)[0])
    (first,) = torch.autograd.grad((Y * torch.arange(25)).sum(), r, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), r)
    assert torch.equal(first, torch.zeros_like(r))
    assert torch.equal(second, torch.zeros_like(r))
    solid = so3.spherical_harmonics(r, 4, normalize=False)
    (first,) = torch.autograd.grad(solid[:, 1:4].sum(), r)
    assert torch.isfinite(first).all()


@pytest.mark.parametrize("lmax", [3, 4, 11])  # up to 2 they are one; from 11 the derivative is taken degree by degree
def test_both_forms_agree_with_three_derivatives(lmax, generator):
    r = torch.randn(3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    found = []
    for form in (lambda r: so3.spherical_harmonics(r, lmax, False), lambda r: _plain(r, lmax, "component")):
        value, derivatives = form(r).square().sum() + (form(r) * torch.arange((lmax + 1) ** 2)).sum(), []
        for _ in range(3):
            (slope,) = torch.autograd.grad(value, r, create_graph=True)
            derivatives.append(slope)
            value = slope.square().sum()
        found.append([form(r), *derivatives])
    assert len(found[0]) == len(found[1]) == 4
    for ours, theirs in zip(*found):
        assert_close(ours, theirs, atol=1e-10, rtol=1e-11)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's forward mode
@pytest.mark.parametrize("normalize", [False, True])
def test_gradients_by_differences(normalize, generator):
    r = torch.randn(2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: so3.spherical_harmonics(r, 4, normalize), r, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda r: so3.spherical_harmonics(r, 3, normalize), r)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's forward mode
def test_function_transforms(generator):
    r = torch.randn(4, 3, generator=generator, dtype=torch.float64)

    def f(r):
        return so3.spherical_harmonics(r, 3).pow(3).sum()

    per_row = torch.vmap(torch.func.grad(f))(r)
    assert_close(per_row, torch.func.grad(f)(r), atol=1e-13, rtol=0.0)
    reverse = torch.func.jacrev(torch.func.grad(f))(r)
    assert_close(torch.func.hessian(f)(r), reverse, atol=1e-12, rtol=0.0)


def test_shapes_and_dtypes(generator):
    r = torch.randn(2, 5, 3, generator=generator)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        Y = so3.spherical_harmonics(r.to(dtype), 3)
        assert (Y.dtype, Y.shape) == (dtype, (2, 5, 16))
        assert torch.isfinite(Y).all()
    assert so3.spherical_harmonics(r[0, 0], 2).shape == (9,)
    assert so3.spherical_harmonics(r[:0], 2).shape == (0, 5, 9)
    assert Y.is_contiguous()


def test_errors_name_what_does_not_fit():
    r = torch.zeros(4, 3)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        so3.spherical_harmonics(r, -1)
    with pytest.raises(ValueError, match=r"'unit' is not one of .*component"):
        so3.spherical_harmonics(r, 2, normalization="unit")
    with pytest.raises(ValueError, match=r"last dimension of 3, got shape \(4, 2\)"):
        so3.spherical_harmonics(r[:, :2], 2)


def test_compiles_whole_with_the_gradient_inside(generator):
    def f(r):
        return torch.func.grad(lambda r: so3.spherical_harmonics(r, 3).pow(3).sum())(r)

    compiled = torch.compile(f, fullgraph=True, dynamic=True, backend="aot_eager")
    for n in (3, 7, 2):
        r = torch.randn(n, 3, generator=generator, dtype=torch.float64, requires_grad=True)
        ours, theirs = compiled(r), f(r)
        assert_close(ours, theirs, atol=1e-12, rtol=0.0)
        again = [torch.autograd.grad(y.square().sum(), r)[0] for y in (ours, theirs)]
        assert_close(*again, atol=1e-10, rtol=1e-12)
