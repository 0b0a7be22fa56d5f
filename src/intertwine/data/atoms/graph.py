"""A structure as a graph that any model of atoms takes: positions, species, box, edges, labels with their masks."""

import copy
import warnings

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...extras import require
from .keys import DEFAULT_KEYS, Keys, labels
from .neighbors import neighbor_list
from .units import Units

with warnings.catch_warnings():  # torch_geometric 2.8 scripts a class at import, which torch 2.13 calls deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    require("torch_geometric", "atoms")
from torch_geometric.data import Batch, Data

_PER_STRUCTURE = {"energy": (), "stress": (3, 3)}


class AtomicGraph(Data):
    """One structure: atoms, box, neighbours and labels (a PyG Data).

    pos [N, 3] Å; z [N] atomic numbers; cell [1, 3, 3] Å, rows are lattice vectors, 0 for an open structure;
    pbc [1, 3]; natoms [1]; edge_index [2, E] = (source j, target i) sorted by target, and edge_shift [E, 3], integers
    as floats: r_ij = pos[j] + edge_shift @ cell - pos[i] (absent when built without a cutoff).
    Labels are always there so that any two graphs batch: energy [1] eV, float64 whatever the dtype of pos; forces
    [N, 3] eV/Å; stress [1, 3, 3] eV/Å³; a missing label is zero and its mask (has_energy, has_forces, has_stress,
    [1] each) is False. weight [1]; config_type, a string; frame [1], its number in the file, -1 when it has none.
    Raises ValueError naming the shapes that do not fit.
    """

    def __init__(
        self,
        pos: Float[Tensor, "n 3"] | None = None,
        z: Int[Tensor, " n"] | None = None,
        cell: Float[Tensor, "3 3"] | None = None,
        pbc: Bool[Tensor, "3"] | None = None,
        *,
        edge_index: Int[Tensor, "2 edges"] | None = None,
        edge_shift: Float[Tensor, "edges 3"] | None = None,
        energy: float | None = None,
        forces: Float[Tensor, "n 3"] | None = None,
        stress: Float[Tensor, "3 3"] | None = None,
        weight: float = 1.0,
        config_type: str = "default",
        frame: int = -1,
        charge: float | None = None,
    ):
        super().__init__()
        if pos is None:  # PyG makes empty graphs first and fills them
            return
        n, like = len(pos), {"dtype": pos.dtype, "device": pos.device}
        if z is None or z.shape != (n,) or pos.shape != (n, 3):
            shape = None if z is None else tuple(z.shape)
            raise ValueError(f"AtomicGraph: pos has shape {tuple(pos.shape)} and z {shape}; expected [N, 3] and [N]")
        self.pos, self.z = pos, z.to(torch.int64)
        self.cell = torch.zeros(1, 3, 3, **like) if cell is None else cell.to(**like).reshape(1, 3, 3)
        no_pbc = torch.zeros(1, 3, dtype=torch.bool, device=pos.device)
        self.pbc = no_pbc if pbc is None else pbc.to(no_pbc).reshape(1, 3)
        self.natoms = torch.tensor([n], device=pos.device)
        if edge_index is not None:
            edges = edge_index.shape[1]
            self.edge_index = edge_index
            self.edge_shift = torch.zeros(edges, 3, **like) if edge_shift is None else edge_shift.to(**like)
            if self.edge_shift.shape != (edges, 3):
                raise ValueError(
                    f"AtomicGraph: edge_index has {edges} edges, edge_shift has shape {tuple(self.edge_shift.shape)}"
                )
        has = lambda label: torch.tensor([label is not None], device=pos.device)  # noqa: E731
        self.energy = torch.tensor([0.0 if energy is None else float(energy)], dtype=torch.float64, device=pos.device)
        self.has_energy = has(energy)
        self.forces = torch.zeros(n, 3, **like) if forces is None else forces.to(**like)
        if self.forces.shape != (n, 3):
            raise ValueError(f"AtomicGraph: {n} atoms, but forces have shape {tuple(self.forces.shape)}")
        self.has_forces = has(forces)
        self.stress = torch.zeros(1, 3, 3, **like) if stress is None else stress.to(**like).reshape(1, 3, 3)
        self.has_stress = has(stress)
        self.weight = torch.tensor([float(weight)], **like)
        self.config_type = config_type
        self.frame = torch.tensor([frame], device=pos.device)
        if charge is not None:
            self.charge = torch.tensor([float(charge)], **like)


class AtomicBatch(Batch):
    """Several AtomicGraphs side by side: `AtomicBatch.from_data_list(graphs)`, `batch.to_data_list()`.

    As AtomicGraph with G graphs: cell [G, 3, 3], pbc [G, 3], energy [G], ...; batch [N] is the graph of each atom and
    ptr [G + 1] where each graph's atoms start; edge_index counts atoms through the whole batch.
    """


