"""The benchmarks of linear maps still run, at a tiny size, and what they compare agrees."""

import importlib
import json
import sys

import pytest

from intertwine.groups import SO, O, S

TINY = {
    "layers": {"GRAPHS": (4,), "TRIPLES": (2,), "SPACES": ((2, 1),)},
    "growth": {"GROWTH": [(S, 2, 1, 1, [3, 4]), (O, 2, 1, 1, [3, 4])], "LARGE": 4, "BUILT": [(S(3), 1, 1)]},
    "graph_symmetry": {},
    "solver": {"POWERS": [(SO(3), 3), (S(3), 3)], "EMLP": {(S(3), 1, 1): 12.0}},
    "span": {"IMAGES": [(4, 2, 1, 1), (4, 4, 2, 2)], "TIED": [(4, 2)], "GRAPHS": [(10, 2)]},
    "tensors": {"FORMULAS": ("ij=ji",), "TENSORS": 3, "BATCHES": (2,)},
}
OPTIONS = {
    "layers": ["--channels", "2", "--batch", "2"],
    "graph_symmetry": ["--channels", "2", "--batch", "2", "--graphs", "dodecahedron"],
}
TABLES = {"layers": 3, "graph_symmetry": 1, "span": 2, "tensors": 2}  # that are written as JSON


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # e3nn's own
@pytest.mark.parametrize("name", TINY)
def test_a_tiny_run(name, monkeypatch, tmp_path, capsys):
    module = importlib.import_module(f"benchmarks.maps.{name}")
    for constant, value in TINY[name].items():
        assert hasattr(module, constant)
        monkeypatch.setattr(module, constant, value)
    file = tmp_path / "times.json"
    given = ["--repeats", "7", *OPTIONS.get(name, []), *(["--json", str(file)] if name in TABLES else [])]
    monkeypatch.setattr(sys, "argv", [name, *given])
    module.main()
    printed = capsys.readouterr().out
    assert "\n|---|" in printed
    if name not in TABLES:
        return
    tables = json.loads(file.read_text())
    assert len(tables) == TABLES[name] - printed.count("left out: torch_geometric") * (name == "span")
    for row in (row for table in tables for row in table["rows"]):
        for times in row["ms"].values():
            assert 0 <= times["intertwine"]["minimum"] <= times["intertwine"]["median"]
        assert all(difference < 1e-3 for difference in row["error"].values())
