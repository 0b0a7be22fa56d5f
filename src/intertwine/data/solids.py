"""Clouds of points on simple solids, turned at random: the smallest test of a network that should not mind."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..groups import SE
from ..reps import Action, Invariant, Points
from ..so3.rotations import random_rotation


class Clouds(NamedTuple):
    """Clouds of equally many points, the kind of each (a place in `names`), and the rotation that turned it."""

    pos: Float[Tensor, "clouds points 3"]
    label: Int[Tensor, " clouds"]
    rotation: Float[Tensor, "clouds 3 3"]
    names: tuple[str, ...]

    @property
    def rep_in(self) -> Action:
        """How SE(3) moves the points; reflections would turn one helix into the other."""
        return Points(SE(3))

    @property
    def rep_out(self) -> Action:
        """How SE(3) moves the kinds: not at all."""
        return Invariant()


def primitive_shapes(
    clouds: int,
    points: int = 128,
    *,
    seed: int,
    rotate: bool = True,
    noise: float = 0.0,
    dtype: torch.dtype | None = None,
) -> Clouds:
    """Points uniform by area on a sphere, cube, cylinder, cone, torus, tetrahedron, and by length on two helices.

    Solids fill about the unit ball (spheres, cylinders and cones of radius 1, cylinders and cones of height 2, cubes of
    side 2, tori of radii 1 and 0.4); the helices are mirror images of each other. Kinds come in turn, so every kind is
    as frequent. rotate: turn each cloud by a uniform rotation. noise: standard deviation added to each coordinate.
    Computed in float64, given in the default dtype unless `dtype` says another. Raises ValueError for negative sizes.
    """
    if clouds < 0 or points < 0 or noise < 0:
        raise ValueError(f"primitive_shapes: sizes and noise must not be negative, got {clouds=}, {points=}, {noise=}")
    generator = torch.Generator().manual_seed(seed)
    names = tuple(SOLIDS)
    label = torch.arange(clouds) % len(names)
    pos = torch.empty(clouds, points, 3, dtype=torch.float64)
    for kind, name in enumerate(names):
        own = (label == kind).nonzero()[:, 0]
        u = torch.rand(len(own), points, 3, generator=generator, dtype=torch.float64)
        pos[own] = SOLIDS[name](u)
    turn = torch.eye(3, dtype=torch.float64).expand(clouds, 3, 3)
    if rotate:
        turn = random_rotation(clouds, generator=generator, dtype=torch.float64)
    pos = pos @ turn.mT + noise * torch.randn(pos.shape, generator=generator, dtype=torch.float64)
    dtype = dtype or torch.get_default_dtype()
    return Clouds(pos.to(dtype), label, turn.to(dtype), names)


def _ball_point(u: Tensor) -> Tensor:
    z, (c, s) = 2 * u[..., 0] - 1, _circle(u[..., 1])
    ring = (1 - z.square()).sqrt()
    return torch.stack([ring * c, ring * s, z], -1)


def _cube(u: Tensor) -> Tensor:
    face = (6 * u[..., 0]).long().clamp(max=5)
    axis, side = face // 2, 2.0 * (face % 2) - 1
    flat = torch.stack([side, 2 * u[..., 1] - 1, 2 * u[..., 2] - 1], -1)
    order = (torch.arange(3) - axis[..., None]) % 3
    return flat.gather(-1, order)


def _cylinder(u: Tensor) -> Tensor:
    """Side 4π, lids π each."""
    place, (c, s) = 6 * u[..., 0], _circle(u[..., 1])
    side = place < 4
    radius = torch.where(side, 1.0, u[..., 2].sqrt())
    height = torch.where(side, 2 * u[..., 2] - 1, torch.where(place < 5, 1.0, -1.0))
    return torch.stack([radius * c, radius * s, height], -1)


def _cone(u: Tensor) -> Tensor:
    """Side √5 π, floor π; the tip is up."""
    (c, s), radius = _circle(u[..., 1]), u[..., 2].sqrt()
    side = u[..., 0] * (1 + math.sqrt(5)) >= 1
    return torch.stack([radius * c, radius * s, torch.where(side, 1 - 2 * radius, -1.0)], -1)


def _torus(u: Tensor, small: float = 0.4) -> Tensor:
    """The angle around the tube has density 1 + small · cos: its distribution function is inverted by bisection."""
    low, high = torch.zeros_like(u[..., 0]), torch.full_like(u[..., 0], 2 * math.pi)
    for _ in range(50):
        middle = (low + high) / 2
        below = middle + small * middle.sin() < 2 * math.pi * u[..., 0]
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    (c, s), ring = _circle(u[..., 1]), 1 + small * low.cos()
    return torch.stack([ring * c, ring * s, small * low.sin()], -1)


def _tetrahedron(u: Tensor) -> Tensor:
    corners = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=u.dtype)
    missing = (4 * u[..., 0]).long().clamp(max=3)
    a, b, c = (corners[(missing + k) % 4] for k in (1, 2, 3))
    root, v = u[..., 1, None].sqrt(), u[..., 2, None]
    return (1 - root) * a + root * (1 - v) * b + root * v * c


def _helix(u: Tensor, sense: float) -> Tensor:
    """Two turns of radius 1/2 and height 2."""
    t = u[..., 0]
    angle = sense * 4 * math.pi * t
    return torch.stack([angle.cos() / 2, angle.sin() / 2, 2 * t - 1], -1)


def _circle(u: Tensor) -> tuple[Tensor, Tensor]:
    return (2 * math.pi * u).cos(), (2 * math.pi * u).sin()


SOLIDS: dict[str, Callable[[Tensor], Tensor]] = {
    "sphere": _ball_point,
    "cube": _cube,
    "cylinder": _cylinder,
    "cone": _cone,
    "torus": _torus,
    "tetrahedron": _tetrahedron,
    "helix right": lambda u: _helix(u, 1.0),
    "helix left": lambda u: _helix(u, -1.0),
}
