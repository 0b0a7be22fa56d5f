"""The fused edge convolution: equal to the plain product, differentiable twice and more, equivariant, lean."""

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from intertwine import so3
from intertwine.groups import O
from intertwine.so3 import EdgeConv, Irreps, TensorProduct, edge_chunks, edge_vectors

EXACT = {"atol": 1e-12, "rtol": 0.0}
CASES = {
    "natural": ("4x0e + 4x1o + 4x2e", 2, "0e + 1o + 2e"),
    "both parities, unequal": ("3x0e + 2x1o + 2x1e + 1x0o", 2, "1o + 0e + 2o + 1e + 0o"),
    "SO(3)": ("8x0 + 8x1", 1, "0 + 1 + 2"),
    "repeated": ("2x1o + 3x1o", 1, "0e + 1e"),
    "part unread": ("2x3o + 1x0e + 2x2e", 1, "0e + 1o"),
    "scalars": ("2x0e", 0, "0e"),
    "vectors": ("2x1o + 3x0e + 2x1e", 1, "1e + 0o + 1o + 0e"),
}


class Case:
    """A convolution with a graph and numbers for it."""

    def __init__(self, name: str, nodes: int = 6, edges: int = 25, dtype: torch.dtype = torch.float64):
        self.generator = generator = torch.Generator().manual_seed(0)
        self.conv = EdgeConv(*CASES[name]).to(dtype)
        self.nodes, self.edges = nodes, edges
        self.src = torch.randint(nodes, (edges,), generator=generator)
        self.dst = torch.randint(nodes, (edges,), generator=generator)
        self.x = self.draw(nodes, self.conv.rep_in.dim)
        self.r = self.draw(edges, 3)
        self.Y = so3.spherical_harmonics(self.r, self.conv.lmax_edge).to(dtype)
        self.w = self.draw(edges, *self.conv.weight_shape)
        self.leaves = [t.clone().requires_grad_() for t in (self.x, self.Y, self.w)]

    def draw(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64).to(self.conv._entries.device)

    def fused(self, x, Y, w):
        return self.conv(x, Y, w, self.src, self.dst, self.nodes)

    def plain(self, x, Y, w):
        constants = *self.conv._table(Y), self.conv._entries, self.conv._entry_weights
        w = w.flatten(1)[:, torch.tensor(self.conv._plan.order, device=w.device)]
        return edge_chunks.plain(self.conv._plan, constants, x, Y, w, self.src, self.dst, self.nodes)


@pytest.fixture(params=CASES)
def case(request):
    return Case(request.param)


@pytest.fixture
def small_chunks(monkeypatch):
    """Seven edges at a time, so that every test sees several chunks and a shorter last one."""
    monkeypatch.setattr(edge_chunks, "CACHE_BYTES", 1)
    monkeypatch.setattr(edge_chunks, "LEAST_EDGES", 7)


def by_products(case: Case) -> torch.Tensor:
    """The same by TensorProduct and index_add, path by path."""
    conv = case.conv
    harmonics = Irreps.spherical(conv.lmax_edge, parity=-1 if conv.rep_in.blocks[0][0].p else None)
    out = Irreps([(conv.rep_in.terms[i][1], irrep) for i, _, irrep in conv.paths])
    product = TensorProduct(conv.rep_in, harmonics, out, [(i, l, k) for k, (i, l, _) in enumerate(conv.paths)])
    message = product.double()(case.x[case.src], case.Y, case.w.flatten(1))
    summed = torch.zeros(case.nodes, out.dim, dtype=torch.float64).index_add(0, case.dst, message)
    parts: dict = {}
    for (irrep, _), block in zip(out.blocks, out.split(summed)):
        parts.setdefault(irrep, []).append(block)
    return conv.rep_out.join([torch.cat(parts[irrep], -1) for irrep, _ in conv.rep_out.blocks])


def test_equal_to_the_plain_product_and_index_add(case, small_chunks):
    expected = by_products(case)
    assert_close(case.fused(case.x, case.Y, case.w), expected, **EXACT)
    assert_close(case.plain(case.x, case.Y, case.w), expected, **EXACT)


