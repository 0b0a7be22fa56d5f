"""Every pair within the cutoff, once, whatever the box: compared with ASE's list and with counting by hand."""

from collections import Counter

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import neighbor_list as ase_list

from intertwine.data.atoms import VerletList, batch_neighbor_list, neighbor_list, neighbors
from intertwine.data.atoms import neighbors as module
from intertwine.data.atoms.neighbors import expected_edges


def box(atoms):
    return torch.tensor(atoms.positions), torch.tensor(np.array(atoms.cell)), torch.tensor(atoms.pbc)


def silicon():
    atoms = bulk("Si", cubic=True) * (2, 2, 2)
    atoms.rattle(0.05, seed=0)
    return atoms


def skewed():
    cell = [[3.0, 0.0, 0.0], [2.6, 1.5, 0.0], [1.1, 0.7, 2.2]]
    return Atoms("NaCl", positions=[[0.1, 0.2, 0.3], [1.9, 1.1, 0.9]], cell=cell, pbc=True)


def unwrapped():
    atoms = silicon()
    atoms.positions += np.random.default_rng(0).integers(-3, 4, size=(len(atoms), 3)) @ np.array(atoms.cell)
    return atoms


CASES = {
    "Cu 5": (bulk("Cu"), 5.0, 42),
    "Cu 12": (bulk("Cu"), 12.0, 626),
    "NaCl": (bulk("NaCl", "rocksalt", a=5.64), 6.0, 64),
    "Si rattled": (silicon(), 5.0, 1792),
    "Cu(111) slab, no third vector": (fcc111("Cu", (2, 2, 3)), 6.0, 600),
    "Cu(111) slab in vacuum": (fcc111("Cu", (2, 2, 3), vacuum=8.0), 6.0, 600),
    "ethanol": (molecule("CH3CH2OH"), 5.0, 72),
    "skewed": (skewed(), 4.0, None),
    "unwrapped": (unwrapped(), 5.0, 1792),
    "wire": (Atoms("C2", positions=[[0, 0, 0], [1.3, 0.2, 0]], cell=[2.6, 0, 0], pbc=(True, False, False)), 4.0, None),
    "wire along y": (Atoms("C2", positions=[[0, 0, 0], [0.2, 1.3, 0]], cell=[0, 2.6, 0], pbc=(0, 1, 0)), 4.0, None),
    "lone atom": (Atoms("He"), 5.0, 0),
    "one atom, its images": (Atoms("Po", cell=[3.3, 3.3, 3.3], pbc=True), 3.4, 6),
}
cases = pytest.mark.parametrize(("atoms", "cutoff", "count"), CASES.values(), ids=CASES)


def multiset(edge_index, shift):
    return Counter(zip(*edge_index.tolist(), *shift.T.int().tolist()))


@cases
@pytest.mark.parametrize("engine", ["vesin", "ase"])
def test_edges_equal_ases(atoms, cutoff, count, engine):
    edge_index, shift = neighbor_list(*box(atoms), cutoff, engine=engine)
    full = atoms.copy()
    full.set_cell(full.cell.complete())
    target, source, S = ase_list("ijS", full, cutoff)
    assert multiset(edge_index, shift) == Counter(zip(source.tolist(), target.tolist(), *S.T.tolist()))
    assert count is None or edge_index.shape[1] == count


@cases
def test_the_order_is_total_and_both_directions_are_there(atoms, cutoff, count):
    edge_index, shift = neighbor_list(*box(atoms), cutoff)
    rows = torch.cat([edge_index.flip(0), shift.T.long()]).T.tolist()
    assert rows == sorted(rows)
    assert multiset(edge_index, shift) == multiset(edge_index.flip(0), -shift)
    assert shift.dtype == torch.float64
    assert edge_index.dtype == torch.int64


def test_without_vesin_ases_list_is_used(monkeypatch):
    arguments = (*box(silicon()), 5.0)
    expected = neighbor_list(*arguments)
    monkeypatch.setattr(module, "_has_vesin", lambda: False)
    monkeypatch.setattr(module, "_vesin", None)
    found = neighbor_list(*arguments)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_the_vector_points_from_the_target_to_its_neighbour():
    atoms = skewed()
    pos, cell, pbc = box(atoms)
    (source, target), shift = neighbor_list(pos, cell, pbc, 4.0)
    ours = pos[source] + shift @ cell - pos[target]
    i, _, D = ase_list("ijD", atoms, 4.0)
    key = lambda i, D: sorted(zip(i.tolist(), *D.round(9).T.tolist()))  # noqa: E731
    assert key(target.numpy(), ours.numpy()) == key(i, D)


