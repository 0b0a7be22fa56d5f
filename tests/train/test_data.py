"""The data module: splits by share, count or file, the facts a model needs, and what it refuses."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read as ase_read
from ase.io import write

from intertwine.data.atoms import Checks, DataError, DataWarning, Keys
from train.conftest import data


def test_shares_counts_and_files(structures, tmp_path):
    counts = data(structures).parts
    assert {name: len(part) for name, part in counts.items()} == {"train": 24, "val": 4, "test": 2}
    shares = data(structures, val=0.2, test=0.1).parts
    assert {name: len(part) for name, part in shares.items()} == {"train": 21, "val": 6, "test": 3}
    write(tmp_path / "test.extxyz", ase_read(structures, ":5"))
    files = data(structures, val=0.1, test=str(tmp_path / "test.extxyz")).parts
    assert {name: len(part) for name, part in files.items()} == {"train": 27, "val": 3, "test": 5}
    assert len(data(structures, test=None).parts["test"]) == 0


@pytest.mark.parametrize("unit", [27.2114, 51.4221])
def test_a_file_in_other_units_than_the_training_set_is_noticed(structures, tmp_path, unit):
    """Twelve frames are too few to be suspected by themselves."""
    images = ase_read(structures, "4:16")
    for atoms in images:
        results = atoms.calc.results
        atoms.calc = SinglePointCalculator(atoms, energy=results["energy"], forces=results["forces"] / unit)
    path = str(tmp_path / "test.extxyz")
    write(path, images)
    with pytest.warns(DataWarning, match=r"test.extxyz, against the training set: forces of RMS .* times smaller than"):
        assert len(data(structures, val=0.1, test=path).parts["test"]) == 12
    assert len(data(structures, val=0.1, test=path, checks=Checks(units=False)).parts["test"]) == 12


def test_splits_follow_the_seed_and_share_nothing(structures):
    def frames(seed, part="train"):
        return {int(g.frame) for g in data(structures, seed=seed).parts[part]}

    assert frames(1) == frames(1)
    assert frames(1) != frames(2)
    assert not frames(1) & frames(1, "val")


def test_facts(structures):
    facts = data(structures).facts
    assert facts.species == ("H", "C", "O")
    assert facts.cutoff == 3.5
    train = data(structures).parts["train"]
    assert facts.avg_num_neighbors == pytest.approx(
        np.mean([g.edge_index.shape[1] for g in train]) / np.mean([len(g.z) for g in train])
    )
    assert not facts.periodic
    assert facts.hash == data(structures).facts.hash != data(structures, seed=5).facts.hash


def test_isolated_atoms_give_the_shifts(structures, tmp_path):
    single = []
    for symbol, energy in (("H", -1.0), ("C", -2.0), ("O", -3.0)):
        atom = Atoms(symbol)
        atom.calc = SinglePointCalculator(atom, energy=energy, forces=np.zeros((1, 3)))
        single.append(atom)
    write(tmp_path / "atoms.extxyz", single)
    made = data(structures, shift="auto")
    made.path = [str(structures), str(tmp_path / "atoms.extxyz")]
    assert made.facts.shift_scale.shift.tolist() == [-1.0, -2.0, -3.0]
    assert len(made.parts["train"]) == 24


def test_other_keys(structures, tmp_path):
    images = ase_read(structures, ":12")
    for atoms in images:
        atoms.info["E_dft"], atoms.arrays["F_dft"] = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
    write(tmp_path / "named.extxyz", images)
    part = data(tmp_path / "named.extxyz", keys=Keys(energy="E_dft", forces="F_dft")).parts["train"]
    assert all(bool(g.has_energy) and bool(g.has_forces) for g in part)
    with pytest.raises(DataError, match="E_dft"):
        _ = data(tmp_path / "named.extxyz").parts


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cutoff": 0.0}, "cutoff must be positive"),
        ({"batch_size": 0}, "batch sizes"),
        ({"val": 20, "test": 10}, "leave none to train on"),
        ({"val": 0.6, "test": 0.4}, "leave none to train on"),
    ],
)
def test_bad_options(structures, options, says):
    with pytest.raises(ValueError, match=says):
        _ = data(structures, **options).parts
