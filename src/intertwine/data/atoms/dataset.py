"""A checked set of structures that behaves like a list of graphs: slices, splits, statistics, neighbour lists."""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch.utils.data import Dataset

from .. import split as splitting
from .checks import DEFAULT_CHECKS, Checks, check_set, check_structure
from .errors import DataError, DataWarning, Defect, ReadReport
from .graph import AtomicGraph, cast, connect, from_ase, to_ase
from .keys import DEFAULT_KEYS, Keys, available
from .species import symbol
from .store import Store
from .units import Units


@dataclass(frozen=True)
class Stats:
    """Numbers that describe a set: eV, eV/Å, Å; None where no frame has the label."""

    frames: int
    atoms: int
    species: tuple[str, ...]
    energy_mean: float | None
    energy_std: float | None
    force_rms: float | None
    force_rms_by_species: dict[str, float]
    force_max: float | None
    labelled: dict[str, int]
    config_types: dict[str, int]
    neighbors_mean: float | None

    def to_dict(self) -> dict:
        """Plain numbers and strings, for a JSON file."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.frames} structures, {self.atoms} atoms ({', '.join(self.species)})"]
        if self.energy_mean is not None:
            lines.append(f"energy {self.energy_mean:.6f} eV, standard deviation {self.energy_std:.6f} eV")
        if self.force_rms is not None:
            own = ", ".join(f"{name} {rms:.3f}" for name, rms in self.force_rms_by_species.items())
            lines.append(f"forces RMS {self.force_rms:.5f} eV/Å ({own}), largest {self.force_max:.2f} eV/Å")
        if self.neighbors_mean is not None:
            lines.append(f"neighbours {self.neighbors_mean:.4f} per atom")
        lines.append("labelled: " + ", ".join(f"{name} {count}" for name, count in self.labelled.items()))
        return "\n".join(lines)


class AtomicDataset(Dataset):
    """A list of AtomicGraphs: `dataset[3]` is a graph, `dataset[10:20]` or `dataset[[4, 2]]` another AtomicDataset.

    graphs: without edges, float64; with `cutoff` (Å) the neighbour list of a graph is built when it is first asked for
    and remembered. A `Store` stays on disk: its graphs are read, and their neighbours found, every time.
    `isolated`: energies of isolated atoms, eV by atomic number. `report`: what reading found.
    Raises ValueError for cutoff <= 0.
    """

    def __init__(
        self,
        graphs: Iterable[AtomicGraph],
        *,
        cutoff: float | None = None,
        max_neighbors: int | None = None,
        dtype: torch.dtype = torch.float64,
        isolated: dict[int, float] | None = None,
        report: ReadReport | None = None,
    ):
        if cutoff is not None and not cutoff > 0:
            raise ValueError(f"AtomicDataset: cutoff must be positive (Å), got {cutoff}")
        self._graphs = graphs if isinstance(graphs, Store) else list(graphs)
        self._ready: dict[int, AtomicGraph] = {}  # by position in _graphs; shared with the slices of this set
        self._rows = np.arange(len(self._graphs))
        self.cutoff, self.max_neighbors, self.dtype = cutoff, max_neighbors, dtype
        self.isolated = dict(isolated or {})
        self.report = report if report is not None else ReadReport(read=len(self._graphs), kept=len(self._graphs))

    @staticmethod
    def from_ase(
        images: Sequence,
        *,
        cutoff: float | None = None,
        dtype: torch.dtype = torch.float64,
        keys: Keys = DEFAULT_KEYS,
        units: Units | None = None,
        on_bad: str = "raise",
        checks: Checks = DEFAULT_CHECKS,
    ) -> "AtomicDataset":
        """The same checks as `read`, for structures that are already ase.Atoms. Raises DataError as `read` does."""
        frames = [("", i, atoms) for i, atoms in enumerate(images)]
        dataset = assemble(frames, keys=keys, units=units, on_bad=on_bad, checks=checks)
        return dataset.with_cutoff(cutoff, dtype=dtype)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i):
        if isinstance(i, (int, np.integer)):
            return self._graph(int(self._rows[i]))
        part = object.__new__(AtomicDataset)
        part.__dict__.update({k: v for k, v in self.__dict__.items() if k != "stats"})
        part._rows = self._rows[i if isinstance(i, slice) else np.asarray(i)]
        return part

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def _graph(self, row: int) -> AtomicGraph:
        if row in self._ready:
            return self._ready[row]
        graph = self._graphs[row]
        if self.cutoff is not None:
            graph = connect(graph, self.cutoff, max_neighbors=self.max_neighbors)
        graph = graph if self.dtype == torch.float64 else cast(graph, self.dtype)
        if self.store is None:
            self._ready[row] = graph
        return graph

    @property
    def store(self) -> Store | None:
        """The file on disk that the structures are read from one by one, or None: they are in memory."""
        return self._graphs if isinstance(self._graphs, Store) else None

    @property
    def rows(self) -> Int[np.ndarray, " structures"]:
        """Where each structure stands in the set that this one was sliced from."""
        return self._rows

    @property
    def natoms(self) -> Int[np.ndarray, " structures"]:
        """Atoms of every structure; reads no structure of a store."""
        if self.store is not None:
            return self.store.natoms[self._rows]
        return np.array([len(self._graphs[row].z) for row in self._rows], dtype=np.int64)

    @property
    def labelled(self) -> Bool[np.ndarray, "structures 3"]:
        """Whether energy, forces, stress of every structure are there; reads no structure of a store."""
        if self.store is not None:
            return self.store.labelled[self._rows]
        names = ("has_energy", "has_forces", "has_stress")
        return np.array([[bool(self._graphs[row][name]) for name in names] for row in self._rows]).reshape(-1, 3)

    @property
    def nedges(self) -> Int[np.ndarray, " structures"]:
        """Neighbours of every structure within `cutoff`; a store must have been packed with the same cutoff.

        Raises ValueError without a cutoff, or naming the two that differ.
        """
        if self.cutoff is None:
            raise ValueError("AtomicDataset: without a cutoff there are no edges to count; give it one")
        if self.store is None:
            return np.array([graph.edge_index.shape[1] for graph in self], dtype=np.int64)
        if self.store.cutoff != self.cutoff or self.max_neighbors is not None:
            raise ValueError(
                f"AtomicDataset: {self.store.path} counts neighbours within {self.store.cutoff} Å, wanted are those "
                f"within {self.cutoff} Å; pack it with --cutoff {self.cutoff:g}, or bound the atoms alone"
            )
        return self.store.edges[self._rows]

    def with_cutoff(
        self, cutoff: float | None, *, max_neighbors: int | None = None, dtype: torch.dtype | None = None
    ) -> "AtomicDataset":
        """The same structures with neighbours up to another cutoff (Å), and floating fields in another dtype."""
        if cutoff is not None and not cutoff > 0:
            raise ValueError(f"AtomicDataset: cutoff must be positive (Å), got {cutoff}")
        other = self[:]
        other._ready, other.cutoff, other.max_neighbors = {}, cutoff, max_neighbors
        other.dtype = self.dtype if dtype is None else dtype
        return other

    def split(
        self, parts: Sequence[float | int] = (0.8, 0.1, 0.1), *, method: str = "blocks", seed: int = 0
    ) -> tuple["AtomicDataset", ...]:
        """Cut into train, validation, test, ... as `data.split` does: "blocks" (consecutive frames) or "random".

        Warns when a random split would put neighbouring frames of one trajectory on both sides.
        """
        if method not in ("blocks", "random"):
            raise ValueError(f"AtomicDataset.split: method must be blocks or random, got {method!r}")
        if method == "random" and self.is_trajectory():
            warnings.warn(
                "consecutive frames of this set are close to each other: a random split puts near copies of training "
                "frames into the test set and its errors will flatter; use method='blocks'",
                DataWarning,
                stacklevel=2,
            )
        cut = splitting.random if method == "random" else splitting.blocks
        return tuple(self[rows] for rows in cut(len(self), parts, seed=seed))

    def is_trajectory(self) -> bool:
        """Whether consecutive frames are much closer (median displacement) than frames far apart in the set."""
        near, far, half = [], [], len(self) // 2
        for i in range(0, half, max(1, half // 50)):
            a, b, c = (self._graphs[self._rows[k]] for k in (i, i + 1, i + half))
            if a.z.equal(b.z) and a.z.equal(c.z):
                near.append(float((a.pos - b.pos).square().mean()))
                far.append(float((a.pos - c.pos).square().mean()))
        return len(near) >= 5 and float(np.median(near)) < 0.25 * float(np.median(far))

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending; of a store, those of the whole file."""
        if self.store is not None:
            return self.store.species
        return tuple(sorted({int(z) for row in self._rows for z in self._graphs[row].z.unique()}))

    @cached_property
    def stats(self) -> Stats:
        """Counts, means and spreads of the set; the mean number of neighbours where there is a cutoff."""
        graphs = [self._graphs[row] for row in self._rows]
        energy = np.array([float(g.energy) for g in graphs if g.has_energy])
        forced = [g for g in graphs if g.has_forces]
        forces = np.concatenate([g.forces.numpy() for g in forced]) if forced else np.zeros((0, 3))
        z = np.concatenate([g.z.numpy() for g in forced]) if forced else np.zeros(0)
        rms = lambda f: float(np.sqrt(np.mean(f**2)))  # noqa: E731
        atoms = sum(len(g.z) for g in graphs)
        edges = sum(self[i].edge_index.shape[1] for i in range(len(self))) if self.cutoff is not None else None
        return Stats(
            frames=len(graphs),
            atoms=atoms,
            species=tuple(map(symbol, self.species)),
            energy_mean=float(energy.mean()) if len(energy) else None,
            energy_std=float(energy.std()) if len(energy) else None,
            force_rms=rms(forces) if len(forces) else None,
            force_rms_by_species={symbol(s): rms(forces[z == s]) for s in self.species if (z == s).any()},
            force_max=float(np.linalg.norm(forces, axis=1).max()) if len(forces) else None,
            labelled={name: sum(bool(g[f"has_{name}"]) for g in graphs) for name in ("energy", "forces", "stress")},
            config_types=dict(Counter(g.config_type for g in graphs)),
            neighbors_mean=edges / atoms if edges is not None and atoms else None,
        )

    def to_ase(self) -> list:
        """The structures as ase.Atoms with their labels."""
        return [to_ase(self._graphs[row]) for row in self._rows]

    def __repr__(self) -> str:
        edges = "no neighbour lists" if self.cutoff is None else f"cutoff {self.cutoff:g} Å"
        return f"AtomicDataset({len(self)} structures, {', '.join(map(symbol, self.species))}, {edges})"


