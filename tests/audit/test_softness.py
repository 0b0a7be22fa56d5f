"""The distance of parameters next to the error of the function: both are printed, and they need not agree."""

import math
import re

import pytest
import torch
from torch import nn

from intertwine import audit
from intertwine.groups import SO, Dihedral, O
from intertwine.symmetrize import SoftEquivariance

GROUPS = {"O(3)": O(3), "SO(3)": SO(3)}


def nearly(scale: float) -> SoftEquivariance:
    """Three vectors to one: a mean, and an entry that no rotation leaves."""
    layer = nn.Linear(9, 3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.kron(torch.eye(3), torch.ones(1, 3)).double() / 3)
        layer.weight[0, 1] += scale
        layer.bias.zero_()
    layers = {name: {"0": (3 * group.V, group.V)} for name, group in GROUPS.items()}
    return SoftEquivariance(nn.Sequential(layer), layers, weight={"O(3)": 3.0, "SO(3)": 0.0})


ACTIONS = {name: (3 * group.V, group.V) for name, group in GROUPS.items()}


def test_both_distances_stand_side_by_side(generator):
    x = torch.randn(12, 9, dtype=torch.float64, generator=generator)
    exact, broken = (
        audit.measure_softness(nearly(s), ACTIONS, x, generator=generator, n_elements=4) for s in (0.0, 0.5)
    )
    assert max(exact.levels.values()) < 1e-20 and max(exact.errors.values()) < 1e-10
    for name in GROUPS:
        assert broken.levels[name] > 0.1 and broken.errors[name] > 0.1
        assert broken.errors[name] == broken.audits[name].headline.relative_rms
    assert broken.weights == {"O(3)": 3.0, "SO(3)": 0.0}
    lines = repr(broken).splitlines()
    assert len(lines) == 3 and re.search(r"^O\(3\) +0\.\d+ +\d.*, broken +3$", lines[1]), lines


def test_agreement_is_a_rank_correlation():
    found = audit.Softness({"a": 0.1, "b": 0.2, "c": 0.9, "d": 0.3}, dict.fromkeys("abcd", 1.0), {})
    assert found.agreement({"a": 1.0, "b": 2.0, "c": 4.0, "d": 3.0}) == pytest.approx(1)
    assert found.agreement({"a": 4.0, "b": 3.0, "c": 1.0, "d": 2.0}) == pytest.approx(-1)
    tied = found.agreement({"a": 0.0, "b": 5.0, "c": 5.0, "d": 5.0})  # ranks 0, 2, 2, 2
    assert tied == pytest.approx(3 / math.sqrt(15))
    assert math.isnan(found.agreement(dict.fromkeys("abcd", 1.0)))


def test_every_symmetry_needs_its_actions(generator):
    with pytest.raises(ValueError, match=r"has symmetries \['O\(3\)', 'SO\(3\)'\], actions \['Dihedral\(4\)'\]"):
        audit.measure_softness(
            nearly(0.0), {"Dihedral(4)": (Dihedral(4).V, Dihedral(4).V)}, torch.ones(3, 9), generator=generator
        )
