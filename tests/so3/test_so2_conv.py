"""The SO(2) convolution: equal to the tensor product weight by weight, equivariant, no weight too many."""

import pytest
import torch
from torch.testing import assert_close

from intertwine import so3
from intertwine.so3 import EdgeFrame, SO2Convolution, SO2EdgeConv, clebsch_gordan, so2_weights_from_cg

EXACT = {"atol": 1e-12, "rtol": 0.0}


class Case:
    """A small graph with features."""

    def __init__(self, generator, lmax: int, channels: int, nodes: int = 5, edges: int = 12):
        self.nodes, self.edges = nodes, edges
        self.src = torch.randint(nodes, (edges,), generator=generator)
        self.dst = torch.randint(nodes, (edges,), generator=generator)
        self.r = torch.randn(edges, 3, generator=generator, dtype=torch.float64)
        self.x = torch.randn(nodes, (lmax + 1) ** 2, channels, generator=generator, dtype=torch.float64)


def turned(x: torch.Tensor, R: torch.Tensor, parity: bool = False) -> torch.Tensor:
    """Features of natural parity (what the harmonics do), or of SO(3) where R is proper."""
    return torch.cat([so3.wigner_D(l, R) @ x[:, l * l : (l + 1) ** 2] for l in range(round(x.shape[1] ** 0.5))], 1)


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize(("lmax_in", "lmax_out"), [(0, 0), (3, 3), (2, 4), (3, 1)])
def test_equals_the_tensor_product(lmax_in, lmax_out, parity, generator):
    case = Case(generator, lmax_in, 2)
    paths = {
        (l1, l2, l3): torch.randn(2, 3, generator=generator, dtype=torch.float64)
        for l1 in range(lmax_in + 1)
        for l3 in range(lmax_out + 1)
        for l2 in range(abs(l1 - l3), l1 + l3 + 1)
        if not parity or (l1 + l2 + l3) % 2 == 0
    }
    conv = SO2EdgeConv(lmax_in, lmax_out, 2, 3, parity=parity, generator=generator).double()
    conv.conv.load_state_dict(so2_weights_from_cg(paths, lmax_in, lmax_out, parity=parity))
    lmax = max(lmax_in, lmax_out)
    ours = conv(case.x, EdgeFrame.from_vectors(case.r, lmax), case.src, case.dst)

    Y = so3.spherical_harmonics(case.r, lmax_in + lmax_out)
    message = torch.zeros(case.edges, (lmax_out + 1) ** 2, 3, dtype=torch.float64)
    for (l1, l2, l3), w in paths.items():
        C = torch.tensor(clebsch_gordan(l1, l2, l3))
        x = case.x[case.src, l1 * l1 : (l1 + 1) ** 2]
        message[:, l3 * l3 : (l3 + 1) ** 2] += torch.einsum(
            "ijk,eiu,ej,uv->ekv", C, x, Y[:, l2 * l2 : (l2 + 1) ** 2], w
        )
    assert_close(ours, torch.zeros_like(ours).index_add(0, case.dst, message), **EXACT)


def test_number_of_weights():
    def count(lmax, mmax):
        return sum(w.numel() for w in SO2Convolution(lmax, lmax, 1, 1, mmax=mmax).weights)

    assert [count(L, L) for L in range(1, 7)] == [6, 19, 44, 85, 146, 231]
    assert [count(L, 2) for L in range(3, 7)] == [42, 75, 118, 171]
    assert sum(w.numel() for w in SO2Convolution(3, 3, 1, 1, parity=True).weights) == sum(
        min(a, b) + 1 for a in range(4) for b in range(4)
    )


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize("mmax", [0, 1, 3])
def test_equivariant_with_gradient(parity, mmax, generator):
    case = Case(generator, 3, 2)
    conv = SO2EdgeConv(3, 3, 2, 2, mmax=mmax, parity=parity, bias=True, generator=generator).double()
    with torch.no_grad():
        conv.conv.bias += 0.3
    scale = torch.rand(case.edges, conv.conv.scale_numel, generator=generator, dtype=torch.float64)

    def layer(x, r):
        return conv(x, EdgeFrame.from_vectors(r, 3, mmax), case.src, case.dst, scale)

    h = torch.randn(case.nodes, 16, 2, generator=generator, dtype=torch.float64)
    for R in so3.random_rotation(3, generator=generator):
        moved = [case.x.clone().requires_grad_(), case.r.clone().requires_grad_()]
        y = layer(*moved)
        slopes = torch.autograd.grad(y, moved, h)
        there = [turned(case.x, R).requires_grad_(), (case.r @ R.T).requires_grad_()]
        z = layer(*there)
        assert_close(z, turned(y, R), atol=1e-10, rtol=0)
        expected = turned(slopes[0], R), slopes[1] @ R.T
        for ours, theirs in zip(torch.autograd.grad(z, there, turned(h, R)), expected):
            assert_close(ours, theirs, atol=1e-10, rtol=0)
    mirrored = layer(turned(case.x, -R), -case.r @ R.T)
    gap = (mirrored - turned(layer(case.x, case.r), -R)).abs().max()
    # without parity the antisymmetric products break the mirror, at order 0 alone there are none
    assert (gap < 1e-10) == (parity or mmax == 0)


