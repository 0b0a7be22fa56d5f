"""Frames of a motion as extended XYZ, each written whole and at once, so that a run that is stopped leaves a file."""

from pathlib import Path

import numpy as np
from torch import Tensor

from intertwine.extras import require
from intertwine.models.atoms.dynamics import Verlet


class Trajectory:
    """An observer of `Verlet.run`: every time it is called, one frame of each structure goes to its file.

    path: of the file of a single structure; several get `path` with their number, `md-0.extxyz`, `md-1.extxyz`, ...
    Each frame holds positions, momenta (ASE's units), forces, cell, and step, time_fs, energy, kinetic_energy,
    total_energy (eV), temperature (K). Files that are there are replaced. first: number of the first structure.
    """

    def __init__(self, path: str | Path, structures: int = 1, *, first: int | None = None):
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = [""] if structures == 1 and first is None else [f"-{(first or 0) + i}" for i in range(structures)]
        self.paths = [path.with_name(f"{path.stem}{number}{path.suffix or '.extxyz'}") for number in numbers]
        for each in self.paths:
            each.write_text("")

    def __call__(self, motion: Verlet) -> None:
        """Append the frames of `motion` as it is now. Raises ValueError when it moves another number of structures."""
        if len(motion.energy) != len(self.paths):
            raise ValueError(f"Trajectory: made for {len(self.paths)} structures, the motion has {len(motion.energy)}")
        ase, single = require("ase", "atoms"), require("ase.calculators.singlepoint", "atoms")
        write_xyz, fs = require("ase.io.extxyz", "atoms").write_xyz, require("ase.units", "atoms").fs
        kinetic, temperature = _array(motion.kinetic_energy), _array(motion.temperature)
        z, pos, v, forces, energy, cell, pbc, graph = (
            _array(x)
            for x in (
                *(motion.z, motion.pos, motion.velocities, motion.forces, motion.energy),
                *(motion.cell, motion.pbc, motion.batch),
            )
        )
        for g, path in enumerate(self.paths):
            here = graph == g
            atoms = ase.Atoms(numbers=z[here], positions=pos[here], cell=cell[g], pbc=pbc[g])
            atoms.set_velocities(v[here] / fs)
            atoms.info = {"step": motion.steps, "time_fs": motion.time, "kinetic_energy": kinetic[g]}
            atoms.info |= {"total_energy": energy[g] + kinetic[g], "temperature": temperature[g]}
            atoms.calc = single.SinglePointCalculator(atoms, energy=energy[g], forces=forces[here])
            with path.open("a", encoding="utf-8") as file:
                write_xyz(file, [atoms])


def _array(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy()
