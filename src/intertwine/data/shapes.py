"""Shapes made of points, exact and without a download: what a network must tell apart, and what it may not."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_PIECES = {
    "chiral left": [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 1, 0)],
    "chiral right": [(1, 1, 1), (1, 1, 2), (2, 1, 1), (2, 0, 1)],
    "square": [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)],
    "line": [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3)],
    "corner": [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)],
    "L": [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0)],
    "T": [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 1)],
    "zigzag": [(0, 0, 0), (1, 0, 0), (1, 1, 0), (2, 1, 0)],
}


class Pieces(NamedTuple):
    """Shapes of equally many points: their names, the points, and which of them are neighbours."""

    names: tuple[str, ...]
    pos: Float[Tensor, "shapes points 3"]
    adjacency: Bool[Tensor, "shapes points points"]


def tetris() -> Pieces:
    """The eight pieces of four unit cells in space; the first two are mirror images, and equal to no rotation.

    Cells that touch (distance 1) are neighbours. float64, in units of a cell; the label of a piece is its place.
    Source: arXiv:1802.08219, section 5.1.
    """
    pos = torch.tensor(list(_PIECES.values()), dtype=torch.float64)
    distance = torch.cdist(pos, pos)
    return Pieces(tuple(_PIECES), pos, (distance > 0.9) & (distance < 1.1))
