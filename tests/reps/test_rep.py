"""The algebra of representations and its laws: homomorphisms, derivatives, layout, identity, errors."""

import math
import subprocess
import sys
import textwrap

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from conftest import TOL
from grids import FINITE, GROUPS, LIE, distance, exp, seeded, tensors
from intertwine.groups import SE, SL, SO, A, Cyclic, Dihedral, E, GLPlus, Lorentz, O, S, Sp, Trivial
from intertwine.reps import Product, Rep

every = pytest.mark.parametrize("group", GROUPS, ids=str)


def representations(group) -> dict[str, Rep]:
    """The kinds of representation that the laws are tested on."""
    V = group.V
    reps = {"V": V, "V'": V.dual, "V^2": V**2, "V*V'": V * V.dual, "det": group.det, "2": 2 * group.trivial, "0": 0 * V}
    if group.dim_V <= 5:
        reps["2*V + V^3 + 1"] = 2 * V + V**3 + group.trivial
    if group.is_finite:
        reps["regular"] = group.regular
    elif group.algebra_batch_shape(group.lie_algebra())[0]:
        reps["adjoint"] = group.adjoint
    return reps


CASES = [
    pytest.param(group, rep, id=f"{group}: {name}") for group in GROUPS for name, rep in representations(group).items()
]
case = pytest.mark.parametrize("group, rep", CASES)
moving = pytest.mark.parametrize("group, rep", [c for c in CASES if not c.values[0].is_finite])


def dense(rep: Rep, g) -> torch.Tensor:
    """The matrix of one element, built from Kronecker products and blocks: slow and obviously right."""
    blocks = []
    for W, c in rep.terms:
        M = torch.ones(1, 1, dtype=torch.float64)
        for factor in W.factors:
            M = torch.kron(M, factor.matrix(g).contiguous())
        blocks.append(torch.kron(M.contiguous(), torch.eye(c).double()))
    return torch.block_diag(*blocks) if blocks else torch.zeros(0, 0).double()


def size(*xs: torch.Tensor) -> float:
    return max([1.0, *(float(x.norm()) for x in xs if x.numel())])


def gap(a: torch.Tensor, b: torch.Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max()) if a.numel() else 0.0


# --- 1. homomorphisms


@case
def test_act_is_a_homomorphism(group, rep):
    generator = seeded()
    g, h = group.sample(6, generator=generator), group.sample(6, generator=generator)
    x = rep.randn(6, 3, generator=generator, dtype=torch.float64)
    both = rep.act(group.compose(g, h), x)
    scale = size(both, rep.act(h, x), rep.act(g, x))
    assert gap(both, rep.act(g, rep.act(h, x))) < 1e-10 * scale
    assert gap(rep.act(group.identity(), x), x) < 1e-14 * scale
    assert gap(rep.act(group.inverse(g), rep.act(g, x)), x) < 1e-10 * scale


@case
def test_flags_tell_the_truth(group, rep):
    if rep.dim > 130:
        return
    M = rep.matrix(group.sample(8, generator=seeded(1)))
    one = torch.eye(rep.dim).double()
    orthogonal = gap(M.mT @ M, one.expand_as(M)) < 1e-10
    entries = torch.stack([M.abs(), (M.abs() - 1).abs()]).amin(0)
    signed = orthogonal and (not entries.numel() or float(entries.max()) < 1e-10)
    if rep.is_orthogonal:
        assert orthogonal
    if rep.is_signed_permutation:
        assert signed
    if rep.is_permutation:
        assert signed
        assert (M > -1e-12).all()
        p = rep.permutation(group.sample(8, generator=seeded(1)))
        assert torch.equal(torch.nn.functional.one_hot(p, max(rep.dim, 1))[..., : rep.dim].mT.double(), M)
    else:
        with pytest.raises(ValueError, match="does not permute"):
            rep.permutation(group.identity())


@pytest.mark.parametrize("group", [S(3), A(4), Cyclic(5), Dihedral(2), S(3) * Cyclic(2)], ids=str)
def test_permutation_groups_have_permutation_representations(group):
    assert (2 * group.V + group.V**2 + group.regular + group.trivial).is_permutation
    assert not group.det.is_permutation
    assert group.det.is_signed_permutation


