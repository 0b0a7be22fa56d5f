"""Named units are converted, unknown ones refused."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from intertwine.data.atoms import Keys, Units, from_ase


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
