"""Parts are disjoint, of the asked size, and decided by the seed alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intertwine.data.split import blocks, random, sizes

CUTS = {"random": random, "blocks": blocks}


@given(n=st.integers(10, 400), parts=st.lists(st.floats(0.05, 0.3), min_size=1, max_size=3))
def test_sizes_follow_the_fractions(n, parts):
    counts = sizes(n, parts)
    assert sum(counts) <= n
    assert all(abs(count - p * n) <= len(parts) for count, p in zip(counts, parts))
    assert all(counts)


def test_fractions_that_sum_to_one_lose_nothing():
    assert sizes(500, (0.8, 0.1, 0.1)) == [400, 50, 50]
    assert sizes(7, (0.8, 0.1, 0.1)) == [5, 1, 1]
    assert sizes(10, (0.0625,)) == [1]
    assert sum(sizes(101, (1 / 3, 1 / 3, 1 / 3))) == 101


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@given(n=st.integers(12, 200), seed=st.integers(0, 5))
def test_parts_are_disjoint_and_cover(cut, n, seed):
    parts = cut(n, (0.8, 0.1, 0.1), seed=seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    assert all(np.array_equal(a, b) for a, b in zip(parts, cut(n, (0.8, 0.1, 0.1), seed=seed)))


def test_the_seed_decides_a_random_split():
    first, second = random(100, (80, 20), seed=0), random(100, (80, 20), seed=1)
    assert not np.array_equal(first[1], second[1])
    assert [len(part) for part in first] == [80, 20]
    assert random(100, (0.8, 0.2), seed=0)[1][:5].tolist() == first[1][:5].tolist()


def test_a_random_split_is_the_same_on_every_machine():
    assert random(20, (15, 5), seed=0)[1].tolist() == [1, 9, 14, 15, 17]


def test_blocks_are_consecutive_and_in_order():
    train, val, test = blocks(50, (0.8, 0.1, 0.1))
    assert np.array_equal(train, np.arange(40))
    assert np.array_equal(val, np.arange(40, 45))
    assert np.array_equal(test, np.arange(45, 50))


def test_blocks_dealt_in_pieces_keep_the_sizes_and_the_runs():
    train, val, test = blocks(1000, (0.8, 0.1, 0.1), pieces=20, seed=3)
    assert [len(p) for p in (train, val, test)] == [800, 100, 100]
    assert (np.diff(val) != 1).sum() <= 1  # two pieces of 50
    assert not np.array_equal(val, blocks(1000, (0.8, 0.1, 0.1), pieces=20, seed=4)[1])


def test_a_gap_separates_the_parts():
    parts = blocks(100, (0.5, 0.5), gap=4)
    assert parts[1].min() - parts[0].max() == 5


@pytest.mark.parametrize(
    ("parts", "says"),
    [((0.9, 0.2), "more than 1"), ((90, 20), "need 110 rows"), ((-1, 2), "non-negative"), ((), "non-negative")],
)
def test_impossible_parts_are_refused(parts, says):
    with pytest.raises(ValueError, match=says):
        random(100, parts)


def test_too_few_rows_for_the_parts():
    with pytest.raises(ValueError, match="2 rows are too few"):
        random(2, (0.8, 0.1, 0.1))


@pytest.mark.parametrize("options", [{"pieces": 1}, {"pieces": 101}, {"gap": -1}])
def test_impossible_blocks_are_refused(options):
    with pytest.raises(ValueError, match="split: "):
        blocks(100, (0.5, 0.5), **options)