def test_first_and_second_derivatives_equal_the_plain_form(case, small_chunks):
    g, found = case.draw(case.nodes, case.conv.rep_out.dim).requires_grad_(), []
    directions = [case.draw(*t.shape) for t in case.leaves]
    for form in (case.fused, case.plain):
        first = torch.autograd.grad(form(*case.leaves), case.leaves, g, create_graph=True)
        total = sum((a * b).sum() for a, b in zip(first, directions))
        second = torch.autograd.grad(total, (g, *case.leaves), retain_graph=True)
        again = torch.autograd.grad(total, (g, *case.leaves), create_graph=True)  # by operations that go on
        third = torch.autograd.grad(sum(t.square().sum() for t in again), (g, *case.leaves))
        found.append([*first, *second, *again, *third])
    for ours, theirs in zip(*found):
        assert_close(ours, theirs, atol=1e-10, rtol=1e-12)


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
def test_derivatives_by_some_inputs_only(needed, small_chunks):
    case, found = Case("both parities, unequal"), []
    inputs = [t if i in needed else t.detach() for i, t in enumerate(case.leaves)]
    leaves = [inputs[i] for i in needed]
    for form in (case.fused, case.plain):
        y = form(*inputs)
        first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
        found.append([*first, *torch.autograd.grad(sum(t.square().sum() for t in first), leaves)])
    for ours, theirs in zip(*found):
        assert_close(ours, theirs, atol=1e-10, rtol=1e-12)


def test_second_derivatives_by_differences(small_chunks):
    case = Case("natural", nodes=3, edges=8)
    conv = EdgeConv("1x0e + 1x1o", 1, "0e + 1o").double()
    x, Y, w = case.draw(3, 4), case.draw(8, 4), case.draw(8, *conv.weight_shape)
    leaves = [t.requires_grad_() for t in (x, Y, w)]

    def f(x, Y, w):
        return conv(x, Y, w, case.src, case.dst, 3)

    assert torch.autograd.gradcheck(f, leaves)
    assert torch.autograd.gradgradcheck(f, leaves)


