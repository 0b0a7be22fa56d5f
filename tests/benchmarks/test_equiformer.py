"""The benchmark of a layer of EquiformerV2 still runs, at a tiny size; where the peer is there, both layers agree."""

import json
import sys

from benchmarks.atoms import equiformer


def test_a_tiny_run(monkeypatch, tmp_path, capsys):
    file = tmp_path / "times.json"
    given = ["--degrees", "1", "--order", "1", "--edges", "20", "--channels", "4", "--repeats", "7"]
    monkeypatch.setattr(sys, "argv", ["equiformer", *given, "--json", str(file)])
    equiformer.main()
    assert "| L = 1 |" in capsys.readouterr().out
    (table,) = json.loads(file.read_text())
    for row in table["rows"]:
        assert all(times["intertwine"]["minimum"] > 0 for times in row["ms"].values())
        assert all(error < 1e-5 for error in row["error"].values())
