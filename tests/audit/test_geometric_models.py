"""The table of what models tell apart: bounds hold, and verdicts say whose failure it is."""

import pytest
import torch

from intertwine.audit import audit_model
from intertwine.data import standard_pairs
from intertwine.so3 import spherical_harmonics


def lengths(seed):
    """Invariant, two-body, one round."""
    w = torch.rand(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def model(graph):
        sender, receiver = graph.edge_index
        r = (graph.pos[sender] - graph.pos[receiver]).norm(dim=1)
        sent = torch.sin(r[:, None] * w)
        return torch.zeros(graph.n, 4, dtype=torch.float64).index_add(0, receiver, sent).square().sum(0)

    return model


def harmonics(seed):
    """Power spectra of degree up to 2 of each neighbourhood, summed: three-body, one round."""
    w = torch.rand(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5

    def model(graph):
        sender, receiver = graph.edge_index
        Y = spherical_harmonics(graph.pos[sender] - graph.pos[receiver], 2)
        A = torch.zeros(graph.n, 9, dtype=torch.float64).index_add(0, receiver, Y)
        power = torch.stack([A[:, l * l : (l + 1) ** 2].square().sum(1) for l in range(3)], 1)
        return (power * w).sum(1).sqrt().sum(0, keepdim=True)

    return model


def forbidden(_seed):
    return lambda graph: graph.pos[0].norm()[None] + graph.pos[0, 1]


def test_bounds_hold_and_verdicts_follow():
    pairs = standard_pairs()
    low, high = (audit_model(make, pairs, trials=3) for make in (lengths, harmonics))
    low, high = ({row.pair: row for row in table.rows} for table in (low, high))
    for row in low.values():
        assert row.margin < 1e-9 and row.parted == 0 and row.noise < 1e-12
        assert (row.verdict == "cannot be told apart") == (row.gwl is None)
    assert high["two-body"].verdict == "told apart" and high["two-body"].igwl == {2: None, 3: 1, None: 1}
    assert high["three-body"].verdict == "not told apart, though a network could"
    assert high["four-body chiral"].verdict == "cannot be told apart"


def test_the_table_prints_and_a_broken_model_is_caught():
    pairs = [pair for pair in standard_pairs() if pair.name == "four-body chiral"]
    table = audit_model(lengths, pairs, trials=1)
    head, line = str(table).splitlines()
    assert head.split() == ["pair", "gwl", "igwl(2)", "igwl(3)", "igwl(all)", "margin", "noise", "verdict"]
    assert line.startswith("four-body chiral  -    -") and line.endswith("cannot be told apart")
    noisy = audit_model(forbidden, standard_pairs()[:1], trials=1).rows[0]
    assert noisy.noise > 0.1 and noisy.parted == 0  # a model that is not invariant has no margin to speak of
    with pytest.raises(ValueError, match="at least one trial"):
        audit_model(lengths, pairs, trials=0)
