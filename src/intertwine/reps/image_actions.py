"""Actions on images: a warp moves what an image shows and leaves the grid of pixels where it is."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..groups import Cyclic, Dihedral, Group
from ..groups.group import Element
from ..groups.matrix import E
from .action import Action, check_batch


class Images(Action):
    """Images of the plane, Float[Tensor, "*batch channels height width"]: (g·f)(x) = f(g⁻¹x), zero outside the image.

    Positions are (x, y), x to the right and y down, from the centre, in units of half the height. `group` moves points
    of the plane: SO(2), O(2), SL(2), GLPlus(2), or SE(2), E(2), Affine(2) with translations in the same unit; Cyclic(n)
    turns by 2π/n, Dihedral(n) also mirrors y. `mode` interpolates between pixels, "bilinear" or "bicubic";
    (gh)·f = g·(h·f) holds as far as that goes. For n = 1 and 2, and for n = 4 on square images, pixels change places
    and no bit of them changes.
    Raises ValueError for a group of another space or another mode.
    """

    def __init__(self, group: Group, mode: str = "bilinear"):
        polygon = isinstance(group, (Cyclic, Dihedral))
        if not polygon and (getattr(group, "n", None) != 2 or getattr(group, "element_ndim", None) != 2):
            raise ValueError(f"Images: {group} does not move the plane; give SO(2), SL(2), Affine(2) or similar")
        if mode not in ("bilinear", "bicubic"):
            raise ValueError(f"Images({group}): mode must be 'bilinear' or 'bicubic', got {mode!r}")
        self.group, self.mode = group, mode

    def act(
        self, g: Element, x: Float[Tensor, "*batch channels height width"]
    ) -> Float[Tensor, "*batch channels height width"]:
        """Warp every image. Raises ValueError on missing axes, a wrong batch, or pixels that are no floats."""
        if x.ndim < 3 or not x.is_floating_point():
            raise ValueError(
                f"{self}: needs real images [..., channels, height, width], got {x.dtype} {tuple(x.shape)}"
            )
        batch = self.group.batch_shape(g)
        check_batch(self, batch, x.shape[:-3])
        inverse = self.group.inverse(g)
        if self._exact(x):
            return _rearranged(_turns(self.group, inverse).to(x.device), x)
        if isinstance(self.group, E):
            A, t = self.group.linear_part(inverse), self.group.translation_part(inverse)
        else:
            A = _turns(self.group, inverse) if isinstance(self.group, (Cyclic, Dihedral)) else inverse
            t = torch.zeros_like(A[..., 0])
        # torch measures x in half widths, the action in half heights.
        channels, height, width = x.shape[-3:]
        unit = torch.tensor([width / height, 1.0], dtype=A.dtype, device=A.device)
        theta = torch.cat([A * unit / unit[:, None], (t / unit)[..., None]], -1).to(x)
        theta = theta.reshape(*batch, *[1] * (x.ndim - 3 - len(batch)), 2, 3).expand(*x.shape[:-3], 2, 3)
        flat = x.reshape(-1, channels, height, width)
        grid = nn.functional.affine_grid(theta.reshape(-1, 2, 3), list(flat.shape), align_corners=False)
        return nn.functional.grid_sample(flat, grid, mode=self.mode, align_corners=False).reshape(x.shape)

    def _exact(self, x: Tensor) -> bool:
        """Whether every element sends pixels to pixels."""
        square = x.shape[-1] == x.shape[-2]
        return isinstance(self.group, (Cyclic, Dihedral)) and self.group.n in ((1, 2, 4) if square else (1, 2))

    def __repr__(self) -> str:
        return f"Images({self.group})" if self.mode == "bilinear" else f"Images({self.group}, mode={self.mode!r})"


def _rearranged(A: Float[Tensor, "*batch 2 2"], x: Tensor) -> Tensor:
    """The image whose pixel at p is that of x at A p, for matrices A that send pixels to pixels."""
    height, width = x.shape[-2:]
    px = 2 * torch.arange(width, device=x.device).expand(height, width) - (width - 1)  # in half pixels
    py = 2 * torch.arange(height, device=x.device)[:, None].expand(height, width) - (height - 1)
    moved = A.round().to(torch.int64)[..., None, None]
    column = (moved[..., 0, 0, :, :] * px + moved[..., 0, 1, :, :] * py + width - 1) // 2
    row = (moved[..., 1, 0, :, :] * px + moved[..., 1, 1, :, :] * py + height - 1) // 2
    source = (row * width + column).flatten(-2)
    source = source.reshape(*source.shape[:-1], *[1] * (x.ndim - 1 - source.ndim), height * width)
    return x.flatten(-2).gather(-1, source.expand(*x.shape[:-2], -1)).reshape(x.shape)


def _turns(group: Cyclic | Dihedral, g: Tensor) -> Float[Tensor, "*batch 2 2"]:
    """The symmetries of an n-gon as matrices on the plane, float64: r turns by 2π/n, f mirrors y."""
    flip, step = (torch.zeros_like(g), g) if isinstance(group, Cyclic) else g.unbind(-1)
    angles = [2 * math.pi * k / group.n for k in range(group.n)]
    rows = [[[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]] for a in angles]
    turns = torch.tensor(rows, dtype=torch.float64)
    mirrors = turns * torch.tensor([1.0, -1.0], dtype=torch.float64)
    return torch.stack([turns, mirrors]).to(g.device)[flip, step]
