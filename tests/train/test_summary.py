"""The table of errors, and the clock."""

import torch

from intertwine.train.summary import ERRORS, error_table, render, throughput


def test_rows_keep_their_order_and_extras_stand_once():
    errors = {("a", "x"): dict.fromkeys(ERRORS.values(), 1.26), ("a", "y"): dict.fromkeys(ERRORS.values(), 10.0)}
    rows = error_table(errors, {"size": {"a": "5"}})
    assert rows[0] == ["model", "test set", *ERRORS, "size"]
    assert rows[1] == ["a", "x", "1.3", "1.3", "1.3", "1.3", "5"]
    assert rows[2][-1] == ""
    text = render(rows).splitlines()
    assert len({len(line) for line in text}) == 1
    assert text[1] == "-" * len(text[0])


def test_throughput_counts_structures():
    from intertwine.data.atoms import AtomicGraph  # noqa: F401  (the extra must be there)

    calls = []

    def model(batch):
        calls.append(int(batch.natoms.numel()))
        return torch.zeros(1)

    from ase import Atoms

    from intertwine.data.atoms import from_ase

    graphs = [from_ase(Atoms("H2", [[0, 0, 0], [0, 0, 0.8]]), cutoff=2.0)]
    assert throughput(model, graphs, batch_size=7, repeats=3) > 0
    assert calls == [7] * 4
