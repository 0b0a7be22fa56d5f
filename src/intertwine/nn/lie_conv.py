"""Convolutions of images over GL⁺(2), SL(2) and SO(2), and so over the affine group, by weighted samples of the group.

A feature on R² × G is [batch, channels, samples, height, width], one image for each sampled element. Positions are
(x, y), x to the right and y down, in pixels from the centre. Lie Group Decompositions for Equivariant Neural Networks,
arXiv:2310.11366, section 4.
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..groups import SL, SO, Group
from ..groups.decomposition import bases, linear_group, vee
from ..groups.invariant_measure import Samples
from ..groups.matrix_log import log_rotation, polar_values
from ..maps.constants import Constants
from .siren import KernelNet


class _Kernel(nn.Module):
    """What the lift and the convolution share: a kernel on relative coordinates, evaluated on pixels and samples."""

    def __init__(
        self, group: Group, channels: tuple[int, int], kernel_size: int, kernel: nn.Module | None, padding: int
    ):
        super().__init__()
        name = type(self).__name__
        linear = linear_group(group)
        if linear.n != 2:
            raise ValueError(f"{name}: images are planar, {group} acts on R^{linear.n}; give a group of the plane")
        if min(*channels, kernel_size) < 1 or padding < 0:
            raise ValueError(f"{name}: channels {channels}, kernel_size {kernel_size} and padding {padding} do not fit")
        self.group, self.linear = group, linear
        self.in_channels, self.out_channels = channels
        self.kernel_size, self.padding, self.kernel = kernel_size, padding, kernel
        centre = (2 * np.arange(kernel_size) + 1) / kernel_size - 1
        pixels = np.stack(np.meshgrid(centre, centre, indexing="xy"), -1)
        self.constants = Constants([pixels, *bases(group)])

    def _pixels(self, out: Samples, dtype: torch.dtype) -> Tensor:
        """Pixels of the kernel as every output element sees them, g⁻¹u: [out, K, K, 2]."""
        pixels = self.constants.tensors()[0]
        return torch.einsum("oij,abj->oabi", out.g_inv.to(pixels), pixels).to(dtype)

    def _mask(self, coordinates: Tensor) -> Tensor:
        """Where the kernel lives: a disk where volume is kept; else a smooth ball in all coordinates (section 4.2)."""
        if isinstance(self.linear, SL | SO):
            return (torch.linalg.vector_norm(coordinates[..., :2], dim=-1) <= 1 + 1e-5).to(coordinates.dtype)
        return torch.sigmoid(2 * (1 - torch.linalg.vector_norm(coordinates, dim=-1)))

    def _check(self, samples: Samples) -> None:
        # A look at values, which a compiled graph has no place for.
        if torch.compiler.is_compiling() or not isinstance(self.linear, SL | SO):
            return
        if not self.linear.contains(samples.g, 1e-6 if samples.g.dtype == torch.float64 else 1e-3):
            raise ValueError(f"{type(self).__name__}: built for {self.linear}, the samples do not belong to it")


class LieLift(_Kernel):
    """From an image to an image for each sampled element: (f ⋆ k)(x, g) = |det g|⁻¹ ∫ k(g⁻¹(x̃ − x)) f(x̃) dx̃.

    `group`: GLPlus(2), SL(2), SO(2), or the groups Affine(2), SE(2) with these linear parts. `kernel`: a module from
    coordinates [..., 2] to [..., out_channels · in_channels], a `KernelNet` if None. Units of x: half a kernel.
    Raises ValueError for another group, and in `forward` where image and layer do not fit.
    arXiv:2310.11366, equation 16.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        group: Group,
        *,
        kernel: nn.Module | None = None,
        padding: int = 0,
        generator: torch.Generator | None = None,
    ):
        super().__init__(group, (in_channels, out_channels), kernel_size, kernel, padding)
        if kernel is None:
            self.kernel = KernelNet(2, in_channels * out_channels, in_channels * kernel_size**2, generator=generator)

    def forward(self, x: Float[Tensor, "batch c_in h w"], samples: Samples) -> Float[Tensor, "batch c_out samples h w"]:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"LieLift: needs [batch, {self.in_channels}, h, w], got {tuple(x.shape)}")
        self._check(samples)
        u = self._pixels(samples, x.dtype)
        values = self.kernel(u) * self._mask(u)[..., None]
        volume = torch.linalg.det(samples.g_inv).to(x.dtype)
        values = (values * volume[:, None, None, None]).unflatten(-1, (self.out_channels, self.in_channels))
        weight = values.permute(3, 0, 4, 1, 2).flatten(0, 1)
        y = nn.functional.conv2d(x, weight, padding=self.padding)
        return y.unflatten(1, (self.out_channels, len(u)))


