"""Every way in which a structure file is bad ends in an error that names file, frame and fix; good ones come back."""

import os
import warnings

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from intertwine import files
from intertwine.data.atoms import Checks, DataError, DataWarning, Keys, from_ase, read, write

HEAD = 'Properties=species:S:1:pos:R:3:forces:R:3 energy={energy} pbc="F F F"'


def frame(x=0.96, *, energy=-76.1, symbols="OHH", head=HEAD, count=None, spoil=None):
    """Text of one water molecule; `spoil` maps (atom, column) to other text."""
    rows = [[0, 0, 0, 0.1, 0.2, 0], [x, 0, 0, -0.1, 0, 0], [-0.24, 0.93, 0, 0, -0.2, 0]]
    rows = [[symbol, *(f"{v:.8f}" for v in row)] for symbol, row in zip(symbols, rows)]
    for (atom, column), text in (spoil or {}).items():
        rows[atom][column] = text
    return "\n".join([str(count or len(rows)), head.format(energy=energy), *(" ".join(row) for row in rows)]) + "\n"


GOOD = [frame(0.95 + 0.01 * i, energy=-76.1 - 0.01 * i**2) for i in range(4)]


@pytest.fixture
def save(tmp_path):
    def write_text(*frames, name="a.xyz"):
        (tmp_path / name).write_text("".join(frames))
        return tmp_path / name

    return write_text


def test_a_good_file(save):
    data = read(save(*GOOD))
    assert len(data) == 4
    assert [float(g.energy) for g in data] == pytest.approx([-76.1, -76.11, -76.14, -76.19], abs=1e-12)
    assert data[1].pos[1].tolist() == [0.96, 0, 0]
    assert data[1].forces[0].tolist() == [0.1, 0.2, 0]
    assert [int(g.frame) for g in data] == [0, 1, 2, 3]
    assert data.report.count() == {}


def test_blank_lines_between_frames_lose_nothing(save):
    assert len(read(save(GOOD[0], "\n\n", GOOD[1], "\n"))) == 2


@pytest.mark.parametrize(("index", "frames"), [(":2", [0, 1]), ("::2", [0, 2]), (-1, [3]), (slice(1, None), [1, 2, 3])])
def test_index_chooses_frames(save, index, frames):
    assert [int(g.frame) for g in read(save(*GOOD), index=index)] == frames


def test_bad_frames_outside_the_index_do_not_matter(save):
    path = save(*GOOD, frame(spoil={(0, 1): "nan"}))
    assert len(read(path, index=":4")) == 4


def test_cutoff_and_dtype(save):
    data = read(save(*GOOD), cutoff=2.0, dtype=torch.float32)
    assert data[0].edge_index.shape == (2, 6)
    assert data[0].pos.dtype == torch.float32
    assert data[0].energy.dtype == torch.float64


# --- bad files

SPACE = (
    '2\nLattice="{0}" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1 pbc="T T T"\nCu 0 0 0 0 0 0\nCu 2 2 2 0 0 0\n'
)
BAD_FRAMES = {
    "position": (frame(spoil={(1, 2): "nan"}), r"position of atom 1 is \[0.96, nan, 0.0\]"),
    "force": (frame(spoil={(2, 5): "inf"}), r"force of atom 2 is \[0.0, inf, 0.0\]"),
    "energy": (frame(energy="nan"), "energy is nan"),
    "energy text": (frame(energy="high"), "energy under 'energy' is 'high'"),
    "cell": (SPACE.format("nan 0 0 0 4 0 0 0 4"), "cell is"),
    "species": (frame(symbols=["O", "Xx", "H"]), r"unknown species 'Xx' on line 24"),
    "dummy": (frame(symbols="OXH"), "atom 1 has no element"),
    "one spot": (frame(0.0), r"atoms 0 \(O\) and 1 \(H\) stand on one spot"),
    "too close": (frame(0.3), r"atoms 0 \(O\) and 1 \(H\) are 0\.300 Å apart"),
    "zero vector": (SPACE.format("4 0 0 0 4 0 0 0 0"), "pbc is True along axis 2, but its cell vector is zero"),
    "flat cell": (SPACE.format("4 0 0 8 0.0001 0 0 0 4"), "volume 1.60e-03 Å³ for 2 atoms"),
    "own image": (SPACE.format("9 0 0 0 9 0 0 0 0.9"), r"atom . \(Cu\) and its own image are 0.900 Å apart"),
    "column": (frame(spoil={(1, 1): "0,96"}), "cannot be parsed.*0,96"),
    "short row": (
        frame(spoil={(1, 4): "", (1, 5): "", (1, 6): "", (1, 3): ""}),
        "cannot be parsed: line 24 is 'H 0.96",
    ),
}
bad_frames = pytest.mark.parametrize(("bad", "says"), BAD_FRAMES.values(), ids=BAD_FRAMES)


