"""The energy test of a potential, on an oscillator whose answer is known and on a force field that leaks."""

import numpy as np
import pytest

from intertwine.interop.nve import nve

ase = pytest.importorskip("ase")


def _diatomic(damping: float = 0.0):
    from ase.calculators.calculator import Calculator, all_changes

    class Spring(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            r = self.atoms.positions[1] - self.atoms.positions[0]
            length = np.linalg.norm(r)
            pull = 30.0 * (length - 0.8) * r / length
            forces = np.array([pull, -pull]) - damping * self.atoms.get_velocities()
            self.results = {"energy": 15.0 * (length - 0.8) ** 2, "forces": forces}

    atoms = ase.Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.8]])
    atoms.calc = Spring()
    return atoms


def test_a_conservative_force_keeps_the_energy_to_second_order():
    coarse, fine = (nve(_diatomic(), timestep=dt, picoseconds=0.5, seed=3) for dt in (0.5, 0.25))
    assert abs(fine.drift) < 0.01
    assert fine.time[-1] == pytest.approx(500.0)
    assert 3.3 < coarse.total.std() / fine.total.std() < 4.7
    assert fine.kinetic.max() > 1e-3  # it moves


def test_a_leaking_force_is_seen_as_drift():
    assert nve(_diatomic(damping=0.02), picoseconds=0.5, seed=3).drift < -0.5


def test_the_atoms_given_stay_where_they_were_and_seeds_repeat():
    atoms = _diatomic()
    first, second = nve(atoms, picoseconds=0.01, seed=1), nve(atoms, picoseconds=0.01, seed=1)
    assert np.array_equal(first.total, second.total)
    assert atoms.positions[1, 2] == 0.8


def test_bad_settings_say_what_is_wrong():
    with pytest.raises(ValueError, match="timestep=0"):
        nve(_diatomic(), timestep=0)
    with pytest.raises(ValueError, match="no calculator"):
        nve(ase.Atoms("H"))
