"""Perceptrons on the sphere: their formula, what the published ones are, equivariance as far as the grid goes."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from intertwine import nn
from intertwine.audit import assert_equivariant
from intertwine.nn.sphere_mlp import MARGIN
from intertwine.so3 import Irreps, S2Grid

SPHERE = Irreps.spherical(2, 4)


def square_mlp(irreps, generator=None):
    """A perceptron whose function is exact on the grid."""
    return nn.GridMLP(irreps, (3,), act=torch.square, grid=S2Grid.exact(irreps.lmax, 3), generator=generator)


@pytest.mark.parametrize("rep", [SPHERE, Irreps.spherical(3, 2, 1), Irreps.spherical(4, 1, None)], ids=str)
def test_polynomials_are_exactly_equivariant_also_after_training(rep, generator):
    layer = square_mlp(rep, generator).double()
    assert_equivariant(layer, steps=3)
    assert layer.equivariance_error() < 1e-12
    assert_equivariant(square_mlp(rep, generator))  # float32


@pytest.mark.parametrize(
    "irreps", ["6x0e + 4x1o + 2x2e", "6x0e + 4x1e + 2x2e", "6x0 + 4x1 + 3x1", "2x0e + 4x1o + 3x0e + 2x2e", "4x1o"]
)
def test_sphere_mlp_is_equivariant_as_far_as_its_grid(irreps, generator):
    rep = Irreps(irreps)
    exact = nn.SphereMLP(rep, S2Grid.exact(rep.lmax, 5), act=torch.square, generator=generator).double()
    assert_equivariant(exact, steps=2)  # squares of squares
    layer = nn.SphereMLP(rep, "exact:1e-3", generator=generator).double()
    assert layer.equivariance_error() < 1e-3
    assert_equivariant(layer, atol=3e-3, gradient=False)


def test_grid_mlp_is_its_formula(generator):
    layer = nn.GridMLP(SPHERE, (5, 6), heads=2, act_out=True, grid=S2Grid.exact(4), generator=generator).double()
    x = SPHERE.randn(3, generator=generator, dtype=torch.float64)
    to, back = (torch.tensor(m) for m in layer.signal.matrices(layer.grid))
    v = (to @ x.unflatten(1, (9, 4))).unflatten(-1, (2, 2))
    for weight in layer.perceptron.weights:
        v = F.silu(v @ weight) * nn.second_moment_constant(F.silu)
    assert_close(layer(x), (back @ v.flatten(-2)).flatten(1), atol=1e-12, rtol=0.0)
    assert [tuple(w.shape) for w in layer.perceptron.weights] == [(2, 5), (5, 6), (6, 2)]


def test_the_published_ones(generator):
    equiformer = nn.GridMLP(Irreps.spherical(4, 8), (8, 8), grid=S2Grid.uniform(18, 18), generator=generator)
    assert sum(p.numel() for p in equiformer.parameters()) == 3 * 8 * 8
    assert equiformer.equivariance_error() < 0.02
    rep = Irreps("128x0e + 64x1e + 32x2e")
    facet = nn.SphereMLP(rep, S2Grid.uniform(18, 17), generator=generator)
    assert facet.mlp.rep_in == Irreps("64x0e + 64x1e + 64x2e")
    assert [tuple(w.shape) for w in facet.mlp.perceptron.weights] == [(32, 16), (16, 32)]
    assert facet.out_of.rep_in == Irreps("64x0e + 64x1e + 64x2e + 128x0e")
    assert facet.equivariance_error() < 2e-3


def test_unit_variance_stays_near_one(generator):
    layer = nn.GridMLP(Irreps.spherical(2, 64), (64, 64), grid=S2Grid.exact(6), generator=generator)
    x = layer.rep_in.randn(200, generator=generator)
    to, _ = layer.constants(x)
    values = layer.perceptron(to @ x.unflatten(1, (9, 64)))
    assert 0.5 < values.square().mean() < 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtype_and_batch_shape_follow_the_input(dtype, generator):
    layer = nn.SphereMLP(Irreps("3x0e + 2x1o"), S2Grid.exact(3), generator=generator).to(dtype)
    for batch in ((), (0,), (1,), (2, 3)):
        x = layer.rep_in.randn(*batch, generator=generator).to(dtype).requires_grad_()
        y = layer(x)
        assert (y.dtype, y.shape) == (dtype, (*batch, 9))
        (g,) = torch.autograd.grad(y.sum(), x)
        assert torch.isfinite(y).all() and torch.isfinite(g).all()


def test_second_derivatives_compile_and_export(generator):
    rep = Irreps("2x0e + 2x1o")
    layer = nn.GridMLP(rep, (3,), heads=2, grid=S2Grid.exact(2), generator=generator).double()
    x = rep.randn(2, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradgradcheck(layer, x)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="eager")
    for n in (3, 5):
        x = rep.randn(n, generator=generator, dtype=torch.float64).requires_grad_()
        assert_close(compiled(x), layer(x), atol=1e-12, rtol=0.0)
        slopes = [torch.autograd.grad(f(x).square().sum(), x) for f in (compiled, layer)]
        assert_close(*slopes, atol=1e-12, rtol=0.0)
    program = torch.export.export(layer, (x.detach(),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    more = rep.randn(4, generator=generator, dtype=torch.float64)
    assert_close(program.module()(more), layer(more), atol=1e-12, rtol=0.0)


def test_weights_come_from_the_generator():
    first, second, other = (
        nn.GridMLP(SPHERE, (3,), grid=S2Grid.exact(4), generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(first.perceptron.weights[0], second.perceptron.weights[0])
    assert not torch.equal(first.perceptron.weights[0], other.perceptron.weights[0])
    assert set(first.state_dict()) == {"perceptron.weights.0", "perceptron.weights.1"}


def test_errors():
    with pytest.raises(ValueError, match="GridMLP: '2x0e \\+ 3x1o' is no function on the sphere"):
        nn.GridMLP(Irreps("2x0e + 3x1o"), (4,))
    with pytest.raises(ValueError, match="'2x0o \\+ 2x1e' changes sign under reflections"):
        nn.GridMLP(Irreps("2x0o + 2x1e"), (4,))
    with pytest.raises(ValueError, match="3 heads do not divide 4 channels in and 4 out"):
        nn.GridMLP(SPHERE, (4,), heads=3)
    with pytest.raises(ValueError, match=r"widths must be at least 1, got \(4, 4, 0, 4\)"):
        nn.GridMLP(SPHERE, (4, 0))
    with pytest.raises(ValueError, match='GridMLP: grid must be an S2Grid, or "exact:"'):
        nn.GridMLP(SPHERE, (4,), grid=18)
    with pytest.raises(ValueError, match="'4x0e' has no degree above 0"):
        nn.SphereMLP(Irreps("4x0e"))
    with pytest.raises(ValueError, match=r"1e, 0o of '2x0e .*' is in no function on the sphere"):
        nn.SphereMLP(Irreps("2x0e + 2x1o + 2x1e + 2x0o"))
    with pytest.raises(ValueError, match="has dimension 36, the data has trailing dimension 35"):
        nn.GridMLP(SPHERE, (4,), grid=S2Grid.exact(2))(torch.zeros(35))


def test_a_grid_that_was_sought_does_not_depend_on_the_weights():
    """A model is built with other weights before its own are loaded, and must get the grid it was trained on."""
    rep = Irreps.spherical(3, 2)
    layers = [nn.GridMLP(rep, (2,), grid="exact:1e-3", generator=torch.Generator().manual_seed(s)) for s in range(4)]
    assert len({layer.grid for layer in layers}) == 1
    assert len({layer.equivariance_error() for layer in layers}) == 4
    assert max(layer.equivariance_error() for layer in layers) < 1e-3
    fewer = S2Grid.gauss_legendre(*(n - 1 for n in layers[0].grid.size))
    assert (
        nn.GridMLP(rep, (2,), grid=fewer, generator=torch.Generator().manual_seed(0)).equivariance_error()
        > 1e-3 / MARGIN
    )
