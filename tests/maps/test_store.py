"""Solved bases are remembered within a bound, and written to disk whole or not at all."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from intertwine import maps
from intertwine.groups import SO, S
from intertwine.maps import solver, store
from intertwine.reps import Product


def term(group, m):
    return Product(group.V.terms[0][0].factors * m)


def test_memory_is_bounded_and_forgets_the_least_recent():
    kept = store.Store(limit=3 * 80)
    for name in "abc":
        kept.put(name, {"x": np.zeros(10)})
    assert kept.get("a") is not None  # now the most recent
    kept.put("d", {"x": np.zeros(10)})
    assert kept.get("b") is None
    assert set(kept.entries) == {"c", "a", "d"}
    assert kept.bytes == 240
    with pytest.raises(ValueError, match="read-only"):
        kept.get("a")["x"][0] = 1


@pytest.mark.parametrize(("group", "m"), [(SO(3), 5), (S(4), 3)], ids=str)
def test_disk_gives_back_the_same_basis(group, m, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "memory", lambda: store.Store(0))  # remembers nothing
    first = solver.solve(group, term(group, m), cache=tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.suffix == ".safetensors"
    monkeypatch.setattr(solver, "_solve", None)  # a second solution would fail
    again = solver.solve(group, term(group, m), cache=tmp_path)
    assert (again.method, again.residual, again.shape) == (first.method, first.residual, first.shape)
    assert np.array_equal(again.Q, first.Q)


def test_between_takes_the_folder(tmp_path):
    V = SO(3).V
    maps.between(V**3, V**2 + V, cache=tmp_path, tol=1.01e-9, method="solver")
    assert len(list(tmp_path.iterdir())) == 2


def test_file_of_another_key_is_not_taken(tmp_path):
    store.save(tmp_path, "one", {"x": np.ones(3)})
    store.path_of(tmp_path, "one").rename(store.path_of(tmp_path, "two"))
    assert store.load(tmp_path, "two") is None
    assert store.load(tmp_path, "three") is None


def test_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    store.save(tmp_path, "one", {"x": np.ones(3)})

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        store.save(tmp_path, "one", {"x": np.zeros(3)})
    assert [path.name for path in tmp_path.iterdir()] == [store.path_of(tmp_path, "one").name]
    assert store.load(tmp_path, "one")["x"].tolist() == [1, 1, 1]


def _write(folder: str) -> None:
    for _ in range(20):
        store.save(Path(folder), "one", {"x": np.arange(1000.0)})


def test_two_processes_may_write_the_same_file(tmp_path):
    other = multiprocessing.get_context("fork").Process(target=_write, args=(str(tmp_path),))
    other.start()
    while other.is_alive():
        _write(str(tmp_path))
        assert store.load(tmp_path, "one")["x"][-1] == 999
    other.join()
    assert other.exitcode == 0
    assert len(list(tmp_path.iterdir())) == 1
