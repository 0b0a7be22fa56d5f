"""The learning curve runs, remembers its points, and draws one line for each number of steps."""

import json

import pytest
from benchmarks.train.learning_curve import PICTURE, POINTS, merged, picture, points

from claims.claim import data_folder


def test_a_few_steps_on_a_few_frames(tmp_path):
    if data_folder("acac") is None:
        pytest.skip("no real data here: set INTERTWINE_DATA to a folder with acac/")
    found = points(data_folder("acac"), tmp_path, sizes=[10], steps=4, tests=8)
    (point,) = found
    assert (point["frames"], point["steps"]) == (10, 4)
    assert 100 < point["forces_rmse"] < 1200  # an untrained network's error is the RMS force, 1,050 meV/Å
    before = (tmp_path / "4" / "10" / "best.ckpt").stat().st_mtime_ns
    assert points(data_folder("acac"), tmp_path, sizes=[10], steps=4, tests=8) == found  # tested, not repeated
    assert (tmp_path / "4" / "10" / "best.ckpt").stat().st_mtime_ns == before


def test_points_are_remembered_and_drawn():
    old = [
        {"frames": 50, "steps": 5, "seed": 0, "forces_rmse": 3.0},
        {"frames": 9, "steps": 7, "seed": 0, "forces_rmse": 2},
    ]
    new = [
        {"frames": 50, "steps": 5, "seed": 0, "forces_rmse": 2.5},
        {"frames": 9, "steps": 5, "seed": 0, "forces_rmse": 4.0},
    ]
    every = merged(old, new)
    assert [(p["frames"], p["steps"], p["forces_rmse"]) for p in every] == [(9, 5, 4.0), (50, 5, 2.5), (9, 7, 2)]
    assert picture(every) != picture(every[:2])


def test_the_committed_picture_is_that_of_the_committed_points():
    pytest.importorskip("matplotlib")
    assert PICTURE.read_text() == picture(json.loads(POINTS.read_text())) + "\n"
