"""What every group promises: its laws, its flags, its lists of elements."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grids import FINITE, GROUPS, LIE, distance, exp, seeded, tensors
from intertwine.groups import (
    GL,
    SE,
    SL,
    SO,
    SU,
    A,
    Affine,
    Cyclic,
    Dihedral,
    E,
    GLPlus,
    Group,
    Lorentz,
    O,
    Power,
    S,
    Sp,
    Trivial,
    U,
    Wreath,
)

every = pytest.mark.parametrize("group", GROUPS, ids=str)
finite = pytest.mark.parametrize("group", FINITE, ids=str)
lie = pytest.mark.parametrize("group", LIE, ids=str)


@every
def test_samples_obey_the_group_laws(group):
    generator = seeded()
    f, g, h = (group.sample(32, generator=generator) for _ in range(3))
    scale = max(1.0, *(float(x.abs().max()) for part in (f, g, h) for x in tensors(part))) ** 3
    e = group.identity(32)
    assert group.contains(g, 1e-8 * scale)
    assert group.contains(e, 0)
    assert group.batch_shape(g) == group.batch_shape(e) == (32,)
    assert group.batch_shape(group.identity()) == ()
    assert distance(group, group.compose(f, group.compose(g, h)), group.compose(group.compose(f, g), h)) < 1e-10 * scale
    assert distance(group, group.compose(g, group.inverse(g)), e) < 1e-10 * scale
    assert distance(group, group.compose(group.inverse(g), g), e) < 1e-10 * scale
    assert distance(group, group.compose(e, g), g) == distance(group, group.compose(g, e), g) == 0
    assert group.contains(group.compose(g, h), 1e-8 * scale)


@every
def test_matrices_on_V_multiply_as_elements_do(group):
    generator = seeded(1)
    g, h = group.sample(16, generator=generator), group.sample(16, generator=generator)
    M, N = group.matrix(g), group.matrix(h)
    assert M.shape == (16, group.dim_V, group.dim_V)
    assert M.dtype == torch.float64
    assert (group.matrix(group.compose(g, h)) - M @ N).abs().max() < 1e-10 * M.norm() * N.norm()
    assert torch.equal(group.matrix(group.identity()), torch.eye(group.dim_V, dtype=torch.float64))
    if group.is_orthogonal:
        assert (M.mT @ M - torch.eye(group.dim_V)).abs().max() < 1e-12
    if group.is_permutation:
        moved = torch.zeros(16, group.dim_V).scatter(1, M.argmax(-2), torch.arange(1.0, group.dim_V + 1).expand(16, -1))
        assert torch.equal(moved.double(), M @ torch.arange(1.0, group.dim_V + 1).double())


@every
def test_generators_and_flows_belong_to_the_group(group):
    assert group.contains(group.generators())
    algebra = group.lie_algebra()
    for part in tensors(algebra):
        assert part.dtype == torch.float64
    if not group.is_finite:
        assert group.contains(
            exp(group, tuple(0.5 * X for X in algebra) if isinstance(algebra, tuple) else 0.5 * algebra)
        )
    assert group.algebra_matrix(algebra).shape[1:] == (group.dim_V, group.dim_V)


@every
def test_lie_algebras_are_independent_and_finite_groups_have_none(group):
    on_V = group.algebra_matrix(group.lie_algebra()).flatten(1)
    if group.is_finite:
        assert len(on_V) == 0
    elif not isinstance(group.lie_algebra(), tuple):
        assert torch.linalg.matrix_rank(on_V) == len(on_V) > 0


DIMENSIONS = {
    **{SO(3): 3, O(4): 6, Sp(4): 10, SL(3): 8, GLPlus(3): 9, Lorentz(1, 3): 6, E(3): 6, SE(2): 3},
    **{S(3) * SO(3): 3, O(2) * Sp(2): 4, SO(1): 0, O(1): 0, SL(1): 0, GLPlus(1): 1, E(1): 1},
    **{U(1): 1, U(3): 9, SU(1): 0, SU(3): 8, GL(2): 4, Affine(2): 6, Power(O(2), 3): 3, Wreath(SO(3), 2): 6},
}


@pytest.mark.parametrize("group, dim", DIMENSIONS.items(), ids=lambda case: str(case))
def test_the_dimension_of_the_lie_algebra(group, dim):
    assert group.algebra_batch_shape(group.lie_algebra()) == (dim,)


@lie
def test_brackets_of_the_lie_algebra_stay_in_it(group):
    basis = group.algebra_matrix(group.lie_algebra())
    brackets = (basis[:, None] @ basis - basis @ basis[:, None]).flatten(0, 1).flatten(1)
    flat = basis.flatten(1)
    rest = brackets - brackets @ torch.linalg.pinv(flat) @ flat
    assert rest.abs().max() < 1e-12


@finite
def test_elements_are_listed_once_identity_first(group):
    elements = group.elements()
    assert group.batch_shape(elements) == (group.order,)
    assert group.contains(elements)
    assert distance(group, group.take(elements, slice(0, 1)), group.identity(1)) == 0
    flat = torch.cat([part.reshape(group.order, -1).double() for part in tensors(elements)], -1)
    assert len(flat.unique(dim=0)) == group.order


@finite
def test_index_finds_elements_in_their_list(group):
    assert torch.equal(group.index(group.elements()), torch.arange(group.order))
    g = group.sample(12, generator=seeded())
    found = group.take(group.elements(), group.index(group.reshape(g, 3, 4)))
    assert distance(group, group.reshape(found, 12), g) == 0


@finite
def test_generators_generate(group):
    """From the identity, products with generators reach every element."""
    elements, generators = group.elements(), group.generators()
    reached = torch.zeros(group.order, dtype=torch.bool)
    reached[0] = True
    for _ in range(group.order):
        for i in range(group.batch_shape(generators)[0]):
            moved = group.index(group.compose(group.take(generators, i), elements))
            reached[moved[reached]] = True
    assert reached.all()


@finite
def test_the_general_search_agrees_with_the_formula_for_the_index(group):
    if not isinstance(group.elements(), tuple):
        g = group.sample(20, generator=seeded(2))
        assert torch.equal(Group.index(group, g), group.index(g))


ORDERS = {
    **{S(1): 1, S(5): 120, A(1): 1, A(2): 1, A(3): 3, A(5): 60, Cyclic(7): 7, Dihedral(1): 2, Dihedral(2): 4},
    **{Dihedral(9): 18, Trivial(4): 1, O(1): 2, SO(1): 1, SL(1): 1, S(3) * Dihedral(4): 48, O(1) * O(1) * S(2): 8},
    **{O(2): None, E(1): None, SE(1): None, GLPlus(1): None, S(3) * SO(3): None},
    **{Wreath(S(3), 2): 72, Wreath(Cyclic(2), 3): 48, Power(S(3), 3): 216, Wreath(O(2), 2): None, SU(1): 1, U(1): None},
}


@pytest.mark.parametrize("group, order", ORDERS.items(), ids=lambda case: str(case))
def test_orders(group, order):
    assert group.order == order
    assert group.is_finite == (order is not None)


ABELIAN = {S(2), A(3), Cyclic(6), Dihedral(2), Trivial(), SO(2), O(1), SE(1), GLPlus(1), SL(1), Lorentz(1, 1, "proper")}
ABELIAN |= {U(1), SU(1), GL(1), Wreath(SO(2), 1), Wreath(Trivial(), 2), Power(SO(2), 2)}
NOT_ABELIAN = {U(2), SU(2), GL(2), Affine(1), Wreath(Cyclic(2), 2), Wreath(SO(2), 2), Power(O(2), 2)} | {
    S(3),
    A(4),
    Dihedral(3),
    O(2),
    SO(3),
    Sp(2),
    SL(2),
    GLPlus(2),
    E(1),
    SE(2),
    Lorentz(1, 1),
    S(2) * O(2),
}


@pytest.mark.parametrize("group", sorted(ABELIAN | NOT_ABELIAN, key=str), ids=str)
def test_abelian_groups_commute_and_the_others_do_not(group):
    assert group.is_abelian == (group in ABELIAN)
    generator = seeded()
    g, h = group.sample(64, generator=generator), group.sample(64, generator=generator)
    gap = distance(group, group.compose(g, h), group.compose(h, g))
    assert gap < 1e-12 if group.is_abelian else gap > 0.1


@pytest.mark.parametrize(
    "group, compact, connected",
    [
        *[(S(3), True, False), (A(2), True, True), (SO(3), True, True), (O(3), True, False), (SO(1), True, True)],
        *[(Sp(2), False, True), (E(2), False, False), (SE(2), False, True), (Lorentz(1, 3), False, False)],
        *[(U(2), True, True), (SU(3), True, True), (GL(2), False, False), (Affine(2), False, True)],
        *[(Wreath(SO(2), 2), True, False), (Wreath(SO(2), 1), True, True), (Wreath(Sp(2), 2), False, False)],
        *[(Lorentz(1, 3, "restricted"), False, True), (SO(2) * Sp(2), False, True), (S(2) * SO(2), True, False)],
    ],
    ids=str,
)
def test_compact_and_connected(group, compact, connected):
    assert (group.is_compact, group.is_connected) == (compact, connected)


@pytest.mark.parametrize(
    "group, sizes",
    [
        (S(4), [1, 6, 8, 6, 3]),
        (A(4), [1, 4, 4, 3]),
        (S(5), [1, 10, 20, 15, 30, 20, 24]),
        (Dihedral(6), [1, 2, 2, 1, 3, 3]),
        (Dihedral(5), [1, 2, 2, 5]),
        (Dihedral(1), [1, 1]),
        (Cyclic(4), [1, 1, 1, 1]),
        (Trivial(), [1]),
        (O(1), [1, 1]),
        (S(3) * Cyclic(2), [1, 1, 3, 3, 2, 2]),
    ],
    ids=str,
)
def test_conjugacy_classes(group, sizes):
    classes = group.conjugacy_classes()
    assert torch.equal(torch.cat(classes).sort().values, torch.arange(group.order))
    assert classes[0].tolist() == [0]
    assert sorted(map(len, classes)) == sorted(sizes)
    assert [c[0] for c in classes] == sorted(c[0] for c in classes)
    generator, elements = seeded(), group.elements()
    label = torch.empty(group.order, dtype=torch.int64)
    for i, members in enumerate(classes):
        label[members] = i
    c = group.sample(group.order, generator=generator)
    moved = group.compose(group.compose(c, elements), group.inverse(c))
    assert torch.equal(label[group.index(moved)], label)


@pytest.mark.parametrize("group", [S(10), O(2), Cyclic(2_000_000), S(3) * SO(3), S(7) * S(6), A(11)], ids=str)
def test_long_lists_are_refused(group):
    with pytest.raises(ValueError, match="elements\\(\\) lists at most 1000000") as error:
        group.elements()
    assert str(group) in str(error.value)
    assert ("infinite" if group.order is None else str(group.order)) in str(error.value)


@given(st.integers(0, 2**32 - 1), st.sampled_from(GROUPS))
def test_inverse_reverses_products(seed, group):
    generator = seeded(seed)
    g, h = group.sample(3, generator=generator), group.sample(3, generator=generator)
    left = group.inverse(group.compose(g, h))
    right = group.compose(group.inverse(h), group.inverse(g))
    scale = max(1.0, *(float(x.abs().max()) for x in (*tensors(left), *tensors(right), *tensors(g), *tensors(h))))
    assert distance(group, left, right) < 1e-10 * scale**2


@every
def test_the_same_seed_gives_the_same_elements(group):
    a, b, c = (group.sample(5, generator=seeded(seed)) for seed in (3, 3, 4))
    assert distance(group, a, b) == 0
    if group.order is None:
        assert distance(group, a, c) > 0


@every
def test_zero_elements_are_a_batch_too(group):
    g = group.sample(0, generator=seeded())
    assert group.batch_shape(g) == (0,)
    assert group.batch_shape(group.compose(g, group.inverse(g))) == (0,)
    assert group.matrix(g).shape == (0, group.dim_V, group.dim_V)
    assert group.contains(g)


@every
def test_elements_take_reshape_and_move(group):
    g = group.sample(6, generator=seeded())
    assert group.batch_shape(group.reshape(g, 2, 3)) == (2, 3)
    assert group.batch_shape(group.take(g, 0)) == ()
    assert distance(group, group.take(group.reshape(g, 2, 3), 1), group.take(g, slice(3, 6))) == 0
    half = group.to(g, dtype=torch.float32)
    for before, after in zip(tensors(g), tensors(half), strict=True):
        assert after.dtype == (torch.float32 if before.is_floating_point() else before.dtype)
    assert group.device_of(g) == torch.device("cpu")


@every
def test_samples_take_the_dtype_and_device_asked_for(group, device):
    g = group.sample(4, generator=seeded(), dtype=torch.float32, device=device)
    for part in tensors(g):
        assert part.device.type == device
        assert part.dtype in (torch.float32, torch.int64)


def test_groups_are_equal_when_they_print_the_same():
    assert S(5) == S(5)
    assert hash(S(5)) == hash(S(5))
    distinct = {S(3), A(3), Cyclic(3), Dihedral(3), O(3), SO(3), E(3), SE(3), SL(3), GLPlus(3), Trivial(3), Trivial()}
    distinct |= {Lorentz(1, 3), Lorentz(1, 3, "proper"), Lorentz(3, 1), S(3) * SO(3), SO(3) * S(3)}
    assert len(distinct) == 17
    assert S(3) != "S(3)"
    with pytest.raises(AttributeError):
        S(3).n = 4


@pytest.mark.parametrize("kind", [S, A, Cyclic, Dihedral, O, SO, Sp, SL, GL, GLPlus, E, SE, Affine, U, SU, Trivial])
@pytest.mark.parametrize("n", [0, -1, 2.0, "3", True])
def test_sizes_must_be_positive_integers(kind, n):
    with pytest.raises(ValueError, match="n must be an integer of at least 1") as error:
        kind(n)
    assert kind.__name__ in str(error.value)
    assert repr(n) in str(error.value)


def test_only_groups_multiply():
    with pytest.raises(TypeError):
        S(3) * 2


def test_unknown_representations_name_the_known_ones():
    with pytest.raises(ValueError, match=r"S\(3\) has no representation named 'spin'; known: V, adjoint, det"):
        S(3).named("spin")


def test_factorials_fit():
    assert S(20).order == math.factorial(20)
    assert A(20).order == math.factorial(20) // 2
