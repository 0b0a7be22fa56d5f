"""Subgroups from Cayley graphs: the ones that are known, their names and places, and what collapses."""

import numpy as np
import pytest
import torch

from intertwine.groups import A, Cyclic, Dihedral, PermutationGroup, S, Trivial, positions, subgroup, subsample


def closed(embed) -> bool:
    """Whether the images of all elements are a subgroup, and the embedding a homomorphism."""
    H, G = embed.source, embed.target
    h = H.elements()
    products = H.compose(H.reshape(h, -1, 1), h)
    images = G.index(embed(products))
    same = G.index(G.compose(G.reshape(embed(h), -1, 1), embed(h)))
    return bool((images == same).all()) and len(np.unique(positions(embed))) == H.order and positions(embed)[0] == 0


@pytest.mark.parametrize(
    "group, generator, rate, expected",
    [
        (Cyclic(12), 0, 3, Cyclic(4)),
        (Cyclic(8), 0, 8, Trivial()),
        (Cyclic(8), 0, 1, Cyclic(8)),
        (Dihedral(8), 0, 2, Dihedral(4)),
        (Dihedral(8), 0, 8, Dihedral(1)),
        (Dihedral(8), 1, 2, Cyclic(8)),
        (Cyclic(4) * Cyclic(6), 0, 2, Cyclic(2) * Cyclic(6)),
        (Cyclic(4) * Cyclic(6), 1, 6, Cyclic(4) * Trivial()),
        (S(3) * Cyclic(4), 2, 2, S(3) * Cyclic(2)),
    ],
    ids=str,
)
def test_known_subgroups_keep_their_names(group, generator, rate, expected):
    embed = subsample(group, generator, rate)
    assert embed.source == expected and embed.target == group
    assert group.order == rate * embed.source.order and closed(embed)


def test_subgroups_of_permutations():
    even_and_a_swap = torch.tensor([[1, 2, 0, 3], [1, 0, 3, 2], [1, 0, 2, 3]])
    embed = subsample(S(4), 2, 2, generators=even_and_a_swap)
    assert embed.source == PermutationGroup(A(4).generators()) and closed(embed)
    turns = subgroup(S(4), torch.tensor([[1, 2, 3, 0]]))
    assert turns.source.order == 4 and turns.source.is_abelian and closed(turns)
    klein = subgroup(A(4), torch.tensor([[1, 0, 3, 2], [2, 3, 0, 1]]))
    assert klein.source.order == 4 and closed(klein)


def test_subgroups_without_a_name_move_the_elements_of_the_group():
    edges = subgroup(Dihedral(4), torch.tensor([[1, 1], [0, 2]]))  # the reflections r f and r^3 f, and r^2
    assert edges.source.order == 4 and isinstance(edges.source, PermutationGroup) and closed(edges)
    assert set(positions(edges)) == {0, 2, 5, 7}
    pair = Cyclic(4) * Cyclic(4)
    diagonal = subgroup(pair, (torch.tensor([1]), torch.tensor([1])))
    assert diagonal.source.order == 4 and closed(diagonal)
    assert set(positions(diagonal)) == {0, 5, 10, 15}


def test_the_whole_chain():
    first = subsample(Cyclic(8), 0, 2)
    second = subsample(first.source, 0, 2)
    assert (first.source, second.source) == (Cyclic(4), Cyclic(2))
    assert positions(first)[positions(second)].tolist() == [0, 4]


def test_generators_that_bring_steps_back_are_reported():
    with pytest.warns(UserWarning, match="the rate is 1 instead of 2"):
        embed = subsample(Cyclic(8), 0, 2, generators=torch.tensor([1, 3]))
    assert embed.source == Cyclic(8)


def test_two_reflections_collapse():
    mirrors = torch.tensor([[1, 0], [1, 1]])
    with pytest.raises(ValueError, match=r"Dihedral\(6\) collapses to 2 elements, a rate of 6"):
        subsample(Dihedral(6), 0, 2, generators=mirrors)
    with pytest.raises(ValueError, match=r"S\(4\) collapses to 8 elements, a rate of 3"):
        subsample(S(4), 1, 2)


@pytest.mark.parametrize(
    "group, generator, rate, match",
    [
        (Cyclic(12), 0, 5, "order 12, no multiple of rate 5"),
        (Cyclic(12), 1, 2, "generators 0 to 0"),
        (Cyclic(12), 0, 0, "at least 1"),
        (Dihedral(4), 1, 4, "order 2, no multiple"),
    ],
)
def test_bad_input(group, generator, rate, match):
    with pytest.raises(ValueError, match=match):
        subsample(group, generator, rate)
