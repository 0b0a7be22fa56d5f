"""The benchmark of QHNet's layers still runs, at a tiny size."""

import json
import sys

from benchmarks.atoms import qhnet


def test_a_tiny_run(monkeypatch, tmp_path, capsys):
    file = tmp_path / "times.json"
    given = ["--degrees", "1", "--channels", "2", "--molecules", "1", "--repeats", "7", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["qhnet", *given])
    qhnet.main()
    assert "L = 1, C = 2" in capsys.readouterr().out
    (table,) = json.loads(file.read_text())
    for times in table["rows"][0]["ms"].values():
        assert set(times) == {"NequIP layer", "messages", "pairs", "atoms with themselves"}
        assert all(0 < found["minimum"] <= found["median"] for found in times.values())
