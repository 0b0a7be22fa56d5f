"""Pictures of a training run and of a potential's errors, as self-contained SVG for a page that works offline."""

import io
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..extras import require

# Okabe-Ito blue and vermilion: told apart with any colour vision; markers and dashes say it a second time.
STYLES = (
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#D55E00", "marker": "^", "linestyle": "--"},
    {"color": "#009E73", "marker": "s", "linestyle": ":"},
    {"color": "#CC79A7", "marker": "D", "linestyle": "-."},
)
_LOOK = {
    "svg.hashsalt": "intertwine",
    "svg.fonttype": "path",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "figure.constrained_layout.use": True,
}


@contextmanager
def _figure(columns: int, width: float = 3.6, height: float = 3.1, rows: int = 1):
    matplotlib = require("matplotlib", "report")
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_LOOK):
        figure = Figure(figsize=(width * columns, height))
        yield figure, np.atleast_1d(figure.subplots(rows, columns)).ravel()


def svg(figure) -> str:
    """A matplotlib figure as one <svg> element, the same bytes every time."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


Predictions = Mapping[
    str, np.ndarray
]  # "energy", "energy_true" [G] in eV, "forces", "forces_true" [N, 3] in eV/Å, "natoms"


def parity(runs: Mapping[str, Predictions]) -> str:
    """Predicted against true: energies (relative to the mean, meV per atom) and force components (eV/Å)."""
    with _figure(2) as (figure, (left, right)):
        for (name, p), style in zip(runs.items(), STYLES):
            natoms = p["natoms"]
            centre = (p["energy_true"] / natoms).mean()
            x, y = 1e3 * (p["energy_true"] / natoms - centre), 1e3 * (p["energy"] / natoms - centre)
            points = {"color": style["color"], "marker": style["marker"], "linestyle": "", "alpha": 0.5}
            left.plot(x, y, markersize=4, label=name, **points)
            stride = max(1, p["forces"].size // 3000)
            right.plot(
                p["forces_true"].ravel()[::stride], p["forces"].ravel()[::stride], markersize=2, label=name,
                rasterized=True, **points,
            )  # fmt: skip
        for axis, unit, what in ((left, "meV/atom", "energy − mean"), (right, "eV/Å", "force component")):
            low, high = axis.get_xlim()
            axis.plot([low, high], [low, high], color="0.4", linewidth=1)
            axis.set(xlabel=f"reference {what} ({unit})", ylabel=f"predicted ({unit})")
        left.legend(frameon=False)
        return svg(figure)


def force_errors(runs: Mapping[str, Predictions]) -> str:
    """Histogram of the length of the force error on each atom, meV/Å."""
    with _figure(1, width=4.6) as (figure, (axis,)):
        errors = {name: 1e3 * np.linalg.norm(p["forces"] - p["forces_true"], axis=1) for name, p in runs.items()}
        smallest = max(min(e[e > 0].min() for e in errors.values()), 1e-3)
        bins = np.geomspace(smallest, max(e.max() for e in errors.values()) * 1.01, 40)
        for (name, e), style in zip(errors.items(), STYLES):
            axis.hist(
                e, bins, histtype="step", label=name, color=style["color"], linestyle=style["linestyle"], linewidth=1.6
            )
        axis.set(xscale="log", xlabel="|force error| on an atom (meV/Å)", ylabel="atoms")
        axis.legend(frameon=False)
        return svg(figure)


def element_errors(errors: Mapping[str, Mapping[str, float]]) -> str:
    """Root mean square and mean absolute force error of each element, meV/Å, as bars."""
    with _figure(1, width=4.6) as (figure, (axis,)):
        places = np.arange(len(errors))
        for i, (key, name, hatch) in enumerate((("forces_rmse", "RMSE", ""), ("forces_mae", "MAE", "//"))):
            values, look = [row[key] for row in errors.values()], {"color": STYLES[i]["color"], "edgecolor": "white"}
            axis.bar(places + 0.4 * i - 0.2, values, 0.36, label=name, hatch=hatch, **look)
        axis.set_xticks(places, list(errors))
        axis.set(ylabel="force error (meV/Å)")
        axis.legend(frameon=False)
        return svg(figure)


def dimer_curves(
    curves: Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]], tested: Mapping[tuple[str, str], float]
) -> str:
    """Energy of two atoms against their distance, a panel for each pair; grey where the test has nothing so close."""
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    with _figure(columns, width=2.6, height=2.2 * rows, rows=rows) as (figure, axes):
        for axis in axes[len(curves) :]:
            axis.set_visible(False)
        for axis, ((a, b), (distance, energy)) in zip(axes, curves.items()):
            axis.set_title(f"{a}–{b}", fontsize=9)
            axis.axhline(0, color="0.6", linewidth=0.8)
            axis.plot(distance, energy, color=STYLES[0]["color"], linewidth=1.4)
            nearest = tested.get((a, b), np.inf)
            if nearest > distance[0]:
                axis.axvspan(distance[0], min(nearest, distance[-1]), color="0.9", linewidth=0)
            axis.set_yscale("symlog", linthresh=1.0)
            axis.set(xlabel="distance (Å)", ylabel="energy (eV)", xlim=(distance[0], distance[-1]))
        return svg(figure)


def learning_curves(runs: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, xlabel: str, ylabel: str) -> str:
    """Named curves (x, y) on logarithmic axes."""
    with _figure(1, width=4.6) as (figure, (axis,)):
        for (name, (x, y)), style in zip(runs.items(), STYLES):
            axis.plot(x, y, markersize=3, linewidth=1.4, label=name, **style)
        axis.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
        for ruler, place in ((axis.xaxis, 0), (axis.yaxis, 1)):
            values = [value for curve in runs.values() for value in curve[place] if value > 0]
            if values and max(values) < 30 * min(values):
                _plain_ticks(ruler)
        axis.legend(frameon=False)
        return svg(figure)


def _plain_ticks(ruler) -> None:
    """Plain numbers on a short logarithmic axis, where powers of ten name one tick or none."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ruler.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    ruler.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ruler.set_minor_formatter(NullFormatter())