def assemble(
    frames: Sequence[tuple[str, int, object]], *, keys: Keys, units: Units | None, on_bad: str, checks: Checks
) -> AtomicDataset:
    """Turn (path, number, ase.Atoms or DataError) into a checked dataset; the common end of all readers."""
    report = ReadReport(paths=tuple(dict.fromkeys(path for path, _, _ in frames if path)), read=len(frames))
    kept: list[AtomicGraph] = []
    sound: list[AtomicGraph] = []
    isolated: dict[int, float] = {}
    example = None
    for path, number, atoms in frames:
        graph, defects = _graph(atoms, keys, units, checks, number)
        defects = [replace(defect, frame=number, path=path or None) for defect in defects]
        report.defects += defects
        fatal = [defect for defect in defects if defect.fatal]
        if fatal and on_bad == "raise":
            raise fatal[0].error()
        if graph is None or (fatal and on_bad == "drop"):
            report.dropped += 1
        elif _is_isolated(graph):
            report.isolated += 1
            report.defects += [replace(defect, path=path or None) for defect in _set_aside(graph, isolated)]
        else:
            kept.append(graph)
            sound += [] if fatal else [graph]
            example = example or atoms
    report.kept = len(kept)
    if kept:
        _require(kept, keys, checks, report, example)
    only = report.paths[0] if len(report.paths) == 1 else None
    report.defects += [replace(defect, path=only) for defect in check_set(sound, checks)]
    _warn(report, on_bad)
    return AtomicDataset(kept, isolated=isolated, report=report)


