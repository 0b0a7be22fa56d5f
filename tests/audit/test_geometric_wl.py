"""Geometric WL: the verdicts of arXiv:2301.09308, and the laws of a colouring."""

import itertools

import networkx as nx
import pytest
import torch

from intertwine.audit import GeometricGraph, congruent, distinguishes, gwl, igwl
from intertwine.audit.geometric_frames import AmbiguousTolerance, named
from intertwine.data import counterexamples, k_chain, l_fold, random_pair


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def motion(g, n, d=3, proper=False):
    Q = torch.linalg.qr(torch.randn(d, d, generator=g, dtype=torch.float64)).Q
    if (torch.linalg.det(Q) < 0) == proper:
        Q = Q @ torch.diag(torch.tensor([-1.0] + [1.0] * (d - 1), dtype=torch.float64))
    return Q, torch.randn(d, generator=g, dtype=torch.float64), torch.randperm(n, generator=g)


def decorated(n, seed):
    g = generator(seed)
    graph, _ = random_pair(n, generator=g, degree=2)
    scalars = torch.randint(2, (n, 1), generator=g).double()
    return graph._replace(scalars=scalars, vectors=torch.randn(n, 2, 3, generator=g, dtype=torch.float64))


def partition(colours):
    return colours[:, None] == colours[None]


@pytest.mark.parametrize("k", range(2, 8))
def test_chains_need_half_their_length(k):
    pair = k_chain(k)
    assert distinguishes(*pair) == k // 2 + 1
    assert distinguishes(*pair, iterations=k // 2) is None
    assert distinguishes(*pair, "igwl") is None
    assert congruent(*pair) is None


BODIES = (2, 3, 4, None)
SEEN = {
    ("two-body", "O"): (None, 1, 1, 1),
    ("two-body", "SO"): (None, 1, 1, 1),
    ("three-body", "O"): (None, None, 1, 1),
    ("three-body", "SO"): (None, None, 1, 1),
    ("four-body chiral", "O"): (None, None, None, None),
    ("four-body chiral", "SO"): (None, None, None, 1),
    ("four-body", "O"): (None, None, None, 1),
    ("four-body", "SO"): (None, None, None, 1),
}


@pytest.mark.parametrize(("name", "group"), SEEN)
def test_bodies_that_are_needed(name, group):
    pair = counterexamples(name)
    assert tuple(distinguishes(*pair, "igwl", body=k, group=group) for k in BODIES) == SEEN[name, group]
    same = congruent(*pair, group=group)
    assert (same is not None) == (name == "four-body chiral" and group == "O")
    assert distinguishes(*pair, group=group) == (None if same else 1)


def test_the_published_four_body_pairs_are_congruent():
    """Their triangles have two equal sides, and a half-turn does it."""
    triangle = [(5.0, 0.0, 0.0), (0.0, 0.0, 5.0), (-5.0, 0.0, 0.0)]
    edges = torch.tensor([[1, 2, 3, 4], [0, 0, 0, 0]])
    pair = [
        GeometricGraph(torch.tensor([(0.0, 0.0, 0.0), *triangle, (0.0, y, 0.0)], dtype=torch.float64), edges)
        for y in (5.0, -5.0)
    ]
    same = congruent(*pair, group="SO")
    assert torch.linalg.det(same.g) > 0.5
    for test in ("gwl", "igwl"):
        assert distinguishes(*pair, test, group="SO") is None


@pytest.mark.parametrize("fold", [1, 2, 3, 5])
def test_a_turned_star_is_the_same_graph(fold):
    first, second = l_fold(fold)
    same = congruent(first, second, group="SO")
    assert same is not None and distinguishes(first, second, group="SO") is None
    torch.testing.assert_close(first.pos @ same.g.T + same.t, second.pos[same.order], atol=1e-9, rtol=0)


@pytest.mark.parametrize("group", ["O", "SO"])
@pytest.mark.parametrize("test", [gwl, igwl])
def test_colours_do_not_move(test, group):
    graph = decorated(7, 1)
    g = generator(2)
    for _ in range(3):
        Q, t, order = motion(g, graph.n, proper=group == "SO")
        first, second = test([graph, graph.moved(Q, t, order)], group=group)
        assert torch.equal(first[:, order], second)
        assert len(torch.unique(first[-1])) == graph.n


def test_a_mirror_image_differs_under_rotations_only():
    graph = decorated(7, 3)
    image = graph.moved(torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)))
    for test in ("gwl", "igwl"):
        assert distinguishes(graph, image, test) is None
        assert distinguishes(graph, image, test, group="SO") == 1


def test_vectors_and_scalars_are_seen():
    graph = decorated(5, 4)
    other = graph._replace(scalars=1 - graph.scalars)
    assert distinguishes(graph, other) == 0 or graph.scalars.sum() == 2.5
    turned = graph._replace(vectors=graph.vectors @ motion(generator(5), 5)[0].T)
    assert distinguishes(graph, turned) == 1 and distinguishes(graph, turned, "igwl") == 1
    assert distinguishes(graph._replace(vectors=None), turned._replace(vectors=None)) is None


