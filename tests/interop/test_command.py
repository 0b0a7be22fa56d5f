"""`intertwine md`, `relax` and `export`: from a checkpoint and a file of structures to files, and what they refuse."""

import re

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.io import read, write

from intertwine.cli import main
from intertwine.interop import command
from intertwine.interop.ase import Calculator
from intertwine.models import saved
from models.atoms.conftest import potential


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A checkpoint of a weak pair potential, two molecules and a crystal."""
    model = potential("Pair", dtype=torch.float32)
    model.energy_scale = tuple(0.02 for _ in model.energy_scale)
    weights = {f"potential.{name}": value for name, value in model.state_dict().items()}
    saved.save(
        {"intertwine": {"kind": "potential", "potential": model.config}, "state_dict": weights}, tmp_path / "best.ckpt"
    )
    write(tmp_path / "two.extxyz", [molecule("H2O"), molecule("CH3OH")])
    write(tmp_path / "copper.extxyz", bulk("Cu", "fcc", a=3.5, cubic=True))
    write(tmp_path / "gold.extxyz", bulk("Au", cubic=True))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, capsys, check: int = 0) -> str:
    assert main(list(words)) == check
    said = capsys.readouterr()
    return said.err if check == 2 else said.out


def test_md_writes_a_trajectory_of_every_structure(folder, capsys):
    words = ("md", "best.ckpt", "two.extxyz", "--picoseconds", "0.01", "--every", "10", "--seed", "1")
    said = run(*words, "--out", "runs/md.extxyz", "--batch", "1", capsys=capsys)
    assert "20 steps of 1 structures" in said
    for path, drift in re.findall(r"(\S+): 0\.01 ps, \d+ K, drift (\S+) meV/atom/ps, fluctuation", said):
        frames = read(path, index=":")
        assert [frame.info["step"] for frame in frames] == [0, 10, 20]
        assert abs(float(drift)) < 5
    assert {path.name for path in (folder / "runs").iterdir()} == {"md-0.extxyz", "md-1.extxyz"}
    hot = run(*words, "--friction", "0.05", "--temperature", "600", "--dtype", "float32", capsys=capsys)
    assert "drift" not in hot
    assert len(read("md-1.extxyz", index=":")) == 3


def test_relax_writes_where_it_ended(folder, capsys):
    said = run("relax", "best.ckpt", "two.extxyz", "--fmax", "0.01", capsys=capsys)
    assert "2 of 2 converged" in said
    for atoms in read("relaxed.extxyz", index=":"):
        stored = atoms.get_forces()
        atoms.calc = Calculator("best.ckpt", dtype=torch.float64)
        np.testing.assert_allclose(atoms.get_forces(), stored, rtol=0, atol=1e-6)
        assert np.linalg.norm(stored, axis=1).max() < 0.01
    said = run("relax", "best.ckpt", "two.extxyz", "--fmax", "1e-9", "--steps", "0", capsys=capsys, check=1)
    assert "0 steps, not converged" in said


def test_relax_with_cells(folder, capsys):
    said = run(
        "relax", "best.ckpt", "copper.extxyz", "--cell", "--fmax", "0.001", "--steps", "3", capsys=capsys, check=1
    )
    assert "3 steps, not converged" in said
    assert read("relaxed.extxyz").cell.volume != pytest.approx(3.5**3, rel=1e-6)


def test_export_asks_for_what_was_said(folder, capsys, monkeypatch):
    """test_export.py does it; here the words of the command arrive."""
    asked = []
    monkeypatch.setattr(command, "export_model", lambda model, path, **more: asked.append((path, more)) or path)
    assert "written: best.pt2" in run("export", "best.ckpt", "two.extxyz", "--target", "torch.export", capsys=capsys)
    run("export", "best.ckpt", "two.extxyz", "--out", "other.pt2", capsys=capsys)
    assert [(str(path), more["target"], len(more["example"].cell)) for path, more in asked] == [
        ("best.pt2", "torch.export", 2),
        ("other.pt2", "aoti", 2),
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["md", "nowhere.ckpt", "two.extxyz"], "nowhere.ckpt does not exist"),
        (["md", "best.ckpt", "nowhere.extxyz"], "nowhere.extxyz"),
        (["md", "best.ckpt", "gold.extxyz"], "holds Au; this model knows H, C, O, Cu"),
        (["md", "best.ckpt", "two.extxyz", "--timestep", "0"], "timestep must be positive"),
        (["md", "best.ckpt", "two.extxyz", "--batch", "0"], "--batch must be at least 1"),
        (["md", "best.ckpt", "two.extxyz", "--every", "0"], "every must be at least 1"),
        (["md", "best.ckpt", "two.extxyz", "--friction", "-1"], "friction must be positive"),
        (["relax", "best.ckpt", "two.extxyz", "--fmax", "0"], "fmax and max_step must be positive"),
        (["relax", "best.ckpt", "two.extxyz", "--cell"], "is not periodic in all three directions"),
        (["export", "best.ckpt", "two.extxyz", "--out", "x.onnx"], "must be named *.pt2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said(words, says, folder, capsys):
    assert says in run(*words, capsys=capsys, check=2)
