"""Wrong units are suspected from the numbers, right ones never: in trajectories, in shuffled sets, between sets."""

import re

import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from scipy.spatial.transform import Rotation

from intertwine.data.atoms import AtomicDataset, Checks, DataWarning, Units, from_ase, read
from intertwine.data.atoms.suspicion import off_scale, suspect_units

KCAL = units.kcal / units.mol


def trajectory(step=0.04, count=40, energy=1.0, force=1.0, noise=0.0):
    """Ethanol in a harmonic well on a random walk, with labels multiplied by wrong factors."""
    rng, start, images = np.random.default_rng(0), molecule("CH3CH2OH"), []
    walk = np.zeros((9, 3))
    for _ in range(count):
        walk = 0.9 * walk + step * rng.standard_normal((9, 3))
        atoms = start.copy()
        atoms.positions += walk
        labels = {"energy": energy * (-4209 + 15 * float((walk**2).sum()) + noise * rng.standard_normal())}
        atoms.calc = SinglePointCalculator(atoms, **labels, forces=-30 * force * walk)
        images.append(from_ase(atoms, cutoff=None))
    return images


WRONG = {
    "all in kcal/mol": ({"energy": 1 / KCAL, "force": 1 / KCAL}, "large for eV: is it kcal/mol"),
    "all in hartree": ({"energy": 1 / 27.2, "force": 1 / 27.2}, "small for eV: is it hartree"),
    "forces in hartree/bohr": (
        {"force": 1 / 51.4},
        "51.4 times .*, as with forces in hartree/bohr",
    ),
    "energies in hartree": ({"energy": 1 / 27.2}, "0.0368 times .*, as with energies in hartree, forces in eV/Å"),
    "energies in kcal/mol": ({"energy": 1 / KCAL}, "23.1 times .*, as with energies in kcal/mol"),
    "atomic units": ({"energy": 1 / 27.2, "force": 1 / 51.4}, "1.89 times .*, as with .* forces in hartree/bohr"),
    "gradients": ({"force": -1.0}, "look like gradients; change their sign"),
    "odd": ({"energy": 7.0}, "7 times the work of the forces$"),
}


@pytest.mark.parametrize(("factors", "says"), WRONG.values(), ids=WRONG)
def test_wrong_units_are_suspected(factors, says):
    (defect,) = suspect_units(trajectory(**factors))
    assert not defect.fatal
    assert re.search(says, defect.problem)


@pytest.mark.parametrize("step", [0.005, 0.02, 0.04, 0.2])
def test_right_units_are_not_suspected(step):
    assert suspect_units(trajectory(step)) == []
    assert suspect_units(trajectory(step)[:5]) == []
    assert suspect_units(trajectory(step)[::-1]) == []


def test_the_suspicion_reaches_the_reader():
    images = AtomicDataset(trajectory(force=1 / 51.4)).to_ase()
    quiet = {"net_force": None, "energy_sigmas": None}
    with pytest.warns(DataWarning, match="structures: units: energy differences are 51.4 times the work"):
        AtomicDataset.from_ase(images, checks=Checks(**quiet))
    right = AtomicDataset.from_ase(images, units=Units(forces="hartree/bohr"), checks=Checks(**quiet))
    assert right.report.defects == []
    assert AtomicDataset.from_ase(images, checks=Checks(units=False, **quiet)).report.defects == []


@pytest.mark.parametrize(
    "name", ["acac/train_300K.xyz", "acac/test_MD_300K.xyz", "ethanol/train.xyz", "bpa/train_300K.xyz"]
)
def test_real_sets_are_not_suspected(data_dir, name):
    if not (data_dir / name).is_file():
        pytest.skip(f"no {name} here")
    data = read(data_dir / name, index="::2")
    assert data.report.defects == []
    for g in data:
        g.energy, g.forces = g.energy / KCAL, g.forces / KCAL
    assert [d.kind for d in suspect_units(list(data))] == ["units"]


