"""EGNN (arXiv:2102.09844) and what it is compared with, trained long enough to stand in the published order."""

import pytest

from claims.claim import Claim, Numbers
from claims.dynamics import PUBLISHED_SIZE, errors_and_seconds, side_by_side

PUBLISHED = ("linear", "TFN", "GNN", "radial field", "EGNN")  # from the largest error to the smallest


def holds(numbers: Numbers) -> bool:
    """The published order, place by place."""
    errors = [numbers[f"{name} error"] for name in PUBLISHED]
    return errors == sorted(errors, reverse=True)


CLAIM = Claim(
    name="egnn_order",
    system="EGNN: order of its baselines",
    symbol="intertwine.models.points.TFN",
    arxiv="2102.09844",
    statement="five charges, from frame 30 to 40, mean squared error after 2,000 passes over 3,000 systems (best of "
    "2,000 others, tested on 2,000 more): linear dynamics, a TFN, a GNN, a radial field, EGNN, from worst to best",
    theirs="linear 0.0819, TFN 0.0155, GNN 0.0107, radial field 0.0104, EGNN 0.0071 (10,000 passes)",
    experiment=side_by_side,
    holds=holds,
    ours=errors_and_seconds,
    short={
        "models": ("TFN", "EGNN", "linear"),
        "train": 100,
        "valid": 50,
        "test": 60,
        "epochs": 25,
        "batch": 10,
        "cores": 1,
    },
    full={"models": ("TFN", "EGNN", "GNN", "radial field", "linear"), "epochs": 2000} | PUBLISHED_SIZE,
)


@pytest.mark.claim
def test_egnn_is_ahead_from_the_start():
    """After 250 steps. How the others follow shows only in the full run."""
    numbers, _ = CLAIM.run(CLAIM.short)
    assert numbers["EGNN error"] < min(numbers["TFN error"], numbers["linear error"]), numbers


def test_the_rule_can_fail():
    fine = {f"{name} error": 0.1 - 0.01 * k for k, name in enumerate(PUBLISHED)}
    assert holds(fine)
    wrong = [("EGNN", 0.5), ("linear", 0.01), ("TFN", 0.075), ("radial field", 0.085)]
    assert not any(holds(fine | {f"{name} error": value}) for name, value in wrong)
