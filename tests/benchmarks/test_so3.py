"""The benchmarks of frames, linear layers, choices and memory still run, at a tiny size; what they compare agrees."""

import importlib
import json
import sys

import pytest


@pytest.mark.parametrize("name", ["frames", "linear"])
def test_tables_agree_with_the_peers(name, monkeypatch, tmp_path, capsys):
    pytest.importorskip("e3nn")
    file = tmp_path / "times.json"
    size = ["--edges", "20"] if name == "frames" else ["--nodes", "20", "--channels", "4"]
    options = ["--degrees", "1", "2", "--repeats", "7", "--json", str(file), *size]
    monkeypatch.setattr(sys, "argv", [name, *options])
    importlib.import_module(f"benchmarks.so3.{name}").main()
    (table,) = json.loads(file.read_text())
    assert [row["size"] for row in table["rows"]] == ["L = 1", "L = 2"]
    for row in table["rows"]:
        assert row["error"]
        assert all(difference < 1e-4 for difference in row["error"].values())
    assert "Time grows with the power" in capsys.readouterr().out


def test_all_modes_agree_with_e3nn(monkeypatch, tmp_path):
    pytest.importorskip("e3nn")
    file = tmp_path / "times.json"
    options = ["--degrees", "1", "--batch", "5", "--repeats", "7", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["modes", *options])
    modes = importlib.import_module("benchmarks.so3.modes")
    modes.main()
    (table,) = json.loads(file.read_text())
    assert len(table["rows"]) == len(modes.CASES)
    assert all(row["error"]["e3nn"] < 1e-4 for row in table["rows"])


def test_choices_name_predicted_and_measured_winner(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["choice", "--degrees", "1", "--channels", "2", "--samples", "20", "--repeats", "7"]
    )
    importlib.import_module("benchmarks.so3.choice").main()
    out = capsys.readouterr().out
    assert out.count("\n| edge, L = 1") == out.count("\n| sphere, L = 1") == 2
    assert "auto within a quarter of the fastest" in out


@pytest.mark.parametrize("name", ["EdgeConv", "SO2EdgeConv"])
def test_memory_of_one_pass(name, monkeypatch, capsys):
    options = ["--lmax", "1", "--channels", "2", "--edges", "100", "--only", name]
    monkeypatch.setattr(sys, "argv", ["memory", *options])
    importlib.import_module("benchmarks.so3.memory").main()
    assert f"| {name} |" in capsys.readouterr().out
