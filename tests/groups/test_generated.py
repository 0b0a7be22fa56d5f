"""Groups known by generators or by a sampler: what they are called, what they draw, what they refuse."""

import subprocess
import sys

import pytest
import torch

from grids import seeded
from intertwine.groups import SO, MatrixGroup, O
from intertwine.groups.matrix import haar_special_orthogonal

QUARTER = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
SHEAR = torch.tensor([[[1.0, 1.0], [0.0, 1.0]]])


def rotations(k, generator):
    return haar_special_orthogonal(k, 3, generator)


def test_the_name_is_the_content():
    assert MatrixGroup(generators=QUARTER) == MatrixGroup(generators=QUARTER.double().clone())
    groups = [MatrixGroup(generators=QUARTER), MatrixGroup(generators=SHEAR), MatrixGroup(lie_algebra=QUARTER)]
    groups += [MatrixGroup(sampler=rotations), MatrixGroup(lie_algebra=SO(3).lie_algebra(), sampler=rotations)]
    assert len(set(groups)) == len({str(group) for group in groups}) == 5
    assert MatrixGroup(sampler=rotations) == MatrixGroup(sampler=lambda k, generator: rotations(k, generator))
    code = "import torch; from intertwine.groups import MatrixGroup; print(MatrixGroup(generators=torch.tensor("
    code += f"{QUARTER.tolist()})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(MatrixGroup(generators=QUARTER))


def test_it_cannot_be_changed():
    group = MatrixGroup(generators=QUARTER)
    with pytest.raises(AttributeError, match="cannot be changed"):
        group.n = 3
    given = QUARTER.double().clone()
    kept = MatrixGroup(generators=given)
    given.zero_()
    assert torch.equal(kept.generators(), QUARTER.double())


@pytest.mark.parametrize(
    "group, orthogonal, connected, abelian",
    [
        (MatrixGroup(generators=QUARTER), True, False, True),
        (MatrixGroup(generators=SHEAR), False, False, True),
        (MatrixGroup(lie_algebra=SO(3).lie_algebra()), True, True, False),
        (MatrixGroup(sampler=rotations), True, False, False),
    ],
    ids=str,
)
def test_flags_are_read_off_what_is_given(group, orthogonal, connected, abelian):
    assert (group.is_orthogonal, group.is_connected, group.is_abelian) == (orthogonal, connected, abelian)
    assert not group.is_finite
    assert group.is_compact == orthogonal
    g = group.sample(20, generator=seeded())
    assert group.contains(g, 1e-9)
    assert group.contains(group.generators(), 1e-9)


def test_words_reach_what_is_generated():
    g = MatrixGroup(generators=QUARTER).sample(200, generator=seeded())
    assert len(g.round().unique(dim=0)) == 4
    shears = MatrixGroup(generators=SHEAR).sample(200, generator=seeded())
    assert torch.equal(shears[:, 0, 1].round(), shears[:, 0, 1])
    assert {-2.0, 0.0, 2.0} <= set(shears[:, 0, 1].tolist())
    assert SO(3).contains(MatrixGroup(lie_algebra=SO(3).lie_algebra()).sample(9, generator=seeded()))


def test_a_sampler_draws_and_stands_for_the_generators():
    group = MatrixGroup(sampler=rotations)
    assert torch.equal(group.sample(3, generator=seeded(5)), rotations(3, seeded(5)))
    assert group.generators().shape == (8, 3, 3)
    assert group.lie_algebra().shape == (0, 3, 3)


@pytest.mark.parametrize(
    "given, message",
    [
        ({}, "give a lie_algebra, generators or a sampler"),
        ({"generators": torch.eye(2)}, r"generators must be a stack of square matrices \[k, n, n\], got \(2, 2\)"),
        ({"generators": torch.zeros(1, 2, 2)}, "a generator is singular"),
        ({"generators": torch.eye(2)[None], "lie_algebra": torch.zeros(1, 3, 3)}, "lie_algebra has n=3, generators"),
        ({"sampler": lambda k, generator: torch.eye(3)}, r"must give a tensor \[8, n, n\], got \(3, 3\)"),
        ({"sampler": lambda k, generator: None}, "got NoneType"),
    ],
)
def test_what_does_not_fit_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        MatrixGroup(**given)


def test_a_group_without_a_test_of_membership_has_no_standard_place():
    with pytest.raises(ValueError, match="no standard embedding"):
        SO(3).V.induce(MatrixGroup(lie_algebra=SO(3).lie_algebra()))
    turned = O(2).V.restrict(MatrixGroup(generators=QUARTER))
    assert turned == MatrixGroup(generators=QUARTER).V
