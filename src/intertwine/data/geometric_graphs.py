"""Small graphs in space that networks of low depth, degree or body order cannot tell apart."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..audit.geometric_graph import GeometricGraph

COUNTEREXAMPLES = ("two-body", "three-body", "four-body chiral", "four-body")


class Pair(NamedTuple):
    """Two graphs and what they are."""

    name: str
    first: GeometricGraph
    second: GeometricGraph


def k_chain(k: int) -> tuple[GeometricGraph, GeometricGraph]:
    """Two planar chains of k nodes in a row and an end on each side, turned the same way or opposite ways.

    Every node sees the same lengths and angles in both; telling them apart takes news from both ends: ⌊k/2⌋ + 1 rounds.
    Centre of mass at 0, float64. Raises ValueError for k < 2. Source: arXiv:2301.09308, section 5.1.
    """
    if k < 2:
        raise ValueError(f"k_chain: a chain has at least 2 nodes between its ends, got k={k}")
    middle = [(0.0, 5.0 * i, 0.0) for i in range(k)]
    path = torch.arange(k + 1)
    edges = torch.stack([torch.cat([path, path + 1]), torch.cat([path + 1, path])])
    ends = (4.0, 5.0 * (k - 1) + 3, 0.0)
    chains = [_double([(side, -3.0, 0.0), *middle, ends]) for side in (-4.0, 4.0)]
    return tuple(GeometricGraph(pos - pos.mean(0), edges) for pos in chains)


def l_fold(fold: int, angle: float | None = None) -> tuple[GeometricGraph, GeometricGraph]:
    """A star of `fold` unit spokes in a plane around its centre, and the same turned by an angle (radians).

    The two are congruent; features of degree below `fold` cannot tell how the star is turned. angle: by default half of
    the turn that maps the star to itself. Edges go both ways, float64. Raises ValueError for fold < 1.
    Source: arXiv:2301.09308, section 5.2.
    """
    if fold < 1:
        raise ValueError(f"l_fold: a star has at least one spoke, got fold={fold}")
    angle = math.pi / fold if angle is None else angle
    centre, spokes = torch.zeros(fold, dtype=torch.int64), torch.arange(1, fold + 1)
    edges = torch.stack([torch.cat([spokes, centre]), torch.cat([centre, spokes])])
    turns = torch.arange(fold, dtype=torch.float64) * (2 * math.pi / fold)
    stars = [torch.stack([(turns + a).cos(), (turns + a).sin(), 0 * turns], 1) for a in (0.0, angle)]
    return tuple(GeometricGraph(torch.cat([star.new_zeros(1, 3), star]), edges) for star in stars)


def counterexamples(name: str) -> tuple[GeometricGraph, GeometricGraph]:
    """Two neighbourhoods of a centre (node 0) that differ, though messages of that many bodies see no difference.

    name: "two-body" (equal distances), "three-body" (equal angles too), "four-body" (equal dihedrals too, not mirror
    images), "four-body chiral" (mirror images: they differ under rotations only). The four-body pairs are those of the
    paper with a triangle of unequal sides in place of the published one, whose pairs are congruent. Edges go both
    ways, float64. Raises ValueError for another name. Source: arXiv:2301.09308, section 5.3.
    """
    if name == "two-body":
        sides = [(5.0, 0, 0), (3.0, 0, 4.0)], [(5.0, 0, 0), (-5.0, 0, 0)]
    elif name == "three-body":
        base = [(5.0, 0, 5.0), (5.0, 5.0, 5.0), (-5.0, -5.0, 5.0)]
        sides = [*base, (0, 5.0, 5.0)], [*base, (0, -5.0, 5.0)]
    elif name == "four-body chiral":
        sides = [*_triangle(0.0), (0, 5.0, 0)], [*_triangle(0.0), (0, -5.0, 0)]
    elif name == "four-body":
        base = [*_triangle(2.0), *_triangle(-2.0, math.radians(36))]
        sides = [*base, (0, 5.0, 0)], [*base, (0, -5.0, 0)]
    else:
        raise ValueError(f"counterexamples: name must be one of {COUNTEREXAMPLES}, got {name!r}")
    return tuple(_star(side) for side in sides)


def standard_pairs() -> tuple[Pair, ...]:
    """The pairs above, the usual test of a new architecture."""
    chains = [Pair(f"chain of {k}", *k_chain(k)) for k in range(2, 6)]
    return (*chains, *(Pair(name, *counterexamples(name)) for name in COUNTEREXAMPLES))


def random_pair(n: int, *, generator: torch.Generator, degree: int = 3) -> tuple[GeometricGraph, GeometricGraph]:
    """Two random clouds of n points, N(0, 1), joined to their `degree` nearest neighbours and by these; float64.

    Raises ValueError where a point has fewer than `degree` others.
    """
    if not 0 < degree < n:
        raise ValueError(f"random_pair: {n} points have {n - 1} neighbours each, cannot join {degree}")
    return tuple(_nearest(torch.randn(n, 3, generator=generator, dtype=torch.float64), degree) for _ in range(2))


def _double(rows) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _triangle(height: float, turn: float = 0.0) -> list[tuple[float, float, float]]:
    """Three points at distance 5 from the y axis at angles 0°, 100° and 220°: no two sides are equal."""
    turns = [math.radians(a) + turn for a in (0, 100, 220)]
    return [(5 * math.cos(a), height, 5 * math.sin(a)) for a in turns]


def _star(ends) -> GeometricGraph:
    tips = torch.arange(1, len(ends) + 1)
    edges = torch.stack([torch.cat([tips, 0 * tips]), torch.cat([0 * tips, tips])])
    return GeometricGraph(torch.cat([torch.zeros(1, 3, dtype=torch.float64), _double(ends)]), edges)


def _nearest(pos: Tensor, degree: int) -> GeometricGraph:
    distance = torch.cdist(pos, pos).fill_diagonal_(math.inf)
    joined = torch.zeros_like(distance, dtype=torch.bool).scatter_(
        1, distance.topk(degree, largest=False).indices, True
    )
    return GeometricGraph(pos, (joined | joined.T).nonzero().T.contiguous())