@pytest.mark.parametrize(
    "group, orthogonal",
    [
        (O(3), True),
        (SO(2), True),
        (Sp(2), False),
        (GLPlus(2), False),
        (Lorentz(1, 3), False),
        (E(2), False),
        (S(3), True),
    ],
    ids=str,
)
def test_duals(group, orthogonal):
    V = group.V
    assert V.is_orthogonal == orthogonal
    assert (V.dual == V) == orthogonal
    assert V.dual.dual == V
    assert (V**2 * V.dual).dual == V.dual**2 * V
    g = group.sample(5, generator=seeded())
    assert gap(V.dual.matrix(g), torch.linalg.inv(V.matrix(g)).mT) < 1e-12
    assert group.det.dual == group.det or group == GLPlus(2)


@case
def test_the_dual_pairs_invariantly(group, rep):
    generator = seeded()
    g = group.sample(4, generator=generator)
    x = rep.randn(4, generator=generator, dtype=torch.float64)
    y = rep.dual.randn(4, generator=generator, dtype=torch.float64)
    moved = (rep.act(g, x) * rep.dual.act(g, y)).sum(-1)
    assert gap(moved, (x * y).sum(-1)) < 1e-10 * size(rep.act(g, x)) * size(rep.dual.act(g, y))


# --- 2. derivatives


@moving
def test_algebra_act_is_the_derivative(group, rep):
    X = group.lie_algebra()
    (count,) = group.algebra_batch_shape(X)
    x = rep.randn(count, 2, generator=seeded(), dtype=torch.float64)
    t = 1e-5

    def moved(t):
        scaled = tuple(t * part for part in X) if isinstance(X, tuple) else t * X
        return rep.act(exp(group, scaled), x)

    central = (moved(t) - moved(-t)) / (2 * t)
    assert gap(rep.algebra_act(X, x), central) < 1e-6


@moving
def test_algebra_matrix_agrees_with_algebra_act(group, rep):
    X = group.lie_algebra()
    (count,) = group.algebra_batch_shape(X)
    x = rep.randn(count, generator=seeded(), dtype=torch.float64)
    M = rep.algebra_matrix(X)
    assert gap((M @ x[..., None])[..., 0], rep.algebra_act(X, x)) < 1e-10
    one = tuple(part[0] for part in X) if isinstance(X, tuple) else X[0]
    assert gap(rep.algebra_matrix(one), M[0]) < 1e-12


@pytest.mark.parametrize("group", FINITE, ids=str)
def test_finite_groups_have_no_flow(group):
    X = group.lie_algebra()
    rep = group.V + group.regular + 2 * group.trivial
    assert rep.algebra_matrix(X).shape == (0, rep.dim, rep.dim)


# --- 3. layout


@case
def test_act_is_the_dense_matrix(group, rep):
    if rep.dim > 200:
        return
    generator = seeded()
    g = group.sample(3, generator=generator)
    x = rep.randn(3, generator=generator, dtype=torch.float64)
    M = torch.stack([dense(rep, group.take(g, i)) for i in range(3)])
    assert gap(rep.matrix(g), M) < 1e-12 * size(M)
    assert gap(rep.act(g, x), (M @ x[..., None])[..., 0]) < 1e-10 * size(M)
    assert gap(rep.character(g), M.diagonal(dim1=-2, dim2=-1).sum(-1)) < 1e-10 * size(M)
    assert gap(rep.matrix(group.take(g, 0)), M[0]) < 1e-12 * size(M)


@st.composite
def sums(draw):
    """A group and a random sum of tensor powers with multiplicities."""
    group = draw(
        st.sampled_from([S(3), A(3), Cyclic(3), Dihedral(3), O(2), SO(3), Sp(2), GLPlus(2), Lorentz(1, 1), SE(1)])
    )
    atoms = [group.V, group.V.dual, group.det, group.trivial]
    terms = draw(st.lists(st.tuples(st.integers(0, 3), st.lists(st.sampled_from(atoms), max_size=3)), max_size=4))
    rep = 0 * group.trivial
    for c, factors in terms:
        W = group.trivial
        for factor in factors:
            W = W * factor
        rep = rep + c * W
    return group, rep


