"""EGNN: symmetry in any dimension, the published sizes and numbers, and points in awkward places."""

import pytest
import torch
from torch import nn

from grids import seeded
from intertwine.audit import assert_equivariant
from intertwine.groups import E
from intertwine.models.points.egnn import BLOCK, EGNN, EGNNLayer, EGNNProperty
from intertwine.nn import full_graph, segment_sum
from intertwine.reps import Invariant, Points, Vectors

OPTIONS = {
    "plain": {},
    "velocity": {"velocity": True},
    "attention": {"attention": True, "coord_aggregation": "sum"},
    "plus one": {"normalize_diff": "plus_one", "tanh": True},
    "detached": {"normalize_diff": "detached", "residual": False},
    "bounded": {"max_shift": 1e-4},
    "features": {"edge_features": 2, "node_features": 3},
    "still": {"update_coords": False},
}


def drawn(nodes, dim, hidden=8, edges=None, dtype=torch.float64):
    """Features, points and velocities of nodes, and edges: all pairs, or some drawn."""
    g = seeded(nodes + dim)
    h, x, v = (torch.randn(nodes, size, generator=g, dtype=dtype) for size in (hidden, dim, dim))
    edge_index = full_graph(nodes) if edges is None else torch.randint(nodes, (2, edges), generator=g)
    return h, x, v, edge_index


def extra(options, nodes, edge_index, v):
    """What a layer with these options wants besides h, x and edges."""
    g, found = seeded(9), {}
    if options.get("edge_features"):
        found["edge_attr"] = torch.randn(edge_index.shape[1], 2, generator=g, dtype=v.dtype)
    if options.get("node_features"):
        found["node_attr"] = torch.randn(nodes, 3, generator=g, dtype=v.dtype)
    if options.get("velocity"):
        found["v"] = v
    return found


def layer(name, hidden=8):
    return EGNNLayer(hidden, generator=seeded(1), **OPTIONS[name]).double()


class Whole(nn.Module):
    """A layer as a function of h, x and v of one batch entry: the points, and features as invariant coordinates."""

    def __init__(self, name, edge_index, nodes):
        super().__init__()
        self.layer, self.edge_index, self.name, self.nodes = layer(name), edge_index, name, nodes
        with torch.no_grad():
            if self.layer.coord is not None:
                self.layer.coord[2].weight.mul_(300)  # so that points move enough to test it

    def forward(self, h, x, v):
        h, x = self.layer(h, x, self.edge_index, **extra(OPTIONS[self.name], self.nodes, self.edge_index, v))
        return h, x


@pytest.mark.parametrize("dim", [1, 2, 3, 7])
@pytest.mark.parametrize("name", OPTIONS)
def test_points_turn_and_features_stay(name, dim):
    """Under rotations, reflections and shifts; velocities turn, and do not shift. Values and derivatives."""
    h, x, v, edges = drawn(5, dim)
    model = Whole(name, edges, 5)
    rep = (Invariant(E(dim)), Points(E(dim)), Vectors(E(dim)))
    found = assert_equivariant(lambda *a: model(*a)[1], rep_in=rep, rep_out=Points(E(dim)), data=(h, x, v), elements=4)
    assert found.scale > 0.1
    if name != "still" or dim == 3:
        assert_equivariant(lambda *a: model(*a)[0], rep_in=rep, rep_out=Invariant(E(dim)), data=(h, x, v), elements=4)


@pytest.mark.parametrize("name", OPTIONS)
def test_nodes_may_be_renamed(name):
    h, x, v, edges = drawn(6, 3, edges=14)
    p = torch.randperm(6, generator=seeded())
    back = p.argsort()
    given = extra(OPTIONS[name], 6, edges, v)
    moved = {key: value if key == "edge_attr" else value[p] for key, value in given.items()}
    one, two = layer(name)(h, x, edges, **given), layer(name)(h[p], x[p], back[edges], **moved)
    for a, b in zip(one, two):
        assert (a[p] - b).abs().max() < 1e-12


def test_float32_is_equivariant():
    h, x, v, edges = drawn(6, 3, dtype=torch.float32)
    model = Whole("velocity", edges, 6).float()
    rep = (Invariant(E(3)), Points(E(3)), Vectors(E(3)))
    assert_equivariant(lambda *a: model(*a)[1], rep_in=rep, rep_out=Points(E(3)), data=(h, x, v))


def textbook(own, h, x, edges, edge_attr, v):
    """The layer as the paper writes it: everything joined on every edge."""
    source, target = edges
    difference = x[target] - x[source]
    square = difference.square().sum(1, keepdim=True)
    m = own.edge(torch.cat([h[target], h[source], square, edge_attr], 1))
    shift, count = difference * own.coord(m), torch.bincount(target, minlength=len(h)).clamp(min=1)
    moved = segment_sum(shift, target, len(h)) / count[:, None]
    out = own.node(torch.cat([h, segment_sum(m, target, len(h))], 1))
    return h + out, x + own.velocity(h) * v + moved


