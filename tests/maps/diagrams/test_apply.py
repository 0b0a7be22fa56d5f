"""The fused layer against its dense matrix and one diagram at a time; derivatives, transforms, dtypes, memory."""

import itertools
import weakref
from dataclasses import replace

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from conftest import TOL
from intertwine import maps, nn
from intertwine.audit import assert_equivariant
from intertwine.groups import GL, SL, SO, A, GLPlus, Lorentz, O, S, Sp, U
from intertwine.maps.diagrams import DiagramKernel, apply_one, identity

GROUPS = [S(1), S(2), S(3), S(4), S(5), A(2), A(3), A(4), A(5), O(1), O(2), O(3), O(5), SO(1), SO(2), SO(3), SO(4)]
GROUPS += [Sp(2), Sp(4), Lorentz(1, 2), Lorentz(1, 3, "restricted"), Lorentz(2, 1, "proper")]
GROUPS += [GL(2), SL(1), SL(2), SL(3), U(1), U(2)]
float64 = torch.float64


def draw(space, generator, batch=(3,), dtype=float64):
    """Features and a weight, with gradients."""
    x = space.rep_in.randn(*batch, generator=generator, dtype=dtype).requires_grad_()
    w = torch.randn(space.dim, generator=generator, dtype=dtype).requires_grad_()
    return x, w


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_equals_the_dense_matrix(group, generator):
    """All k, l <= 3, forward and gradient, with unequal channels and three samples."""
    V = group.V
    for k, l in itertools.product(range(4), repeat=2):
        space = maps.between(2 * V**k, 3 * V**l, allow_zero=True)
        if space.dim == 0 or space.rep_in.dim * space.rep_out.dim * space.dim > 2e7:
            continue
        assert isinstance(space.blocks[0].kernel, DiagramKernel) or (k, l) == (0, 0)
        x, w = draw(space, generator)
        y, expected = space.apply(x, w), x @ space.matrix(w).T
        scale = max(1.0, float(expected.detach().abs().max()))
        assert torch.allclose(y, expected, rtol=0, atol=1e-12 * scale), (k, l)
        v = torch.randn(y.shape, generator=generator, dtype=float64)
        ours, theirs = (torch.autograd.grad(out, (x, w), v) for out in (y, expected))
        for a, b in zip(ours, theirs):
            assert torch.allclose(a, b, rtol=1e-10, atol=1e-11 * scale), (k, l)


@pytest.mark.parametrize(("k", "l"), [(1, 1), (0, 2), (2, 0), (1, 3), (2, 2)])
@pytest.mark.parametrize("group", [U(1), U(2)], ids=str)
def test_complex_structures_are_turned_on_either_side(group, k, l, generator, monkeypatch):
    """Small bases are applied as matrices; here they are not."""
    monkeypatch.setattr("intertwine.maps.diagrams.kernel.FEW_ENTRIES", 0)
    space = maps.between(2 * group.V**k, 3 * group.V**l)
    assert type(space.blocks[0].kernel.plan(2, 3)).__name__ == "Turned"
    x, w = draw(space, generator)
    assert torch.allclose(space.apply(x, w), x @ space.matrix(w).T, atol=1e-12)
    back, y = space.transpose, space.rep_out.randn(4, generator=generator, dtype=float64)
    assert torch.allclose(back.apply(y, space.transpose_weight(w)), y @ space.matrix(w), atol=1e-12)
    v = torch.randn(3, space.rep_out.dim, generator=generator, dtype=float64)
    ours = torch.autograd.grad(space.apply(x, w), (x, w), v)
    theirs = torch.autograd.grad(x @ space.matrix(w).T, (x, w), v)
    assert all(torch.allclose(a, b, atol=1e-11) for a, b in zip(ours, theirs))
    g = group.sample(3, generator=generator)
    moved = space.apply(space.rep_in.act(g, x), w)
    assert torch.allclose(moved, space.rep_out.act(g, space.apply(x, w)), atol=TOL[float64])


