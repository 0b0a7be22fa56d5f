"""Degree 11, the highest in use elsewhere: products and convolutions still commute with rotations, gradients too."""

import pytest
import torch
from torch.testing import assert_close

from intertwine import so3
from intertwine.so3 import EdgeConv, EdgeFrame, Irreps, SO2EdgeConv, TensorProduct, spherical_harmonics

NEAR = {"atol": 1e-10, "rtol": 1e-10}


def draw(*shape, generator):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("inverted", [False, True], ids=["rotation", "improper"])
def test_products(inverted, generator):
    product = TensorProduct("2x11o + 2x3e", "2x11o + 2x2e", "2x11e + 2x10o + 2x0e + 2x1e", mode="uuu").double()
    x, y = (i.randn(3, generator=generator, dtype=torch.float64) for i in (product.irreps_in1, product.irreps_in2))
    w, h = draw(3, product.weight_numel, generator=generator), product.rep_out.randn(3, generator=generator).double()
    g = so3.random_rotation(generator=generator) * (-1 if inverted else 1)

    def run(x, y, h):
        leaves = [x.requires_grad_(), y.requires_grad_()]
        out = product(*leaves, w)
        return out.detach(), *torch.autograd.grad(out, leaves, h)

    value, gx, gy = run(x, y, h)
    sides = product.irreps_in1, product.irreps_in2, product.rep_out
    moved = run(*(side.act(g, z.detach()) for side, z in zip(sides, (x, y, h))))
    assert_close(moved[0], sides[2].act(g, value), **NEAR)
    assert_close(moved[1], sides[0].act(g, gx), **NEAR)
    assert_close(moved[2], sides[1].act(g, gy), **NEAR)


@pytest.mark.parametrize("kind", ["EdgeConv", "SO2EdgeConv"])
def test_convolutions(kind, generator):
    src, dst = torch.randint(4, (2, 6), generator=generator)
    r = draw(6, 3, generator=generator)
    if kind == "EdgeConv":
        conv = EdgeConv("2x11o + 1x4e", 11, "11o + 5o + 0e")
        rep_in, rep_out, w = conv.rep_in, conv.rep_out, draw(6, *conv.weight_shape, generator=generator)

        def run(x, r):
            return conv(x, spherical_harmonics(r, 11), w, src, dst)
    else:
        rep_in = rep_out = Irreps.spherical(11, 2, parity=None)
        conv = SO2EdgeConv(11, 11, 2, 2, generator=generator).double()

        def run(x, r):
            return conv(x.unflatten(1, (-1, 2)), EdgeFrame.from_vectors(r, 11), src, dst).flatten(1)

    def both(x, r, h):
        leaves = [x.requires_grad_(), r.requires_grad_()]
        out = run(*leaves)
        return out.detach(), *torch.autograd.grad(out, leaves, h)

    x, h = (rep.randn(4, generator=generator, dtype=torch.float64) for rep in (rep_in, rep_out))
    R = so3.random_rotation(generator=generator)
    value, gx, gr = both(x, r, h)
    moved = both(rep_in.act(R, x.detach()), r.detach() @ R.mT, rep_out.act(R, h))
    scale = value.abs().max().item()
    assert_close(moved[0] / scale, rep_out.act(R, value) / scale, **NEAR)
    assert_close(moved[1] / scale, rep_in.act(R, gx) / scale, **NEAR)
    assert_close(moved[2] / scale, gr @ R.mT / scale, **NEAR)
