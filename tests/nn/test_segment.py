"""Sums over rows that belong together, against loops."""

import pytest
import torch

from grids import seeded
from intertwine.nn.segment import segment_max, segment_mean, segment_softmax, segment_sum

REDUCTIONS = {
    "sum": (segment_sum, lambda rows: rows.sum(0)),
    "mean": (segment_mean, lambda rows: rows.mean(0)),
    "max": (segment_max, lambda rows: rows.amax(0)),
}
SIZES = [(0, 3), (1, 1), (7, 4), (40, 6)]


def drawn(rows, n, shape):
    x = torch.randn(rows, *shape, generator=seeded(), dtype=torch.float64)
    return x - 3, torch.randint(n, (rows,), generator=seeded(1))


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize(("rows", "n"), SIZES)
@pytest.mark.parametrize("shape", [(), (1,), (3, 2)])
def test_reductions_are_loops(name, rows, n, shape):
    reduce, plain = REDUCTIONS[name]
    x, index = drawn(rows, n, shape)
    found = reduce(x, index, n)
    assert found.shape == (n, *shape)
    for k in range(n):
        own = x[index == k]
        expected = plain(own) if len(own) else torch.zeros(shape, dtype=torch.float64)
        assert torch.allclose(found[k], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("rows", "n"), SIZES)
@pytest.mark.parametrize("shape", [(), (2,)])
def test_softmax_is_a_loop(rows, n, shape):
    x, index = drawn(rows, n, shape)
    found = segment_softmax(100 * x, index, n)
    assert torch.isfinite(found).all()
    for k in range(n):
        own = index == k
        assert torch.allclose(found[own], torch.softmax(100 * x[own], 0), atol=1e-12, rtol=0)


@pytest.mark.parametrize("reduce", [segment_sum, segment_mean, segment_max, segment_softmax], ids=lambda f: f.__name__)
def test_derivatives(reduce):
    x, index = drawn(9, 4, (2,))
    assert torch.autograd.gradcheck(lambda x: reduce(x, index, 4), x.requires_grad_())
    assert torch.autograd.gradgradcheck(lambda x: reduce(x, index, 4), x)


@pytest.mark.parametrize("shape", [(), (2,)])
def test_softmax_with_factors(shape):
    x, index = drawn(40, 6, shape)
    factor = torch.rand(40, *[1] * len(shape), generator=seeded(2), dtype=torch.float64)
    factor[:5] = 0
    factor[index == 3] = 0
    factor[5] = 1e-300
    # A row that counts for nothing may have any value, without a trace in the others.
    for top in (0.0, 800.0):
        found = segment_softmax(torch.cat([x[:5] + top, x[5:]]), index, 6, factor)
        weight = factor * torch.exp(x)
        total = segment_sum(weight, index, 6)[index]
        expected = torch.where(total > 0, weight / total.masked_fill(total == 0, 1), 0)
        assert torch.allclose(found, expected, atol=1e-12, rtol=0)
    even = segment_softmax(x, index, 6, torch.full_like(factor, 0.3))
    assert torch.allclose(even, segment_softmax(x, index, 6), atol=1e-12, rtol=0)


def test_derivatives_with_factors():
    x, index = drawn(9, 4, (2,))
    factor = torch.rand(9, 1, generator=seeded(2), dtype=torch.float64)
    factor[index == index[0]] = 0
    inputs = (x.requires_grad_(), (factor + 0.1).requires_grad_())
    assert torch.autograd.gradcheck(lambda x, w: segment_softmax(x, index, 4, w), inputs)
    assert torch.autograd.gradgradcheck(lambda x, w: segment_softmax(x, index, 4, w), inputs)
    factor.requires_grad_()
    segment_softmax(x, index, 4, factor).square().sum().backward()
    assert x.grad.isfinite().all() and factor.grad.isfinite().all()
