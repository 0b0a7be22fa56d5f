"""Does a potential conserve energy? Newton's equations without a thermostat, and what happens to the total energy."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ..extras import require


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
        slope = np.polyfit(self.time, self.total, 1)[0]  # eV/fs
        return float(1e6 * slope / self.atoms)

    @property
    def fluctuation(self) -> float:
        """Standard deviation of the total energy around that line, meV."""
        line = np.polyval(np.polyfit(self.time, self.total, 1), self.time)
        return float(1e3 * (self.total - line).std())


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
    if not (getattr(model, "conservative", True) or allow_nonconservative):
        raise ValueError(
            f"nve: the forces of this {type(model.backbone).__name__} come from a force head and are the derivative of "
            "no energy, so energy will drift; pass allow_nonconservative=True to see by how much"
        )
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
    v -= (mass * v).sum(0) / mass.sum()
    if atoms.pbc.any():
        return v
    r = atoms.positions - (mass * atoms.positions).sum(0) / mass.sum()
    inertia = (mass * r**2).sum() * np.eye(3) - (mass * r).T @ r
    # The pseudo-inverse, because a linear molecule has no inertia about its axis.
    spin = np.linalg.pinv(inertia, rcond=1e-10) @ (mass * np.cross(r, v)).sum(0)
    return v - np.cross(spin, r)
