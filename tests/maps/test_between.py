"""A Map is what it says: all commuting matrices, applied as its matrix would be, block by block."""

import numpy as np
import pytest
import torch

from conftest import TOL
from intertwine import maps
from intertwine.groups import SE, SL, SO, A, Cyclic, Dihedral, E, GLPlus, Lorentz, O, S, Sp, Trivial
from intertwine.maps import routes, sharing
from intertwine.maps.constants import tensors
from intertwine.maps.dense import DenseKernel
from intertwine.reps import Product, Rep, pull

GROUPS = [
    *(S(1), S(4), A(4), Cyclic(4), Dihedral(3), Trivial(2), O(1), O(2), O(3), SO(2), SO(3)),
    *(Sp(2), Sp(4), SL(2), GLPlus(2), Lorentz(1, 2), Lorentz(1, 3, "restricted"), SE(2), E(2), SE(3)),
]


def mixed(group) -> tuple[Rep, Rep]:
    """Terms of several orders, repeated, with multiplicities, in another order on the other side."""
    V, one = group.V, group.trivial
    return 2 * V + V * V.dual + 3 * one + V, one + V * V.dual + 2 * V + group.det + 2 * (V * V.dual)


PRODUCTS = [
    (lambda G: (2 * G.V + G.V**2, G.trivial + 3 * G.V), S(3) * SO(3)),
    (lambda G: (pull(G, 0, G.factors[0].V) + pull(G, 1, G.factors[1].V), G.V + G.trivial), S(3) * S(2)),
    (lambda G: (G.V * G.V.dual, 2 * G.V * G.V.dual), Cyclic(3) * GLPlus(2)),
    (lambda G: (G.V * pull(G, 2, SO(2).V ** 2), G.V), Dihedral(3) * O(2) * SO(2)),
]
SPACES = [*(mixed(group) for group in GROUPS), *(make(group) for make, group in PRODUCTS)]
SPACES += [(S(4).V ** 3 + S(4).V, S(4).V ** 2), (S(5).V, 2 * S(5).V ** 3), (S(3).regular + S(3).V, S(3).regular)]
SPACES += [
    (2 * SO(2).irrep(1) + SO(2).irrep(2), SO(2).irrep(2) + 3 * SO(2).irrep(1)),
    (Cyclic(6).irrep(1) + Cyclic(6).V, Cyclic(6).V + 2 * Cyclic(6).irrep(3) + Cyclic(6).irrep(1)),
]


def name(space):
    return f"{space[0]!r}->{space[1]}".replace(" ", "")


@pytest.fixture(params=SPACES, ids=name)
def space(request):
    return maps.between(*request.param, allow_zero=True)


def draw(space, generator):
    weight = torch.randn(space.dim, generator=generator, dtype=torch.float64)
    return weight, space.rep_in.randn(5, generator=generator, dtype=torch.float64)


def test_apply_is_the_matrix(space, generator):
    weight, x = draw(space, generator)
    M = space.matrix(weight)
    assert (space.apply(x, weight) - x @ M.T).abs().max() < 1e-12 * max(1, M.abs().max()) * space.rep_in.dim
    assert space.apply(x[0], weight).shape == (space.rep_out.dim,)
    assert torch.allclose(space.apply(x.expand(2, 3, 5, -1), weight)[1, 2], space.apply(x, weight), atol=1e-12)


def test_apply_commutes_with_the_group(space, generator):
    weight, x = draw(space, generator)
    group = space.rep_in.group
    discrete = group.generators()
    for g in (group.sample(5, generator=generator), discrete):
        for k in range(group.batch_shape(g)[0]):
            h = group.take(g, k)
            moved = space.rep_out.act(h, space.apply(x, weight))
            error = (space.apply(space.rep_in.act(h, x), weight) - moved).abs().max()
            assert error < TOL[torch.float64] * max(1, moved.abs().max())