def test_derivatives(generator):
    case = Case(generator, 2, 1, nodes=3, edges=3)
    conv = SO2EdgeConv(2, 1, 1, 2, generator=generator).double()
    r = case.r.clone()
    r[0] = torch.tensor([0.0, -1.0, 0.0])

    def layer(x, r, *weights):
        state = {f"conv.weights.{m}": w for m, w in enumerate(weights)}
        frame = EdgeFrame.from_vectors(r, 2)
        return torch.func.functional_call(conv, state, (x, frame, case.src, case.dst))

    inputs = [t.clone().detach().requires_grad_() for t in (case.x, r, *conv.parameters())]
    assert torch.autograd.gradcheck(layer, inputs)
    assert torch.autograd.gradgradcheck(layer, inputs)


def test_single_precision(generator):
    case = Case(generator, 6, 4)
    conv = SO2EdgeConv(6, 6, 4, 4, generator=generator)
    R = so3.random_rotation(generator=generator)
    exact = conv.double()(case.x, EdgeFrame.from_vectors(case.r, 6), case.src, case.dst)
    conv, x, r = conv.float(), turned(case.x, R).float(), (case.r @ R.T).float()
    rough = conv(x, EdgeFrame.from_vectors(r, 6), case.src, case.dst)
    assert (rough.double() - turned(exact, R)).abs().max() < 1e-5 * exact.abs().max()


def test_extra_scalars_are_invariant(generator):
    case = Case(generator, 2, 3, nodes=12)
    conv = SO2Convolution(2, 1, 3, 2, extra_scalars=4, bias=True, generator=generator).double()
    R = so3.random_rotation(generator=generator)
    orders, extra = conv(EdgeFrame.from_vectors(case.r, 2).into(case.x))
    _, moved = conv(EdgeFrame.from_vectors(case.r @ R.T, 2).into(turned(case.x, R)))
    assert extra.shape == (12, 4) and [tuple(y.shape) for y in orders] == [(12, 2, 2), (12, 2, 1, 2)]
    assert_close(moved, extra, atol=1e-12, rtol=0)


def test_empty_graph(generator):
    conv = SO2EdgeConv(2, 2, 3, 3, generator=generator)
    none = torch.zeros(0, dtype=torch.int64)
    out = conv(torch.ones(4, 9, 3), EdgeFrame.from_vectors(torch.zeros(0, 3), 2), none, none)
    assert torch.equal(out, torch.zeros(4, 9, 3))


def test_bad_input(generator):
    with pytest.raises(ValueError, match=r"mmax must be an integer from 0 to lmax=1, got 2"):
        SO2Convolution(2, 1, 4, 4, mmax=2)
    conv = SO2Convolution(2, 2, 3, 3, generator=generator)
    y = EdgeFrame.from_vectors(torch.ones(2, 3), 2).into(torch.ones(2, 9, 3))
    with pytest.raises(ValueError, match=r"scale must be \[2, 18\], got \(2, 3\)"):
        conv(y, torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"3 degrees and 3 channels, got 3 orders, the first of shape \(2, 3, 1\)"):
        conv(tuple(part[..., :1] for part in y))
    layer = SO2EdgeConv(2, 2, 3, 3, generator=generator)
    with pytest.raises(ValueError, match=r"frames up to degree 1, order 1; the convolution needs degree 2, order 2"):
        layer(torch.ones(2, 9, 3), EdgeFrame.from_vectors(torch.ones(2, 3), 1), *torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="would be lost"):
        SO2EdgeConv(2, 2, 3, 3, extra_scalars=1)