@given(sums(), st.integers(0, 2**31))
def test_layout_is_components_first_channels_last(case, seed):
    group, rep = case
    generator = seeded(seed)
    g = group.sample(2, generator=generator)
    x = rep.randn(2, 2, generator=generator, dtype=torch.float64)
    M = torch.stack([dense(rep, group.take(g, i)) for i in range(2)])
    assert gap(rep.act(g, x), torch.einsum("bij,bkj->bki", M, x)) < 1e-10 * size(M)
    assert torch.equal(rep.join(rep.split(x)), x) or not rep.terms
    for block, (W, c) in zip(rep.split(x), rep.terms, strict=True):
        assert block.shape == (2, 2, *W.shape, c)
        assert block.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()  # a view


@given(sums())
def test_dimensions_add_and_multiply(case):
    group, rep = case
    assert rep.dim == sum(c * math.prod(W.shape) for W, c in rep.terms)
    assert (rep + rep).dim == (2 * rep).dim == (rep * 2).dim == 2 * rep.dim
    assert (rep * rep).dim == (rep**2).dim == rep.dim**2
    assert rep.dual.dim == rep.dim
    assert (rep**0) == group.trivial


@given(sums(), st.integers(0, 2**31))
def test_merging_collects_equal_terms_and_says_where_they_went(case, seed):
    group, rep = case
    merged, index = rep.merged()
    assert len({W for W, _ in merged.terms}) == len(merged.terms)
    assert [W for W, _ in merged.terms] == list(dict.fromkeys(W for W, _ in rep.terms))
    generator = seeded(seed)
    g, x = group.sample(2, generator=generator), rep.randn(2, generator=generator, dtype=torch.float64)
    moved = rep.act(g, x)
    assert gap(merged.act(g, x[..., index]), moved[..., index]) < 1e-10 * size(moved)


@given(sums(), sums(), st.integers(0, 2**31))
def test_characters_add_and_multiply(first, second, seed):
    (G, a), (H, b) = first, second
    g, h = G.sample(3, generator=seeded(seed)), H.sample(3, generator=seeded(seed + 1))
    product = a * b
    assert product.group == (G if G == H else G * H)
    if G == H:
        assert gap((a + b).character(g), a.character(g) + b.character(g)) < 1e-9 * size(a.character(g), b.character(g))
        h, pair = g, g
    else:
        pair = (g, h)
    expected = a.character(g) * b.character(h)
    assert gap(product.character(pair), expected) < 1e-9 * size(a.character(g)) * size(b.character(h))


def test_multiplicities_multiply_and_order_is_kept():
    V = S(3).V
    one = S(3).trivial
    assert str((2 * V + one) * (3 * V)) == "6*V^2 + 3*V"
    assert str(V + one + V) == "V + 1 + V"
    assert str(V**3 * S(3).det) == "V^3*det"
    assert str(4 * one) == "4"
    assert str(0 * V) == "0"
    assert str(SL(3).V.dual * SL(3).V) == "V'*V"


def test_a_number_is_a_count_never_a_factor():
    """A factor that prints as a bare number must not be read as so many trivial representations."""
    from intertwine.reps import Factor

    class Label(Factor):
        group, dim, is_orthogonal = SO(3), 3, True

        def matrix(self, g, dtype=torch.float64):
            return g.to(dtype)

        def __str__(self):
            return "1"

    rep = Rep(SO(3), [(Product((Label(),)), 1)])
    assert rep.key != SO(3).trivial.key
    assert str(2 * rep**2) == "2*irrep(1)^2"


# --- data


def test_a_feature_of_graphs_moves_rows_and_columns():
    group = S(3)
    rep = 2 * group.V**2
    x = torch.arange(18.0).reshape(3, 3, 2)
    p = torch.tensor([1, 2, 0])
    y = rep.act(p, x.reshape(-1)).reshape(3, 3, 2)
    for i in range(3):
        for j in range(3):
            assert torch.equal(y[p[i], p[j]], x[i, j])


