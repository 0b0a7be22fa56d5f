"""Packed batches equal PyG's, and the order of structures depends on seed and epoch alone."""

import pytest
import torch

from intertwine.data.atoms import collate, read
from intertwine.train.batches import Loader, Packed
from intertwine.train.order import Order


@pytest.fixture(scope="module")
def graphs(structures):
    return list(read(structures, cutoff=3.5))[:7]


def test_a_packed_batch_is_a_collated_batch(graphs):
    packed, indices = Packed(graphs), [4, 0, 3]
    ours, theirs = packed.batch(indices), collate([graphs[i] for i in indices])
    assert set(ours.keys()) == set(theirs.keys())
    for name in sorted(theirs.keys()):
        if name == "config_type":
            assert ours[name] == theirs[name]
        else:
            assert ours[name].dtype == theirs[name].dtype
            assert torch.equal(ours[name], theirs[name]), name
    assert ours.num_graphs == 3


def test_a_pass_goes_on_where_it_stood(graphs):
    loader = Loader(Packed(graphs), Order(7, 2, shuffle=True))
    whole = [batch.pos for batch in loader]
    passing = iter(loader)
    next(passing)
    next(passing)
    again = Loader(Packed(graphs), Order(7, 2, shuffle=True))
    again.load_state_dict(loader.state_dict())
    rest = [batch.pos for batch in again]
    assert len(rest) == 2
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[2:]))
    assert len(list(again)) == 4  # and the pass after that is whole


def test_bad_sets(graphs, structures):
    with pytest.raises(ValueError, match="no structures"):
        Packed([])
    with pytest.raises(ValueError, match="without edges"):
        Packed(list(read(structures))[:2])
