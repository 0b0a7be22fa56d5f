"""A span plus parameters: one linear layer that is dense, convolutional, on a graph, tied by orbits or transposed."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..maps import Span
from ..maps.constants import Constants
from ..maps.span import check_features


class SpanLinear(nn.Module):
    """y[t] = Σ_e μ_e x[s(e)] w[π(e)] + bias, on features [..., X, c_in].

    weight: [W, c_in, c_out], drawn with variance 1 / (c_in · mean over outputs of Σ μ²), so that x with independent
    entries of mean 0 and variance 1 gives the same, averaged over outputs. bias: one number for each channel, at first
    zero; it is the same at every point, so it keeps every symmetry of the span. The route of computation is chosen
    once, for 16 samples.
    generator: draws the initial weights (torch's default generator otherwise).
    Raises ValueError for fewer than one channel, and for data that do not fit.
    Source: arXiv:2208.00809.
    """

    def __init__(
        self, span: Span, c_in: int, c_out: int, *, bias: bool = True, generator: torch.Generator | None = None
    ):
        super().__init__()
        if min(c_in, c_out) < 1:
            raise ValueError(f"SpanLinear: at least one channel in and out, got c_in={c_in}, c_out={c_out}")
        self.span = span
        self.weight = nn.Parameter(torch.empty(span.num_weights, c_in, c_out))
        self.bias = nn.Parameter(torch.zeros(c_out)) if bias else None
        self.route = span.route(c_in, c_out)
        self.constants = Constants(self.route.arrays)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights anew and set the bias to zero."""
        device = "cpu" if generator is None else generator.device
        draw = torch.randn(self.weight.shape, generator=generator, dtype=torch.float64, device=device)
        self.weight.copy_(draw / math.sqrt(self.weight.shape[1] * (self.span.mean_square or 1.0)))
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Float[Tensor, "*batch X c_in"]) -> Float[Tensor, "*batch Y c_out"]:
        """The layer on features; raises ValueError for another number of points or channels."""
        check_features(self.span, x, self.weight)
        y = self.route.run(x.reshape(-1, *x.shape[-2:]), self.weight, self.constants.tensors())
        y = y.reshape(*x.shape[:-2], *y.shape[-2:])
        return y if self.bias is None else y + self.bias

    def __repr__(self) -> str:
        return f"SpanLinear({self.span!r}, {self.weight.shape[1]} -> {self.weight.shape[2]}, by {self.route.name})"
