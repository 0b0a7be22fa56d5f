"""Activations: exact constants, the parity rule, equivariance, and a norm that is smooth at zero."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from intertwine import nn
from intertwine.audit import assert_equivariant
from intertwine.groups import O, S
from intertwine.nn.activation import is_invariant, is_scalar
from intertwine.nn.pointwise import invariants
from intertwine.so3 import Irreps


def shifted_softplus(x):
    return F.softplus(x) - math.log(2)


CONSTANTS = {  # 1/√E[f(z)²], z standard normal
    F.silu: 1.676532,
    F.relu: math.sqrt(2),
    torch.tanh: 1.592537,
    torch.sigmoid: 1.846229,
    F.gelu: 1.533530,
    torch.abs: 1.0,
    shifted_softplus: 1.875596,
}


@pytest.mark.parametrize("fn", CONSTANTS, ids=lambda fn: fn.__name__)
def test_constants(fn, generator):
    constant = nn.second_moment_constant(fn)
    assert abs(constant - CONSTANTS[fn]) < 1e-6
    z = torch.randn(1_000_000, generator=generator, dtype=torch.float64)
    assert abs((constant * fn(z)).square().mean() - 1) < 0.01


def test_constants_are_exact_where_the_integral_is_known():
    assert abs(nn.second_moment_constant(lambda z: z) - 1) < 1e-13
    assert abs(nn.second_moment_constant(lambda z: z**3) - 15**-0.5) < 1e-13
    assert abs(nn.second_moment_constant(torch.cos) - ((1 + math.exp(-2)) / 2) ** -0.5) < 1e-13
    assert (
        abs(nn.second_moment_constant(F.hardtanh) - 1 / math.sqrt(1 - 2 * math.exp(-0.5) / math.sqrt(2 * math.pi)))
        < 1e-13
    )


def test_functions_without_a_constant_are_refused():
    with pytest.raises(ValueError, match="zeros_like has second moment 0"):
        nn.second_moment_constant(torch.zeros_like)
    with pytest.raises(ValueError, match="log has second moment nan"):
        nn.second_moment_constant(torch.log)


def test_kinds_of_terms():
    kinds = [(is_invariant(W), is_scalar(W)) for W, _ in Irreps("0e + 0o + 1o").terms]
    assert kinds == [(True, True), (False, True), (False, False)]
    (trivial, _), (det, _), (V, _) = O(3).trivial.terms + O(3).det.terms + O(3).V.terms
    assert [(is_invariant(W), is_scalar(W)) for W in (trivial, det, V)] == [(True, True), (False, True), (False, False)]
    assert str(invariants(Irreps("1o"), 3)) == "3x0e"
    assert str(invariants(Irreps("1"), 3)) == "3x0"
    assert invariants(O(3).V, 3) == 3 * O(3).trivial


# --- ScalarActivation


def test_values_and_second_moment(generator):
    layer = nn.ScalarActivation(Irreps("64x0e"), F.silu)
    x = torch.randn(1000, 64, generator=generator)
    assert_close(layer(x), F.silu(x) * 1.676532, atol=1e-5, rtol=0.0)
    assert abs(layer(x).square().mean() - 1) < 0.02
    assert torch.equal(nn.ScalarActivation(Irreps("64x0e"), F.silu, normalize=False)(x), F.silu(x))


@pytest.mark.parametrize(
    ("irreps", "acts", "out"),
    [
        ("4x0e + 2x0o", [F.silu, torch.tanh], "4x0e + 2x0o"),
        ("4x0e + 2x0o", [F.silu, torch.abs], "4x0e + 2x0e"),
        ("4x0e + 2x0o + 3x1o", [F.silu, None, None], "4x0e + 2x0o + 3x1o"),
        ("4x0e + 3x1o", F.silu, "4x0e + 3x1o"),
        ("4x0 + 3x1", F.silu, "4x0 + 3x1"),
    ],
)
def test_parity_rule_and_equivariance(irreps, acts, out):
    layer = nn.ScalarActivation(Irreps(irreps), acts).double()
    assert layer.rep_out == Irreps(out)
    assert_equivariant(layer)


def test_any_group():
    rep = 4 * S(4).trivial + 2 * S(4).det + S(4).V
    layer = nn.ScalarActivation(rep, [F.silu, torch.cos, None])
    assert str(layer.rep_out) == "4 + 2 + V"
    assert_equivariant(layer.double())


def test_scalar_activation_errors():
    with pytest.raises(ValueError, match=r"silu is neither even nor odd, but 0o in .* changes sign"):
        nn.ScalarActivation(Irreps("4x0e + 2x0o"), F.silu)
    with pytest.raises(ValueError, match=r"silu acts on entries, but 1o in .* is no scalar; use a Gate"):
        nn.ScalarActivation(Irreps("4x0e + 2x1o"), [F.silu, F.silu])
    with pytest.raises(ValueError, match="has 2 terms, got 1 functions"):
        nn.ScalarActivation(Irreps("4x0e + 2x1o"), [F.silu])
    with pytest.raises(ValueError, match="has dimension 4, the data has trailing dimension 5"):
        nn.ScalarActivation(Irreps("4x0e"), F.silu)(torch.zeros(5))


# --- NormActivation


@pytest.mark.parametrize(
    "rep", [Irreps("3x0e + 2x0o + 2x1o + 1x2e"), 2 * O(3).V ** 2 + O(3).trivial, 3 * S(4).V], ids=str
)
@pytest.mark.parametrize("bias", [False, True])
def test_norm_activation_is_equivariant_also_after_training(rep, bias):
    assert_equivariant(nn.NormActivation(rep, torch.tanh, bias=bias).double(), steps=3 if bias else 0)


def test_norm_activation_is_its_formula(generator):
    rep = Irreps("2x1o")
    x = rep.randn(5, generator=generator, dtype=torch.float64)
    layer = nn.NormActivation(rep, torch.sigmoid, bias=True).double()
    layer.bias.data = torch.tensor([0.3, -0.2], dtype=torch.float64)
    v = x.unflatten(1, (3, 2))
    length = v.norm(dim=1, keepdim=True)
    expected = (v / length * torch.sigmoid(length + layer.bias)).flatten(1)
    assert_close(layer(x), expected, atol=1e-10, rtol=0.0)


def test_norm_activation_is_zero_and_smooth_at_zero():
    rep = Irreps("2x0e + 2x1o")
    x = torch.zeros(1, 8, dtype=torch.float64, requires_grad=True)
    layer = nn.NormActivation(rep, torch.sigmoid)
    y = layer(x)
    assert not y.any()
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()
    assert not layer(x.float()).any()


def test_norm_activation_errors():
    from intertwine.groups import Lorentz

    with pytest.raises(ValueError, match="not orthogonal"):
        nn.NormActivation(2 * Lorentz(1, 3).V)
    with pytest.raises(ValueError, match="eps must be positive, got 0"):
        nn.NormActivation(Irreps("1o"), eps=0.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtypes(dtype, generator):
    rep = Irreps("2x0e + 2x1o")
    x = rep.randn(4, generator=generator).to(dtype)
    for layer in (nn.ScalarActivation(rep, F.silu), nn.NormActivation(rep)):
        assert layer(x).dtype == dtype
        assert torch.isfinite(layer(x)).all()


@pytest.mark.parametrize("kind", ["scalar", "norm", "norm with bias"])
def test_second_derivatives_and_export(kind, generator):
    rep = Irreps("2x0e + 1x0o + 2x1o")
    layer = {
        "scalar": lambda: nn.ScalarActivation(rep, [F.silu, torch.tanh, None]),
        "norm": lambda: nn.NormActivation(rep, torch.tanh),
        "norm with bias": lambda: nn.NormActivation(rep, torch.tanh, bias=True),
    }[kind]().double()
    x = rep.randn(2, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(layer, x) and torch.autograd.gradgradcheck(layer, x)
    program = torch.export.export(layer, (x.detach(),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    more = rep.randn(5, generator=generator, dtype=torch.float64)
    assert_close(program.module()(more), layer(more), atol=1e-12, rtol=0.0)
