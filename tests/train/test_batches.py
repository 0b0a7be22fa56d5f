"""Packed batches equal PyG's, and the order of structures depends on seed and epoch alone."""

import pytest
import torch

from intertwine.data.atoms import collate, read
from intertwine.train.batches import Loader, Order, Packed


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


def test_every_structure_once_per_epoch_in_a_new_order():
    order = Order(7, 3, shuffle=True, seed=1)
    first = order.batches()
    assert [len(b) for b in first] == [3, 3, 1]
    assert sorted(i for batch in first for i in batch) == list(range(7))
    assert order.batches() == first
    order.set_epoch(1)
    assert order.batches() != first
    assert Order(7, 3, shuffle=True, seed=1).batches() == first
    assert Order(7, 3, shuffle=True, seed=2).batches() != first
    assert Order(7, 3, shuffle=False).batches() == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize("shuffle", [True, False])
def test_processes_share_the_batches_of_one(monkeypatch, shuffle):
    alone = Order(11, 4, shuffle=shuffle)
    shares = []
    for rank in (0, 1):
        order = Order(11, 2, shuffle=shuffle)
        monkeypatch.setattr(order, "_world", lambda rank=rank: (rank, 2))
        shares.append(order.batches())
    unions = [sorted(a + b) for a, b in zip(*shares)]
    assert unions == [sorted(b) for b in alone.batches()]


def test_no_process_is_left_without_a_training_batch(monkeypatch):
    counts = []
    for rank in (0, 1):
        order = Order(9, 2, shuffle=True)
        monkeypatch.setattr(order, "_world", lambda rank=rank: (rank, 2))
        counts.append([len(b) for b in order.batches()])
    assert counts == [[2, 2], [2, 2]]  # the ninth structure waits for another epoch


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
    with pytest.raises(ValueError, match="at least 1"):
        Order(3, 0, shuffle=False)
