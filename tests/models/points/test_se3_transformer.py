"""The SE(3)-Transformer and its iterative form: symmetry, gradients through moved points, edges, choices."""

import warnings

import pytest
import torch

from intertwine.models.points import IterativeSE3Transformer, SE3Transformer
from intertwine.models.points.se3_attention import AttentiveMix, SE3Attention, TensorFieldLayer
from intertwine.models.points.se3_transformer import edges_of
from intertwine.nn import full_graph
from intertwine.so3 import Irreps, random_rotation

OPTIONS = {
    "plain": {},
    "heads and positions": {"heads": 2, "rel_pos": "cat"},
    "attentive": {"rel_pos": "add", "self_interaction": "attentive"},
    "sums and norms": {"norm": "mlp", "skip": "sum", "div": 2},
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def points(n, seed=0, dtype=torch.float64):
    return torch.randn(n, 3, generator=generator(seed), dtype=dtype)


def moved(pos, seed=5):
    R = random_rotation(generator=generator(seed)).to(pos)
    return R, pos @ R.T + torch.tensor([0.3, -2.0, 1.1], dtype=pos.dtype)


def refiner(**options):
    sizes = {"degree": 2, "channels": 4, "iterations": 2, "layers": 1, "generator": generator(), **options}
    return IterativeSE3Transformer(**sizes).double()


def wave(r, ids):
    return torch.sin(3 * r) + (ids % 7) / 10


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_points_move_with_the_frame(options):
    model, pos, graph = refiner(**options), points(6), full_graph(6)
    R, turned = moved(pos)
    there, here = model(turned, graph, wave), model(pos, graph, wave)
    shift = turned - pos @ R.T
    torch.testing.assert_close(there.pos, here.pos @ R.T + shift, atol=1e-10, rtol=0)
    assert (here.pos - pos).abs().max() > 1e-3 and here.trajectory.shape == (3, 6, 3)
    torch.testing.assert_close(model.rep.act(R, here.features), there.features, atol=1e-10, rtol=0)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_gradients_turn_and_match_finite_differences(options):
    model, graph = refiner(iterations=3, **options), full_graph(4)
    w = points(4, 9)

    def loss(pos, w):
        return (model(pos, graph, wave).pos * w).sum()

    pos = points(4).requires_grad_()
    (g,) = torch.autograd.grad(loss(pos, w), pos)
    R, turned = moved(pos.detach())
    turned.requires_grad_()
    (h,) = torch.autograd.grad(loss(turned, w @ R.T), turned)
    torch.testing.assert_close(h, g @ R.T, atol=1e-10 * float(g.abs().max()), rtol=0)
    step, along = 1e-7, points(4, 11)
    with torch.no_grad():
        slope = (loss(pos + step * along, w) - loss(pos - step * along, w)) / (2 * step)
    torch.testing.assert_close(slope, (g * along).sum(), atol=1e-6 * float(g.abs().max()), rtol=0)


def test_constant_directions_are_another_gradient():
    full, ablated = refiner(), refiner(backprop_basis=False)
    pos, graph = points(5).requires_grad_(), full_graph(5)
    values = [model(pos, graph, wave).pos for model in (full, ablated)]
    assert torch.equal(*values)
    first, second = (torch.autograd.grad(value.square().sum(), pos)[0] for value in values)
    assert (first - second).abs().max() > 1e-3
    (cut,) = torch.autograd.grad(refiner(detach_positions=True)(pos, graph, wave).pos.square().sum(), pos)
    assert (first - cut).abs().max() > 1e-3


def test_checkpoints_change_nothing():
    pos, graph = points(5).requires_grad_(), full_graph(5)
    found = []
    for model in (refiner(), refiner(checkpoint_blocks=True)):
        loss = model(pos, graph, wave).pos.square().sum()
        found.append(torch.autograd.grad(loss, [pos, *model.parameters()], allow_unused=True))
    for a, b in zip(*found):
        assert (a is None) == (b is None) and (a is None or torch.equal(a, b))


def test_one_iteration_is_one_pass_and_an_update():
    model, pos, graph = refiner(iterations=1, layers=2), points(6), full_graph(6)
    single = SE3Transformer("1x0", "4x0+4x1+4x2", "1x1", 1, layers=2, div=1).double()
    state = {key.replace("blocks.0.", "blocks."): value for key, value in model.state_dict().items()}
    single.load_state_dict(state)
    scalars = wave((pos[graph[0]] - pos[graph[1]]).norm(dim=1), torch.arange(graph.shape[1]))[:, None]
    step = single(pos.new_ones(6, 1), pos, graph, scalars)
    torch.testing.assert_close(model(pos, graph, wave).pos, pos + step)
    torch.testing.assert_close(model(pos, graph, scalars).pos, pos + step)


def test_no_weight_no_move():
    model, pos = refiner(iterations=1), points(5)
    for parameter in model.last.parameters():
        parameter.data.zero_()
    assert torch.equal(model(pos, full_graph(5), wave).pos, pos)


def test_order_of_points_and_edges_is_nothing():
    model, pos, graph = refiner(), points(6), full_graph(6)
    order, shuffle = torch.randperm(6, generator=generator(1)), torch.randperm(30, generator=generator(2))
    a = torch.rand(30, generator=generator(3), dtype=torch.float64)
    here = model(pos, graph, lambda r, ids: r + a[ids]).pos
    there = model(pos[order], order.argsort()[graph[:, shuffle]], lambda r, ids: r + a[shuffle][ids]).pos
    torch.testing.assert_close(there, here[order], atol=1e-11, rtol=0)


def test_neighbours_are_the_strongest_edges_and_ties_go_by_number():
    pos, graph = points(6), full_graph(6)
    all_of_them = refiner()(pos, graph, wave).pos
    torch.testing.assert_close(refiner(neighbors=5)(pos, graph, wave).pos, all_of_them, atol=1e-12, rtol=0)
    seen = []

    def recorded(r, ids):
        seen.append(ids)
        return (ids % 3 == 0).double()

    few = refiner(neighbors=2, iterations=1)(pos, graph, recorded).pos
    kept = seen[-1]
    for i in range(6):
        own = torch.arange(30)[graph[1] == i]
        strong = own[(own % 3 == 0)].tolist() + own[(own % 3 != 0)].tolist()
        assert kept[graph[1][kept] == i].tolist() == sorted(strong[:2])
    assert (few - all_of_them).abs().max() > 1e-6


@pytest.mark.parametrize("heads", [1, 2])
def test_attention_sums_to_one(heads):
    layer = SE3Attention("2x0+2x1", "4x0+4x1", 1, heads=heads, div=2, generator=generator()).double()
    pos, graph = points(5), full_graph(5)[:, 4:]  # nothing reaches the first point
    edges = edges_of(pos, graph, torch.rand(16, 1, generator=generator(1)).double(), 1)
    f = torch.randn(5, 8, generator=generator(2), dtype=torch.float64)
    a = layer.attention(f, edges)
    assert a.shape == (16, heads) and a.min() > 0
    torch.testing.assert_close(a.new_zeros(5, heads).index_add(0, graph[1], a)[1:], a.new_ones(4, heads))


@pytest.mark.parametrize("norm", ["bias", "mlp"])
def test_a_point_that_nothing_reaches_stays(norm):
    model, pos, graph = refiner(norm=norm), points(5), full_graph(5)
    graph = graph[:, graph[1] != 2]
    assert torch.equal(model(pos, graph, wave).pos[2], pos[2])
    lonely = model(pos[:1], graph[:, :0], wave)
    assert torch.equal(lonely.pos, pos[:1])
    assert model(pos[:0], graph[:, :0], wave).pos.shape == (0, 3)


def test_points_at_one_place_are_named_and_harmless():
    model, pos, graph = refiner(iterations=1), points(4), full_graph(4)
    pos[1] = pos[0]
    pos.requires_grad_()
    with pytest.warns(UserWarning, match=r"only 0\.0e\+00 apart"):
        y = model(pos, graph, wave).pos
    (g,) = torch.autograd.grad(y.square().sum(), pos)
    assert y.isfinite().all() and g.isfinite().all()
    R, turned = moved(pos.detach())
    with pytest.warns(UserWarning, match="apart"):
        there = model(turned, graph, wave).pos
    torch.testing.assert_close(there, y @ R.T + (turned - pos @ R.T), atol=1e-10, rtol=0)


def test_single_precision():
    model, graph = refiner().float(), full_graph(6)
    pos = points(6, dtype=torch.float32)
    R, turned = moved(pos)
    here, there = model(pos, graph, wave).pos, model(turned, graph, wave).pos
    shift = turned - pos @ R.T
    assert (there - here @ R.T - shift).abs().max() < 2e-5 * here.abs().max()


def test_node_features_and_degrees_of_their_own():
    model = SE3Transformer("3x0+1x1", "4x0+4x1", "2x0+1x2", layers=1, div=2, generator=generator()).double()
    pos, graph = points(5), full_graph(5)
    f = torch.randn(5, 6, generator=generator(1), dtype=torch.float64)
    R, turned = moved(pos)
    here, there = model(f, pos, graph), model(Irreps("3x0+1x1").act(R, f), turned, graph)
    torch.testing.assert_close(Irreps("2x0+1x2").act(R, here), there, atol=1e-10, rtol=0)
    own = refiner(rep_in="3x0+1x1")
    assert own(pos, graph, wave, f).features.shape == (5, 36)


def test_double_backward():
    """Kinks have no second derivative to test, so this one is without ReLU: a convolution."""
    layer = TensorFieldLayer("1x0", "1x0+1x1", generator=generator()).double()
    graph, f = full_graph(3), torch.ones(3, 1, dtype=torch.float64)

    def energy(pos):
        return layer(f, edges_of(pos, graph, None, 1)).square().sum()

    def force(pos):
        return torch.autograd.grad(energy(pos), pos, create_graph=True)[0]

    pos = points(3).requires_grad_()
    w, along, step = points(3, 1), points(3, 2), 1e-6
    (second,) = torch.autograd.grad((force(pos) * w).sum(), pos)
    ends = [(force((pos + s * step * along).detach().requires_grad_()) * w).sum() for s in (1, -1)]
    torch.testing.assert_close((second * along).sum(), (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-7)


def test_compiles_whole():
    model = SE3Transformer("1x0", "2x0+2x1", "1x1", layers=1, div=1, generator=generator()).double()
    pos, graph = points(4), full_graph(4)
    f = pos.new_ones(4, 1)
    whole = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(whole(f, pos, graph), model(f, pos, graph), atol=1e-12, rtol=0)


def test_convex_mixtures():
    mix = AttentiveMix(Irreps("2x0+3x1"), Irreps("2x0+2x1"), generator()).double()
    x = torch.ones(2, 11, dtype=torch.float64)
    torch.testing.assert_close(mix(x), torch.ones(2, 8, dtype=torch.float64))


def test_bad_input():
    with pytest.raises(ValueError, match=r"divided by div=3 leaves \[1\] channels, which must be .* heads=2"):
        SE3Attention("1x0", "4x0", heads=2, div=3)
    with pytest.raises(ValueError, match="share no degree"):
        SE3Attention("1x1", "4x0", div=1)
    for name in ("rel_pos", "skip", "self_interaction"):
        with pytest.raises(ValueError, match=f"{name} must be one of"):
            SE3Attention("1x0", "4x0", **{name: "spam"})
    with pytest.raises(ValueError, match="norm must be 'bias' or 'mlp'"):
        refiner(norm="layer")
    with pytest.raises(ValueError, match="points move by features of degree 1"):
        refiner(degree=0)
    with pytest.raises(ValueError, match="there is none"):
        refiner(neighbors=2, edge_scalars=0)
    with pytest.raises(ValueError, match="at least one layer"):
        refiner(layers=0)
    with pytest.raises(ValueError, match="1 edge scalars are expected"):
        refiner()(points(3), full_graph(3))
    with pytest.raises(ValueError, match="starts from 3x0, give node_feat"):
        refiner(rep_in="3x0")(points(3), full_graph(3), wave)
    with pytest.raises(ValueError, match="has no degree 1"):
        AttentiveMix(Irreps("2x0"), Irreps("2x0+2x1"), None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refiner()(points(3), full_graph(3), wave)
