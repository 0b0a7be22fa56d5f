"""Layers applied by their diagrams (arXiv:2304.14165), all at once: against the matrix, and diagram by diagram."""

import pytest
import torch
from benchmarks.harness import compare
from benchmarks.maps.growth import exponent, fastest, step
from benchmarks.maps.layers import Setting, passes

from claims.claim import Claim, Numbers
from intertwine.groups import O, S

GROUPS = {"S": S, "O": O}


def experiment(
    *, seed: int, rows: list[tuple[str, int, int, int, int]], largest: float, repeats: int, growth: list[int]
) -> Numbers:
    """Forward and backward of a layer (group, order, n, channels, batch) as the matrix, diagram by diagram and at once.

    Times over ours, process time on one thread, in turns; the matrix where it has at most `largest` entries. Then the
    exponent in n of ours for O(n), order 3 to 3, 16 channels, batch 4.
    """
    generator = torch.Generator().manual_seed(seed)
    numbers: Numbers = {}
    for name, order, n, channels, batch in rows:
        setting = Setting(GROUPS[name](n), order, order, channels, batch, generator)
        made = {"ours": setting.ours(), "one by one": setting.one_by_one()}
        entries = setting.space.rep_in.dim * setting.space.rep_out.dim
        if max(entries, n ** (2 * order) * len(setting.space.blocks[0].labels)) <= largest:
            made["matrix"] = setting.dense()
        steps = {key: passes(run, x, w)["forward + backward"] for key, (run, x, w, _) in made.items()}
        times = compare(steps, repeats=repeats)
        for key in list(made)[1:]:
            numbers[f"{name}({n}), {order} to {order}, {key}"] = round(times[key].minimum / times["ours"].minimum, 2)
    if growth:
        times = [fastest(step(O(n), 3, 16, 4, generator), repeats) for n in growth]
        numbers["exponent of O(n), 3 to 3"] = round(exponent(growth, times), 2)
    return numbers


def holds(numbers: Numbers) -> bool:
    """Faster than the matrix on every row, than one by one where there are more than three diagrams; under n^3.5.

    O(n), order 2 to 2, has three: the input, its transpose and its trace, which share nothing.
    """
    ratios = [
        value
        for key, value in numbers.items()
        if not key.startswith("exponent") and not (key[0] == "O" and "2 to 2, one by one" in key)
    ]
    return min(ratios) > 1 and numbers.get("exponent of O(n), 3 to 3", 0.0) <= 3.5


def ours(numbers: Numbers) -> str:
    rows: dict[str, list[str]] = {}
    for key, value in numbers.items():
        where, _, what = key.rpartition(", ")
        if not key.startswith("exponent"):
            rows.setdefault(where, []).append(f"{what} {value:.3g}")
    text = "; ".join(f"{where}: {', '.join(values)}" for where, values in rows.items())
    grown = numbers.get("exponent of O(n), 3 to 3")
    return f"time over ours: {text}" + (f"; O(n), 3 to 3 grows with exponent {grown}" if grown else "")


CLAIM = Claim(
    name="fast_apply",
    system="Fast apply",
    symbol="intertwine.maps.diagrams.apply_one",
    arxiv="2304.14165",
    statement="a layer applied by its diagrams costs O(n^k), not O(n^(k+l)), and all diagrams at once less than one by "
    "one where there are more than three (forward and backward, one thread)",
    theirs="operation counts: O(n^(k-1)) for one O(n) diagram against O(n^(k+l)) for the matrix",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"rows": [("S", 3, 4, 4, 2)], "largest": 1e7, "repeats": 7, "growth": []},
    full={
        "rows": [
            *(("S", 2, n, 16, 8) for n in (10, 20, 30)),
            *(("S", 3, n, 16, 1) for n in (6, 9, 12)),
            *(("O", 2, n, 16, 8) for n in (10, 20, 30)),
            *(("O", 3, n, 16, 1) for n in (6, 9, 12)),
        ],
        "largest": 5e7,
        "repeats": 15,
        "growth": [8, 12, 16, 20, 24],
    },
)


@pytest.mark.claim
def test_all_at_once_is_faster():
    numbers, _ = CLAIM.run(CLAIM.short)
    assert CLAIM.holds(numbers), numbers
    assert set(numbers) == {"S(4), 3 to 3, one by one", "S(4), 3 to 3, matrix"}


def test_the_rule_can_fail():
    assert not holds({"S(4), 3 to 3, matrix": 0.5})
    assert not holds({"S(4), 3 to 3, matrix": 2.0, "exponent of O(n), 3 to 3": 6.0})
