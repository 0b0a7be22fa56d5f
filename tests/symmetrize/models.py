"""Models that know of no symmetry, and clouds with too much of it."""

import math

import torch
from torch import Tensor, nn


class FlatMLP(nn.Module):
    """Everything flattened, two hidden layers, outputs of any shape: as far from equivariant as a model can be."""

    def __init__(self, n_in: int, *shape: int, seed: int = 0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            first, second, last = (
                nn.Linear(a, b, dtype=torch.float64) for a, b in ((n_in, 24), (24, 24), (24, math.prod(shape)))
            )
        self.layers = nn.Sequential(first, nn.SiLU(), second, nn.SiLU(), last)
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(1)).unflatten(1, self.shape)


class PointNet(nn.Module):
    """A network on sets of points of any number: per-point layers and a mean; takes padding as weights."""

    def __init__(self, d: int, out: int, seed: int = 0):
        super().__init__()
        self.inner, self.outer = FlatMLP(d, 16, seed=seed), FlatMLP(16, out, seed=seed + 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        h = self.inner(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        h = h.cumsum(1)[:, -1] if mask is None else (h * mask[..., None]).cumsum(1)[:, -1]
        return self.outer(h)


def polygon(n: int) -> Tensor:
    angles = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    return torch.stack([angles.cos(), angles.sin(), 0 * angles], -1)


def tensor(rows: list) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


CLOUDS = {
    "two points": polygon(2),
    "triangle": polygon(3),
    "square": polygon(4),
    "pentagon": polygon(5),
    "hexagon": polygon(6),
    "benzene": torch.cat([polygon(6), 1.8 * polygon(6)]),
    "methane": tensor([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]),
    "cube": tensor([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]),
    "a line": tensor([[0, 0, 0], [0, 0, 1], [0, 0, 3]]),
    "equal points": torch.ones(4, 3, dtype=torch.float64),
    "one point": torch.ones(1, 3, dtype=torch.float64),
}


def placed(points: Tensor, seed: int = 0) -> Tensor:
    """The cloud turned and shifted at random, as a batch of one."""
    generator = torch.Generator().manual_seed(seed)
    Q = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator)).Q
    return (points @ Q + torch.randn(3, dtype=torch.float64, generator=generator))[None]
