"""Degrees 0 and 1 without frames: the same sum, with the same first and second derivatives, as in frames."""

import pytest
import torch
from torch.testing import assert_close

from intertwine.so3 import EdgeFrame, SO2EdgeConv
from intertwine.so3 import so2_conv as module
from intertwine.so3.so2_vectors import vector_sum
from intertwine.so3.so2_whole import whole_sum

EXACT = {"atol": 1e-10, "rtol": 1e-10}


def derivatives(fn, leaves):
    y = fn(*leaves)
    h = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    first = torch.autograd.grad(y, leaves, h, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves, allow_unused=True)
    return y, *first, *(torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, second))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize(("lmax_in", "lmax_out", "mmax"), [(1, 1, 1), (1, 1, 0), (0, 1, 0), (1, 0, 0), (0, 0, 0)])
@pytest.mark.parametrize("edges", [0, 1, 11])
def test_equals_the_sum_in_frames(lmax_in, lmax_out, mmax, parity, bias, scaled, edges, generator):
    conv = SO2EdgeConv(lmax_in, lmax_out, 3, 2, mmax=mmax, parity=parity, bias=bias, generator=generator).double().conv
    if bias:
        conv.bias.data += 0.3
    x = torch.randn(5, (lmax_in + 1) ** 2, 3, generator=generator, dtype=torch.float64)
    r = torch.randn(edges, 3, generator=generator, dtype=torch.float64)
    src, dst = (torch.randint(5, (edges,), generator=generator) for _ in range(2))
    scale = torch.rand(edges, conv.scale_numel, generator=generator, dtype=torch.float64) if scaled else None
    leaves = [t.detach().requires_grad_() for t in (x, r, *conv.weights)]

    def with_frames(x, r, *weights):
        frame = EdgeFrame.from_vectors(r, max(lmax_in, lmax_out), mmax)
        return whole_sum(conv.plan, x, frame.direction, conv.bias, scale, src, dst, weights, frame.blocks, 5)

    def without(x, r, *weights):
        direction = EdgeFrame.from_vectors(r, max(lmax_in, lmax_out), mmax).direction
        return vector_sum(conv.plan, x, direction, conv.bias, scale, src, dst, weights, 5)

    for ours, theirs in zip(derivatives(without, leaves), derivatives(with_frames, leaves)):
        assert_close(ours, theirs, **EXACT)


def test_no_frame_is_made(generator):
    frame = EdgeFrame.from_vectors(torch.randn(4, 3, generator=generator), 1)
    ends = torch.arange(4)
    SO2EdgeConv(1, 1, 2, 2, generator=generator)(torch.randn(4, 4, 2, generator=generator), frame, ends, ends)
    assert frame._blocks is None


@pytest.mark.parametrize("lmax", [2, 3])
def test_small_graphs_whose_forces_are_trained_keep_their_messages(lmax, generator, monkeypatch):
    """Both ways give one result; which of them ran is seen by taking the other away."""
    conv = SO2EdgeConv(lmax, lmax, 2, 2, generator=generator).double()
    x = torch.randn(4, (lmax + 1) ** 2, 2, generator=generator, dtype=torch.float64)
    r = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    src, dst = (torch.randint(4, (6,), generator=generator) for _ in range(2))

    def run(x, r):
        return conv(x, EdgeFrame.from_vectors(r, lmax), src, dst)

    leaves = [x.requires_grad_(), r.requires_grad_()]
    kept = derivatives(run, leaves)
    monkeypatch.setattr(module, "_WHOLE_BYTES", 0)
    made_again = derivatives(run, leaves)
    for a, b in zip(kept, made_again):
        assert_close(a, b, **EXACT)
    monkeypatch.delattr(module, "whole_sum")
    run(x, r)
    monkeypatch.setattr(module, "_WHOLE_BYTES", 1 << 25)
    with pytest.raises(NameError):
        run(x, r)
