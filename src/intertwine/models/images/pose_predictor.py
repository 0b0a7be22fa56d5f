"""Where something is along the axes of an image, by a small network whose answer shifts with the image."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad


@dataclass
class Pose:
    """What a predictor found in each image, by the names of the axes.

    at: positions, in half lengths of the axis; heat: the weights of the bins they are the centroid of, if any;
    degenerate: whether an angle is undetermined, because these weights have no direction; it is then 0.
    """

    at: dict[str, Float[Tensor, " batch"]]
    heat: dict[str, Float[Tensor, "batch bins"]]
    degenerate: Bool[Tensor, " batch"]


class PosePredictor(nn.Module):
    """Two convolutions, the maximum over the other axis, a heat map along the axis asked for, and its centroid.

    `outputs`: "u", along the last axis of an image [batch, in_channels, nv, nu], "v", along the one before, or both.
    `periodic`: which of (u, v) close up; they are padded circularly, and their centroid is an angle, in units of π.
    Every answer has a learned offset tanh(b), that says which pose is called 0.

    Shifting an image by j bins adds 2j/n to a periodic answer, to rounding, where j is a multiple of
    strides[0]·strides[1]; in between to the aliasing of the strides (at 32 bins and a stride of 2: 0.01 rad for a flat
    heat map, 0.1 for a sharp one). Along an open axis of n bins it adds 2j/(n - 1) as far as the heat map is sharp and
    nothing leaves or enters at the ends: the share that a flat one leaves to the background does not move.
    Where the heat map has no direction (of a blank image, or one that looks the same turned by 180°) the angle is 0,
    with no gradient.

    Raises ValueError for sizes below one, an even kernel, no or other outputs; in `forward` for a periodic axis that is
    no multiple of the strides, or shorter than the padding. Source: arXiv:1901.11399, section 3.2.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        kernel: int = 5,
        strides: tuple[int, int] = (2, 2),
        periodic: tuple[bool, bool] = (False, False),
        outputs: Collection[str] = ("u", "v"),
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if min(in_channels, width, kernel, *strides) < 1 or kernel % 2 == 0:
            raise ValueError(
                "PosePredictor: channels, width and strides must be at least 1 and the kernel odd, got "
                f"{in_channels}, {width}, {strides} and {kernel}"
            )
        if not outputs or not set(outputs) <= {"u", "v"}:
            raise ValueError(f"PosePredictor: outputs must be 'u', 'v' or both, got {outputs!r}")
        self.kernel, self.strides, self.periodic = kernel, tuple(strides), tuple(periodic)
        self.outputs = tuple(axis for axis in ("u", "v") if axis in outputs)
        first, second = strides
        self.convolutions = nn.ModuleList(
            (
                nn.Conv2d(in_channels, width, kernel, first, bias=False),
                nn.Conv2d(width, width, kernel, second, bias=False),
            )
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in strides)
        self.heads = nn.ModuleDict({axis: nn.Conv1d(width, 1, kernel, bias=False) for axis in self.outputs})
        self.offsets = nn.ParameterDict({axis: nn.Parameter(torch.zeros(())) for axis in self.outputs})
        for layer in (*self.convolutions, *self.heads.values()):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)

    def forward(self, x: Float[Tensor, "batch channels nv nu"]) -> Pose:
        """The position along each axis."""
        sizes = {"v": x.shape[2], "u": x.shape[3]}
        wraps = dict(zip("uv", self.periodic))
        for axis, n in sizes.items():
            if wraps[axis] and (n % math.prod(self.strides) or n // self.strides[0] < self.kernel // 2):
                raise ValueError(
                    f"PosePredictor: the periodic axis {axis} has {n} bins; it needs a multiple of the strides "
                    f"{self.strides}, and {self.kernel // 2} bins or more behind the first"
                )
        for convolution, norm in zip(self.convolutions, self.norms):
            x = _padded(_padded(x, 2, self.kernel // 2, wraps["v"]), 3, self.kernel // 2, wraps["u"])
            x = leaky_relu(norm(convolution(x)), 0.1)
        pose = Pose({}, {}, torch.zeros(len(x), dtype=torch.bool, device=x.device))
        for axis in self.outputs:
            line = _padded(x.amax(2 if axis == "u" else 3), 2, self.kernel // 2, wraps[axis])
            heat = self.heads[axis](line)[:, 0].softmax(-1)
            if wraps[axis]:
                at, lost = _direction(heat)
                pose.degenerate = pose.degenerate | lost
            else:
                at = _centroid(heat, 2 * math.prod(self.strides) / max(sizes[axis] - 1, 1))
            pose.at[axis], pose.heat[axis] = at + self.offsets[axis].tanh(), heat
        return pose


def _centroid(heat: Float[Tensor, "batch bins"], step: float) -> Float[Tensor, " batch"]:
    """The mean position, from the middle of the bins."""
    bins = heat.shape[1]
    return heat @ ((torch.arange(bins, device=heat.device, dtype=heat.dtype) - (bins - 1) / 2) * step)


def _direction(heat: Float[Tensor, "batch bins"]) -> tuple[Float[Tensor, " batch"], Bool[Tensor, " batch"]]:
    """The angle of the mean of unit vectors, in units of π from the middle bin, and whether there is none."""
    bins = heat.shape[1]
    angle = torch.arange(bins, device=heat.device, dtype=heat.dtype) * (2 * math.pi / bins) - math.pi
    x, y = heat @ angle.cos(), heat @ angle.sin()
    lost = x.square() + y.square() < torch.finfo(heat.dtype).eps  # below, atan2 would give rounding errors as angles
    return torch.atan2(torch.where(lost, 0, y), torch.where(lost, 1, x)) / math.pi, lost


def _padded(x: Tensor, axis: int, size: int, circular: bool) -> Tensor:
    """`size` more entries at both ends of one axis: those of the other end, or zeros."""
    if circular:
        return torch.cat([x.narrow(axis, x.shape[axis] - size, size), x, x.narrow(axis, 0, size)], axis)
    return pad(x, [0, 0] * (x.ndim - 1 - axis) + [size, size])
