"""A band-limited image, analytic kernels and moved samples, with which convolutions over SL(2) can be checked."""

import math

import torch
from torch import Tensor, nn

from intertwine.groups import SL, Samples, sample_invariant
from intertwine.nn import LieConv, LieLift, LieProject

BLOBS = ((2.0, 1.0, 1.0, 2.6), (-3.0, 2.0, -0.7, 3.0), (0.0, -3.0, 0.9, 2.8))  # x, y, height, deviation in pixels


def image(h: Tensor, size: int = 25) -> Tensor:
    """A sum of Gaussians moved by h, exactly, on the grid of pixels: [1, 1, size, size]."""
    axis = torch.arange(size, dtype=h.dtype) - (size - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([x, y], -1) @ torch.linalg.inv(h).mT
    centres = torch.tensor([blob[:2] for blob in BLOBS], dtype=h.dtype)
    squares = ((points[..., None, :] - centres) ** 2).sum(-1)
    heights, deviations = (torch.tensor([blob[i] for blob in BLOBS], dtype=h.dtype) for i in (2, 3))
    return (heights * torch.exp(-squares / (2 * deviations**2))).sum(-1)[None, None]


class Ridge(nn.Module):
    """A kernel in the plane that prefers one direction."""

    def forward(self, u: Tensor) -> Tensor:
        v = u / 0.2
        return torch.exp(-v.square().sum(-1, keepdim=True) / 2) * (1 + v[..., :1] ** 2 / 2)


class Window(nn.Module):
    """A kernel in the plane and the group that decays in both: so its integrals over the group converge."""

    def forward(self, v: Tensor) -> Tensor:
        u, X, angle = v[..., :2] / 0.2, v[..., 2:-1] / 0.3, v[..., -1:] / math.sqrt(2)
        decay = torch.exp(-u.square().sum(-1, keepdim=True) / 2 - X.square().sum(-1, keepdim=True) / 2)
        return decay * (1 + torch.cos(angle) / 2 + u[..., :1] * torch.sin(angle) / 2)


def errors(counts: tuple[int, ...], trials: int, generator: torch.Generator) -> list[float]:
    """Equivariance error of lift, convolution and projection under a warp by SL(2), for each number of samples.

    The same network sees an image and its warp, each with samples of its own; what is read out at the centre, at four
    elements that move with the image, should agree. Root of the mean square over trials, relative to the value.
    """
    group = SL(2)
    lift, conv = LieLift(1, 1, 13, group, kernel=Ridge()), LieConv(1, 1, 13, group, kernel=Window(), padding=0)
    project = LieProject("integral")
    lift, conv = lift.double(), conv.double()
    h = group.sample(1, generator=generator)[0]
    places = sample_invariant(group, 4, 0.3, generator=generator)
    fixed = Samples(places.g, places.g_inv, torch.zeros_like(places.log_weight))
    moved = Samples(h @ places.g, places.g_inv @ torch.linalg.inv(h), fixed.log_weight)
    pairs = ((image(torch.eye(2, dtype=h.dtype)), fixed), (image(h), moved))
    found = []
    for count in counts:
        values = []
        for _ in range(trials):
            for x, out in pairs:
                samples = sample_invariant(group, count, 0.8, rotations="equispaced", generator=generator)
                with torch.no_grad():
                    values.append(project(conv(lift(x, samples), samples, out), out).squeeze())
        values = torch.stack(values).reshape(trials, 2)
        found.append(((values[:, 0] - values[:, 1]).square().mean().sqrt() / values.mean().abs()).item())
    return found


def slope(counts: tuple[int, ...], found: list[float]) -> float:
    """Exponent of the error against the number of samples, by least squares in the logarithms."""
    x, y = torch.tensor(counts, dtype=torch.float64).log(), torch.tensor(found, dtype=torch.float64).log()
    x = x - x.mean()
    return ((x * y).sum() / x.square().sum()).item()