def collate(graphs: list[AtomicGraph]) -> AtomicBatch:
    """Join graphs into one batch; this is the `collate_fn` of a DataLoader over an AtomicDataset.

    Raises ValueError for no graphs, and when only some have edges.
    """
    graphs = list(graphs)
    if not graphs:
        raise ValueError("collate: no graphs to batch")
    with_edges = sum("edge_index" in graph for graph in graphs)
    if with_edges not in (0, len(graphs)):
        raise ValueError(f"collate: {with_edges} of {len(graphs)} graphs have edges; give all the same cutoff")
    return AtomicBatch.from_data_list(graphs)


def connect(graph: AtomicGraph, cutoff: float, *, max_neighbors: int | None = None) -> AtomicGraph:
    """A copy of the graph with the edges of this cutoff (Å); tensors are shared."""
    graph = copy.copy(graph)
    graph.edge_index, graph.edge_shift = neighbor_list(
        graph.pos, graph.cell[0], graph.pbc[0], cutoff, max_neighbors=max_neighbors
    )
    return graph


def cast(graph: AtomicGraph | AtomicBatch, dtype: torch.dtype) -> AtomicGraph | AtomicBatch:
    """A copy whose floating fields have this dtype; energies stay float64, at -9000 eV float32 steps by 1 meV."""
    graph = copy.copy(graph)
    for key, value in graph.to_dict().items():
        if isinstance(value, Tensor) and value.is_floating_point() and key != "energy":
            graph[key] = value.to(dtype)
    return graph


def from_ase(
    atoms,
    *,
    cutoff: float | None,
    dtype: torch.dtype = torch.float64,
    keys: Keys = DEFAULT_KEYS,
    units: Units | None = None,
    max_neighbors: int | None = None,
    frame: int = -1,
) -> AtomicGraph:
    """AtomicGraph of an ase.Atoms, with edges up to `cutoff` (Å; None: without edges) and the labels under `keys`.

    The box of a structure that is periodic in no direction is dropped (cell = 0). Edges are found in float64, whatever
    `dtype`. units: those of the ase.Atoms where they are not eV and Å.
    Raises DataError for labels of the wrong shape, ValueError for a cutoff that is not positive.
    """
    found = labels(atoms, keys, units)
    length = 1.0 if units is None else units.factors()["length"]
    cell = length * np.asarray(atoms.cell, dtype=np.float64) if atoms.pbc.any() else np.zeros((3, 3))
    graph = AtomicGraph(
        torch.tensor(length * atoms.positions, dtype=torch.float64),
        torch.tensor(atoms.numbers, dtype=torch.int64),
        torch.tensor(cell),
        torch.tensor(np.asarray(atoms.pbc, dtype=bool)),
        energy=found.energy,
        forces=None if found.forces is None else torch.tensor(found.forces),
        stress=None if found.stress is None else torch.tensor(found.stress),
        weight=found.weight,
        config_type=found.config_type,
        frame=frame,
        charge=(found.charge or 0.0) if keys.charge is not None else None,
    )
    if cutoff is not None:
        graph = connect(graph, cutoff, max_neighbors=max_neighbors)
    return graph if dtype == torch.float64 else cast(graph, dtype)


def to_ase(graph: AtomicGraph, **predictions):
    """ase.Atoms of one graph; its labels become calculator results, so ASE reads and writes them as usual.

    predictions: tensors by name; they are stored beside the labels as `pred_<name>`, per-atom ones ([N] or [N, k]) in
    `arrays`, the others in `info`. Raises ValueError when the graph is a batch of several structures.
    """
    if len(graph.cell) != 1:
        raise ValueError(f"to_ase: a batch of {len(graph.cell)} structures; use batch.to_data_list() first")
    array = lambda t: t.detach().cpu().numpy().astype(np.float64)  # noqa: E731
    n = graph.num_nodes
    atoms = require("ase", "atoms").Atoms(
        numbers=graph.z.cpu().numpy(),
        positions=array(graph.pos),
        cell=array(graph.cell[0]),
        pbc=graph.pbc[0].cpu().numpy(),
    )
    results = {}
    if graph.has_energy:
        results["energy"] = float(graph.energy)
    if graph.has_forces:
        results["forces"] = array(graph.forces)
    if graph.has_stress:
        results["stress"] = array(graph.stress)[0][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    if results:
        single = require("ase.calculators.singlepoint", "atoms").SinglePointCalculator
        atoms.calc = single(atoms, **results)
    if graph.config_type != "default":
        atoms.info["config_type"] = graph.config_type
    if float(graph.weight) != 1.0:
        atoms.info["weight"] = float(graph.weight)
    for name, value in predictions.items():
        value = array(torch.as_tensor(value))
        if name in _PER_STRUCTURE:
            value = value.reshape(_PER_STRUCTURE[name])
            atoms.info[f"pred_{name}"] = float(value) if value.ndim == 0 else value.reshape(-1)
        elif value.ndim and len(value) == n:
            atoms.arrays[f"pred_{name}"] = value
        else:
            atoms.info[f"pred_{name}"] = float(value.reshape(())) if value.size == 1 else value.reshape(-1)
    return atoms
