"""Planar patterns to count: the task on which attention over a group is compared with plain attention."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..groups import SE
from ..reps import Action, Invariant, Points

_SIDE, _NOISE, _TURN = 24.0, 0.1, math.pi / 3


class Constellations(NamedTuple):
    """Scattered patterns: points [clouds, points, 2], which of them are there, and how often each pattern occurs."""

    pos: Float[Tensor, "clouds points 2"]
    present: Bool[Tensor, "clouds points"]
    counts: Int[Tensor, "clouds patterns"]
    names: tuple[str, ...]

    @property
    def rep_in(self) -> Action:
        """How SE(2) moves the points; places where `present` is False hold zeros and must be masked."""
        return Points(SE(2))

    @property
    def rep_out(self) -> Action:
        """How SE(2) moves the counts: not at all."""
        return Invariant()


def constellations(
    clouds: int, *, seed: int, repeats: int = 2, noise: float = _NOISE, dtype: torch.dtype | None = None
) -> Constellations:
    """Triangles, squares, pentagons and an L of five points, each `repeats` times or, by a coin, not there at all.

    Every copy is turned by an angle within ±π/3, shifted uniformly in a square of side 24 and blurred by `noise`; the
    points come in random order, coordinates are scaled from the square to [-1, 1]. Computed in float64, given in the
    default dtype unless `dtype` says another. Raises ValueError for negative sizes.
    Source: arXiv:2012.10885, section 5.1.
    """
    if clouds < 0 or repeats < 1 or noise < 0:
        raise ValueError(f"constellations: impossible sizes {clouds=}, {repeats=}, {noise=}")
    generator = torch.Generator().manual_seed(seed)
    made = {"generator": generator, "dtype": torch.float64}
    shapes = {f"{k} corners": _polygon(k) for k in (3, 4, 5)}
    shapes["L"] = torch.tensor([(0, 2), (0, 1), (0, 0), (1, 0), (2, 0)], dtype=torch.float64) - 0.6
    there = torch.rand(clouds, len(shapes), repeats, generator=generator) < 0.5
    parts, present = [], []
    for k, shape in enumerate(shapes.values()):
        angle = (2 * torch.rand(clouds, repeats, **made) - 1) * _TURN
        c, s = angle.cos(), angle.sin()
        turn = torch.stack([c, -s, s, c], -1).reshape(clouds, repeats, 2, 2)
        shift = _SIDE * torch.rand(clouds, repeats, 1, 2, **made)
        copies = shape @ turn.mT + shift + noise * torch.randn(clouds, repeats, len(shape), 2, **made)
        parts.append(copies.flatten(1, 2))
        present.append(there[:, k].repeat_interleave(len(shape), 1))
    pos, marks = torch.cat(parts, 1) * (2 / _SIDE) - 1, torch.cat(present, 1)
    order = torch.rand(marks.shape, generator=generator).argsort(1)
    pos, marks = pos.gather(1, order[..., None].expand_as(pos)), marks.gather(1, order)
    pos = torch.where(marks[..., None], pos, 0.0).to(dtype or torch.get_default_dtype())
    return Constellations(pos, marks, there.sum(2), tuple(shapes))


def _polygon(k: int) -> Tensor:
    angle = torch.arange(k, dtype=torch.float64) * (2 * math.pi / k)
    return torch.stack([angle.cos(), angle.sin()], 1)
