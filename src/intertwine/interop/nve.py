"""Does a potential conserve energy? Newton's equations without a thermostat, and what happens to the total energy."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from intertwine.extras import require
from intertwine.models.atoms.dynamics import still
from intertwine.models.atoms.evaluator import check_forces


@dataclass(frozen=True)
class NVE:
    """A constant-energy run. time: fs; kinetic, potential: eV; steps_per_second of the whole loop."""

    time: Float[np.ndarray, " frames"]
    kinetic: Float[np.ndarray, " frames"]
    potential: Float[np.ndarray, " frames"]
    atoms: int
    steps_per_second: float

    @property
    def total(self) -> Float[np.ndarray, " frames"]:
        """Kinetic plus potential energy, eV."""
        return self.kinetic + self.potential

    @property
    def drift(self) -> float:
        """Slope of a straight line through the total energy, meV per atom and ps."""
        return drift(self.time, self.total, self.atoms)

    @property
    def fluctuation(self) -> float:
        """Standard deviation of the total energy around that line, meV."""
        return fluctuation(self.time, self.total)


def drift(time: Float[np.ndarray, " frames"], total: Float[np.ndarray, " frames"], atoms: int) -> float:
    """Slope of a straight line through the total energy (eV) over time (fs), meV per atom and ps."""
    return float(1e6 * np.polyfit(time, total, 1)[0] / atoms)


def fluctuation(time: Float[np.ndarray, " frames"], total: Float[np.ndarray, " frames"]) -> float:
    """Standard deviation of the total energy (eV) around that line, meV."""
    return float(1e3 * (total - np.polyval(np.polyfit(time, total, 1), time)).std())


def nve(
    atoms: Any,
    *,
    temperature: float = 300.0,
    picoseconds: float = 1.0,
    timestep: float = 0.5,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    allow_nonconservative: bool = False,
) -> NVE:
    """Run velocity Verlet on a copy of `atoms`, which must carry a calculator.

    temperature: K, of the initial velocities (no net momentum; a molecule does not turn); timestep: fs; progress:
    called with (steps done, steps in all). Raises ValueError for settings that are not positive, atoms without a
    calculator, or one with direct forces unless `allow_nonconservative`; FloatingPointError naming the step when the
    energy stops being finite.
    """
    if atoms.calc is None:
        raise ValueError("nve: the atoms carry no calculator; set atoms.calc = Calculator(model)")
    model = getattr(atoms.calc, "model", None)
    if model is not None and hasattr(model, "conservative"):
        check_forces(model, "nve", allow_nonconservative=allow_nonconservative)
    if not (temperature > 0 and picoseconds > 0 and timestep > 0):
        raise ValueError(
            f"nve: temperature, picoseconds and timestep must be positive, got {temperature=} "
            f"{picoseconds=} {timestep=}"
        )
    units = require("ase.units", "atoms")
    from ase.md.verlet import VelocityVerlet

    system = atoms.copy()
    system.calc = atoms.calc
    system.set_velocities(_thermal(system, temperature, np.random.default_rng(seed)))
    steps = round(1000 * picoseconds / timestep)
    kinetic, potential = np.empty(steps + 1), np.empty(steps + 1)
    motion = VelocityVerlet(system, timestep * units.fs)

    started = time.perf_counter()
    for step in range(steps + 1):
        if step:
            motion.run(1)
        kinetic[step], potential[step] = system.get_kinetic_energy(), system.get_potential_energy()
        if not np.isfinite(kinetic[step] + potential[step]):
            raise FloatingPointError(f"nve: the energy is not finite at step {step} ({step * timestep:g} fs)")
        if progress is not None:
            progress(step, steps)
    seconds = time.perf_counter() - started
    return NVE(timestep * np.arange(steps + 1), kinetic, potential, len(system), steps / max(seconds, 1e-9))


def _thermal(atoms: Any, temperature: float, rng: np.random.Generator) -> Float[np.ndarray, "n 3"]:
    """Velocities (ASE units) from the Maxwell-Boltzmann distribution, the whole neither moving nor turning."""
    mass = atoms.get_masses()[:, None]
    v = np.sqrt(require("ase.units", "atoms").kB * temperature / mass) * rng.standard_normal((len(atoms), 3))
    one, pbc = torch.zeros(len(atoms), dtype=torch.int64), torch.tensor([atoms.pbc.tolist()])
    return still(*map(torch.from_numpy, (v, atoms.positions, mass[:, 0])), one, pbc).numpy()
