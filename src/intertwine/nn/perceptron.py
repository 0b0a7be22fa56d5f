"""Affine maps and perceptrons of plain numbers, with PyTorch's usual weights, drawn from a generator."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


@torch.no_grad()
def affine(n_in: int, n_out: int, *, bias: bool = True, generator: torch.Generator | None = None) -> nn.Linear:
    """An `nn.Linear` whose weights and biases are uniform within ±1/√n_in, as PyTorch's own are."""
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out, bias=bias)
    for parameter in layer.parameters():
        parameter.uniform_(-1, 1, generator=generator).mul_(1 / math.sqrt(max(n_in, 1)))
    return layer


def perceptron(
    sizes: Sequence[int], act: type[nn.Module] = nn.SiLU, *, generator: torch.Generator | None = None
) -> nn.Sequential:
    """Affine maps through `sizes` with `act` between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [affine(n_in, n_out, generator=generator), act()]
    return nn.Sequential(*layers[:-1])
