"""An error about data says file, frame, problem and fix, also after crossing to another process."""

import pickle

from intertwine.data.atoms import DataError, ReadReport
from intertwine.data.atoms.errors import Defect


def test_the_message_has_place_problem_and_fix():
    error = DataError("no energy", path="a.xyz", frame=3, fix="name the key")
    assert str(error) == "a.xyz, frame 3: no energy; name the key"
    assert str(DataError("no energy")) == "no energy"
    assert isinstance(error, ValueError)


def test_an_error_crosses_processes():
    error = DataError("no energy", path="a.xyz", frame=3, fix="name the key")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.frame, copy.path) == (str(error), 3, "a.xyz")


def test_a_report_prints_its_counts():
    bad = Defect("atoms too close", "atoms 0 and 1 stand on one spot", frame=4)
    report = ReadReport(
        ("a.xyz",), read=10, kept=9, dropped=1, unlabelled={"forces": 2, "energy": 0}, defects=[bad, bad]
    )
    text = str(report)
    assert "10 frames read, 9 kept, 1 dropped" in text
    assert "without forces: 2 frames" in text
    assert "energy" not in text
    assert "atoms too close: 2, first frame 4: atoms 0 and 1 stand on one spot" in text
    assert report.count() == {"atoms too close": 2}