@bad_frames
def test_a_bad_frame_is_named(save, bad, says):
    path = save(*GOOD, bad)
    with pytest.raises(DataError, match=says) as caught:
        read(path)
    assert caught.value.frame == 4
    assert caught.value.path == str(path)
    assert f"{path}, frame 4: " in str(caught.value)
    assert caught.value.fix


@bad_frames
def test_a_bad_frame_can_be_dropped(save, bad, says):
    with pytest.warns(DataWarning, match="dropped 1 of 5 frames"):
        data = read(save(GOOD[0], bad, *GOOD[1:]), on_bad="drop")
    assert [int(g.frame) for g in data] == [0, 2, 3, 4]
    assert (data.report.read, data.report.kept, data.report.dropped) == (5, 4, 1)


@bad_frames
def test_a_bad_frame_can_be_reported(save, bad, says):
    with pytest.warns(DataWarning, match="found 1 defects in 5 frames"):
        data = read(save(GOOD[0], bad, *GOOD[1:]), on_bad="report", checks=Checks(duplicates=False))
    assert len(data.report.defects) == 1
    assert data.report.defects[0].frame == 1
    assert len(data) + data.report.dropped == 5


CUT = {
    "in the atoms": (frame().rsplit("\n", 2)[0] + "\n", "ends after 2 of 3 atoms"),
    "after the count": ("3\n", "ends after 0 of 3 atoms"),
    "count too small": (frame(count=2), "line 25 should be a number of atoms, it is 'H -0.24"),
    "count too large": (frame(count=4), "ends after 3 of 4 atoms"),
    "no atoms": ("0\n\n", "announces 0 atoms"),
    "not a count": ("hello\n", "line 21 should be a number of atoms, it is 'hello'"),
}


@pytest.mark.parametrize(("tail", "says"), CUT.values(), ids=CUT)
def test_a_cut_file_is_named_and_its_earlier_frames_survive(save, tail, says):
    path = save(*GOOD, tail)
    with pytest.raises(DataError, match=says) as caught:
        read(path)
    assert caught.value.frame in (4, 5)
    with pytest.warns(DataWarning, match="dropped 1"):
        data = read(path, on_bad="drop", checks=Checks(net_force=None))
    assert [int(g.frame) for g in data][:4] == [0, 1, 2, 3]


@pytest.mark.parametrize("on_bad", ["raise", "drop", "report"])
@pytest.mark.parametrize("text", ["", "\n\n"], ids=["empty", "blank"])
def test_an_empty_file_is_an_error(save, on_bad, text):
    with pytest.raises(DataError, match="empty"):
        read(save(text), on_bad=on_bad)


def test_an_index_that_selects_nothing_is_an_error(save):
    with pytest.raises(DataError, match="no frames at index '7:'"):
        read(save(*GOOD), index="7:")
    with pytest.raises(DataError, match="no frame 7; the file has 4 frames"):
        read(save(*GOOD), index=7)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.xyz"):
        read(tmp_path / "no.xyz")


def test_a_binary_file(tmp_path):
    (tmp_path / "a.xyz").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="not a text file"):
        read(tmp_path / "a.xyz")


