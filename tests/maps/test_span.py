"""Spans equal the layers they describe, by every route, with their derivatives; and know their symmetries."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from intertwine import maps
from intertwine.groups import Cyclic, Dihedral, S
from intertwine.maps import Span
from intertwine.maps.constants import tensors
from intertwine.reps import outer

CALLS = {1: (F.conv1d, F.conv_transpose1d), 2: (F.conv2d, F.conv_transpose2d), 3: (F.conv3d, F.conv_transpose3d)}
# size, kernel, stride, padding, dilation, groups, circular
CONVOLUTIONS = [
    ((7,), (3,), (1,), (1,), (1,), 1, False),
    ((9,), (2,), (3,), (0,), (2,), 2, False),
    ((8,), (3,), (1,), (1,), (1,), 1, True),
    ((3,), (2,), (1,), (4,), (1,), 1, True),  # wraps around more than once
    ((6, 5), (3, 2), (2, 1), (1, 0), (1, 2), 2, False),
    ((5, 6), (3, 3), (2, 1), (1, 1), (1, 2), 1, True),
    ((4, 5, 3), (2, 3, 1), (1, 2, 1), (1, 1, 0), (2, 1, 1), 3, False),
]


def image(x, size, groups):
    """[batch, pixels * groups, c] -> [batch, groups * c, *size], as torch has it."""
    return x.reshape(len(x), *size, -1).movedim(-1, 1)


def kernels(w, kernel, groups):
    """[offsets * groups, c_in, c_out] -> [groups * c_out, c_in, *kernel]."""
    w = w.reshape(*kernel, groups, *w.shape[1:])
    axes = len(kernel)
    return w.permute(axes, axes + 2, axes + 1, *range(axes)).flatten(0, 1)


def torch_conv(x, w, size, kernel, stride, padding, dilation, groups, circular):
    x = image(x, size, groups)
    if circular:
        for axis, p in enumerate(padding):
            x = x.index_select(axis + 2, torch.arange(-p, size[axis] + p) % size[axis])
        padding = 0
    y = CALLS[len(size)][0](x, kernels(w, kernel, groups), None, stride, padding, dilation, groups)
    return y.movedim(1, -1).flatten(1).reshape(len(x), -1, w.shape[-1])


def every_route(span, x, w):
    """The result by each way of computing it."""
    for route in (*span._routes, *span._cells):
        yield route.name, route.run(x, w, tensors(route.arrays, x.dtype, "cpu"))


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolutions_equal_torch_by_every_route(case, generator):
    size, kernel, stride, padding, dilation, groups, circular = case
    span = Span.conv(size, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups, circular=circular)
    x = torch.randn(2, span.num_in, 3, generator=generator, requires_grad=True)
    w = torch.randn(span.num_weights, 3, 4, generator=generator, requires_grad=True)
    expected = torch_conv(x, w, *case)
    v = torch.randn(expected.shape, generator=generator)
    assert_close(span.apply(x, w), expected, atol=1e-5, rtol=1e-5)
    for name, y in every_route(span, x, w):
        assert_close(y, expected, atol=1e-5, rtol=1e-5, msg=name)
    # the derivatives are spans too, and torch's
    gx, gw = torch.autograd.grad(expected, (x, w), v)
    assert_close(span.transpose().apply(v, w.mT), gx, atol=1e-5, rtol=1e-5)
    for _, y in every_route(span.transpose(), v, w.mT):
        assert_close(y, gx, atol=1e-5, rtol=1e-5)
    assert_close(span.weight_gradient(x, v), gw, atol=1e-4, rtol=1e-5)
    if not circular and not any((n + 2 * p - d * (k - 1) - 1) % s for n, k, s, p, d in zip(*case[:5])):
        transposed = CALLS[len(size)][1](
            image(v, [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(*case[:5])], groups),
            *(kernels(w, kernel, groups), None, stride, padding, 0, groups, dilation),
        )
        assert_close(image(span.transpose().apply(v, w.mT), size, groups), transposed, atol=1e-5, rtol=1e-5)


def test_a_convolution_in_four_dimensions(generator):
    """Beyond torch: a sum over the fourth axis of convolutions in three."""
    size, kernel = (3, 4, 3, 4), (2, 3, 2, 2)
    span = Span.conv(size, kernel, padding=(0, 1, 0, 0))
    x = torch.randn(2, span.num_in, 2, generator=generator, dtype=torch.float64)
    w = torch.randn(span.num_weights, 2, 3, generator=generator, dtype=torch.float64)
    images, kernel4 = x.reshape(2, *size, 2).movedim(-1, 1), w.reshape(*kernel, 2, 3).permute(5, 4, 0, 1, 2, 3)
    expected = torch.stack(
        [
            sum(F.conv3d(images[:, :, o + k], kernel4[:, :, k], padding=(1, 0, 0)) for k in range(kernel[0]))
            for o in range(2)
        ],
        2,
    )
    assert_close(span.apply(x, w), expected.flatten(2).mT, atol=1e-12, rtol=0)


def test_dense_equals_linear(generator):
    linear, x = torch.nn.Linear(5, 7, bias=False), torch.randn(4, 5, generator=generator)
    span = Span.dense(5, 7)
    assert_close(span.apply(x[..., None], linear.weight.reshape(-1, 1, 1))[..., 0], linear(x), atol=1e-6, rtol=0)
    w = torch.randn(35, 2, 3, generator=generator)
    x = torch.randn(4, 5, 2, generator=generator)
    expected = torch.einsum("bxi,yxio->byo", x, w.reshape(7, 5, 2, 3))
    for _, y in every_route(span, x, w):
        assert_close(y, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size, kernel, stride, padding", [((7,), 2, None, 0), ((6, 7), 3, 2, 1), ((4, 4, 4), 2, 2, 0)])
def test_pooling_equals_avg_pool(size, kernel, stride, padding, generator):
    span = Span.pool(size, kernel, stride=stride, padding=padding)
    x = torch.randn(2, span.num_in, 3, generator=generator)
    call = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(size) - 1]
    expected = call(image(x, size, 1), kernel, stride, padding).flatten(2).mT
    for _, y in every_route(span, x, torch.eye(3)[None]):
        assert_close(y, expected, atol=1e-6, rtol=0)


def test_graph_convolution_equals_torch_geometric(generator):
    geometric = pytest.importorskip("torch_geometric.nn")
    edges = torch.randint(9, (2, 30), generator=generator)
    edges[:, 3] = 4  # a loop that is already there
    edges = torch.unique(edges, dim=1)
    layer, x = geometric.GCNConv(3, 5, bias=False), torch.randn(2, 9, 3, generator=generator)
    span = Span.graph(edges, 9, self_loops=True, normalize=True)
    for _, y in every_route(span, x, layer.lin.weight.T[None]):
        assert_close(y, layer(x, edges), atol=1e-6, rtol=1e-5)


def test_edge_types_have_their_own_weights(generator):
    edges, types = torch.randint(6, (2, 20), generator=generator), torch.randint(3, (20,), generator=generator)
    types[0] = 2
    span = Span.graph(edges, 6, edge_type=types, self_loops=True)
    x, w = torch.randn(2, 6, 2, generator=generator), torch.randn(4, 2, 3, generator=generator)
    messages = torch.einsum("bei,eio->beo", x[:, edges[0]], w[types])
    expected = (x @ w[3]).index_add(1, edges[1], messages)
    for _, y in every_route(span, x, w):
        assert_close(y, expected, atol=1e-5, rtol=1e-5)


def test_orbits_of_permutations_are_deep_sets(generator):
    span = Span.orbit(S(6).V, S(6).V)
    assert span.num_weights == 2
    x, w = torch.randn(3, 6, 2, generator=generator), torch.randn(2, 2, 3, generator=generator)
    expected = x @ (w[0] - w[1]) + x.sum(1, keepdim=True) @ w[1]
    assert_close(span.apply(x, w), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "rep_in, rep_out",
    [
        (Dihedral(5).V, Dihedral(5).V),
        (Dihedral(4).regular, Dihedral(4).V),
        (Cyclic(6).regular, Cyclic(6).regular),
        (S(4).V ** 2, S(4).V + S(4).trivial),
    ],
    ids=str,
)
def test_an_orbit_layer_holds_all_equivariant_maps_and_only_those(rep_in, rep_out, generator):
    span = Span.orbit(rep_in, rep_out)
    assert span.num_weights == maps.dimension(rep_in, rep_out)
    assert span.is_equivariant(rep_in.group, (rep_in, rep_out))
    w = torch.randn(span.num_weights, 1, 1, generator=generator, dtype=torch.float64)
    dense = span.apply(torch.eye(rep_in.dim, dtype=torch.float64)[..., None], w)[..., 0].T
    g = rep_in.group.sample(5, generator=generator)
    assert_close(dense @ rep_in.matrix(g), rep_out.matrix(g) @ dense, atol=1e-12, rtol=0)


def test_cyclic_orbits_are_the_circular_convolution(generator):
    """Hom(regular, regular) of Cyclic(6) has one weight for each offset, as a kernel of full length."""
    span, conv = Span.orbit(Cyclic(6).regular, Cyclic(6).regular), Span.conv((6,), 6, circular=True, padding=5)
    full = Span.conv((6,), 6, circular=True, padding=0)
    assert conv.num_out == 11 and full.num_out == 1 and span.num_weights == 6
    wrapped = Span.conv((6,), 7, circular=True, padding=3)  # offsets -3 and 3 are the same pixel
    assert wrapped.num_out == 6 and wrapped.is_equivariant(Cyclic(6), (Cyclic(6).V, Cyclic(6).V))


def test_composition_is_one_layer_after_another(generator):
    first = Span.conv((6, 6), 3, padding=1, stride=1)
    second = Span.pool((6, 6), 2)
    both = second.compose(first)
    assert (both.num_in, both.num_out, both.num_weights) == (36, 9, 9)
    w1 = torch.randn(9, 2, 3, generator=generator, dtype=torch.float64)
    w2 = torch.randn(1, 3, 4, generator=generator, dtype=torch.float64)
    x = torch.randn(5, 36, 2, generator=generator, dtype=torch.float64)
    expected = second.apply(first.apply(x, w1), w2)
    assert_close(both.apply(x, Span.compose_weights(w1, w2)), expected, atol=1e-12, rtol=0)
    # associative, and the transpose turns it round
    third = Span.dense(9, 2)
    assert third.compose(both) == third.compose(second).compose(first)
    assert both.transpose().num_in == 9
    with pytest.raises(ValueError, match=r"36 outputs.*takes 9"):
        third.compose(first)


def test_circular_convolutions_commute_with_shifts_and_padded_ones_do_not():
    group = Cyclic(8)
    shifts = (group.V, group.V)
    assert Span.conv((8,), 3, padding=1, circular=True).is_equivariant(group, shifts)
    assert not Span.conv((8,), 3, padding=1).is_equivariant(group, shifts)
    plane = Cyclic(4) * Cyclic(5)
    V = outer(Cyclic(4).V, Cyclic(5).V)
    assert Span.conv((4, 5), 3, padding=1, circular=True).is_equivariant(plane, (V, V))
    assert not Span.conv((4, 5), 3, padding=1).is_equivariant(plane, (V, V))
    halved = np.roll(np.arange(4), -1)[None]  # a stride of 2 keeps shifts by 2
    two = np.roll(np.arange(8), -2)[None]
    assert Span.conv((8,), 3, stride=2, padding=1, circular=True).is_equivariant(Cyclic(4), (two, halved))
    assert Span.pool((8,), 2).is_equivariant(Cyclic(4), (two, halved))
    weighted = Span(2, 2, 1, [0, 1], [0, 1], [0, 0], [1.0, 2.0])
    assert not weighted.is_equivariant(Cyclic(2), (Cyclic(2).V, Cyclic(2).V))


def test_tying_by_a_reflection(generator):
    """The smallest number of weights made equal: a symmetric kernel, by the same route of computation."""
    mirror = np.arange(30).reshape(5, 6)[:, ::-1].reshape(1, -1)
    span = Span.conv((5, 6), 3, padding=1)
    tied = span.tied(Cyclic(2), (mirror, mirror))
    assert tied.num_weights == 6
    assert tied.is_equivariant(Cyclic(2), (mirror, mirror)) and not span.is_equivariant(Cyclic(2), (mirror, mirror))
    w = torch.randn(6, 2, 3, generator=generator)
    x = torch.randn(4, 30, 2, generator=generator)
    kernel = w[[0, 1, 0, 2, 3, 2, 4, 5, 4]]
    for part, given in ((tied, x), (tied.transpose().transpose(), x)):
        for _, y in every_route(part, given, w):
            assert_close(y, span.apply(x, kernel), atol=1e-5, rtol=0)
    assert_close(tied.apply(x[:, mirror[0].copy()], w), tied.apply(x, w)[:, mirror[0].copy()], atol=1e-5, rtol=0)
    shift = np.roll(np.arange(30).reshape(5, 6), 1, 1).reshape(1, -1)
    with pytest.raises(ValueError, match="does not join"):
        span.tied(Cyclic(6), (shift, shift))


def test_ragged_fibres_are_not_filled_up(generator):
    """One weight with many edges beside many with few: padding stays below a factor of two."""
    edges, types = torch.randint(50, (2, 400), generator=generator), torch.zeros(400, dtype=torch.int64)
    types[:40] = torch.arange(1, 41)
    types[40:43] = 41
    span = Span.graph(edges, 50, edge_type=types)
    assert all(cells.slots < 2 * 400 and len(cells.buckets) < 10 for cells in span._cells)
    x, w = torch.randn(2, 50, 3, generator=generator), torch.randn(42, 3, 2, generator=generator)
    expected = x.new_zeros(2, 50, 2).index_add(1, edges[1], torch.einsum("bei,eio->beo", x[:, edges[0]], w[types]))
    v = torch.randn(expected.shape, generator=generator)
    gw = torch.zeros_like(w).index_add(0, types, torch.einsum("bei,beo->eio", x[:, edges[0]], v[:, edges[1]]))
    for _, y in every_route(span, x, w):
        assert_close(y, expected, atol=1e-4, rtol=1e-4)
    for cells in span._cells:
        assert_close(cells.weight_gradient(x, v), gw, atol=1e-4, rtol=1e-4)


def test_the_route_that_moves_least_is_chosen():
    assert Span.dense(64, 64).route(1, 1).name == "dense"
    assert Span.conv((16, 16), 3, padding=1).route(16, 16).name == "convolution"
    path = torch.stack([torch.arange(999), torch.arange(1, 1000)])
    assert Span.graph(path, 1000).route(4, 4).name == "sum, then product"
    fan_out = Span.graph(torch.stack([torch.zeros(500, dtype=torch.int64), torch.arange(500)]), 1000)
    assert fan_out.route(8, 2).name == "product, then sum"


@pytest.mark.parametrize("batch", [(), (0,), (1,), (2, 3)])
def test_any_batch(batch, generator):
    for span in (Span.conv((4, 4), 3, padding=1), Span.dense(16, 3), Span.pool((4, 4), 2), Span(16, 2, 1, [], [], [])):
        x = torch.randn(*batch, 16, 2, generator=generator, dtype=torch.float64)
        w = torch.randn(span.num_weights, 2, 1, generator=generator, dtype=torch.float64)
        y = span.apply(x, w)
        assert y.shape == (*batch, span.num_out, 1) and y.dtype == torch.float64
        assert span.weight_gradient(x, y).shape == w.shape
        for _, other in every_route(span, x.reshape(-1, 16, 2), w):
            assert_close(other.reshape(y.shape), y, atol=1e-12, rtol=0)


def test_equality_is_of_values():
    assert Span.dense(2, 3) == Span.dense(2, 3) and hash(Span.dense(2, 3)) == hash(Span.dense(2, 3))
    assert Span.dense(2, 3) != Span.dense(3, 2) and Span.dense(2, 3).transpose().transpose() == Span.dense(2, 3)
    span = Span(2, 2, 1, torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([0, 0]), torch.ones(2))
    assert span.measure is None and repr(span) == "Span(2 -> 2, edges=2, weights=1)"
    with pytest.raises(ValueError):
        span.source[0] = 1


@pytest.mark.parametrize(
    "make, error, match",
    [
        (lambda: Span(2, 2, 1, [0, 2], [0, 1], [0, 0]), ValueError, "source has index 0 to 2.*0 to 1"),
        (lambda: Span(2, 2, 1, [0, 1], [0, -1], [0, 0]), ValueError, "target has index -1"),
        (lambda: Span(2, 2, 1, [0, 1], [0, 1], [0, 1]), ValueError, "weight has index 0 to 1"),
        (lambda: Span(2, 2, 1, [0, 1], [0], [0, 0]), ValueError, "lengths are.*'target': 1"),
        (lambda: Span(2, 2, 1, [0, 1], [0, 1], [0, 0], [1.0]), ValueError, "lengths are.*'measure': 1"),
        (lambda: Span(2, 2, 1, [0, 1], [0, 1], [0, 0], [1.0, np.nan]), ValueError, "finite"),
        (lambda: Span(2, 2, 1, [0.0, 1.0], [0, 1], [0, 0]), TypeError, "integers"),
        (lambda: Span(2, 2, 1, [[0, 1]], [0, 1], [0, 0]), ValueError, "one axis"),
        (lambda: Span(0, 2, 1, [], [], []), ValueError, "at least 1"),
        (lambda: Span.conv((4,), 5), ValueError, "does not fit"),
        (lambda: Span.conv((4, 4), (3,)), ValueError, "2 axes"),
        (lambda: Span.conv((4,), 3, stride=0), ValueError, "stride"),
        (lambda: Span.conv((4,), 3, groups=0), ValueError, "groups"),
        (lambda: Span.dense(100_000, 100_000), ValueError, "10000000000 edges, 224 GiB"),
        (lambda: Span.graph([0, 1], 2), ValueError, r"\[2, edges\]"),
        (lambda: Span.graph([[0, 1], [1, 3]], 3), ValueError, "target has index 1 to 3"),
        (lambda: Span.orbit(S(3).V, S(4).V), ValueError, r"S\(3\), rep_out to S\(4\)"),
        (lambda: Span.orbit(S(3).V, S(3).det), ValueError, "does not permute"),
        (lambda: Span.dense(3, 3).is_equivariant(S(3), (S(4).V, S(3).V)), ValueError, r"belongs to S\(4\)"),
        (lambda: Span.dense(3, 3).is_equivariant(S(3), (2 * S(3).V, S(3).V)), ValueError, "dimension 3"),
        (lambda: Span.dense(3, 3).is_equivariant(S(3), (S(3).V,)), ValueError, "got 1"),
        (lambda: Span(2, 2, 2, [0, 0], [1, 1], [0, 1]).tied(S(2), (S(2).V, S(2).V)), ValueError, "same points"),
        (lambda: Span.dense(3, 2).apply(torch.ones(4, 1), torch.ones(6, 1, 1)), ValueError, r"\[..., 3, 1\]"),
        (lambda: Span.dense(3, 2).apply(torch.ones(3, 1), torch.ones(5, 1, 1)), ValueError, r"\[6, c_in, c_out\]"),
    ],
)
def test_bad_input(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_tying_needs_one_measure():
    span = Span(2, 2, 2, [0, 1], [0, 1], [0, 1], [1.0, 2.0])
    with pytest.raises(ValueError, match="another measure"):
        span.tied(S(2), (S(2).V, S(2).V))
