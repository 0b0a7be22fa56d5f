"""The benchmark of lattices still runs, at a tiny size."""

import json
import sys

from benchmarks.atoms import lattices


def test_a_tiny_run(monkeypatch, tmp_path, capsys):
    file = tmp_path / "times.json"
    given = ["--joints", "2", "3", "--batch", "2", "--channels", "2", "--repeats", "7", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["lattices", *given])
    lattices.main()
    assert capsys.readouterr().out.count(" joints, ") == 2
    (table,) = json.loads(file.read_text())
    for row in table["rows"]:
        for times in row["ms"].values():
            assert 0 < times["intertwine"]["minimum"] <= times["intertwine"]["median"] and "beams" in times
