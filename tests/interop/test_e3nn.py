"""Irreps, features and layers of e3nn and ours: the same numbers both ways."""

import sys

import pytest
import torch
from torch.nn.functional import silu
from torch.testing import assert_close

from intertwine import nn, so3
from intertwine.interop.e3nn import from_e3nn, scaled, to_e3nn
from intertwine.so3 import Irreps, TensorProduct, elementwise, full_tensor_product, fully_connected

EXACT = {"atol": 1e-12, "rtol": 0.0}
ONE, TWO = "3x0e + 2x1o + 1x1e + 2x0o + 2x1o", "2x1o + 1x2e"


def draw(irreps, generator, n=4):
    return Irreps(irreps).randn(n, generator=generator, dtype=torch.float64)


def test_irreps_both_ways(o3):
    assert str(to_e3nn(Irreps(ONE))) == str(o3.Irreps(ONE)) == str(to_e3nn(ONE))
    assert from_e3nn(o3.Irreps(ONE)) == Irreps(ONE)
    assert from_e3nn(o3.Irreps("0x1e + 2x0o")) == Irreps("2x0o")
    assert str(to_e3nn(Irreps("2x1 + 0"))) == "2x1e+1x0e"


@pytest.mark.parametrize("irreps", [ONE, "2x3o", "0e"])
def test_features_both_ways_and_their_rotation(o3, irreps, generator, float64_default):
    x = draw(irreps, generator)
    y = to_e3nn(x, irreps)
    assert_close(from_e3nn(y, irreps), x, atol=0.0, rtol=0.0)
    g = -so3.random_rotation(generator=generator)
    D = o3.Irreps(irreps).D_from_matrix(g)
    assert_close(to_e3nn(Irreps(irreps).act(g, x), irreps), y @ D.T, atol=1e-9, rtol=0.0)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_to_e3nn(o3, bias, generator):
    ours = nn.Linear(Irreps(ONE), Irreps("2x1o + 4x0e + 3x1e + 1x0e"), bias=bias, generator=generator).double()
    if bias:
        torch.nn.init.normal_(ours.bias, generator=generator)
    other, x = to_e3nn(ours), draw(ONE, generator)
    assert_close(to_e3nn(ours(x), ours.rep_out), other(to_e3nn(x, ONE)), **EXACT)
    back = from_e3nn(other)
    assert_close(back(x), ours(x), **EXACT)
    assert_close(back.weight, ours.weight, **EXACT)


@pytest.mark.parametrize("path_normalization", ["element", "path"])
def test_linear_from_e3nn(o3, path_normalization, generator, float64_default):
    other = o3.Linear(ONE, "2x1o + 0x1e + 4x0e + 2x3e", biases=True, path_normalization=path_normalization)
    torch.nn.init.normal_(other.bias)
    ours, x = from_e3nn(other), draw(ONE, generator)
    assert_close(to_e3nn(ours(x), ours.rep_out), other(to_e3nn(x, ONE)), **EXACT)


@pytest.mark.parametrize("mode", ["uvw", "uvu", "uuu"])
@pytest.mark.parametrize("weights", ["external", "shared"])
def test_products_to_e3nn_and_back(o3, mode, weights, generator, float64_default):
    one, two = ("2x0e + 2x1o", "2x1o + 2x2e") if mode == "uuu" else (ONE, TWO)
    out = "2x1o + 2x1e + 3x2o" if mode != "uuu" else "2x1o + 2x1e"
    ours = TensorProduct(one, two, out, mode=mode, weights=weights, generator=generator, normalization="norm").double()
    other = to_e3nn(ours)
    x, y = draw(one, generator), draw(two, generator)
    w = [torch.randn(4, ours.weight_numel, generator=generator, dtype=torch.float64)] * (weights == "external")
    assert_close(to_e3nn(ours(x, y, *w), out), other(to_e3nn(x, one), to_e3nn(y, two), *w), **EXACT)
    back = from_e3nn(other)
    assert back.weights == weights
    assert_close(back(x, y, *w), ours(x, y, *w), **EXACT)


