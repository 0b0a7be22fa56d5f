"""A checkpoint survives everything: odd values, failed writes, killed processes, foreign files."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections import OrderedDict
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from intertwine import files
from intertwine.models import saved


def equal(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


TREE = {
    "weights": OrderedDict(a=torch.arange(6.0).reshape(2, 3).T, empty=torch.zeros(0, 3), scalar=torch.tensor(3)),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "flags": [True, None, 2**62, "ü/é"],
    "floats": (0.1, float("inf"), float("-inf"), float("nan"), -626.0924802710001),
    "by number": {0: {"step": torch.tensor(4.0)}, (1, "x"): 2},
    "array": np.arange(4, dtype=np.uint32),
    "path": Path("/some/where"),
    "time": timedelta(minutes=3),
    "dtype": torch.float64,
    "device": torch.device("cpu"),
    "nothing": {},
    "__intertwine__": "a key that looks like ours",
}


def test_every_value_comes_back(tmp_path):
    path = tmp_path / "folder" / "x.safetensors"
    saved.save(TREE, path)
    found = saved.load(path)
    assert equal(found, {**TREE, "weights": dict(TREE["weights"])})
    assert [p.name for p in path.parent.iterdir()] == ["x.safetensors"]


def test_tied_tensors_are_stored(tmp_path):
    weight = torch.randn(4, generator=torch.Generator().manual_seed(0))
    saved.save({"a": weight, "b": weight, "c": weight[1:3]}, tmp_path / "x")
    found = saved.load(tmp_path / "x")
    assert torch.equal(found["a"], weight)
    assert torch.equal(found["c"], weight[1:3])


def test_what_would_need_a_pickle_is_refused_by_name(tmp_path):
    with pytest.raises(TypeError, match="callbacks/mine, a function"):
        saved.save({"callbacks": {"mine": lambda: None}}, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_foreign_files_are_refused(tmp_path):
    pickled = tmp_path / "pickled.ckpt"
    torch.save({"a": 1}, pickled)
    with pytest.raises(ValueError, match=r"pickled\.ckpt is not an intertwine checkpoint.*never opened"):
        saved.load(pickled)
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"format 'pt'.*reads 'intertwine"):
        saved.load(tmp_path / "other.safetensors")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        saved.load(tmp_path / "nowhere")
    saved.save({"intertwine": {"kind": "sorting network"}}, tmp_path / "kind")
    with pytest.raises(ValueError, match="holds a sorting network, not a potential"):
        saved.load_potential(tmp_path / "kind")


@pytest.mark.parametrize("call", ["write_bytes", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "model.safetensors"
    saved.save({"a": torch.ones(3)}, path)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    def half(self, data):
        with open(self, "wb") as file:
            file.write(data[: len(data) // 2])
        full()

    if call == "write_bytes":
        monkeypatch.setattr(Path, call, half)
    else:
        monkeypatch.setattr(files.os, call, full)
    with pytest.raises(OSError, match="No space left"):
        saved.save({"a": torch.zeros(1000)}, path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert torch.equal(saved.load(path)["a"], torch.ones(3))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_killed_process_leaves_a_whole_file(tmp_path):
    """A process that saves without end is killed at several moments: what is on disk is always complete."""
    path = tmp_path / "model.safetensors"
    code = f"""
import torch
from intertwine import files
from intertwine.models import saved
step = 0
while True:
    saved.save({{"step": step, "a": torch.full((200_000,), float(step))}}, {str(path)!r})
    step += 1
    if step == 1:
        print("ready", flush=True)
"""
    for wait in (0.0, 0.013, 0.031):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(wait)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
        tree = saved.load(path)
        assert torch.equal(tree["a"], torch.full((200_000,), float(tree["step"])))


def test_differences_name_the_fields():
    found = saved.differences({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 4, "d": 3}, "e": 5})
    assert found == ["b.c (checkpoint 2, here 4)", "e (checkpoint None, here 5)"]
