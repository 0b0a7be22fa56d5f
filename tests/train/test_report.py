"""The report of a test: errors by element, what was seen, two atoms alone, and one page that needs nobody."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from intertwine.data.atoms import AtomicGraph, collate, connect
from intertwine.data.atoms.species import symbol
from intertwine.train import PotentialMetrics, Seen, dimers, write_report
from train.conftest import data, module

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def made(structures):
    """A potential, and graphs with their labels; the second has no energy, the third no forces."""
    facts = data(structures)
    graphs = [graph.clone() for graph in facts.parts["train"]][:8]
    graphs[1].has_energy = graphs[2].has_forces = torch.tensor([False])
    return module().build(facts.facts), graphs


def run(potential, graphs, **options):
    seen, metrics = Seen(**options), PotentialMetrics()
    for i in range(0, len(graphs), 3):
        batch = collate(graphs[i : i + 3])
        out = potential(batch, training=False)
        seen.add(out, batch)
        metrics.update(out, batch)
    return seen, metrics


def test_errors_by_element(made):
    potential, graphs = made
    _, metrics = run(potential, graphs)
    labelled = [g for g in graphs if g.has_forces]
    found = metrics.by_element()
    assert list(found) == ["H", "C", "O"]
    for name, row in found.items():
        error, true = [], []
        for graph in labelled:
            forces = potential(collate([graph]), training=False)["forces"]
            mine = torch.tensor([symbol(int(z)) == name for z in graph.z])
            error.append((forces.double() - graph.forces)[mine])
            true.append(graph.forces[mine])
        error, true = torch.cat(error), torch.cat(true)
        assert row["atoms"] == len(error)
        assert row["forces_mae"] == pytest.approx(1e3 * float(error.abs().mean()), rel=1e-5)
        assert row["forces_rmse"] == pytest.approx(1e3 * float(error.square().mean()) ** 0.5, rel=1e-5)
        share = float((error.square().sum() / true.square().sum()).sqrt())
        assert row["forces_rmse_relative"] == pytest.approx(100 * share, rel=1e-5)


def test_many_structures_are_thinned_evenly(made):
    potential, graphs = made
    for i, graph in enumerate(graphs):
        graph.frame = torch.tensor([i])
    seen, _ = run(potential, graphs, most=3)
    assert [case.frame for case in seen.cases] == [0, 4]
    seen, _ = run(potential, graphs)
    assert [case.frame for case in seen.cases] == list(range(8))
    assert seen.cases[1].energy_error is None
    assert seen.cases[2].force_rmse is None
    assert len(seen.predictions()["energy"]) == 6
    distances = torch.cat([torch.pdist(g.pos[g.z == 1]) for g in graphs])
    assert seen.closest[1, 1] == pytest.approx(float(distances.min()))
    assert seen.closest[8, 6] == seen.closest[6, 8] < 2
    assert seen.closest[2, 2] == np.inf


def test_two_atoms_alone(made):
    potential, _ = made
    curves = dimers(potential)
    assert list(curves) == [("H", "H"), ("H", "C"), ("H", "O"), ("C", "C"), ("C", "O"), ("O", "O")]
    distance, energy = curves["H", "O"]
    assert np.abs(energy[distance >= potential.cutoff]).max() < 1e-9
    pair = AtomicGraph(torch.tensor([[0.0, 0, 0], [0, distance[0], 0]]), torch.tensor([8, 1]))
    batch = collate([connect(pair, potential.cutoff)])
    alone = potential.energy_shift[0] + potential.energy_shift[2]
    assert energy[0] == pytest.approx(float(potential(batch, training=False)["energy"]) - alone, abs=1e-4)
    assert len(dimers(potential, points=3, most=2)) == 2


class Page(HTMLParser):
    """Names of the elements, and every address."""

    def __init__(self, text: str):
        super().__init__()
        self.names, self.addresses = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.names.append(tag)
        self.addresses += [value for key, value in attributes if key in ("src", "href") and value]


def test_the_page(made, tmp_path):
    potential, graphs = made
    (tmp_path / "metrics.csv").write_text("step,val/forces_rmse\n1,30\n2,20\n")
    seen, metrics = run(potential, graphs)
    path = write_report(tmp_path / "report.html", potential, seen, metrics, history=tmp_path)
    text = path.read_text()
    page = Page(text)
    for title in ("Errors", "Predicted and reference", "Force errors by element", "Training: force RMSE"):
        assert f"<h3>{title}</h3>" in text
    for title in ("The ten worst structures", "Two atoms alone", "The model"):
        assert f"<h3>{title}</h3>" in text
    assert page.names.count("img") == 5  # parity, histogram, elements, training, dimers
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "default-src 'none'" in text
    frames = json.loads(re.search(r'id="structures">(.*?)</script>', text)[1])
    assert len(frames["frames"]) == 8
    assert frames["frames"][2]["r"] is None
    assert np.allclose(np.reshape(frames["frames"][0]["p"], (-1, 3)), graphs[0].pos, atol=1e-3)
    assert set(frames["elements"]) == {"1", "6", "8"}
    again = write_report(tmp_path / "again.html", potential, seen, metrics, history=tmp_path)
    assert again.read_text() == text


def test_a_page_without_forces_or_labels(made, tmp_path):
    """One atom in an open box, no labels at all: tables are short, and nothing is divided by zero."""
    potential, _ = made
    lonely = connect(AtomicGraph(torch.zeros(1, 3), torch.tensor([1])), potential.cutoff)
    seen, metrics = run(potential, [lonely])
    text = write_report(tmp_path / "report.html", potential, seen, metrics).read_text()
    assert "Two atoms alone" in text
    assert "Predicted and reference" not in text
