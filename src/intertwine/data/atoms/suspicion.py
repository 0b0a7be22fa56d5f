"""Labels in other units than eV and Å give themselves away: by the work of the forces, by their size, by other sets."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...extras import require
from .errors import Defect
from .shifts import composition, least_squares

_FIX = "name the units of the file in Units(...)"
_ENOUGH = 10  # pairs of frames for a verdict; twice as many where frames do not follow each other
_NEAR = 0.2  # Å: root mean square step between two frames over which forces change about linearly
_SEARCHED = 200_000  # atoms: so many times the frames are compared when none follows another closely


def suspect_units(graphs: Sequence[Any]) -> list[Defect]:
    """A defect when energies and forces of these graphs cannot both be in eV and eV/Å, or hardly are.

    Two tests. Between two close frames, neighbours in the file or else the nearest of all, turned onto each other, the
    energy must change by the work of the forces: a ratio that is not 1 is a mismatch of units. And what energies vary
    by, over the square of the forces, is one over the stiffness of bonds, which is known well enough to tell units.
    """
    labelled = [g for g in graphs if g.has_energy and g.has_forces]
    following = [pair for a, b in pairwise(graphs) if (pair := _step(a, b)) is not None]
    if len(following) >= _ENOUGH:
        found = _work(*zip(*following), alike=0.9, ratios=(0.7, 1.4), exact=True)
    else:
        change, work = _nearest(labelled)
        enough = len(change) >= 2 * _ENOUGH
        found = _work(change, work, alike=0.8, ratios=(0.4, 2.5), exact=False) if enough else []
    return found or _size_of_forces(labelled)


def _step(a: Any, b: Any) -> tuple[float, float] | None:
    """Change of the energy between two frames and work of the forces; None for frames that are not close."""
    if not (
        a.has_energy and b.has_energy and a.has_forces and b.has_forces and a.z.equal(b.z) and a.cell.equal(b.cell)
    ):
        return None
    step = b.pos - a.pos
    if not 0 < float(step.square().sum(1).mean()) < 0.3**2:
        return None
    return float(b.energy - a.energy), -0.5 * float(((a.forces + b.forces).double() * step).sum())


def _nearest(graphs: Sequence[Any]) -> tuple[list[float], list[float]]:
    """As `_step`, between each frame and the one nearest to it, of the most frequent molecule or cell."""
    kinds = [(g.z.numpy().tobytes(), g.cell.numpy().tobytes(), bool(g.pbc.any())) for g in graphs]
    if not kinds:
        return [], []
    kind, _ = Counter(kinds).most_common(1)[0]
    same = [g for g, own in zip(graphs, kinds) if own == kind]
    same = same[: max(2, int((_SEARCHED / max(len(same[0].z), 1)) ** 0.5))]
    pos, forces = (np.stack([g[name].double().numpy() for g in same]) for name in ("pos", "forces"))
    energy = np.array([float(g.energy) for g in same])
    cell = same[0].cell[0].double().numpy() if kind[2] else None
    periodic = same[0].pbc[0].numpy()
    pos = pos if cell is not None else pos - pos.mean(1, keepdims=True)
    change, work = [], []
    for i in range(len(same)):
        if cell is not None:
            turn = np.broadcast_to(np.eye(3), (len(same), 3, 3))
            step = pos - pos[i]
            step = step - ((step @ np.linalg.pinv(cell)).round() * periodic) @ cell
        else:
            turn = _turns(pos[i], pos)
            step = pos @ turn - pos[i]
        size = np.square(step).sum(2).mean(1)
        size[size < 1e-12] = np.inf  # itself, and copies
        j = int(size.argmin())
        if size[j] < _NEAR**2:
            change.append(energy[j] - energy[i])
            work.append(-0.5 * float(((forces[i] + forces[j] @ turn[j]) * step[j]).sum()))
    return change, work


def _turns(target: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Rotations R [frames, 3, 3] that bring points @ R closest to the target (Kabsch)."""
    U, _, Vt = np.linalg.svd(points.swapaxes(1, 2) @ target)
    U[:, :, 2] *= np.linalg.det(U @ Vt)[:, None]
    return U @ Vt


def _work(
    change: Sequence[float], work: Sequence[float], *, alike: float, ratios: tuple[float, float], exact: bool
) -> list[Defect]:
    """A defect when changes and work go together (correlation beyond `alike`) but their ratio is not within bounds.

    exact: the ratio is good enough to tell which units.
    """
    change, work = np.array(change), np.array(work)
    if not (change.any() and work.any()):
        return []
    together = float(change @ work / np.sqrt((change @ change) * (work @ work)))
    ratio = float(np.sqrt((change @ change) / (work @ work)))
    if abs(together) < alike or (together > 0 and ratios[0] < ratio < ratios[1]):
        return []
    if together < 0:
        problem = "energies fall where the forces point uphill: they look like gradients; change their sign"
    else:
        rough = "; forces in hartree/bohr give 51.4, in hartree/Å 27.2, energies in kcal/mol 23.1, or the inverse"
        about = f"{ratio:.3g} times" if exact else f"roughly {ratio:.2g} times"
        problem = f"energy differences are {about} the work of the forces{_guess(ratio) if exact else rough}"
    return [Defect("units", problem, _FIX, fatal=False)]


