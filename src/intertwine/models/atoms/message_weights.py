"""Weights of messages as functions of the distance, for all layers at once: linear in a basis, or a network of one."""

import copy
from collections.abc import Callable, Sequence
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intertwine.nn.radial import Bessel
from intertwine.nn.radial_networks import RadialNetworks
from intertwine.nn.scaled import mixed, normal
from intertwine.nn.spline import SplineRadial, splinify

Weights = list[Float[Tensor, "edges paths channels"]]


class LinearWeights(nn.Module):
    """Σ_b w_b φ_b(x) of a distance x in units of the cutoff: cubic splines, or Bessel functions that learn frequencies.

    Without envelope, which may be put on any other factor of the message. shapes: of the weights of each layer.
    """

    linear = True

    def __init__(
        self, kind: str, count: int, shapes: Sequence[tuple[int, ...]], *, generator: torch.Generator | None = None
    ):
        super().__init__()
        self.shapes = tuple(shapes)
        total = sum(map(prod, self.shapes))
        if kind == "spline":
            self.functions: nn.Module = SplineRadial(count, 1.0, total, generator=generator)
        else:
            self.functions = _Bessels(count, total, generator)

    def forward(self, x: Float[Tensor, " edges"], envelope: Float[Tensor, " edges"]) -> Weights:
        """One tensor for each layer; the envelope is left to the caller."""
        parts = self.functions(x).split([prod(shape) for shape in self.shapes], 1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, self.shapes)]


class NetworkWeights(nn.Module):
    """Networks of Bessel functions times the envelope, as in NequIP; it vanishes where the envelope does."""

    linear = False

    def __init__(
        self,
        hidden: Sequence[int],
        count: int,
        shapes: Sequence[tuple[int, ...]],
        *,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.basis = Bessel(1.0, count, trainable=True)
        self.networks = RadialNetworks([count, *hidden], shapes, generator)

    def forward(self, x: Float[Tensor, " edges"], envelope: Float[Tensor, " edges"]) -> Weights:
        """One tensor for each layer, envelope included."""
        return self.networks(self.basis(x) * envelope[:, None])


def splined(
    weights: LinearWeights | NetworkWeights, n_knots: int, envelope: Callable[[Tensor], Tensor]
) -> LinearWeights:
    """Splines fitted to any weights, in float64 on the CPU: a look-up of four rows, whatever a network's widths."""
    exact = copy.deepcopy(weights).to("cpu", torch.float64)
    fitted = splinify(
        lambda x: torch.cat([weight.flatten(1) for weight in exact(x, envelope(x))], 1),
        n_knots,
        cutoff=1.0,
        envelope=None if weights.linear else envelope,
    )
    shapes = weights.shapes if weights.linear else weights.networks.shapes
    found = LinearWeights("spline", n_knots, shapes)
    found.functions, fitted.envelope = fitted, None  # as in all `LinearWeights`, the envelope is left to the caller
    return found


class _Bessels(nn.Module):
    def __init__(self, count: int, n_out: int, generator: torch.Generator | None):
        super().__init__()
        self.basis = Bessel(1.0, count, trainable=True)
        self.weight = normal(generator, count, n_out)

    def forward(self, x: Float[Tensor, " edges"]) -> Float[Tensor, "edges n_out"]:
        return mixed(self.basis(x), self.weight)
