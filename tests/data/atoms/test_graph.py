"""A graph holds what ase.Atoms holds, batches with any other graph, and comes apart again unchanged."""

import pickle

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader

from intertwine.data.atoms import (
    AtomicBatch,
    AtomicGraph,
    DataError,
    Keys,
    cast,
    collate,
    connect,
    from_ase,
    neighbor_list,
    to_ase,
)


def labelled(atoms, **results):
    atoms = atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def ethanol():
    atoms = molecule("CH3CH2OH")
    return labelled(atoms, energy=-4209.4657843064815, forces=np.arange(27.0).reshape(9, 3) / 7)


def copper():
    stress = np.array([1.0, 2, 3, 4, 5, 6]) / 100  # xx, yy, zz, yz, xz, xy
    return labelled(bulk("Cu") * (1, 1, 2), energy=-7.5, forces=np.zeros((2, 3)), stress=stress)


def slab():
    return fcc111("Cu", (2, 2, 3), vacuum=6.0)


def lone():
    return labelled(Atoms("H"), energy=-13.57)


GRAPHS = {"ethanol": ethanol, "copper": copper, "slab": slab, "lone atom": lone}


def graphs(cutoff=5.0, **options):
    return [from_ase(make(), cutoff=cutoff, **options) for make in GRAPHS.values()]


def same(a: AtomicGraph, b: AtomicGraph) -> None:
    assert set(a.keys()) == set(b.keys())
    for key in a.keys():  # noqa: SIM118 (PyG's own keys)
        if isinstance(a[key], torch.Tensor):
            assert torch.equal(a[key], b[key]), key
            assert a[key].dtype == b[key].dtype, key
        else:
            assert a[key] == b[key], key


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_fields(dtype):
    graph = from_ase(copper(), cutoff=4.0, dtype=dtype, frame=7)
    e = graph.edge_index.shape[1]
    shapes = {
        **{"pos": (2, 3), "z": (2,), "cell": (1, 3, 3), "pbc": (1, 3), "natoms": (1,), "edge_index": (2, e)},
        **{"edge_shift": (e, 3), "energy": (1,), "forces": (2, 3), "stress": (1, 3, 3), "weight": (1,), "frame": (1,)},
        **{"has_energy": (1,), "has_forces": (1,), "has_stress": (1,)},
    }
    assert {key: tuple(graph[key].shape) for key in shapes} == shapes
    assert set(graph.keys()) == {*shapes, "config_type"}
    floats = {key for key in shapes if graph[key].is_floating_point()}
    assert floats == {"pos", "cell", "edge_shift", "energy", "forces", "stress", "weight"}
    assert {graph[key].dtype for key in floats - {"energy"}} == {dtype}
    assert graph.energy.dtype == torch.float64
    assert {graph[key].dtype for key in ("z", "natoms", "edge_index", "frame")} == {torch.int64}
    assert (int(graph.natoms), int(graph.frame), graph.z.tolist()) == (2, 7, [29, 29])
    assert graph.edge_index[1].tolist() == sorted(graph.edge_index[1].tolist())


def test_the_energy_keeps_its_digits_in_float32():
    graph = from_ase(ethanol(), cutoff=5.0, dtype=torch.float32)
    assert float(graph.energy) == -4209.4657843064815
    assert float(collate([graph, graph]).energy[1]) == -4209.4657843064815


def test_voigt_stress_becomes_a_matrix_and_back():
    graph = from_ase(copper(), cutoff=None)
    expected = torch.tensor([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]], dtype=torch.float64) / 100
    assert torch.equal(graph.stress[0], expected)
    assert np.allclose(to_ase(graph).get_stress(), copper().get_stress(), atol=0)


def test_an_open_box_is_dropped():
    atoms = ethanol()
    atoms.cell = [50, 50, 50]
    graph = from_ase(atoms, cutoff=5.0)
    assert not graph.cell.any()
    assert not graph.pbc.any()
    assert not graph.edge_shift.any()
    assert from_ase(slab(), cutoff=None).cell[0, 2].any()  # the vacuum of a slab stays


def test_missing_labels_are_zero_and_masked():
    graph = from_ase(slab(), cutoff=3.0)
    for label in ("energy", "forces", "stress"):
        assert not graph[label].any()
        assert not graph[f"has_{label}"].any()
    assert to_ase(graph).calc is None


def test_without_a_cutoff_there_are_no_edges():
    graph = from_ase(ethanol(), cutoff=None)
    assert "edge_index" not in graph
    assert "edge_index" in connect(graph, 3.0)
    assert "edge_index" not in graph  # connect copies


