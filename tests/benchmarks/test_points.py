"""The benchmarks of point networks and their data still run, and what they compare agrees."""

import importlib
import json
import sys

import pytest

TINY = {
    "egnn": ["--edges", "0", "40", "--channels", "8"],
    "nbody": ["--systems", "2", "--looped", "1"],
}


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_run(name, monkeypatch, tmp_path, capsys):
    module, file = importlib.import_module(f"benchmarks.points.{name}"), tmp_path / "times.json"
    monkeypatch.setattr(sys, "argv", [name, "--repeats", "1", "--json", str(file), *TINY[name]])
    module.main()
    assert "\n|---|" in capsys.readouterr().out
    (table,) = json.loads(file.read_text())
    for row in table["rows"]:
        assert all(times["intertwine"]["minimum"] > 0 for times in row["ms"].values())
        assert all(difference < 1e-5 for difference in row["error"].values())