def test_gradients_commute_with_the_group(space, generator):
    """The vector-Jacobian product carries cotangents of rep_out, which move by the dual, to those of rep_in."""
    weight, x = draw(space, generator)
    v = space.rep_out.randn(5, generator=generator, dtype=torch.float64)
    group = space.rep_in.group
    g = group.sample(5, generator=generator)

    def pulled(x, v):
        x, w = x.clone().requires_grad_(), weight.clone().requires_grad_()
        return torch.autograd.grad((space.apply(x, w) * v).sum(), (x, w))

    here, weights_here = pulled(x, v)
    there, weights_there = pulled(space.rep_in.act(g, x), space.rep_out.dual.act(g, v))
    moved = space.rep_in.dual.act(g, here)
    assert (there - moved).abs().max() < TOL[torch.float64] * max(1, moved.abs().max())
    if space.dim:
        assert (weights_there - weights_here).abs().max() < TOL[torch.float64] * max(1, weights_here.abs().max())


def test_project_inverts_matrix(space, generator):
    weight, _ = draw(space, generator)
    assert torch.allclose(space.project(space.matrix(weight)), weight, atol=1e-10)


def test_projection_of_any_matrix_is_the_nearest_commuting_one(generator):
    V = SO(3).V
    space = maps.between(2 * V**2 + V, V**2 + V)
    M = torch.randn(12, 21, generator=generator, dtype=torch.float64)
    rest = M - space.matrix(space.project(M))
    assert torch.einsum("nij,ij->n", space.basis(), rest).abs().max() < 1e-12


def test_basis_is_independent_and_orthonormal_on_request(space):
    once = [Rep(rep.group, [(W, 1) for W, _ in rep.terms]) for rep in (space.rep_in, space.rep_out)]
    space = maps.between(*once)  # without multiplicities, to keep it small
    B = space.basis()
    assert B.shape == (space.dim, space.rep_out.dim, space.rep_in.dim)
    Q = space.basis(orthonormal=True).flatten(1)
    assert torch.allclose(Q @ Q.T, torch.eye(space.dim, dtype=torch.float64), atol=1e-10)
    B = B.flatten(1)
    assert torch.allclose(B @ Q.T @ Q, B, atol=1e-10)  # the same space


def test_transpose_is_the_space_of_transposed_matrices(space, generator):
    weight, _ = draw(space, generator)
    turned = space.transpose
    assert (turned.rep_in, turned.rep_out) == (space.rep_out.dual, space.rep_in.dual)
    assert torch.allclose(turned.matrix(space.transpose_weight(weight)), space.matrix(weight).T, rtol=0, atol=1e-12)
    y = turned.rep_in.randn(3, generator=generator, dtype=torch.float64)
    M = space.matrix(weight)
    assert torch.allclose(turned.apply(y, space.transpose_weight(weight)), y @ M, atol=1e-9)


def test_dimension_needs_no_basis(space):
    assert maps.dimension(space.rep_in, space.rep_out) == space.dim


def test_solver_agrees_with_every_rule(space, generator):
    """The referee finds the same space as Schur's lemma and the products of members."""
    if {block.route.split()[0] for block in space.blocks} == {"solver"}:
        return
    judge = maps.between(space.rep_in, space.rep_out, method="solver", allow_zero=True)
    assert judge.dim == space.dim
    weight, _ = draw(space, generator)
    M = space.matrix(weight)
    assert torch.allclose(judge.matrix(judge.project(M)), M, atol=1e-9)


def test_orthonormal_basis_as_parameters(generator):
    V = S(4).V
    space = maps.between(V**2 + V, 2 * V, basis="orthonormal")
    B = space.basis().flatten(1)
    assert torch.allclose(B @ B.T, torch.eye(space.dim, dtype=torch.float64), atol=1e-12)
    weight, x = draw(space, generator)
    assert torch.allclose(space.apply(x, weight), x @ space.matrix(weight).T)


def test_blocks_and_flat_weight():
    V = S(5).V
    space = maps.between(2 * V + V**2, V + 3 * S(5).trivial, method="solver")
    blocks = [(b.index_out, b.index_in, b.N, b.c_in, b.c_out) for b in space.blocks]
    assert blocks == [(0, 0, 2, 2, 1), (0, 1, 5, 1, 1), (1, 0, 1, 2, 3), (1, 1, 2, 1, 3)]
    assert space.dim == 4 + 5 + 6 + 6
    assert [w.shape for w in space.weights(torch.zeros(21))] == [(2, 2, 1), (5, 1, 1), (1, 2, 3), (2, 1, 3)]
    assert space.blocks[1].labels[:2] == ("0|0,0", "0|0,1")
    assert space.blocks[0].norms.tolist() == pytest.approx([5**0.5, 20**0.5])
    with pytest.raises(ValueError, match=r"takes a weight of shape \(21,\), got \(20,\)"):
        space.weights(torch.zeros(20))


