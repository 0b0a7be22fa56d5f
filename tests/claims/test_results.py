"""The committed results: complete, free of anything private, and shown in docs/systems.md as they are."""

import json
import subprocess
import sys
from importlib import import_module
from types import ModuleType

from claims.claim import RESULTS, ROOT, Claim, main


def toy(**changes) -> Claim:
    fields = dict(
        name="toy",
        system="Toy",
        symbol="intertwine.nn.Linear",
        arxiv="0000.00000",
        statement="two is more than one",
        theirs="2 > 1",
        experiment=lambda seed, size: {"one": 1.0, "two": 2.0 * size},
        holds=lambda numbers: numbers["two"] > numbers["one"],
        ours=lambda numbers: f"{numbers['two']} > {numbers['one']}",
        full={"size": 1},
    )
    return Claim(**(fields | changes))


def test_a_claim_is_run_recorded_and_judged(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("claims.claim.RESULTS", tmp_path)
    monkeypatch.setattr("claims.claim.ROOT", tmp_path.parent)
    monkeypatch.setattr("claims.claim.commit", lambda: "0123456789")
    assert main({"toy": toy()}, ["toy"]) == 0
    result = json.loads((tmp_path / "toy.json").read_text())
    assert result["holds"] and result["ours"] == "2.0 > 1.0" and result["commit"] == "0123456789"
    assert main({"toy": toy(full={"size": 0})}, ["toy"]) == 1
    assert not json.loads((tmp_path / "toy.json").read_text())["holds"]
    assert main({"toy": toy()}, ["tow"]) == 2
    assert "there are: toy" in capsys.readouterr().err


def test_a_result_says_how_to_get_it_again():
    needed = {"system", "symbol", "arxiv", "statement", "ours", "theirs", "holds", "numbers", "seed"}
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text())
        assert result["name"] == path.stem
        assert needed | {"seconds", "commit", "versions", "machine"} <= set(result), path.name
        assert all(isinstance(number, int | float) for number in result["numbers"].values()), path.name
        for text in (value for value in result.values() if isinstance(value, str)):
            assert not text.startswith("/"), f"{path.name} holds a path of one machine: {text}"


def test_a_result_points_at_a_name_the_reference_shows():
    """A name that a submodule shares is shadowed in the reference, so the link would lead nowhere: name the package."""
    for path in sorted(RESULTS.glob("*.json")):
        symbol = json.loads(path.read_text())["symbol"]
        package, _, name = symbol.rpartition(".")
        shown = getattr(import_module(package), name)
        submodule = f"{package}.{name}" in sys.modules and not isinstance(shown, ModuleType)
        assert not submodule, f"{path.name}: {symbol} is a module too; the reference shows {package}"


def test_the_table_is_up_to_date():
    done = subprocess.run(
        [sys.executable, "tools/systems.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
