"""Lattices to compute with: the cubic ones that books name, and random ones for data sets."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .lattices import Lattices
from .neighbors import neighbor_list

TRIALS = 1000
SHARPEST = 0.85  # cosine: random struts of one joint are at least 32° apart

_CUBIC = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_FACES = ((0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
_BODY = ((-0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5))
_ORIGIN = ((0.0, 0.0, 0.0),)
_KELVIN = tuple(
    tuple(1 / 4 * (k == i) + 1 / 2 * (k == (i + sign) % 3) for k in range(3)) for i in range(3) for sign in (1, 2)
)
# Primitive cell, joints, and the lengths of the struts, for a cubic lattice constant of 1.
PROTOTYPES = {
    "sc": (_CUBIC, _ORIGIN, (1.0,)),
    "fcc_octet": (_FACES, _ORIGIN, (0.5**0.5,)),
    "bcc": (_BODY, _ORIGIN, (0.75**0.5,)),
    "bcc_sc": (_BODY, _ORIGIN, (0.75**0.5, 1.0)),
    "diamond": (_FACES, (*_ORIGIN, (0.25, 0.25, 0.25)), (3**0.5 / 4,)),
    "kelvin": (_BODY, _KELVIN, (2**0.5 / 4,)),
}


def lattice(name: str, rel_density: float = 0.02) -> Lattices:
    """A named lattice on its primitive cell, cubic lattice constant 1, float64, of this relative density.

    "sc" simple cubic; "fcc_octet", the octet truss, twelve struts at a joint; "bcc", eight; "bcc_sc", with the cube's
    edges too; "diamond", four; "kelvin", the edges of truncated octahedra that fill space, four.
    Raises ValueError for another name or a density outside (0, 1).
    """
    if name not in PROTOTYPES:
        raise ValueError(f"lattice: there is no {name!r}; there are {', '.join(PROTOTYPES)}")
    cell, pos, lengths = (torch.tensor(part, dtype=torch.float64) for part in PROTOTYPES[name])
    bars, shift = _pairs(pos, cell, float(lengths.max()) + 1e-6)
    length = (pos[bars[1]] + shift @ cell - pos[bars[0]]).norm(dim=1)
    kept = ((length[:, None] - lengths).abs() < 1e-6).any(1)
    return _equal(pos, cell, bars[:, kept], shift[kept]).with_density(rel_density)


def random_lattice(joints: int, *, generator: torch.Generator, valence: int = 4, rel_density: float = 0.02) -> Lattices:
    """A random lattice in the unit cube, float64: joints apart from each other, each with at least `valence` struts.

    Struts join near joints, those of one joint at least 32° apart. All joints hang together and struts lead across the
    cell in three directions, so with rigid joints every strain is resisted. All struts have one radius.
    Raises ValueError for fewer than two joints, a valence outside 1..12, a density outside (0, 1), and when none is
    found.
    """
    if joints < 2 or not 1 <= valence <= 12:
        raise ValueError(f"random_lattice: at least two joints and 1 to 12 struts at each, got {joints=} {valence=}")
    cell, spacing = torch.eye(3, dtype=torch.float64), joints ** (-1 / 3)
    for _ in range(TRIALS):
        pos = _scattered(joints, 0.6 * spacing, generator)
        bars, shift = _pairs(pos, cell, min(max(1.8 * spacing, 1.01), 1.5))
        chosen = _near(bars, pos[bars[1]] + shift - pos[bars[0]], joints, valence)
        if chosen and spans_space(bars[:, chosen], shift[chosen], joints):
            return _equal(pos, cell, bars[:, chosen], shift[chosen]).with_density(rel_density)
    raise ValueError(f"random_lattice: none with {joints} joints and valence {valence} was found in {TRIALS} trials")


def spans_space(bars: Int[Tensor, "2 bars"], shift: Float[Tensor, "bars 3"], joints: int) -> bool:
    """Whether all joints hang together, and closed ways along struts lead across the cell in three directions."""
    place: list[Tensor | None] = [None] * joints
    place[0] = torch.zeros(3, dtype=shift.dtype)
    edges = list(zip(*bars.tolist(), shift))
    for _ in range(joints):
        for i, j, step in edges:
            if place[i] is not None and place[j] is None:
                place[j] = place[i] + step
            elif place[j] is not None and place[i] is None:
                place[i] = place[j] - step
    if any(p is None for p in place):
        return False
    across = torch.stack([place[i] + step - place[j] for i, j, step in edges])
    return int(torch.linalg.matrix_rank(across)) == 3


def _scattered(joints: int, apart: float, generator: torch.Generator) -> Float[Tensor, "joints 3"]:
    """Random points of the periodic unit cube, put down one after the other, none closer than `apart` to another."""
    pos = torch.empty(0, 3, dtype=torch.float64)
    while len(pos) < joints:
        point = torch.rand(1, 3, generator=generator, dtype=torch.float64)
        step = pos - point
        if not len(pos) or float((step - step.round()).norm(dim=1).min()) >= apart:
            pos = torch.cat([pos, point])
    return pos


def _pairs(pos: Tensor, cell: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """Every pair of joints, or of a joint and its image, closer than `reach`, once: bars and shift."""
    (end, start), shift = neighbor_list(pos, cell, torch.ones(3, dtype=torch.bool), reach)
    sign = shift @ shift.new_tensor([1e6, 1e3, 1.0])  # of the first integer that is not zero
    once = (start < end) | ((start == end) & (sign > 0))
    return torch.stack([start, end])[:, once], shift[once]


def _near(bars: Tensor, r: Tensor, joints: int, valence: int) -> list[int]:
    """Pairs that become struts, the shortest first: where an end still needs one, and no strut there is too close in
    angle. Empty when a joint does not get its number."""
    length = r.norm(dim=1)
    n = r / length[:, None]
    at: list[list[Tensor]] = [[] for _ in range(joints)]
    chosen = []
    for e in length.argsort(stable=True).tolist():
        ends = [(int(bars[0, e]), n[e]), (int(bars[1, e]), -n[e])]
        if min(len(at[k]) for k, _ in ends) >= valence:
            continue
        if any(float(direction @ other) > SHARPEST for k, direction in ends for other in at[k]):
            continue
        for k, direction in ends:
            at[k].append(direction)
        chosen.append(e)
    return sorted(chosen) if min(map(len, at)) >= valence else []


def _equal(pos: Tensor, cell: Tensor, bars: Tensor, shift: Tensor) -> Lattices:
    """One lattice of equal struts; their radius is still to be chosen."""
    return Lattices(pos, cell[None], bars, shift, pos.new_ones(len(shift)), torch.zeros(len(pos), dtype=torch.int64))