def test_counts_of_the_specification():
    """Products and local symmetries."""
    group = S(5) * SO(3)
    V = group.V
    assert maps.dimension(V, V) == maps.between(V, V).dim == 2
    assert maps.dimension(V**2, V) == maps.between(V**2, V).dim == 5
    V1, V2 = S(5).V, SO(3).V
    assert maps.between(V1**2 * V2**3, V1 * V2**2).dim == 5 * 6
    group = S(3) * S(4)
    both = pull(group, 0, S(3).V) + pull(group, 1, S(4).V)
    assert [block.N for block in maps.between(both, both).blocks] == [2, 1, 1, 2]
    V = SO(3).V
    (cross,) = maps.between(V**2, V).basis()
    a, b = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = cross @ torch.outer(a, b).flatten()
    assert torch.linalg.cross(found, torch.linalg.cross(a, b)).abs().max() < 1e-12


def test_trivial_irrep_and_empty_product_are_one_kind():
    group = SO(2)
    one = group.irrep(0)
    space = maps.between(2 * one + group.trivial, group.trivial + one * group.irrep(1) + 3 * one)
    assert [block.route for block in space.blocks] == ["schur"] * 4
    assert space.dim == 2 + 1 + 6 + 3
    assert len(space._steps) == 1  # applied in one product
    assert space.unreached() == [1]


def test_equal_terms_are_applied_together(generator):
    V = SO(3).V
    space = maps.between(2 * V + V**2 + V, V**2 + 4 * V + V**2, method="solver")
    assert len(space._steps) == 4
    weight, x = draw(space, generator)
    assert torch.allclose(space.apply(x, weight), x @ space.matrix(weight).T)


@pytest.mark.parametrize(("c_in", "c_out"), [(1, 1), (2, 5), (5, 2)])
@pytest.mark.parametrize(("k", "l"), [(0, 2), (2, 0), (1, 2), (2, 2), (3, 1)])
@pytest.mark.parametrize("sign", [False, True])
def test_every_plan_of_an_orbit_basis_agrees(k, l, sign, c_in, c_out, generator):
    group = S(3)
    V = group.V.terms[0][0].factors
    U, W = Product(V * k), Product(V * l + sign * group.det.terms[0][0].factors)
    kernel = maps.solver.hom(group, U, W)
    if sign and kernel.N == 0:
        return
    assert isinstance(kernel, sharing.OrbitKernel)
    assert (kernel.sign is not None) == sign
    dense = DenseKernel(kernel.dense(), kernel.labels, kernel.route)
    x = torch.randn(4, U.dim, c_in, generator=generator, dtype=torch.float64)
    w = torch.randn(kernel.N, c_in, c_out, generator=generator, dtype=torch.float64)
    expected = torch.einsum("nij,bjc,ncd->bid", torch.from_numpy(kernel.dense()), x, w)
    for plan in (kernel._gather(0), kernel._mix(0), dense.plan(c_in, c_out), kernel.plan(c_in, c_out)):
        found = plan.run(x, w, tensors(plan.constants, torch.float64, "cpu"))
        assert torch.allclose(found, expected, atol=1e-12), plan
        nothing = plan.run(x[:0], w, tensors(plan.constants, torch.float64, "cpu"))
        assert nothing.shape == (0, W.dim, c_out)
    assert np.allclose(kernel.squares(), dense.squares())
    assert np.allclose(kernel.row_norms(), dense.row_norms())
    assert np.allclose(kernel.row_sums(), dense.row_sums())


@pytest.mark.parametrize(("k", "l"), [(1, 3), (3, 1)])
def test_both_orders_of_a_dense_basis(k, l, generator):
    V = SO(3).V
    space = maps.between(3 * V**k, 2 * V**l, method="solver")
    kind = type(space._steps[0][0]).__name__
    assert kind == ("Channels" if l > k else "Components")
    weight, x = draw(space, generator)
    assert torch.allclose(space.apply(x, weight), x @ space.matrix(weight).T)


