"""Batched relaxation goes the way of ASE's FIRE, structure by structure, and leaves alone what has arrived."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.optimize import FIRE

from intertwine.data.atoms import collate, from_ase
from intertwine.interop.ase import Calculator
from intertwine.models.atoms import relax
from models.atoms.springs import LENGTH, springs


def structures() -> list[Atoms]:
    """From nearly there to far away, so that they arrive one after the other, and one that is there already."""
    found = [Atoms(f"H{n}", positions=np.random.RandomState(n).rand(n, 3) * 1.2) for n in (2, 3, 5)]
    found.append(Atoms("H2", positions=[[0, 0, 0], [0, 0, LENGTH]]))
    return found


def batch():
    return collate([from_ase(atoms, cutoff=None) for atoms in structures()])


def test_it_is_fire_of_ase_on_every_structure():
    given = batch()
    before = given.pos.clone()
    end = relax(springs(), given, fmax=0.01)
    assert torch.equal(given.pos, before)
    assert end.converged.all()
    assert len(set(end.steps.tolist())) == 4
    assert int(end.steps[3]) == 0
    for g, atoms in enumerate(structures()):
        atoms.calc = Calculator(springs())
        search = FIRE(atoms, logfile=None)
        search.run(fmax=0.01)
        here = given.batch == g
        assert search.nsteps == int(end.steps[g])
        np.testing.assert_allclose(end.pos[here].numpy(), atoms.positions, rtol=0, atol=1e-9)
        np.testing.assert_allclose(end.forces[here].numpy(), atoms.get_forces(), rtol=0, atol=1e-8)
        assert float(end.energy[g]) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        assert float(end.fmax[g]) == pytest.approx(np.linalg.norm(atoms.get_forces(), axis=1).max(), abs=1e-8)
    bond = end.pos[1] - end.pos[0]
    assert float(bond.norm()) == pytest.approx(LENGTH, abs=1e-3)


def test_it_stops_after_so_many_steps_and_says_who_is_not_there():
    end = relax(springs(), batch(), fmax=1e-6, steps=7)
    assert end.converged.tolist() == [False, False, False, True]
    assert end.steps.tolist() == [7, 7, 7, 0]
    assert (end.fmax[:3] > 1e-6).all()
    none = relax(springs(), batch(), steps=0)
    assert torch.equal(none.pos, batch().pos)


def test_what_goes_wrong_is_named():
    with pytest.raises(ValueError, match=r"fmax=0"):
        relax(springs(), batch(), fmax=0)
    with pytest.raises(FloatingPointError, match="structure 0 is not finite after 0 steps"):
        relax(springs(float("nan")), batch())
