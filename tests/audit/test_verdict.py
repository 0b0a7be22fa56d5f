import math
from dataclasses import replace

import pytest

from intertwine.audit.statistics import Interval
from intertwine.audit.verdict import SEVERITY, SHAPE, Evidence, NoiseFloor, decide

PERFECT = Evidence(
    error=1e-15,
    size=1.0,
    relative_max64=1e-14,
    max32=1e-6,
    floor=NoiseFloor(dtype=1e-7, action=1e-15, round_trip=1e-16, repeat=0.0, batching=0.0),
    spread=1.0,
    variation=1e-15,
    interval=Interval(0.9e-15, 1.1e-15, 0.95),
    n_samples=100,
)


def evidence(variation, low, high, **changes):
    found = {"error": variation, "relative_max64": variation, "max32": variation, "variation": variation}
    return replace(PERFECT, **{**found, "interval": Interval(low, high, 0.95), **changes})


FLOOR = PERFECT.floor


@pytest.mark.parametrize(
    ("word", "e"),
    [
        ("exact", PERFECT),
        ("exact", replace(PERFECT, max32=None)),
        ("approximate", evidence(0.01, 0.009, 0.011)),
        ("approximate", evidence(1e-9, 0.9e-9, 1.1e-9, max32=1e-6)),  # not rounding in float64
        ("approximate", replace(PERFECT, max32=1e-3)),  # float32 far above its floor
        ("broken", evidence(0.4, 0.3, 0.5)),
        ("undecided", evidence(0.05, 0.04, 0.06)),
        ("undecided", replace(PERFECT, relative_max64=None, no_float64="it stopped")),  # float32 alone
        ("approximate", evidence(0.01, 0.009, 0.011, relative_max64=None)),
        ("undecided", replace(evidence(0.4, 0.3, 0.5), interval=None, n_samples=5)),
        ("undecided", replace(evidence(math.nan, 0.0, 0.0), interval=None, spread=math.nan, n_samples=1, max32=0.4)),
        ("exact up to the Action's interpolation",
         evidence(0.02, 0.01, 0.03, floor=replace(FLOOR, action=0.01, round_trip=0.1))),
        ("approximate", evidence(0.04, 0.035, 0.045, floor=replace(FLOOR, action=0.01, round_trip=0.1))),
        ("approximate", evidence(0.02, 0.01, 0.03, floor=replace(FLOOR, action=0.01))),  # the Action is exact
        ("trivially invariant", replace(PERFECT, spread=1e-7)),
        ("trivially invariant", replace(PERFECT, size=0.0, spread=0.0)),
        ("stochastic", evidence(0.2, 0.1, 0.3, floor=replace(FLOOR, repeat=0.1))),
        ("stochastic", evidence(0.2, 0.1, 0.3, floor=replace(FLOOR, batching=0.1))),
        ("exact", replace(PERFECT, floor=replace(FLOOR, repeat=1e-14))),  # two orders of a sum, not a draw
        ("stochastic", replace(PERFECT, floor=replace(FLOOR, repeat=1e-9))),
        ("undecided", replace(PERFECT, relative_max64=None, floor=replace(FLOOR, repeat=1e-6))),
        ("undecided", replace(PERFECT, missing=3, pairs=100)),
        ("broken", evidence(0.4, 0.3, 0.5, missing=3, pairs=100)),
    ],
)  # fmt: skip
def test_the_rules(word, e):
    assert decide(e).word == word


def test_a_stochastic_verdict_splits_the_error():
    e = evidence(0.5, 0.4, 0.6, floor=replace(FLOOR, repeat=0.3))
    assert "0.4 is left for the symmetry" in decide(e).reason


def test_every_word_has_a_severity_and_its_own_shape():
    assert SEVERITY.keys() == SHAPE.keys()
    assert len(set(SHAPE.values())) == len(SHAPE)


def test_fail_on():
    exact, approximate = decide(PERFECT), decide(evidence(0.01, 0.009, 0.011))
    broken = decide(evidence(0.4, 0.3, 0.5))
    assert [v.fails("broken") for v in (exact, approximate, broken)] == [False, False, True]
    assert [v.fails("approximate") for v in (exact, approximate, broken)] == [False, True, True]
    with pytest.raises(ValueError, match="fail-on must be"):
        exact.fails("undecided")
