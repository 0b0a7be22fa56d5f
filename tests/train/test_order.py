"""The order of structures depends on seed and epoch alone, and every process gets its fair share."""

from itertools import chain

import numpy as np
import pytest

from intertwine.train.order import Balanced, Order


def lists(order: Order) -> list[list[int]]:
    return [batch.tolist() for batch in order.batches()]


def shares(make, world: int) -> list[list[list[int]]]:
    """The batches of every process."""
    out = []
    for rank in range(world):
        order = make()
        order.world = lambda rank=rank: (rank, world)
        out.append(lists(order))
    return out


def test_every_structure_once_per_epoch_in_a_new_order():
    order = Order(7, 3, shuffle=True, seed=1)
    first = lists(order)
    assert [len(b) for b in first] == [3, 3, 1]
    assert sorted(chain(*first)) == list(range(7))
    assert lists(order) == first
    order.set_epoch(1)
    assert lists(order) != first
    assert lists(Order(7, 3, shuffle=True, seed=1)) == first
    assert lists(Order(7, 3, shuffle=True, seed=2)) != first
    assert lists(Order(7, 3, shuffle=False)) == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize("shuffle", [True, False])
def test_processes_share_the_batches_of_one(shuffle):
    unions = [sorted(a + b) for a, b in zip(*shares(lambda: Order(11, 2, shuffle=shuffle), 2))]
    assert unions == [sorted(b) for b in lists(Order(11, 4, shuffle=shuffle))]


def test_no_process_is_left_without_a_training_batch():
    counts = [[len(b) for b in own] for own in shares(lambda: Order(9, 2, shuffle=True), 2)]
    assert counts == [[2, 2], [2, 2]]  # the ninth structure waits for another epoch


SIZES = np.random.RandomState(0).randint(1, 30, 500)
EDGES = SIZES * np.random.RandomState(1).randint(2, 9, 500)


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_batches_of_bounded_size(world):
    def make():
        return Balanced([(SIZES, 60), (EDGES, 400)], seed=3)

    own = shares(make, world)
    assert len({len(batches) for batches in own}) == 1  # the same number of steps for all
    every = list(chain(*own))
    assert sorted(chain(*every)) == list(range(500))
    assert max(SIZES[b].sum() for b in every) <= 60
    assert max(EDGES[b].sum() for b in every) <= 400
    assert own == shares(make, world)


def test_bounded_batches_are_full_and_alike():
    own = shares(lambda: Balanced([(SIZES, 200)]), 4)
    loads = np.array([[SIZES[b].sum() for b in batches] for batches in own])
    assert loads.mean() > 0.9 * 200
    counted = shares(lambda: Order(500, 13, shuffle=True), 4)
    waiting = lambda loads: (loads.max(0) / loads.mean(0)).mean() - 1  # noqa: E731
    plain = np.array([[SIZES[b].sum() for b in batches] for batches in counted])
    assert waiting(loads) < 0.25 * waiting(plain)


def test_bounded_batches_change_with_the_epoch():
    order = Balanced([(SIZES, 60)], seed=3)
    first = lists(order)
    order.set_epoch(1)
    assert sorted(map(tuple, lists(order))) != sorted(map(tuple, first))
    order.set_epoch(0)
    assert lists(order) == first


def test_too_few_structures_for_the_processes():
    assert shares(lambda: Balanced([(np.array([3, 3]), 10)]), 3) == [[], [], []]
    assert [len(b) for b in chain(*shares(lambda: Balanced([(np.array([3, 3, 3]), 10)]), 3))] == [1, 1, 1]


def test_bad_orders():
    with pytest.raises(ValueError, match="at least 1"):
        Order(3, 0, shuffle=False)
    with pytest.raises(ValueError, match="may hold 20, but structure 1 alone has 25"):
        Balanced([(np.array([3, 25]), 20)])
    with pytest.raises(ValueError, match="at least one bound"):
        Balanced([])
