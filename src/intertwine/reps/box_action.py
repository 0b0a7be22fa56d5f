"""Boxes around things in an image: their corners move with the image, and a box is drawn around them again."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..groups import Group
from ..groups.group import Element
from .action import Action, check_batch
from .image_actions import plane_map, plane_of


class Boxes(Action):
    """Boxes (x0, y0, x1, y1) in an image that `Images(group)` moves, Float[Tensor, "*batch 4"].

    size: (height, width) of the image in pixels: boxes are in pixels from its upper left corner, x right and y down.
    Without it they are in the coordinates of `Images`: from the centre, in units of half the height.
    All four corners move, and the result is the smallest upright box around them. Four numbers hold no turned box, so
    (gh)·b = g·(h·b) for quarter turns, mirrors, shifts and scalings only. Corners, `box_corners(b)` of Float[Tensor,
    "*batch 4 2"], do: given them, this moves them, exactly for any group, and `box_hull` makes boxes at the end.
    Raises ValueError for a group that does not move the plane, or a size that is none.
    """

    def __init__(self, group: Group, size: tuple[int, int] | None = None):
        plane_of(self, group)
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"Boxes({group}): size must be (height, width) in pixels, got {size!r}")
        self.group, self.size = group, None if size is None else tuple(size)

    def act(self, g: Element, x: Float[Tensor, "*batch 4"] | Float[Tensor, "*batch 4 2"]) -> Tensor:
        """Move boxes, or corners. Raises ValueError on a wrong last axis or batch."""
        turned = x.shape[-1:] == (2,) and x.shape[-2:-1] == (4,)
        if not turned and x.shape[-1:] != (4,):
            raise ValueError(f"{self}: the data {tuple(x.shape)} must be boxes [..., 4] or corners [..., 4, 2]")
        corners = x if turned else box_corners(x)
        check_batch(self, self.group.batch_shape(g), corners.shape[:-2])
        A, t = (part.to(x) for part in plane_map(self.group, g))
        batch, ones = t.shape[:-1], [1] * (corners.ndim - t.ndim)
        A, t = A.reshape(*batch, *ones, 2, 2), t.reshape(*batch, *ones, 2)
        if self.size is not None:
            height, width = self.size
            centre = x.new_tensor([width / 2, height / 2])
            corners, t = corners - centre, t * (height / 2) + centre
        moved = (A @ corners[..., None])[..., 0] + t
        return moved if turned else box_hull(moved)

    def __repr__(self) -> str:
        return f"Boxes({self.group})" if self.size is None else f"Boxes({self.group}, size={self.size})"


def box_corners(boxes: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4 2"]:
    """The corners of upright boxes (x0, y0, x1, y1), in order around each."""
    return boxes[..., [0, 1, 2, 1, 2, 3, 0, 3]].unflatten(-1, (4, 2))


def box_hull(corners: Float[Tensor, "*batch 4 2"]) -> Float[Tensor, "*batch 4"]:
    """The smallest upright boxes (x0, y0, x1, y1) around corners."""
    return torch.cat([corners.amin(-2), corners.amax(-2)], -1)
