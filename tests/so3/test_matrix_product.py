"""Features as matrices: what the product is, which degrees it couples, and parities kept apart."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from intertwine import so3
from intertwine.so3 import FusedMatrixProduct, Irreps, clebsch_gordan, matrix_product
from intertwine.so3.path_space import path_coefficients


def turned(x: torch.Tensor, R: torch.Tensor) -> torch.Tensor:
    rows = [so3.wigner_D(l, R) @ x[..., l * l : (l + 1) ** 2, :] for l in range(round(x.shape[-2] ** 0.5))]
    return torch.cat(rows, -2)


def moved(irreps: Irreps, g: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A group element on features that are kept in shape."""
    flat = x.flatten(1)
    return irreps.act(g, flat).view_as(x)


def test_degree_one_is_the_product_of_antisymmetric_matrices(generator):
    """One block a = b = 1: vectors are antisymmetric 3 × 3 matrices, and their commutator is the cross product."""
    x, y = (torch.zeros(5, 4, 1, dtype=torch.float64) for _ in range(2))
    x[:, 1:] = torch.randn(5, 3, 1, generator=generator, dtype=torch.float64)
    y[:, 1:] = torch.randn(5, 3, 1, generator=generator, dtype=torch.float64)
    z = matrix_product(x, y, 2, inner="single")
    a, b = (torch.einsum("ijk,nk->nij", torch.tensor(clebsch_gordan(1, 1, 1)), v[:, 1:, 0]) for v in (x, y))
    for l in range(3):
        expected = torch.einsum("ijk,nij->nk", torch.tensor(clebsch_gordan(1, 1, l)), a @ b)
        assert_close(z[:, l * l : (l + 1) ** 2, 0], expected, atol=1e-14, rtol=0)
    cross = torch.linalg.cross(x[:, 1:, 0], y[:, 1:, 0])
    ratio = z[:, 1:4, 0] / cross
    assert_close(ratio, ratio[0, 0].expand(5, 3), atol=1e-12, rtol=0)


@pytest.mark.parametrize("inner", [None, "single"])
@pytest.mark.parametrize("degrees", [(2, 1, 3), (3, 3, 2), (0, 2, 2)])
def test_is_a_sum_over_paths(inner, degrees, generator):
    """The matrix product is inside Clebsch-Gordan: fixed coefficients of all paths, none of them zero."""
    irreps = [Irreps.spherical(l, 1, parity=None) for l in degrees]

    def product(x, y):
        return matrix_product(x[..., None], y[..., None], degrees[2], inner=inner)[..., 0]

    t = path_coefficients(product, *irreps)
    x, y = (i.randn(4, generator=generator, dtype=torch.float64) for i in irreps[:2])
    out = torch.zeros(4, irreps[2].dim, dtype=torch.float64)
    for l1, l2, l3 in np.ndindex(*(l + 1 for l in degrees)):
        inside = abs(l1 - l2) <= l3 <= l1 + l2
        assert (abs(t[l1, l2, l3]) > 1e-6) == inside
        if inside:
            a, b = x[:, l1 * l1 : (l1 + 1) ** 2], y[:, l2 * l2 : (l2 + 1) ** 2]
            C = torch.tensor(clebsch_gordan(l1, l2, l3))
            out[:, l3 * l3 : (l3 + 1) ** 2] += t[l1, l2, l3] * torch.einsum("ijk,ni,nj->nk", C, a, b)
    assert_close(product(x, y), out, atol=1e-13, rtol=0)


def six_j(a: float, b: float, c: float, j: float) -> float:
    """{a b c; j j j} by Racah's formula; a, b, c integer degrees, j may be half an integer."""

    def triangle(x, y, z):
        f = math.factorial
        return math.sqrt(f(round(x + y - z)) * f(round(x - y + z)) * f(round(y + z - x)) / f(round(x + y + z + 1)))

    total = 0.0
    for t in range(200):
        under = [t - a - b - c, t - a - 2 * j, t - b - 2 * j, t - c - 2 * j]
        over = [a + b + 2 * j - t, b + c + 2 * j - t, c + a + 2 * j - t]
        if min(*under, *over) >= 0:
            below = math.prod(math.factorial(round(k)) for k in under + over)
            total += (-1) ** t * math.factorial(t + 1) / below
    return total * triangle(a, b, c) * triangle(a, j, j) * triangle(b, j, j) * triangle(c, j, j)


@pytest.mark.parametrize("lmax", [1, 2, 3, 4])
def test_one_block_of_any_spin_couples_all(lmax):
    """The coefficient of l1, l2 -> l3 in one block of spin j is a 6j symbol; for j about lmax none of them is zero."""
    for j in (lmax, lmax + 0.5, lmax + 1):
        for l1, l2, l3 in np.ndindex(lmax + 1, lmax + 1, 2 * lmax + 1):
            if abs(l1 - l2) <= l3 <= l1 + l2:
                assert abs(six_j(l1, l2, l3, j)) > 1e-6