def test_the_cutoff_itself_is_outside():
    pos, cell, pbc = (
        torch.tensor([[0.0, 0, 0], [2.0, 0, 0]]).double(),
        torch.zeros(3, 3).double(),
        torch.zeros(3).bool(),
    )
    assert neighbor_list(pos, cell, pbc, 2.0)[0].shape[1] == 0
    assert neighbor_list(pos, cell, pbc, 2.0 + 1e-9)[0].shape[1] == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_follows_the_positions(dtype, device):
    pos, cell, pbc = box(silicon())
    edge_index, shift = neighbor_list(pos.to(device, dtype), cell.to(device, dtype), pbc.to(device), 5.0)
    assert shift.dtype == dtype
    assert shift.device.type == edge_index.device.type == device
    assert edge_index.shape[1] == 1792


@pytest.mark.parametrize("k", [1, 3, 12])
def test_max_neighbors_keeps_the_nearest_with_ties_and_stays_symmetric(k):
    pos, cell, pbc = box(silicon())
    all_index, all_shift = neighbor_list(pos, cell, pbc, 5.0)
    index, shift = neighbor_list(pos, cell, pbc, 5.0, max_neighbors=k)
    length = (pos[all_index[0]] + all_shift @ cell - pos[all_index[1]]).norm(dim=1)
    reach = torch.stack([length[all_index[1] == i].sort().values[k - 1] for i in range(len(pos))]) + 1e-4
    kept = (length <= reach[all_index[1]]) | (length <= reach[all_index[0]])
    assert multiset(index, shift) == multiset(all_index[:, kept], all_shift[kept])
    assert multiset(index, shift) == multiset(index.flip(0), -shift)
    assert torch.bincount(index[1]).min() >= k


def test_a_shell_of_equal_distances_is_never_cut():
    index, _ = neighbor_list(*box(bulk("Cu")), 5.0, max_neighbors=3)
    assert index.shape[1] == 12  # the first shell of fcc


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cutoff": 0.0}, "cutoff must be positive"),
        ({"cutoff": -1.0}, "cutoff must be positive"),
        ({"cutoff": float("nan")}, "cutoff must be positive"),
        ({"cutoff": float("inf")}, "cutoff must be positive"),
        ({"max_neighbors": 0}, "max_neighbors"),
        ({"max_edges": 100}, "about .* edges"),
        ({"engine": "best"}, "engine"),
        ({"pos": torch.zeros(4, 2)}, "pos must have shape"),
        ({"cell": torch.zeros(9)}, "cell must have shape"),
        ({"cell": torch.zeros(3, 3)}, "axis 0, but its cell vector is zero"),
        ({"cell": torch.full((3, 3), float("nan"))}, "not finite"),
        ({"pos": torch.tensor([[0.0, 0, 0], [0, float("nan"), 0]])}, "atom 1 "),
    ],
    ids=str,
)
def test_bad_input_is_named(change, says):
    pos, cell, pbc = box(silicon())
    arguments = {"pos": pos, "cell": cell, "pbc": pbc, "cutoff": 5.0, **change}
    with pytest.raises(ValueError, match=says):
        neighbor_list(**arguments)


@cases
def test_the_estimate_of_edges_is_of_the_right_size(atoms, cutoff, count):
    pos, cell, pbc = (t.numpy() for t in box(atoms))
    true = neighbor_list(*box(atoms), cutoff)[0].shape[1]
    assert expected_edges(pos, cell, pbc, cutoff) >= 0.5 * true - 1


def test_no_atoms_no_edges():
    index, shift = neighbor_list(torch.zeros(0, 3), torch.zeros(3, 3), torch.zeros(3).bool(), 5.0)
    assert index.shape == (2, 0)
    assert shift.shape == (0, 3)


def several():
    """A molecule, a crystal and a slab in one batch."""
    all_atoms = [molecule("CH3CH2OH"), silicon(), fcc111("Cu", (2, 2, 3), vacuum=8.0)]
    pos = torch.cat([torch.tensor(a.positions) for a in all_atoms])
    cell = torch.stack([torch.tensor(np.array(a.cell)) for a in all_atoms])
    pbc = torch.stack([torch.tensor(a.pbc) for a in all_atoms])
    batch = torch.repeat_interleave(torch.arange(3), torch.tensor([len(a) for a in all_atoms]))
    return pos, cell, pbc, batch


