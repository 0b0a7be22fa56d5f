"""Run ours and the peers alternately in one process, so that a ratio survives a busy machine."""

import argparse
import importlib
import json
import math
import platform
import resource
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import torch


@dataclass(frozen=True)
class Timing:
    """Milliseconds for one call: of process time on one thread, otherwise by the wall clock."""

    minimum: float
    median: float


def compare(
    candidates: dict[str, Callable[[], object]], *, repeats: int = 15, warmup: int = 3, seconds: float = 20.0
) -> dict[str, Timing]:
    """Time every candidate `repeats` times in turn, after a warm-up; at least 7 times, then at most `seconds` in all.

    On the CPU with one thread the clock counts this process only. With several threads, or with CUDA, where calls are
    synchronised, the wall clock is read.
    """
    cuda = torch.cuda.is_available()
    clock = time.perf_counter if cuda or torch.get_num_threads() > 1 else time.process_time
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for call in candidates.values():
        for _ in range(warmup):
            call()
    began = time.perf_counter()
    for turn in range(repeats):
        if turn >= 7 and time.perf_counter() - began > seconds:
            break
        for name, call in candidates.items():
            if cuda:
                torch.cuda.synchronize()
            start = clock()
            call()
            if cuda:
                torch.cuda.synchronize()
            times[name].append(1e3 * (clock() - start))
    return {name: Timing(min(t), statistics.median(t)) for name, t in times.items()}


def by_column(
    steps: Mapping[str, Mapping[str, Callable[[], object]]], columns: Sequence[str], repeats: int
) -> dict[str, dict[str, Timing]]:
    """A row of a `Table`: `compare` for each column, of what every candidate does there."""
    return {
        column: compare({name: calls[column] for name, calls in steps.items()}, repeats=repeats) for column in columns
    }


def peak_memory(call: Callable[[], object]) -> float:
    """MiB by which one call raises the peak of this process (CUDA: of the allocator). Use a fresh process for each."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    call()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux
    return peak / 2**10 - pages * resource.getpagesize() / 2**20


@dataclass
class Table:
    """Rows of times, printed as ours in milliseconds and each peer as a ratio to ours."""

    title: str
    columns: Sequence[str]
    ours: str = "intertwine"
    rows: list[tuple[str, dict[str, dict[str, Timing]], dict[str, float]]] = field(default_factory=list)

    def add(self, label: str, timings: dict[str, dict[str, Timing]], error: dict[str, float] | None = None) -> None:
        """One row: column -> candidate -> Timing, and the largest difference from each peer."""
        self.rows.append((label, timings, error or {}))
        print(self._line(*self.rows[-1]), flush=True)

    def head(self) -> None:
        """Print the title and the head of the table, in Markdown."""
        print(f"\n{self.title}\n\n| size | " + " | ".join(self.columns) + " | max difference |")
        print("|---" * (len(self.columns) + 2) + "|")

    def _line(self, label: str, timings: dict, error: dict[str, float]) -> str:
        cells = []
        for column in self.columns:
            found = timings[column]
            own = found[self.ours]
            ratios = ", ".join(
                f"{name} {t.minimum / own.minimum:.1f}× ({t.median / own.median:.1f}×)"
                for name, t in found.items()
                if name != self.ours
            )
            cells.append(f"{own.minimum:.2f} ms; {ratios}" if ratios else f"{own.minimum:.2f} ms")
        differences = ", ".join(f"{name} {value:.0e}" for name, value in error.items())
        return f"| {label} | " + " | ".join(cells) + f" | {differences} |"

    def growth(self, sizes: Sequence[int]) -> str:
        """The exponents k of time ~ size^k that fit the minima of the last rows, one for each of `sizes`."""
        lines = []
        rows = self.rows[-len(sizes) :]
        for column in self.columns:
            names = [name for name in rows[0][1][column] if all(name in timings[column] for _, timings, _ in rows)]
            found = {name: exponent(sizes, [t[column][name].minimum for _, t, _ in rows]) for name in names}
            lines.append(f"{column}: " + ", ".join(f"{name} {slope:.1f}" for name, slope in found.items()))
        return f"\nTime grows with the power, fitted over {sizes[0]}..{sizes[-1]}:\n" + "\n".join(lines)

    def as_json(self) -> dict:
        """Everything that was measured, with the versions and the machine's class."""
        rows = [
            {"size": label, "error": error, "ms": {c: {n: asdict(t) for n, t in f.items()} for c, f in timings.items()}}
            for label, timings, error in self.rows
        ]
        return {"title": self.title, "machine": machine(), "versions": versions(), "rows": rows}


def exponent(sizes: Sequence[int], times: Sequence[float]) -> float:
    """Slope of log time against log size, by least squares."""
    xs, ys = [math.log(n) for n in sizes], [math.log(t) for t in times]
    mx, my = statistics.fmean(xs), statistics.fmean(ys)
    return sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / sum((x - mx) ** 2 for x in xs)


def peer(module: str) -> ModuleType | None:
    """Import a peer, or say by name that it is left out. The warnings of its import are its own."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as missing:
        print(f"left out: {module} ({missing}); pip install 'intertwine[bench]'")
        return None


def machine() -> str:
    """The class of machine, not its name."""
    import os

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    return f"{device}, {platform.machine()}, {torch.get_num_threads()} thread(s) used"


def versions() -> dict[str, str]:
    """Python, torch and the peers that are installed."""
    found = {"python": platform.python_version()}
    for name in ("torch", "intertwine", "e3nn", "cuequivariance-torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=15, help="turns of every candidate (at least 7 are kept)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write all times to this file")
    return parser


def start(options: argparse.Namespace) -> None:
    """Fix the threads, and print what runs where."""
    torch.set_num_threads(options.threads)
    print(f"{machine()}; " + ", ".join(f"{name} {number}" for name, number in versions().items()))
    print("Ours in ms (minimum); a peer as its time over ours, minimum (median): above 1 it is slower than we are.")


def finish(options: argparse.Namespace, tables: Sequence[Table]) -> None:
    """Write the JSON file, where one was asked for."""
    if options.json:
        options.json.write_text(json.dumps([table.as_json() for table in tables], indent=1) + "\n")
