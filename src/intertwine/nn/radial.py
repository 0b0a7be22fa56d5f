"""Functions of a distance: bases that a network reads, and envelopes that end smoothly at a cutoff."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..maps.constants import Constants


def _cutoff(owner: nn.Module, cutoff: float) -> float:
    if not cutoff > 0 or not math.isfinite(cutoff):
        raise ValueError(f"{type(owner).__name__}: cutoff must be positive (Å), got {cutoff}")
    return float(cutoff)


def _at_least(owner: nn.Module, name: str, value: int, least: int) -> int:
    if value < least:
        raise ValueError(f"{type(owner).__name__}: {name} must be at least {least}, got {value}")
    return value


class Bessel(nn.Module):
    """Radial Bessel basis sqrt(2/c) sin(kπr/c) / r, k = 1..count (DimeNet, arXiv:2003.03123, eq. 7).

    cutoff: c in Å; trainable: the frequencies kπ become parameters. Finite at r = 0; orthonormal under r² dr on [0, c];
    zero at c but with a kink: multiply by an envelope. Raises ValueError for cutoff <= 0 or count < 1.
    """

    def __init__(self, cutoff: float, count: int = 8, *, trainable: bool = False):
        super().__init__()
        self.cutoff, self.count = _cutoff(self, cutoff), _at_least(self, "count", count, 1)
        frequencies = math.pi * np.arange(1, count + 1)
        self.trainable = trainable
        if trainable:
            self.frequencies = nn.Parameter(torch.tensor(frequencies, dtype=torch.get_default_dtype()))
        else:
            self._frequencies = Constants([frequencies], any_dtype=True)

    def forward(self, r: Float[Tensor, "*edges"]) -> Float[Tensor, "*edges count"]:
        """r: Å; result in Å^(-3/2)."""
        w = self.frequencies if self.trainable else self._frequencies(r)[0]
        r = r.clamp(min=1e-7 * self.cutoff)  # sinc has no second derivative at zero in torch: NaN would spread
        # sin(wr/c)/r = (w/c) sinc(wr/πc), and sinc is smooth at zero
        return (math.sqrt(2 / self.cutoff) / self.cutoff) * w * torch.sinc(r[..., None] * (w / (math.pi * self.cutoff)))


class Gaussian(nn.Module):
    """exp(-½((r - μ_k)/(width Δ))²), centres μ_k equispaced on [0, cutoff], Δ their spacing.

    cutoff: Å. Raises ValueError for cutoff <= 0, count < 2 or width <= 0.
    """

    def __init__(self, cutoff: float, count: int = 32, *, width: float = 1.0):
        super().__init__()
        self.cutoff, self.count = _cutoff(self, cutoff), _at_least(self, "count", count, 2)
        if not width > 0:
            raise ValueError(f"Gaussian: width must be positive, got {width}")
        self.width = width
        self._centres = Constants([np.linspace(0, self.cutoff, count)], any_dtype=True)

    def forward(self, r: Float[Tensor, "*edges"]) -> Float[Tensor, "*edges count"]:
        """r: Å; result without unit, in (0, 1]."""
        step = self.width * self.cutoff / (self.count - 1)
        return torch.exp(-0.5 * ((r[..., None] - self._centres(r)[0]) / step).square())


class ExpBernstein(nn.Module):
    """Bernstein polynomials in e^(-γr): C(n, k) e^(-γrk) (1 - e^(-γr))^(n-k), k = 0..n, n = count - 1.

    gamma: 1/Å (PhysNet and SpookyNet, arXiv:2105.00304, eq. 8). No cutoff of its own: multiply by an envelope.
    Raises ValueError for count < 1 or gamma <= 0.
    """

    def __init__(self, count: int = 16, *, gamma: float = 0.9448630629184640):
        super().__init__()
        self.count = _at_least(self, "count", count, 1)
        if not gamma > 0:
            raise ValueError(f"ExpBernstein: gamma must be positive (1/Å), got {gamma}")
        self.gamma = gamma
        binomial = np.array([math.comb(count - 1, k) for k in range(count)], dtype=float)
        self._binomial = Constants([binomial], any_dtype=True)

    def forward(self, r: Float[Tensor, "*edges"]) -> Float[Tensor, "*edges count"]:
        """r: Å; result without unit, rows sum to one."""
        u = torch.exp(-self.gamma * r)
        # by multiplication: powers with a tensor as exponent have no second derivative at zero
        rising, falling = [torch.ones_like(u)], [torch.ones_like(u)]
        for _ in range(self.count - 1):
            rising.append(rising[-1] * u)
            falling.append(falling[-1] * (1 - u))
        return self._binomial(r)[0] * torch.stack(rising, -1) * torch.stack(falling[::-1], -1)


class PolynomialEnvelope(nn.Module):
    """1 - (p+1)(p+2)/2 u^p + p(p+2) u^(p+1) - p(p+1)/2 u^(p+2), u = r/cutoff; 0 beyond (arXiv:2003.03123, eq. 8).

    Value and two derivatives vanish at the cutoff (Å). Raises ValueError for cutoff <= 0 or p < 2.
    """

    def __init__(self, cutoff: float, p: int = 6):
        super().__init__()
        self.cutoff, self.p = _cutoff(self, cutoff), _at_least(self, "p", p, 2)

    def forward(self, r: Float[Tensor, "*edges"]) -> Float[Tensor, "*edges"]:
        """r: Å; result in [0, 1]."""
        p = self.p
        u = (r / self.cutoff).clamp(max=1.0)
        inner = (p + 1) * (p + 2) / 2 + u * (-p * (p + 2) + u * (p * (p + 1) / 2))
        return 1 - u**p * inner


class CosineEnvelope(nn.Module):
    """½(cos(πr/cutoff) + 1), and 0 beyond; value and slope vanish at the cutoff (Å). ValueError for cutoff <= 0."""

    def __init__(self, cutoff: float):
        super().__init__()
        self.cutoff = _cutoff(self, cutoff)

    def forward(self, r: Float[Tensor, "*edges"]) -> Float[Tensor, "*edges"]:
        """r: Å; result in [0, 1]."""
        return 0.5 * (torch.cos(math.pi * (r / self.cutoff).clamp(max=1.0)) + 1)


class ExpEnvelope(nn.Module):
    """exp(-r²/((cutoff - r)(cutoff + r))), and 0 beyond: smooth to every order (arXiv:2105.00304, eq. 9).

    The same function as `SmoothBump`, under the name it has in that paper. Raises ValueError for cutoff <= 0.
    """

    def __init__(self, cutoff: float):
        super().__init__()
        self.cutoff = _cutoff(self, cutoff)

    def forward(self, r: Float[Tensor, "*edges"]) -> Float[Tensor, "*edges"]:
        """r: Å; result in [0, 1]."""
        return _bump(r / self.cutoff)


class ExpSwitch(nn.Module):
    """1 up to start·cutoff, then a switch that ends at the cutoff (Å) in fourth order, and 0 beyond (arXiv:2509.08418).

    1 - f(2t)/2 up to the middle of the switch and f(2 - 2t)/2 after it, f(x) = (e^(cx) - 1)/(e^c - 1) x² sin(πx/2), t
    running from 0 to 1. Its curvature jumps in the middle.
    Raises ValueError for cutoff <= 0, start outside [0, 1) or c <= 0.
    """

    def __init__(self, cutoff: float, start: float = 0.8, c: float = 0.1):
        super().__init__()
        self.cutoff = _cutoff(self, cutoff)
        if not (0 <= start < 1 and c > 0):
            raise ValueError(f"ExpSwitch: start must be in [0, 1) and c positive, got {start=} {c=}")
        self.start, self.c = start, c

    def forward(self, r: Float[Tensor, "*edges"]) -> Float[Tensor, "*edges"]:
        """r: Å; result in [0, 1]."""
        t = ((r / self.cutoff - self.start) / (1 - self.start)).clamp(0, 1)
        x = torch.where(t < 0.5, 2 * t, 2 - 2 * t)
        half = 0.5 * torch.expm1(self.c * x) / math.expm1(self.c) * x * x * torch.sin(0.5 * math.pi * x)
        return torch.where(t < 0.5, 1 - half, half)


class SmoothBump(nn.Module):
    """exp(1 - 1/(1 - (r/cutoff)²)), and 0 beyond: 1 at r = 0, smooth to every order. ValueError for cutoff <= 0."""

    def __init__(self, cutoff: float):
        super().__init__()
        self.cutoff = _cutoff(self, cutoff)

    def forward(self, r: Float[Tensor, "*edges"]) -> Float[Tensor, "*edges"]:
        """r: Å; result in [0, 1]."""
        return _bump(r / self.cutoff)


def _bump(u: Tensor) -> Tensor:
    """exp(-u²/(1 - u²)) = exp(1 - 1/(1 - u²)) for u < 1, and 0 beyond."""
    inside = u < 1
    u = torch.where(inside, u, 0.0).square()
    return torch.where(inside, torch.exp(-u / (1 - u)), 0.0)
