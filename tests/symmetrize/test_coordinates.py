"""Canonical coordinates: the transformation is a shift along one axis, on every sheet, in the same direction."""

import math

import pytest
import torch
from torch.nn import functional as F

from intertwine.symmetrize import canonical_coordinates

T = 0.3
SHIFTS = {  # what the transformation does to (x, y), and the axis of the grid that it shifts: 0 is v, 1 is u
    "identity": (lambda x, y: (x + T, y), 1),
    "polar": (lambda x, y: (x * math.cos(T) - y * math.sin(T), x * math.sin(T) + y * math.cos(T)), 0),
    "log-polar": (lambda x, y: (x * math.exp(T), y * math.exp(T)), 1),
    "x-shear": (lambda x, y: (x + T * y, y), 0),
    "y-shear": (lambda x, y: (x, y + T * x), 0),
    "x-scale": (lambda x, y: (x * math.exp(T), y), 1),
    "y-scale": (lambda x, y: (x, y * math.exp(T)), 1),
    "hyperbolic": (lambda x, y: (x * math.exp(T), y * math.exp(-T)), 0),
    "x-perspective": (lambda x, y: (x / (1 + T * x), y / (1 + T * x)), 1),
    "y-perspective": (lambda x, y: (x / (1 + T * y), y / (1 + T * y)), 1),
}


@pytest.mark.parametrize("name", SHIFTS)
def test_the_transformation_is_a_shift(name):
    move, axis = SHIFTS[name]
    sheets = 1 if name in ("identity", "polar", "log-polar", "x-shear", "y-shear") else 2
    size, low = [20 * sheets, 20], {0: -1.0, 1: 1.2}[axis]
    step = T / 2  # the grid moves on by two bins
    lim = (low, low + step * (20 if "polar" in name and axis == 0 else 19))
    grid = canonical_coordinates(name, tuple(size), **{("vlim", "ulim")[axis]: lim}, dtype=torch.float64)
    for sheet in grid.split(20):
        moved = torch.stack(move(*sheet.unbind(-1)), -1)
        torch.testing.assert_close(moved.narrow(axis, 0, 18), sheet.narrow(axis, 2, 18), atol=1e-12, rtol=1e-12)


def test_a_pan_is_a_shift():
    """The points of the image back onto the near side of the sphere, which turns about its upright axis, and again."""
    grid = canonical_coordinates("spherical", (21, 9), ulim=(-0.5, 0.5), vlim=(-0.5, 0.5), dtype=torch.float64)
    x, y = grid.unbind(-1)
    square = x**2 + y**2 + 1
    s = (math.sqrt(2) - (2 - square).sqrt()) / square  # where the ray from (0, 0, √2) through (x, y, √2 - 1) meets it
    a, b, c = s * x, s * y, math.sqrt(2) - s
    turn = 1 / 20 * 3
    a, c = a * math.cos(turn) + c * math.sin(turn), c * math.cos(turn) - a * math.sin(turn)
    moved = torch.stack([a, b], -1) / (math.sqrt(2) - c)[..., None]
    torch.testing.assert_close(moved[:-3], grid[3:], atol=1e-12, rtol=1e-12)


def blobs(xy: torch.Tensor, turn: float = 0.0) -> torch.Tensor:
    """A sum of Gaussians, turned by an angle, at positions [..., 2]."""
    c, s = math.cos(turn), math.sin(turn)
    x, y = c * xy[..., 0] + s * xy[..., 1], -s * xy[..., 0] + c * xy[..., 1]
    return torch.exp(-8 * ((x - 0.4) ** 2 + y**2)) + 0.5 * torch.exp(-20 * ((x + 0.1) ** 2 + (y - 0.5) ** 2))


@pytest.mark.parametrize("j", [1, 5, 16])
def test_a_rotation_by_bins_is_a_roll(j):
    grid = canonical_coordinates("polar", (32, 10), dtype=torch.float64)
    turned = blobs(grid, 2 * math.pi * j / 32)
    torch.testing.assert_close(turned, blobs(grid).roll(j, 0), atol=1e-12, rtol=0)


def test_pixels_are_sampled_where_they_are():
    """A shift of a quarter turn on a real image, to the interpolation."""
    axis = (torch.arange(64, dtype=torch.float64) + 0.5) / 32 - 1
    xy = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    image = blobs(xy)[None, None]
    grid = canonical_coordinates("log-polar", (32, 16), ulim=(-1.5, -0.2), dtype=torch.float64)
    seen, turned = (
        F.grid_sample(picture, grid[None], align_corners=False)[0, 0]
        for picture in (image, torch.rot90(image, -1, (2, 3)))
    )
    torch.testing.assert_close(seen, blobs(grid), atol=5e-3, rtol=0)
    torch.testing.assert_close(turned, seen.roll(8, 0), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", [*SHIFTS, "spherical"])
def test_every_grid_is_finite_and_in_its_dtype(name):
    grid = canonical_coordinates(name, (8, 6))
    assert grid.shape == (8, 6, 2) and grid.dtype == torch.float32 and torch.isfinite(grid).all()
    if name.startswith("x"):
        assert torch.equal(canonical_coordinates("y" + name[1:], (8, 6)), grid.flip(-1))


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="name must be one of"):
        canonical_coordinates("cartesian", (8, 8))
    with pytest.raises(ValueError, match="even for two sheets"):
        canonical_coordinates("x-scale", (7, 8))
    with pytest.raises(ValueError, match="u > 0 for a perspective"):
        canonical_coordinates("x-perspective", (8, 8), ulim=(-1.0, 1.0))
