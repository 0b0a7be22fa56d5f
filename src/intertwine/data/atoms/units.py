"""Units other than eV and Å: converted when the user names them, suspected when the numbers give them away."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ...extras import require
from .errors import Defect
from .shifts import composition, least_squares

_ENERGY = ("eV", "meV", "hartree", "rydberg", "kcal/mol", "kJ/mol")
_LENGTH = ("angstrom", "bohr", "nm")


@dataclass(frozen=True)
class Units:
    """The units of a file; everything is converted to eV, Å, eV/Å, eV/Å³ while reading.

    energy: eV, meV, hartree, rydberg, kcal/mol or kJ/mol. length: of positions and cell, angstrom, bohr or nm.
    forces: such as "hartree/bohr"; None means energy/length. stress: such as "hartree/bohr^3", or "GPa"; None means
    energy/length^3. A virial has the unit of energy. Raises ValueError for a unit that is not known.
    """

    energy: str = "eV"
    length: str = "angstrom"
    forces: str | None = None
    stress: str | None = None

    def __post_init__(self):
        self.factors()

    def factors(self) -> dict[str, float]:
        """What to multiply by, for "energy", "length", "forces" and "stress"."""
        energy, length = _size(self.energy, _ENERGY), _size(self.length, _LENGTH)
        forces = _compound(self.forces, 1) if self.forces else energy / length
        if self.stress == "GPa":
            stress = require("ase.units", "atoms").GPa
        else:
            stress = _compound(self.stress, 3) if self.stress else energy / length**3
        return {"energy": energy, "length": length, "forces": forces, "stress": stress}


def _size(name: str, known: tuple[str, ...]) -> float:
    """One of a unit in eV or Å."""
    units = require("ase.units", "atoms")
    sizes = {
        **{"eV": 1.0, "meV": 1e-3, "hartree": units.Hartree, "rydberg": units.Rydberg},
        **{"kcal/mol": units.kcal / units.mol, "kJ/mol": units.kJ / units.mol},
        **{"angstrom": 1.0, "bohr": units.Bohr, "nm": 10.0},
    }
    if name not in known:
        raise ValueError(f"Units: {name!r} is not known here; there are {', '.join(known)}")
    return sizes[name]


def _compound(name: str, power: int) -> float:
    """Energy per length to a power, such as "kcal/mol/angstrom" or "hartree/bohr^3"."""
    energy, _, length = name.rpartition("/")
    if power > 1:
        length = length.removesuffix(f"^{power}") if length.endswith(f"^{power}") else f"{length} without ^{power}"
    return _size(energy, _ENERGY) / _size(length, _LENGTH) ** power


def suspect_units(graphs: Sequence[Any]) -> list[Defect]:
    """A defect when energies and forces of these graphs cannot both be in eV and eV/Å, or hardly are.

    Two tests. Between close neighbouring frames the energy must change by the work of the forces: a ratio that is not 1
    is a mismatch of units where the two go together. And what energies vary by, over the square of the forces, is one
    over the stiffness of bonds, which is known well enough to tell kcal/mol from eV.
    """
    return _work(graphs) or _size_of_forces(graphs)


def _work(graphs: Sequence[Any]) -> list[Defect]:
    change, work = [], []
    for a, b in pairwise(graphs):
        if not (a.has_energy and b.has_energy and a.has_forces and b.has_forces):
            continue
        if a.z.equal(b.z) and a.cell.equal(b.cell):
            step = b.pos - a.pos
            if 0 < float(step.square().sum(1).mean()) < 0.3**2:
                change.append(float(b.energy - a.energy))
                work.append(-0.5 * float(((a.forces + b.forces).double() * step).sum()))
    if len(change) < 10:
        return []
    change, work = np.array(change), np.array(work)
    if not (change.any() and work.any()):
        return []
    together = float(change @ work / np.sqrt((change @ change) * (work @ work)))
    ratio = float(np.sqrt((change @ change) / (work @ work)))
    if abs(together) < 0.9 or (together > 0 and 0.7 < ratio < 1.4):
        return []
    if together < 0:
        problem = "energies fall where the forces point uphill: they look like gradients; change their sign"
    else:
        problem = f"energy differences are {ratio:.3g} times the work of the forces{_guess(ratio)}"
    return [Defect("units", problem, "name the units of the file in Units(...)", fatal=False)]


def _guess(ratio: float) -> str:
    units = require("ase.units", "atoms")
    kcal = units.kcal / units.mol
    known = {
        1 / units.Hartree: "energies in hartree, forces in eV/Å",
        1 / units.Bohr: "energies in hartree, forces in hartree/bohr",
        units.Hartree / units.Bohr: "forces in hartree/bohr",
        1 / kcal: "energies in kcal/mol, forces in eV/Å",
        kcal: "forces in kcal/mol/Å",
        units.Bohr: "positions in bohr",
    }
    best = min(known, key=lambda value: abs(np.log(value / ratio)))
    return f", as with {known[best]}" if abs(np.log(best / ratio)) < 0.2 else ""


def _size_of_forces(graphs: Sequence[Any]) -> list[Defect]:
    labelled = [g for g in graphs if g.has_energy and g.has_forces]
    if len(labelled) < 20:
        return []
    counts, _ = composition([g.z.numpy() for g in labelled])
    energy = np.array([float(g.energy) for g in labelled])
    shift, _ = least_squares(counts, energy)
    atoms = counts.sum(1)
    residual = (energy - counts @ shift) / np.sqrt(3 * atoms)  # about kT / sqrt(2) for harmonic motion
    spread = 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
    force = float(np.sqrt(np.mean(np.concatenate([g.forces.double().numpy().ravel() for g in labelled]) ** 2)))
    # spread / force² is 1 / (stiffness √2), whatever the temperature: 0.02 Å²/eV for molecules, 0.2 for soft metals.
    softness = spread / force**2 if force > 0 else np.inf
    open_boxes = not any(bool(g.pbc.any()) for g in labelled)
    if force > 5.0 and softness < 3e-3:
        unit, what = "kcal/mol", "large"
    elif 0.02 < force < 0.2 and spread < 0.01 and softness > 0.3 and open_boxes:
        unit, what = "hartree", "small"
    else:
        return []
    problem = f"forces (RMS {force:.3g}) and energies (spread {spread:.2g} per mode) are {what} for eV: is it {unit}?"
    return [Defect("units", problem, f"if so, read with Units(energy='{unit}')", fatal=False)]
