"""The calculator agrees with the batch path, and ASE's machinery runs on it."""

import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.filters import FrechetCellFilter
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from ase.phonons import Phonons

from intertwine.data.atoms import collate, from_ase
from intertwine.interop.ase import Calculator
from intertwine.models import saved
from models.atoms.conftest import CUTOFF, images, potential

MODEL = "NequIP natural"


def pair_like(scale: float = 0.02):
    """A potential with a repulsive wall is not needed to test machinery: a soft one keeps every motion small."""
    model = potential(MODEL)
    model.energy_scale = tuple(scale for _ in model.energy_scale)
    return model.double()  # writes the constants anew


def warm(atoms) -> None:
    """Momenta of a thermal size at 300 K."""
    momenta = np.random.RandomState(0).standard_normal((len(atoms), 3))
    atoms.set_momenta(momenta * np.sqrt(300 * units.kB * atoms.get_masses())[:, None])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", list(images()))
def test_it_agrees_with_the_batch_path(name, dtype):
    model, atoms = potential(MODEL, dtype=dtype), images()[name]
    out = model(collate([from_ase(atoms, cutoff=CUTOFF)]))
    atoms.calc = Calculator(model)
    tolerance = {"rtol": 0, "atol": 1e-10}
    np.testing.assert_allclose(atoms.get_potential_energy(), float(out["energy"]), **tolerance)
    np.testing.assert_allclose(atoms.get_potential_energy(force_consistent=True), float(out["energy"]), **tolerance)
    np.testing.assert_allclose(atoms.get_potential_energies(), out["atom_energy"].numpy(), **tolerance)
    np.testing.assert_allclose(atoms.get_forces(), out["forces"].double().numpy(), **tolerance)
    if atoms.pbc.all():
        expected = out["stress"][0].double().numpy()
        np.testing.assert_allclose(atoms.get_stress(voigt=False), expected, **tolerance)


def test_a_skin_changes_nothing_and_saves_rebuilds():
    runs = []
    for skin in (0.0, 0.5):
        atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
        atoms.calc = Calculator(pair_like(), skin=skin)
        warm(atoms)
        VelocityVerlet(atoms, 1.0 * units.fs).run(20)
        runs.append((atoms.positions, atoms.get_potential_energy(), atoms.calc.neighbors.rebuilds))
    np.testing.assert_allclose(runs[0][0], runs[1][0], rtol=0, atol=1e-12)
    assert runs[0][1] == pytest.approx(runs[1][1], abs=1e-11)
    assert runs[0][2] == 21
    assert runs[1][2] <= 2


def test_verlet_conserves_energy_to_second_order():
    """Halving the step divides the fluctuation of the total energy by four."""
    spreads = []
    for step in (1.0, 0.5):
        atoms = molecule("H2O")
        atoms.calc = Calculator(pair_like(0.3))
        warm(atoms)
        totals = []
        motion = VelocityVerlet(atoms, step * units.fs)
        motion.attach(lambda a=atoms, t=totals: t.append(a.get_total_energy()))
        motion.run(round(60 / step))
        spreads.append(np.std(totals))
    assert 3.5 < spreads[0] / spreads[1] < 4.5


@pytest.mark.parametrize("optimizer", [BFGS, FIRE])
def test_relaxation_of_positions(optimizer):
    atoms = molecule("H2O")
    atoms.calc = Calculator(pair_like())
    before = atoms.get_potential_energy()
    optimizer(atoms, logfile=None).run(fmax=1e-3, steps=60)
    assert atoms.get_potential_energy() < before


def test_relaxation_of_the_cell():
    atoms = images()["crystal"]
    atoms.calc = Calculator(pair_like())
    before, cell = atoms.get_potential_energy(), atoms.cell.array.copy()
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-3, steps=5)
    assert atoms.get_potential_energy() < before
    assert np.abs(atoms.cell.array - cell).max() > 1e-4


def test_langevin_neb_and_phonons_run(tmp_path):
    atoms = molecule("CH3OH")
    atoms.calc = Calculator(pair_like())
    Langevin(
        atoms, 1.0 * units.fs, temperature_K=300, friction=0.01 / units.fs, fixcm=False, rng=np.random.RandomState(0)
    ).run(3)
    assert np.isfinite(atoms.get_total_energy())
    ends = [molecule("H2O"), molecule("H2O")]
    ends[1].rattle(0.1, seed=0)
    path = [ends[0], ends[0].copy(), ends[1]]
    for image in path:
        image.calc = Calculator(pair_like())
    band = NEB(path, method="improvedtangent")
    band.interpolate()
    BFGS(band, logfile=None).run(fmax=0.1, steps=2)
    copper = bulk("Cu", "fcc", a=3.6)
    phonons = Phonons(copper, Calculator(pair_like()), supercell=(1, 1, 2), name=str(tmp_path / "phonon"))
    phonons.run()
    phonons.read(acoustic=True)
    assert phonons.get_force_constant().shape == (2, 3, 3)


def test_a_checkpoint_is_enough(tmp_path):
    model = potential(MODEL, dtype=torch.float32)
    weights = {f"potential.{name}": value for name, value in model.state_dict().items()}
    saved.save({"intertwine": {"kind": "potential", "potential": model.config}, "state_dict": weights}, tmp_path / "x")
    atoms, other = images()["ethanol"], images()["ethanol"]
    atoms.calc, other.calc = Calculator(model), Calculator(tmp_path / "x")
    assert atoms.get_potential_energy() == other.get_potential_energy()


def test_what_it_cannot_do_is_said():
    model = potential(MODEL)
    slab = images()["slab"]
    slab.calc = Calculator(model)
    with pytest.raises(PropertyNotImplementedError, match=r"pbc is \[True, True, False\]"):
        slab.get_stress()
    gold = bulk("Au")
    gold.calc = Calculator(model)
    with pytest.raises(ValueError, match="holds Au; this model knows H, C, O, Cu"):
        gold.get_potential_energy()