def test_batches_of_elements():
    rep = 2 * O(2).V + O(2).V ** 2
    g = O(2).sample(4, generator=seeded())
    x = rep.randn(4, 5, generator=seeded(), dtype=torch.float64)
    each = torch.stack([rep.act(g[i], x[i]) for i in range(4)])
    assert gap(rep.act(g, x), each) < 1e-14
    assert gap(rep(g, x), each) < 1e-14  # called, as every Action
    spread = rep.act(g, x[0, 0])  # an unbatched feature meets every element
    assert gap(spread, torch.stack([rep.act(g[i], x[0, 0]) for i in range(4)])) < 1e-14
    two = O(2).reshape(O(2).sample(20, generator=seeded(1)), 4, 5)
    assert gap(rep.act(two, x)[1, 2], rep.act(two[1, 2], x[1, 2])) < 1e-14


@pytest.mark.parametrize(
    "batch, leading", [((3,), (4,)), ((3,), (1, 3)), ((2, 3), (2,)), ((3, 2), (2, 3)), ((1,), (3,))], ids=str
)
def test_batches_that_do_not_fit_name_both_shapes(batch, leading):
    rep = 2 * S(3).V
    p = S(3).identity(*batch)
    with pytest.raises(ValueError) as error:
        rep.act(p, torch.zeros(*leading, 6))
    assert f"2*V of S(3): the group element has batch shape {batch}, the data {leading}" in str(error.value)
    with pytest.raises(ValueError, match="batch shape"):
        rep.algebra_act(torch.zeros(*batch, 3, 3), torch.zeros(*leading, 6))


@every
def test_empty_batches_come_back_empty(group):
    rep = 2 * group.V + group.V**2 + group.det
    g = group.sample(0, generator=seeded())
    for batch in [(0,), (0, 3)]:
        x = torch.zeros(*batch, rep.dim, dtype=torch.float64)
        assert rep.act(g, x).shape == x.shape
        assert rep.act(group.identity(), x).shape == x.shape
    assert rep.matrix(g).shape == (0, rep.dim, rep.dim)
    assert rep.character(g).shape == (0,)
    assert rep.randn(0, generator=seeded()).shape == (0, rep.dim)


@pytest.mark.parametrize("zero", [0 * O(3).V, Rep(O(3), []), 0 * (O(3).V + O(3).trivial)], ids=str)
def test_the_zero_representation(zero):
    assert zero.dim == 0
    assert zero.terms == ()
    assert zero == 0 * O(3).trivial
    x = torch.zeros(4, 0)
    g = O(3).sample(4, generator=seeded())
    assert zero.act(g, x).shape == (4, 0)
    assert zero.split(x) == []
    assert zero.join([]).shape == (0,)
    assert zero.matrix(g).shape == (4, 0, 0)
    assert zero.character(g).tolist() == [0, 0, 0, 0]
    assert (zero + O(3).V) == O(3).V
    assert (zero * O(3).V).dim == 0
    assert zero.merged()[1].shape == (0,)
    assert zero.algebra_act(O(3).lie_algebra(), torch.zeros(3, 0)).shape == (3, 0)


@case
def test_float32_stays_float32_and_agrees(group, rep):
    generator = seeded()
    g = group.sample(4, generator=generator)
    x = rep.randn(4, generator=generator)
    rough = group.to(g, dtype=torch.float32)
    y = rep.act(rough, x)
    assert x.dtype == y.dtype == torch.float32
    assert gap(y.double(), rep.act(g, x.double())) < TOL[torch.float32] * size(y)


