"""Separation on published lists of graphs: what order 2 and order 3 leave together, from all graphs on 8 vertices."""

import networkx
import numpy as np
import pytest
import torch

from intertwine.audit.separation import classes
from intertwine.groups import S


@pytest.fixture(scope="module")
def graphs(data_dir):
    folder = data_dir / "graph_expressivity"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")

    def read(name):
        found = networkx.read_graph6(folder / name)
        return torch.from_numpy(np.stack([networkx.to_numpy_array(graph).ravel() for graph in found]))

    return read


def test_regular_graphs_on_eight_vertices(graphs):
    """One class for each degree in order 2, as for message passing; two layers of order 3 part them all."""
    x = graphs("graph8c.g6")
    assert len(x) == 11117
    degrees = x.unflatten(1, (8, 8)).sum(2)
    regular = x[(degrees == degrees[:, :1]).all(1)]
    degree = regular.sum(1) / 8
    V = S(8).V
    for depth in (1, 2, 3):
        found = classes(regular, V**2, [V**2] * depth)
        assert len(set(zip(found.tolist(), degree.tolist()))) == len(set(found.tolist())) == len(set(degree.tolist()))
    assert len(regular) > 10 > len(set(degree.tolist()))
    assert len(set(classes(regular, V**2, [V**3, V**3]).tolist())) == len(regular)


def test_order_two_is_message_passing(graphs):
    """On a thousand graphs, the classes of five layers are those of 1-WL hashes."""
    x = graphs("graph8c.g6")[::11]
    V = S(8).V
    found = classes(x, V**2, [V**2] * 5).tolist()
    hashes = [wl(row.unflatten(0, (8, 8)).long()) for row in x]
    assert len(set(zip(found, hashes))) == len(set(found)) == len(set(hashes))


def wl(adjacency: torch.Tensor) -> tuple:
    """Colours of vertices after eight rounds, numbered by their meaning: no hashing, hence no collisions."""
    colours: list = [()] * 8
    for _ in range(8):
        neighbours = [sorted(colours[j] for j in row.nonzero()[:, 0].tolist()) for row in adjacency]
        colours = [(colour, tuple(around)) for colour, around in zip(colours, neighbours)]
        colours = [KNOWN.setdefault(colour, (len(KNOWN),)) for colour in colours]
    return tuple(sorted(colours))


KNOWN: dict = {}  # the number of every colour, so that tuples stay short


def test_strongly_regular_graphs_on_25_vertices(graphs):
    x = graphs("sr251256.g6")
    V = S(25).V
    assert len(x) == 15
    assert set(classes(x[:4], V**2, [V**3]).tolist()) == {0}
