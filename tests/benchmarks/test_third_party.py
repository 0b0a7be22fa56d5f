"""The audits of other packages' models that docs/audit.md shows: their words, and their pictures."""

import warnings
from pathlib import Path
from xml.etree import ElementTree

import pytest
from benchmarks.audit.third_party import orbits, run

HERE = {"e3nn": True, "escnn": False, "torchvision": False}
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"


@pytest.fixture(autouse=True)
def quiet():
    pytest.importorskip("e3nn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # e3nn compiles with a deprecated part of torch
        yield


def test_the_words_of_the_table():
    words = {result.title: result.verdict.word for result in run(HERE)}
    assert words == {
        "e3nn, tensor products": "approximate",
        "e3nn, made in float64": "exact",
        "TransformerEncoder": "exact",
        "TransformerEncoder with places": "broken",
        "plain CNN": "broken",
    }


def test_the_picture_of_an_orbit():
    found = orbits(HERE)["e3nn"]
    assert found.aggregate[0].max() < 1e-6 < 1 < found.aggregate[1].max()
    assert "plain MLP" in found.plot()


@pytest.mark.parametrize("name", ["audit_e3nn", "audit_escnn", "audit_torchvision"])
def test_pictures_are_small_and_whole(name):
    content = (PICTURES / f"{name}.svg").read_bytes()
    assert len(content) < 150_000
    assert ElementTree.fromstring(content).tag.endswith("svg")
