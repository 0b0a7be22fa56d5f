"""Vector-valued functions on the sphere: the basis, the products at points, the layer."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from intertwine import so3
from intertwine.so3 import S2Grid, VectorSignalProduct, vector_harmonics_basis, vector_signal_product


def turned(x: torch.Tensor, R: torch.Tensor) -> torch.Tensor:
    rows = [so3.wigner_D(l, R) @ x[..., l * l : (l + 1) ** 2, :] for l in range(round(x.shape[-2] ** 0.5))]
    return torch.cat(rows, -2)


def turned_signal(x: torch.Tensor, R: torch.Tensor, jmax: int, parity: int) -> torch.Tensor:
    """Coefficients of vectors of that parity: V_jl has parity · (-1)^l; R of any determinant."""
    rows, start = [], 0
    improper = torch.linalg.det(R).sign()
    for j, l in vector_harmonics_basis(jmax).blocks:
        D = so3.wigner_D(j, R)  # acts as (-1)^j for a mirror
        sign = torch.where(improper < 0, float(parity * (-1) ** (l + j)), 1.0)
        rows.append(sign * D @ x[..., start : start + 2 * j + 1, :])
        start += 2 * j + 1
    return torch.cat(rows, -2)


def values(x: torch.Tensor, jmax: int, points: torch.Tensor) -> torch.Tensor:
    """The vectors at points, [.., points, 3, channels]."""
    matrix = torch.tensor(vector_harmonics_basis(jmax).matrix)
    Y = so3.spherical_harmonics(points, jmax + 1, normalization="integral")
    return torch.einsum("ph,hak,...kc->...pac", Y, matrix, x)


def numbers(x: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    lmax = round(x.shape[-2] ** 0.5) - 1
    Y = so3.spherical_harmonics(points, lmax, normalization="integral")
    return torch.einsum("ph,...hc->...pc", Y, x)


@pytest.mark.parametrize("jmax", [0, 1, 2, 3])
def test_basis(jmax, generator):
    blocks, matrix = vector_harmonics_basis(jmax)
    assert len(blocks) == 1 + 3 * jmax and len(set(blocks)) == len(blocks)
    assert matrix.shape[-1] == 3 * (jmax + 1) ** 2 - 2
    flat = matrix.reshape(-1, matrix.shape[-1])
    np.testing.assert_allclose(flat.T @ flat, np.eye(flat.shape[1]), atol=1e-13)
    x = torch.randn(flat.shape[1], 1, generator=generator, dtype=torch.float64)
    points = torch.nn.functional.normalize(torch.randn(5, 3, generator=generator, dtype=torch.float64), dim=1)
    R = so3.random_rotation(generator=generator)
    for g in (R, -R):  # vectors of parity -1: the value turns with the point
        there = values(turned_signal(x, g, jmax, -1), jmax, points @ g.T)
        assert_close(there[..., 0], values(x, jmax, points)[..., 0] @ g.T, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("j1", "j2", "j3"), [(1, 1, 2), (2, 1, 1), (0, 2, 3)])
def test_products_at_points(j1, j2, j3, generator):
    """Up to the degrees that the product can have, coefficients give back its values exactly."""
    x, y = (torch.randn(2, 3 * (j + 1) ** 2 - 2, 2, generator=generator, dtype=torch.float64) for j in (j1, j2))
    f = torch.randn(2, (j1 + 1) ** 2, 2, generator=generator, dtype=torch.float64)
    most = j1 + j2 + 3
    points = S2Grid.fibonacci(20).points
    u, v = values(x, j1, points), values(y, j2, points)
    crossed = vector_signal_product(x, y, "cross", most)
    assert_close(values(crossed, most, points), torch.linalg.cross(u, v, dim=-2), atol=1e-12, rtol=0)
    dotted = vector_signal_product(x, y, "dot", most)
    assert_close(numbers(dotted, points), (u * v).sum(-2), atol=1e-12, rtol=0)
    scaled = vector_signal_product(f, y, "scalar", most)
    assert_close(values(scaled, most, points), numbers(f, points)[..., None, :] * v, atol=1e-12, rtol=0)
    # a lower degree keeps the first coefficients
    assert_close(vector_signal_product(x, y, "dot", j3), dotted[:, : (j3 + 1) ** 2], atol=1e-12, rtol=0)
    radial = 3  # V_01 comes after the three components of V_10
    assert_close(vector_signal_product(x, y, "cross", 0), crossed[:, radial : radial + 1], atol=1e-12, rtol=0)


def test_cross_is_antisymmetric_and_of_the_other_parity(generator):
    x, y = (torch.randn(3, 10, 1, generator=generator, dtype=torch.float64) for _ in range(2))
    z = vector_signal_product(x, y, "cross", 2)
    assert_close(z, -vector_signal_product(y, x, "cross", 2), atol=1e-13, rtol=0)
    R = so3.random_rotation(generator=generator)
    mirrored = vector_signal_product(turned_signal(x, -R, 1, -1), turned_signal(y, -R, 1, -1), "cross", 2)
    assert_close(mirrored, turned_signal(z, -R, 2, 1), atol=1e-12, rtol=0)
    dotted = vector_signal_product(turned_signal(x, -R, 1, -1), turned_signal(y, -R, 1, -1), "dot", 2)
    assert_close(dotted, turned(vector_signal_product(x, y, "dot", 2), -R), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", ["cross", "dot", "scalar"])
def test_layer_is_equivariant_with_gradient(kind, generator):
    layer = VectorSignalProduct(2, 1, 3, 2, kind=kind, generator=generator).double()
    x, y, h = (torch.randn(3, k, 2, generator=generator, dtype=torch.float64) for k in (9, 4, 16))
    R = so3.random_rotation(generator=generator)
    here = [x.clone().requires_grad_(), y.clone().requires_grad_()]
    there = [turned(x, R).requires_grad_(), turned(y, R).requires_grad_()]
    a, b = layer(*here), layer(*there)
    assert_close(b, turned(a, R), atol=1e-10, rtol=0)
    slopes = torch.autograd.grad(a, here, h)
    for ours, theirs in zip(torch.autograd.grad(b, there, turned(h, R)), slopes):
        assert_close(ours, turned(theirs, R), atol=1e-10, rtol=0)
    rough = layer.float()(x.float(), y.float())
    assert (rough.double() - a).abs().max() < 1e-5 * a.abs().max()


@pytest.mark.parametrize("batch", [(), (0,), (1,), (2, 3)])
def test_shapes(batch, generator):
    layer = VectorSignalProduct(2, 1, 2, 3, generator=generator)
    x, y = torch.randn(*batch, 9, 3, generator=generator), torch.randn(4, 3, generator=generator)
    z = layer(x, y)
    assert z.shape == (*batch, 9, 3)
    assert_close(z, layer(x, y.expand(*batch, 4, 3)))


@pytest.mark.parametrize("kind", ["cross", "dot", "scalar"])
def test_variance(kind, generator):
    layer = VectorSignalProduct(2, 2, 2, 5000, kind=kind, generator=generator)
    x, y = (torch.randn(10, 9, 5000, generator=generator) for _ in range(2))
    for l, block in enumerate(layer.rep_out.split(layer(x, y).flatten(1))):
        expected = 2 if kind == "cross" and l == 0 else 1  # the plain product comes on top
        assert (
            abs(block.square().mean().item() / expected - 1) < 0.15
        )  # products of three normal weights have long tails


def test_compiles(generator):
    layer = VectorSignalProduct(1, 1, 1, 2, generator=generator)
    x = torch.randn(5, 4, 2, generator=generator)
    assert_close(torch.compile(layer, fullgraph=True, backend="aot_eager")(x, x.flip(0)), layer(x, x.flip(0)))


def test_errors():
    with pytest.raises(ValueError, match="kind 'wedge' is not one of cross, dot, scalar"):
        VectorSignalProduct(1, 1, 1, 2, kind="wedge")
    with pytest.raises(ValueError, match="kind 'wedge' is not one of"):
        vector_signal_product(torch.zeros(10, 1), torch.zeros(10, 1), "wedge", 1)
    with pytest.raises(ValueError, match="vector_signal_product: y: expected shape"):
        vector_signal_product(torch.zeros(10, 1), torch.zeros(9, 1), "cross", 1)
    with pytest.raises(ValueError, match=r"expected shape \[.., 4, 2\]"):
        VectorSignalProduct(1, 1, 1, 2)(torch.zeros(4, 3), torch.zeros(4, 2))
