"""A committed configuration trained on one molecule and tested: what the claims of several networks share."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from claims.claim import ROOT, Claim, Numbers, data_folder

FILES = {"acac": ("train_300K.xyz", "test_MD_300K.xyz"), "ethanol": ("train.xyz", "test_MD.xyz")}


def trained(config: str, *, seed: int, steps: int | None, out: str, tests: int | None = None) -> Numbers:
    """Test errors (meV, meV/Å) of configs/`config`.yaml after `steps` (None: the time in the file) of training.

    `tests` frames of the test set are used, None: all. The name of the file begins with that of the data. `out` is the
    folder of the run; a finished run in it is tested, not repeated. Needs the folder acac/ or ethanol/ of real data.
    """
    from intertwine.data.atoms import read, write
    from intertwine.models import saved

    molecule = config.split("_")[0]
    data, folder, (train, test) = data_folder(molecule), Path(out), FILES[molecule]
    if data is None:
        raise FileNotFoundError(f"this claim needs the folder {molecule}/ of the real data: set INTERTWINE_DATA")
    best = folder / "best.ckpt"
    if not best.is_file():
        files = json.dumps([str(data / train), str(data / "isolated_atoms.xyz")])
        words = ["--config", str(ROOT / "configs" / f"{config}.yaml"), "--data.path", files, "--out", str(folder)]
        words += ["--seed_everything", str(seed)]
        if steps is not None:
            words += ["--trainer.max_steps", str(steps), "--trainer.enable_progress_bar", "false"]
        intertwine("fit", *words)
    held = data / test
    if tests is not None:
        write(folder / test, read(held, index=slice(tests)))
        held = folder / test
    intertwine("test", str(best), "--data.test", str(held), "--out", str(folder))
    errors = json.loads((folder / "metrics.json").read_text())["all"]
    last = saved.load(folder / "last.ckpt")
    numbers = {key: round(errors[key], 2) for key in ("energy_mae", "energy_rmse", "forces_mae", "forces_rmse")}
    numbers["training_seconds"] = round(last["callbacks"]["Timer"]["time_elapsed"]["train"], 1)
    numbers["steps"] = last["global_step"]
    return numbers


def intertwine(*words: str) -> None:
    """Run a command as a user would, one thread: these tensors are small."""
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "intertwine", *words], capture_output=True, text=True, env=one_thread)
    if done.returncode:
        raise RuntimeError(f"intertwine {words[0]} failed:\n{done.stderr[-2000:]}")


def ours(numbers: Numbers) -> str:
    return (
        f"force RMSE {numbers['forces_rmse']:.1f} meV/Å, energy RMSE {numbers['energy_rmse']:.1f} meV after "
        f"{numbers['training_seconds'] / 60:.0f} minutes on one core ({numbers['steps']:,} steps)"
    )


def claim(config: str, system: str, *, below: float, minutes: float, **words: str) -> Claim:
    """That a network reaches a force RMSE of less than `below` meV/Å within so many minutes of training."""
    return Claim(
        name=config,
        system=system,
        symbol=f"intertwine.models.atoms.{system}",
        experiment=partial(trained, config),
        holds=lambda n: n["forces_rmse"] < below and n["training_seconds"] <= 1.02 * 60 * minutes,
        ours=ours,
        short={"steps": 100, "tests": 40},
        full={"steps": None, "out": f"runs/{config}"},
        **words,
    )
