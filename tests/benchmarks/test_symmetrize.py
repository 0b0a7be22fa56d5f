"""The benchmarks of wrappers and of equivariant transformers still run."""

import json
import sys

from benchmarks.symmetrize import overhead, transformers


def test_a_tiny_run(monkeypatch, tmp_path, capsys):
    file = tmp_path / "times.json"
    sizes = ["--points", "2x4", "--images", "1x6", "--width", "8", "--channels", "2"]
    monkeypatch.setattr(sys, "argv", ["overhead", "--repeats", "1", "--json", str(file), *sizes])
    overhead.main()
    assert "\n|---|" in capsys.readouterr().out
    for table in json.loads(file.read_text()):
        for row in table["rows"]:
            assert all(times["bare"]["minimum"] > 0 for times in row["ms"].values())


def test_a_tiny_run_of_transformers(monkeypatch, tmp_path, capsys):
    file = tmp_path / "times.json"
    sizes = ["--images", "2x16", "--width", "2", "--coordinates", "8"]
    monkeypatch.setattr(sys, "argv", ["transformers", "--repeats", "1", "--json", str(file), *sizes])
    transformers.main()
    assert "\n|---|" in capsys.readouterr().out
    (table,) = json.loads(file.read_text())
    for row in table["rows"]:
        assert all(len(times) >= 6 and min(t["minimum"] for t in times.values()) > 0 for times in row["ms"].values())
        assert all(error < 1e-4 for error in row["error"].values())
