"""Errors against the number of frames at equal steps: a committed configuration on nested sets, and the picture.

Finished runs are not repeated, so a long curve may be made in several sittings. Every point goes into
docs/acac_curve.json; `--draw` only draws docs/acac_curve.svg from it.
"""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from intertwine.data.atoms import AtomicDataset, collate, read
from intertwine.files import write_atomically
from intertwine.models import load_potential
from intertwine.train import (
    AtomicDataModule,
    EnergyForceLoss,
    Optimizer,
    PotentialMetrics,
    PotentialModule,
    fit_potential,
)
from intertwine.train.figures import learning_curves

ROOT = Path(__file__).resolve().parents[2]
POINTS, PICTURE = ROOT / "docs" / "acac_curve.json", ROOT / "docs" / "acac_curve.svg"


def trained(config: dict[str, Any], part: AtomicDataset, *, steps: int, seed: int, folder: Path) -> tuple[Path, float]:
    """The best checkpoint of a configuration trained on `part`, a tenth of it to validate, and the seconds it took."""
    best, done = folder / "best.ckpt", folder / "done.json"
    if not done.is_file() or json.loads(done.read_text())["steps"] != steps:
        model = config["model"]
        module = PotentialModule(
            model["network"],
            options=model["options"],
            loss=EnergyForceLoss(**model["loss"]),
            optimizer=Optimizer(**model["optimizer"]),
            seed=seed,
        )
        data = AtomicDataModule(part, **(config["data"] | {"val": len(part) // 10, "seed": seed}))
        start = time.perf_counter()
        # Validated after so many steps and not so many passes, so that the small sets do not pay more for it.
        best = fit_potential(
            data, folder, module=module, max_steps=steps, val_check_interval=max(steps // 4, 1),
            check_val_every_n_epoch=None, accelerator="cpu", enable_progress_bar=False, log_every_n_steps=10,
        )  # fmt: skip
        done.write_text(json.dumps({"steps": steps, "seconds": time.perf_counter() - start}))
    return best, json.loads(done.read_text())["seconds"]


def errors(checkpoint: Path, held: AtomicDataset) -> dict[str, float]:
    """Test errors, meV and meV/Å."""
    potential, metrics = load_potential(checkpoint), PotentialMetrics()
    for i in range(0, len(held), 32):
        batch = collate(list(held[i : i + 32]))
        metrics.update(potential(batch), batch)
    return metrics.compute()


def points(
    folder: Path, out: Path, *, sizes: list[int], steps: int, seed: int = 0, tests: int | None = None
) -> list[dict[str, Any]]:
    """Train on nested sets of the frames in `folder` (acac/ of the published data) and test; one dict for each size."""
    config = yaml.safe_load((ROOT / "configs" / "acac.yaml").read_text())
    whole = read([folder / "train_300K.xyz", folder / "isolated_atoms.xyz"])
    held = read(folder / "test_MD_300K.xyz", index=slice(tests), cutoff=config["data"]["cutoff"])
    order = np.random.RandomState(seed).permutation(len(whole))
    found = []
    for size in sizes:
        part = whole[np.sort(order[:size])]
        best, seconds = trained(config, part, steps=steps, seed=seed, folder=out / str(steps) / str(size))
        said = errors(best, held)
        row = {"frames": size, "steps": steps, "seed": seed, "seconds": round(seconds)}
        found.append(row | {key: round(said[key], 1) for key in ("forces_rmse", "energy_rmse")} | {"commit": commit()})
    return found


def commit() -> str:
    """The commit the code is at."""
    words = ["git", "rev-parse", "--short=10", "HEAD"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All points, sorted; a point that was measured again is the new one."""
    key = lambda point: (point["steps"], point["frames"], point["seed"])  # noqa: E731
    return [point for _, point in sorted({key(point): point for point in [*old, *new]}.items())]


def picture(every: list[dict[str, Any]]) -> str:
    """A curve for each number of steps, as SVG."""
    runs = {
        f"{steps:,} steps": tuple(
            [point[name] for point in every if point["steps"] == steps] for name in ("frames", "forces_rmse")
        )
        for steps in sorted({point["steps"] for point in every})
    }
    return learning_curves(runs, xlabel="frames, a tenth of them to validate", ylabel="force RMSE (meV/Å)")


def main() -> None:
    """Measure, remember, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("INTERTWINE_DATA"), help="the folder that has acac/")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 250, 500])
    parser.add_argument("--steps", type=int, default=500, help="of each run; a step takes 0.1 s of one core")
    parser.add_argument("--out", default="runs/acac-curve", help="folder of the runs")
    parser.add_argument("--draw", action="store_true", help="draw what was measured, and stop")
    options = parser.parse_args()
    every = json.loads(POINTS.read_text()) if POINTS.is_file() else []
    if not options.draw:
        if options.data is None:
            parser.error("name the folder of the data with --data, or set INTERTWINE_DATA")
        for size in options.sizes:  # remembered one by one: a curve takes long
            every = merged(
                every, points(Path(options.data) / "acac", Path(options.out), sizes=[size], steps=options.steps)
            )
            write_atomically(POINTS, json.dumps(every, indent=1) + "\n")
            print(json.dumps(every[-1]), flush=True)
    write_atomically(PICTURE, picture(every) + "\n")


if __name__ == "__main__":
    main()
