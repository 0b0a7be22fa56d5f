"""`intertwine demo`: the whole main job on a molecule in a few minutes, from labels made on the spot to a report.

Every stage leaves its result in the folder and is skipped when that is there, so an interrupted demo goes on.
"""

import json
import multiprocessing
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from . import audit
from .data.atoms import (
    AtomicDataset,
    AtomsAction,
    PotentialOutputAction,
    collate,
    to_ase,
    write,
    xtb_trajectory,
)
from .files import write_atomically
from .groups import SO, O
from .interop.ase import Calculator
from .interop.nve import NVE, nve
from .models.atoms.cartesian import Cartesian
from .models.atoms.potential import Potential
from .models.saved import load_potential
from .train import figures
from .train.data import AtomicDataModule
from .train.fit import fit_potential
from .train.metrics import PotentialMetrics
from .train.potential import PotentialModule
from .train.progress import BudgetBar, bar
from .train.schedule import Optimizer
from .train.summary import error_table, render, throughput

CUTOFF = 4.5  # Å: all of ethanol
NETWORKS = {"equivariant": "NequIP", "twin": "Cartesian"}
OPTIONS = {"degree": 1, "channels": 16, "layers": 3}
TITLES = {"equivariant": "NequIP (equivariant)", "twin": "twin (not equivariant)"}

VALIDATE_EVERY = 200  # steps
INTERRUPTED = 130  # exit code of a training process that Ctrl-C stopped


@dataclass(frozen=True)
class Settings:
    """What the demo does. molecule: a name or SMILES; frames: to train on; seconds: of training, for each model."""

    molecule: str = "CCO"
    frames: int = 500
    test_frames: int = 100
    seconds: float = 100.0
    picoseconds: float = 1.0
    temperature: float = 500.0
    nero_samples: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        if self.frames < 20 or self.test_frames < 2:
            raise ValueError(f"demo: at least 20 frames and 2 test frames, got {self.frames} and {self.test_frames}")
        if not (self.seconds > 0 and self.picoseconds > 0 and self.temperature > 0):
            raise ValueError(f"demo: seconds, picoseconds and temperature must be positive, got {self}")