def _graph(
    atoms, keys: Keys, units: Units | None, checks: Checks, number: int
) -> tuple[AtomicGraph | None, list[Defect]]:
    """The graph of one frame with all that is wrong with it; None when there is no graph to be had."""
    try:
        if isinstance(atoms, DataError):
            raise atoms
        if not len(atoms):
            raise DataError("the structure has no atoms", fix="remove the frame")
        graph = from_ase(atoms, cutoff=None, keys=keys, units=units, frame=number)
    except DataError as error:
        return None, [Defect("unreadable", error.problem, error.fix)]
    return graph, check_structure(graph, checks)


def _is_isolated(graph: AtomicGraph) -> bool:
    return graph.num_nodes == 1 and (not bool(graph.pbc.any()) or "isolated" in graph.config_type.lower())


def _set_aside(graph: AtomicGraph, isolated: dict[int, float]) -> list[Defect]:
    """Note the energy of an isolated atom; a second, different one is a defect."""
    if not graph.has_energy:
        return []
    z, energy = int(graph.z[0]), float(graph.energy)
    first = isolated.setdefault(z, energy)
    if abs(first - energy) <= 1e-6:
        return []
    problem = f"isolated {symbol(z)} has {first:.6f} and {energy:.6f} eV; the first is used"
    return [Defect("isolated atom", problem, fatal=False, frame=int(graph.frame))]


