"""Actions on images: a warp moves what an image shows and leaves the grid of pixels where it is."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..groups import Cyclic, Dihedral, Group
from ..groups.group import Element
from ..groups.matrix import E
from .action import Action, check_batch
from .rep import Rep


class Images(Action):
    """Images of the plane, Float[Tensor, "*batch channels height width"]: (g·f)(x) = ρ f(g⁻¹x), zero outside the image.

    Positions are (x, y), x to the right and y down, from the centre, in units of half the height. `group` moves points
    of the plane: SO(2), O(2), SL(2), GLPlus(2), or SE(2), E(2), Affine(2) with translations in the same unit; Cyclic(n)
    turns by 2π/n, Dihedral(n) also mirrors y. `mode` interpolates between pixels, "bilinear" or "bicubic";
    (gh)·f = g·(h·f) holds as far as that goes. For n = 1 and 2, and for n = 4 on square images, pixels change places
    and no bit of them changes.
    channel_rep: the representation ρ of the channels, of `group` or of its linear part; without it they stay as they
    are. The arrows of a flow, (v_x, v_y), need `SO(2).V`, or `Cyclic(4).irrep(1)` and `Dihedral(4).irrep(1, 1)`; to
    turn the grid and not the arrows is the usual mistake.
    Raises ValueError for a group of another space, another mode, or a representation of another group.
    """

    def __init__(self, group: Group, mode: str = "bilinear", channel_rep: Rep | None = None):
        plane_of(self, group)
        if mode not in ("bilinear", "bicubic"):
            raise ValueError(f"Images({group}): mode must be 'bilinear' or 'bicubic', got {mode!r}")
        self.linear = isinstance(group, E) and channel_rep is not None and channel_rep.group == group.linear
        if channel_rep is not None and channel_rep.group != group and not self.linear:
            raise ValueError(
                f"Images: the group is {group}, channel_rep {channel_rep!r} belongs to {channel_rep.group}"
            )
        self.group, self.mode, self.channel_rep = group, mode, channel_rep

    def act(
        self, g: Element, x: Float[Tensor, "*batch channels height width"]
    ) -> Float[Tensor, "*batch channels height width"]:
        """Warp every image. Raises ValueError on missing axes, a wrong batch, or pixels that are no floats."""
        if x.ndim < 3 or not x.is_floating_point():
            raise ValueError(
                f"{self}: needs real images [..., channels, height, width], got {x.dtype} {tuple(x.shape)}"
            )
        check_batch(self, self.group.batch_shape(g), x.shape[:-3])
        if self.channel_rep is not None:
            h = self.group.linear_part(g) if self.linear else g
            x = self.channel_rep(h, x.movedim(-3, -1)).movedim(-1, -3)
        return self._warp(g, x)

    def inside(self, g: Element, x: Float[Tensor, "*batch channels height width"]) -> Float[Tensor, "..."]:
        """Where the pixels of g·x come from inside the image: 1, elsewhere 0, between at the border; one channel."""
        return self._warp(g, torch.ones_like(x[..., :1, :, :]))

    def _warp(self, g: Element, x: Tensor) -> Tensor:
        if x.numel() == 0:
            return x  # torch makes no empty grids
        batch = self.group.batch_shape(g)
        A, t = plane_map(self.group, self.group.inverse(g))
        if self._exact(x):
            return _rearranged(A.to(x.device), x)
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
        mode = "" if self.mode == "bilinear" else f", mode={self.mode!r}"
        channels = "" if self.channel_rep is None else f", channel_rep='{self.channel_rep!r}'"
        return f"Images({self.group}{mode}{channels})"


def plane_of(action: Action, group: Group) -> None:
    """Raise ValueError unless the elements of `group` move the plane."""
    if not isinstance(group, (Cyclic, Dihedral)) and (
        getattr(group, "n", None) != 2 or getattr(group, "element_ndim", None) != 2
    ):
        raise ValueError(
            f"{type(action).__name__}: {group} does not move the plane; give SO(2), SL(2), Affine(2) or similar"
        )


def plane_map(group: Group, g: Element) -> tuple[Float[Tensor, "*batch 2 2"], Float[Tensor, "*batch 2"]]:
    """A and t of p -> A p + t, what g does to the plane of `Images`; no shift for linear groups."""
    if isinstance(group, E):
        return group.linear_part(g), group.translation_part(g)
    A = _turns(group, g) if isinstance(group, (Cyclic, Dihedral)) else g
    return A, torch.zeros_like(A[..., 0])


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
    turns = torch.where((turns - turns.round()).abs() < 1e-15, turns.round(), turns)  # quarter turns hold 0 and ±1
    mirrors = turns * torch.tensor([1.0, -1.0], dtype=torch.float64)
    return torch.stack([turns, mirrors]).to(g.device)[flip, step]