def conservation(time: np.ndarray, kinetic: np.ndarray, potential: np.ndarray, atoms: int) -> str:
    """Energies of a constant-energy run: exchange of kinetic and potential energy, and the total on its own scale."""
    with _figure(2) as (figure, (left, right)):
        left.plot(
            time, 1e3 * (kinetic - kinetic.mean()) / atoms, color=STYLES[0]["color"], linewidth=0.8, label="kinetic"
        )
        left.plot(
            time, 1e3 * (potential - potential.mean()) / atoms, color=STYLES[1]["color"], linewidth=0.8,
            linestyle="--", label="potential",
        )  # fmt: skip
        left.set(xlabel="time (fs)", ylabel="energy − mean (meV/atom)")
        left.legend(frameon=False)
        total = kinetic + potential
        right.plot(time, 1e3 * (total - total[0]) / atoms, color="0.2", linewidth=0.8)
        right.set(xlabel="time (fs)", ylabel="total energy − start (meV/atom)")
        return svg(figure)


def history(folder: str | Path, column: str = "val/forces_mae") -> tuple[list[float], list[float]]:
    """Steps and values of one column of the CSV log that training leaves in `folder`.

    Raises FileNotFoundError without a log and KeyError naming the columns that there are.
    """
    import csv

    with open(Path(folder) / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or column not in rows[0]:
        raise KeyError(
            f"no column {column!r} in {folder}/metrics.csv; there are {sorted(rows[0]) if rows else 'no rows'}"
        )
    kept = [(float(row["step"]), float(row[column])) for row in rows if row[column]]
    return [x for x, _ in kept], [y for _, y in kept]