def _require(kept: list[AtomicGraph], keys: Keys, checks: Checks, report: ReadReport, example) -> None:
    """Raise when a required label is nowhere: the names are wrong then, and the user must see those that are there."""
    for label in ("energy", "forces", "stress"):
        report.unlabelled[label] = sum(not bool(graph[f"has_{label}"]) for graph in kept)
        if label in checks.require and report.unlabelled[label] == len(kept):
            raise DataError(
                f"no frame has {'an energy' if label == 'energy' else label} under the key {getattr(keys, label)!r}",
                path=", ".join(report.paths) or None,
                fix=f"the keys there are: {available(example)}. Name the right one, as in Keys({label}='REF_{label}')",
            )


def _warn(report: ReadReport, on_bad: str) -> None:
    """One warning per kind of soft defect, and one for what was dropped."""
    soft: dict[str, list[Defect]] = {}
    for defect in report.defects:
        if not defect.fatal:
            soft.setdefault(defect.kind, []).append(defect)
    where = ", ".join(report.paths) or "structures"
    for kind, defects in soft.items():
        first, frames = defects[0].problem, [str(d.frame) for d in defects if d.frame is not None]
        named = f" in {len(frames)} of {report.read} frames ({', '.join(frames[:5] + ['...'] * (len(frames) > 5))})"
        message = f"{where}: {kind}{named}; first: {first}" if frames else f"{where}: {kind}: {first}"
        warnings.warn(message, DataWarning, stacklevel=4)
    fatal = [defect for defect in report.defects if defect.fatal]
    if fatal:
        done = f"dropped {report.dropped} of" if on_bad == "drop" else f"found {len(fatal)} defects in"
        message = f"{where}: {done} {report.read} frames; first: {fatal[0].error()}"
        warnings.warn(message, DataWarning, stacklevel=4)