def test_a_batch_is_its_graphs_side_by_side():
    pos, cell, pbc, batch = several()
    index, shift = batch_neighbor_list(pos, cell, pbc, batch, 5.0)
    start, parts = 0, []
    for g in range(3):
        n = int((batch == g).sum())
        one, own = neighbor_list(pos[start : start + n], cell[g], pbc[g], 5.0)
        parts.append((one + start, own))
        start += n
    assert torch.equal(index, torch.cat([one for one, _ in parts], 1))
    assert torch.equal(shift, torch.cat([own for _, own in parts]))


def test_an_unsorted_batch_is_refused():
    pos, cell, pbc, batch = several()
    with pytest.raises(ValueError, match="sorted"):
        batch_neighbor_list(pos, cell, pbc, batch.flip(0), 5.0)


@pytest.mark.parametrize("skin", [0.0, 0.5])
def test_a_verlet_list_gives_exactly_the_fresh_list(skin, generator):
    pos, cell, pbc, batch = several()
    verlet = VerletList(5.0, skin)
    for _ in range(30):
        pos = pos + 0.03 * torch.randn(pos.shape, generator=generator, dtype=torch.float64)
        index, shift = verlet.update(pos, cell, pbc, batch)
        fresh, own = batch_neighbor_list(pos, cell, pbc, batch, 5.0)
        assert torch.equal(index, fresh)
        assert torch.equal(shift, own)
    assert verlet.rebuilds == 30 if skin == 0 else 2 <= verlet.rebuilds < 20


def test_a_verlet_list_rebuilds_for_what_changes_the_box():
    pos, cell, pbc = box(silicon())
    verlet = VerletList(5.0, 0.5)
    verlet.update(pos, cell, pbc)
    verlet.update(pos + 0.1, cell, pbc)
    assert verlet.rebuilds == 1
    verlet.update(pos, cell * 1.001, pbc)
    verlet.update(pos, cell * 1.001, torch.tensor([True, True, False]))
    verlet.update(pos[:-1], cell * 1.001, torch.tensor([True, True, False]))
    assert verlet.rebuilds == 4


def test_a_verlet_list_does_not_sleep_through_nan():
    pos, cell, pbc = box(silicon())
    verlet = VerletList(5.0)
    verlet.update(pos, cell, pbc)
    pos[3, 1] = float("nan")
    with pytest.raises(ValueError, match="atom 3"):
        verlet.update(pos, cell, pbc)


@pytest.mark.parametrize("arguments", [(0.0,), (5.0, -0.1)])
def test_a_verlet_list_refuses_bad_lengths(arguments):
    with pytest.raises(ValueError, match="VerletList"):
        VerletList(*arguments)


def test_only_the_graphs_that_moved_are_done_again(generator, monkeypatch):
    """And the batch's list is the fresh one all the same, in order."""
    done = []
    real = neighbors.neighbor_list
    monkeypatch.setattr(neighbors, "neighbor_list", lambda pos, *a, **k: done.append(len(pos)) or real(pos, *a, **k))
    counts = (3, 5, 4)
    pos = 4 * torch.rand(sum(counts), 3, generator=generator, dtype=torch.float64)
    cell = torch.diag_embed(torch.tensor([[4.0] * 3, [0.0] * 3, [5.0] * 3], dtype=torch.float64))
    pbc = torch.tensor([[True] * 3, [False] * 3, [True] * 3])
    batch = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    verlet = VerletList(2.5, 0.5)
    verlet.update(pos, cell, pbc, batch)
    for moved, expected in ((slice(3, 8), [5]), (slice(8, 12), [4]), (slice(0, 3), [3]), (slice(0, 12), [3, 5, 4])):
        done.clear()
        pos = pos.clone()
        pos[moved] += 0.4 * torch.randn(pos[moved].shape, generator=generator, dtype=torch.float64)
        found = verlet.update(pos, cell, pbc, batch)
        assert done == expected
        for a, b in zip(found, batch_neighbor_list(pos, cell, pbc, batch, 2.5)):
            assert torch.equal(a, b)
    cell = cell.clone()
    cell[2] *= 1.1
    done.clear()
    verlet.update(pos, cell, pbc, batch)
    assert done == [4]
    assert verlet.rebuilds == 6
