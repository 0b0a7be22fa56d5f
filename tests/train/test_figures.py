"""Figures are well-formed SVG, repeat byte for byte, and draw what they are given."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from intertwine.train import figures

pytest.importorskip("matplotlib")


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    forces, natoms = rng.standard_normal((18, 3)), np.array([9.0, 9.0])
    energy = np.array([-1.0, 2.0])
    return {
        "energy": energy + 0.1, "energy_true": energy, "natoms": natoms,
        "forces": forces + 0.01 * rng.standard_normal((18, 3)), "forces_true": forces,
    }  # fmt: skip


def _check(make):
    picture = make()
    root = ET.fromstring(picture)
    assert root.tag.endswith("svg")
    assert "http" not in "".join(v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href"))
    assert picture == make()
    return picture


def test_every_figure(predictions):
    runs = {"one": predictions, "two": predictions}
    t = np.arange(20.0)
    _check(lambda: figures.parity(runs))
    _check(lambda: figures.force_errors(runs))
    _check(lambda: figures.learning_curves({"one": ([1, 10], [3, 1])}, xlabel="step", ylabel="error"))
    _check(lambda: figures.conservation(t, np.sin(t) ** 2, np.cos(t) ** 2, 9))


def test_other_data_gives_another_picture(predictions):
    moved = {**predictions, "forces": predictions["forces"] * 1.1}
    assert figures.parity({"a": predictions}) != figures.parity({"a": moved})


def test_history_reads_one_column_and_names_the_others(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,val/forces_mae,lr\n10,5.0,\n12,,0.1\n20,4.0,\n")
    assert figures.history(tmp_path) == ([10.0, 20.0], [5.0, 4.0])
    with pytest.raises(KeyError, match="val/forces_mae"):
        figures.history(tmp_path, "val/none")
