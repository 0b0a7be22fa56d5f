"""Graphs in space that are hard to tell apart: what makes them so."""

import pytest
import torch

from intertwine.data import counterexamples, k_chain, l_fold, random_pair, standard_pairs
from intertwine.so3 import spherical_harmonics


def neighbour_lengths(graph):
    sender, receiver = graph.edge_index
    length = (graph.pos[sender] - graph.pos[receiver]).norm(dim=1)
    return [sorted(round(float(x), 9) for x in length[receiver == i]) for i in range(graph.n)]


@pytest.mark.parametrize("k", [2, 3, 6])
def test_chains_differ_only_in_how_the_ends_are_turned(k):
    first, second = k_chain(k)
    assert first.n == k + 2 and first.edge_index.shape == (2, 2 * (k + 1))
    assert neighbour_lengths(first) == neighbour_lengths(second)
    for graph in (first, second):
        assert graph.pos.mean(0).abs().max() < 1e-12
    with pytest.raises(ValueError, match="at least 2 nodes"):
        k_chain(1)


@pytest.mark.parametrize("fold", [2, 3, 5])
def test_a_star_is_invisible_below_its_fold(fold):
    """The sum of harmonics over the spokes does not see an in-plane turn for degrees under the fold, and does at it."""
    first, second = l_fold(fold, 0.3)
    sums = [spherical_harmonics(graph.pos[1:], fold).sum(0) for graph in (first, second)]
    apart = (sums[0] - sums[1]).abs()
    assert apart[: fold**2].max() < 1e-12 < 1e-2 < apart[fold**2 :].max()
    with pytest.raises(ValueError, match="at least one spoke"):
        l_fold(0)


def test_pairs():
    pairs = standard_pairs()
    assert len(pairs) == 8 and len({pair.name for pair in pairs}) == 8
    assert all(pair.first.n == pair.second.n for pair in pairs)
    for name in ("two-body", "three-body", "four-body", "four-body chiral"):
        first, second = counterexamples(name)
        assert neighbour_lengths(first)[0] == neighbour_lengths(second)[0]
    with pytest.raises(ValueError, match="name must be one of"):
        counterexamples("five-body")


def test_random_pairs():
    first, second = random_pair(6, generator=torch.Generator().manual_seed(0))
    again, _ = random_pair(6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first.pos, again.pos) and not torch.equal(first.pos, second.pos)
    sender, receiver = first.edge_index
    assert sorted(zip(sender.tolist(), receiver.tolist())) == sorted(zip(receiver.tolist(), sender.tolist()))
    assert torch.bincount(receiver, minlength=6).min() >= 3
    with pytest.raises(ValueError, match="5 neighbours each"):
        random_pair(6, generator=torch.Generator(), degree=6)
