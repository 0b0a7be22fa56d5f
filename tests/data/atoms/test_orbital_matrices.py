"""Matrices of real electronic structure: they turn with the molecule, and their eigenvalues are the engine's."""

import numpy as np
import pytest
import scipy.linalg
import torch
from ase import Atoms
from ase.build import bulk, molecule

from intertwine.data.atoms import XTB, Basis, SCFError, dft_matrices, engine_axes, xtb_matrices
from intertwine.so3 import random_rotation


def shaken(name: str) -> Atoms:
    atoms = molecule(name)
    atoms.rattle(0.05, seed=1)
    return atoms


def moved(atoms: Atoms, R: np.ndarray) -> Atoms:
    out = atoms.copy()
    out.positions = atoms.positions @ R.T + [1.0, -2.0, 0.5]
    return out


@pytest.fixture(params=[1, -1], ids=("rotation", "reflection"))
def turn(request, generator) -> np.ndarray:
    return request.param * random_rotation(1, generator=generator)[0].double().numpy()


@pytest.mark.parametrize("name", ["H2O", "SO2", "CH3CH2OH"])
def test_gfn2_turns_with_the_molecule(name, turn):
    pytest.importorskip("tblite")
    atoms = shaken(name)
    (here,), (there,) = xtb_matrices([atoms]), xtb_matrices([moved(atoms, turn)])
    D = here.basis.irreps(here.numbers).matrix(torch.tensor(turn)).numpy()
    assert np.abs(there.overlap - D @ here.overlap @ D.T).max() < 1e-12
    assert np.abs(there.hamiltonian - D @ here.hamiltonian @ D.T).max() < 1e-8
    assert np.abs(here.hamiltonian - here.hamiltonian.T).max() == 0


def test_gfn2_orbital_energies_are_tblites():
    pytest.importorskip("tblite")
    atoms = shaken("CH3CH2OH")
    engine = XTB(atoms.numbers)
    (found,) = xtb_matrices([atoms])
    F, S, electrons = engine.matrices(atoms.positions)
    assert electrons == found.electrons == 20
    expected = engine._result.get("orbital-energies")
    assert np.abs(scipy.linalg.eigvalsh(found.hamiltonian, found.overlap) - expected).max() < 1e-10
    assert np.abs(scipy.linalg.eigvalsh(F, S) - expected).max() < 1e-10


def test_matrices_and_forces_come_from_one_engine():
    pytest.importorskip("tblite")
    atoms = shaken("H2O")
    engine = XTB(atoms.numbers)
    energy, forces = engine(atoms.positions)
    engine.matrices(atoms.positions)
    again, same = engine(atoms.positions)
    assert again == pytest.approx(energy, abs=1e-8)
    assert np.abs(same - forces).max() < 1e-5


def test_a_mixed_list_keeps_its_order():
    pytest.importorskip("tblite")
    images = [shaken("H2O"), shaken("CH4"), shaken("H2O")]
    found = xtb_matrices(images)
    assert [one.hamiltonian.shape for one in found] == [(6, 6), (8, 8), (6, 6)]
    assert found[1].basis == Basis.gfn2(["C", "H"])
    assert np.abs(found[0].hamiltonian - found[2].hamiltonian).max() < 1e-7
    graph = found[1].graph()
    assert graph.z.tolist() == [6, 1, 1, 1, 1]
    assert graph.pos.dtype == torch.float64


@pytest.mark.parametrize("basis", ["sto-3g", "def2-svp"])
def test_hartree_fock_turns_with_the_molecule(basis, turn):
    pytest.importorskip("pyscf")
    atoms = shaken("H2O")
    here, there = (dft_matrices([one], xc="hf", basis=basis)[0] for one in (atoms, moved(atoms, turn)))
    D = here.basis.irreps(here.numbers).matrix(torch.tensor(turn)).numpy()
    assert np.abs(there.overlap - D @ here.overlap @ D.T).max() < 1e-12
    assert np.abs(there.hamiltonian - D @ here.hamiltonian @ D.T).max() < 1e-8
    assert here.electrons == 10
    if basis == "def2-svp":
        assert here.basis == Basis.def2_svp(["H", "O"])


def test_dft_turns_as_well_as_its_grid(generator):
    pytest.importorskip("pyscf")
    R = random_rotation(1, generator=generator)[0].double().numpy()
    atoms = shaken("H2O")
    here, there = (dft_matrices([one], basis="sto-3g", grid=1)[0] for one in (atoms, moved(atoms, R)))
    D = here.basis.irreps(here.numbers).matrix(torch.tensor(R)).numpy()
    error = np.abs(there.hamiltonian - D @ here.hamiltonian @ D.T).max()
    assert error < 1e-3
    assert here.method == "pbe/sto-3g"


def test_a_matrix_goes_back_to_the_engine():
    """Coefficients of ours in the engine's order start its SCF at the solution."""
    scf = pytest.importorskip("pyscf.scf")
    gto = pytest.importorskip("pyscf.gto")
    atoms = shaken("H2O")
    (found,) = dft_matrices([atoms], xc="hf", basis="6-31g*")
    assert 2 in found.degrees
    C = engine_axes("pyscf", found.degrees) @ scipy.linalg.eigh(found.hamiltonian, found.overlap)[1][:, :5]
    atom = list(zip(atoms.numbers.tolist(), atoms.positions.tolist()))
    cycles = []
    for start in (None, 2 * C @ C.T):
        solver = scf.RHF(gto.M(atom=atom, basis="6-31g*", verbose=0))
        solver.kernel(dm0=start)
        cycles.append(solver.cycles)
    assert cycles[1] <= 2 < cycles[0]


def test_engine_axes():
    ours = engine_axes("tblite", [1])
    assert ours.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]  # tblite lists y, z, x
    assert engine_axes("pyscf", [0, 1]).tolist() == np.eye(4).tolist()
    Q = engine_axes("pyscf", [2, 0, 3])
    assert np.abs(Q @ Q.T - np.eye(13)).max() < 1e-14
    with pytest.raises(ValueError, match="order of orbitals of 'psi4' is not known; known: tblite, pyscf"):
        engine_axes("psi4", [0])


def test_bad_input_is_named():
    pytest.importorskip("tblite")
    pytest.importorskip("pyscf")
    for call in (xtb_matrices, dft_matrices):
        with pytest.raises(ValueError, match="Cu is periodic"):
            call([bulk("Cu")])
        assert call([]) == []
    with pytest.raises(ValueError, match="image 1 has 9 electrons; closed shells only"):
        dft_matrices([shaken("H2O"), molecule("OH")], basis="sto-3g", xc="hf")
    with pytest.raises(SCFError, match="image 1"):
        xtb_matrices([shaken("H2O"), Atoms("H2", positions=[[0, 0, 0], [0, 0, np.nan]])])
