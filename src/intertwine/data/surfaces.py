"""Clouds of points on stretched solids with the exact normal at each: what a network of shapes should find."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..groups import E
from ..reps import Action, Points, Vectors
from ..so3.rotations import random_rotation
from .solids import SOLIDS

KINDS = ("sphere", "cube", "cylinder", "cone", "torus", "tetrahedron")
TUBE = 0.4  # radius of the tube of a torus of radius 1


class Surfaces(NamedTuple):
    """Points on surfaces, the outward unit normal at each, the kind of each cloud (a place in `names`), its turn."""

    pos: Float[Tensor, "clouds points 3"]
    normal: Float[Tensor, "clouds points 3"]
    label: Int[Tensor, " clouds"]
    rotation: Float[Tensor, "clouds 3 3"]
    names: tuple[str, ...]

    @property
    def rep_in(self) -> Action:
        """How E(3) moves the points."""
        return Points(E(3))

    @property
    def rep_out(self) -> Action:
        """How E(3) moves the normals."""
        return Vectors(E(3))


def surfaces(
    clouds: int,
    points: int = 128,
    *,
    seed: int,
    stretch: float = 2.0,
    rotate: bool = True,
    noise: float = 0.0,
    dtype: torch.dtype | None = None,
) -> Surfaces:
    """Points uniform by area on ellipsoids, boxes, elliptic cylinders, cones and tori, and tetrahedra, with normals.

    A solid of `primitive_shapes` is stretched along its three axes, each by a factor of its own between 1/stretch and 1
    (uniform in the logarithm), and a normal n becomes A⁻¹n, made a unit vector again. Kinds come in turn. rotate: turn
    each cloud by a uniform rotation. noise: standard deviation added to each coordinate; normals stay those of the
    surface. Computed in float64, given in the default dtype unless `dtype` says another.
    Raises ValueError for negative sizes and a stretch below 1.
    """
    if clouds < 0 or points < 0 or noise < 0 or not stretch >= 1:
        raise ValueError(
            f"surfaces: sizes and noise must not be negative and stretch at least 1, got {clouds=}, {points=}, "
            f"{noise=}, {stretch=}"
        )
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(clouds) % len(KINDS)
    scale = stretch ** -torch.rand(clouds, 3, generator=generator, dtype=torch.float64)
    pos, normal = torch.empty(2, clouds, points, 3, dtype=torch.float64)
    for b, k in enumerate(label.tolist()):
        pos[b], normal[b] = _stretched(KINDS[k], scale[b], points, generator)
    turn = torch.eye(3, dtype=torch.float64).expand(clouds, 3, 3)
    if rotate:
        turn = random_rotation(clouds, generator=generator, dtype=torch.float64)
    pos = pos @ turn.mT + noise * torch.randn(pos.shape, generator=generator, dtype=torch.float64)
    dtype = dtype or torch.get_default_dtype()
    return Surfaces(pos.to(dtype), (normal @ turn.mT).to(dtype), label, turn.to(dtype), KINDS)


def _stretched(kind: str, scale: Tensor, points: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points and normals of one solid; an element of area grows by |A⁻¹n| det A, so that points are kept by that."""
    pos = normal = torch.zeros(0, 3, dtype=torch.float64)
    while len(pos) < points:
        u = torch.rand(2 * points, 4, generator=generator, dtype=torch.float64)
        p = SOLIDS[kind](u[:, :3])
        n = _normal(kind, p) / scale
        growth = n.norm(dim=1)
        keep = u[:, 3] * (1 / scale).max() < growth
        pos, normal = torch.cat([pos, p[keep] * scale]), torch.cat([normal, n[keep] / growth[keep, None]])
    return pos[:points], normal[:points]


def _normal(kind: str, p: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
    """The outward unit normal of a solid that is not stretched at points on it."""
    ring = p.clone()
    ring[:, 2] = 0
    out = ring / ring.norm(dim=1, keepdim=True).clamp_min(1e-300)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=p.dtype)
    match kind:
        case "sphere":
            return p
        case "cube":
            face = p.abs().argmax(1, keepdim=True)
            return torch.zeros_like(p).scatter(1, face, p.gather(1, face).sign())
        case "cylinder":
            lid = p[:, 2:].abs() >= 1
            return torch.where(lid, p[:, 2:].sign() * up, out)
        case "cone":
            return torch.where(p[:, 2:] <= -1, -up, (2 * out + up) / 5**0.5)
        case "torus":
            return (p - out) / TUBE
        case _:  # the tetrahedron: minus the corner that is farthest
            corners = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=p.dtype)
            return -corners[(p @ corners.T).argmin(1)] / 3**0.5
