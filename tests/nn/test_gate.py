"""The gate: what it takes and gives, its formula, the parity rule, equivariance before and after training."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from intertwine import nn
from intertwine.audit import assert_equivariant
from intertwine.groups import O, S
from intertwine.so3 import Irreps

CASES = [
    (Irreps("4x0e"), F.silu, Irreps("2x1o + 3x2e")),
    (Irreps("4x0e + 2x0o"), [F.silu, torch.tanh], Irreps("2x1o + 3x1e")),
    (Irreps("4x0e + 2x0o"), [F.silu, torch.abs], Irreps("2x2o")),
    (Irreps("4x0"), F.silu, Irreps("2x1")),
    (Irreps("4x0e"), F.silu, Irreps("")),
    (3 * O(3).trivial, F.silu, 2 * O(3).V + O(3).V ** 2),
    (3 * S(4).trivial, F.silu, 2 * S(4).V),
]


def test_what_it_takes_and_gives():
    gate = nn.Gate(Irreps("8x0e + 2x0o"), [F.silu, torch.abs], Irreps("4x1o + 2x2e"))
    assert str(gate.rep_in) == "8x0e + 2x0o + 6x0e + 4x1o + 2x2e"
    assert str(gate.rep_out) == "8x0e + 2x0e + 4x1o + 2x2e"
    assert gate.rep_in == nn.gate_rep(Irreps("8x0e + 2x0o"), Irreps("4x1o + 2x2e"))
    assert not gate.state_dict()


def test_formula(generator):
    gate = nn.Gate(Irreps("2x0e"), F.silu, Irreps("1x1o + 2x2e"))
    x = gate.rep_in.randn(5, generator=generator, dtype=torch.float64)
    scalars, gates, vectors, tensors = x.split([2, 3, 3, 10], 1)
    g = torch.sigmoid(gates) * nn.second_moment_constant(torch.sigmoid)
    expected = [
        F.silu(scalars) * nn.second_moment_constant(F.silu),
        vectors * g[:, :1],
        (tensors.unflatten(1, (5, 2)) * g[:, None, 1:]).flatten(1),
    ]
    assert_close(gate(x), torch.cat(expected, 1), atol=1e-14, rtol=0.0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} | {case[2]}")
def test_equivariance(case):
    gate = nn.Gate(*case).double()
    assert_equivariant(gate)
    assert_equivariant(nn.Gate(*case).float())


def test_equivariance_in_a_network_after_training(generator):
    scalars, gated = Irreps("4x0e + 2x0o"), Irreps("3x1o + 2x2e")
    gate = nn.Gate(scalars, [F.silu, torch.tanh], gated)
    first = nn.Linear(scalars + gated, gate.rep_in, generator=generator)
    second = nn.Linear(gate.rep_out, scalars + gated, generator=generator)
    network = torch.nn.Sequential(first, gate, second).double()
    network.rep_in, network.rep_out = first.rep_in, second.rep_out
    assert_equivariant(network, steps=3)


def test_unit_variance_stays_near_one(generator):
    gate = nn.Gate(Irreps("64x0e"), F.silu, Irreps("64x1o"))
    x = gate.rep_in.randn(2000, generator=generator)
    for block in gate.rep_out.split(gate(x)):
        assert abs(block.square().mean() - 1) < 0.03


def test_errors():
    with pytest.raises(ValueError, match=r"silu is neither even nor odd, but 0o"):
        nn.Gate(Irreps("4x0e + 2x0o"), F.silu, Irreps("1o"))
    with pytest.raises(ValueError, match=r"1o in .* is no scalar"):
        nn.Gate(Irreps("4x0e + 2x1o"), F.silu, Irreps("1o"))
    with pytest.raises(ValueError, match=r"Gate: scalars belong to O\(3\), gated to SO\(3\)"):
        nn.Gate(Irreps("4x0e"), F.silu, Irreps("1"))
    with pytest.raises(ValueError, match="has 2 terms, got 1 functions"):
        nn.Gate(Irreps("4x0e + 2x0o"), [F.silu], Irreps("1o"))
    with pytest.raises(ValueError, match="has dimension 8, the data has trailing dimension 7"):
        nn.Gate(Irreps("4x0e"), F.silu, Irreps("1o"))(torch.zeros(3, 7))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtype_and_batch_shape_follow_the_input(dtype, generator):
    gate = nn.Gate(Irreps("2x0e"), F.silu, Irreps("1x1o"))
    for batch in ((), (3,), (2, 0), (2, 3)):
        y = gate(gate.rep_in.randn(*batch, generator=generator).to(dtype))
        assert (y.dtype, y.shape) == (dtype, (*batch, 5))
        assert torch.isfinite(y).all()


def test_compiles_whole(generator):
    gate = nn.Gate(Irreps("2x0e + 1x0o"), [F.silu, torch.tanh], Irreps("1x1o + 2x2e"))
    norm = nn.DegreeRMSNorm(gate.rep_in)
    other, batch = nn.SeparableLayerNorm(gate.rep_out), nn.EquivariantBatchNorm(gate.rep_out).eval()
    lengths, instance = nn.NormActivation(gate.rep_out, torch.tanh, bias=True), nn.InstanceNorm(gate.rep_out)
    stack = torch.nn.Sequential(norm, gate, other, batch, lengths, instance).double()
    compiled = torch.compile(stack, fullgraph=True, dynamic=True, backend="aot_eager")
    for n in (3, 6):
        x = gate.rep_in.randn(n, generator=generator, dtype=torch.float64).requires_grad_()
        ours, theirs = compiled(x), stack(x)
        assert_close(ours, theirs, atol=1e-12, rtol=0.0)
        assert_close(*(torch.autograd.grad(y.square().sum(), x)[0] for y in (ours, theirs)), atol=1e-12, rtol=0.0)


def test_second_derivatives_and_export(generator):
    gate = nn.Gate(Irreps("2x0e + 1x0o"), [F.silu, torch.abs], Irreps("1x1o + 1x2e"))
    x = gate.rep_in.randn(2, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(gate, x) and torch.autograd.gradgradcheck(gate, x)
    program = torch.export.export(gate, (x.detach(),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    more = gate.rep_in.randn(5, generator=generator, dtype=torch.float64)
    assert_close(program.module()(more), gate(more), atol=1e-12, rtol=0.0)
