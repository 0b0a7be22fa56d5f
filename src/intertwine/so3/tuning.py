"""The cost models behind method="auto" fitted to the machine at hand: products of many sizes measured, rates solved."""

import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls

from .gaunt import multiplied
from .gaunt_methods import candidates
from .harmonics import spherical_harmonics
from .irreps import Irreps
from .rates import BUILT_IN, Rate, write_rates
from .tensor_product import TensorProduct


class Measured(NamedTuple):
    """One way to one product: what it counts for one sample, and its time there."""

    product: str
    method: str
    operations: float
    moved: float
    calls: float
    seconds: float


class Tuning(NamedTuple):
    """Rates of this machine, and what they were fitted to; print it."""

    rates: dict[str, Rate]
    measured: tuple[Measured, ...]

    def right(self, rates: dict[str, Rate]) -> tuple[int, int]:
        """For how many of the products that have several ways `rates` choose one within a quarter of the fastest."""
        groups: dict[str, list[Measured]] = {}
        for one in self.measured:
            groups.setdefault(one.product, []).append(one)
        several = [ways for ways in groups.values() if len(ways) > 1]
        good = sum(
            min(ways, key=lambda one: _predicted(rates, one)).seconds <= 1.25 * min(one.seconds for one in ways)
            for ways in several
        )
        return good, len(several)

    def __str__(self) -> str:
        lines = ["| method | Gflop/s | GB/s | a call, ns a sample | median error |", "|---|---|---|---|---|"]
        for name, found in self.rates.items():
            errors = [abs(_predicted(self.rates, one) / one.seconds - 1) for one in self.measured if one.method == name]
            speed = [f"{1e-9 / x:.3g}" if x else "no cost" for x in found[:2]]
            lines.append(f"| {name} | {speed[0]} | {speed[1]} | {1e9 * found.call:.2g} | {np.median(errors):.0%} |")
        (before, total), (after, _) = self.right(BUILT_IN), self.right(self.rates)
        lines.append(
            f"\nauto within a quarter of the fastest: {before} of {total} products by the built-in rates, {after} by "
            "these"
        )
        return "\n".join(lines)


def tune(
    *, samples: int = 1000, channels: int = 16, degrees: tuple[int, ...] = (1, 2, 3, 4), repeats: int = 7
) -> Tuning:
    """Measure every method that `TensorProduct` chooses between, on this machine's CPU, and fit its rates.

    float32, forward, the least of `repeats` calls. About half a minute; torch's threads as they are. `Tuning.rates` go
    to `write_tuning`, or `intertwine bench so3 --tune` does both.
    """
    generator = torch.Generator().manual_seed(0)
    calls = [*_paths(samples, channels, degrees, generator), *_spheres(samples, channels, degrees, generator)]
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times = {k: float("inf") for k in range(len(calls))}
    with torch.no_grad():
        for turn in range(repeats + 1):
            for k, (_, call) in enumerate(calls):
                begun = clock()
                call()
                if turn:
                    times[k] = min(times[k], clock() - begun)
    measured = tuple(one._replace(seconds=times[k] / one.seconds) for k, (one, _) in enumerate(calls))
    return Tuning(
        {name: _fit([one for one in measured if one.method == name], prior) for name, prior in BUILT_IN.items()},
        measured,
    )


def write_tuning(tuning: Tuning, file: Path | str | None = None) -> Path:
    """Keep the rates for the processes that come. Returns the file."""
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    return write_rates(tuning.rates, machine, None if file is None else Path(file))


_PRIOR = 0.2  # weight of one built-in rate beside one measured time: decides what the sizes measured leave open


def _fit(measured: list[Measured], prior: Rate) -> Rate:
    """Rates, at least 0, with the least relative errors, near those of before where nothing says otherwise."""
    known = np.array([price or 1.0 for price in prior])
    times = (
        np.array([one[2:5] for one in measured]).reshape(-1, 3)
        * known
        / np.array([one.seconds for one in measured])[:, None]
    )
    rows = np.concatenate([times, _PRIOR * np.eye(3)])
    found, _ = nnls(rows, np.concatenate([np.ones(len(measured)), _PRIOR * np.array([price > 0 for price in prior])]))
    return Rate(*(found * known).tolist())


def _predicted(rates: dict[str, Rate], one: Measured) -> float:
    return rates[one.method].seconds(one.operations, one.moved, one.calls)


# Each yields what is counted, with the number of samples in the place of the time, and the call.
Call = tuple[Measured, Callable[[], object]]


def _paths(samples: int, channels: int, degrees: tuple[int, ...], generator: torch.Generator) -> Iterator[Call]:
    """Products with harmonics, all channels to all."""
    for lmax in degrees:
        Y = spherical_harmonics(torch.randn(samples, 3, generator=generator), lmax)
        for width in sorted({4, channels}):
            sides = Irreps.spherical(lmax, width), Irreps.spherical(lmax), Irreps.spherical(lmax, width)
            x = sides[0].randn(samples, generator=generator)
            for method in ("cg", "so2"):
                options = {"mode": "uvw", "weights": "shared", "harmonics": True, "generator": generator}
                product = TensorProduct(*sides, method=method, **options)
                yield (
                    Measured(f"{lmax} {width}", method, *product.product.cost(), samples),
                    lambda product=product, x=x, Y=Y: product(x, Y),
                )


def _spheres(samples: int, channels: int, degrees: tuple[int, ...], generator: torch.Generator) -> Iterator[Call]:
    """Products of functions on the sphere."""
    for lmax in degrees:
        x, y = (torch.randn(samples, (lmax + 1) ** 2, channels, generator=generator) for _ in range(2))
        for last in (lmax, 2 * lmax):
            for plan in candidates(lmax, lmax, last):
                yield (
                    Measured(f"sphere {lmax} {last}", f"gaunt_{plan.method}", *plan.cost(), 0, samples * channels),
                    lambda plan=plan, x=x, y=y: multiplied(plan, x, y),
                )