def test_on_bad_has_three_values(save):
    with pytest.raises(ValueError, match="raise, drop or report"):
        read(save(*GOOD), on_bad="ignore")


# --- labels ------------------------------------------------------------

OTHER = 'Properties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy={energy} pbc="F F F"'


def test_missing_labels_list_the_keys_that_are_there(save):
    path = save(frame(head=OTHER))
    with pytest.raises(DataError, match="no frame has an energy under the key 'energy'") as caught:
        read(path)
    assert "info: REF_energy; arrays: REF_forces" in str(caught.value)
    assert "Keys(energy='REF_energy')" in str(caught.value)
    with pytest.raises(DataError, match="no frame has forces under the key 'forces'"):
        read(path, keys=Keys(energy="REF_energy"))
    assert bool(read(path, keys=Keys(energy="REF_energy", forces="REF_forces"))[0].has_forces)


@pytest.mark.parametrize("on_bad", ["drop", "report"])
def test_no_labels_at_all_is_an_error_whatever_happens_to_bad_frames(save, on_bad):
    with pytest.raises(DataError, match="under the key"):
        read(save(frame(head=OTHER)), on_bad=on_bad)


def test_labels_that_are_not_required_may_be_missing(save):
    data = read(save(frame(head=OTHER)), checks=Checks(require=()))
    assert not data[0].has_energy
    assert data.report.unlabelled == {"energy": 1, "forces": 1, "stress": 1}


def test_frames_without_some_labels_are_masked_and_counted(save):
    bare = frame(0.97, head='Properties=species:S:1:pos:R:3:momenta:R:3 energy={energy} pbc="F F F"')
    data = read(save(*GOOD[:2], bare))
    assert [bool(g.has_forces) for g in data] == [True, True, False]
    assert data.report.unlabelled["forces"] == 1


def test_the_names_that_ase_scatters(save):
    """energy and forces land in a calculator, REF_energy in info, REF_forces and force in arrays, virial in info."""
    lattice = '1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:force:R:3 energy=-1 REF_energy=-2 {0}\n'
    atom = "Cu 0 0 0 0 0 0\n"
    virial = 'virial="64 0 0 0 128 0 0 0 -64"'
    path = save(lattice.format(virial) + atom)
    data = read(path, keys=Keys(energy="REF_energy", forces="force", virial="virial"))
    assert float(data[0].energy) == -2
    assert data[0].has_forces
    assert data[0].stress[0].diagonal().tolist() == pytest.approx([-1, -2, 1])


@pytest.mark.parametrize("text", ['stress="1 2 3 4 5 6"', 'stress="1 6 5 6 2 4 5 4 3"', "stress={1 2 3 4 5 6}"])
def test_stress_of_6_or_9_numbers_in_a_file(save, text):
    head = f'1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1 {text}\n'
    data = read(save(head + "Cu 0 0 0 0 0 0\n"))
    assert data[0].stress[0].tolist() == [[1, 6, 5], [6, 2, 4], [5, 4, 3]]


def test_isolated_atoms_are_set_aside(save):
    atom = '1\nProperties=species:S:1:pos:R:3 config_type=isolated_atom energy={} pbc="F F F"\n{} 0 0 0\n'
    boxed = '1\nLattice="9 0 0 0 9 0 0 0 9" config_type=Isolated energy=-14 pbc="T T T"\nC 0 0 0\n'
    data = read(save(atom.format(-13.5, "H"), *GOOD, atom.format(-2037.8, "O"), boxed))
    assert len(data) == 4
    assert data.isolated == {1: -13.5, 8: -2037.8, 6: -14.0}
    assert data.report.isolated == 3


def test_a_file_of_isolated_atoms_needs_no_forces(save):
    data = read(save('1\nenergy=-13.5 pbc="F F F"\nH 0 0 0\n'))
    assert (len(data), data.isolated) == (0, {1: -13.5})


