import pytest
import torch

from intertwine.nn import full_graph, knn_graph, nearest_edges, radius_graph


def slow_pairs(near: torch.Tensor, batch: torch.Tensor, loops: bool) -> torch.Tensor:
    """[2, edges] of a matrix near[target, source], sorted by target, then source."""
    near = near & (batch[:, None] == batch)
    if not loops:
        near = near & ~torch.eye(len(batch), dtype=torch.bool)
    target, source = near.nonzero(as_tuple=True)
    return torch.stack([source, target])


@pytest.mark.parametrize("loops", [False, True])
@pytest.mark.parametrize("nodes", [0, 1, 2, 5])
def test_full_graph_of_one_and_of_several(nodes, loops):
    every = torch.ones(nodes, nodes, dtype=torch.bool)
    one = torch.zeros(nodes, dtype=torch.int64)
    assert torch.equal(full_graph(nodes, loops=loops), slow_pairs(every, one, loops))
    for batch in (one, torch.arange(nodes) % 2):
        assert torch.equal(full_graph(nodes, batch, loops=loops), slow_pairs(every, batch, loops))


@pytest.mark.parametrize("loops", [False, True])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_graphs_of_near_points(dim, loops, generator):
    pos = torch.randn(40, dim, generator=generator)
    batch = torch.randint(4, (40,), generator=generator)
    distance = torch.cdist(pos.double(), pos.double())
    assert torch.equal(radius_graph(pos, 0.7, batch, loops=loops), slow_pairs(distance <= 0.7, batch, loops))
    distance = distance.masked_fill(batch[:, None] != batch, torch.inf)
    reach = distance.sort(1).values[:, 3:4]
    assert torch.equal(knn_graph(pos, 3, batch, loops=loops), slow_pairs(distance <= reach, batch, loops))


def test_few_points_many_and_equal_ones():
    assert knn_graph(torch.zeros(0, 3), 2).shape == radius_graph(torch.zeros(0, 3), 1.0).shape == (2, 0)
    assert knn_graph(torch.zeros(1, 3), 2).shape == (2, 0)
    assert torch.equal(knn_graph(torch.eye(3), 9), full_graph(3))
    same, batch = torch.zeros(4, 2), torch.tensor([0, 0, 1, 1])
    assert torch.equal(knn_graph(same, 1, batch), full_graph(4, batch))
    square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    for pos in (square, square @ turn.T):  # two neighbours at the same distance: both, however they are rounded
        assert knn_graph(pos, 1).shape == (2, 8)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="radius must be positive"):
        radius_graph(torch.zeros(2, 3), 0.0)
    with pytest.raises(ValueError, match="k must be at least 1"):
        knn_graph(torch.zeros(2, 3), 0)
    for make in (lambda b: full_graph(2, b), lambda b: radius_graph(torch.zeros(2, 3), 1.0, b)):
        with pytest.raises(ValueError, match="2 nodes, but batch has shape"):
            make(torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("k", [1, 3, 50])
@pytest.mark.parametrize("nodes", [0, 1, 2, 12])
def test_nearest_edges_are_those_of_a_loop(nodes, k, generator):
    pos = torch.randn(nodes, 3, generator=generator, dtype=torch.float64)
    source, target = full_graph(nodes)
    order = torch.randperm(len(source), generator=generator)
    source, target = source[order], target[order]
    distance = (pos[source] - pos[target]).norm(dim=1)
    if len(distance) > 2:
        distance[1] = distance[0] + 1e-5  # a tie
    kept = nearest_edges(distance, target, nodes, k)
    for i in range(nodes):
        own = distance[target == i]
        reach = own.sort().values[min(k, len(own)) - 1] + 1e-4 if len(own) else 0.0
        assert torch.equal(kept[target == i], own <= reach)
        assert min(k, len(own)) <= kept[target == i].sum() <= min(k + 1, len(own))
