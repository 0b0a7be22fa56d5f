"""Training data out of nothing: a molecule shaken by thermal motion, every frame labelled by GFN2-xTB."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from ...extras import require
from .xtb import METHOD, XTB, SCFError, version

_SMILES = {"CCO": "CH3CH2OH", "ethanol": "CH3CH2OH", "O": "H2O", "water": "H2O", "C": "CH4", "methane": "CH4"}
_SMILES |= {"CO": "CH3OH", "methanol": "CH3OH", "c1ccccc1": "C6H6", "benzene": "C6H6", "CC": "C2H6", "ethane": "C2H6"}


def molecule(name: str):
    """ase.Atoms of a molecule by name, SMILES (both for a few common ones), or its name in ASE's G2 set.

    Raises ValueError for a name that is not known.
    """
    g2 = require("ase.collections", "atoms").g2
    found = _SMILES.get(name, name)
    if found not in g2.names:
        raise ValueError(
            f"no geometry for {name!r}; known are {', '.join(_SMILES)} and the names of ase.build.molecule "
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

    molecule: a name (see `molecule`) or ase.Atoms in an open box. temperature: K; friction: 1/fs; a frame every
    `interval_fs` after `burn_in_fs`. align: turn and shift every frame onto the starting geometry (Kabsch), forces with
    it, so that all molecules stand upright; otherwise they drift and tumble. displaced: so many more frames, drawn from
    the trajectory with Gaussian displacements of `sigma` (Å) on every coordinate. The same seed gives the same bits.
    progress: called with (MD steps done, steps in all). Provenance is in every frame's `info`.
    About 1 ms per MD step for ethanol. Raises ValueError for bad settings, SCFError naming the step.
    """
    settings = _Settings(
        molecule, frames, temperature, interval_fs, seed, accuracy, timestep_fs, friction, burn_in_fs, charge, unpaired
    )
    if displaced < 0 or not sigma > 0:
        raise ValueError(f"xtb_trajectory: displaced must be >= 0 and sigma > 0, got {displaced} and {sigma}")
    images = []
    for image in settings.run(progress):
        if align:
            turn_onto(image, settings.start)
        images.append(image)
    if displaced:
        rng = np.random.default_rng([seed, 1])
        origin = rng.integers(len(images), size=displaced)
        moved = [images[i].copy() for i in origin]
        for image in moved:
            image.positions += sigma * rng.standard_normal(image.positions.shape)
            image.info |= {"config_type": "displaced", "sigma_A": sigma}
        images += label(moved, accuracy=accuracy, charge=charge, unpaired=unpaired)
    return images


def label(images: Iterable, *, accuracy: float = 0.01, charge: float = 0.0, unpaired: int = 0) -> list:
    """Copies of open ase.Atoms with GFN2-xTB energy and forces as calculator results. Raises SCFError naming the frame."""
    engines: dict[tuple[int, ...], XTB] = {}
    out = []
    for i, image in enumerate(images):
        _check_open(image)
        key = tuple(image.numbers.tolist())
        if key not in engines:
            engines[key] = XTB(image.numbers, accuracy=accuracy, charge=charge, unpaired=unpaired)
        try:
            energy, forces = engines[key](image.positions)
        except SCFError as problem:
            raise SCFError(f"frame {i}: {problem}; is the geometry sound?") from problem
        out.append(_labelled(image.copy(), energy, forces))
        out[-1].info |= {"method": METHOD, "tblite_version": version(), "accuracy": accuracy}
    return out


def turn_onto(image, reference: Float[np.ndarray, "n 3"]) -> None:
    """Move an ase.Atoms rigidly onto reference positions (least squares, no reflection), its forces with it, in place."""
    rotation, centre = kabsch(image.positions, reference)
    image.positions = (image.positions - image.positions.mean(0)) @ rotation.T + centre
    if image.calc is not None and "forces" in image.calc.results:
        image.calc = (
            None
            if image.calc is None
            else _single(image, image.calc.results["energy"], image.calc.results["forces"] @ rotation.T)
        )


def kabsch(
    positions: Float[np.ndarray, "n 3"], reference: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]:
    """Rotation R and centre c minimising sum |R (x_i - mean x) + c - y_i|^2 (Kabsch 1976); det R = +1."""
    centre = reference.mean(0)
    u, _, vt = np.linalg.svd((positions - positions.mean(0)).T @ (reference - centre))
    sign = np.sign(np.linalg.det(vt.T @ u.T)) or 1.0
    return vt.T @ np.diag([1.0, 1.0, sign]) @ u.T, centre


