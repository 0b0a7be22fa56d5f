"""Scalars and lengths decide how much passes: any orthogonal representation, smooth at zero, itself at first."""

import pytest
import torch

from intertwine.groups import GLPlus, O, S
from intertwine.nn import NormGate
from intertwine.so3 import Irreps

REPS = {
    "O(3)": lambda: Irreps("3x0e + 2x0o + 2x1o + 1x2e"),
    "SO(3)": lambda: Irreps("2x0 + 3x1"),
    "no invariant": lambda: Irreps("2x1o"),
    "matrices": lambda: 2 * O(2).V ** 2 + 3 * O(2).V ** 0,
    "permutations": lambda: 2 * S(4).V + 1 * S(4).V ** 0,
}


@pytest.fixture(params=list(REPS))
def gate(request, generator) -> NormGate:
    return NormGate(REPS[request.param](), generator=generator).double()


@pytest.mark.parametrize("batch", [(), (0,), (1,), (2, 3)], ids=("none", "empty", "one", "two axes"))
def test_it_commutes_with_the_group(gate, batch, generator):
    rep = gate.rep_in
    x = rep.randn(*batch, generator=generator, dtype=torch.float64)
    out = gate(x)
    assert out.shape == x.shape
    for g in rep.group.sample(3, generator=generator):
        torch.testing.assert_close(gate(rep.act(g, x)), rep.act(g, out), rtol=0, atol=1e-10)


def test_so_does_its_gradient(gate, generator):
    rep = gate.rep_in
    x, wanted = (rep.randn(3, generator=generator, dtype=torch.float64) for _ in range(2))

    def gradient(x, wanted):
        x = x.clone().requires_grad_()
        return torch.autograd.grad((gate(x) * wanted).sum(), x)[0]

    g = rep.group.sample(1, generator=generator)[0]
    expected = rep.act(g, gradient(x, wanted))
    torch.testing.assert_close(gradient(rep.act(g, x), rep.act(g, wanted)), expected, rtol=0, atol=1e-10)


def test_it_is_smooth_at_zero(gate):
    x = torch.zeros(gate.rep_in.dim, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(gate(x).square().sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    assert torch.isfinite(slope).all()
    assert torch.isfinite(curvature).all()


def test_directions_stay_and_invariants_are_new(generator):
    gate = NormGate(Irreps("2x0e + 1x1o"), generator=generator).double()
    x = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    out = gate(x)
    torch.testing.assert_close(torch.linalg.cross(out[:, 2:], x[:, 2:]).abs().max(), x.new_zeros(()))
    with torch.no_grad():
        gate.last.weight.zero_()
    out = gate(x)
    torch.testing.assert_close(out[:, :2], gate.last.bias[:2].expand(5, 2))
    assert (out[:, 2:] / x[:, 2:]).min() > 0.3  # near one at first


def test_bad_input():
    with pytest.raises(ValueError, match="not orthogonal"):
        NormGate(GLPlus(2).V)
    with pytest.raises(ValueError):
        NormGate(Irreps("1x1o"))(torch.zeros(4))


def test_it_compiles_whole(generator):
    gate = NormGate(Irreps("2x0e + 1x1o"), generator=generator)
    x = torch.randn(3, 5, generator=generator)
    torch.testing.assert_close(torch.compile(gate, fullgraph=True, backend="eager")(x), gate(x))