def test_children_of_their_product(o3, generator, float64_default):
    for other in (
        o3.FullTensorProduct(ONE, TWO),
        o3.FullyConnectedTensorProduct(ONE, TWO, "3x1o + 2x2e"),
        o3.ElementwiseTensorProduct("2x1o + 3x0e", "4x1o + 1x2e"),
        o3.TensorProduct("2x1o", "1x1o", "2x1e", [(0, 0, 0, "uvu", False, 0.3)], in1_var=[2.0]),
    ):
        ours = from_e3nn(other)
        x, y = draw(ours.irreps_in1, generator), draw(ours.irreps_in2, generator)
        expected = other(to_e3nn(x, ours.irreps_in1), to_e3nn(y, ours.irreps_in2))
        assert_close(to_e3nn(ours.double()(x, y), ours.rep_out), expected, **EXACT)


def test_edge_products_move_too(o3, generator):
    ours = fully_connected(*[Irreps.spherical(2, 3)] * 1, Irreps.spherical(2), Irreps.spherical(2, 3), harmonics=True,
                           method="so2", generator=generator).double()  # fmt: skip
    x, Y = draw(ours.irreps_in1, generator), so3.spherical_harmonics(torch.randn(4, 3, dtype=torch.float64), 2)
    other = to_e3nn(ours)
    assert_close(to_e3nn(ours(x, Y), ours.rep_out), other(to_e3nn(x, ours.irreps_in1), Y), **EXACT)


def test_both_constants_of_activations(o3):
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)
    exact, theirs = scaled(silu, "exact"), scaled(silu)
    assert_close(exact(x), silu(x) * 1.676532, atol=1e-5, rtol=0.0)
    from e3nn.math import normalize2mom

    assert_close(theirs(x), normalize2mom(silu)(x), **EXACT)
    assert 1e-5 < (exact(x) - theirs(x)).abs().max() < 0.02
    gate = nn.Gate(Irreps("4x0e"), theirs, Irreps("4x1o"), scaled(torch.sigmoid), normalize=False).double()
    assert gate(draw(gate.rep_in, torch.Generator().manual_seed(0))).shape == (4, 16)
    with pytest.raises(ValueError, match="neither 'e3nn' nor 'exact'"):
        scaled(silu, "mine")


def test_errors(o3, generator):
    with pytest.raises(ValueError, match="give its irreps"):
        to_e3nn(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="has dimension 3"):
        from_e3nn(torch.zeros(3, 4), "1o")
    with pytest.raises(TypeError, match="nothing in e3nn is known for a Conv1d"):
        to_e3nn(torch.nn.Conv1d(1, 1, 1))
    with pytest.raises(TypeError, match="nothing here is known for a torch"):
        from_e3nn(torch.nn.Conv1d(1, 1, 1))
    with pytest.raises(ValueError, match="without some of its paths"):
        from_e3nn(o3.Linear("2x0e + 1o", "2x0e + 1o", instructions=[(0, 0)]))
    with pytest.raises(ValueError, match="one mode, and weights on all paths or none"):
        from_e3nn(o3.TensorProduct("1o", "1o", "0e + 1e", [(0, 0, 0, "uvw", True), (0, 0, 1, "uuu", True)]))
    with pytest.raises(ValueError, match="a weight for each path"):
        to_e3nn(TensorProduct(*[Irreps.spherical(1, 2)] * 3, method="gaunt_grid"))
    with pytest.raises(ValueError, match="pairs parts of terms"):
        to_e3nn(elementwise("2x1o + 1x0e", "3x1o"))
    assert to_e3nn(full_tensor_product("1o", "1o")).irreps_out.dim == 9


def test_absent_e3nn_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "e3nn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "e3nn", None)
    with pytest.raises(ModuleNotFoundError, match=r"e3nn.o3 is needed here: pip install 'intertwine\[bench\]'"):
        to_e3nn("1o")
