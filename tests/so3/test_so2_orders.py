"""Matrices of orders by three products instead of four, and the derivatives of that, against ordinary operations."""

import pytest
import torch
from torch.testing import assert_close

from intertwine.so3 import EdgeFrame, SO2EdgeConv, so2_orders
from intertwine.so3.dense_frame import _BYTES, dense_frame, placed
from intertwine.so3.so2_edge_sum import so2_edge_sum
from intertwine.so3.so2_orders import _plain, convolved
from intertwine.so3.so2_plan import SO2Plan
from intertwine.so3.so2_whole import whole_sum

EXACT = {"atol": 1e-11, "rtol": 1e-11}
PLANS = {
    "square": SO2Plan(2, 2, 2, 3, 3, False),
    "other degrees": SO2Plan(3, 2, 2, 2, 4, False),
    "orders cut": SO2Plan(3, 3, 1, 2, 2, False),
    "parity": SO2Plan(2, 2, 2, 3, 2, True),
    "scalars": SO2Plan(0, 2, 0, 2, 3, False),
}


@pytest.fixture(params=[1, 1 << 30], ids=["three", "four"])
def products(request, monkeypatch):
    monkeypatch.setattr(so2_orders, "_THREE", request.param)


def drawn(plan, generator, edges=5, extra=0):
    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    widths = [plan.widths(m) for m in range(plan.mmax + 1)]
    weights = [draw(a, b * (1 if m == 0 or plan.parity else 2) + extra * (m == 0)) for m, (a, b) in enumerate(widths)]
    return draw(edges, plan.numbers(0)), weights


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("extra", [0, 2])
def test_value_and_two_derivatives(name, extra, products, generator):
    plan = PLANS[name]
    y, weights = drawn(plan, generator, extra=extra)
    leaves, found = [y, *weights], []
    for run in (
        lambda y, *w: convolved(plan, y, list(w)),
        lambda y, *w: _plain(plan, y, w[0][:, : _width(plan)], *w[1:]),
    ):
        out = run(*leaves)
        first = torch.autograd.grad(out.square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(d.pow(3).sum() for d in first), leaves)
        found.append([out, *first, *second])
    for ours, theirs in zip(*found):
        assert_close(ours, theirs, **EXACT)


def _width(plan):
    return plan.widths(0)[1]


def test_transforms(products, generator):
    plan = PLANS["other degrees"]
    y, weights = drawn(plan, generator)

    def energy(y, *w):
        return convolved(plan, y, list(w)).pow(3).sum()

    def plain(y, *w):
        return _plain(plan, y, *w).pow(3).sum()

    arguments = tuple(range(1 + len(weights)))
    for ours, theirs in zip(*(torch.func.grad(f, arguments)(y, *weights) for f in (energy, plain))):
        assert_close(ours, theirs, **EXACT)
    many = torch.stack([y.detach(), 2 * y.detach()])
    none = (None,) * len(weights)
    for f in (energy, lambda *t: torch.func.grad(energy)(*t).square().sum()):
        batched = torch.vmap(f, (0, *none))(many, *weights)
        assert_close(batched, torch.stack([f(z, *weights) for z in many]), **EXACT)
    jacobian = torch.func.jacrev(lambda w: convolved(plan, y, [w, *weights[1:]]))(weights[0])
    expected = torch.func.jacrev(lambda w: _plain(plan, y, w, *weights[1:]))(weights[0])
    assert_close(jacobian, expected, **EXACT)


@pytest.mark.parametrize(("lmax", "mmax"), [(2, 2), (3, 1), (3, 3), (5, 2)])
def test_dense_frames_are_the_blocks(lmax, mmax, generator):
    r = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    r[:2] = torch.tensor([[0.0, 1, 0], [0, -2, 0]])
    frame, other = EdgeFrame.from_vectors(r, lmax), EdgeFrame.from_vectors(r, lmax)
    assert_close(dense_frame(frame, lmax, mmax), placed(other.blocks, lmax, mmax), **EXACT)
    assert dense_frame(frame, lmax, mmax) is dense_frame(frame, lmax, mmax)


def test_dense_frames_of_large_graphs_are_not_kept():
    edges = _BYTES // (4 * 16 * 16) + 1
    frame = EdgeFrame.from_vectors(torch.ones(edges, 3), 3)
    assert dense_frame(frame, 3, 3) is None
    assert dense_frame(EdgeFrame.from_vectors(torch.ones(edges, 3), 2), 2, 2) is not None


@pytest.mark.parametrize("degrees", [(2, 2), (3, 2)])
def test_chunks_by_three_products(degrees, products, generator, monkeypatch):
    """Dense frames or blocks, in chunks or whole: one sum."""
    monkeypatch.setattr("intertwine.so3.so2_chunks.CACHE_BYTES", 1)
    monkeypatch.setattr("intertwine.so3.so2_chunks.LEAST_EDGES", 4)
    conv = SO2EdgeConv(*degrees, 2, 3, bias=True, generator=generator).double().conv
    x = torch.randn(5, (degrees[0] + 1) ** 2, 2, generator=generator, dtype=torch.float64)
    r = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    src, dst = (torch.randint(5, (9,), generator=generator) for _ in range(2))
    frame = EdgeFrame.from_vectors(r, max(degrees))
    dense = [dense_frame(frame, lmax, conv.mmax) for lmax in degrees]
    leaves = [t.detach().requires_grad_() for t in (x, frame.direction, *conv.weights)]
    found = []
    for blocks in (dense, frame.blocks):
        for whole in (False, True):
            x, direction, *weights = leaves
            if whole:
                out = whole_sum(conv.plan, x, direction, conv.bias, None, src, dst, weights, blocks, 5)
            else:
                out = so2_edge_sum(conv.plan, 5, x, direction, conv.bias, None, src, dst, *weights, *blocks)
            found.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    for other in found[1:]:
        for ours, theirs in zip(found[0], other):
            assert_close(ours, theirs, **EXACT)
