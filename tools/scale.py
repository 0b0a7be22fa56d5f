"""Writes the tables of docs/scale.md: bytes, steps and cost of large training sets (`--check` only compares).

Sizes follow from the file format; rates are those measured below; prices and GPU rates are inputs, named as such.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from intertwine.data.atoms.store import record_bytes

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"

# Measured (python -m benchmarks.train.loading, one core): atoms a second, batches with neighbours within 5 Å.
LOADING = 23_000  # molecules of 12 atoms; 36,000 for crystals of 32
# Assumed, to be replaced by your own numbers.
GPU_ATOMS = 20_000  # atoms a second and GPU through a training step
PRICE = 2.5  # dollars for an hour of a GPU
SCALING = 0.9  # of the rate of one GPU that each of many keeps


@dataclass(frozen=True)
class Job:
    """A training: structures, atoms in each on average, passes over them, atoms in a batch of one GPU, GPUs."""

    name: str
    structures: float
    atoms: int
    passes: float
    batch_atoms: int
    gpus: int
    periodic: bool = True

    def bytes(self, real: str = "float64") -> float:
        """Of the LMDB file, as if all structures had the mean size."""
        return self.structures * record_bytes(self.atoms, real=real, periodic=self.periodic)

    @property
    def order_bytes(self) -> float:
        """Main memory of every process: sizes and labels of all structures, and one epoch's order."""
        return self.structures * (4 + 4 + 3 + 3 * 4 + 3 * 8)

    @property
    def steps(self) -> float:
        """Optimiser steps of the whole training, at batches filled to 97 %."""
        return self.passes * self.structures * self.atoms / (0.97 * self.batch_atoms * self.gpus)

    @property
    def hours(self) -> float:
        """Wall time, at the assumed rate."""
        rate = GPU_ATOMS * self.gpus * (SCALING if self.gpus > 1 else 1.0)
        return self.passes * self.structures * self.atoms / rate / 3600

    @property
    def workers(self) -> float:
        """Loading processes for each GPU, so that it never waits."""
        return GPU_ATOMS / LOADING


JOBS = (
    Job("500 molecules", 500, 15, 2_000, 75, 1, periodic=False),
    Job("100 thousand", 1e5, 30, 100, 1_000, 1),
    Job("2 million", 2e6, 30, 30, 1_000, 8),
    Job("100 million", 1e8, 40, 5, 2_000, 64),
)


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def table() -> str:
    """One column for each job."""
    rows = {
        "structures": [number(j.structures) for j in JOBS],
        "atoms in each": [number(j.atoms) for j in JOBS],
        "file, float64": [size(j.bytes()) for j in JOBS],
        "file, `--float32`": [size(j.bytes("float32")) for j in JOBS],
        "memory of each process for sizes and order": [size(j.order_bytes) for j in JOBS],
        "passes": [number(j.passes) for j in JOBS],
        "GPUs": [number(j.gpus) for j in JOBS],
        "atoms in a batch of one GPU": [number(j.batch_atoms) for j in JOBS],
        "steps": [number(j.steps) for j in JOBS],
        "wall time, hours": [number(j.hours) for j in JOBS],
        "GPU hours": [number(j.hours * j.gpus) for j in JOBS],
        "cost, dollars": [number(j.hours * j.gpus * PRICE) for j in JOBS],
        "loading processes for each GPU": [number(j.workers) for j in JOBS],
    }
    head = f"| | {' | '.join(j.name for j in JOBS)} |\n|---|{'---|' * len(JOBS)}\n"
    return head + "".join(f"| {name} | {' | '.join(cells)} |\n" for name, cells in rows.items())


def written(page: str) -> str:
    """The page with its table made anew."""
    begin, end = "<!-- tools/scale.py -->\n", "<!-- end -->"
    return re.sub(f"{begin}.*?{end}", lambda _: begin + table() + end, page, flags=re.S)


if __name__ == "__main__":
    text = PAGE.read_text()
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if text == written(text) else "docs/scale.md is out of date: run `python tools/scale.py`")
    PAGE.write_text(written(text))
    sys.stdout.write(table())
