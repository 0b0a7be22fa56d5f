"""What is suspicious is listed once per kind, with frames and counts; what is fine stays silent."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from scipy.spatial.transform import Rotation

from intertwine.data.atoms import AtomicDataset, Checks, DataError, DataWarning, from_ase, overlap
from intertwine.data.atoms.checks import check_set, check_structure, fingerprint


def shaken(count=30, seed=0, sigma=0.03):
    """Ethanol with random displacements, a smooth energy, and forces that sum to zero."""
    rng, images = np.random.default_rng(seed), []
    for _ in range(count):
        atoms = molecule("CH3CH2OH")
        step = sigma * rng.standard_normal((9, 3))
        atoms.positions += step
        forces = -30.0 * (step - step.mean(0))
        atoms.calc = SinglePointCalculator(atoms, energy=-4209.0 + 15.0 * float((step**2).sum()), forces=forces)
        images.append(atoms)
    return images


def relabel(atoms, **results):
    atoms.calc = SinglePointCalculator(atoms, **{**atoms.calc.results, **results})


def kinds(graphs, **checks):
    return [d.kind for d in check_set(graphs, Checks(**checks))]


def test_a_clean_set_is_silent():
    data = AtomicDataset.from_ase(shaken())
    assert data.report.defects == []


def test_forces_beyond_the_limit_warn_and_can_be_dropped():
    images = shaken()
    forces = images[7].get_forces()
    forces[2] += (0, 60, 0)
    relabel(images[7], forces=forces)
    quiet = {"net_force": None}
    with pytest.warns(DataWarning, match=r"large force in 1 of 30 frames \(7\); first: the force on atom 2 is 6\d"):
        data = AtomicDataset.from_ase(images, checks=Checks(**quiet))
    assert len(data) == 30
    with pytest.warns(DataWarning, match="dropped 1 of 30"):
        data = AtomicDataset.from_ase(images, on_bad="drop", checks=Checks(drop_large_forces=True, **quiet))
    assert len(data) == 29
    assert AtomicDataset.from_ase(images, checks=Checks(max_force=None, **quiet)).report.defects == []


def test_forces_of_a_molecule_must_cancel():
    images = shaken(3)
    for atoms in images[1:]:
        relabel(atoms, forces=atoms.get_forces() + 0.01)
    with pytest.warns(DataWarning, match=r"net force in 2 of 3 frames \(1, 2\)"):
        AtomicDataset.from_ase(images)
    crystal = bulk("Cu")
    crystal.calc = SinglePointCalculator(crystal, energy=-3.7, forces=np.ones((1, 3)))
    assert kinds([from_ase(crystal, cutoff=None)]) == []  # a periodic box may carry a net force from k-points


def test_an_energy_far_from_the_fit_is_found():
    images = shaken()
    relabel(images[4], energy=images[4].get_potential_energy() + 27.2)
    with pytest.warns(DataWarning, match=r"energy outlier in 1 of 30 frames \(4\)"):
        AtomicDataset.from_ase(images)
    graphs = [from_ase(atoms, cutoff=None) for atoms in images]
    assert kinds(graphs, energy_sigmas=None) == []
    assert kinds(graphs[:10]) == []  # too few to judge


@pytest.mark.parametrize("how", ["copy", "moved", "reordered"])
def test_duplicates_are_found_however_they_stand(how):
    images = shaken()
    twin = images[3].copy()
    twin.calc = images[3].calc
    if how == "moved":
        twin.positions = twin.positions @ Rotation.random(rng=0).as_matrix().T + [1.0, 2.0, 3.0]
    if how == "reordered":
        order = [1, 0, *range(2, 9)]
        twin = twin[order]
        relabel_from = images[3].calc.results
        twin.calc = SinglePointCalculator(twin, energy=relabel_from["energy"], forces=relabel_from["forces"][order])
    with pytest.warns(DataWarning, match=r"duplicate in 1 of 31 frames \(30\); first: same geometry as frame 3"):
        data = AtomicDataset.from_ase([*images, twin])
    assert len(data) == 31
    assert AtomicDataset.from_ase([*images, twin], checks=Checks(duplicates=False)).report.defects == []


def test_fingerprints_tell_different_structures_apart():
    graphs = [from_ase(atoms, cutoff=None) for atoms in shaken(40, sigma=1e-3)]
    cells = [from_ase(bulk("Cu", a=a), cutoff=None) for a in (3.6, 3.601)]
    other = [from_ase(bulk(s, "fcc", a=3.6), cutoff=None) for s in ("Ni",)]
    assert len({fingerprint(g) for g in [*graphs, *cells, *other]}) == 43


def test_overlap_counts_test_frames_seen_in_training():
    train = AtomicDataset.from_ase(shaken(10, seed=0))
    test = AtomicDataset.from_ase([*shaken(5, seed=1), *shaken(3, seed=0)])
    assert overlap(train, test) == 3
    assert overlap(train, test[:5]) == 0


def test_a_left_handed_cell_warns():
    crystal = bulk("Cu")
    assert np.linalg.det(crystal.cell) > 0
    assert check_structure(from_ase(crystal, cutoff=None)) == []
    crystal.set_cell(np.array(crystal.cell)[[1, 0, 2]])
    (defect,) = check_structure(from_ase(crystal, cutoff=None))
    assert (defect.kind, defect.fatal) == ("left-handed cell", False)


def test_the_close_contact_of_a_crystal_is_seen_through_the_boundary():
    crystal = Atoms("CuCu", positions=[[0, 0, 0.1], [0, 0, 8.9]], cell=[9, 9, 9], pbc=True)
    (defect,) = check_structure(from_ase(crystal, cutoff=None))
    assert defect.kind == "atoms too close"
    assert "0.200 Å apart" in defect.problem
    crystal.pbc = (True, True, False)
    assert check_structure(from_ase(crystal, cutoff=None)) == []


def test_the_threshold_follows_the_elements():
    hydrogen = from_ase(Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.5]]), cutoff=None)
    caesium = from_ase(Atoms("Cs2", positions=[[0, 0, 0], [0, 0, 0.5]]), cutoff=None)
    assert check_structure(hydrogen) == []
    assert [d.kind for d in check_structure(caesium)] == ["atoms too close"]
    assert check_structure(caesium, Checks(min_distance=None)) == []
    assert check_structure(caesium, Checks(min_distance=0.05)) == []


def test_a_box_far_too_small_is_a_bad_cell_not_a_full_memory():
    crystal = Atoms("Cs", cell=np.eye(3) * 0.11, pbc=True)
    (defect,) = check_structure(from_ase(crystal, cutoff=None), Checks(max_edges=1000))
    assert defect.kind == "bad cell"
    assert "edges" in defect.problem


def test_species_can_be_limited():
    with pytest.raises(DataError, match="atom 2 is O: the structure has H, C, O, the model knows H, C;"):
        AtomicDataset.from_ase(shaken(2), checks=Checks(species=("H", "C")))


def test_required_labels_are_checked_by_name():
    with pytest.raises(ValueError, match=r"require names \['force'\]"):
        Checks(require=("energy", "force"))


def test_an_empty_structure_is_refused():
    with pytest.raises(DataError, match="no atoms"):
        AtomicDataset.from_ase([Atoms()])
    assert torch.equal(from_ase(Atoms(), cutoff=5.0).natoms, torch.tensor([0]))
