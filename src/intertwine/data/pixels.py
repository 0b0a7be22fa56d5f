"""Images as points: where the ink is, and how much; what a rotation then does to a picture is exact."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

_ROUNDS = 10  # of moving centres to the means of their pixels


class Superpixels(NamedTuple):
    """The points of many images in a row; `SE(2)` moves `pos`, and leaves the rest alone."""

    pos: Float[Tensor, "points 2"]
    intensity: Float[Tensor, "points 1"]
    batch: Int[Tensor, " points"]


def superpixels(images: Float[Tensor, "images height width"], count: int = 64) -> Superpixels:
    """At most `count` points an image, each standing for the pixels next to it, weighted by their intensity.

    pos: (x to the right, y up) in pixels from the centre of the image, the mean of the point's pixels; intensity: their
    sum. Pixels of intensity 0 belong to no point. An image of no more than `count` pixels keeps every pixel; in a
    larger one, points start as the centres of blocks and move by k-means. The order within an image is that of rows.
    Raises ValueError for negative intensities, other shapes, or count < 1.
    """
    if images.ndim != 3 or count < 1 or (images < 0).any():
        raise ValueError(
            f"superpixels: needs images [images, height, width] of intensities 0 or more, and count of at least 1, got "
            f"shape {tuple(images.shape)}, least value {images.min().item() if images.numel() else 0:.3g}, {count=}"
        )
    n, height, width = images.shape
    y, x = torch.meshgrid(
        (height - 1) / 2 - torch.arange(height, dtype=images.dtype, device=images.device),
        torch.arange(width, dtype=images.dtype, device=images.device) - (width - 1) / 2,
        indexing="ij",
    )
    pixels, weight = torch.stack([x, y], -1).reshape(-1, 2), images.flatten(1)
    if height * width <= count:
        kept = weight > 0
        return Superpixels(pixels.expand(n, -1, -1)[kept], weight[kept][:, None], kept.nonzero()[:, 0])
    rows = max(1, min(height, round(math.sqrt(count * height / width))))
    columns = max(1, min(width, count // rows))
    centres = torch.cartesian_prod(
        height / 2 - height * (torch.arange(rows, dtype=images.dtype, device=images.device) + 0.5) / rows,
        width * (torch.arange(columns, dtype=images.dtype, device=images.device) + 0.5) / columns - width / 2,
    ).flip(-1)
    centres = centres.expand(n, -1, -1)
    for _ in range(_ROUNDS):
        own = torch.nn.functional.one_hot(torch.cdist(pixels, centres).argmin(-1), centres.shape[1]).to(weight)
        mass = torch.einsum("np,npk->nk", weight, own)
        mean = torch.einsum("np,npk,pd->nkd", weight, own, pixels) / mass.clamp(min=1e-30)[..., None]
        centres = torch.where(mass[..., None] > 0, mean, centres)
    kept = mass > 0
    return Superpixels(centres[kept], mass[kept][:, None], kept.nonzero()[:, 0])
