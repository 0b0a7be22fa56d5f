"""The symmetry of a graph: known orders, all permutations as the referee, hard graphs in little time, bad input."""

import itertools
import math
import time

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grids import seeded
from intertwine.groups import Automorphism, Dihedral, PermutationGroup, S, embedding
from intertwine.reps import parse_group


def pairs(n: int, joined) -> nx.Graph:
    """The graph on 0..n-1 whose edges are the pairs where `joined(i, j)`."""
    graph = nx.empty_graph(n)
    graph.add_edges_from((i, j) for i in range(n) for j in range(i) if joined(i, j))
    return graph


def paley(q: int) -> nx.Graph:
    squares = {x * x % q for x in range(1, q)}
    return pairs(q, lambda i, j: (i - j) % q in squares)


def shrikhande() -> nx.Graph:
    steps = {(0, 1), (0, 3), (1, 0), (3, 0), (1, 1), (3, 3)}
    return pairs(16, lambda i, j: ((i // 4 - j // 4) % 4, (i - j) % 4) in steps)


def latin_square(n: int) -> nx.Graph:
    """Cells of the addition table of Z_n, joined in one row, one column or with one entry: strongly regular."""
    return pairs(n * n, lambda a, b: a // n == b // n or a % n == b % n or (a // n + a % n - b // n - b % n) % n == 0)


def gadget(n: int) -> nx.Graph:
    """The Cayley graph of the cyclic group, every arc a path i, a, b, i+1 with one vertex hung to a, two to b."""
    graph = nx.empty_graph(n)
    for i in range(n):
        graph.add_edges_from([(i, f"a{i}"), (f"a{i}", f"b{i}"), (f"b{i}", (i + 1) % n), (f"a{i}", f"c{i}")])
        graph.add_edges_from([(f"b{i}", f"d{i}"), (f"d{i}", f"e{i}")])
    return graph


ORDERS = {
    "C5": (nx.cycle_graph(5), 10),
    "C6": (nx.cycle_graph(6), 12),
    "P4": (nx.path_graph(4), 2),
    "K33": (nx.complete_bipartite_graph(3, 3), 72),
    "K13": (nx.star_graph(3), 6),
    "cube": (nx.hypercube_graph(3), 48),
    "Petersen": (nx.petersen_graph(), 120),
    "two triangles": (nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3)), 72),
    "two edges": (nx.Graph([(0, 1), (2, 3)]), 8),
    "K4 minus an edge": (nx.Graph([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]), 4),
    "Frucht": (nx.frucht_graph(), 1),
    "C4 by gadgets": (gadget(4), 4),
    "one vertex": (nx.empty_graph(1), 1),
    "empty": (nx.empty_graph(30), math.factorial(30)),
    "complete": (nx.complete_graph(30), math.factorial(30)),
    "dodecahedron": (nx.dodecahedral_graph(), 120),
    "matching": (nx.Graph([(2 * i, 2 * i + 1) for i in range(15)]), 2**15 * math.factorial(15)),
    "grid": (nx.grid_2d_graph(10, 10), 8),
    "random cubic": (nx.random_regular_graph(3, 100, seed=0), 1),
    "binary tree": (nx.balanced_tree(2, 5), 2**31),
    "rook": (nx.line_graph(nx.complete_bipartite_graph(6, 6)), 2 * math.factorial(6) ** 2),
    "Shrikhande": (shrikhande(), 192),
    "Paley": (paley(29), 29 * 14),
    "triangular": (nx.line_graph(nx.complete_graph(8)), math.factorial(8)),
    "Latin square": (latin_square(7), 6 * 49 * 6),
    "Hoffman-Singleton": (nx.hoffman_singleton_graph(), 252000),
    "six-cube": (nx.hypercube_graph(6), 2**6 * math.factorial(6)),
    "five dodecahedra": (nx.disjoint_union_all([nx.dodecahedral_graph()] * 5), 120**5 * math.factorial(5)),
}


@pytest.mark.parametrize("name", ORDERS)
def test_orders_of_known_graphs_in_half_a_second(name):
    graph, order = ORDERS[name]
    start = time.process_time()
    group = Automorphism(graph)
    assert time.process_time() - start < 0.5
    assert group.order == order
    A = group.adjacency
    for g in group.sample(5, generator=seeded()):
        assert torch.equal(A[g][:, g], A)


def test_the_search_does_not_depend_on_the_numbering():
    """A strongly regular graph is the worst case for colours: numbered anew, it has the conjugated group."""
    A = Automorphism(shrikhande()).adjacency
    p = S(16).sample(1, generator=seeded())[0]
    first, second = Automorphism(A), Automorphism(A[p][:, p])
    assert first != second and first.order == second.order == 192
    g = second.sample(10, generator=seeded())
    assert first.contains(S(16).compose(S(16).compose(p, g), S(16).inverse(p)))


@st.composite
def labelled(draw):
    """A labelled graph, directed or not, with loops, and node labels."""
    n = draw(st.integers(1, 6))
    cells = draw(st.lists(st.sampled_from([0, 0, 1, 1, -2]), min_size=n * n, max_size=n * n))
    A = np.array(cells).reshape(n, n)
    A = np.maximum(A, A.T) if draw(st.booleans()) else A
    return A, np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))) * draw(st.integers(0, 1))


