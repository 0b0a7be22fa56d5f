"""Perceptrons drawn from a generator."""

import torch

from grids import seeded
from intertwine.nn.perceptron import affine, perceptron


def test_weights_come_from_the_generator_alone():
    before = torch.get_rng_state()
    one, two = (perceptron([3, 8, 2], generator=seeded(4)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters()))
    assert [type(layer).__name__ for layer in one] == ["Linear", "SiLU", "Linear"]
    assert one(torch.randn(5, 3, generator=seeded())).shape == (5, 2)


def test_weights_are_distributed_as_usual():
    layer = affine(16, 4000, generator=seeded())
    assert layer.weight.abs().max() <= 0.25
    assert abs(layer.weight.std() - 0.25 / 3**0.5) < 0.002
    assert layer.bias.abs().max() <= 0.25
    assert affine(3, 2, bias=False).bias is None
