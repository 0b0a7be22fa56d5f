"""What an audit may conclude from its numbers: the sample is the unit, its group elements are one cluster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

MIN_SAMPLES = 10  # below this a percentile interval over samples promises more than it can keep
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A confidence interval [low, high] at `level` (0.95 means 95 %)."""

    low: float
    high: float
    level: float

    def __str__(self) -> str:
        return f"[{self.low:.3g}, {self.high:.3g}]"


def rms(x: Float[Tensor, "batch *rest"]) -> Float[Tensor, " batch"]:
    """Root mean square over all axes but the first: the norm that every error of an audit uses."""
    return x.flatten(1).square().mean(1).sqrt()


def bootstrap_weights(n: int, resamples: int, generator: torch.Generator) -> Float[Tensor, "resamples n"]:
    """How often each of n samples is drawn in each resample with replacement; rows sum to n."""
    drawn = torch.randint(n, (resamples, n), generator=generator, device=generator.device)
    weights = torch.zeros(resamples, n, dtype=torch.float64, device=generator.device)
    return weights.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64)).cpu()


def cluster_bootstrap(
    statistic: Callable[[Float[Tensor, "resamples n"]], Tensor],
    n: int,
    *,
    generator: torch.Generator,
    resamples: int = RESAMPLES,
) -> Float[Tensor, "resamples *value"]:
    """Bootstrap distribution of a statistic when whole samples, with all their group elements, are resampled.

    statistic: takes the weight of each sample, one row per resample, and returns one value (or vector) per row.
    Resampling (sample, element) pairs instead would treat the elements of one sample as independent: at nominal 95 %,
    40 samples x 20 elements with exponential heterogeneity, such intervals cover about half of the time.
    """
    chunk = max(1, 8_000_000 // n)  # 64 MB of weights at a time
    parts = [
        statistic(bootstrap_weights(n, min(chunk, resamples - start), generator))
        for start in range(0, resamples, chunk)
    ]
    return torch.cat(parts)


def percentile_interval(draws: Float[Tensor, " resamples"], alpha: float = 0.05) -> Interval:
    """The central 1 - alpha of a bootstrap distribution; NaN when the distribution holds a NaN."""
    low, high = torch.quantile(draws, torch.tensor([alpha / 2, 1 - alpha / 2], dtype=draws.dtype)).tolist()
    return Interval(low, high, 1 - alpha)


class Spread:
    """Mean squared distance between the outputs of two different samples: the yardstick of the `variation` error.

    second_moment: mean square of each sample's output; centre: the output itself (then D = its size), or its mean row
    where samples have different numbers of rows (atoms of different molecules): then rows are compared across samples.
    """

    def __init__(self, second_moment: Float[Tensor, " n"], centre: Float[Tensor, "n D"]):
        self.second_moment = second_moment
        self.centre = centre
        self.within = 2 * (second_moment - centre.square().mean(1))  # a sample against itself: not a pair
        self._gram = centre @ centre.T / centre.shape[1] if len(centre) < centre.shape[1] else None

    @classmethod
    def of(cls, outputs: Sequence[Tensor]) -> "Spread":
        """From one output per sample, each [rows, *rest]; the number of rows may differ, the rest may not."""
        same = len({tuple(y.shape) for y in outputs}) == 1
        overall = sum(y.sum(0, keepdim=True) for y in outputs) / max(1, sum(len(y) for y in outputs))
        centred = [(y - overall).double() for y in outputs]  # an offset common to all would drown the differences
        second = torch.stack([y.square().mean() if y.numel() else y.new_zeros(()) for y in centred])
        centre = torch.stack([(y if same else y.mean(0)).reshape(-1) for y in centred])
        return cls(second, centre)

    def __call__(self, weights: Float[Tensor, "resamples n"]) -> Float[Tensor, " resamples"]:
        """Weighted mean over pairs of different samples; NaN where a resample holds only one."""
        total = weights.sum(1)
        if self._gram is not None:
            cross = ((weights @ self._gram) * weights).sum(1)
        else:
            cross = (weights @ self.centre).square().mean(1)
        squares = weights.square()
        distance = 2 * total * (weights @ self.second_moment) - 2 * cross - squares @ self.within
        pairs = total.square() - squares.sum(1)
        return torch.where(pairs > 0, distance.clamp_min(0) / pairs, torch.nan)


def rule_of_three(n_samples: int) -> str:
    """What the observed maximum says about unseen inputs; the count is of samples, never of pairs."""
    if n_samples < MIN_SAMPLES:
        return f"{n_samples} samples are too few to bound how many unseen inputs are worse than the maximum"
    return f"with 95 % confidence at most 3/{n_samples} = {300 / n_samples:.2g} % of inputs are worse than this maximum"


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p-values that hold for the whole family of audits at once (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted
