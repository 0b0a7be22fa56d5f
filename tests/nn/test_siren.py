"""A network of sines that makes kernels: its published start, and its scale."""

import math

import pytest
import torch

from grids import seeded
from intertwine.nn import KernelNet


def test_the_published_start():
    """U(±1/in), then U(±√(6/60)/10), then U(±√(6/60)/√points); no offset."""
    net = KernelNet(5, 800, 1000, generator=seeded())
    assert [tuple(w.shape) for w in net.weights] == [(60, 5), (60, 60), (60, 60), (800, 60)]
    bounds = [1 / 5, math.sqrt(0.1) / 10, math.sqrt(0.1) / 10, math.sqrt(0.1 / 1000)]
    for weight, bound in zip(net.weights, bounds):
        assert 0.98 * bound < weight.abs().max().item() <= bound
        assert abs(weight.mean().item()) < 0.1 * bound
    assert not any(bias.any() for bias in net.biases) and net.w0 == 10


def test_it_is_sines_of_affine_maps():
    net = KernelNet(2, 3, 4, hidden=7, layers=1, w0=4.0, generator=seeded()).double()
    with torch.no_grad():
        for bias in net.biases:
            bias.uniform_(-1, 1, generator=seeded())
    u = torch.randn(5, 6, 2, dtype=torch.float64, generator=seeded())
    (a, b, c), (p, q, r) = net.weights, net.biases
    expected = torch.sin(4 * (torch.sin(4 * (u @ a.T + p)) @ b.T + q)) @ c.T + r
    assert (net(u) - expected).abs().max() < 1e-12
    assert net(u[:0]).shape == (0, 6, 3)


def test_values_add_up_to_unit_size():
    """The variance of a sum over `points` is 2 E[sin²], which lies between 0.7 and 1 for phases of order one."""
    u = 2 * torch.rand(400, 2, generator=seeded()) - 1
    values = torch.stack([KernelNet(2, 50, 25, generator=seeded(i))(u) for i in range(10)])
    assert 0.7 < values.square().mean().item() * 25 < 1


def test_sizes_must_be_positive():
    for bad in ({"hidden": 0}, {"layers": -1}):
        with pytest.raises(ValueError, match="sizes must be positive"):
            KernelNet(2, 1, 1, **bad)