@pytest.mark.parametrize(
    "group", [S(3), A(3), O(3), SO(3), Sp(4), Lorentz(1, 2, "restricted"), GLPlus(2), SL(2)], ids=str
)
def test_mixed_terms_are_one_layer(group, generator):
    """Terms of several orders, repeated, dual and with det: one plan, equal to the matrix."""
    V = group.V
    odd = 1 * V if isinstance(group, GLPlus) else V * group.det
    rep_in = 2 * V * V.dual + 3 * V + group.trivial + odd + V
    rep_out = 2 * V.dual + 2 * V**2 + 2 * group.trivial + V
    space = maps.between(rep_in, rep_out)
    assert space.is_one_layer
    x, w = draw(space, generator, (2, 2))
    assert torch.allclose(space.apply(x, w), x @ space.matrix(w).T, atol=1e-11)
    turned = space.transpose
    y = rep_out.dual.randn(5, generator=generator, dtype=float64)
    assert torch.allclose(turned.apply(y, space.transpose_weight(w)), y @ space.matrix(w), atol=1e-11)


@pytest.mark.parametrize("group", [S(2), S(4), A(3), A(4), O(3), SO(2), SO(3), Sp(4), Lorentz(1, 2, "proper")], ids=str)
def test_equals_the_sum_over_single_diagrams(group, generator):
    V = group.V
    for k, l in [(0, 2), (2, 0), (1, 2), (2, 2), (3, 1), (2, 3)]:
        space = maps.between(V**k, V**l, allow_zero=True)
        if space.dim == 0:
            continue
        x, w = draw(space, generator)
        one_by_one = sum(
            c * apply_one(d, group, x[..., None])[..., 0] for c, d in zip(w, space.blocks[0].kernel.diagrams)
        )
        assert torch.allclose(space.apply(x, w), one_by_one, atol=1e-11)


def test_one_diagram_takes_tensors_of_its_order():
    with pytest.raises(ValueError, match=r"takes 3\^2 components"):
        apply_one(identity(2), S(3), torch.zeros(1, 8, 1))


@pytest.mark.parametrize("group", [S(4), A(4), O(3), SO(3), Sp(4), Lorentz(1, 3), GL(2), SL(2), SL(3), U(2)], ids=str)
def test_layer_is_equivariant(group, generator):
    V = group.V
    rep = 2 * V**2 + 3 * V + 2 * group.trivial
    layer = nn.Linear(rep, rep, generator=generator).double()
    assert_equivariant(layer, elements=6, atol=TOL[float64], generator=generator)


@pytest.mark.parametrize("group", [S(20), O(6), Sp(6)], ids=str)
def test_contractions_by_moves_and_by_matrices_agree(group, generator, monkeypatch):
    """Small terms are contracted by constant matrices, large ones by strided sums."""
    from intertwine.maps.diagrams import small
    from intertwine.maps.diagrams.lattice import Lattice

    V = group.V
    made = []
    for limit in (0, 10**9):
        monkeypatch.setattr(small, "MAX_COMPONENTS", limit)
        monkeypatch.setattr(small, "MAX_ENTRIES", limit)
        made.append(maps.between(2 * V**2 + V, V**2 + 2 * group.trivial))
    moves, matrices = made
    assert isinstance(moves._diagrams.plan.layout.ins[0], Lattice)
    assert isinstance(matrices._diagrams.plan.layout.ins[0], small.Small)
    x, w = draw(moves, generator)
    found = [space.apply(x, w) for space in made]
    assert torch.allclose(*found, atol=1e-11)
    v = torch.randn(found[0].shape, generator=generator, dtype=float64)
    for a, b in zip(*(torch.autograd.grad(y, (x, w), v) for y in found)):
        assert torch.allclose(a, b, atol=1e-10)


@pytest.mark.parametrize("limit", [1, None])
@pytest.mark.parametrize(("c_in", "c_out"), [(1, 4), (4, 1), (2, 2)])
@pytest.mark.parametrize("group", [S(12), O(6)], ids=str)
def test_bijections_on_either_side_and_one_at_a_time(group, c_in, c_out, limit, generator):
    space = maps.between(c_in * group.V**2, c_out * group.V**2)
    plan = space._diagrams.plan
    plan.products = tuple(replace(product, max_stack_bytes=limit) for product in plan.products)
    x, w = draw(space, generator)
    y, expected = space.apply(x, w), x @ space.matrix(w).T
    assert torch.allclose(y, expected, atol=1e-10)
    v = torch.randn(y.shape, generator=generator, dtype=float64)
    for a, b in zip(*(torch.autograd.grad(out, (x, w), v) for out in (y, expected))):
        assert torch.allclose(a, b, atol=1e-10)