def test_single_block_is_the_six_j_symbol():
    irreps = Irreps.spherical(2, 1, parity=None)
    t = path_coefficients(
        lambda x, y: matrix_product(x[..., None], y[..., None], 2, inner="single")[..., 0], irreps, irreps, irreps
    )
    for l1, l2, l3 in np.ndindex(3, 3, 3):
        if abs(l1 - l2) <= l3 <= l1 + l2:
            assert abs(abs(t[l1, l2, l3].item()) - abs(six_j(l1, l2, l3, 2))) < 1e-13


@pytest.mark.parametrize("inner", [None, "single"])
@pytest.mark.parametrize("weights", ["degree", "block"])
@pytest.mark.parametrize("parity", [True, False])
def test_layer_is_equivariant_with_gradient(inner, weights, parity, generator):
    layer = FusedMatrixProduct(2, 1, 3, 2, parity, inner=inner, weights=weights).double()
    with torch.no_grad():
        for w in layer.parameters():
            w.copy_(torch.randn(w.shape, generator=generator))
    sides = layer.irreps_in1, layer.irreps_in2, layer.rep_out
    shapes = [(*([2] if parity else []), (l + 1) ** 2, 2) for l in layer.degrees]
    x, y, h = (torch.randn(3, *shape, generator=generator, dtype=torch.float64) for shape in shapes)
    R = so3.random_rotation(generator=generator)
    for g in (R, -R) if parity else (R,):
        here = [x.clone().requires_grad_(), y.clone().requires_grad_()]
        there = [moved(i, g, z).requires_grad_() for i, z in zip(sides, (x, y))]
        a, b = layer(*here), layer(*there)
        assert_close(b, moved(sides[2], g, a), atol=1e-10, rtol=0)
        slopes = torch.autograd.grad(a, here, h)
        for ours, theirs, i in zip(torch.autograd.grad(b, there, moved(sides[2], g, h)), slopes, sides):
            assert_close(ours, moved(i, g, theirs), atol=1e-10, rtol=0)
    if not parity:  # it mixes what a mirror tells apart, so it is a map of SO(3) and says so
        assert str(layer.rep_out.group) == "SO(3)"
        assert (layer(turned(x, -R), turned(y, -R)) - turned(layer(x, y), -R)).abs().max() > 1e-3
        with pytest.raises(TypeError, match="belongs to"):
            layer.irreps_in1.blocks[0][0] * Irreps("1o").blocks[0][0]


@pytest.mark.parametrize("batch", [(), (0,), (1,), (2, 3)])
def test_shapes(batch, generator):
    x = torch.randn(*batch, 9, 3, generator=generator)
    assert matrix_product(x, x[..., :4, :], 3).shape == (*batch, 16, 3)
    assert FusedMatrixProduct(2, 1, 3, 3, False)(x, x[..., :4, :]).shape == (*batch, 16, 3)
    both = torch.stack([x, x], -3)
    assert FusedMatrixProduct(2, 1, 3, 3)(both, both[..., :4, :]).shape == (*batch, 2, 16, 3)


@pytest.mark.parametrize("parity", [True, False])
def test_unit_variance_and_single_precision(parity, generator):
    layer = FusedMatrixProduct(2, 2, 3, 8, parity)
    shape = [2] if parity else []
    x, y = (torch.randn(3000, *shape, 9, 8, generator=generator) for _ in range(2))
    z = layer(x, y)
    for block in layer.rep_out.split(z.flatten(1)):
        assert abs(block.square().mean().item() - 1) < 0.06
    exact = layer.double()(x.double(), y.double())
    assert (z.double() - exact).abs().max() < 1e-5 * exact.abs().max()


@pytest.mark.slow
def test_compiles(generator):
    layer = FusedMatrixProduct(1, 1, 2, 2)
    x = torch.randn(5, 2, 4, 2, generator=generator)
    assert_close(torch.compile(layer, fullgraph=True, backend="aot_eager")(x, x.flip(0)), layer(x, x.flip(0)))


def test_errors():
    x = torch.zeros(3, 9, 2)
    with pytest.raises(ValueError, match="give none above their sum, not 5"):
        matrix_product(x, x, 5)
    with pytest.raises(ValueError, match="inner 'double' is not one of"):
        matrix_product(x, x, 2, inner="double")
    with pytest.raises(ValueError, match="weights 'all' is not one of"):
        FusedMatrixProduct(2, 2, 2, 2, weights="all")
    with pytest.raises(ValueError, match=r"expected \[.., 2, 9, 2\], got \(3, 9, 2\)"):
        FusedMatrixProduct(2, 2, 2, 2)(x, x)
