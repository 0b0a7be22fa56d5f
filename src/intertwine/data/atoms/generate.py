"""Training data out of nothing: a molecule shaken by thermal motion, every frame labelled by GFN2-xTB."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from jaxtyping import Float

from ...extras import require
from .xtb import METHOD, XTB, SCFError, version

_KNOWN = {  # SMILES and common names -> name in the G2 set
    "CCO": "CH3CH2OH",
    "ethanol": "CH3CH2OH",
    "CO": "CH3OH",
    "methanol": "CH3OH",
    "O": "H2O",
    "water": "H2O",
    "C": "CH4",
    "methane": "CH4",
    "CC": "C2H6",
    "ethane": "C2H6",
    "c1ccccc1": "C6H6",
    "benzene": "C6H6",
}


def builtin(name: str):
    """ase.Atoms of a molecule by name, SMILES (both for a few common ones), or its name in ASE's G2 set.

    Raises ValueError for a name that is not known.
    """
    g2 = require("ase.collections", "atoms").g2
    found = _KNOWN.get(name, name)
    if found not in g2.names:
        raise ValueError(
            f"no geometry for {name!r}; known are {', '.join(_KNOWN)} and the names of ase.build.molecule "
            "('CH3CHO', 'C6H6', ...); for anything else pass ase.Atoms"
        )
    return require("ase.build", "atoms").molecule(found)


def xtb_trajectory(
    molecule: Any = "CCO",
    frames: int = 1000,
    *,
    temperature: float = 500.0,
    interval_fs: float = 10.0,
    seed: int = 0,
    accuracy: float = 0.01,
    align: bool = True,
    displaced: int = 0,
    sigma: float = 0.05,
    timestep_fs: float = 1.0,
    friction: float = 0.02,
    burn_in_fs: float = 2000.0,
    charge: float = 0.0,
    unpaired: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list:
    """Frames of Langevin dynamics on the GFN2-xTB surface as ase.Atoms with energy (eV) and forces (eV/Å).

    molecule: a name (see `builtin`) or ase.Atoms in an open box. temperature: K; friction: 1/fs; a frame every
    `interval_fs` after `burn_in_fs`. align: turn and shift every frame onto the starting geometry (Kabsch), forces with
    it, so that all molecules stand upright; otherwise they drift and tumble. displaced: so many more frames, drawn from
    the trajectory with Gaussian displacements of `sigma` (Å) on every coordinate. The same seed gives the same bits.
    progress: called with (MD steps done, steps in all). Provenance is in every frame's `info`.
    About 1 ms per MD step for ethanol. Raises ValueError for bad settings, SCFError naming the step.
    """
    start = builtin(molecule) if isinstance(molecule, str) else molecule
    _check_open(start)
    _check_settings(frames=frames, temperature=temperature, friction=friction, timestep_fs=timestep_fs, sigma=sigma)
    if displaced < 0 or burn_in_fs < 0:
        raise ValueError(f"xtb_trajectory: negative displaced ({displaced}) or burn_in_fs ({burn_in_fs})")
    every, burn_in = round(interval_fs / timestep_fs), round(burn_in_fs / timestep_fs)
    if every < 1:
        raise ValueError(f"xtb_trajectory: interval_fs {interval_fs} is shorter than timestep_fs {timestep_fs}")
    engine = XTB(start.numbers, accuracy=accuracy, charge=charge, unpaired=unpaired)
    info = {"config_type": f"{temperature:g}K_MD", **_provenance(engine), "seed": seed, "temperature_K": temperature}
    info |= {"timestep_fs": timestep_fs, "friction_per_fs": friction}

    motion = Langevin(start, engine, temperature, timestep_fs, friction, np.random.default_rng(seed))
    images, total = [], burn_in + frames * every
    for step in range(1, total + 1):
        motion.step()
        if progress is not None and (step % every == 0 or step == total):
            progress(step, total)
        if step > burn_in and (step - burn_in) % every == 0:
            image = start.copy()
            image.positions, image.info = motion.x.copy(), {**info, "time_fs": step * timestep_fs}
            _attach(image, motion.energy, motion.forces)
            if align:
                turn_onto(image, start.positions)
            images.append(image)
    if displaced:
        rng = np.random.default_rng([seed, 1])
        moved = [images[i].copy() for i in rng.integers(len(images), size=displaced)]
        for image in moved:
            image.positions += sigma * rng.standard_normal(image.positions.shape)
            image.info |= {"config_type": "displaced", "sigma_A": sigma}
        images += xtb_label(moved, accuracy=accuracy, charge=charge, unpaired=unpaired)
    return images


class Langevin:
    """A molecule in a heat bath, BAOAB (arXiv:1203.5428); `step()` advances x (Å), v (Å/fs), forces and energy.

    temperature: K; timestep: fs; friction: 1/fs.
    """

    def __init__(
        self, atoms, engine: XTB, temperature: float, timestep: float, friction: float, rng: np.random.Generator
    ):
        units = require("ase.units", "atoms")
        mass = atoms.get_masses()[:, None]
        self.engine, self.rng, self.dt, self.temperature = engine, rng, timestep, temperature
        self._kick = 0.5 * timestep * units.fs**2 / mass  # units.fs² is Å/fs² per eV/(Å amu)
        self._thermal = np.sqrt(units.kB * temperature / mass) * units.fs  # Å/fs
        self._keep = float(np.exp(-friction * timestep))
        self._stir = float(np.sqrt(1 - self._keep**2))
        self.x, self.steps = atoms.positions.copy(), 0
        self.v = self._thermal * rng.standard_normal(self.x.shape)
        self._label()

    def step(self) -> None:
        """One time step. Raises SCFError naming it."""
        self.v += self._kick * self.forces
        self.x += 0.5 * self.dt * self.v
        self.v = self._keep * self.v + self._stir * self._thermal * self.rng.standard_normal(self.x.shape)
        self.x += 0.5 * self.dt * self.v
        self.steps += 1
        self._label()
        self.v += self._kick * self.forces

    def _label(self) -> None:
        try:
            self.energy, self.forces = self.engine(self.x)
        except (SCFError, ValueError) as problem:  # ValueError: the positions have run off to infinity
            where = f"step {self.steps} of the trajectory ({self.steps * self.dt:g} fs at {self.temperature:g} K)"
            fix = "lower the temperature or the time step, or start from a relaxed geometry"
            raise SCFError(f"{where}: {problem}; {fix}") from problem


def xtb_label(images: Iterable, *, accuracy: float = 0.01, charge: float = 0.0, unpaired: int = 0) -> list:
    """Copies of open ase.Atoms with GFN2-xTB energy and forces in a calculator. Raises SCFError naming the frame."""
    engines: dict[tuple[int, ...], XTB] = {}
    out = []
    for i, image in enumerate(images):
        _check_open(image)
        key = tuple(image.numbers.tolist())
        if key not in engines:
            engines[key] = XTB(image.numbers, accuracy=accuracy, charge=charge, unpaired=unpaired)
        try:
            energy, forces = engines[key](image.positions)
        except (SCFError, ValueError) as problem:
            raise SCFError(f"frame {i}: {problem}; is the geometry sound?") from problem
        out.append(image.copy())
        out[-1].info |= _provenance(engines[key])
        _attach(out[-1], energy, forces)
    return out


def turn_onto(image, reference: Float[np.ndarray, "n 3"]) -> None:
    """Move an ase.Atoms and its forces rigidly onto reference positions (Å; least squares, no reflection), in place."""
    rotation, centre = kabsch(image.positions, reference)
    image.positions = (image.positions - image.positions.mean(0)) @ rotation.T + centre
    if image.calc is not None and "forces" in image.calc.results:
        results = image.calc.results
        _attach(image, results["energy"], results["forces"] @ rotation.T)


def kabsch(
    positions: Float[np.ndarray, "n 3"], reference: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]:
    """Rotation R and centre c minimising sum |R (x_i - mean x) + c - y_i|^2 (Kabsch 1976); det R = +1."""
    centre = reference.mean(0)
    u, _, vt = np.linalg.svd((positions - positions.mean(0)).T @ (reference - centre))
    sign = np.sign(np.linalg.det(vt.T @ u.T)) or 1.0
    return vt.T @ np.diag([1.0, 1.0, sign]) @ u.T, centre


def _check_open(image) -> None:
    if not hasattr(image, "get_masses"):
        raise TypeError(f"expected a molecule's name or ase.Atoms, got {type(image).__name__}")
    if image.pbc.any():
        raise ValueError(
            f"{image.get_chemical_formula()} is periodic (pbc {image.pbc.tolist()}); labels are made for molecules"
        )


def _check_settings(**settings: float) -> None:
    for name, value in settings.items():
        if not value > 0:
            raise ValueError(f"xtb_trajectory: {name} must be positive, got {value}")


def _provenance(engine: XTB) -> dict[str, Any]:
    return {"method": METHOD, "tblite_version": version(), "accuracy": engine.accuracy, "charge": engine.charge}


def _attach(image, energy: float, forces: np.ndarray) -> None:
    single = require("ase.calculators.singlepoint", "atoms").SinglePointCalculator
    image.calc = single(image, energy=energy, forces=forces)
