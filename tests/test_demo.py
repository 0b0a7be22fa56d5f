"""The demo, small: it runs whole, its numbers are consistent, and Ctrl-C loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

for module in ("tblite", "lightning", "ase", "vesin", "matplotlib", "torch_geometric"):
    pytest.importorskip(module)

COMMAND = [sys.executable, "-m", "intertwine", "demo", "--fast", "--out"]


@pytest.mark.slow
def test_the_demo_runs_is_interrupted_goes_on_and_reports(tmp_path):
    folder = tmp_path / "demo"
    log_file = tmp_path / "log"
    with log_file.open("w") as log_to:
        first = subprocess.Popen([*COMMAND, str(folder)], start_new_session=True, stderr=log_to, stdout=log_to)
        deadline = time.monotonic() + 600  # processes start slowly on a machine that is busy
        while not (folder / "equivariant" / "hparams.yaml").is_file() and time.monotonic() < deadline:
            assert first.poll() is None, log_file.read_text()
            time.sleep(0.1)
        assert (folder / "equivariant" / "hparams.yaml").is_file(), log_file.read_text()
        time.sleep(1.5)  # the log folder is made just before the first step
        os.killpg(first.pid, signal.SIGINT)
        first.wait(timeout=120)
    log = log_file.read_text()
    assert first.returncode == 130, log
    assert (folder / "equivariant" / "last.ckpt").is_file(), log
    assert not (folder / "equivariant" / "done").is_file(), log
    labels = (folder / "structures.extxyz").read_bytes()

    second = subprocess.run([*COMMAND, str(folder)], capture_output=True, text=True, timeout=300)
    assert second.returncode == 0, second.stderr
    assert (folder / "structures.extxyz").read_bytes() == labels
    last = second.stdout.splitlines()
    assert any("NVE" in line for line in last[-3:])

    results = json.loads((folder / "results.json").read_text())
    upright, rotated = (results["errors"][f"equivariant {pose}"] for pose in ("upright", "rotated"))
    for name in ("energy_mae", "energy_rmse", "forces_mae", "forces_rmse"):
        assert rotated[name] == pytest.approx(upright[name], rel=1e-4)
    assert results["relative_error_forces"] < 1e-5
    # In a few seconds the twin hardly learns anything, so the gap in error is for the full demo; its verdict is not.
    assert [sentence.split()[0] for sentence in results["equivariance"]] == ["Exact", "Broken"]
    small, large = sorted(results["parameters"].values())
    assert large - small <= 0.02 * large
    page = (folder / "report.html").read_text()
    assert "Content-Security-Policy" in page
    assert "Constant-energy dynamics" in page


def test_a_folder_with_another_run_is_refused(tmp_path):
    from intertwine.demo import Demo, Settings

    Demo(tmp_path, Settings(seed=1))
    with pytest.raises(ValueError, match=r"seed 1 \(now 2\)"):
        Demo(tmp_path, Settings(seed=2))


@pytest.mark.parametrize("wrong", [{"frames": 3}, {"seconds": 0.0}, {"picoseconds": -1.0}])
def test_settings_that_make_no_sense(wrong):
    from intertwine.demo import Settings

    with pytest.raises(ValueError, match="demo:"):
        Settings(**wrong)
