"""The command line: what it prints, what it refuses and how, and the whole job from a file to an audited model."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from conftest import ROOT
from intertwine import __version__
from intertwine.cli import main
from intertwine.models import saved


def test_the_version_comes_at_once(tmp_path):
    """Within 0.3 s of a Python that does nothing; the fastest of three, for machines that are busy."""

    def seconds(*words):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0
        return time.perf_counter() - began, done.stdout

    bare = min(seconds("-c", "")[0] for _ in range(3))
    runs = [seconds("-m", "intertwine", "--version") for _ in range(3)]
    assert {text for _, text in runs} == {f"intertwine {__version__}\n"}
    assert min(t for t, _ in runs) < bare + 0.3


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    for name in ("fit", "validate", "test", "predict", "audit", "md", "relax", "export", "basis", "models", "demo"):
        assert f"\n    {name} " in said


def test_models_are_listed(capsys):
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert "NequIP" in said
    assert "arXiv:2101.03164" in said


def test_a_basis_is_printed_and_drawn(capsys, tmp_path):
    path = tmp_path / "basis.png"
    assert main(["basis", "S(5)", "V^2", "V", "--plot", str(path), "--limit", "2"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("dimension 5\n")
    assert "map 2 of 5" in said
    assert "map 3 of 5" not in said
    assert "3 more maps" in said
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert main(["basis", "O(3)", "4x0e + 2x1o", "1o"]) == 0
    assert "dimension 2" in capsys.readouterr().out
    assert main(["basis", "O(3)", "0e", "1o"]) == 0
    assert "dimension 0" in capsys.readouterr().out
    assert main(["basis", "Automorphism('0-1 1-2 2-0 2-3')", "V", "V", "--basis", "graphs", "--limit", "1"]) == 0
    assert "bilabelled graphs: 10 independent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["basis", "S(5", "V", "V"], "^"),
        (["basis", "S(5)", "V^", "V"], "^"),
        (["audit", "nowhere.ckpt"], "nowhere.ckpt does not exist"),
        (["bench", "maps", "--tune"], "bench so3 --tune"),
        (["bench", "nothing"], "so3/uvu"),
        (["fit", "--data.path=nowhere.xyz", "--trainer.max_epochs=1"], "nowhere.xyz"),
        (["fit", "--data.path=x.xyz", "--trainer.max_epochs=1", "--model.network=Nequipp"], "there are: NequIP"),
        (["fit", "--data.path=x.xyz", "--trainer.max_epochs=1", "--data.cutoff=-1"], "cutoff must be positive"),
        (["fit", "--data.path=x.xyz"], "nothing ends this run"),
        (["test", "nowhere.ckpt"], "nowhere.ckpt does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said_without_a_traceback(words, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said


def test_bench_runs_one_or_a_group(repo, monkeypatch):
    ran = []
    monkeypatch.chdir(repo)
    monkeypatch.setattr("runpy.run_module", lambda name, run_name: ran.append((name, sys.argv[1:])))
    assert main(["bench", "so3/uvu", "--degrees", "2"]) == 0
    assert ran == [("benchmarks.so3.uvu", ["--degrees", "2"])]
    ran.clear()
    assert main(["bench", "so3"]) == 0
    names = [name for name, _ in ran]
    assert {f"benchmarks.so3.{name}" for name in ("uvu", "edge_conv", "frames", "linear", "memory")} <= set(names)
    assert all(name.startswith("benchmarks.so3.") for name in names)


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder with a file of structures under a user's own keys."""
    from ase.io import write

    from train.conftest import labelled

    folder = tmp_path_factory.mktemp("job")
    images = labelled(30)
    for atoms in images:
        atoms.info["E_dft"], atoms.arrays["F_dft"] = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
    write(folder / "mine.extxyz", images)
    (folder / "potential.yaml").write_text(
        "model: {network: Pair, optimizer: {lr: 0.05}}\n"
        "data: {cutoff: 3.5, shift: mean, val: 4, test: 4, split: random, keys: {energy: E_dft, forces: F_dft}}\n"
        "trainer: {max_epochs: 20, accelerator: cpu, enable_progress_bar: false, log_every_n_steps: 1}\n"
    )
    return folder


@pytest.fixture
def intertwine(mine, monkeypatch, capsys):
    """Run a command in the folder of `mine`, in this process, and return what it printed."""

    def run(*words, check=0):
        monkeypatch.chdir(mine)
        assert main([str(word) for word in words]) == check
        said = capsys.readouterr()
        return said.err if check == 2 else said.out

    return run


