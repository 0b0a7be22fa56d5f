"""A data set behaves like a list, builds its neighbour lists once, and tells the facts of the real sets."""

import pickle

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from torch.utils.data import DataLoader

from intertwine.data.atoms import AtomicBatch, AtomicDataset, Checks, DataWarning, collate, overlap, read


def walk(count=40, step=0.002):
    """Frames of a slow drift: a trajectory."""
    rng, images = np.random.default_rng(0), []
    atoms = molecule("H2O")
    for i in range(count):
        atoms.positions += step * rng.standard_normal((3, 3))
        atoms.calc = SinglePointCalculator(atoms, energy=-76.0 - 0.001 * i, forces=np.zeros((3, 3)))
        images.append(atoms.copy())
        images[-1].calc = atoms.calc
    return images


@pytest.fixture
def data():
    return AtomicDataset.from_ase(walk(), cutoff=2.0, checks=Checks(energy_sigmas=None))


def test_it_is_a_list(data):
    assert len(data) == len(list(data)) == 40
    assert int(data[3].frame) == 3
    assert int(data[-1].frame) == 39
    assert [int(g.frame) for g in data[10:13]] == [10, 11, 12]
    assert [int(g.frame) for g in data[[5, 2]]] == [5, 2]
    assert [int(g.frame) for g in data[np.arange(40) > 37]] == [38, 39]
    assert [int(g.frame) for g in data[10:20][2:4]] == [12, 13]
    assert len(data[:0]) == 0
    with pytest.raises(IndexError):
        data[40]


def test_edges_are_built_once_and_shared_with_slices(data):
    graph = data[7]
    assert data[7] is graph
    assert data[5:10][2] is graph
    assert data.with_cutoff(2.0)[7] is not graph


def test_another_cutoff_and_dtype(data):
    far = data.with_cutoff(1.2, dtype=torch.float32)
    assert far[0].edge_index.shape[1] == 4  # O-H bonds only
    assert data[0].edge_index.shape[1] == 6
    assert far[0].pos.dtype == torch.float32
    assert "edge_index" not in data.with_cutoff(None)[0]
    for cutoff in (0.0, -1.0):
        with pytest.raises(ValueError, match="cutoff must be positive"):
            data.with_cutoff(cutoff)
    with pytest.raises(ValueError, match="cutoff must be positive"):
        AtomicDataset([], cutoff=0.0)


def test_a_loader_gives_batches(data):
    batches = list(DataLoader(data, batch_size=16, collate_fn=collate))
    assert [b.num_graphs for b in batches] == [16, 16, 8]
    assert isinstance(batches[0], AtomicBatch)


def test_it_can_be_sent_to_a_worker(data):
    copy = pickle.loads(pickle.dumps(data[:3]))
    assert torch.equal(copy[2].edge_index, data[2].edge_index)


def test_statistics(data):
    stats = data.stats
    assert (stats.frames, stats.atoms, stats.species) == (40, 120, ("H", "O"))
    assert stats.energy_mean == pytest.approx(-76.0195, abs=1e-9)
    assert stats.energy_std == pytest.approx(0.001 * np.arange(40).std(), abs=1e-9)
    assert stats.force_rms == 0
    assert stats.neighbors_mean == 2.0
    assert stats.labelled == {"energy": 40, "forces": 40, "stress": 0}
    assert stats.to_dict()["config_types"] == {"default": 40}
    assert data.with_cutoff(None).stats.neighbors_mean is None
    assert data[:10].stats.frames == 10
    assert "40 structures, H, O, cutoff 2 Å" in repr(data)
    assert "neighbours 2.0000 per atom" in str(stats)


def test_unlabelled_sets_have_statistics_too():
    data = AtomicDataset.from_ase([bulk("Cu")], checks=Checks(require=()), cutoff=3.0)
    assert data.stats.energy_mean is data.stats.force_rms is None
    assert data.stats.neighbors_mean == 12


def test_blocks_split_a_trajectory_in_order(data):
    train, val, test = data.split((0.8, 0.1, 0.1))
    assert [int(g.frame) for g in val] == [32, 33, 34, 35]
    assert (len(train), len(test)) == (32, 4)
    assert overlap(train, test) == 0


def test_a_random_split_of_a_trajectory_warns(data):
    with pytest.warns(DataWarning, match="near copies of training frames"):
        train, test = data.split((30, 10), method="random", seed=1)
    assert sorted(int(g.frame) for part in (train, test) for g in part) == list(range(40))
    rng = np.random.default_rng(0)
    shuffled = data[rng.permutation(40)]
    assert not shuffled.is_trajectory()
    shuffled.split((30, 10), method="random")
    with pytest.raises(ValueError, match="blocks or random"):
        data.split(method="by date")


def test_back_to_ase(data):
    images = data[:2].to_ase()
    assert images[1].get_potential_energy() == data[1].energy
    again = AtomicDataset.from_ase(images, checks=Checks(energy_sigmas=None))
    assert torch.equal(again[1].pos, data[1].pos)


# --- real data ------------------------------------------------------------


@pytest.fixture(scope="module")
def acac(data_dir):
    if not (data_dir / "acac").is_dir():
        pytest.skip("no acac here")
    return read([data_dir / "acac" / name for name in ("isolated_atoms.xyz", "train_300K.xyz")], cutoff=5.0)


def test_the_facts_of_acac(acac):
    stats = acac.stats
    assert (stats.frames, stats.atoms, stats.species) == (500, 7500, ("H", "C", "O"))
    assert stats.energy_mean == pytest.approx(-9391.387204, abs=1e-6)
    assert stats.energy_std == pytest.approx(0.150, abs=1e-3)
    assert stats.force_rms == pytest.approx(1.05081, abs=1e-5)
    by_species = {k: round(v, 3) for k, v in stats.force_rms_by_species.items()}
    assert by_species == {"H": 0.770, "C": 1.341, "O": 1.191}
    assert stats.neighbors_mean == pytest.approx(12.1307, abs=5e-5)
    assert acac.report.defects == []
    assert not acac[0].pbc.any()
    assert max(float(g.forces.sum(0).norm()) for g in acac) < 1e-7


def test_the_shortest_distance_of_acac(acac):
    def shortest(graph):
        source, target = graph.edge_index
        return float((graph.pos[source] - graph.pos[target]).norm(dim=1).min())

    assert min(map(shortest, acac)) == pytest.approx(0.936, abs=5e-4)


def test_acac_test_frames_are_not_in_its_training_set(acac, data_dir):
    assert overlap(acac, read(data_dir / "acac" / "test_MD_300K.xyz")) == 0


def test_the_facts_of_ethanol(data_dir):
    if not (data_dir / "ethanol").is_dir():
        pytest.skip("no ethanol here")
    stats = read(data_dir / "ethanol" / "train.xyz").stats
    assert (stats.frames, stats.species) == (1000, ("H", "C", "O"))
    assert stats.force_rms == pytest.approx(1.1871, abs=5e-5)
