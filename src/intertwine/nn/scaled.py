"""Channel mixing with weights of order one: a matrix is divided by √fan_in in use, so one learning rate fits all."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..maps.kernel import mix_channels


def normal(generator: torch.Generator | None, *shape: int) -> nn.Parameter:
    """A parameter drawn from N(0, 1)."""
    return nn.Parameter(torch.randn(*shape, generator=generator))


def mixed(
    x: Float[Tensor, "*batch channels_in"], weight: Float[Tensor, "channels_in channels_out"], gain: float = 1.0
) -> Float[Tensor, "*batch channels_out"]:
    """gain · x W / √fan_in."""
    return mix_channels(x, weight * (gain * weight.shape[0] ** -0.5))


def mixed_by_species(
    x: Float[Tensor, "atoms components channels_in"],
    weight: Float[Tensor, "species channels_in channels_out"],
    species: Int[Tensor, " atoms"],
) -> Float[Tensor, "atoms components channels_out"]:
    """x_i W[z_i] / √fan_in: a product per atom, no one-hot blow-up."""
    return torch.bmm(x, (weight * weight.shape[1] ** -0.5).index_select(0, species))