QUIET = ("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false")


@pytest.mark.slow
def test_the_whole_job(mine, intertwine):
    """fit with a configuration and a flag, resume, test, predict, audit: each finds what it needs in the checkpoint."""
    assert "best model: " in intertwine("fit", "--config", "potential.yaml", "--data.path", "mine.extxyz")
    run = mine / "runs" / "mine"
    assert {"best.ckpt", "last.ckpt", "config.yaml", "metrics.csv"} <= {path.name for path in run.iterdir()}
    assert "E_dft" in (run / "config.yaml").read_text()

    assert "F RMSE (meV/Å)" in intertwine("test", "runs/mine/best.ckpt")
    errors = json.loads((run / "metrics.json").read_text())
    assert {"all", "water", "methanol", "by_element"} == set(errors)
    assert "written: " in intertwine("validate", "runs/mine/best.ckpt")
    # Flags win over what the checkpoint remembers: tested on all structures, errors differ.
    intertwine("test", "runs/mine/best.ckpt", "--data.test", "mine.extxyz", "--out", "elsewhere")
    assert json.loads((mine / "elsewhere" / "metrics.json").read_text()) != errors

    intertwine("predict", "runs/mine/best.ckpt", "--data.predict", "mine.extxyz", "--out", "predicted")
    text = (mine / "predicted" / "predictions.extxyz").read_text()
    assert text.count("pred_energy=") == 30
    assert "pred_forces:R:3" in text

    again = ("fit", "--ckpt_path", "runs/mine/last.ckpt", "--trainer.max_epochs=22", *QUIET)
    intertwine(*again)
    assert saved.load(run / "last.ckpt")["epoch"] == 21
    assert "another model, a Pair" in intertwine(*again, "--model.network=NequIP", check=2)


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "configs").glob("*.yaml")))
def test_committed_configurations_run(name, intertwine):
    """Two steps on a small set: every key of the file is known, and the model it asks for trains."""
    words = ["fit", "--config", ROOT / "configs" / name, "--data.path=mine.extxyz", f"--out=runs/{name}", *QUIET]
    words += ["--data.val=4", "--data.shift=mean", "--data.keys.energy=E_dft", "--data.keys.forces=F_dft"]
    said = intertwine(*words, "--trainer.max_time=null", "--trainer.max_steps=2", "--model.compile=false")
    assert "best model: " in said


@pytest.mark.slow
def test_audits_end_with_the_right_code(mine, intertwine):
    fit = ("fit", "--config=potential.yaml", "--data.path=mine.extxyz", "--trainer.max_epochs=1")
    audit = ("--data=mine.extxyz", "--samples=10", "--elements=3")
    intertwine(*fit, "--out=runs/pair")
    said = intertwine("audit", "runs/pair/best.ckpt", *audit, "--html=audit.html", "--json=audit.json")
    assert "Exact under E(3)" in said
    assert (mine / "audit.html").read_text().lower().startswith("<!doctype html>")
    assert json.loads((mine / "audit.json").read_text())["verdict"]["word"] == "exact"
    intertwine(*fit, "--model.network=Cartesian", "--out=runs/twin")
    assert "Broken under E(3)" in intertwine("audit", "runs/twin/best.ckpt", *audit, check=1)


@pytest.mark.slow
def test_a_second_run_has_its_own_folder_and_ctrl_c_can_be_resumed(mine, intertwine):
    command = [sys.executable, "-m", "intertwine", "fit", "--config=potential.yaml", "--data.path=mine.extxyz"]
    (mine / "runs" / "mine").mkdir(parents=True, exist_ok=True)
    (mine / "runs" / "mine" / "last.ckpt").touch()  # a run that must not be overwritten
    process = subprocess.Popen(
        [*command, "--trainer.max_epochs=100000"], cwd=mine, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    last, deadline = mine / "runs" / "mine-2" / "last.ckpt", time.monotonic() + 120
    while not last.is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "resume with: intertwine fit --ckpt_path runs/mine-2/last.ckpt" in said
    epoch = saved.load(last)["epoch"]
    intertwine("fit", f"--ckpt_path={last}", f"--trainer.max_epochs={epoch + 3}", *QUIET)
    assert saved.load(last)["epoch"] == epoch + 2