def independent(count, kind, energy=1.0, force=1.0):
    """Frames that do not follow one another: molecules that also tumbled and drifted, or a crystal, rattled."""
    rng, images = np.random.default_rng(1), []
    start = molecule("CH3CH2OH") if kind == "molecule" else bulk("Cu", cubic=True)
    for _ in range(count):
        atoms, step = start.copy(), 0.06 * rng.standard_normal((len(start), 3))
        step -= step.mean(0)
        atoms.positions += step
        labels = {"energy": energy * (-4209 + 6 * float((step**2).sum())), "forces": -12 * force * step}
        if kind == "molecule":
            R = Rotation.random(rng=rng).as_matrix().T
            atoms.positions, labels["forces"] = atoms.positions @ R + rng.normal(size=3), labels["forces"] @ R
        else:  # atoms leave the cell on one side and come back on the other
            atoms.positions += rng.integers(-1, 2, (len(atoms), 3)) @ np.array(atoms.cell)
        atoms.calc = SinglePointCalculator(atoms, **labels)
        images.append(from_ase(atoms, cutoff=None))
    return images


@pytest.mark.parametrize("kind", ["molecule", "crystal"])
@pytest.mark.parametrize("factor", [27.2, 51.4, 1 / 27.2, 1 / 51.4])
def test_forces_off_by_atomic_units_in_a_shuffled_set(kind, factor):
    (defect,) = suspect_units(independent(40, kind, force=factor))
    ratio = float(re.search("roughly ([0-9.]+) times the work", defect.problem)[1])
    assert 0.8 < ratio * factor < 1.25
    assert suspect_units(independent(40, kind)) == []
    assert suspect_units(independent(5, kind, force=factor)) == []  # too few to say


@pytest.mark.parametrize("factor", [27.2, 51.4, 1 / 27.2, 1 / 51.4])
def test_forces_off_by_atomic_units_where_no_two_frames_are_alike(factor):
    """Cells of all sizes: then only the size of the forces tells, against how energies vary."""
    rng, images = np.random.default_rng(2), {1.0: [], factor: []}
    for k in range(30):
        crystal = bulk("Cu", cubic=True, a=3.4 + 0.01 * k)
        step = 0.1 * rng.standard_normal((4, 3))
        for scale, frames in images.items():
            atoms = crystal.copy()
            atoms.positions += step
            energy = -15 + 6 * float((step**2).sum())
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=-12 * scale * step)
            frames.append(from_ase(atoms, cutoff=None))
    (defect,) = suspect_units(images[factor])
    assert ("multiplied by 27.2 or 51.4" if factor > 1 else "hartree/bohr or hartree/Å") in defect.problem
    assert suspect_units(images[1.0]) == []


@pytest.mark.parametrize("name", ["acac/train_300K.xyz", "bpa/train_300K.xyz"])
def test_real_sets_shuffled(data_dir, name):
    if not (data_dir / name).is_file():
        pytest.skip(f"no {name} here")
    data = list(read(data_dir / name, index="::8", checks=Checks(duplicates=False)))
    order = np.random.default_rng(0).permutation(len(data))
    right = [data[k] for k in order]
    assert suspect_units(right) == []
    forces = [g.forces for g in right]
    for factor in (27.2, 51.4, 1 / 27.2, 1 / 51.4):
        for g, own in zip(right, forces, strict=True):
            g.forces = own * factor
        assert [d.kind for d in suspect_units(right)] == ["units"]


@pytest.mark.parametrize(
    ("factor", "says"),
    [
        (27.2, "27.2 times the expected .* as with hartree/Å"),
        (51.4, "51.4 times the expected .* as with hartree/bohr"),
        (1 / 27.2, "27.2 times smaller than the expected .* as with hartree/Å"),
        (1 / 51.4, "51.4 times smaller than the expected .* as with hartree/bohr"),
    ],
)
def test_two_sets_on_different_scales(factor, says):
    """One frame is enough."""
    ours, theirs = independent(3, "molecule"), independent(1, "molecule", force=factor)
    expected = float(np.sqrt(np.mean([g.forces.square().mean().item() for g in ours])))
    ratio = float(theirs[0].forces.square().mean().sqrt()) / expected
    theirs[0].forces *= factor / ratio
    (defect,) = off_scale(expected, theirs)
    assert not defect.fatal and re.search(says, defect.problem)
    for fine in (0.01, 0.1, 1, 10, 100):
        assert off_scale(expected * factor / fine, theirs) == []


def test_nothing_to_compare_with():
    silent = from_ase(molecule("H2O"), cutoff=None)
    assert off_scale(1.0, [silent]) == off_scale(1.0, []) == off_scale(0.0, independent(1, "crystal")) == []
    assert suspect_units([]) == suspect_units([silent] * 30) == []
