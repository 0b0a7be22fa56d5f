"""`report.html` of a test: what the errors are, where they sit, and the structures themselves; one file, offline."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from .. import audit
from ..data.atoms.species import atomic_numbers, symbol
from ..extras import require
from ..files import write_atomically
from ..models.atoms.potential import Potential
from . import figures
from .dimers import dimers
from .metrics import PotentialMetrics
from .seen import Case, Seen

_FRAMES, _ATOMS = 60, 500  # what the viewer shows at most
_ERRORS = (
    ("energy_mae_per_atom", "energy MAE (meV/atom)"),
    ("energy_rmse_per_atom", "RMSE (meV/atom)"),
    ("energy_rmse", "RMSE (meV)"),
    ("forces_mae", "force MAE (meV/Å)"),
    ("forces_rmse", "RMSE (meV/Å)"),
    ("forces_rmse_relative", "RMSE (%)"),
    ("stress_mae", "stress MAE (meV/Å³)"),
)
_CURVES = (("val/forces_rmse", "force RMSE (meV/Å)"), ("val/energy_rmse_per_atom", "energy RMSE (meV/atom)"))
_KEYS = (
    "With the picture in focus: arrow keys turn it, + and − change its size, n and p go to the next and the previous "
    "structure, Home and End to the first and the last, space plays, a changes the arrows, r starts again."
)


def write_report(
    path: str | Path, potential: Potential, seen: Seen, metrics: PotentialMetrics, *, history: str | Path | None = None
) -> Path:
    """Write the report of a test and return its path: tables, parity, histograms, curves, dimers, structures.

    history: the folder with the `metrics.csv` of the training, for the learning curves.
    Raises ModuleNotFoundError without matplotlib; OSError.
    """
    title = f"{type(potential.backbone).__name__} for {', '.join(potential.species)}"
    sections = [_errors(metrics), *_scatter(seen), *_elements(metrics), *_training(history)]
    sections += [_worst(seen), _model(potential), _dimers(potential, seen)]
    folder = resources.files(__package__) / "page"
    text = audit.plain_page(
        title,
        [section for section in sections if section is not None],
        body=_viewer(seen),
        css=(folder / "viewer.css").read_text(encoding="utf-8"),
        script=(folder / "viewer.js").read_text(encoding="utf-8"),
    )
    write_atomically(path, text)
    return Path(path)


def _errors(metrics: PotentialMetrics) -> audit.Section:
    table = metrics.table()
    columns = [(key, name) for key, name in _ERRORS if any(key in row for row in table.values())]
    rows = [[name, *(f"{row[key]:.2f}" if key in row else "–" for key, _ in columns)] for name, row in table.items()]
    return audit.Section("Errors", table=[["structures", *(name for _, name in columns)], *rows], wide=True)


def _scatter(seen: Seen) -> list[audit.Section]:
    p = seen.predictions()
    if p is None:
        return []
    kept = f"{len(p['natoms']):,} structures, {len(p['forces']):,} atoms."
    found = [audit.Section("Predicted and reference", kept, svg=figures.parity({"test": p}), wide=True)]
    if np.abs(p["forces"] - p["forces_true"]).max() > 0:
        found.append(audit.Section("Force errors", "The error on each atom.", svg=figures.force_errors({"test": p})))
    return found


def _elements(metrics: PotentialMetrics) -> list[audit.Section]:
    errors = metrics.by_element()
    if not errors:
        return []
    rows = [
        [name, f"{row['atoms']:,}", *(f"{row[k]:.1f}" if k in row else "–" for k, _ in _ERRORS[3:6])]
        for name, row in errors.items()
    ]
    header = ["element", "atoms", *(name for _, name in _ERRORS[3:6])]
    return [audit.Section("Force errors by element", svg=figures.element_errors(errors), table=[header, *rows])]


def _training(folder: str | Path | None) -> list[audit.Section]:
    if folder is None or not (Path(folder) / "metrics.csv").is_file():
        return []
    found = []
    for column, label in _CURVES:
        try:
            steps, values = figures.history(folder, column)
        except KeyError:
            continue
        if len(steps) > 1:
            curve = figures.learning_curves({"validation": (steps, values)}, xlabel="step", ylabel=label)
            found.append(audit.Section(f"Training: {label.split(' (')[0]}", "On the validation set.", svg=curve))
    return found


def _worst(seen: Seen) -> audit.Section | None:
    ranked = sorted((c for c in seen.cases if c.force_rmse is not None), key=lambda c: -c.force_rmse)[:10]
    rows = [[str(c.frame), c.config_type, str(len(c.z)), _energy(c), f"{1e3 * c.force_rmse:.1f}"] for c in ranked]
    header = ["frame", "kind", "atoms", "energy error (meV/atom)", "force RMSE (meV/Å)"]
    return audit.Section("The ten worst structures", "By force error.", table=[header, *rows]) if rows else None


def _energy(case: Case) -> str:
    return "–" if case.energy_error is None else f"{1e3 * case.energy_error / len(case.z):+.2f}"


def _dimers(potential: Potential, seen: Seen) -> audit.Section:
    curves = dimers(potential)
    numbers = {name: atomic_numbers([name])[0] for name in potential.species}
    tested = {(a, b): float(seen.closest[numbers[a], numbers[b]]) for a, b in curves}
    return audit.Section(
        "Two atoms alone",
        "Energy against the two atoms far apart. Grey: no structure of the test has these elements so close.",
        svg=figures.dimer_curves(curves, tested),
        wide=True,
    )


def _model(potential: Potential) -> audit.Section:
    count = sum(p.numel() for p in potential.parameters())
    said = f"{count:,} parameters, cutoff {potential.cutoff:g} Å, forces: {potential.forces}."
    rows = [
        [name, f"{shift:.6f}", f"{scale:.6g}"]
        for name, shift, scale in zip(potential.species, potential.energy_shift, potential.energy_scale)
    ]
    return audit.Section("The model", text=said, table=[["element", "shift (eV)", "scale (eV)"], *rows])


def _viewer(seen: Seen) -> str:
    shown = [case for case in seen.cases if len(case.z) <= _ATOMS][:_FRAMES]
    kinds = sorted({int(z) for case in shown for z in case.z})
    radii = require("ase.data", "atoms").covalent_radii
    colours = require("ase.data.colors", "atoms").jmol_colors
    elements = {
        z: {
            **{"symbol": symbol(z), "radius": round(float(radii[z]), 2)},
            "colour": "#" + "".join(f"{round(255 * c):02x}" for c in colours[z]),
            "dark": bool(np.dot(colours[z], (0.299, 0.587, 0.114)) < 0.5),
        }
        for z in kinds
    }
    errors = [c.force_rmse for c in shown if c.force_rmse]
    forces = [float(np.sqrt(np.mean(c.forces**2))) for c in shown if c.forces is not None and c.forces.any()]
    # Arrows of half an ångström for a usual force, and for a usual error.
    gain = {"error": 0.5 / np.median(errors) if errors else 1.0, "force": 0.5 / np.median(forces) if forces else 1.0}
    data = {"frames": [_frame(case) for case in shown], "elements": elements, "gain": gain}
    options = {"error": "force error", "predicted": "predicted force", "reference": "reference force", "none": "none"}
    chosen = "".join(f'<option value="{key}">{name}</option>' for key, name in options.items())
    last = max(len(shown) - 1, 0)
    label = "Structures of the test in space; arrow keys turn them"
    return (
        '<section aria-labelledby="structures-h"><h2 id="structures-h">Structures</h2>'
        f'<noscript><p>The picture of the structures needs scripts.</p></noscript><div class="card" id="viewer">'
        f'<canvas tabindex="0" role="application" aria-label="{label}" aria-describedby="viewer-keys"></canvas>'
        '<p role="status" aria-live="polite"></p><div class="tools"><button type="button" data-play '
        'aria-pressed="false">Play</button>'
        f'<label>Structure <input type="range" min="0" max="{last}" value="0"></label>'
        f"<label>Arrows <select>{chosen}</select></label></div>"
        f'<p class="soft" id="viewer-keys">{_KEYS}</p></div></section>'
        f'<script type="application/json" id="structures">{json.dumps(data).replace("<", chr(92) + "u003c")}</script>'
    )


def _frame(case: Case) -> dict[str, Any]:
    flat = lambda a: None if a is None else [round(float(x), 3) for x in np.ravel(a)]  # noqa: E731
    said = f"Frame {case.frame}, {case.config_type}, {len(case.z)} atoms"
    said += "" if case.energy_error is None else f", energy error {_energy(case)} meV/atom"
    said += "" if case.force_rmse is None else f", force RMSE {1e3 * case.force_rmse:.1f} meV/Å"
    return {
        **{"z": case.z.tolist(), "p": flat(case.pos), "c": flat(case.cell)},
        **{"f": flat(case.forces), "r": flat(case.forces_true), "t": said},
    }