def test_without_geometry_it_is_the_weisfeiler_leman_test():
    def flat(G):
        edges = torch.tensor([*G.edges, *((b, a) for a, b in G.edges)]).T
        return GeometricGraph(torch.zeros(len(G), 3, dtype=torch.float64), edges)

    hexagon, triangles = nx.cycle_graph(6), nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3))
    trees = nx.Graph([(0, 1), (1, 2), (2, 3), (3, 4), (1, 5)]), nx.Graph([(0, 1), (1, 2), (2, 3), (3, 4), (2, 5)])
    for test in ("gwl", "igwl"):
        assert distinguishes(flat(hexagon), flat(triangles), test) is None
        assert distinguishes(flat(trees[0]), flat(trees[1]), test) == 2
    graph = nx.gnp_random_graph(9, 0.3, seed=1)
    colours = torch.zeros(9, dtype=torch.int64)
    for history in (gwl([flat(graph)])[0], igwl([flat(graph)])[0]):
        colours = torch.zeros(9, dtype=torch.int64)
        for found in history[1:]:
            seen = [(int(colours[v]), tuple(sorted(int(colours[w]) for w in graph[v]))) for v in range(9)]
            colours = torch.tensor([sorted(set(seen)).index(key) for key in seen])
            assert torch.equal(partition(found), partition(colours))


def test_more_rounds_more_bodies_and_fewer_motions_see_more():
    graphs = [decorated(6, seed) for seed in range(3)] + [
        counterexamples(name)[0] for name in ("two-body", "three-body")
    ]
    for graph in graphs:
        graph = graph._replace(scalars=None)
        for test, options in ((gwl, {}), (igwl, {"body": 2}), (igwl, {"body": 3}), (igwl, {})):
            history = test([graph], iterations=4, **options)[0]
            for before, after in itertools.pairwise(history):
                assert not (partition(after) & ~partition(before)).any()
            finer = test([graph], iterations=4, group="SO", **options)[0]
            assert not (partition(finer[-1]) & ~partition(history[-1])).any()
        chain = [igwl([graph], body=k, iterations=3)[0][-1] for k in (2, 3, 4, None)] + [
            gwl([graph], iterations=3)[0][-1]
        ]
        for coarse, fine in itertools.pairwise(chain):
            assert not (partition(fine) & ~partition(coarse)).any()


@pytest.mark.parametrize("d", [1, 2, 4])
def test_any_dimension(d):
    g = generator(d)
    pos = torch.randn(5, d, generator=g, dtype=torch.float64)
    edges = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]])
    graph = GeometricGraph(pos, edges)
    moved = graph.moved(*motion(g, 5, d))
    assert distinguishes(graph, moved) is None and congruent(graph, moved) is not None
    longer = GeometricGraph(pos * 1.1, edges)
    assert distinguishes(graph, longer) == 1 and congruent(graph, longer) is None


def test_congruence_respects_edges_and_finds_nodes_that_share_a_place():
    pos = torch.zeros(4, 3, dtype=torch.float64)
    path = GeometricGraph(pos, torch.tensor([[0, 1, 2], [1, 2, 3]]))
    order = torch.tensor([2, 0, 3, 1])
    same = congruent(path, path.moved(torch.eye(3, dtype=torch.float64), None, order))
    assert torch.equal(path.edge_index, order[same.order][path.edge_index])
    star = GeometricGraph(pos, torch.tensor([[0, 0, 0], [1, 2, 3]]))
    assert congruent(path, star) is None


def test_no_node_one_node_no_edge():
    nothing = GeometricGraph(torch.zeros(0, 3), torch.zeros(2, 0, dtype=torch.int64))
    one = GeometricGraph(torch.ones(1, 3), torch.zeros(2, 0, dtype=torch.int64))
    for test in (gwl, igwl):
        assert test([nothing])[0].shape[1] == 0 and test([one])[0].shape[1] == 1
    assert distinguishes(one, nothing) == 0 and congruent(one, one) is not None and congruent(one, nothing) is None


def test_bad_input():
    pos, edges = torch.randn(3, 3), torch.tensor([[0, 1], [1, 2]])
    with pytest.raises(ValueError, match=r"edge_index names nodes 0..2, but there are 2"):
        gwl([GeometricGraph(pos[:2], edges)])
    with pytest.raises(ValueError, match="must be finite"):
        gwl([GeometricGraph(pos / 0, edges)])
    with pytest.raises(ValueError, match=r"need scalars of shape \[3, a\]"):
        gwl([GeometricGraph(pos, edges, torch.zeros(2, 1))])
    with pytest.raises(ValueError, match="the same dimension, scalars and vectors"):
        gwl([GeometricGraph(pos, edges), GeometricGraph(pos[:, :2], edges)])
    with pytest.raises(ValueError, match=r"positions must have shape \[n, d\]"):
        igwl([GeometricGraph(pos[0], edges)])
    with pytest.raises(ValueError, match="group must be one of"):
        igwl([GeometricGraph(pos, edges)], group="E")
    with pytest.raises(ValueError, match="a body order is 2 or more"):
        igwl([GeometricGraph(pos, edges)], body=1)
    with pytest.raises(ValueError, match="test must be one of"):
        distinguishes(GeometricGraph(pos, edges), GeometricGraph(pos, edges), "wl")
    with pytest.raises(ValueError, match="body=3 is for test='igwl'"):
        distinguishes(GeometricGraph(pos, edges), GeometricGraph(pos, edges), body=3)
    with pytest.raises(ValueError, match="no graph"):
        gwl([])
    with pytest.raises(AmbiguousTolerance, match="near the tolerance"):
        named(torch.tensor([[0.0], [5e-6]]).numpy(), 1e-6)
    with pytest.raises(ValueError, match="R\\^3 and R\\^2"):
        congruent(GeometricGraph(pos, edges), GeometricGraph(pos[:, :2], edges))