@pytest.mark.parametrize("edges", [0, 30, BLOCK // 64 + 100])
def test_the_fast_layer_is_the_papers(edges):
    """Also where edges are taken in blocks, with derivatives."""
    h, x, v, edge_index = drawn(12, 3, 64, edges)
    own = EGNNLayer(64, edge_features=2, velocity=True, generator=seeded()).double()
    a = torch.randn(edges, 2, generator=seeded(), dtype=torch.float64)
    results = []
    for run in (lambda h, x: own(h, x, edge_index, a, v=v), lambda h, x: textbook(own, h, x, edge_index, a, v)):
        leaves = [t.clone().requires_grad_() for t in (h, x)]
        out = run(*leaves)
        loss = (out[0] * h).sum() + (out[1] * v).sum()
        results.append([*out, *torch.autograd.grad(loss, [*leaves, *own.parameters()])])
    for ours, theirs in zip(*results):
        assert (ours - theirs).abs().max() < 1e-10 * max(1.0, theirs.abs().max())


def test_points_hardly_move_at_first():
    h, x, _, edges = drawn(20, 3, 64)
    h, moved = EGNNLayer(64, generator=seeded()).double()(h, x, edges)
    assert 0 < (moved - x).abs().max() < 1e-2 * torch.pdist(x).mean()


def test_still_points_are_the_same_bits():
    h, x, _, edges = drawn(6, 3)
    assert layer("still")(h, x, edges)[1] is x


def test_moves_are_bounded():
    h, x, _, edges = drawn(2, 3)
    free = EGNNLayer(8, generator=seeded()).double()
    bound = EGNNLayer(8, max_shift=1e-5, generator=seeded()).double()
    step = (bound(h, x, edges)[1] - x).norm(dim=1)
    assert (free(h, x, edges)[1] - x).norm(dim=1).min() > 2e-5
    assert (step - 1e-5).abs().max() < 1e-12


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("where", ["coincident", "isolated", "one", "none"])
def test_awkward_points_have_finite_values_and_derivatives(name, where):
    nodes = {"coincident": 4, "isolated": 4, "one": 1, "none": 0}[where]
    h, x, v, edges = drawn(nodes, 3)
    if where == "coincident":
        x, v = torch.zeros_like(x), torch.zeros_like(v)
    if where == "isolated":
        edges = edges[:, :0]
    leaves = [t.requires_grad_() for t in (h, x)]
    out = layer(name)(*leaves, edges, **extra(OPTIONS[name], nodes, edges, v))
    assert [part.shape for part in out] == [h.shape, x.shape]
    first = torch.autograd.grad(sum(part.square().sum() for part in out), leaves, create_graph=True)
    second = torch.autograd.grad(sum(part.square().sum() for part in first), leaves)
    for part in (*out, *first, *second):
        assert torch.isfinite(part).all()


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "features"])
def test_a_mask_over_all_pairs_is_the_list_of_edges(name):
    h, x, v, edges = drawn(6, 3)
    mask = torch.rand(edges.shape[1], generator=seeded(), dtype=torch.float64) < 0.4
    mask &= edges[1] != 2  # a node that receives nothing
    given = extra(OPTIONS[name], 6, edges, v)
    dense = layer(name)(h, x, edges, edge_weight=mask.double(), **given)
    listed = layer(name)(h, x, edges[:, mask], **given)
    for a, b in zip(dense, listed):
        assert (a - b).abs().max() < 1e-12


def test_the_centre_of_mass_stays_only_for_symmetric_messages():
    """Equal weights of h_i and h_j make φ_x(m_ij) = φ_x(m_ji), so that moves cancel."""
    h, x, _, edges = drawn(5, 3)
    own = layer("plain")
    assert (own(h, x, edges)[1].mean(0) - x.mean(0)).abs().max() > 1e-8
    with torch.no_grad():
        own.edge[0].weight[:, :8] = own.edge[0].weight[:, 8:16]
    assert (own(h, x, edges)[1].mean(0) - x.mean(0)).abs().max() < 1e-14


def test_property_is_invariant_and_batches():
    model = EGNNProperty(3, 2, hidden=16, layers=3, generator=seeded()).double()
    h, x, _, _ = drawn(9, 3, 3)
    batch = torch.tensor([0] * 4 + [1] * 5)
    found = model(h, x, full_graph(9, batch), batch, 3)
    g = E(3).sample(1, generator=seeded())[0]
    assert (model(h, Points(E(3)).act(g, x), full_graph(9, batch), batch, 3) - found).abs().max() < 1e-10
    assert (model(h[4:], x[4:], full_graph(5))[0] - found[1]).abs().max() < 1e-12
    assert torch.isfinite(found[2]).all()  # a graph without nodes


def test_egnn_reads_out():
    model = EGNN(3, 16, 2, 2, generator=seeded()).double()
    h, x, _, edges = drawn(5, 2, 3)
    out, moved = model(h, x, edges)
    assert out.shape == (5, 2)
    assert moved.shape == x.shape
    assert torch.equal(x, drawn(5, 2, 3)[1])  # not changed in place


@pytest.mark.slow
def test_compiles():
    torch._dynamo.reset()
    model = EGNN(3, 8, 1, 1, attention=True, generator=seeded())
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
    for nodes in (4, 7):
        h, x, _, edges = drawn(nodes, 3, 3, dtype=torch.float32)
        for a, b in zip(compiled(h, x, edges), model(h, x, edges)):
            assert (a - b).abs().max() < 1e-5


def test_bad_input():
    for message, options in {
        r"one of \('mean', 'sum'\), got 'max'": {"coord_aggregation": "max"},
        "normalize_diff must be one of": {"normalize_diff": "unit"},
        "velocity=True moves points": {"velocity": True, "update_coords": False},
        "impossible sizes hidden=0": {"hidden": 0},
    }.items():
        with pytest.raises(ValueError, match=message):
            EGNNLayer(**{"hidden": 4} | options)
    with pytest.raises(ValueError, match="layers=0"):
        EGNN(1, layers=0)
    h, x, v, edges = drawn(3, 3)
    with pytest.raises(ValueError, match="v given, but was not declared"):
        layer("plain")(h, x, edges, v=v)
    with pytest.raises(ValueError, match="v missing, but was declared"):
        layer("velocity")(h, x, edges)
    with pytest.raises(ValueError, match="edge_attr missing, but was declared"):
        layer("features")(h, x, edges)
