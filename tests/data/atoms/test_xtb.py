"""GFN2-xTB labels: forces are the energy's slope, nothing is printed, failures speak."""

import ctypes

import numpy as np
import pytest
from ase.build import molecule

from intertwine.data.atoms import XTB, SCFError
from intertwine.data.atoms.xtb import version

tblite = pytest.importorskip("tblite")


def ethanol(sigma=0.05):
    atoms = molecule("CH3CH2OH")
    return atoms.numbers, atoms.positions + sigma * np.random.default_rng(0).standard_normal((9, 3))


def test_forces_are_minus_the_slope_of_the_energy():
    numbers, x = ethanol()
    xtb = XTB(numbers)
    _, forces = xtb(x)
    assert np.abs(forces.sum(0)).max() < 1e-6
    h = 1e-3
    for atom, axis in ((0, 0), (2, 1), (8, 2)):
        step = np.zeros_like(x)
        step[atom, axis] = h
        e = {k: xtb(x + k * step)[0] for k in (-2, -1, 1, 2)}
        slope = (e[-2] - 8 * e[-1] + 8 * e[1] - e[2]) / (12 * h)
        assert forces[atom, axis] == pytest.approx(-slope, abs=5e-6)


def test_it_agrees_with_tblites_own_calculator():
    from tblite.ase import TBLite

    numbers, x = ethanol()
    atoms = molecule("CH3CH2OH")
    atoms.positions = x
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
    energy, forces = XTB(numbers)(x)
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
    assert np.allclose(forces, atoms.get_forces(), atol=1e-6, rtol=0)


def test_a_warm_start_changes_nothing_that_matters():
    numbers, x = ethanol()
    warm = XTB(numbers)
    warm(x + 0.1)
    (e1, f1), (e2, f2) = warm(x), XTB(numbers)(x)
    assert e1 == pytest.approx(e2, abs=1e-8)
    assert np.sqrt(np.mean((f1 - f2) ** 2)) < 1e-6
    assert np.abs(f1 - f2).max() < 1e-5


def test_the_energy_does_not_see_rigid_motions():
    numbers, x = ethanol()
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    e, f = XTB(numbers)(x)
    moved, g = XTB(numbers)(x @ turn.T + [1, 2, 3])
    assert moved == pytest.approx(e, abs=1e-8)
    assert np.abs(g - f @ turn.T).max() < 1e-6


def test_it_prints_nothing(capfd):
    numbers, x = ethanol()
    XTB(numbers)(x)
    with pytest.raises(SCFError):
        XTB(numbers, max_iterations=1)(x)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_an_scf_that_does_not_converge_is_named_and_leaves_a_usable_engine():
    numbers, x = ethanol()
    xtb = XTB(numbers, max_iterations=1)
    with pytest.raises(SCFError, match=r"GFN2-xTB gives no result for C2H6O: .*not converged"):
        xtb(x)
    xtb.max_iterations = 250
    assert xtb(x)[0] == pytest.approx(XTB(numbers)(x)[0], abs=1e-8)


def test_charge_and_unpaired_electrons_count():
    water = molecule("H2O")
    neutral, cation = (
        XTB(water.numbers)(water.positions)[0],
        XTB(water.numbers, charge=1, unpaired=1)(water.positions)[0],
    )
    assert 8 < cation - neutral < 20  # the ionisation energy of water is 12.6 eV


def test_other_threads_are_left_as_they_were():
    """The label runs on one thread; the OpenMP setting of the process is as before."""
    try:
        openmp = ctypes.CDLL(tblite._libtblite.__file__)
        get, set_ = openmp.omp_get_max_threads, openmp.omp_set_num_threads
    except AttributeError:
        pytest.skip("no OpenMP runtime behind tblite")
    numbers, x = ethanol()
    before = get()
    set_(3)
    try:
        energy = XTB(numbers)(x)[0]
        assert get() == 3
        set_(1)
        assert XTB(numbers)(x)[0] == energy  # to the last bit
    finally:
        set_(before)


@pytest.mark.parametrize(
    ("numbers", "options", "says"),
    [
        ([], {}, "elements 1 to 86"),
        ([0, 1], {}, "elements 1 to 86"),
        ([92], {}, "elements 1 to 86"),
        ([1, 1], {"accuracy": 0}, "accuracy"),
    ],
)
def test_bad_molecules_are_named(numbers, options, says):
    with pytest.raises(ValueError, match=says):
        XTB(np.array(numbers, dtype=int), **options)


@pytest.mark.parametrize("x", [np.zeros((2, 3)), np.full((9, 3), np.nan)], ids=["shape", "nan"])
def test_bad_positions_are_named(x):
    with pytest.raises(ValueError, match=r"finite, \[9, 3\]"):
        XTB(ethanol()[0])(x)


def test_the_version_is_known():
    assert version().split(".")[0].isdigit()
