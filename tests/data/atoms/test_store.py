"""A set on disk gives the structures that went in, in any process, and says what is wrong with a file."""

import os
import pickle

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from intertwine.cli import main
from intertwine.data.atoms import AtomicDataset, AtomicGraph, Checks, DataError, Store, pack, read, write
from intertwine.data.atoms.store import record_bytes

pytest.importorskip("lmdb")


def mixed() -> list[AtomicGraph]:
    """A molecule, a crystal with stress, a slab without labels, one atom: everything a record can hold."""
    rng = np.random.RandomState(0)
    water, copper, slab = molecule("H2O"), bulk("Cu"), bulk("NaCl", "rocksalt", a=5.6)
    slab.pbc = (True, True, False)
    forces = rng.randn(3, 3)
    water.calc = SinglePointCalculator(water, energy=-9391.387204123456, forces=forces - forces.mean(0))
    water.info["config_type"] = "wet"
    copper.calc = SinglePointCalculator(copper, energy=1.0, forces=rng.randn(1, 3), stress=rng.randn(6))
    graphs = list(AtomicDataset.from_ase([water, copper, slab], checks=Checks(require=())))
    graphs.append(AtomicGraph(torch.zeros(1, 3, dtype=torch.float64), torch.tensor([8]), weight=0.5, charge=-1.0))
    return graphs


def equal(a: AtomicGraph, b: AtomicGraph) -> bool:
    return set(a.keys()) == set(b.keys()) and all(
        torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype if isinstance(a[k], torch.Tensor) else a[k] == b[k]
        for k in a.keys()  # noqa: SIM118
    )


@pytest.fixture
def path(tmp_path):
    pack(mixed(), tmp_path / "set.lmdb", isolated={8: -432.1}, cutoff=4.0)
    return tmp_path / "set.lmdb"


def test_what_went_in_comes_out(path):
    store = Store(path)
    assert len(store) == 4
    assert all(equal(a, b) for a, b in zip(store, mixed()))
    assert equal(store[-1], mixed()[-1])
    assert store.natoms.tolist() == [3, 1, 2, 1]
    assert store.labelled.tolist() == [[1, 1, 0], [1, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert store.isolated == {8: -432.1}
    assert store.species == (1, 8, 11, 17, 29)
    assert store.config_types == ("wet", "default")
    assert {z: rows.tolist() for z, rows in store.examples.items()}[8] == [0, 3]
    with pytest.raises(IndexError):
        store[4]


def test_a_set_on_disk_is_a_set(path):
    whole, memory = read(path, cutoff=4.0), AtomicDataset(mixed(), cutoff=4.0)
    assert all(equal(a, b) for a, b in zip(whole, memory))
    part = whole[[2, 0]]
    assert equal(part[1], memory[0])
    assert part.natoms.tolist() == [2, 3]
    for name in ("natoms", "nedges", "labelled"):
        assert getattr(part, name).tolist() == getattr(memory[[2, 0]], name).tolist()
    assert part.isolated == {8: -432.1}
    assert [len(p) for p in whole.split((2, 1, 1))] == [2, 1, 1]
    assert equal(read(path, index="1:2")[0], mixed()[1])
    with pytest.raises(ValueError, match=r"within 4\.0 Å, wanted are those within 3\.0 Å"):
        _ = whole.with_cutoff(3.0).nedges
    with pytest.raises(ValueError, match="without a cutoff"):
        _ = read(path).nedges


def test_every_process_opens_its_own(path):
    whole, again = Store(path), Store(path)  # two of one file, which LMDB alone refuses
    assert equal(whole[0], again[0])
    assert equal(pickle.loads(pickle.dumps(whole))[1], whole[1])
    child = os.fork()
    if not child:
        os._exit(0 if equal(whole[2], mixed()[2]) else 1)
    assert os.waitpid(child, 0)[1] == 0
    pack(mixed()[:1], path)  # a new file in its place
    assert len(whole) == 4 and equal(whole[3], mixed()[3])
    assert len(Store(path)) == 1


def test_single_precision_and_the_size_of_a_record(path, tmp_path):
    graphs = [mixed()[0]] * 3000
    for real in ("float64", "float32"):
        assert pack(iter(graphs), tmp_path / real, real=real) == 3000
        bytes_each = (tmp_path / real).stat().st_size / 3000
        assert (
            record_bytes(3, real=real, periodic=False) < bytes_each < 1.2 * record_bytes(3, real=real, periodic=False)
        )
    short = Store(tmp_path / "float32")[7]
    assert short.pos.dtype == torch.float64
    torch.testing.assert_close(short.pos, graphs[0].pos, rtol=1e-7, atol=0)
    assert short.energy == graphs[0].energy  # energies stay float64


def test_bad_files(path, tmp_path):
    with pytest.raises(FileNotFoundError):
        Store(tmp_path / "none.lmdb")
    (tmp_path / "text.lmdb").write_text("3\n\nH 0 0 0\n")
    with pytest.raises(DataError, match="not an LMDB file"):
        read(tmp_path / "text.lmdb")
    import lmdb

    lmdb.open(str(tmp_path / "other.lmdb"), subdir=False, lock=False).close()
    with pytest.raises(DataError, match="another kind"):
        Store(tmp_path / "other.lmdb")
    with pytest.raises(DataError, match="read alone"):
        read([path, path])
    with pytest.raises(ValueError, match="float64 or float32"):
        pack(mixed(), path, real="float16")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="no structures"):
        pack([], path)

    def torn():
        yield mixed()[0]
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        pack(torn(), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def test_the_command(tmp_path, capsys):
    graphs = mixed()
    write(tmp_path / "a.extxyz", graphs[:1])
    write(tmp_path / "b.extxyz", graphs[1:2])
    out = tmp_path / "all.lmdb"
    words = [str(tmp_path / "a.extxyz"), str(tmp_path / "b.extxyz"), str(out), "--cutoff", "4", "--float32"]
    assert main(["pack", *words]) == 0
    assert "2 structures" in capsys.readouterr().out
    assert Store(out).natoms.tolist() == [3, 1]
    assert Store(out).cutoff == 4.0
    assert main(["pack", str(tmp_path / "a.extxyz"), str(out), "--energy", "E_ref"]) == 2
    assert "E_ref" in capsys.readouterr().err
    assert len(Store(out)) == 2
