"""Radial functions as cubic splines: linear in their weights, cheap however many knots, and able to copy a network."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..maps.constants import Constants
from ..maps.own_derivatives import quick
from .radial import _at_least, _cutoff

# The squares of four neighbours add up to this on the mean: weights of deviation _SPREAD give values of variance one.
_SPREAD = (151 / 315) ** -0.5


class SplineRadial(nn.Module):
    """n_out uniform cubic splines of a distance on [0, cutoff], times an envelope: Σ_b w_b B_b(r) u(r).

    n_knots: intervals of equal length; `weight` [n_knots + 3, n_out] starts normal, of values of order one. envelope: a
    function of r that ends at the cutoff (Å), such as `PolynomialEnvelope`; without one the splines keep their last
    value beyond it. At each distance four rows count, so time and memory do not depend on the number of knots.
    Raises ValueError for sizes below 1 or cutoff <= 0. Source: arXiv:2509.08418.
    """

    def __init__(
        self,
        n_knots: int,
        cutoff: float,
        n_out: int,
        envelope: Callable[[Tensor], Tensor] | None = None,
        *,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.cutoff, self.n_knots = _cutoff(self, cutoff), _at_least(self, "n_knots", n_knots, 1)
        self.envelope = envelope
        self.constants = Constants(_cubics(), any_dtype=True)
        n_out = _at_least(self, "n_out", n_out, 1)
        self.weight = nn.Parameter(torch.randn(n_knots + 3, n_out, generator=generator) * _SPREAD)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.n_knots} intervals up to {self.cutoff:g} Å, {self.weight.shape[1]} functions"

    def forward(self, r: Float[Tensor, " edges"]) -> Float[Tensor, "edges n_out"]:
        """r: Å."""
        first, t = self.place(r)
        cubics, slope = self.constants(r)
        if torch.compiler.is_compiling():
            # torch 2.13 compiles an autograd function inside torch.func.grad to wrong second derivatives, silently
            y = _basis(first, _taps(cubics, t), len(self.weight)) @ self.weight
        else:
            y = _Spline.apply(t, self.weight, first, cubics, slope)
        return y if self.envelope is None else y * self.envelope(r)[:, None]

    def place(self, r: Float[Tensor, " edges"]) -> tuple[Int[Tensor, " edges"], Float[Tensor, " edges"]]:
        """The first of the four splines at each distance, and how far it is into the interval, in intervals."""
        x = (r * (self.n_knots / self.cutoff)).clamp(max=self.n_knots)
        first = x.detach().floor().clamp(0, self.n_knots - 1)
        return first.long(), x - first

    def basis(self, r: Float[Tensor, " edges"]) -> Float[Tensor, "edges n_knots+3"]:
        """All B-splines at each distance, a partition of one, without envelope."""
        first, t = self.place(r)
        return _basis(first, _taps(self.constants(r)[0], t), len(self.weight))


def _cubics() -> tuple[np.ndarray, np.ndarray]:
    """The four cubics of t in [0, 1] that meet in every interval, a row of powers of t each, and d/dt of powers."""
    return np.array([[1, -3, 3, -1], [4, 0, -6, 3], [1, 3, 3, -3], [0, 0, 0, 1]]) / 6, np.diag([1.0, 2.0, 3.0], -1)


def _taps(cubics: Tensor, t: Tensor) -> Float[Tensor, "edges 4"]:
    """The four cubics at t."""
    return torch.stack([torch.ones_like(t), t, t * t, t * t * t], -1) @ cubics.mT


def _basis(first: Tensor, taps: Tensor, count: int) -> Float[Tensor, "edges count"]:
    where = first[:, None] + torch.arange(4, device=first.device)
    return taps.new_zeros(len(first), count).scatter(1, where, taps)


class _Spline(torch.autograd.Function):
    """(t, weight, first spline, cubics, derivative of powers) -> Σ_b weight_b B_b.

    Its derivative by t is the same with other cubics, so it may be differentiated as often as wanted; no [edges, 4,
    n_out] is made, and no [edges, knots] but for the derivative by the weights.
    """

    @staticmethod
    @quick
    def forward(t, weight, first, cubics, slope):
        where = first[:, None] + torch.arange(4, device=first.device)
        return nn.functional.embedding_bag(where, weight, mode="sum", per_sample_weights=_taps(cubics, t))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g):
        t, weight, first, cubics, slope = ctx.saved_tensors
        by_t = by_weight = None
        if ctx.needs_input_grad[0]:
            by_t = (g * _Spline.apply(t, weight, first, cubics @ slope, slope)).sum(1)
        if ctx.needs_input_grad[1]:
            by_weight = _basis(first, _taps(cubics, t), len(weight)).mT @ g
        return by_t, by_weight, None, None, None


@torch.no_grad()
def splinify(
    radial: Callable[[Float[Tensor, " edges"]], Float[Tensor, "edges n_out"]],
    n_knots: int = 512,
    *,
    cutoff: float,
    envelope: Callable[[Tensor], Tensor] | None = None,
) -> SplineRadial:
    """The least-squares splines of any function of a distance, such as a trained radial network with its envelope.

    Σ_b w_b B_b(r) u(r) ≈ radial(r) on [0, cutoff] (Å), u being `envelope`; the function must be smooth, take float64 on
    the CPU, and vanish as fast as u does. Its error falls like 1/n_knots⁴, that of slopes, and so of forces, like
    1/n_knots³, while time and memory stay. Source: arXiv:2509.08418.
    """
    r = torch.linspace(0, cutoff, 4 * n_knots + 1, dtype=torch.float64)
    wanted = radial(r).double()
    spline = SplineRadial(n_knots, cutoff, wanted.shape[1], envelope).double()
    A = spline.basis(r) if envelope is None else spline.basis(r) * envelope(r)[:, None]
    # The rank is not full where an envelope leaves the last splines nothing: the smallest weights are taken.
    spline.weight.copy_(torch.linalg.lstsq(A, wanted, rcond=1e-13, driver="gelsd").solution)
    return spline