def _guess(ratio: float) -> str:
    """What may stand in the file when energies are `ratio` times the work of the forces."""
    units = require("ase.units", "atoms")
    kcal = units.kcal / units.mol
    known = {
        1 / units.Hartree: "energies in hartree, forces in eV/Å",
        1 / units.Bohr: "energies in hartree, forces in hartree/bohr",
        units.Hartree: "forces in hartree/Å",
        units.Hartree / units.Bohr: "forces in hartree/bohr",
        units.Bohr / units.Hartree: "forces in eV/Å that were converted from hartree/bohr once too often",
        1 / kcal: "energies in kcal/mol, forces in eV/Å",
        kcal: "forces in kcal/mol/Å",
        units.Bohr: "positions in bohr",
    }
    best = min(known, key=lambda value: abs(np.log(value / ratio)))
    return f", as with {known[best]}" if abs(np.log(best / ratio)) < 0.2 else ""


def _size_of_forces(labelled: Sequence[Any]) -> list[Defect]:
    if len(labelled) < 20:
        return []
    counts, _ = composition([g.z.numpy() for g in labelled])
    energy = np.array([float(g.energy) for g in labelled])
    shift, _ = least_squares(counts, energy)
    atoms = counts.sum(1)
    residual = (energy - counts @ shift) / np.sqrt(3 * atoms)  # about kT / sqrt(2) for harmonic motion
    spread = 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
    force = root_mean_square(labelled)
    # spread / force² is 1 / (stiffness √2), whatever the temperature: 0.02 Å²/eV for molecules, 0.2 for soft metals.
    softness = spread / force**2 if force > 0 else np.inf
    open_boxes = not any(bool(g.pbc.any()) for g in labelled)
    if force > 5.0 and softness < 3e-4:
        what = "large for how energies vary: were eV/Å taken for atomic units, and multiplied by 27.2 or 51.4?"
        fix = _FIX
    elif force > 5.0 and softness < 3e-3:
        what, fix = "large for eV: is it kcal/mol?", "if so, read with Units(energy='kcal/mol')"
    elif 0.005 < force < 0.2 and softness > 3.0:
        what = "small for how energies vary: is it hartree/bohr or hartree/Å, or are the structures relaxed?"
        fix = "if it is, read with Units(forces='hartree/bohr') or Units(forces='hartree/angstrom')"
    elif 0.02 < force < 0.2 and spread < 0.01 and softness > 0.3 and open_boxes:
        what, fix = "small for eV: is it hartree?", "if so, read with Units(energy='hartree')"
    else:
        return []
    problem = f"forces (RMS {force:.3g}) and energies (spread {spread:.2g} per mode): they are {what}"
    return [Defect("units", problem, fix, fatal=False)]


def root_mean_square(graphs: Sequence[Any]) -> float:
    """Of all components of labelled forces, eV/Å; 0 where there are none."""
    parts = [g.forces.double().numpy().ravel() for g in graphs if g.has_forces]
    forces = np.concatenate(parts) if parts else np.zeros(0)
    return float(np.sqrt(np.mean(forces**2))) if len(forces) else 0.0


def off_scale(expected: float, graphs: Sequence[Any]) -> list[Defect]:
    """A defect when the forces of these graphs are 16 to 87 times the expected root mean square (eV/Å), or below it.

    In that range lie 27.2 and 51.4, what hartree/Å and hartree/bohr differ by from eV/Å; hardly ever do two sets of one
    study, such as one for training and one for testing, unless one of them holds relaxed structures.
    """
    units = require("ase.units", "atoms")
    found = root_mean_square(graphs)
    if not (expected > 0 and found > 0):
        return []
    ratio = found / expected
    factor, how = (ratio, "times") if ratio > 1 else (1 / ratio, "times smaller than")
    low, high = units.Hartree, units.Hartree / units.Bohr
    if not low / 1.7 < factor < high * 1.7:
        return []
    nearest = min((low, high), key=lambda value: abs(np.log(value / factor)))
    what = "hartree/bohr" if nearest == high else "hartree/Å"
    problem = f"forces of RMS {found:.3g} eV/Å are {factor:.3g} {how} the expected {expected:.3g}, as with {what}"
    return [Defect("units", problem, _FIX, fatal=False)]
