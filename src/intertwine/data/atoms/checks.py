"""What can be wrong with a structure, one by one and in a set, and how each is said; nothing is repaired silently."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ...extras import require
from .errors import Defect
from .graph import AtomicGraph
from .neighbors import neighbor_list
from .shifts import composition, least_squares
from .species import atomic_numbers, species_defects, symbol
from .suspicion import suspect_units


@dataclass(frozen=True)
class Checks:
    """Thresholds of what is checked while reading; None or False switches a check off.

    require: labels that at least one frame must have. species: the elements allowed (symbols or numbers), for example
    those a trained model knows. min_distance: fraction of the sum of covalent radii below which two atoms are too
    close. max_force: eV/Å, beyond it a frame is listed, and dropped with drop_large_forces. min_volume: Å³ per atom of
    a fully periodic box. energy_sigmas: robust standard deviations of the energy per atom around the fit of
    per-species energies. net_force: eV/Å, of an open structure. duplicates: look for frames with one geometry.
    max_edges: of one structure, checked before its neighbour list is built.
    """

    require: tuple[str, ...] = ("energy", "forces")
    species: tuple[str | int, ...] | None = None
    min_distance: float | None = 0.4
    max_force: float | None = 50.0
    drop_large_forces: bool = False
    min_volume: float | None = 1e-3
    energy_sigmas: float | None = 10.0
    net_force: float | None = 1e-3
    duplicates: bool = True
    units: bool = True
    max_edges: int = 50_000_000

    def __post_init__(self):
        unknown = set(self.require) - {"energy", "forces", "stress"}
        if unknown:
            raise ValueError(f"Checks: require names {sorted(unknown)}; the labels are energy, forces and stress")


DEFAULT_CHECKS = Checks()


def check_structure(graph: AtomicGraph, checks: Checks = DEFAULT_CHECKS) -> list[Defect]:
    """Everything found in one structure (without edges), fatal defects first in the order of the list above."""
    z, pos = graph.z.numpy(), graph.pos.double().numpy()
    cell, pbc = graph.cell[0].double().numpy(), graph.pbc[0].numpy()
    allowed = None if checks.species is None else atomic_numbers(checks.species)
    found = species_defects(z, allowed) + _finite(graph, pos, cell)
    if any(defect.fatal for defect in found):
        return found
    found += _cell(cell, pbc, len(z), checks)
    if not any(defect.fatal for defect in found) and checks.min_distance is not None:
        found += _close(graph, z, checks)
    if graph.has_forces and checks.max_force is not None and len(z):
        size = np.linalg.norm(graph.forces.double().numpy(), axis=1)
        if size.max() > checks.max_force:
            found.append(
                Defect(
                    "large force",
                    f"the force on atom {size.argmax()} is {size.max():.1f} eV/Å (limit {checks.max_force:g})",
                    "look at this frame, or set drop_large_forces in Checks",
                    fatal=checks.drop_large_forces,
                )
            )
    return found


def _finite(graph: AtomicGraph, pos: np.ndarray, cell: np.ndarray) -> list[Defect]:
    fix = "remove the frame, or read with on_bad='drop'"
    for name, values in (("position", pos), ("force", graph.forces.numpy())):
        if not np.isfinite(values).all():
            atom = int(np.flatnonzero(~np.isfinite(values).all(1))[0])
            return [Defect(f"non-finite {name}", f"the {name} of atom {atom} is {values[atom].tolist()}", fix)]
    for name, values in (("cell", cell), ("energy", graph.energy.numpy()), ("stress", graph.stress.numpy())):
        if not np.isfinite(values).all():
            return [Defect(f"non-finite {name}", f"the {name} is {values.squeeze().tolist()}", fix)]
    return []


def _cell(cell: np.ndarray, pbc: np.ndarray, count: int, checks: Checks) -> list[Defect]:
    if not pbc.any():
        return []
    for axis in np.flatnonzero(pbc):
        if not cell[axis].any():
            return [
                Defect(
                    "bad cell",
                    f"pbc is True along axis {axis}, but its cell vector is zero",
                    'give a Lattice, or write pbc="F F F" for an open structure',
                )
            ]
    full = require("ase.cell", "atoms").Cell(cell).complete().array
    volume = float(np.linalg.det(full))
    smallest = (checks.min_volume or 0.0) * (count if pbc.all() else 1)
    if abs(volume) <= smallest:
        return [Defect("bad cell", f"the cell has volume {abs(volume):.2e} Å³ for {count} atoms", "check the Lattice")]
    if volume < 0 and pbc.all():
        return [Defect("left-handed cell", "the cell vectors are left-handed", "harmless; reorder them", fatal=False)]
    return []


def _close(graph: AtomicGraph, z: np.ndarray, checks: Checks) -> list[Defect]:
    radius = require("ase.data", "atoms").covalent_radii[z]
    if not len(z):
        return []
    reach = checks.min_distance * 2 * float(radius.max())
    pos, cell, pbc = graph.pos.double(), graph.cell[0].double(), graph.pbc[0]
    if reach <= 0:
        return []
    try:
        (source, target), shift = neighbor_list(pos, cell, pbc, reach, max_edges=checks.max_edges)
    except ValueError as problem:  # too many edges within a bond length: a box far too small for its atoms
        return [Defect("bad cell", str(problem), "check the Lattice and the units of the positions")]
    source, target = source.numpy(), target.numpy()
    if not len(source):
        return []
    points = pos.numpy()
    distance = np.linalg.norm(points[source] + shift.numpy() @ cell.numpy() - points[target], axis=1)
    excess = distance - checks.min_distance * (radius[source] + radius[target])
    worst = int(excess.argmin())
    if excess[worst] >= 0:
        return []
    a, b = sorted((int(target[worst]), int(source[worst])))
    what = (
        f"atom {a} ({symbol(z[a])}) and its own image"
        if a == b
        else f"atoms {a} ({symbol(z[a])}) and {b} ({symbol(z[b])})"
    )
    how = "stand on one spot" if distance[worst] < 1e-6 else f"are {distance[worst]:.3f} Å apart"
    limit = checks.min_distance * (radius[a] + radius[b])
    return [
        Defect(
            "atoms too close",
            f"{what} {how} (limit {limit:.3f} Å)",
            "check the positions and their unit, or lower min_distance in Checks",
        )
    ]


def check_set(graphs: Sequence[AtomicGraph], checks: Checks = DEFAULT_CHECKS) -> list[Defect]:
    """What shows only between frames: net forces, energies far from the fit, duplicates; none of these is fatal."""
    found = []
    for i, graph in enumerate(graphs):
        open_box = not bool(graph.pbc.any())
        if checks.net_force is not None and graph.has_forces and open_box:
            net = float(graph.forces.double().sum(0).norm())
            if net > checks.net_force:
                found.append(_soft("net force", f"the forces sum to {net:.2g} eV/Å, not zero", i, graph))
    if checks.energy_sigmas is not None:
        found += _outliers(graphs, checks.energy_sigmas)
    if checks.units:
        found += suspect_units(graphs)
    if checks.duplicates:
        seen: dict[bytes, int] = {}
        for i, graph in enumerate(graphs):
            first = seen.setdefault(fingerprint(graph), i)
            if first != i:
                found.append(_soft("duplicate", f"same geometry as frame {_number(graphs[first], first)}", i, graph))
    return found


def _number(graph: AtomicGraph, i: int) -> int:
    return int(graph.frame) if int(graph.frame) >= 0 else i


def _soft(kind: str, problem: str, i: int, graph: AtomicGraph) -> Defect:
    return Defect(kind, problem, fatal=False, frame=_number(graph, i))


def _outliers(graphs: Sequence[AtomicGraph], sigmas: float) -> list[Defect]:
    labelled = [i for i, graph in enumerate(graphs) if graph.has_energy]
    if len(labelled) < 20:  # too few to call one of them odd
        return []
    counts, _ = composition([graphs[i].z for i in labelled])
    energy = np.array([float(graphs[i].energy) for i in labelled])
    shift, _ = least_squares(counts, energy)
    residual = (energy - counts @ shift) / counts.sum(1)
    residual -= np.median(residual)
    sigma = 1.4826 * float(np.median(np.abs(residual)))
    if sigma < 1e-9:
        return []
    return [
        _soft("energy outlier", f"its energy is {r / sigma:+.0f} robust sigmas from the fit", i, graphs[i])
        for i, r in zip(labelled, residual)
        if abs(r) > sigmas * sigma
    ]


def fingerprint(graph: AtomicGraph) -> bytes:
    """Hash of a geometry to 1e-5 Å that ignores rigid motions and the order of atoms."""
    pos, z = graph.pos.double().numpy(), graph.z.numpy()
    radial = np.linalg.norm(pos - pos.mean(0), axis=1) if len(pos) else np.zeros(0)
    spread = np.linalg.eigvalsh((pos - pos.mean(0)).T @ ((pos - pos.mean(0)) * z[:, None])) if len(pos) else radial
    shape = sorted(zip(z.tolist(), (radial.round(5) + 0.0).tolist()))
    cell = graph.cell[0].double().numpy()
    text = repr((shape, (spread.round(3) + 0.0).tolist(), ((cell @ cell.T).round(4) + 0.0).tolist()))
    return hashlib.sha256(text.encode()).digest()


def overlap(first: Iterable[AtomicGraph], second: Iterable[AtomicGraph]) -> int:
    """How many structures of `second` also stand in `first` (by geometry): a test set must give 0."""
    known = {fingerprint(graph) for graph in first}
    return sum(fingerprint(graph) in known for graph in second)