class LieConv(_Kernel):
    """(f ⋆ k)(x, g) = ∫∫ k(g⁻¹(x̃ − x), ξ⁻¹(g⁻¹g̃)) f(x̃, g̃) dx̃ dμ(g̃) / |det g̃|, over the samples g̃ of the input.

    Arguments as for `LieLift`; the kernel takes [..., 2 + dim G], positions first. `padding`: half a kernel if None.
    Raises ValueError as `LieLift` does. arXiv:2310.11366, equation 17.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        group: Group,
        *,
        kernel: nn.Module | None = None,
        padding: int | None = None,
        generator: torch.Generator | None = None,
    ):
        padding = kernel_size // 2 if padding is None else padding
        super().__init__(group, (in_channels, out_channels), kernel_size, kernel, padding)
        if kernel is None:
            dim = 2 + sum(map(len, bases(group)))
            points = in_channels * kernel_size**2
            self.kernel = KernelNet(dim, in_channels * out_channels, points, generator=generator)

    def forward(
        self, x: Float[Tensor, "batch c_in n_in h w"], samples: Samples, samples_out: Samples | None = None
    ) -> Float[Tensor, "batch c_out n_out h w"]:
        """`samples`: where the input lives; `samples_out`: where the output lives, the same if None."""
        out = samples if samples_out is None else samples_out
        if x.ndim != 5 or x.shape[1:3] != (self.in_channels, len(samples.g)):
            raise ValueError(
                f"LieConv: needs [batch, {self.in_channels}, {len(samples.g)}, h, w] for {len(samples.g)} samples, "
                f"got {tuple(x.shape)}"
            )
        self._check(samples)
        self._check(out)
        n_out, n_in, size = len(out.g), len(samples.g), self.kernel_size
        weight = self._weight(samples, out, x.dtype).permute(4, 0, 5, 1, 2, 3)
        weight = weight.reshape(self.out_channels * n_out, self.in_channels * n_in, size, size)
        x = x.flatten(1, 2)
        if torch.compiler.is_compiling():
            # inductor cannot choose the layout of a convolution of a view with unknown sizes; so it is chosen here.
            x = x.contiguous(memory_format=torch.channels_last)
        y = nn.functional.conv2d(x, weight, padding=self.padding)
        return y.unflatten(1, (self.out_channels, n_out))

    def _weight(self, samples: Samples, out: Samples, dtype: torch.dtype) -> Tensor:
        """The kernel between all pairs of elements and pixels, with the measure: [out, in, K, K, c_out, c_in]."""
        _, _, X, R = polar_values(out.g_inv[:, None] @ samples.g)
        relative = vee(X, log_rotation(R), *(basis.to(X) for basis in self.constants.tensors()[1:])).to(dtype)
        u = self._pixels(out, dtype)
        n_out, n_in, K = len(out.g), len(samples.g), self.kernel_size
        pairs = (
            u[:, None].expand(n_out, n_in, K, K, 2),
            relative[:, :, None, None].expand(n_out, n_in, K, K, relative.shape[-1]),
        )
        v = torch.cat(pairs, -1)
        measure = samples.log_weight.exp() * torch.linalg.det(samples.g_inv) / n_in
        scale = self._mask(v) * measure.to(dtype)[:, None, None]
        return (self.kernel(v) * scale[..., None]).unflatten(-1, (self.out_channels, self.in_channels))


class LieProject(nn.Module):
    """Away from the group: "integral", ∫ f(x, g) dμ(g), an image; or "max", the largest value over x and g, a vector.

    Raises ValueError for another word, and in `forward` where features and samples do not fit.
    """

    def __init__(self, reduce: Literal["integral", "max"] = "max"):
        super().__init__()
        if reduce not in ("integral", "max"):
            raise ValueError(f"LieProject: reduce must be 'integral' or 'max', got {reduce!r}")
        self.reduce = reduce

    def forward(self, x: Float[Tensor, "batch channels samples h w"], samples: Samples) -> Tensor:
        if x.ndim != 5 or x.shape[2] != len(samples.g):
            raise ValueError(f"LieProject: {len(samples.g)} samples do not fit features {tuple(x.shape)}")
        if self.reduce == "max":
            return x.amax((2, 3, 4))
        return torch.einsum("bcnhw,n->bchw", x, samples.log_weight.exp().to(x.dtype) / len(samples.g))
