"""Rates of the cost model: fitted to times, kept in a file, read once; a wrong file is said to be one."""

import json

import pytest

from intertwine.so3 import Irreps, TensorProduct, rates
from intertwine.so3.gaunt_methods import METHODS, Plan
from intertwine.so3.rates import BUILT_IN, Rate, rate, rates_file, write_rates
from intertwine.so3.tuning import Measured, Tuning, _fit, tune, write_tuning


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERTWINE_RATES", str(tmp_path / "some" / "rates.json"))
    rates._rates.cache_clear()
    yield rates_file()
    rates._rates.cache_clear()


def test_built_in_where_there_is_no_file(file):
    assert {name: rate(name) for name in BUILT_IN} == BUILT_IN
    assert {f"gaunt_{method}" for method in METHODS} | {"cg", "so2"} == set(BUILT_IN)
    assert Rate(1e-9, 2e-9, 3e-9).seconds(10, 100, 1000) == pytest.approx(3.21e-6)


def test_the_file_decides(file):
    sides = [Irreps.spherical(1, 4)] * 3
    assert TensorProduct(*sides, weights="separable").plan.method != "gaunt_fourier"
    free = {"gaunt_fourier": Rate(0.0, 0.0)}
    assert write_rates(free, "mine") == file and json.loads(file.read_text())["machine"] == "mine"
    rates._rates.cache_clear()
    assert TensorProduct(*sides, weights="separable").plan.method == "gaunt_fourier"
    assert Plan("fourier", (1, 1, 1)).seconds == 0
    assert rate("cg") == BUILT_IN["cg"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"rates": {"cg": [1, "fast"]}}', '{"rates": {"cg": [1, 2, 3, 4]}}'])
def test_a_wrong_file_is_named(file, text):
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(ValueError, match=r"rates.json holds no rates .* remove it, or write it anew"):
        rate("cg")


def test_the_fit_finds_the_rates():
    true = Rate(2e-11, 1e-10, 3e-9)
    counts = [(1e4, 10.0, 5.0), (1e3, 1e4, 7.0), (10.0, 20.0, 300.0), (5e4, 3e4, 9.0)]
    measured = [Measured(str(k), "cg", *c, true.seconds(*c)) for k, c in enumerate(counts)]
    assert _fit(measured, true) == pytest.approx(true)
    far = Rate(*(2 * price for price in true))
    assert _fit(measured, far) == pytest.approx(true, rel=0.2)
    assert _fit([], far) == pytest.approx(far)  # nothing measured, nothing changed


def test_choices_are_counted():
    fast, slow = Measured("a", "cg", 1, 0, 0, 1.0), Measured("a", "so2", 3, 0, 0, 2.0)
    tuning = Tuning({}, (fast, slow, Measured("b", "cg", 1, 0, 0, 1.0)))
    assert tuning.right({"cg": Rate(1, 0), "so2": Rate(1, 0)}) == (1, 1)
    assert tuning.right({"cg": Rate(9, 0), "so2": Rate(1, 0)}) == (0, 1)


def test_tune(file):
    found = tune(samples=3, channels=2, degrees=(1, 2), repeats=1)
    assert set(found.rates) == set(BUILT_IN)
    assert all(min(r) >= 0 < max(r) for r in found.rates.values())
    assert str(found).count("\n") == len(BUILT_IN) + 3
    write_tuning(found)
    rates._rates.cache_clear()
    assert rate("so2") == pytest.approx(found.rates["so2"])
