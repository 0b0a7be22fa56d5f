"""The benchmarks of Facet and FAENet still run."""

import importlib
import json
import sys

import pytest

TINY = {
    "facet": ["--edges", "40", "--channels", "4", "--degrees", "1"],
    "faenet": ["--molecules", "2", "--atoms", "4", "--width", "20", "--layers", "1"],
}


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_run(name, monkeypatch, tmp_path, capsys):
    module, file = importlib.import_module(f"benchmarks.atoms.{name}"), tmp_path / "times.json"
    monkeypatch.setattr(sys, "argv", [name, "--repeats", "1", "--json", str(file), *TINY[name]])
    module.main()
    assert "\n|---|" in capsys.readouterr().out
    (table,) = json.loads(file.read_text())
    for row in table["rows"]:
        for times in row["ms"].values():
            assert len(times) >= 3
            assert all(found["minimum"] > 0 for found in times.values())
