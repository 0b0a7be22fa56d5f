"""Frames inside a network: one for each layer's latent vectors, or one for each point's neighbourhood."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..groups import Group
from ..reps import Points
from .average import Elements
from .frame_average import FrameAverage
from .pca_frame import PCAFrame
from .point_frame import spatial


class FrameBlock(nn.Module):
    """Any layer on nodes made equivariant on latent vectors, in the frame of all of them.

    The layer maps [batch, n, features] to [batch, n, d·channels]: features are the latent vectors of a node, flattened,
    and d·channels are read as `channels` vectors, turned back and averaged. Each block of a chain has its own frame.
    Under E(d) and SE(d) latents are positions: they shift too. Further arguments go to the layer, repeated for each
    copy. options: those of `PCAFrame`. Raises ValueError for a group without frames or no channels.
    Source: arXiv:2110.03336.
    """

    def __init__(self, layer: nn.Module, channels: int, group: Group, **options: Any):
        super().__init__()
        if not isinstance(channels, int) or channels < 1:
            raise ValueError(f"FrameBlock: channels must be an integer of at least 1, got {channels!r}")
        spatial("FrameBlock", group)
        self.rep_in = self.rep_out = Points(group)
        frame = PCAFrame(group, **options)
        self.average = FrameAverage(_Vectors(layer, channels, group.n), self.rep_in, self.rep_out, frame=frame)

    def forward(self, x: Float[Tensor, "batch n vectors d"], *args: Any) -> Float[Tensor, "batch n channels d"]:
        """Raises ValueError for other shapes, of the input or of what the layer returns."""
        if x.ndim != 4:
            raise ValueError(f"FrameBlock: latent vectors are [batch, n, vectors, d], got {tuple(x.shape)}")
        return self.average(x, *args)


class _Vectors(nn.Module):
    """A layer on flat features, as one on vectors."""

    def __init__(self, layer: nn.Module, channels: int, d: int):
        super().__init__()
        self.layer, self.channels, self.d = layer, channels, d

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        y = self.layer(x.flatten(2), *args)
        if y.shape[:2] != x.shape[:2] or y.shape[2:] != (self.channels * self.d,):
            raise ValueError(
                f"FrameBlock: the layer returns {tuple(y.shape)} for {tuple(x.shape)}, needs {self.channels} vectors "
                f"of {self.d} numbers for each node"
            )
        return y.unflatten(2, (self.channels, self.d))


def local_clouds(x: Float[Tensor, "batch n d"], k: int) -> Float[Tensor, "samples k d"]:
    """Each point's k nearest neighbours, itself first, as a cloud of its own: batch·n samples, in order.

    A model of such clouds in a `FrameAverage` works in the frames that `local_frames` gives. Raises ValueError for k
    outside 1..n.
    """
    if x.ndim != 3 or not 1 <= k <= x.shape[1]:
        raise ValueError(f"local_clouds: k={k} neighbours of points of shape {tuple(x.shape)}; needs 1 <= k <= n")
    apart = torch.cdist(x.detach(), x.detach())
    apart.diagonal(dim1=1, dim2=2).fill_(-1)  # first also among points at the same place
    nearest = apart.topk(k, dim=-1, largest=False).indices
    return x[torch.arange(len(x), device=x.device)[:, None, None], nearest].flatten(0, 1)


def local_frames(x: Float[Tensor, "batch n d"], k: int, group: Group, **options: Any) -> Elements:
    """The frame of each point's k nearest neighbours, itself one of them: `Elements` for batch·n samples, in order.

    options: those of `PCAFrame`. Raises ValueError for k outside 1..n. Source: arXiv:2110.03336.
    """
    return PCAFrame(group, **options)(local_clouds(x, k))