@pytest.mark.parametrize("name", GRAPHS)
def test_there_and_back(name):
    atoms = GRAPHS[name]()
    back = to_ase(from_ase(atoms, cutoff=5.0))
    assert back.get_chemical_formula() == atoms.get_chemical_formula()
    assert np.array_equal(back.positions, atoms.positions)
    assert np.array_equal(back.pbc, atoms.pbc)
    assert not atoms.pbc.any() or np.array_equal(back.cell, atoms.cell)
    results = {} if atoms.calc is None else atoms.calc.results
    assert (back.calc is None) == (not results)
    for key, value in results.items():
        assert np.array_equal(back.calc.results[key], value), key


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_comes_apart_unchanged(dtype):
    parts = graphs(dtype=dtype)
    batch = collate(parts)
    assert isinstance(batch, AtomicBatch)
    assert batch.num_graphs == len(batch.cell) == len(batch.energy) == 4
    assert batch.natoms.tolist() == [9, 2, 12, 1]
    assert batch.ptr.tolist() == [0, 9, 11, 23, 24]
    assert batch.has_forces.tolist() == [True, True, False, False]
    assert batch.config_type == ["default"] * 4
    for before, after in zip(parts, batch.to_data_list()):
        assert isinstance(after, AtomicGraph)
        same(before, after)


def test_edge_vectors_of_a_batch_are_those_of_its_graphs():
    def vectors(g, of_atom):
        source, target = g.edge_index
        box = g.cell[of_atom[target]]
        return g.pos[source] + torch.einsum("ea,eab->eb", g.edge_shift, box) - g.pos[target]

    parts = graphs()
    batch = collate(parts)
    alone = [vectors(g, torch.zeros(g.num_nodes, dtype=torch.int64)) for g in parts]
    assert torch.equal(vectors(batch, batch.batch), torch.cat(alone))
    assert vectors(batch, batch.batch).norm(dim=1).max() < 5.0


def test_plain_pyg_batches_and_loaders_work():
    assert Batch.from_data_list(graphs()).num_graphs == 4
    sizes = [batch.num_graphs for batch in DataLoader(graphs(), batch_size=3)]
    assert sizes == [3, 1]


def test_a_batch_can_be_sent_to_another_process():
    batch = collate(graphs())
    same(pickle.loads(pickle.dumps(batch)), batch)


def test_batches_move_to_a_device(device):
    batch = collate(graphs()).to(device)
    assert batch.pos.device.type == batch.has_energy.device.type == device
    index, _ = neighbor_list(batch.pos[:9], batch.cell[0], batch.pbc[0], 5.0)
    assert index.device.type == device


def test_cast_leaves_the_original_and_the_energy_alone():
    graph = from_ase(copper(), cutoff=4.0)
    single = cast(graph, torch.float32)
    assert (graph.pos.dtype, single.pos.dtype, single.energy.dtype) == (torch.float64, torch.float32, torch.float64)
    assert single.edge_index is graph.edge_index
    assert cast(collate([graph]), torch.float32).stress.dtype == torch.float32


def test_predictions_stand_beside_the_labels():
    graph = from_ase(copper(), cutoff=None)
    out = {"energy": torch.tensor([1.5]), "forces": torch.ones(2, 3), "stress": torch.eye(3)[None]}
    atoms = to_ase(graph, **out, atom_energy=torch.tensor([0.5, 1.0]))
    assert atoms.info["pred_energy"] == 1.5
    assert atoms.arrays["pred_forces"].shape == (2, 3)
    assert atoms.arrays["pred_atom_energy"].tolist() == [0.5, 1.0]
    assert atoms.info["pred_stress"].tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert atoms.get_potential_energy() == -7.5


def test_a_charge_is_read_when_it_is_named():
    atoms = ethanol()
    atoms.info["total_charge"] = -1
    assert "charge" not in from_ase(atoms, cutoff=None)
    keys = Keys(charge="total_charge")
    assert float(from_ase(atoms, cutoff=None, keys=keys).charge) == -1
    assert float(from_ase(ethanol(), cutoff=None, keys=keys).charge) == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"z": torch.ones(3)}, r"pos has shape \(2, 3\) and z \(3,\)"),
        ({"pos": torch.zeros(2, 2)}, r"pos has shape \(2, 2\)"),
        ({"forces": torch.zeros(3, 3)}, "2 atoms, but forces"),
        ({"edge_shift": torch.zeros(4, 3)}, "1 edges, edge_shift"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_shapes_that_do_not_fit_are_named(change, says):
    fields = {"pos": torch.zeros(2, 3), "z": torch.ones(2), "edge_index": torch.tensor([[0], [1]]), **change}
    with pytest.raises(ValueError, match=says):
        AtomicGraph(**fields)


def test_a_cutoff_must_be_positive():
    with pytest.raises(ValueError, match="cutoff must be positive"):
        from_ase(ethanol(), cutoff=0.0)


def test_graphs_with_and_without_edges_do_not_batch():
    with pytest.raises(ValueError, match="1 of 2 graphs have edges"):
        collate([from_ase(ethanol(), cutoff=3.0), from_ase(ethanol(), cutoff=None)])
    with pytest.raises(ValueError, match="no graphs"):
        collate([])


def test_to_ase_wants_one_structure():
    with pytest.raises(ValueError, match="batch of 4 structures"):
        to_ase(collate(graphs()))


def test_forces_of_another_shape_are_named():
    atoms = ethanol()
    atoms.calc = None
    atoms.arrays["F"] = np.zeros((9, 2))
    with pytest.raises(DataError, match=r"\(9, 2\), the structure has 9 atoms"):
        from_ase(atoms, cutoff=None, keys=Keys(forces="F"))
