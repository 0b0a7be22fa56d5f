"""Several potentials side by side, as the table that a person reads first."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..data.atoms import collate

ERRORS = {
    "energy MAE": "energy_mae",
    "RMSE (meV)": "energy_rmse",
    "force MAE": "forces_mae",
    "RMSE (meV/Å)": "forces_rmse",
}


def error_table(
    errors: Mapping[tuple[str, str], Mapping[str, float]], extra: Mapping[str, Mapping[str, str]]
) -> list[list[str]]:
    """Header and rows of errors (meV, meV/Å) by (model, test set); `extra` adds columns, once for each model."""
    rows = [["model", "test set", *ERRORS, *extra]]
    for model, test_set in errors:
        numbers = [f"{errors[model, test_set][key]:.1f}" for key in ERRORS.values()]
        first = all(row[0] != model for row in rows)
        rows.append([model, test_set, *numbers, *(column[model] if first else "" for column in extra.values())])
    return rows


def render(rows: list[list[str]]) -> str:
    """A table in plain text: the first two columns to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def throughput(model: Any, graphs: list[Any], *, batch_size: int = 50, repeats: int = 5) -> float:
    """Structures per second, energies and forces, on the present number of threads: the median of a few passes."""
    batch = collate([graphs[i % len(graphs)] for i in range(batch_size)])
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        with torch.no_grad():
            model(batch)
        times.append(time.perf_counter() - started)
    return batch_size / float(np.median(times[1:]))