@pytest.mark.parametrize("group", LIE, ids=str)
def test_gradients_follow_the_data(group):
    """Backward through act is the transposed matrix, and gradients reach the element too."""
    rep = group.V + group.V**2
    generator = seeded()
    g = group.sample(2, generator=generator)
    x = rep.randn(2, generator=generator, dtype=torch.float64).requires_grad_()
    y = rep.randn(2, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((rep.act(g, x) * y).sum(), x)
    M = rep.matrix(g)
    assert gap(gradient, (M.mT @ y[..., None])[..., 0]) < 1e-10 * size(M)
    parts = [part.clone().requires_grad_(part.is_floating_point()) for part in tensors(g)]
    moved = rep.act(tuple(parts) if isinstance(g, tuple) else parts[0], x)
    wanted = [part for part in parts if part.requires_grad]
    assert any(gradient.abs().max() > 0 for gradient in torch.autograd.grad((moved * y).sum(), wanted))


def test_randn_is_standard_normal_from_its_generator():
    rep = 3 * SO(3).V + SO(3).trivial
    x = rep.randn(2000, 5, generator=seeded())
    assert x.shape == (2000, 5, 10)
    assert x.dtype == torch.float32
    assert abs(x.mean()) < 0.02
    assert abs(x.std() - 1) < 0.02
    assert torch.equal(x, rep.randn(2000, 5, generator=seeded()))


def test_elements_and_data_share_a_device(device):
    for group in GROUPS:
        rep = group.V + group.V * group.det + (group.regular if group.is_finite else group.V.dual)
        g = group.sample(3, generator=seeded(), device=device)
        x = rep.randn(3, generator=seeded(), device=device)
        for y in (rep.act(g, x), rep.matrix(g), rep.character(g)):
            assert y.device.type == device


HIDDEN = [S(4), Cyclic(5), Dihedral(3), O(3), SO(2), Sp(4), GLPlus(2), Lorentz(1, 3), SE(3), S(3) * SO(3), Trivial(2)]


class OneDevice(TorchDispatchMode):
    """Fails where an operation meets tensors of two devices, but for single numbers, which may live on the CPU."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = {x.device for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor) and x.ndim}
        copies = function.overloadpacket in (torch.ops.aten.copy_, torch.ops.aten._to_copy)
        assert copies or len(found) < 2, f"{function} meets tensors on {found}"
        return function(*args, **kwargs or {})


def test_the_guard_against_hidden_tensors_can_fail():
    with OneDevice(), pytest.raises(AssertionError, match="meets tensors on"):
        torch.ones(3, device="meta") @ torch.ones(3)


@pytest.mark.parametrize("group", HIDDEN, ids=str)
def test_no_tensor_hides_on_the_cpu(group):
    """Tensors without data, on the device `meta`, stand for those on a GPU: they may not meet one on the CPU."""
    rep = 2 * group.V + group.V * group.V.dual + group.det
    if group.is_finite:
        rep = rep + group.regular + (Cyclic(5).irrep(1) if group == Cyclic(5) else group.trivial)
        rep = rep + (S(3).V.induce(S(4)) if group == S(4) else group.trivial)
    else:
        rep = rep + group.adjoint + (SO(2).irrep(3) if group == SO(2) else group.trivial)
        rep = rep + (SO(3).V.induce(O(3)) + SO(3).det.induce(O(3)) if group == O(3) else group.trivial)
    g = group.to(group.sample(2, generator=seeded()), "meta")
    with OneDevice():
        assert rep.act(g, torch.empty(2, rep.dim, device="meta")).device.type == "meta"
        assert rep.matrix(g).device.type == "meta"
        assert rep.character(g).device.type == "meta"
        assert group.device_of(group.compose(group.inverse(g), g)).type == "meta"
        if not group.is_finite:
            algebra = group.lie_algebra()
            X = tuple(x.to("meta") for x in algebra) if isinstance(algebra, tuple) else algebra.to("meta")
            y = torch.empty(*group.algebra_batch_shape(X), rep.dim, device="meta")
            assert rep.algebra_act(X, y).device.type == "meta"
            assert rep.algebra_matrix(X).device.type == "meta"


# --- 6. identity


def test_equality_is_structural():
    V = S(5).V
    assert V**2 == V * V
    assert hash(V**2) == hash(V * V)
    assert 2 * V != V + V
    assert V + S(5).trivial != S(5).trivial + V
    assert S(5).V != A(5).V
    assert S(3).V != Cyclic(3).V
    assert SO(3).V != O(3).V
    assert 2 * S(5).trivial != 2
    assert {V: "vertices", 2 * V: "two"}[S(5).V] == "vertices"
    assert SL(3).V.dual != SL(3).V
    assert (S(3) * O(2)).V == S(3).V * O(2).V


@given(sums(), sums())
def test_keys_tell_representations_apart(first, second):
    a, b = first[1], second[1]
    assert (a == b) == (a.key == b.key)
    if a == b:
        assert hash(a) == hash(b)


def test_keys_are_the_same_in_every_process(repo):
    code = textwrap.dedent("""
        from intertwine.groups import *
        G = S(3) * SO(3)
        reps = [
            2 * G.V + G.trivial, (S(3).V**2 + S(3).det).induce(S(4)), Lorentz(1, 3, "proper").V.dual ** 2,
            S(4).regular.restrict(S(3)), Dihedral(6).irrep(1, 2), Lorentz(1, 3).V.restrict(SO(3)),
            SO(3).V.restrict(SO(2), lambda h: SO(3).compose(*2 * [SO(3).identity(*h.shape[:-2])])),
        ]
        table = {rep: i for i, rep in enumerate(reps)}
        print([rep.key for rep in table], [table[rep] for rep in reps])
    """)
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}, capture_output=True,
            text=True, check=True,
        ).stdout
        for seed in ("0", "12345")
    }  # fmt: skip
    assert len(seen) == 1
    assert "S(3) * SO(3): 2*V[0]*V[1] + 1" in seen.pop()


# --- 7. errors


def test_errors_name_both_things():
    V = S(5).V
    with pytest.raises(ValueError, match=r"cannot add a representation of S\(5\) to one of O\(3\)"):
        V + O(3).V
    with pytest.raises(ValueError, match=r"V\^2 of S\(5\) has dimension 25, the data has trailing dimension 24"):
        (V**2).act(S(5).identity(), torch.zeros(7, 24))
    with pytest.raises(ValueError, match=r"2\*V of S\(5\) has dimension 10, the data has trailing dimension 9"):
        (2 * V).split(torch.zeros(9))
    with pytest.raises(ValueError, match="has dimension 5, the data has no axis"):
        V.check(torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"has 1 terms, got 2 blocks"):
        V.join([torch.zeros(5, 1), torch.zeros(5, 1)])
    with pytest.raises(ValueError, match=r"the block of 2\*V ends in \(5, 2\), got \(5, 3\)"):
        (2 * V).join([torch.zeros(5, 3)])
    with pytest.raises(ValueError, match="the multiplicity of V must not be negative, got -1"):
        -1 * V
    with pytest.raises(ValueError, match=r"\(V\)\*\*-1: the power must be an integer of at least 0"):
        V**-1
    with pytest.raises(ValueError, match=r"Rep of S\(4\): its factor V belongs to S\(5\)"):
        Rep(S(4), V.terms)
    with pytest.raises(TypeError):
        V + 1
    with pytest.raises(TypeError):
        2.5 * V


def test_large_dense_matrices_are_refused_unless_forced():
    rep = S(17).V ** 3
    with pytest.raises(ValueError, match=r"V\^3 of S\(17\) has dimension 4913: a dense matrix above 4096 is refused"):
        rep.matrix(S(17).identity())
    with pytest.raises(ValueError, match="dense matrix above 4096"):
        (SO(17).V ** 3).algebra_matrix(SO(17).lie_algebra()[0])
    assert rep.matrix(S(17).identity(), dtype=torch.float32, force=True).shape == (4913, 4913)


@pytest.mark.parametrize("group", [S(4), O(3), Dihedral(3), S(3) * SO(3)], ids=str)
def test_act_compiles_whole(group):
    """Traced without breaks; the generated code of a back end is not needed to know that."""
    rep = 2 * group.V + group.V**2 + group.det
    g = group.sample(3, generator=seeded())
    x = rep.randn(3, generator=seeded(), dtype=torch.float64)
    compiled = torch.compile(rep.act, fullgraph=True, backend="eager")
    assert gap(compiled(g, x), rep.act(g, x)) < 1e-14
    assert distance(group, g, group.to(g)) == 0
