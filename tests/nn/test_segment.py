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