class Demo:
    """The stages of the demo; each reads the results of those before it from `folder`."""

    def __init__(self, folder: str | Path, settings: Settings):
        self.folder, self.settings = Path(folder), settings
        self.folder.mkdir(parents=True, exist_ok=True)
        self._same_settings()

    def _same_settings(self) -> None:
        path = self.folder / "demo.json"
        wanted = asdict(self.settings)
        if path.is_file() and (found := json.loads(path.read_text())) != wanted:
            differ = ", ".join(f"{k} {found.get(k)!r} (now {v!r})" for k, v in wanted.items() if found.get(k) != v)
            raise ValueError(f"demo: {self.folder} holds a run with {differ}; name another folder with --out")
        write_atomically(path, json.dumps(wanted, indent=1).encode())

    # --- stage 1: labels

    @property
    def structures(self) -> Path:
        """The labelled structures, extended XYZ: training first, then test."""
        return self.folder / "structures.extxyz"

    def label(self) -> None:
        """GFN2-xTB energies and forces along a thermal trajectory; molecules are turned upright."""
        if self.structures.is_file():
            return
        s = self.settings
        with bar("labels from GFN2-xTB") as update:
            images = xtb_trajectory(
                s.molecule, s.frames + s.test_frames, temperature=s.temperature, seed=s.seed, progress=update
            )
        write(self.structures, AtomicDataset.from_ase(images))

    @cached_property
    def data(self) -> AtomicDataModule:
        """The last `test_frames` of the trajectory are the test set; a tenth of the rest validates."""
        with warnings.catch_warnings():
            # One molecule has one composition, so its species share a shift; here that is all there is to know.
            warnings.filterwarnings("ignore", message=".*compositions fix only.*")
            module = AtomicDataModule(
                str(self.structures),
                val=self.settings.frames // 10,
                test=self.settings.test_frames,
                cutoff=CUTOFF,
                batch_size=5,
                seed=self.settings.seed,
            )
            _ = module.facts
        return module

    @cached_property
    def upright(self) -> AtomicDataset:
        """The test molecules as the trajectory left them: all turned the same way."""
        return self.data.parts["test"]

    @cached_property
    def turns(self) -> torch.Tensor:
        """One random rotation for each test molecule, [molecules, 3, 3]."""
        generator = torch.Generator().manual_seed(self.settings.seed + 1)
        return SO(3).sample(len(self.upright), generator=generator)

    # --- stage 2: training

    def fit(self) -> None:
        """Train both NETWORKS for `seconds`, side by side, or go on where Ctrl-C stopped them.

        Raises KeyboardInterrupt after both have saved what to go on from, RuntimeError when one of them fails.
        """
        todo = [which for which in NETWORKS if not (self.folder / which / "done").is_file()]
        _ = self.data  # a data set that cannot be used is found here, with its own message
        context = multiprocessing.get_context("spawn")
        jobs = {
            which: context.Process(target=_train, args=(self.folder, self.settings, which, row), name=which)
            for row, which in enumerate(todo)
        }
        for job in jobs.values():
            job.start()
        try:
            for job in jobs.values():
                job.join()
        except KeyboardInterrupt:
            for job in jobs.values():
                job.join()  # Ctrl-C reached them too: they are saving their last step
            raise
        if not all((self.folder / which / "done").is_file() for which in NETWORKS):
            failed = {which: job.exitcode for which, job in jobs.items() if job.exitcode}
            if set(failed.values()) == {INTERRUPTED}:
                raise KeyboardInterrupt
            raise RuntimeError(f"demo: training failed, exit codes {failed}; the message is above")

    def train(self, which: str, row: int = 0) -> None:
        """Train one of NETWORKS in this process; its bar is drawn on line `row`."""
        folder = self.folder / which
        last = folder / "last.ckpt"
        fit_potential(
            self.data,
            folder,
            module=self._module(which),
            max_time=self.settings.seconds,
            resume=last if last.is_file() else None,
            callbacks=[BudgetBar(TITLES[which], row)],
            val_check_interval=VALIDATE_EVERY,
            check_val_every_n_epoch=None,
        )
        write_atomically(folder / "done", "")

    def _module(self, which: str) -> PotentialModule:
        seed = self.settings.seed
        equivariant = PotentialModule(NETWORKS["equivariant"], options=OPTIONS, seed=seed)
        if which == "equivariant":
            return equivariant
        twin = Cartesian.like(equivariant.build(self.data.facts).backbone, self.data.facts.species)
        options = {k: v for k, v in twin.config.items() if k != "avg_num_neighbors"}
        return PotentialModule(NETWORKS["twin"], options=options, optimizer=Optimizer(lr=5e-3), seed=seed)

    def model(self, which: str) -> Potential:
        """A trained potential, float32: the best on the validation set."""
        path = self.folder / which / "best.ckpt"
        return load_potential(path if path.is_file() else path.with_name("last.ckpt"))

    # --- stage 3: evaluation

    @cached_property
    def models(self) -> dict[str, Any]:
        """Both trained potentials, float32."""
        return {which: self.model(which) for which in NETWORKS}

    def predict(self, which: str, *, rotated: bool) -> tuple[dict[str, float], figures.Predictions]:
        """Errors of a model on the test molecules (meV, meV/Å), upright or each turned at random, and what it said.

        Forces on a turned molecule are turned back before they are compared, so that a model that turns its forces
        with the molecule has the same error in both cases: a mean absolute error depends on the axes.
        """
        batch = collate(list(self.upright))
        action, answer = AtomsAction(SO(3)), PotentialOutputAction(SO(3))
        with torch.no_grad():
            out = self.models[which](action(self.turns, batch) if rotated else batch)
        if rotated:
            out = answer(self.turns.mT, {**out, "batch": batch.batch})
        metrics = PotentialMetrics()
        metrics.update(out, batch)
        tensors = {"energy": out["energy"], "forces": out["forces"], "natoms": batch.natoms}
        tensors |= {"energy_true": batch.energy, "forces_true": batch.forces}
        return metrics.compute(), {name: value.double().numpy() for name, value in tensors.items()}

    def symmetry(self, which: str) -> audit.AuditResult:
        """The equivariance error of a model over O(3)."""
        return audit.measure(
            self.models[which],
            AtomsAction(O(3)),
            PotentialOutputAction(O(3)),
            list(self.upright),
            n_samples=20,
            generator=torch.Generator().manual_seed(self.settings.seed),
            title=TITLES[which],
        )

    def orbit(self) -> audit.NeroResult:
        """Force error of both models over the rotations of a few molecules, against the labels."""
        chosen = list(self.upright)[: self.settings.nero_samples]
        return audit.nero(
            {TITLES[which]: model for which, model in self.models.items()},
            AtomsAction(SO(3)),
            PotentialOutputAction(SO(3)),
            chosen,
            orbit=audit.OrbitGrid.sphere_axis_angle(n_axes=60, n_angles=7),
            metric="forces:rmse",
            targets=[{"forces": graph.forces} for graph in chosen],
            unit="eV/Å",
            generator=torch.Generator().manual_seed(self.settings.seed),
            title="Force error over all rotations",
        )

    def dynamics(self) -> NVE:
        """Constant energy for `picoseconds` from a test frame, in float64, 0.5 fs a step."""
        atoms = to_ase(self.upright[0])
        atoms.calc = Calculator(self.model("equivariant"), dtype=torch.float64)
        with bar("constant-energy dynamics") as update:
            return nve(atoms, picoseconds=self.settings.picoseconds, seed=self.settings.seed, progress=update)

    # --- stage 4: what people read

    def conclude(self) -> str:
        """Evaluate everything, write `results.json` and `report.html`, and return the table for the terminal."""
        predicted = {
            (which, rotated): self.predict(which, rotated=rotated) for which in NETWORKS for rotated in (False, True)
        }
        motion = self.dynamics()
        with bar("audit of the symmetry") as update:
            audits = []
            for i, which in enumerate(NETWORKS):
                audits.append(self.symmetry(which))
                update(i + 1, 3)
            orbit = self.orbit()
            update(3, 3)
        rates = {which: throughput(model, list(self.upright)) for which, model in self.models.items()}
        parameters = {which: sum(p.numel() for p in model.parameters()) for which, model in self.models.items()}

        lines = error_table(
            {(TITLES[w], "rotated" if r else "upright"): errors for (w, r), (errors, _) in predicted.items()},
            {
                "parameters": {TITLES[w]: f"{count:,}" for w, count in parameters.items()},
                "structures/s": {TITLES[w]: f"{rate:,.0f}" for w, rate in rates.items()},
            },
        )
        forces = audits[0].outputs["forces"]
        error = audits[0].row("relative", "forces", "float32").value
        facts = [
            f"equivariance error of the forces (relative, float32): {error:.1e}; in float64 "
            f"{audits[0].row('relative', 'forces', 'float64').value:.1e}; float32 noise floor "
            f"{forces.floor.dtype:.1e} eV/Å",
            f"the same for the twin: {audits[1].row('relative', 'forces', 'float32').value:.1e}",
            f"NVE, {self.settings.picoseconds:g} ps at 300 K: drift {motion.drift:+.4f} meV/atom/ps, fluctuation "
            f"{motion.fluctuation:.3f} meV",
        ]
        results = {
            "settings": asdict(self.settings),
            "parameters": parameters,
            "errors": {f"{w} {'rotated' if r else 'upright'}": m for (w, r), (m, _) in predicted.items()},
            "equivariance": [result.to_dict()["sentence"] for result in audits],
            "relative_error_forces": error,
            "nve": {"drift_mev_per_atom_per_ps": motion.drift, "fluctuation_mev": motion.fluctuation},
            "structures_per_second": rates,
            "table": lines,
            "facts": facts,
        }
        write_atomically(self.folder / "results.json", json.dumps(results, indent=1))
        audit.write_html(
            [orbit, *audits],
            self.report,
            title=f"An interatomic potential for {self.settings.molecule}",
            sections=self._sections(lines, facts, predicted, motion),
        )
        return "\n".join([render(lines), "", *facts])

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"

    def _sections(self, lines, facts, predicted, motion: NVE) -> list[audit.Section]:
        s = self.settings
        upright = {TITLES[w]: predicted[w, False][1] for w in NETWORKS}
        rotated = {TITLES[w]: predicted[w, True][1] for w in NETWORKS}
        curves = {TITLES[w]: figures.history(self.folder / w) for w in NETWORKS}
        return [
            audit.Section(
                "What was done",
                text=f"{s.frames} geometries of {s.molecule} from GFN2-xTB dynamics at {s.temperature:g} K, turned "
                f"upright, trained two networks with as many parameters for {s.seconds:g} seconds each: NequIP, which "
                "knows how forces turn, and a plain message-passing twin, which does not. Both were tested on "
                f"{s.test_frames} later geometries, as they are and each turned at random.",
                table=lines,
                caption="Energy errors in meV, force errors in meV/Å. " + " — ".join(facts),
                wide=True,
            ),
            audit.Section(
                "Upright test molecules", "Predicted against reference.", svg=figures.parity(upright), wide=True
            ),
            audit.Section(
                "Turned test molecules", "The same molecules in other poses.", svg=figures.parity(rotated), wide=True
            ),
            audit.Section(
                "Force errors on turned molecules", "Each atom of each molecule.", svg=figures.force_errors(rotated)
            ),
            audit.Section(
                "Learning",
                "Force error on the validation set during training.",
                svg=figures.learning_curves(curves, xlabel="step", ylabel="force MAE (meV/Å)"),
            ),
            audit.Section(
                "Constant-energy dynamics",
                f"{motion.time[-1] / 1000:g} ps at 0.5 fs from 300 K: drift {motion.drift:+.4f} meV per atom and ps.",
                svg=figures.conservation(motion.time, motion.kinetic, motion.potential, motion.atoms),
                wide=True,
            ),
        ]


def run(folder: str | Path, settings: Settings | None = None) -> int:
    """The whole demo; prints its table. Returns 0, or 130 when Ctrl-C stopped it (the same call goes on)."""
    demo = Demo(folder, settings or Settings())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors are small; the two trainings share two cores
    started = time.perf_counter()
    try:
        demo.label()
        demo.fit()
        table = demo.conclude()
    except KeyboardInterrupt:
        print(f"\nStopped. What is done is kept in {demo.folder}; the same command goes on from there.")
        return 130
    finally:
        torch.set_num_threads(threads)
    print(f"\nReport: {demo.report}\nDone in {time.perf_counter() - started:.0f} s\n\n{table}")
    return 0


def _train(folder: Path, settings: Settings, which: str, row: int) -> None:
    """What each training process runs."""
    # Small tensors: two threads for one model are slower than one thread for each of two.
    torch.set_num_threads(1)
    try:
        Demo(folder, settings).train(which, row)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the first into the second
        sys.exit(INTERRUPTED)
