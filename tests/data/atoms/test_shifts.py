"""Shifts and scale: what the compositions fix is fitted, what they leave open is said, energies stay in float64."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from intertwine.data.atoms import AtomicDataset, Checks, DataWarning, ShiftScale, fit_shift_scale, from_ase, read
from intertwine.data.atoms.shifts import composition, least_squares

TRUE = {"H": -13.6, "C": -1029.5, "O": -2042.0}


def graph(formula, *, extra=0.0, forces=None):
    symbols = Atoms(formula).get_chemical_symbols()
    atoms = Atoms(symbols, positions=[[2.0 * i, 0, 0] for i in range(len(symbols))])
    results = {"energy": sum(TRUE[s] for s in symbols) + extra}
    if forces is not None:
        results["forces"] = np.full((len(symbols), 3), forces)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return from_ase(atoms, cutoff=None)


MIX = ["H2O", "CH4", "CO2", "C2H6O", "CH2O", "H2"]


def test_compositions_that_fix_everything_give_the_true_shifts():
    fit = fit_shift_scale([graph(f, forces=1.0) for f in MIX])
    assert fit.species == (1, 6, 8)
    assert np.allclose(fit.shift, [-13.6, -1029.5, -2042.0], atol=1e-9, rtol=0)
    assert (fit.method, fit.rank) == ("lstsq", 3)
    assert fit.energy(np.array([1, 1, 8])) == pytest.approx(-2069.2, abs=1e-9)


def test_one_composition_gives_every_species_the_mean_and_warns():
    set_ = [graph("C2H6O", extra=e, forces=1.0) for e in (0.1, -0.1)]
    with pytest.warns(DataWarning, match="fix only 1 of 3 energy shifts"):
        fit = fit_shift_scale(set_)
    mean = float(np.mean([float(g.energy) for g in set_])) / 9
    assert np.allclose(fit.shift, mean, rtol=1e-14)
    assert fit.rank == 1


@given(
    counts=arrays(np.float64, (6, 3), elements=st.integers(1, 9)),
    energy=arrays(np.float64, 6, elements=st.floats(-1e4, 0, width=32)),
)
def test_least_squares_never_explodes_and_solves_the_normal_equations(counts, energy):
    shift, rank = least_squares(counts, energy)
    residual = counts @ shift - energy
    assert np.abs(counts.T @ residual).max() <= 1e-6 * max(np.abs(counts.T @ energy).max(), 1.0)
    assert 1 <= rank <= 3
    if rank == np.linalg.matrix_rank(counts):
        mean = np.mean(energy / counts.sum(1))
        open_directions = np.linalg.svd(counts)[2][rank:]
        assert np.allclose(open_directions @ (shift - mean), 0, atol=1e-5)


def test_isolated_atoms_win_when_every_species_has_one():
    set_ = AtomicDataset([graph("C2H6O", forces=1.0)], isolated={1: -13.0, 6: -1000.0, 8: -2000.0})
    assert fit_shift_scale(set_).method == "isolated"
    assert fit_shift_scale(set_).shift.tolist() == [-13.0, -1000.0, -2000.0]
    some = AtomicDataset([graph("C2H6O", forces=1.0)], isolated={1: -13.0})
    with pytest.warns(DataWarning, match="fix only"):
        assert fit_shift_scale(some).method == "lstsq"
    with pytest.raises(ValueError, match="no energy for C, O in the isolated atoms"):
        fit_shift_scale(some, shift="isolated")


def test_a_mapping_by_symbol_or_number():
    fit = fit_shift_scale([graph("H2O", forces=1.0)], shift={"H": -1, 8: -2, "C": -3})
    assert fit.shift.tolist() == [-1, -2]
    with pytest.raises(ValueError, match="no energy for O in the mapping"):
        fit_shift_scale([graph("H2O", forces=1.0)], shift={"H": -1})


def test_mean_shifts():
    fit = fit_shift_scale([graph("H2O", forces=1.0), graph("H2", forces=1.0)], shift="mean")
    assert np.allclose(fit.shift, ((2 * -13.6 - 2042) / 3 - 13.6) / 2)


def test_further_species_can_be_asked_for():
    with pytest.warns(DataWarning, match="fix only 2 of 3"):
        fit = fit_shift_scale([graph("H2O", forces=1.0), graph("H2", forces=1.0)], ["H", "C", "O"])
    assert fit.species == (1, 6, 8)
    with pytest.raises(ValueError, match="the set holds O, species are H"):
        fit_shift_scale([graph("H2O")], ["H"])


def test_scales():
    set_ = [graph(f, extra=0.1 * i, forces=1.0 + i) for i, f in enumerate(MIX)]
    n = np.array([len(g.z) for g in set_])
    rms = np.sqrt(np.sum(n * (1.0 + np.arange(6)) ** 2) / n.sum())
    assert np.allclose(fit_shift_scale(set_).scale, rms)
    assert fit_shift_scale(set_, scale=2.5).scale.tolist() == [2.5] * 3
    assert fit_shift_scale(set_, scale=None).scale.tolist() == [1.0] * 3
    fit = fit_shift_scale(set_, scale="energy")
    residual = [(float(g.energy) - fit.energy(g.z.numpy())) / len(g.z) for g in set_]
    assert np.allclose(fit.scale, np.std(residual))
    own = fit_shift_scale(set_, per_species=True).scale
    carbon = [(1.0 + i, "C" in f and Atoms(f).get_chemical_symbols().count("C")) for i, f in enumerate(MIX)]
    assert own[1] == pytest.approx(np.sqrt(sum(c * v**2 for v, c in carbon) / sum(c for _, c in carbon)))


@pytest.mark.parametrize("set_", [[graph("H2O", forces=0.0)], [graph("H2", forces=1.0)], [graph("H2O")]])
def test_without_forces_the_scale_is_one_and_says_so(set_):
    with pytest.warns(DataWarning, match="it is set to 1 eV"):
        assert fit_shift_scale(set_, shift="mean").scale.tolist() == [1.0] * len(set(set_[0].z.tolist()))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shift": "best"}, "shift must be"),
        ({"scale": "best"}, "scale must be"),
        ({"scale": -1.0}, "scale must be positive"),
        ({"scale": float("nan")}, "scale must be positive"),
    ],
    ids=str,
)
def test_bad_options_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        fit_shift_scale([graph(f, forces=1.0) for f in MIX], **options)


def test_no_energies_no_fit():
    bare = AtomicDataset.from_ase([Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]])], checks=Checks(require=()))
    with pytest.raises(ValueError, match="no structure has an energy"):
        fit_shift_scale(bare, scale=1.0)


def test_it_survives_json():
    fit = fit_shift_scale([graph(f, extra=1 / 3, forces=1.0) for f in MIX])
    copy = ShiftScale.from_dict(json.loads(json.dumps(fit.to_dict())))
    assert np.array_equal(copy.shift, fit.shift)
    assert np.array_equal(copy.scale, fit.scale)
    assert (copy.species, copy.method, copy.rank) == (fit.species, fit.method, fit.rank)
    assert "rank 3 of 3 species" in str(fit)


def test_a_stranger_has_no_shift():
    fit = fit_shift_scale([graph(f, forces=1.0) for f in MIX])
    with pytest.raises(ValueError, match="no shift for Cl, only for H, C, O"):
        fit.energy(np.array([17]))


def test_counts():
    counts, species = composition([np.array([8, 1, 1]), np.array([6, 8, 8])])
    assert species == (1, 6, 8)
    assert counts.tolist() == [[2, 0, 1], [0, 1, 2]]


def test_the_shifts_of_acac(data_dir):
    if not (data_dir / "acac").is_dir():
        pytest.skip("no acac here")
    data = read([data_dir / "acac" / name for name in ("isolated_atoms.xyz", "train_300K.xyz")])
    fit = fit_shift_scale(data)
    assert fit.method == "isolated"
    assert fit.energy(data[0].z.numpy()) == pytest.approx(-9318.410614, abs=1e-6)
    atomisation = np.mean([float(g.energy) - fit.energy(g.z.numpy()) for g in data])
    assert atomisation == pytest.approx(-72.976589, abs=1e-6)
    with pytest.warns(DataWarning, match="fix only 1 of 3"):
        flat = fit_shift_scale(data, shift="lstsq")
    assert np.allclose(flat.shift, -626.0925, atol=5e-5, rtol=0)
    assert fit.scale[0] == pytest.approx(1.05081, abs=1e-5)


def test_a_mixture_of_rank_two_stays_finite(data_dir):
    """AcAc and ethanol together: the default tolerance of pinv returns shifts of 1e10 eV here."""
    if not (data_dir / "acac").is_dir() or not (data_dir / "ethanol").is_dir():
        pytest.skip("no acac or ethanol here")
    data = read([data_dir / "acac" / "train_300K.xyz", data_dir / "ethanol" / "train.xyz"])
    with pytest.warns(DataWarning, match="fix only 2 of 3"):
        fit = fit_shift_scale(data)
    assert np.abs(fit.shift).max() < 3000
    residual = [float(g.energy) - fit.energy(g.z.numpy()) for g in data]
    assert np.std(residual) < 0.5