@given(labelled())
def test_every_permutation_that_keeps_the_labels_and_no_other(graph):
    A, marks = graph
    group = Automorphism(A, marks)
    kept = [
        p
        for p in map(list, itertools.permutations(range(len(A))))
        if (A[np.ix_(p, p)] == A).all() and (marks[p] == marks).all()
    ]
    assert group.elements().tolist() == kept
    if "#" not in str(group):
        assert parse_group(str(group)) == group


def test_what_labels_change():
    C4 = nx.cycle_graph(4)
    assert [Automorphism(C4, marks).order for marks in ([0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 1, 0])] == [8, 2, 4]
    assert Automorphism(nx.DiGraph([(0, 1), (1, 2), (2, 3), (3, 0)])).order == 4  # turns only
    heavy = C4.copy()
    heavy[0][1]["weight"] = heavy[2][3]["weight"] = 7
    assert Automorphism(heavy).order == 4
    loop = C4.copy()
    loop.add_edge(0, 0)
    assert Automorphism(loop).order == 2


def test_vertices_are_numbered_as_the_graph_lists_them():
    graph = nx.Graph()
    graph.add_nodes_from("cab")
    graph.add_edge("a", "b")
    group = Automorphism(graph)
    assert group.nodes == ("c", "a", "b")
    assert group.adjacency.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert group.elements().tolist() == [[0, 1, 2], [0, 2, 1]]
    assert Automorphism(torch.eye(3)[[0, 2, 1]]).nodes == (0, 1, 2)


def test_equal_means_the_same_numbered_graph():
    C5 = Automorphism(nx.cycle_graph(5))
    assert C5 == Automorphism("0-1 1-2 2-3 3-4 4-0") == Automorphism(nx.to_numpy_array(nx.cycle_graph(5)))
    other = Automorphism(nx.complement(nx.cycle_graph(5)))
    assert other != C5 and hash(C5) != hash(other)
    assert PermutationGroup(C5.generators()) == PermutationGroup(other.generators())
    assert Automorphism(nx.dodecahedral_graph()) != Automorphism(nx.desargues_graph())
    assert Automorphism(nx.empty_graph(3)) != Automorphism(nx.empty_graph(3), [0, 0, 1])
    assert str(Automorphism("0>1 1-2 4")) == "Automorphism('0>1 1-2 4')"
    assert str(Automorphism(nx.dodecahedral_graph())) == "Automorphism(20 vertices, #cd03a356db364bc1)"


def test_polygons_embed_in_the_group_of_their_graph():
    group = Automorphism(nx.cycle_graph(6))
    assert group.V.restrict(Dihedral(6)) == Dihedral(6).V
    assert S(6).V.restrict(group) == group.V
    assert embedding(Dihedral(6), group).keeps_V


@pytest.mark.parametrize(
    "graph, labels, error, message",
    [
        (nx.empty_graph(0), None, ValueError, "has no vertices"),
        (torch.zeros(0, 0), None, ValueError, "has no vertices"),
        (torch.zeros(2, 3), None, ValueError, r"shape \(2, 3\), it must be square"),
        (torch.zeros(4), None, ValueError, r"shape \(4,\), it must be square"),
        (torch.full((2, 2), 0.5), None, ValueError, r"edge labels must be whole numbers, got 0.5 at \(0, 0\)"),
        (torch.full((2, 2), torch.nan), None, ValueError, "whole numbers, got nan"),
        (np.array([["a"]]), None, TypeError, "edge labels must be whole numbers"),
        (nx.MultiGraph([(0, 1), (0, 1)]), None, ValueError, "MultiGraph may have parallel edges"),
        (nx.Graph([(0, 1, {"weight": 0.3})]), None, ValueError, "edge weights must be whole numbers, got 0.3"),
        (nx.Graph([(0, 1, {"weight": 0})]), None, ValueError, "0, 1 has weight 0, which means no edge"),
        (nx.path_graph(3), [0, 1], ValueError, r"node_labels has shape \(2,\), but the graph has 3 vertices"),
        (nx.path_graph(2), [0.5, 1], ValueError, "node labels must be whole numbers"),
        ("0-1 1~2", None, ValueError, "'1~2' is no edge"),
        ("", None, ValueError, "'' is no edge"),
    ],
)
def test_bad_graphs_are_refused(graph, labels, error, message):
    with pytest.raises(error, match=message):
        Automorphism(graph, labels)
