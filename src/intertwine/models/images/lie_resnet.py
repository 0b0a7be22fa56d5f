"""Images classified by a residual network of convolutions over a sampled Lie group, such as all affine maps."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, max_pool2d

from ...groups import Group
from ...groups.decomposition import linear_group
from ...groups.invariant_measure import Samples, sample_invariant
from ...nn.lie_conv import LieConv, LieLift, LieProject
from ...reps.data_actions import Invariant
from ...reps.image_actions import Images


class LieResNet(nn.Module):
    """Lift to R² × G, residual blocks of two group convolutions, one more, the maximum over x and g, a classifier.

    `group`: GLPlus(2), SL(2), SO(2), or Affine(2), SE(2); the layers have the translations anyway, so a group with
    them differs in what the model declares. `samples` elements of deviation `sigma` are drawn anew in every forward,
    also in evaluation. So the output is noisy, and invariant as far as the samples reach; exactly where they are a
    group that keeps the pixels (SO(2) with four samples: quarter turns). Give `samples` or `generator` to `forward` to
    repeat an output; with `samples` it compiles whole.
    `rotations`: "equispaced", as published, has the same angles in every draw: turns between them are not covered.
    "haar" covers all, on average over draws, and is noisier.
    `measure`: "proposal" integrates against the distribution of the samples, as published: bounded weights, and moving
    a sample changes its weight. "haar" uses self-normalised Haar weights: the invariant integral, and noisier.
    Features keep their list of samples through the blocks, because a residual adds what lives in one place; the last
    convolution goes to a second list.

    Raises ValueError for a group of another space, sizes below one, sigma ≤ 0 or an even kernel_size, and in `forward`
    for an image that is too small: (side − kernel_size + 1) / 2^blocks must be at least kernel_size.
    Lie Group Decompositions for Equivariant Neural Networks, arXiv:2310.11366, section 5.
    """

    def __init__(
        self,
        group: Group,
        *,
        in_channels: int = 1,
        classes: int = 10,
        width: int = 40,
        blocks: int = 1,
        kernel_size: int = 5,
        samples: int = 10,
        sigma: float = math.sqrt(0.1),
        rotations: Literal["equispaced", "haar"] = "equispaced",
        measure: Literal["proposal", "haar"] = "proposal",
        head: int = 256,
        dropout: float = 0.3,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        sizes = {"classes": classes, "width": width, "blocks": blocks, "samples": samples, "head": head}
        if min(sizes.values()) < 1 or not sigma > 0:
            raise ValueError(f"LieResNet: sizes and sigma must be positive, got {sizes} and sigma {sigma}")
        if kernel_size % 2 == 0:
            raise ValueError(
                f"LieResNet: kernel_size {kernel_size} is even; a residual needs an odd one, which keeps sizes"
            )
        if measure not in ("proposal", "haar") or rotations not in ("equispaced", "haar"):
            raise ValueError(
                "LieResNet: measure must be 'proposal' or 'haar' and rotations 'equispaced' or 'haar', "
                f"got {measure!r} and {rotations!r}"
            )
        self.rep_in, self.rep_out = Images(group), Invariant(group)
        self.group, self.samples, self.sigma, self.measure = linear_group(group), samples, sigma, measure
        self.kernel_size, self.rotations = kernel_size, rotations
        options = {"kernel_size": kernel_size, "group": self.group, "generator": generator}
        self.lift = LieLift(in_channels, width, **options)
        self.blocks = nn.ModuleList(_Block(width, options) for _ in range(blocks))
        self.last = LieConv(width, width, padding=0, **options)
        self.project = LieProject("max")
        self.head = nn.Sequential(
            *(nn.Linear(width, head, bias=False), nn.LayerNorm(head), nn.GELU()),
            *(nn.Dropout(dropout), nn.Linear(head, classes)),
        )
        for layer in (self.head[0], self.head[-1]):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(self.head[-1].bias)

    def draw(
        self, *, generator: torch.Generator | None = None, device: torch.device | str = "cpu"
    ) -> tuple[Samples, Samples]:
        """Elements for the lift and the blocks, and for the last convolution; float64."""
        options = {"rotations": self.rotations, "self_normalised": True, "generator": generator, "device": device}
        drawn = tuple(sample_invariant(self.group, self.samples, self.sigma, **options) for _ in range(2))
        if self.measure == "haar":
            return drawn
        return tuple(Samples(s.g, s.g_inv, torch.zeros_like(s.log_weight)) for s in drawn)

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        samples: tuple[Samples, Samples] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """Scores of the classes. `samples`: as `draw` makes them; drawn with `generator`, torch's own if None."""
        least = self.kernel_size * 2 ** len(self.blocks) + self.kernel_size - 1
        if x.ndim != 4 or min(x.shape[-2:]) < least:
            raise ValueError(
                f"LieResNet: needs images [batch, channels, height, width] of at least {least} pixels a side, "
                f"got {tuple(x.shape)}"
            )
        here, there = self.draw(generator=generator, device=x.device) if samples is None else samples
        x = gelu(_norm(self.lift(x, here)))
        for block in self.blocks:
            x = block(x, here)
        x = gelu(_norm(self.last(x, here, there)))
        return self.head(self.project(x, there))


class _Block(nn.Module):
    """Two convolutions and a shortcut, then the maximum over 2 × 2 pixels."""

    def __init__(self, width: int, options: dict):
        super().__init__()
        self.first, self.second = LieConv(width, width, **options), LieConv(width, width, **options)

    def forward(self, x: Tensor, samples: Samples) -> Tensor:
        y = gelu(_norm(self.first(x, samples)))
        y = gelu(_norm(self.second(y, samples)))
        y = _norm(gelu(x + y))
        return gelu(max_pool2d(y.flatten(1, 2), 2).unflatten(1, y.shape[1:3]))


def _norm(x: Tensor) -> Tensor:
    """Mean zero and variance one over channels, samples and pixels; no parameters."""
    return layer_norm(x, x.shape[1:])
