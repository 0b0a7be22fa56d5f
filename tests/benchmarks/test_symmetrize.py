"""The benchmark of wrappers still runs."""

import json
import sys

from benchmarks.symmetrize import overhead


def test_a_tiny_run(monkeypatch, tmp_path, capsys):
    file = tmp_path / "times.json"
    sizes = ["--points", "2x4", "--images", "1x6", "--width", "8", "--channels", "2"]
    monkeypatch.setattr(sys, "argv", ["overhead", "--repeats", "1", "--json", str(file), *sizes])
    overhead.main()
    assert "\n|---|" in capsys.readouterr().out
    for table in json.loads(file.read_text()):
        for row in table["rows"]:
            assert all(times["bare"]["minimum"] > 0 for times in row["ms"].values())
