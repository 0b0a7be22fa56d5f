"""From errors of pairs to rows, intervals, worst pairs and a verdict, for one output of the model."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .choose import Choice
from .elements import describe, literal
from .orbit import Orbit
from .result import OutputAudit, Row, Worst
from .statistics import MIN_SAMPLES, Interval, Spread, cluster_bootstrap, percentile_interval
from .verdict import BROKEN, Evidence, NoiseFloor, decide

NAN = torch.nan


@dataclass(frozen=True)
class Run:
    """One precision: mean square errors per output, [samples, elements] and [samples, special]; flips likewise."""

    dtype: str
    orbit: Orbit
    errors: dict[str, Tensor]
    special: dict[str, Tensor]
    flips: dict[str, Tensor]

    def table(self, name: str) -> tuple[Float[Tensor, "samples all"], Float[Tensor, " samples"]]:
        """Mean square errors over drawn and special elements, NaN where there is no value; mean square outputs."""
        size2 = self.orbit.base().mean_square()[name]
        squares = torch.cat([self.errors[name], self.special[name]], 1)
        good = squares.isfinite() & size2.isfinite()[:, None]
        return torch.where(good, squares, NAN), size2


class Statistics:
    """The averages of an audit as functions of sample weights, so that one bootstrap serves them all."""

    NAMES = ("absolute", "mean", "relative", "variation", "flip")

    def __init__(self, squares: Float[Tensor, "n k"], size2: Float[Tensor, " n"], flips: Tensor, outputs: list[Tensor]):
        """squares: NaN where a pair has no value, but at least one value per sample; outputs: f(x_i)."""
        self.square = squares.nanmean(1)
        self.absolute = squares.sqrt().nanmean(1)
        self.size2, self.flips = size2, flips.mean(1)
        self.spread = Spread.of(outputs)

    def __call__(self, w: Float[Tensor, "resamples n"]) -> Float[Tensor, "resamples 5"]:
        total = w.sum(1)
        square = w @ self.square / total
        columns = [
            square.sqrt(),
            w @ self.absolute / total,
            (square * total / (w @ self.size2)).sqrt(),
            (square / self.spread(w)).sqrt(),
            w @ self.flips / total,
        ]
        return torch.stack(columns, 1)


def summarise(
    name: str,
    runs: list[Run],
    floor: NoiseFloor,
    no_float64: str,
    generator: torch.Generator,
    alpha: float,
    noise_cause: str = "",
) -> tuple[OutputAudit, list[Row]]:
    """Rows and verdict of one output; the last run is the headline, an earlier one adds its float32 rows."""
    run = runs[-1]
    everything, size2 = run.table(name)
    n, k = run.errors[name].shape
    squares = everything[:, :k]
    usable = squares.isfinite().any(1)
    m = int(usable.sum())
    missing = int(everything.isnan().sum())
    value = dict.fromkeys(Statistics.NAMES, NAN)
    interval: dict[str, Interval | None] = dict.fromkeys(Statistics.NAMES)
    size = spread = p_value = NAN
    if m:
        outputs = [y for y, keep in zip(run.orbit.base().split(name), usable.tolist()) if keep]
        flips = run.flips.get(name, torch.zeros_like(squares))
        statistics = Statistics(squares[usable], size2[usable], flips[usable], outputs)
        everyone = torch.ones(1, m, dtype=torch.float64)
        value = dict(zip(Statistics.NAMES, statistics(everyone)[0].tolist()))
        size, spread = size2[usable].mean().sqrt().item(), statistics.spread(everyone).sqrt().item()
        if m >= MIN_SAMPLES:
            draws = cluster_bootstrap(statistics, m, generator=generator)
            for column, statistic in enumerate(Statistics.NAMES):
                if draws[:, column].isfinite().all():
                    interval[statistic] = percentile_interval(draws[:, column], alpha)
            if interval["variation"] is not None:
                above = draws[:, Statistics.NAMES.index("variation")] >= BROKEN
                p_value = ((~above if value["variation"] >= BROKEN else above).sum().item() + 1) / (len(draws) + 1)

    largest = _largest(everything)
    pairs = squares[squares.isfinite()].sqrt()
    rows = [
        Row(name, "absolute", run.dtype, value["absolute"], n, k, interval["absolute"], largest, value["mean"],
            _quantile(pairs, 0.5), _quantile(pairs, 0.95), missing),
        Row(name, "relative", run.dtype, value["relative"], n, k, interval["relative"], ratio(largest, size)),
        Row(name, "variation", run.dtype, value["variation"], n, k, interval["variation"], ratio(largest, spread)),
    ]  # fmt: skip
    if name in run.flips:
        rows.append(Row(name, "flip", run.dtype, value["flip"], n, k, interval["flip"]))
    max32 = largest if run.dtype == "float32" else None
    for other in runs[:-1]:
        table32, size32 = other.table(name)
        max32 = _largest(table32)
        rms32 = table32[:, :k].nanmean().sqrt().item()
        scale32 = size32[size32.isfinite()].mean().sqrt().item()
        lost = int(table32.isnan().sum())
        rows.append(Row(name, "absolute", other.dtype, rms32, n, k, maximum=max32, missing=lost))
        rows.append(Row(name, "relative", other.dtype, ratio(rms32, scale32), n, k, maximum=ratio(max32, scale32)))
    evidence = Evidence(
        error=value["absolute"],
        size=size,
        relative_max64=ratio(largest, size) if run.dtype == "float64" else None,
        max32=max32,
        floor=floor,
        spread=spread,
        variation=value["variation"],
        interval=interval["variation"],
        n_samples=m,
        missing=missing,
        pairs=everything.numel(),
        no_float64=no_float64,
        noise_cause=noise_cause,
    )
    errors = everything.sqrt()
    return OutputAudit(
        name,
        decide(evidence),
        floor,
        errors[:, :k],
        errors[:, k:],
        size2.sqrt(),
        value["absolute"],
        ratio(value["absolute"], size),
        p_value,
    ), rows


def worst_pairs(name: str, run: Run, picked: Choice, listed: int) -> tuple[list[Worst], list[Worst]]:
    """The largest errors of one output, and pairs without a value: `listed` of each at most."""
    squares, size2 = run.table(name)
    size = size2[size2.isfinite()].mean().sqrt().item()
    places = run.orbit.samples.index

    def entry(flat: int) -> Worst:
        i, j = divmod(flat, squares.shape[1])
        special = j >= picked.n_elements
        g = picked.special_element(j - picked.n_elements) if special else picked.element(i, j)
        text = literal(g) or "g  # too long to print: draw it again with the same generator"
        error = squares[i, j].sqrt().item()
        return Worst(
            sample=places[i],
            element=j - picked.n_elements if special else j,
            special=special,
            description=describe(picked.group, g),
            output=name,
            absolute=error,
            relative=ratio(error, size),
            snippet=f"audit.pair_error(fn, rep_in, rep_out, data[{places[i]}], {text})",
        )

    flat = squares.flatten()
    lost = [entry(p) for p in flat.isnan().nonzero()[:listed, 0].tolist()]
    order = flat.nan_to_num(-1.0).argsort(descending=True, stable=True)[:listed].tolist()
    return [entry(p) for p in order if flat[p] > 0], lost


def ratio(a: float, b: float) -> float:
    """a / b with 0 / 0 = 0 (no error of nothing) and a / 0 infinite."""
    return a / b if b > 0 else 0.0 if a == 0 else NAN if a != a or b != b else torch.inf


def _largest(squares: Tensor) -> float:
    finite = squares[squares.isfinite()]
    return finite.max().sqrt().item() if len(finite) else NAN


def _quantile(x: Float[Tensor, " n"], q: float) -> float:
    """By sorting: torch.quantile refuses more than 2^24 entries."""
    return x.sort().values[round(q * (len(x) - 1))].item() if len(x) else NAN
