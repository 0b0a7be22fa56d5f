"""Weights of messages from distances: the radial networks of NequIP and MACE, those of all layers at once."""

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .activation import second_moment_constant
from .scaled import mixed, normal


class RadialNetworks(nn.Module):
    """The networks R(r) of all layers at once: they depend on the distance alone, so their products are batched.

    sizes: of the basis and of the hidden layers (SiLU); shapes: of the weights of each layer. No biases: R(r) vanishes
    where the basis does, at the cutoff.
    """

    def __init__(self, sizes: Sequence[int], shapes: Sequence[tuple[int, ...]], generator: torch.Generator | None):
        super().__init__()
        self.shapes, self.gain = tuple(shapes), second_moment_constant(nn.functional.silu)
        self.hidden = nn.ParameterList(normal(generator, len(shapes), a, b) for a, b in itertools.pairwise(sizes))
        self.last = nn.ParameterList(normal(generator, sizes[-1], math.prod(shape)) for shape in shapes)

    def forward(self, basis: Float[Tensor, "edges bessel"]) -> list[Float[Tensor, "edges paths channels"]]:
        """The weights of each layer."""
        x, gain = basis.expand(len(self.shapes), *basis.shape), 1.0
        for matrix in self.hidden:
            x, gain = nn.functional.silu(torch.bmm(x, matrix * (gain * matrix.shape[1] ** -0.5))), self.gain
        out = [mixed(one, last, gain) for one, last in zip(x.unbind(), self.last)]
        return [weight.unflatten(1, shape) for weight, shape in zip(out, self.shapes)]
