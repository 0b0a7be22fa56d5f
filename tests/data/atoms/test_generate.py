"""Generated trajectories: the same bits for a seed, thermal, upright when asked, with labels that fit the frames."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule

from intertwine.data.atoms import XTB, AtomicDataset, SCFError, read, write, xtb_label, xtb_trajectory
from intertwine.data.atoms.generate import Langevin, builtin, kabsch, turn_onto

pytest.importorskip("tblite")

SHORT = {"frames": 6, "burn_in_fs": 20, "interval_fs": 5, "seed": 3}


@pytest.fixture(scope="module")
def upright():
    return xtb_trajectory("CCO", **SHORT, displaced=3)


def test_the_frames(upright):
    assert len(upright) == 9
    assert [a.info["time_fs"] for a in upright[:6]] == [25, 30, 35, 40, 45, 50]
    assert [a.info["config_type"] for a in upright] == ["500K_MD"] * 6 + ["displaced"] * 3
    info = upright[0].info
    assert (info["method"], info["seed"], info["temperature_K"], info["accuracy"]) == ("GFN2-xTB", 3, 500.0, 0.01)
    assert info["tblite_version"]
    assert upright[8].info["sigma_A"] == 0.05


def test_the_labels_are_those_of_the_frames(upright):
    """Also after turning: forces must turn with the positions."""
    xtb = XTB(upright[0].numbers)
    for atoms in upright:
        energy, forces = xtb(atoms.positions)
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-7)
        assert np.allclose(atoms.get_forces(), forces, atol=5e-6, rtol=0)


def test_a_seed_gives_the_same_bits(upright):
    again, other = (
        xtb_trajectory("CCO", **SHORT, displaced=3),
        xtb_trajectory("CCO", **{**SHORT, "seed": 4, "frames": 1}),
    )
    for a, b in zip(upright, again, strict=True):
        assert np.array_equal(a.positions, b.positions)
        assert np.array_equal(a.get_forces(), b.get_forces())
        assert a.get_potential_energy() == b.get_potential_energy()
    assert not np.allclose(other[0].positions, upright[0].positions, atol=1e-3)


def test_without_alignment_the_same_molecules_stand_elsewhere(upright):
    tumbling = xtb_trajectory("ethanol", **SHORT, align=False)
    start = builtin("CCO").positions
    for a, b in zip(upright, tumbling):
        assert a.get_potential_energy() == b.get_potential_energy()
        assert np.allclose(a.get_all_distances(), b.get_all_distances(), atol=1e-10)
        assert np.allclose(kabsch(a.positions, start)[0], np.eye(3), atol=1e-10)
        assert np.allclose(a.positions.mean(0), start.mean(0), atol=1e-12)
        assert not np.allclose(kabsch(b.positions, start)[0], np.eye(3), atol=1e-4)


def test_progress_counts_steps():
    seen = []
    xtb_trajectory("water", 2, burn_in_fs=10, interval_fs=5, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(5, 20), (10, 20), (15, 20), (20, 20)]


def test_a_trajectory_becomes_a_checked_set_and_a_file(upright, tmp_path):
    data = AtomicDataset.from_ase(upright, cutoff=5.0)
    assert data.stats.config_types == {"500K_MD": 6, "displaced": 3}
    assert data.report.defects == []
    write(tmp_path / "ethanol.xyz", upright)
    again = read(tmp_path / "ethanol.xyz")
    assert [float(g.energy) for g in again] == [float(g.energy) for g in data]
    assert "tblite_version" in (tmp_path / "ethanol.xyz").read_text().splitlines()[1]


def test_other_molecules_by_atoms():
    images = xtb_trajectory(molecule("NH3"), 1, burn_in_fs=0, interval_fs=1)
    assert images[0].get_chemical_formula() == "H3N"


class Springs:
    """Independent oscillators, each with angular frequency 0.2/fs: exact thermal averages are known."""

    def __init__(self, mass):
        self.k = mass[:, None] * (0.2 / units.fs) ** 2

    def __call__(self, x):
        return float(0.5 * (self.k * x**2).sum()), -self.k * x


def test_the_bath_has_the_right_temperature():
    """BAOAB samples the positions of a harmonic well without error in the time step (arXiv:1203.5428)."""
    atoms = Atoms("H50O50", positions=np.zeros((100, 3)))
    motion = Langevin(atoms, Springs(atoms.get_masses()), 500.0, 1.0, 0.02, np.random.default_rng(0))
    energies = []
    for step in range(4000):
        motion.step()
        if step >= 500:
            energies.append(motion.energy)
    per_mode = np.mean(energies) / 300
    assert per_mode == pytest.approx(0.5 * units.kB * 500, rel=0.02)
    mass = atoms.get_masses()[:, None]
    kinetic = 0.5 * mass * motion.v**2 / units.fs**2
    assert kinetic[:50].mean() == pytest.approx(0.5 * units.kB * 500, rel=0.25)
    assert kinetic[50:].mean() == pytest.approx(0.5 * units.kB * 500, rel=0.25)


def test_without_friction_energy_is_kept():
    water = molecule("H2O")
    motion = Langevin(water, XTB(water.numbers), 300.0, 0.25, 1e-12, np.random.default_rng(0))
    mass = water.get_masses()[:, None]
    total = []
    for _ in range(80):
        motion.step()
        total.append(motion.energy + float((0.5 * mass * motion.v**2).sum()) / units.fs**2)
    assert np.std(total) < 1e-3


def test_kabsch_undoes_a_motion_and_never_mirrors():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((9, 3))
    q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    q *= np.sign(np.linalg.det(q))
    R, centre = kabsch(x @ q.T + [1, 2, 3], x)
    assert np.allclose(R, q.T, atol=1e-12)
    assert np.allclose(centre, x.mean(0))
    assert np.linalg.det(kabsch(x * [-1, 1, 1], x)[0]) == pytest.approx(1.0)
    line = np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 2.5]])  # an axis of rotation is left open
    R, _ = kabsch(line[:, [2, 1, 0]], line)
    assert np.allclose((line[:, [2, 1, 0]] - line[:, [2, 1, 0]].mean(0)) @ R.T, line - line.mean(0), atol=1e-12)


def test_turning_leaves_unlabelled_atoms_unlabelled():
    water = molecule("H2O")
    target = water.positions[:, [1, 2, 0]]
    turn_onto(water, target)
    assert np.allclose(water.positions, target, atol=1e-12)
    assert water.calc is None


def test_labels_for_given_structures():
    shaken = [molecule(name) for name in ("H2O", "CH4", "H2O")]
    shaken[2].positions *= 1.05
    done = xtb_label(shaken)
    assert shaken[0].calc is None
    assert done[2].get_potential_energy() > done[0].get_potential_energy()
    assert done[1].info["method"] == "GFN2-xTB"


def test_a_trajectory_that_blows_up_says_where():
    with pytest.raises(SCFError, match=r"step \d+ of the trajectory \(\d+ fs at 1e\+08 K\).*lower the temperature"):
        xtb_trajectory("water", 50, temperature=1e8, burn_in_fs=0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"molecule": "phlogiston"}, "no geometry for 'phlogiston'; known are CCO, ethanol"),
        ({"molecule": bulk("Cu")}, "Cu is periodic"),
        ({"frames": 0}, "frames must be positive"),
        ({"temperature": -1.0}, "temperature must be positive"),
        ({"friction": 0.0}, "friction must be positive"),
        ({"timestep_fs": 0.0}, "timestep_fs must be positive"),
        ({"interval_fs": 0.2}, "shorter than timestep_fs"),
        ({"burn_in_fs": -1.0}, "burn_in_fs"),
        ({"displaced": -1}, "displaced"),
        ({"sigma": 0.0}, "sigma must be positive"),
        ({"accuracy": 0.0}, "accuracy must be positive"),
    ],
    ids=str,
)
def test_bad_settings_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        xtb_trajectory(**{"molecule": "CCO", "frames": 2, **options})


def test_a_molecule_is_a_name_or_atoms():
    with pytest.raises(TypeError, match=r"name or ase\.Atoms, got int"):
        xtb_trajectory(3, 2)
    with pytest.raises(SCFError, match="frame 1"):
        xtb_label([molecule("H2O"), Atoms("H2", positions=[[0, 0, 0], [0, 0, np.nan]])])
