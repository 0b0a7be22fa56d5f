"""Projective warps of images: they compose as matrices, so that an image is resampled once however many there are."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ...symmetrize.coordinates import canonical_coordinates, ranges
from .pose_predictor import Pose

HORIZON, OUTSIDE = 1e-6, 4.0
Range = tuple[float, float]


@dataclass
class Warp:
    """The projective map T that a transformer found for each image, and the pose of each stage that it is made of.

    The image in its canonical pose is p ↦ I(T p), which is T⁻¹ applied to the image. Positions are (x, y), x to the
    right and y down, from the centre, in units of half the height.
    """

    matrix: Float[Tensor, "batch 3 3"]
    poses: list[Pose]

    @property
    def degenerate(self) -> Bool[Tensor, " batch"]:
        """Images in which some stage found no direction, as in a blank one; it took the angle 0."""
        return torch.stack([pose.degenerate for pose in self.poses]).any(0)


def projective(matrix: Float[Tensor, "batch 3 3"], points: Float[Tensor, "*rows 2"]) -> Float[Tensor, "batch *rows 2"]:
    """(x, y) ↦ (X, Y)/w, where (X, Y, w) = T (x, y, 1).

    A point with |w| < 1e-6 goes to infinity: it gets a place outside every image, (4, 4), and no gradient.
    """
    flat = points.reshape(1, -1, 2).mT.expand(len(matrix), -1, -1)
    moved = torch.baddbmm(matrix[..., 2:], matrix[..., :2], flat)  # X, Y and w as rows: half the time of columns
    lost = moved[:, 2:].abs() < HORIZON
    found = torch.where(lost, OUTSIDE, moved[:, :2]) / torch.where(lost, 1.0, moved[:, 2:])
    return found.mT.reshape(len(matrix), *points.shape)


def look(
    images: Float[Tensor, "batch channels height width"],
    points: Float[Tensor, "nv nu 2"],
    matrix: Float[Tensor, "batch 3 3"] | None = None,
) -> Float[Tensor, "batch channels nv nu"]:
    """What images show at the points, or at T·points: bilinear, zero outside the image, one resampling."""
    height, width = images.shape[-2:]
    places = points.expand(len(images), *points.shape) if matrix is None else projective(matrix, points)
    if height != width:  # torch measures x in half widths
        places = torch.stack([places[..., 0] * (height / width), places[..., 1]], -1)
    return nn.functional.grid_sample(images, places, align_corners=False)


def places(
    images: Tensor, coords: str, size: tuple[int, int], ulim: Range | None = None, vlim: Range | None = None
) -> Float[Tensor, "nv nu 2"]:
    """Canonical coordinates for images of this shape; "identity" covers a wide image to its sides."""
    aspect = images.shape[-1] / images.shape[-2]
    if coords == "identity" and ulim is None:
        low, high = ranges(coords, size)[0]
        ulim = (low * aspect, high * aspect)
    if torch.compiler.is_compiling():
        return canonical_coordinates(coords, size, ulim=ulim, vlim=vlim, dtype=torch.float64).to(images)
    return torch.tensor(_cached(coords, size, ulim, vlim), dtype=images.dtype, device=images.device)


@lru_cache(maxsize=64)
def _cached(coords: str, size: tuple[int, int], ulim: Range | None, vlim: Range | None) -> np.ndarray:
    return canonical_coordinates(coords, size, ulim=ulim, vlim=vlim, dtype=torch.float64).numpy()
