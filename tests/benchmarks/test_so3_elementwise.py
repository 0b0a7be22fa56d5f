"""The benchmark of products channel by channel still runs, and what it compares agrees."""

import json
import sys

import pytest
from benchmarks.so3 import elementwise

TINY = ["--repeats", "1", "--batch", "3", "--channels", "2"]


def test_a_tiny_run(monkeypatch, tmp_path):
    pytest.importorskip("e3nn")
    file = tmp_path / "times.json"
    monkeypatch.setattr(sys, "argv", ["elementwise", *TINY, "--degrees", "1", "--json", str(file)])
    elementwise.main()
    first, second = json.loads(file.read_text())
    assert set(first["rows"][0]["ms"]["forward"]) == {"coefficients", "e3nn"}
    assert set(second["rows"][0]["ms"]["forward"]) == {"coefficients", "gaunt", "e3nn"}
    assert first["rows"][0]["error"]["e3nn"] < 1e-5


@pytest.mark.parametrize(("option", "says"), [("--methods", "the prediction is the fastest"), ("--sweep", "exponent")])
def test_tiny_tables(option, says, monkeypatch, capsys):
    monkeypatch.setattr(elementwise, "CASES", [(1, 1, 1), (0, 2, 2)])
    monkeypatch.setattr(elementwise, "SWEEP", [1, 2])
    monkeypatch.setattr(sys, "argv", ["elementwise", *TINY, option])
    elementwise.main()
    assert says in capsys.readouterr().out