def test_two_energies_of_one_isolated_atom_warn(save):
    text = '1\nenergy={} pbc="F F F"\nH 0 0 0\n'
    with pytest.warns(DataWarning, match="isolated H has -13.5"):
        data = read(save(text.format(-13.5), text.format(-13.6), *GOOD))
    assert data.isolated == {1: -13.5}


def test_several_files_are_one_set(save):
    first, second = save(*GOOD[:2], name="a.xyz"), save(*GOOD[2:], "1\nenergy=-13.5\nH 0 0 0\n", name="b.xyz")
    data = read([first, second])
    assert (len(data), data.isolated) == (4, {1: -13.5})
    assert data.report.paths == (str(first), str(second))


def test_other_formats_and_compressed_files(tmp_path, save):
    crystal = bulk("Cu")
    crystal.calc = SinglePointCalculator(crystal, energy=-3.7, forces=np.zeros((1, 3)))
    crystal.write(tmp_path / "a.traj")
    assert float(read(tmp_path / "a.traj")[0].energy) == -3.7
    crystal.write(tmp_path / "b.xyz.gz", format="extxyz")
    assert float(read(tmp_path / "b.xyz.gz")[0].energy) == -3.7
    (tmp_path / "c.cif").write_text("nonsense")
    with pytest.raises(DataError, match="ASE cannot read it"):
        read(tmp_path / "c.cif")


# --- writing ------------------------------------------------------------


def test_what_is_written_is_read(tmp_path, save):
    data = read(save(*GOOD))
    write(tmp_path / "deep" / "b.xyz", data)
    again = read(tmp_path / "deep" / "b.xyz")
    for a, b in zip(data, again, strict=True):
        assert torch.allclose(a.pos, b.pos, atol=1e-8, rtol=0)
        assert torch.equal(a.forces, b.forces)
        assert torch.equal(a.energy, b.energy)


def test_stress_and_weight_survive_a_round_trip(tmp_path):
    crystal = bulk("Cu")
    crystal.calc = SinglePointCalculator(crystal, energy=-3.7, forces=np.zeros((1, 3)), stress=np.arange(6.0))
    crystal.info |= {"weight": 2.5, "config_type": "bulk"}
    write(tmp_path / "a.xyz", [from_ase(crystal, cutoff=None)])
    graph = read(tmp_path / "a.xyz")[0]
    assert np.array_equal(graph.stress[0].diagonal(), [0, 1, 2])
    assert (float(graph.weight), graph.config_type) == (2.5, "bulk")


def test_predictions_are_written_beside_the_labels(tmp_path, save):
    data = read(save(*GOOD))
    out = [{"energy": torch.tensor([float(i)]), "forces": torch.full((3, 3), float(i))} for i in range(4)]
    write(tmp_path / "b.xyz", data, out)
    predicted = read(
        tmp_path / "b.xyz", keys=Keys(energy="pred_energy", forces="pred_forces"), checks=Checks(net_force=None)
    )
    assert [float(g.energy) for g in predicted] == [0, 1, 2, 3]
    assert float(predicted[2].forces[0, 0]) == 2
    assert float(read(tmp_path / "b.xyz")[0].energy) == -76.1
    with pytest.raises(ValueError, match="4 structures, but 3 predictions"):
        write(tmp_path / "b.xyz", data, out[:3])


@pytest.mark.parametrize(
    "trouble", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["disk", "killed"]
)
def test_a_failed_write_leaves_the_old_file(tmp_path, save, monkeypatch, trouble):
    data = read(save(*GOOD))
    write(tmp_path / "b.xyz", data[:1])
    before = (tmp_path / "b.xyz").read_bytes()

    def fail(*args):
        raise trouble

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(type(trouble)):
        write(tmp_path / "b.xyz", data)
    assert (tmp_path / "b.xyz").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["a.xyz", "b.xyz"]


def test_reading_gives_no_warnings_of_others(save):
    """`filterwarnings = error` must hold for a user who sets it too."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read(save(*GOOD), cutoff=3.0)) == 4
