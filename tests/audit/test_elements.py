import math

import pytest
import torch

from intertwine.audit.elements import (
    Sampler,
    axis_angle,
    concatenate,
    count,
    describe,
    describe_generator,
    draw,
    exponential,
    literal,
    special_elements,
)
from intertwine.groups import SE, SL, SO, Cyclic, Dihedral, E, Lorentz, O, S, Trivial

GROUPS = [S(4), Cyclic(5), Dihedral(4), Trivial(), SO(2), O(2), SO(3), O(3), SO(4), E(3), SE(2), SL(2), Lorentz(1, 2)]
GROUPS += [S(3) * SO(3), Cyclic(3) * S(2)]


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_special_elements_belong_to_the_group_and_have_names(group):
    g, labels = special_elements(group)
    assert count(group, g) == len(labels)
    assert group.contains(g)
    assert labels[0] == "identity"
    assert all(describe(group, group.take(g, i)) for i in range(len(labels)))


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_literals_give_the_element_back_to_the_last_bit(group, generator):
    g = group.sample(3, generator=generator)
    for i in range(3):
        one = group.take(g, i)
        back = eval(literal(one), {"torch": torch})
        assert type(back) is type(one)
        for a, b in zip(back if isinstance(back, tuple) else (back,), one if isinstance(one, tuple) else (one,)):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)
    assert literal(torch.zeros(1000)) is None


@pytest.mark.parametrize("group", [E(3), SE(2), Lorentz(1, 3), SL(3), SO(3), S(3) * SE(2)], ids=str)
def test_samplers_stay_in_the_group_and_keep_their_scale(group, generator):
    assert group.contains(Sampler(group, 0.5)(50, generator=generator), 1e-6)
    assert "at scale 0.5" in str(Sampler(group, 0.5))


def test_the_scale_of_translations(generator):
    shifts = SE(3).translation_part(Sampler(SE(3), 4.0)(4000, generator=generator))
    assert abs(shifts.std() - 4) < 0.1
    with pytest.raises(ValueError, match="positive"):
        Sampler(SE(3), -1.0)


def test_draw_enumerates_small_groups_and_adds_generators(generator):
    assert draw(S(3), 6, generator=generator)[1] == 6
    assert draw(S(4), 6, generator=generator)[1] == 8
    assert draw(O(3), 5, generator=generator)[1] == 6
    with pytest.raises(ValueError, match="one leading axis"):
        draw(O(3), torch.eye(3), generator=generator)
    stacked = concatenate(S(3) * O(2), [(S(3) * O(2)).sample(2, generator=generator), (S(3) * O(2)).generators()])
    assert count(S(3) * O(2), stacked) == 5


@pytest.mark.parametrize(
    ("group", "g", "text"),
    [
        (S(5), torch.tensor([1, 0, 3, 4, 2]), "(0 1)(2 3 4)"),
        (S(3), torch.arange(3), "identity"),
        (Cyclic(6), torch.tensor(5), "turn by 5/6"),
        (Dihedral(4), torch.tensor([1, 3]), "flip, then turn by 3/4"),
        (Dihedral(4), torch.tensor([0, 0]), "identity"),
        (SO(2), torch.tensor([[0.0, -1], [1, 0]]), "turn by 90°"),
        (O(2), torch.tensor([[1.0, 0], [0, -1]]), "reflection in the line at 0°"),
        (O(3), -torch.eye(3), "inversion"),
        (O(3), torch.diag(torch.tensor([1.0, 1, -1])), "inversion and turn by 180° about (0.000, 0.000, 1.000)"),
        (SE(2), torch.tensor([[1.0, 0, 2], [0, 1, 0], [0, 0, 1]]), "identity then shift (2, 0)"),
    ],
)
def test_descriptions(group, g, text):
    assert describe(group, g) == text


def test_axis_and_angle(generator):
    for angle in (0.3, math.pi / 2, 3.0, math.pi):
        axis = torch.randn(3, generator=generator, dtype=torch.float64)
        axis = axis / axis.norm()
        K = torch.zeros(3, 3, dtype=torch.float64)
        K[2, 1], K[0, 2], K[1, 0] = axis
        K = K - K.T
        found_axis, found = axis_angle(torch.linalg.matrix_exp(angle * K))
        assert found == pytest.approx(angle)
        assert abs(abs(found_axis @ axis) - 1) < 1e-9
        if angle < math.pi:
            assert found_axis @ axis > 0


def test_generators_have_names():
    assert [describe_generator(SO(3), A) for A in SO(3).lie_algebra()] == [
        f"turn in plane {p}" for p in ("xy", "xz", "yz")
    ]
    assert describe_generator(SE(2), SE(2).lie_algebra()[2]) == "shift along y"
    group = S(3) * SO(2)
    algebra = group.lie_algebra()
    assert describe_generator(group, tuple(a[0] for a in algebra)) == "turn in plane xy"
    assert exponential(group, algebra, 0.5)[0].tolist() == [[0, 1, 2]]
    assert "E(" in describe_generator(SL(2), SL(2).lie_algebra()[0])