class _Settings:
    """Checked settings of one trajectory, and the loop that runs it."""

    def __init__(
        self,
        molecule_,
        frames,
        temperature,
        interval_fs,
        seed,
        accuracy,
        timestep_fs,
        friction,
        burn_in_fs,
        charge,
        unpaired,
    ):
        self.atoms = molecule(molecule_) if isinstance(molecule_, str) else molecule_.copy()
        _check_open(self.atoms)
        positive = {
            "frames": frames,
            "temperature": temperature,
            "interval_fs": interval_fs,
            "timestep_fs": timestep_fs,
            "friction": friction,
        }
        for name, value in positive.items():
            if not value > 0:
                raise ValueError(f"xtb_trajectory: {name} must be positive, got {value}")
        if burn_in_fs < 0:
            raise ValueError(f"xtb_trajectory: burn_in_fs must not be negative, got {burn_in_fs}")
        self.every, self.burn_in = round(interval_fs / timestep_fs), round(burn_in_fs / timestep_fs)
        if self.every < 1:
            raise ValueError(f"xtb_trajectory: interval_fs {interval_fs} is shorter than timestep_fs {timestep_fs}")
        self.frames, self.temperature, self.seed = int(frames), temperature, seed
        self.timestep, self.friction = timestep_fs, friction
        self.start = self.atoms.positions.copy()
        self.engine = XTB(self.atoms.numbers, accuracy=accuracy, charge=charge, unpaired=unpaired)
        self.info = {
            "config_type": f"{temperature:g}K_MD",
            "method": METHOD,
            "tblite_version": version(),
            "accuracy": accuracy,
            "seed": seed,
            "temperature_K": temperature,
            "timestep_fs": timestep_fs,
            "friction_per_fs": friction,
            "charge": charge,
        }

    def run(self, progress: Callable[[int, int], None] | None) -> Iterator:
        """Yield a labelled frame every `every` steps after the burn-in: BAOAB (arXiv:1203.5428), drawn from the seed."""
        units = require("ase.units", "atoms")
        rng = np.random.default_rng(self.seed)
        mass = self.atoms.get_masses()[:, None]
        dt, kick = self.timestep, 0.5 * self.timestep * units.fs**2 / mass  # units.fs²: Å/fs² per eV/(Å amu)
        thermal = np.sqrt(units.kB * self.temperature / mass) * units.fs  # Å/fs
        keep = np.exp(-self.friction * dt)
        stir = np.sqrt(1 - keep**2)
        x = self.start.copy()
        v = thermal * rng.standard_normal(x.shape)
        total = self.burn_in + self.frames * self.every
        energy, forces = self._label(x, 0)
        for step in range(1, total + 1):
            v += kick * forces
            x += 0.5 * dt * v
            v = keep * v + stir * thermal * rng.standard_normal(x.shape)
            x += 0.5 * dt * v
            energy, forces = self._label(x, step)
            v += kick * forces
            if progress is not None and (step % self.every == 0 or step == total):
                progress(step, total)
            if step > self.burn_in and (step - self.burn_in) % self.every == 0:
                image = self.atoms.copy()
                image.positions = x.copy()
                image.info = {**self.info, "time_fs": step * dt}
                yield _labelled(image, energy, forces)

    def _label(self, x: np.ndarray, step: int) -> tuple[float, np.ndarray]:
        try:
            return self.engine(x)
        except (SCFError, ValueError) as problem:
            raise SCFError(
                f"step {step} of the trajectory ({step * self.timestep:g} fs, {self.temperature:g} K): {problem}; "
                "lower the temperature or the time step, or start from a relaxed geometry"
            ) from problem


def _check_open(image) -> None:
    if not hasattr(image, "get_masses"):
        raise TypeError(f"expected a molecule's name or ase.Atoms, got {type(image).__name__}")
    if image.pbc.any():
        raise ValueError(
            f"{image.get_chemical_formula()} is periodic (pbc {image.pbc.tolist()}); labels are made for molecules"
        )


def _labelled(image, energy: float, forces: np.ndarray):
    image.calc = _single(image, energy, forces)
    return image


def _single(image, energy: float, forces: np.ndarray):
    single = require("ase.calculators.singlepoint", "atoms").SinglePointCalculator
    return single(image, energy=energy, forces=forces)
