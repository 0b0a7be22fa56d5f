import pytest
import torch

from intertwine.models.points import lift_graph
from intertwine.nn import full_graph


def slow(edge_index: torch.Tensor, nodes: int) -> tuple[list, set]:
    """Lifted nodes (source, target), and pairs of them that meet, by trying all."""
    edges = {(int(s), int(t)) for s, t in edge_index.T}
    lifted = sorted((t, s) for s, t in edges if s != t)
    lifted = [(s, t) for t, s in lifted]
    joined = edges | {(n, n) for n in range(nodes)}
    pairs = {(a, b) for a, (_, ta) in enumerate(lifted) for b, (_, tb) in enumerate(lifted) if (ta, tb) in joined}
    return lifted, pairs


@pytest.mark.parametrize("nodes, edges", [(5, 8), (6, 20), (3, 2), (1, 1)])
def test_lifted_graph_is_that_of_the_definition(nodes, edges, generator):
    edge_index = torch.randint(nodes, (2, edges), generator=generator)
    lifted = lift_graph(edge_index, nodes)
    wanted, pairs = slow(edge_index, nodes)
    assert [tuple(edge) for edge in lifted.nodes.T.tolist()] == wanted
    found = [tuple(pair) for pair in lifted.pairs.T.tolist()]
    assert len(found) == len(set(found)) and set(found) == pairs


def test_on_a_complete_graph_all_lifted_nodes_meet():
    for loops in (False, True):
        lifted = lift_graph(full_graph(4, loops=loops), 4)
        assert lifted.nodes.shape == (2, 12) and lifted.pairs.shape == (2, 144)


def test_no_edges_and_no_nodes():
    empty = torch.empty(2, 0, dtype=torch.int64)
    for nodes in (0, 3):
        lifted = lift_graph(empty, nodes)
        assert lifted.nodes.shape == lifted.pairs.shape == (2, 0)