def test_no_dense_matrix_of_the_layer_is_ever_made(monkeypatch, generator):
    """Every tensor that an application makes is far smaller than dim_out x dim_in of the whole layer."""
    V = S(6).V
    space = maps.between(32 * V**2 + 32 * V, 32 * V**2 + 32 * V)
    weight, x = torch.randn(space.dim, generator=generator), space.rep_in.randn(2, generator=generator)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for tensor in torch.utils._pytree.tree_leaves(out):
                largest = max(largest, tensor.numel())
            return out

    with Watch():
        space.apply(x, weight)
    assert largest < space.rep_in.dim * space.rep_out.dim / 10


def test_bytes_and_operations_are_counted():
    V = SO(3).V
    space = maps.between(4 * V, 5 * V, method="solver")
    text = space.explain()
    assert "20 weights" in text
    assert "by solver (eigh)" in text
    assert space.flops(7) == 7 * space.flops()
    assert "no map but zero reaches it" in maps.between(O(3).V, O(3).V + O(3).det).explain()


# --- errors


def test_groups_must_agree():
    with pytest.raises(ValueError, match=r"between: rep_in belongs to S\(5\), rep_out to O\(3\)"):
        maps.between(S(5).V, O(3).V)
    with pytest.raises(ValueError, match=r"dimension: rep_in belongs to S\(5\), rep_out to O\(3\)"):
        maps.dimension(S(5).V, O(3).V)


def test_zero_space_is_refused_unless_asked_for(generator):
    V = O(3).V
    with pytest.raises(ValueError, match=r"only equivariant map from V of O\(3\) to V\^2 is zero \(allow_zero=True"):
        maps.between(V, V**2)
    space = maps.between(V, V**2, allow_zero=True)
    assert space.dim == 0
    assert not space.apply(V.randn(3, generator=generator), torch.zeros(0)).any()
    assert space.basis().shape == (0, 9, 3)
    nothing = Rep(O(3), [])
    assert maps.between(nothing, V, allow_zero=True).apply(torch.zeros(2, 0), torch.zeros(0)).shape == (2, 3)
    assert maps.between(V, nothing, allow_zero=True).apply(torch.zeros(2, 3), torch.zeros(0)).shape == (2, 0)


def test_what_is_not_a_rep():
    with pytest.raises(TypeError, match="rep_in must be a Rep"):
        maps.between("V", O(3).V)


def test_unknown_choices_name_the_known_ones():
    V = S(3).V
    with pytest.raises(ValueError, match=r"method must be one of \('auto',.*'solver'\), got 'magic'"):
        maps.between(V, V, method="magic")
    with pytest.raises(ValueError, match="basis must be one of"):
        maps.between(V, V, basis="best")
    with pytest.raises(ValueError, match=r"method 'schur' does not serve V -> V of GLPlus\(2\)"):
        maps.between(GLPlus(2).V, GLPlus(2).V, method="schur")


def test_wrong_shapes():
    space = maps.between(S(3).V, S(3).V)
    with pytest.raises(ValueError, match="has dimension 3, the data has trailing dimension 4"):
        space.apply(torch.zeros(2, 4), torch.zeros(2))
    with pytest.raises(ValueError, match=r"has matrices of shape \(3, 3\), got \(3, 4\)"):
        space.project(torch.zeros(3, 4))


def test_huge_matrices_on_request_are_refused():
    V = S(30).V
    space = maps.between(V**2, 20 * V**2)
    with pytest.raises(ValueError, match=r"dense matrices of 18000 x 900 would take .* GiB"):
        space.basis()


def test_routes_are_an_open_list(monkeypatch):
    """A closed form put in front of the solver serves the blocks it knows."""

    def mine(group, U, W, options):
        return DenseKernel(np.ones((1, W.dim, U.dim)), ("all",), "mine") if group == S(3) and U == W else None

    monkeypatch.setattr(routes, "ROUTES", (("mine", mine), *routes.ROUTES))
    V = S(3).V
    first, second = maps.between(V + V**2, V).blocks
    assert first.route == "mine" != second.route