# --- derivatives and transforms


FORWARD_MODE = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own


@FORWARD_MODE
@pytest.mark.parametrize("group", [S(2), A(3), SO(3), Sp(2), SL(3), U(1)], ids=str)
def test_derivatives_of_first_and_second_order(group, generator):
    V = group.V
    space = maps.between(V**2 + 2 * V + group.trivial, 2 * V + V**2)
    x, w = draw(space, generator, (2,))
    assert gradcheck(space.apply, (x, w), check_forward_ad=True)
    assert gradgradcheck(space.apply, (x, w))


def test_only_what_is_needed_is_differentiated(generator):
    space = maps.between(2 * S(3).V ** 2, S(3).V)
    x, w = draw(space, generator)
    y = space.apply(x, w)
    full = torch.autograd.grad(y.sum(), (x, w))
    assert torch.equal(torch.autograd.grad(space.apply(x, w.detach()).sum(), x)[0], full[0])
    assert torch.equal(torch.autograd.grad(space.apply(x.detach(), w).sum(), w)[0], full[1])
    (g,) = torch.autograd.grad(space.apply(x, w.detach()).pow(2).sum(), x, create_graph=True)
    assert g.requires_grad


@FORWARD_MODE
def test_function_transforms(generator):
    """vmap over features, weights or both; gradients per sample; Hessians and Jacobians."""
    space = maps.between(2 * S(3).V ** 2 + S(3).V, S(3).V + S(3).trivial)
    x, w = (t.detach() for t in draw(space, generator, (4,)))
    ws = torch.randn(4, space.dim, generator=generator, dtype=float64)
    rows = torch.stack([space.apply(a, b) for a, b in zip(x, ws)])
    assert torch.allclose(torch.func.vmap(space.apply)(x, ws), rows)
    assert torch.allclose(torch.func.vmap(space.apply, (0, None))(x, w), space.apply(x, w))
    rows = torch.stack([space.apply(x[0], b) for b in ws])
    assert torch.allclose(torch.func.vmap(space.apply, (None, 0))(x[0], ws), rows)

    def loss(w, x):
        return space.apply(x, w).square().sum()

    per_sample = torch.func.vmap(torch.func.grad(loss), (None, 0))(w, x)
    for one, row in zip(x, per_sample):
        assert torch.allclose(torch.func.grad(loss)(w, one), row)
    M = space.matrix(w)
    assert torch.allclose(torch.func.jacrev(space.apply)(x[0], w), M)
    assert torch.allclose(torch.func.jacfwd(space.apply)(x[0], w), M)
    assert torch.allclose(torch.func.hessian(loss, 1)(w, x[0]), 2 * M.T @ M)
    assert torch.allclose(torch.func.jvp(lambda x: space.apply(x, w), (x,), (2 * x,))[1], 2 * space.apply(x, w))
    assert torch.allclose(torch.func.jvp(lambda w: space.apply(x, w), (w,), (3 * w,))[1], 3 * space.apply(x, w))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch._prims_common.check` is deprecated:FutureWarning")  # torch's own diagonal()
def test_compiles_whole(generator):
    """One graph for two batch sizes, diagonals and permutations included, and its gradient."""
    V = S(12).V
    layer = nn.Linear(2 * V**2, 2 * V**2, generator=generator).double()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True)
    for batch in (2, 5):
        x = layer.rep_in.randn(batch, generator=generator, dtype=float64).requires_grad_()
        results = []
        for run in (layer, compiled):
            y = run(x)
            results.append((y, *torch.autograd.grad(y.square().sum(), (x, layer.weight, layer.bias))))
        for a, b in zip(*results):
            assert torch.allclose(a, b, atol=1e-9)


# --- dtypes and sizes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_adds_in_single_precision(dtype):
    """The sum of 4096 ones: adding in bfloat16 stops at 256, in float16 at 2048."""
    V = S(4096).V
    total = maps.between(V, V**0)
    y = total.apply(torch.ones(2, 4096, dtype=dtype), torch.ones(1, dtype=dtype))
    assert y.dtype == dtype
    assert torch.equal(y.float(), torch.full((2, 1), 4096.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dtypes_follow_the_input(dtype, device, generator):
    V = S(12).V
    layer = nn.Linear(4 * V**2 + 4 * V, 4 * V**2, generator=generator).double()
    x = layer.rep_in.randn(3, generator=generator)
    exact = layer(x.double())
    layer = layer.to(device, dtype)
    y = layer(x.to(device, dtype).requires_grad_())
    assert (y.dtype, y.device.type) == (dtype, device)
    assert (y.cpu().double() - exact).abs().max() < 8 * TOL[dtype]
    y.square().sum().backward()
    assert layer.weight.grad.dtype == dtype


def test_autocast(generator):
    V = S(8).V
    layer = nn.Linear(4 * V**2, 4 * V**2, generator=generator)
    x = layer.rep_in.randn(2, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    assert (y.float() - layer(x)).abs().max() < 0.2
    y.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("group", [S(1), S(3), S(12), O(3), O(6), A(4)], ids=str)
def test_empty_batches_and_no_batch(group, generator):
    V = group.V
    for k, l in [(0, 2), (2, 0), (2, 2), (3, 3)] if group.dim_V < 5 else [(0, 2), (2, 0), (2, 2)]:
        space = maps.between(2 * V**k, 2 * V**l)
        x, w = draw(space, generator, (0,))
        y = space.apply(x, w)
        assert y.shape == (0, space.rep_out.dim)
        for grad, like in zip(torch.autograd.grad(y.sum(), (x, w)), (x, w)):
            assert grad.shape == like.shape
            assert not grad.any()
        x, w = draw(space, generator, ())
        assert torch.allclose(space.apply(x, w), space.matrix(w) @ x, atol=1e-10)
        x, w = draw(space, generator, (2, 3))
        assert torch.allclose(space.apply(x, w), x @ space.matrix(w).T, atol=1e-10)


# --- work and memory


class Meter(TorchDispatchMode):
    """Counts matrix products, and the bytes of storages that are alive."""

    def __init__(self):
        super().__init__()
        self.alive: dict[int, int] = {}
        self.now = self.peak = self.largest = self.products = 0

    def __torch_dispatch__(self, f, types, args=(), kwargs=None):
        self.products += f in (torch.ops.aten.mm.default, torch.ops.aten.addmm_.default)
        out = f(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and (storage := tensor.untyped_storage())._cdata not in self.alive:
                self.alive[storage._cdata] = storage.nbytes()
                self.now += storage.nbytes()
                self.peak, self.largest = max(self.peak, self.now), max(self.largest, storage.nbytes())
                weakref.finalize(storage, self._free, storage._cdata)
        return out

    def _free(self, key: int) -> None:
        self.now -= self.alive.pop(key, 0)


@pytest.mark.parametrize(
    ("group", "k", "l", "products"),
    [
        *[(S(6), 2, 2, 3), (S(6), 3, 2, 3), (S(6), 1, 3, 2), (S(6), 0, 2, 1)],
        *[(O(4), 3, 3, 2), (O(4), 2, 4, 2), (Sp(4), 2, 2, 2)],
    ],
)
def test_one_product_for_each_number_of_through_blocks(group, k, l, products, generator):
    space = maps.between(2 * group.V**k, 2 * group.V**l)
    x, w = draw(space, generator)
    with torch.no_grad(), Meter() as meter:
        space.apply(x, w)
    assert meter.products == products
    rep = group.V**2 + 2 * group.V + 3 * group.trivial
    space = maps.between(rep, rep)
    x, w = draw(space, generator)
    with torch.no_grad(), Meter() as meter:
        space.apply(x, w)
    assert meter.products == 3  # the whole layer, not each pair of terms


def test_no_tensor_of_all_indices(generator):
    """n = 64, k = l = 2, c = 8: nothing with n⁴ entries, nothing above twice the input."""
    space = maps.between(8 * S(64).V ** 2, 8 * S(64).V ** 2)
    x, w = draw(space, generator, (1,), torch.float32)
    with Meter() as meter:
        space.apply(x, w).sum().backward()
    assert meter.largest <= 2 * x.nbytes < 64**4


def test_memory_of_a_large_graph(generator):
    """n = 200, order 2 to 2, 16 channels, batch 1: input, output and gradients included, under 6 times the input."""
    layer = nn.Linear(16 * S(200).V ** 2, 16 * S(200).V ** 2, generator=generator)
    x = layer.rep_in.randn(1, generator=generator).requires_grad_()
    with Meter() as meter:
        layer(x).square().sum().backward()
    assert meter.peak < 6 * x.nbytes
    with Meter() as meter, torch.no_grad():
        layer(x)
    assert meter.peak < 4 * x.nbytes


@pytest.mark.parametrize(("group", "order"), [(S(30), 2), (S(16), 3), (O(30), 2), (O(12), 3), (Sp(20), 2)], ids=str)
def test_peak_memory_forward(group, order, generator):
    """Beyond input and output: three times these and the stacked contractions at most."""
    c = 4
    space = maps.between(c * group.V**order, c * group.V**order)
    x, w = (t.detach() for t in draw(space, generator, (1,), torch.float32))
    stacks = sum(
        group.dim_V**meeting.axes * sum(slots * c for _, slots in meeting.ins) * x.element_size()
        for meeting in space._diagrams.plan.meetings
    )
    space.apply(x, w)
    with Meter() as meter:
        y = space.apply(x, w)
    assert meter.peak <= 3 * (x.nbytes + y.nbytes + stacks)
    if order == 2:
        assert meter.largest < group.dim_V**4 * x.element_size()


@pytest.mark.parametrize(("group", "order"), [(S, 2), (S, 3), (O, 2), (O, 3), (Sp, 2)])
def test_operations_grow_with_the_size_of_a_tensor(group, order):
    """n^order, not n^(2 order): from n = 24 to 48 at most 5% above 2^order; below it while smaller products count."""
    small, large = (maps.between(group(n).V ** order, group(n).V ** order).flops() for n in (24, 48))
    assert 0.75 * 2**order < large / small < 1.05 * 2**order


def test_operations_are_counted():
    """2 → 2 of S(n): the products, then sums and broadcasts of n² entries each."""
    n, c = 30, 16
    space = maps.between(c * S(n).V ** 2, c * S(n).V ** 2)
    products = 2 * (n * n * 2 * c * c + n * 9 * c * c + 4 * c * c)
    assert products < space.flops() < products + 8 * n * n * c
    assert space.flops(3) == 3 * space.flops()


# --- bases


def test_other_bases_make_the_same_functions(generator):
    V = S(3).V
    names = ("independent", "spanning", "orbit", "orthonormal")
    spaces = [maps.between(2 * V**2, V**2, basis=name) for name in names]
    assert [space.blocks[0].N for space in spaces] == [14, 15, 14, 14]
    weight = torch.randn(spaces[0].dim, generator=generator, dtype=float64)
    M = spaces[0].matrix(weight)
    x = spaces[0].rep_in.randn(4, generator=generator, dtype=float64)
    for space in spaces:
        assert torch.allclose(space.matrix(space.project(M)), M, atol=1e-10)
        assert torch.allclose(space.apply(x, space.project(M)), x @ M.T, atol=1e-10)
    assert torch.allclose(spaces[0].project(M), weight, atol=1e-10)
    orbit = spaces[2].transpose
    y = orbit.rep_in.randn(2, generator=generator, dtype=float64)
    w = torch.randn(orbit.dim, generator=generator, dtype=float64)
    assert torch.allclose(orbit.apply(y, w), y @ orbit.matrix(w).T, atol=1e-10)
    assert "summed to orbits" in spaces[2].explain()
    assert spaces[2].blocks[0].labels[0].startswith("orbit partition")
    with pytest.raises(ValueError, match="permutation group"):
        maps.between(O(3).V, O(3).V, basis="orbit")


def test_explain_tells_what_was_reduced():
    assert "brauer and brauer+free diagrams, 9 reduced to a basis" in maps.between(SO(2).V ** 2, SO(2).V ** 2).explain()
    assert maps.between(S(3).V ** 2, S(3).V ** 2).explain().count("by partition diagrams") == 1
    assert maps.between(A(4).V ** 2, A(4).V).blocks[0].route == "partition and jellyfish diagrams"


@pytest.mark.parametrize("group", [S(10), O(3), SO(3), Sp(4)], ids=str)
def test_initial_variance(group, generator):
    rep = 64 * (group.V**2 + group.V)
    layer = nn.Linear(rep, rep, generator=generator)
    y = layer(rep.randn(2000, generator=generator))
    for block in rep.split(y):
        assert 0.9 < block.var() < 1.1
