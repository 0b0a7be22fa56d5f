"""Named units are converted; wrong ones are suspected from the numbers, right ones never."""

import re

import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from intertwine.data.atoms import AtomicDataset, Checks, DataWarning, Keys, Units, from_ase, read
from intertwine.data.atoms.units import suspect_units

KCAL = units.kcal / units.mol


def test_factors():
    assert Units().factors() == {"energy": 1.0, "length": 1.0, "forces": 1.0, "stress": 1.0}
    atomic = Units("hartree", "bohr").factors()
    assert atomic["energy"] == pytest.approx(27.211386, abs=1e-6)
    assert atomic["length"] == pytest.approx(0.529177, abs=1e-6)
    assert atomic["forces"] == pytest.approx(51.42207, abs=1e-5)
    assert Units("kcal/mol").factors()["forces"] == pytest.approx(0.0433641, abs=1e-7)
    mixed = Units("hartree", forces="kcal/mol/angstrom", stress="GPa").factors()
    assert mixed["forces"] == pytest.approx(0.0433641, abs=1e-7)
    assert mixed["stress"] == pytest.approx(0.00624151, abs=1e-8)
    assert Units(stress="hartree/bohr^3").factors()["stress"] == pytest.approx(183.6315, abs=1e-3)


@pytest.mark.parametrize(
    "options", [{"energy": "joule"}, {"length": "inch"}, {"forces": "hartree"}, {"stress": "eV/angstrom"}], ids=str
)
def test_unknown_units_are_named(options):
    with pytest.raises(ValueError, match="not known here; there are"):
        Units(**options)


def test_everything_is_converted():
    crystal = bulk("Cu")
    other = crystal.copy()
    other.set_cell(crystal.cell / units.Bohr, scale_atoms=True)
    stress = np.array([1.0, 2, 3, 0, 0, 0]) / 100
    crystal.calc = SinglePointCalculator(crystal, energy=-3.7, forces=np.ones((1, 3)), stress=stress)
    per_ha = 1 / units.Hartree
    other.info["virial"] = -stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]] * crystal.cell.volume * per_ha
    results = {"energy": -3.7 * per_ha, "forces": np.ones((1, 3)) * per_ha * units.Bohr}
    results["stress"] = stress * per_ha * units.Bohr**3
    other.calc = SinglePointCalculator(other, **results)
    expected = from_ase(crystal, cutoff=4.0)
    for keys in (Keys(), Keys(stress=None, virial="virial")):
        found = from_ase(other, cutoff=4.0, units=Units("hartree", "bohr"), keys=keys)
        assert found.edge_index.equal(expected.edge_index)
        for name in ("pos", "cell", "energy", "forces", "stress"):
            assert np.allclose(found[name], expected[name], rtol=1e-12, atol=1e-14), name


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
