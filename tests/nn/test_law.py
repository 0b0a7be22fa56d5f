"""The law of a function: every activation of torch, edge cases of scale and range, and what is refused."""

import math

import pytest
import torch
from torch.nn import functional as F

from intertwine import nn
from intertwine.nn import Law
from intertwine.nn.law import works_in_place


def waves(x):
    """x (1 + sin(2π log2 |x|) / 10): scales by powers of two only."""
    return torch.where(x == 0, 0, x * (1 + 0.1 * torch.sin(2 * math.pi * x.abs().clamp(min=1e-300).log2())))


def one_sided(x):
    return waves(x).relu()


def turning(x):
    """f(-2x) = -2 f(x), but not f(-x) = -f(x)."""
    exponent = x.abs().clamp(min=1e-300).log2() + (x < 0)
    return torch.where(x == 0, 0, x * (1 + 0.1 * torch.sin(math.pi * exponent)))


KNOWN = {
    "linear": [torch.nn.Identity(), torch.neg, torch.zeros_like, lambda x: 3 * x],
    "affine": [lambda x: x + 1, lambda x: 2 * x + 1e-3, torch.ones_like],
    "semilinear": [F.relu, F.leaky_relu, torch.abs, torch.nn.PReLU(), lambda x: 1e-12 * x.relu()],
    "odd": [
        *(torch.tanh, torch.sin, torch.erf, torch.asinh, torch.atan, torch.sign, torch.sinh, F.softsign, F.hardtanh),
        *(F.tanhshrink, F.softshrink, F.hardshrink, lambda x: x**3, lambda x: torch.sigmoid(x) - 0.5),
    ],
    "generic": [
        *(torch.sigmoid, torch.exp, torch.cos, torch.square, F.gelu, F.silu, F.mish, F.softplus, F.elu, F.selu, F.celu),
        *(F.relu6, F.hardsigmoid, F.hardswish, F.logsigmoid, torch.nn.Hardtanh(-1, 2), lambda x: x.relu() ** 2),
    ],
}
CASES = [(name, fn) for name, fns in KNOWN.items() for fn in fns]


def test_every_activation_has_its_law():
    found = [(name, nn.law(fn).name, fn) for name, fn in CASES]
    assert not [entry for entry in found if entry[0] != entry[1]]


def test_parity_and_degree():
    of = {fn: nn.law(fn) for fn in (torch.abs, torch.square, torch.tanh, F.silu, torch.sign, F.relu, torch.cos)}
    assert {fn: law.parity for fn, law in of.items()} == {
        **{torch.abs: 1, torch.square: 1, torch.cos: 1, torch.tanh: -1, torch.sign: -1, F.silu: None, F.relu: None}
    }
    degrees = {fn: law.degree for fn, law in of.items()}
    assert degrees == {
        **{torch.abs: 1, torch.square: 2, torch.sign: 0, F.relu: 1, torch.tanh: None, F.silu: None, torch.cos: None}
    }
    assert nn.law(lambda x: x.abs().sqrt()).degree == 0.5
    assert nn.law(lambda z: z + 1e-3).parity is None


def test_log_periodic_laws():
    assert nn.law(waves) == Law("odd log-periodic", 2.0)
    assert nn.law(one_sided) == Law("log-periodic", 2.0)
    assert nn.law(turning) == Law("log-periodic", -2.0)
    assert [Law("log-periodic", 2.0).allows(v) for v in (4.0, 0.5, 1.0, 3.0, -2.0)] == [True, True, True, False, False]
    assert [Law("odd log-periodic", 2.0).allows(v) for v in (-4.0, 4.0, -1.0, 3.0)] == [True, True, True, False]
    assert [Law("log-periodic", -2.0).allows(v) for v in (-2.0, 4.0, -0.5, 2.0)] == [True, True, True, False]


def test_laws_are_values():
    assert nn.law(torch.relu) == Law("semilinear") == nn.law(torch.abs)
    assert len({nn.law(torch.tanh), nn.law(torch.sin), Law("odd")}) == 1
    assert str(Law("log-periodic", 2.0)) == "log-periodic, base 2"
    for wrong in (("odd", 2.0), ("log-periodic", None), ("log-periodic", 1.0), ("log-periodic", 0.0)):
        with pytest.raises(ValueError, match="base"):
            Law(*wrong)
    with pytest.raises(ValueError, match="must be one of"):
        Law("even")


@pytest.mark.parametrize(
    ("fn", "says"),
    [
        (torch.nn.Dropout(), "Dropout gives other values when called again"),
        (torch.nn.Dropout().eval(), "gives other values"),
        (torch.nn.Softmax(-1), "Softmax is not point-wise"),
        (lambda x: x - x.mean(), "not point-wise"),
        (torch.nn.LayerNorm(4), "does not take a plain vector"),
        (torch.nn.BatchNorm1d(3), "does not take a plain vector"),
        (torch.nn.PReLU(4), "does not take a plain vector"),
        (torch.log, "log is not finite"),
        (torch.reciprocal, "not finite"),
        (torch.sum, "one number for each entry"),
        (lambda x: x.float(), "in the same dtype"),
        (lambda x: 1.0, "it gave float"),
    ],
)
def test_what_is_no_function_of_single_entries(fn, says):
    with pytest.raises(ValueError, match=says):
        nn.law(fn)


def test_nothing_is_left_behind():
    """A module keeps its dtype, mode and gradients; the random state of the process stays."""
    module = torch.nn.PReLU().eval()
    state = torch.get_rng_state()
    nn.law(module)
    with pytest.raises(ValueError, match="again"):
        nn.law(torch.nn.RReLU())
    assert torch.equal(torch.get_rng_state(), state)
    assert module.weight.dtype == torch.float32
    assert not module.training
    assert module.weight.grad is None


def test_in_place():
    assert works_in_place(torch.nn.ReLU(inplace=True))
    assert works_in_place(torch.relu_)
    assert not works_in_place(torch.relu)
