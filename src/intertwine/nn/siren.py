"""A small network of sines that turns coordinates into the values of a convolution kernel."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class KernelNet(nn.Module):
    """Kernel values at any coordinates: linear maps with sin(w0 ·) between them (SIREN, arXiv:2006.09661).

    `points`: entries of a kernel that are added up, such as channels in × pixels; it sets the scale of the output, so
    that unit features stay unit features. Raises ValueError for sizes below one.
    """

    def __init__(
        self,
        coordinates: int,
        values: int,
        points: int,
        *,
        hidden: int = 60,
        layers: int = 2,
        w0: float = 10.0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if min(coordinates, values, points, hidden) < 1 or layers < 0:
            raise ValueError(f"KernelNet: sizes must be positive, got {(coordinates, values, points, hidden, layers)}")
        self.w0 = w0
        widths = [coordinates, *[hidden] * (layers + 1), values]
        bounds = [1 / coordinates, *[math.sqrt(6 / hidden) / w0] * layers, math.sqrt(6 / hidden / points)]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out, bound in zip(widths, widths[1:], bounds):
            uniform = torch.rand(fan_out, fan_in, generator=generator)
            self.weights.append(nn.Parameter((2 * uniform - 1) * bound))
            self.biases.append(nn.Parameter(torch.zeros(fan_out)))

    def forward(self, u: Float[Tensor, "*points coordinates"]) -> Float[Tensor, "*points values"]:
        for weight, bias in zip(list(self.weights)[:-1], list(self.biases)[:-1]):
            u = torch.sin(self.w0 * nn.functional.linear(u, weight, bias))
        return nn.functional.linear(u, self.weights[-1], self.biases[-1])
