"""Labels are found under any name and in any place; what cannot be a label is refused by name."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from intertwine.data.atoms import DataError, Keys
from intertwine.data.atoms.keys import available, labels

VOIGT = np.array([1.0, 2, 3, 4, 5, 6])
MATRIX = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])


def water():
    return Atoms("OHH", positions=[[0, 0, 0], [1, 0, 0], [0, 1, 0]])


def test_calculator_info_and_arrays_are_all_searched():
    atoms = water()
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    atoms.info["REF_energy"] = -2.0
    atoms.arrays["REF_forces"] = np.ones((3, 3))
    atoms.info["kind"] = "md"
    assert labels(atoms, Keys()).energy == -1.0
    found = labels(atoms, Keys(energy="REF_energy", forces="REF_forces", config_type="kind"))
    assert (found.energy, found.config_type) == (-2.0, "md")
    assert np.array_equal(found.forces, np.ones((3, 3)))


def test_nothing_there_means_none():
    found = labels(water(), Keys())
    assert found.energy is found.forces is found.stress is found.charge is None
    assert (found.weight, found.config_type) == (1.0, "default")


@pytest.mark.parametrize(
    "value", [VOIGT, MATRIX, MATRIX.ravel(), MATRIX.ravel().tolist()], ids=["6", "3x3", "9", "list"]
)
def test_stress_comes_as_6_or_9_numbers(value):
    atoms = bulk("Cu")
    atoms.info["S"] = value
    assert np.array_equal(labels(atoms, Keys(stress="S")).stress, MATRIX)


def test_a_virial_is_minus_volume_times_stress():
    atoms = bulk("Cu")
    atoms.info["virial"] = -atoms.cell.volume * MATRIX
    assert labels(atoms, Keys()).stress is None  # not asked for
    assert np.allclose(labels(atoms, Keys(virial="virial")).stress, MATRIX, atol=1e-12)
    atoms.info["stress_GPa"] = VOIGT
    assert np.array_equal(labels(atoms, Keys(stress="stress_GPa", virial="virial")).stress, MATRIX)


def test_stress_of_an_open_box_is_no_label():
    atoms = bulk("Cu")
    atoms.info["S"] = VOIGT
    atoms.pbc = (True, True, False)
    assert labels(atoms, Keys(stress="S")).stress is None


@pytest.mark.parametrize(
    ("info", "keys", "says"),
    [
        ({"E": "high"}, Keys(energy="E"), "energy under 'E' is 'high'"),
        ({"E": np.arange(3.0)}, Keys(energy="E"), r"shape \(3,\)"),
        ({"S": np.arange(4.0)}, Keys(stress="S"), "4 numbers"),
        ({"S": np.arange(9.0)}, Keys(stress="S"), "not symmetric"),
        ({"weight": -1.0}, Keys(), "weight"),
        ({"F": np.ones((2, 3))}, Keys(forces="F"), r"shape \(2, 3\), the structure has 1 atoms"),
    ],
    ids=str,
)
def test_what_is_no_label_is_named(info, keys, says):
    atoms = bulk("Cu")
    atoms.info.update(info)
    with pytest.raises(DataError, match=says):
        labels(atoms, keys)


def test_the_available_keys_are_listed_by_place():
    atoms = water()
    atoms.info["REF_energy"] = -2.0
    atoms.arrays["REF_forces"] = np.ones((3, 3))
    assert available(atoms) == "calculator: none; info: REF_energy; arrays: REF_forces"
