"""Activations on grids: exact where a grid can be, else off by what they say; parity; e3nn's numbers."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from intertwine import nn
from intertwine.audit import assert_equivariant
from intertwine.nn.signals import SphereSignal
from intertwine.so3 import Irreps, S2Grid, SO3Grid, spherical_harmonics, wigner_irreps

NATURAL = Irreps("3x0e + 3x1o + 3x2e")


def cube(z):
    return z**3


SQUARES = {  # a polynomial of degree k is exact from exactness (k + 1) L on
    "sphere": lambda rep: nn.S2Activation(rep, torch.square, S2Grid.exact(rep.lmax, 3)),
    "separable": lambda rep: nn.SeparableS2Activation(rep, torch.square, S2Grid.exact(rep.lmax, 3)),
    "cubes": lambda rep: nn.S2Activation(rep, cube, S2Grid.exact(rep.lmax, 4)),
    "chosen": lambda rep: nn.S2Activation(rep, torch.square, "exact:1e-11"),
}


@pytest.mark.parametrize("kind", SQUARES)
@pytest.mark.parametrize(
    "rep", [NATURAL, Irreps.spherical(4, 1, None), Irreps.spherical(3, 2, 1), Irreps("4x0e")], ids=str
)
def test_polynomials_are_exactly_equivariant(kind, rep):
    layer = SQUARES[kind](rep)
    assert_equivariant(layer)
    assert_equivariant(layer.float(), data=layer.rep_in.randn(4, generator=torch.Generator().manual_seed(1)))
    assert layer.equivariance_error() < 1e-12


def test_polynomials_at_degree_eleven():
    assert_equivariant(nn.SeparableS2Activation(Irreps.spherical(11, 2), torch.square, S2Grid.exact(11, 3)))


def test_the_smallest_exact_grid_is_found():
    assert nn.S2Activation(Irreps.spherical(4), torch.square, "exact:1e-11").grid == S2Grid.exact(4, 3)
    assert nn.S2Activation(Irreps.spherical(3), torch.square, "exact:1e-11").grid == S2Grid.exact(3, 3)
    assert nn.SO3Activation(wigner_irreps(2), torch.square, "exact:1e-11").grid == SO3Grid.product(3)


@pytest.mark.parametrize("tol", [1e-2, 1e-4])
@pytest.mark.parametrize("lmax", [0, 1, 3])
def test_a_smooth_function_stays_below_the_error_asked_for(tol, lmax):
    layer = nn.S2Activation(Irreps.spherical(lmax, 4), F.silu, f"exact:{tol}")
    assert layer.equivariance_error() < tol
    data = layer.rep_in.randn(64, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    assert_equivariant(layer, atol=2 * tol, data=data, gradient=False)  # other samples, and reflections
    assert_equivariant(layer, atol=20 * tol, data=data)  # derivatives need more of a grid
    if lmax:
        smaller = S2Grid.exact(layer.grid.exactness - 1, order=1)
        assert nn.S2Activation(layer.rep_in, F.silu, smaller).equivariance_error() > tol


# Largest errors that others measured on a few signals of unit variance (the last column for relu): ours are the
# largest of 128 signals, so they agree within a factor.
STATED = [
    (lambda L: S2Grid.uniform(2 * (L + 1), 2 * L + 3), F.silu, (0.07, 0.22, 0.11)),
    (lambda L: S2Grid.gauss_legendre(3 * L // 2 + 1, 3 * L + 1), F.silu, (0.08, 0.03, 0.03)),
    (lambda L: S2Grid.gauss_legendre(4 * L + 2, 8 * L + 3), F.silu, (1e-5, 2e-5, 6e-6)),
    (lambda L: S2Grid.gauss_legendre(4 * L + 2, 8 * L + 3), F.relu, (0.013, 0.009, 0.006)),
]


@pytest.mark.parametrize(("grid", "fn", "stated"), STATED, ids=["default", "products", "fine", "relu"])
def test_errors_of_usual_grids(grid, fn, stated):
    for L, error in zip((2, 4, 6), stated):
        found = nn.S2Activation(Irreps.spherical(L), fn, grid(L)).equivariance_error()
        assert error / 4 < found < 4 * error


def test_squares_are_exact_from_the_second_of_these_grids_on():
    first, second = STATED[0][0], STATED[1][0]
    for L in (2, 4, 6):
        assert nn.S2Activation(Irreps.spherical(L), torch.square, first(L)).equivariance_error() > 1e-2
        assert nn.S2Activation(Irreps.spherical(L), torch.square, second(L)).equivariance_error() < 1e-13


@pytest.mark.parametrize("lmax", [1, 4])
def test_s2_activation_is_its_formula(lmax, generator):
    rep, grid = Irreps.spherical(lmax, 2), S2Grid.uniform(7, 9)
    x = rep.randn(5, generator=generator, dtype=torch.float64)
    degrees = torch.arange(lmax + 1, dtype=torch.float64).repeat_interleave(2 * torch.arange(lmax + 1) + 1)[:, None]
    scale = torch.sqrt(4 * math.pi / ((2 * degrees + 1) * (lmax + 1)))
    values = spherical_harmonics(grid.points, lmax, normalization="integral") @ (scale * x.unflatten(1, (-1, 2)))
    expected = grid.from_grid(torch.tanh(values), lmax) / scale
    plain = nn.S2Activation(rep, torch.tanh, grid, normalize=False)
    assert_close(plain(x).unflatten(1, (-1, 2)), expected, atol=1e-13, rtol=0.0)
    scaled = nn.S2Activation(rep, torch.tanh, grid)
    assert_close(scaled(x), plain(x) * nn.second_moment_constant(torch.tanh), atol=1e-13, rtol=0.0)


def test_unit_variance_in_gives_unit_values(generator):
    layer = nn.S2Activation(Irreps.spherical(3, 4), F.silu)
    x = layer.rep_in.randn(500, generator=generator, dtype=torch.float64)
    to, _ = layer.constants(x)
    values = to @ x.unflatten(1, (-1, 4))
    assert abs(values.square().mean() - 1) < 0.05
    assert abs((layer.constant * F.silu(values)).square().mean() - 1) < 0.05


def test_separable_formula(generator):
    rep = Irreps.spherical(2, 3)
    layer = nn.SeparableS2Activation(rep, F.silu)
    assert str(layer.rep_in) == "3x0e + 3x0e + 3x1o + 3x2e" and layer.rep_out == rep
    x = layer.rep_in.randn(5, generator=generator, dtype=torch.float64)
    whole = nn.S2Activation(rep, F.silu, layer.grid)(x[:, 3:])
    expected = torch.cat([F.silu(x[:, :3]) * nn.second_moment_constant(F.silu), whole[:, 3:]], 1)
    assert_close(layer(x), expected, atol=1e-13, rtol=0.0)


@pytest.mark.parametrize(
    ("irreps", "fn", "out"),
    [
        ("2x0e + 2x1o + 2x2e", F.silu, "2x0e + 2x1o + 2x2e"),
        ("2x0e + 2x1e", F.silu, "2x0e + 2x1e"),
        ("2x0 + 2x1", F.silu, "2x0 + 2x1"),
        ("2x0o + 2x1e + 2x2o", torch.tanh, "2x0o + 2x1e + 2x2o"),
        ("2x0o + 2x1o", torch.tanh, "2x0o + 2x1o"),
        ("2x0o + 2x1e + 2x2o", torch.cos, "2x0e + 2x1o + 2x2e"),
        ("2x0o + 2x1o", torch.cos, "2x0e + 2x1e"),
    ],
)
def test_parity_rule(irreps, fn, out):
    layer = nn.S2Activation(Irreps(irreps), fn, "exact:1e-6")
    assert layer.rep_out == Irreps(out)
    assert_equivariant(layer, atol=1e-5)


@pytest.mark.parametrize(("lmax", "res"), [(1, (6, 9)), (4, (18, 17))])
@pytest.mark.parametrize("fn", [F.silu, torch.tanh], ids=lambda fn: fn.__name__)
def test_e3nn_s_numbers(lmax, res, fn, generator):
    e3nn = pytest.importorskip("e3nn.nn")
    torch.set_default_dtype(torch.float64)  # e3nn computes its weights in the default dtype
    try:
        theirs = e3nn.S2Activation(str(Irreps.spherical(lmax)).replace(" ", ""), fn, res)
        x = torch.randn(6, (lmax + 1) ** 2, generator=generator)
        ours = nn.S2Activation(Irreps.spherical(lmax), fn, S2Grid.uniform(*res), normalize=False)
        assert_close(ours(x) * theirs.act.cst, theirs(x), atol=1e-10, rtol=0.0)
    finally:
        torch.set_default_dtype(torch.float32)


# --- SO(3)


@pytest.mark.parametrize("rep", [wigner_irreps(2, 2), wigner_irreps(1, 1, 1), wigner_irreps(3, 1, 1)], ids=str)
def test_squares_on_so3_are_exact(rep):
    layer = nn.SO3Activation(rep, torch.square, SO3Grid.product((3 * rep.lmax + 1) // 2))
    assert_equivariant(layer)
    assert layer.equivariance_error() < 1e-12
    coarse = nn.SO3Activation(rep, torch.square, SO3Grid.product(rep.lmax))
    assert coarse.equivariance_error() > 1e-2


def test_so3_activation_at_a_given_error():
    layer = nn.SO3Activation(wigner_irreps(2, 2), F.silu, "exact:1e-3")
    assert layer.equivariance_error() < 1e-3
    data = layer.rep_in.randn(16, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    assert_equivariant(layer, atol=3e-3, data=data, gradient=False)
    relu = nn.SO3Activation(wigner_irreps(2, 2), F.relu, SO3Grid.product(4))  # of exactness 2 L: what poses are read by
    assert 1e-3 < relu.equivariance_error() < 0.1


@pytest.mark.parametrize(("parity", "fn", "out"), [(-1, torch.tanh, -1), (-1, torch.cos, 1), (1, F.silu, 1)])
def test_parity_rule_on_so3(parity, fn, out):
    layer = nn.SO3Activation(wigner_irreps(1, 2, parity), fn, "exact:1e-4")
    assert layer.rep_out == wigner_irreps(1, 2, out)
    assert_equivariant(layer, atol=1e-3)


def test_e3nn_s_numbers_on_so3(generator):
    e3nn = pytest.importorskip("e3nn.nn")
    torch.set_default_dtype(torch.float64)
    try:
        theirs = e3nn.SO3Activation(1, 1, torch.square, 4)  # exact for squares, as ours: another grid, the same numbers
        x = torch.randn(3, 10, generator=generator)
        ours = nn.SO3Activation(wigner_irreps(1), torch.square, SO3Grid.product(2), normalize=False)
        assert_close(ours(x) * theirs.act.cst, theirs(x), atol=1e-10, rtol=0.0)
    finally:
        torch.set_default_dtype(torch.float32)


# --- all of them

LAYERS = {
    "sphere": lambda: nn.S2Activation(Irreps.spherical(2, 3), F.silu, "exact:1e-2"),
    "separable": lambda: nn.SeparableS2Activation(Irreps.spherical(2, 3), F.silu, "exact:1e-2"),
    "so3": lambda: nn.SO3Activation(wigner_irreps(1, 3), torch.nn.SiLU(), "exact:1e-2"),  # a module is searched anew
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtype_and_batch_shape_follow_the_input(kind, dtype, generator):
    layer = LAYERS[kind]()
    for batch in ((), (0,), (1,), (2, 3)):
        x = layer.rep_in.randn(*batch, generator=generator).to(dtype).requires_grad_()
        y = layer(x)
        assert (y.dtype, y.shape) == (dtype, (*batch, layer.rep_out.dim))
        (g,) = torch.autograd.grad(y.sum(), x)
        assert torch.isfinite(y).all() and torch.isfinite(g).all()


@pytest.mark.parametrize("kind", LAYERS)
def test_second_derivatives(kind, generator):
    layer = LAYERS[kind]()
    x = layer.rep_in.randn(2, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(layer, x)


def test_constants_are_exact_in_float64_after_a_change_of_dtype(generator):
    layer = LAYERS["sphere"]()
    x = layer.rep_in.randn(3, generator=generator, dtype=torch.float64)
    before = layer(x)
    assert torch.equal(layer.bfloat16().double()(x), before)
    assert not layer.state_dict()


def test_a_module_as_function_learns(generator):
    layer = nn.S2Activation(Irreps.spherical(2, 3), torch.nn.PReLU(), S2Grid.exact(6))
    before = layer.equivariance_error()
    layer(layer.rep_in.randn(3, generator=generator)).sum().backward()
    assert layer.fn.weight.grad is not None
    layer.fn.weight.data.fill_(1.0)  # the identity
    assert layer.equivariance_error() < 1e-12 < before


def test_compiles_whole(generator):
    layers = [make() for make in LAYERS.values()]

    def all_of_them(*xs):
        return [layer(x) for layer, x in zip(layers, xs)]

    compiled = torch.compile(all_of_them, fullgraph=True, dynamic=True, backend="eager")
    for n in (3, 6):
        xs = [layer.rep_in.randn(2, n, generator=generator, dtype=torch.float64).requires_grad_() for layer in layers]
        ours, theirs = compiled(*xs), all_of_them(*xs)
        assert_close(ours, theirs, atol=1e-12, rtol=0.0)
        slopes = [torch.autograd.grad(sum(y.square().sum() for y in ys), xs) for ys in (ours, theirs)]
        assert_close(*slopes, atol=1e-12, rtol=0.0)


@pytest.mark.parametrize("kind", LAYERS)
def test_exports(kind, generator):
    layer = LAYERS[kind]()
    x = layer.rep_in.randn(3, generator=generator)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    more = layer.rep_in.randn(5, generator=generator)
    assert_close(program.module()(more), layer(more))


@pytest.mark.parametrize("kind", LAYERS)
def test_another_default_device_changes_nothing(kind):
    expected = LAYERS[kind]()
    with torch.device("meta"):
        layer = LAYERS[kind]()
        assert layer.equivariance_error() == expected.equivariance_error()
    assert layer.grid == expected.grid and layer.constant == expected.constant


def test_nothing_random_is_drawn_from_the_global_generator():
    state = torch.random.get_rng_state()
    nn.S2Activation(Irreps.spherical(1), lambda z: z.sin(), "exact:1e-2").equivariance_error()
    assert torch.equal(state, torch.random.get_rng_state())


def test_errors():
    for text in ("2x0e + 3x1o", "2x1o + 2x0e", "2x0e + 2x2e", "2x0e + 2x1o + 2x2o", "", "2x0e + 2x0e"):
        with pytest.raises(ValueError, match=r"is no function on the sphere: degrees 0\.\.L in order"):
            nn.S2Activation(Irreps(text), F.silu)
    for text in ("2x0e + 3x1e", "2x0e + 6x1o", "6x1e", ""):
        with pytest.raises(ValueError, match=r"is no function on SO\(3\): degrees 0\.\.L in order"):
            nn.SO3Activation(Irreps(text), F.silu)
    with pytest.raises(ValueError, match="S2Activation: silu is neither even nor odd, but the values of 1x0o"):
        nn.S2Activation(Irreps("0o + 1e"), F.silu)
    with pytest.raises(ValueError, match="SO3Activation: silu is neither even nor odd"):
        nn.SO3Activation(wigner_irreps(1, 1, -1), F.silu)
    with pytest.raises(ValueError, match=r"SeparableS2Activation: '1x0o \+ 1x1e' starts with 0o, which changes sign"):
        nn.SeparableS2Activation(Irreps("0o + 1e"), torch.tanh)
    for grid in ("fine", "exact", "exact:0", "exact:x", "about:1e-4", 12, SO3Grid.product(2)):
        with pytest.raises(ValueError, match='grid must be an S2Grid, or "exact:" and an error'):
            nn.S2Activation(Irreps("0e + 1o"), F.silu, grid)
    with pytest.raises(ValueError, match=r"no grid up to 882 points brings the rotation error of relu below 1e-06"):
        nn.S2Activation(Irreps("0e + 1o"), F.relu, "exact:1e-6")
    with pytest.raises(ValueError, match="has dimension 4, the data has trailing dimension 5"):
        nn.S2Activation(Irreps("0e + 1o"), F.silu)(torch.zeros(5))


def test_repr_names_the_function_and_the_points():
    text = repr(nn.S2Activation(Irreps("2x0e + 2x1o"), F.silu, S2Grid.exact(2)))
    assert "2x0e + 2x1o, silu, 15 points" in text
    assert SphereSignal(2) == SphereSignal(2)