def energy(case: Case, r: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return case.fused(case.x, so3.spherical_harmonics(r, case.conv.lmax_edge), w).square().sum()


def test_training_on_forces_from_function_transforms(small_chunks):
    """torch.func.grad inside, backward outside, against autograd twice."""
    case, found = Case("natural"), []
    r, w = case.r.clone().requires_grad_(), case.leaves[2]
    forces = torch.func.grad(energy, 1)(case, r.detach(), w)
    found.append([forces, *torch.autograd.grad(forces.square().sum(), [w])])
    (forces,) = torch.autograd.grad(energy(case, r, w), r, create_graph=True)
    found.append([forces, *torch.autograd.grad(forces.square().sum(), [w])])
    for ours, theirs in zip(*found):
        assert_close(ours, theirs, atol=1e-10, rtol=1e-12)


def test_function_transforms_in_a_batch():
    case = Case("both parities, unequal")
    x, Y, w = (torch.stack([t, 2 * t - 1]) for t in (case.x, case.Y, case.w))
    assert_close(torch.vmap(case.fused)(x, Y, w), torch.stack([case.fused(*t) for t in zip(x, Y, w)]), **EXACT)
    pull = torch.func.grad(lambda Y, w: case.fused(case.x, Y, w).pow(3).sum(), (0, 1))
    for ours, theirs in zip(torch.vmap(pull)(Y, w), zip(*(pull(*t) for t in zip(Y, w)))):
        assert_close(ours, torch.stack(theirs), atol=1e-10, rtol=1e-12)


def test_equivariance_of_value_and_gradient(case):
    conv = case.conv
    cotangent = case.draw(case.nodes, conv.rep_out.dim)

    def run(x, r, cotangent):
        x, r, w = (t.clone().requires_grad_() for t in (x, r, case.w))
        Y = so3.spherical_harmonics(r, conv.lmax_edge)
        y = conv(x, Y, w, case.src, case.dst, case.nodes)
        return y, *torch.autograd.grad(y, (x, r, w), cotangent, materialize_grads=True, allow_unused=True)

    y, gx, gr, gw = run(case.x, case.r, cotangent)
    elements = so3.random_rotation(3, generator=case.generator)
    if conv.rep_in.group == O(3):
        elements = torch.cat([elements, -elements])
    for R in elements:
        moved = run(conv.rep_in.act(R, case.x), case.r @ R.mT, conv.rep_out.act(R, cotangent))
        expected = conv.rep_out.act(R, y), conv.rep_in.act(R, gx), gr @ R.mT, gw
        for ours, theirs in zip(moved, expected):
            assert_close(ours, theirs, atol=1e-10, rtol=0.0)


def test_single_precision_is_close_and_half_is_finite():
    case = Case("natural", edges=200)
    exact = case.fused(case.x, case.Y, case.w)
    single = case.fused(case.x.float(), case.Y.float(), case.w.float())
    assert single.dtype == torch.float32
    assert (single - exact).abs().max() < 1e-5 * exact.abs().max()
    half = [t.bfloat16().requires_grad_() for t in (case.x, case.Y, case.w)]
    y = case.fused(*half)
    assert y.dtype == torch.bfloat16
    assert all(torch.isfinite(g).all() for g in (y, *torch.autograd.grad(y.sum(), half)))


def test_casting_the_module_loses_no_digits():
    case = Case("natural")
    expected = case.fused(case.x, case.Y, case.w)
    case.conv.float()
    assert torch.equal(case.fused(case.x, case.Y, case.w), expected)
    assert not case.conv.state_dict()


def test_no_edges_and_isolated_nodes(case):
    leaves = [case.leaves[0], *(t.detach()[:0].requires_grad_() for t in case.leaves[1:])]
    none = torch.zeros(0, dtype=torch.int64)
    y = case.conv(*leaves, none, none, 4)
    assert y.shape == (4, case.conv.rep_out.dim)
    assert not y.any()
    first = torch.autograd.grad(y.sum(), leaves, create_graph=True)
    assert [g.shape for g in first] == [t.shape for t in leaves]
    assert all(
        g is None or g.shape == t.shape  # None: in ordinary operations, where nothing depends on that input any more
        for g, t in zip(torch.autograd.grad(first[0].sum(), leaves, allow_unused=True), leaves)
    )


def test_receivers_default_to_the_nodes_and_features_may_be_unflattened():
    case = Case("natural")
    expected = case.fused(case.x, case.Y, case.w)
    assert torch.equal(case.conv(case.x, case.Y, case.w, case.src, case.dst), expected)
    assert torch.equal(case.conv(case.x.unflatten(1, (9, 4)), case.Y, case.w, case.src, case.dst), expected)


def test_order_of_edges_does_not_matter():
    case = Case("natural")
    order = torch.randperm(case.edges, generator=case.generator)
    shuffled = case.conv(case.x, case.Y[order], case.w[order], case.src[order], case.dst[order], case.nodes)
    assert_close(shuffled, case.fused(case.x, case.Y, case.w), **EXACT)


@pytest.mark.parametrize("name", ["natural", "both parities, unequal"])
def test_one_weight_for_all_edges(name):
    case = Case(name)
    shared = EdgeConv(*CASES[name], weights_per_edge=False).double()
    w = case.w[0].clone().requires_grad_()
    every = w.expand(case.edges, *w.shape)
    ours, theirs = shared(case.x, case.Y, w, case.src, case.dst, case.nodes), case.fused(case.x, case.Y, every)
    assert_close(ours, theirs, **EXACT)
    assert_close(*(torch.autograd.grad(y.square().sum(), w)[0] for y in (ours, theirs)), atol=1e-10, rtol=1e-12)


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.untyped_storage().nbytes() // tensor.element_size())
        return out


def test_messages_of_all_edges_never_exist_at_once():
    case = Case("natural", nodes=20, edges=10_000)
    inputs = case.edges * case.conv.weight_shape[0] * 4  # one weight gradient
    messages = case.edges * case.conv.rep_out.dim
    assert messages > 3 * inputs
    for form, lean in ((case.fused, True), (case.plain, False)):
        with Largest() as largest:
            first = torch.autograd.grad(form(*case.leaves).sum(), case.leaves, create_graph=True)
            torch.autograd.grad(sum(g.square().sum() for g in first), case.leaves)
        assert (largest.numel <= inputs) == lean


def test_errors_name_both_shapes():
    case = Case("natural")
    with pytest.raises(ValueError, match="has dimension 36, the data has trailing dimension 35"):
        case.fused(case.x[:, :35], case.Y, case.w)
    with pytest.raises(ValueError, match="Y has 4 harmonics, lmax_edge=2 needs 9"):
        case.fused(case.x, case.Y[:, :4], case.w)
    with pytest.raises(ValueError, match=r"w has shape \(25, 44\), expected \(25, 11, 4\)"):
        case.fused(case.x, case.Y, case.w.flatten(1))


class Model(torch.nn.Module):
    """Energy and forces, the gradient inside."""

    def __init__(self, generator):
        super().__init__()
        self.conv = EdgeConv("2x0e + 2x1o", 1, "0e + 1o")
        self.weight = torch.nn.Parameter(torch.randn(1, 8, generator=generator, dtype=torch.float64))
        self.x = torch.nn.Parameter(torch.randn(8, generator=generator, dtype=torch.float64))

    def energy(self, pos, src, dst):
        r = pos[src] - pos[dst]
        w = (torch.exp(-(r * r).sum(-1, keepdim=True)) @ self.weight).unflatten(1, self.conv.weight_shape)
        x = self.x.expand(pos.shape[0], 8)
        return self.conv(x, so3.spherical_harmonics(r, 1), w, src, dst, pos.shape[0]).square().sum()

    def forward(self, pos, src, dst):
        return torch.func.grad_and_value(self.energy)(pos, src, dst)


def test_compiles_whole_at_any_size_and_trains_on_forces(generator):
    model = Model(generator)
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")  # all but the C++ compiler
    for nodes, edges in [(5, 20), (7, 33), (4, 9)]:
        pos = torch.randn(nodes, 3, generator=generator, dtype=torch.float64)
        src, dst = torch.randint(nodes, (2, edges), generator=generator)
        dst = torch.where(src == dst, (dst + 1) % nodes, dst)
        found = []
        for form in (model, compiled):
            forces, energy = form(pos, src, dst)
            found.append([forces, energy, *torch.autograd.grad(energy + forces.square().sum(), model.parameters())])
        for ours, theirs in zip(*found):
            assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.slow
def test_compiles_to_machine_code(generator):
    model = Model(generator)
    compiled = torch.compile(model.energy, fullgraph=True, dynamic=True)
    for nodes, edges in [(5, 20), (7, 33)]:
        pos = torch.randn(nodes, 3, generator=generator, dtype=torch.float64)
        src, dst = torch.randint(nodes, (2, edges), generator=generator)
        with torch.no_grad():
            assert_close(compiled(pos, src, dst), model.energy(pos, src, dst), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", ["natural", "both parities, unequal", "part unread"])
def test_what_small_graphs_keep_changes_nothing(name, monkeypatch):
    """Nor does a second pass over the same graph, when what was kept is used up."""
    case, found = Case(name), []
    for most in (edge_chunks.KEPT_BYTES, 0):
        monkeypatch.setattr(edge_chunks, "KEPT_BYTES", most)
        table = case.conv._table(case.Y)[0]
        assert edge_chunks.keeps(case.conv._plan, table, case.edges) == (most > 0)
        for retain in (False, True):
            out = case.fused(*case.leaves)
            for _ in range(1 + retain):
                found.append(torch.autograd.grad(out.square().sum(), case.leaves, retain_graph=retain))
    for other in found[1:]:
        for ours, theirs in zip(found[0], other):
            assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize("name", ["vectors", "repeated", "scalars"])
def test_degrees_below_two_need_no_chunks_on_small_graphs(name, monkeypatch):
    """Both ways give the same, and a large graph takes the other one."""
    case = Case(name)
    found = []
    for most in (edge_vectors._BYTES, 1):
        monkeypatch.setattr(edge_vectors, "_BYTES", most)
        assert edge_vectors.by_vectors(case.conv._plan, case.Y) == (most > 1)
        out = case.fused(*case.leaves)
        found.append([out, *torch.autograd.grad(out.square().sum(), case.leaves)])
    for ours, theirs in zip(*found):
        assert_close(ours, theirs, **EXACT)
