"""Products of features of both parities: equivariant under O(3), and the products of kinds that they are made of."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from intertwine import so3
from intertwine.so3 import GauntTensorProduct, VectorSignalProduct, expressivity, gaunt_product, interactability
from intertwine.so3.two_parities import both_parities, two_parity_shape

PRODUCTS = {
    "gaunt": lambda *size, generator: GauntTensorProduct(*size, parity=True),
    "cross": lambda *size, generator: VectorSignalProduct(*size, parity=True, generator=generator),
    "dot": lambda *size, generator: VectorSignalProduct(*size, kind="dot", parity=True, generator=generator),
    "scalar": lambda *size, generator: VectorSignalProduct(*size, kind="scalar", parity=True, generator=generator),
}


def draw(shape, generator):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("improper", [False, True])
def test_equivariant_with_gradient(name, improper, generator):
    product = PRODUCTS[name](2, 1, 3, 2, generator=generator).double()
    with torch.no_grad():
        for w in product.parameters():
            w.copy_(torch.randn(w.shape, generator=generator))
    g = so3.random_rotation(generator=generator) * (-1 if improper else 1)
    x, y, h = (draw((3, 2, (l + 1) ** 2, 2), generator) for l in (2, 1, 3))
    sides = product.irreps_in1, product.irreps_in2, product.rep_out

    def turned(z, side):
        return side(g, z.flatten(1)).view_as(z)

    here = [x.clone().requires_grad_(), y.clone().requires_grad_()]
    there = [turned(z, side).requires_grad_() for z, side in zip((x, y), sides)]
    a, b = product(*here), product(*there)
    assert a.abs().max() > 0.1
    assert_close(b, turned(a, sides[2]), atol=1e-10, rtol=0)
    slopes = torch.autograd.grad(a, here, h)
    for ours, theirs, side in zip(torch.autograd.grad(b, there, turned(h, sides[2])), slopes, sides):
        assert_close(ours, turned(theirs, side), atol=1e-10, rtol=0)
    rough = product.float()(x.float(), y.float())
    assert (rough.double() - a).abs().max() < 1e-5 * a.abs().max()


def test_gaunt_is_four_products(generator):
    """Natural with natural and other with other give natural features, the mixed ones the others."""
    product = GauntTensorProduct(2, 1, 3, 2, weights="none", parity=True).double()
    x, y = draw((3, 2, 9, 2), generator), draw((3, 2, 4, 2), generator)
    pairs = {(i, j): gaunt_product(x[:, i], y[:, j], 3) for i in (0, 1) for j in (0, 1)}
    scale = GauntTensorProduct(2, 1, 3, 2, weights="none").double()._scale(x)[0] / 2**0.5
    expected = torch.stack([pairs[0, 0] + pairs[1, 1], pairs[0, 1] + pairs[1, 0]], 1) * scale
    assert_close(product(x, y), expected, atol=1e-12, rtol=0)


def test_natural_features_alone_are_the_product_of_natural_parity(generator):
    x, y = draw((3, 9, 2), generator), draw((3, 4, 2), generator)
    both, natural = GauntTensorProduct(2, 1, 3, 2, parity=True).double(), GauntTensorProduct(2, 1, 3, 2).double()
    z = both(*(torch.stack([v, torch.zeros_like(v)], 1) for v in (x, y)))
    assert_close(z[:, 0] * 2**0.5, natural(x, y), atol=1e-12, rtol=0)
    assert not z[:, 1].any()


@pytest.mark.parametrize("lmax", [1, 2])
def test_what_they_express(lmax):
    degrees = lmax, lmax, 2 * lmax, 1
    triples = {
        (a, p, b, q, c, p * q)
        for a, b, c in np.ndindex(lmax + 1, lmax + 1, 2 * lmax + 1)
        for p in (1, -1)
        for q in (1, -1)
        if abs(a - b) <= c <= a + b
    }
    gaunt, cross = GauntTensorProduct(*degrees, parity=True), VectorSignalProduct(*degrees, parity=True)
    assert interactability(gaunt) == {t for t in triples if (t[0] + t[2] + t[4]) % 2 == 0}
    assert interactability(cross) == triples
    assert (expressivity(gaunt), expressivity(cross)) == (8 * lmax + 4, {1: 24, 2: 52}[lmax])


@pytest.mark.parametrize("name", ["gaunt", "cross"])
def test_variance_at_the_start(name, generator):
    product = PRODUCTS[name](2, 2, 2, 4000, generator=generator)
    x, y = (torch.randn(10, 2, 9, 4000, generator=generator) for _ in range(2))
    for (irrep, _), block in zip(product.rep_out.blocks, product.rep_out.split(product(x, y).flatten(1))):
        expected = 2 if name == "cross" and irrep.l == 0 else 1  # the plain product comes on top
        assert abs(block.square().mean().item() / expected - 1) < 0.15


@pytest.mark.parametrize("name", ["gaunt", "cross"])
@pytest.mark.parametrize("batch", [(), (0,), (2, 3)])
def test_shapes(name, batch, generator):
    product = PRODUCTS[name](2, 1, 2, 3, generator=generator)
    x, y = torch.randn(*batch, 2, 9, 3, generator=generator), torch.randn(2, 4, 3, generator=generator)
    z = product(x, y)
    assert z.shape == (*batch, 2, 9, 3)
    assert_close(z, product(x, y.expand(*batch, 2, 4, 3)))


def test_layout():
    assert two_parity_shape(both_parities(2, 3)) == (2, 3)
    assert two_parity_shape(so3.Irreps("2x0e + 2x0o")) == (0, 2)
    for text in ("2x0e + 2x1o", "2x0e + 2x1o + 2x1e + 2x0o", "2x0e + 3x0o", "2x0 + 2x1", "2x0o + 2x0e"):
        assert two_parity_shape(so3.Irreps(text)) is None


def test_errors():
    with pytest.raises(ValueError, match=r"parity=True takes \[.., 2, components, channels\], got \(9, 2\)"):
        GauntTensorProduct(2, 2, 2, 2, parity=True)(torch.zeros(9, 2), torch.zeros(2, 9, 2))
    with pytest.raises(ValueError, match=r"expected shape \[.., 2, 4, 2\], got \(4, 2\)"):
        VectorSignalProduct(1, 1, 1, 2, parity=True)(torch.zeros(4, 2), torch.zeros(2, 4, 2))
