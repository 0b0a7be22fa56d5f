"""How one group sits inside another: homomorphisms, their differentials, and their identity across processes."""

import pytest
import torch

from grids import distance, seeded, tensors
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
    Embedding,
    GLPlus,
    Lorentz,
    O,
    S,
    Sp,
    Trivial,
    U,
    embedding,
)

STANDARD = [
    *(
        (S(3), S(3)),
        (S(3), S(5)),
        (A(3), A(5)),
        (A(4), S(4)),
        (Cyclic(5), A(5)),
        (Dihedral(4), S(6)),
        (S(2) * S(3), S(5)),
    ),
    *((Cyclic(3), Cyclic(6)), (Cyclic(3), Dihedral(6)), (Dihedral(2), Dihedral(6)), (Dihedral(1), Dihedral(3))),
    *((Cyclic(5), SO(2)), (Cyclic(5), O(2)), (Dihedral(2), O(2)), (Dihedral(5), O(2)), (S(3), O(3)), (A(3), SO(3))),
    *(
        (SO(3), O(3)),
        (SO(2), SO(3)),
        (O(1), O(3)),
        (O(2) * O(1), O(3)),
        (SO(3), SL(3)),
        (SL(3), GLPlus(3)),
        (Sp(4), SL(4)),
    ),
    *((Lorentz(1, 3, "restricted"), Lorentz(1, 3)), (SO(3), Lorentz(1, 3, "restricted")), (O(3), Lorentz(1, 3))),
    *((SE(3), E(3)), (O(3), E(3)), (SO(2), SE(3)), (SE(2), GLPlus(3)), (S(3), E(3)), (SO(1), O(1)), (Trivial(), S(3))),
    *((Trivial(), S(3) * O(2)), (S(3), S(3) * SO(3)), (SO(3), S(3) * SO(3)), (Trivial(2), SE(2))),
]
standard = pytest.mark.parametrize("source, target", STANDARD, ids=str)


@standard
def test_standard_embeddings_are_injective_homomorphisms(source, target):
    embed = embedding(source, target)
    generator = seeded()
    g, h = source.sample(40, generator=generator), source.sample(40, generator=generator)
    assert target.contains(embed(g), 1e-8)
    assert target.batch_shape(embed(g)) == (40,)
    assert distance(target, embed(source.compose(g, h)), target.compose(embed(g), embed(h))) < 1e-9
    assert distance(target, embed(source.identity()), target.identity()) == 0
    assert distance(target, embed(source.take(g, 0)), target.take(embed(g), 0)) < 1e-15
    if source.is_finite:
        images = embed(source.elements())
        flat = torch.cat([part.reshape(source.order, -1).double() for part in tensors(images)], -1)
        assert len((flat * 1e6).round().unique(dim=0)) == source.order


@standard
def test_differentials_map_flows_to_flows(source, target):
    embed = embedding(source, target)
    X = source.lie_algebra()
    image = embed.algebra(X)
    assert target.algebra_batch_shape(image) == source.algebra_batch_shape(X)
    if source.is_finite:
        assert all(not part.any() for part in tensors(image))
        return
    if isinstance(X, tuple) or isinstance(image, tuple):
        return
    flow = torch.linalg.matrix_exp(0.4 * X)
    assert distance(target, embed(flow), torch.linalg.matrix_exp(0.4 * image)) < 1e-12


@standard
def test_the_standard_function_given_by_hand_is_the_standard_embedding(source, target):
    embed = embedding(source, target)
    again = embedding(source, target, lambda h: embed.function(h))
    assert again == embed
    assert again.name == ""
    assert embedding(source, target, embed) is embed


@standard
def test_V_is_kept_only_where_its_matrices_are(source, target):
    embed = embedding(source, target)
    if embed.keeps_V:
        g = source.sample(10, generator=seeded())
        assert torch.equal(target.matrix(embed(g)), source.matrix(g))
    assert embed.keeps_V == ((source, target) in KEEPING)


KEEPING = [
    *((S(3), S(3)), (A(4), S(4)), (Cyclic(5), A(5)), (S(3), O(3)), (A(3), SO(3)), (SO(3), O(3)), (SO(3), SL(3))),
    *((SL(3), GLPlus(3)), (Sp(4), SL(4)), (Lorentz(1, 3, "restricted"), Lorentz(1, 3)), (SE(3), E(3)), (SO(1), O(1))),
    *((SE(2), GLPlus(3)),),
]

NONE = [
    *((S(4), S(3)), (S(3), A(3)), (S(3), A(5)), (Cyclic(4), A(4)), (Cyclic(4), Cyclic(6)), (Dihedral(3), Cyclic(6))),
    *((Dihedral(2), S(4)), (Dihedral(3), SO(2)), (Cyclic(4), O(3)), (O(3), SO(3)), (O(3), GLPlus(3)), (S(3), SO(3))),
    *((Lorentz(1, 3), Lorentz(1, 3, "proper")), (Lorentz(1, 3), O(4)), (E(2), SE(2)), (E(2), O(3)), (SE(2), SE(3))),
    *(
        (S(2), S(2) * S(2)),
        (O(2), S(3) * SO(3)),
        (O(2) * O(2), O(3)),
        (SO(3), S(9)),
        (GLPlus(2), SL(2)),
        (SO(4), Lorentz(1, 3)),
    ),
]


@pytest.mark.parametrize("source, target", NONE, ids=str)
def test_pairs_without_a_standard_embedding_ask_for_one(source, target):
    with pytest.raises(ValueError, match="has no standard embedding in") as error:
        embedding(source, target)
    assert str(source) in str(error.value)
    assert str(target) in str(error.value)


def test_lorentz_holds_rotations_on_the_last_axes():
    R = SO(3).sample(1, generator=seeded())[0]
    g = embedding(SO(3), Lorentz(1, 3))(R)
    assert g[0].tolist() == [1, 0, 0, 0]
    assert torch.equal(g[1:, 1:], R)


def test_a_turn_about_another_axis():
    def about_x(h):
        g = torch.eye(3, dtype=h.dtype).repeat(*h.shape[:-2], 1, 1)
        g[..., 1:, 1:] = h
        return g

    turn = embedding(SO(2), SO(3), about_x)
    assert turn != embedding(SO(2), SO(3))
    assert str(turn).startswith("SO(2) in SO(3) by #")
    assert turn == embedding(SO(2), SO(3), lambda h: about_x(h))
    X = turn.algebra(SO(2).lie_algebra())
    assert X[0].tolist() == [[0, 0, 0], [0, 0, 1], [0, -1, 0]]


def test_differentials_reach_into_products():
    twice = embedding(SO(2), SO(2) * SO(2), lambda h: (h, h @ h))
    X = SO(2).lie_algebra()
    once, double = twice.algebra(X)
    assert torch.equal(once, X)
    assert torch.equal(double, 2 * X)
    first = embedding(S(3) * SO(2), O(2), lambda g: g[1])
    assert torch.equal(first.algebra((torch.zeros(1, 3, 3).double(), X)), X)
    sign = embedding(S(2) * SO(2), S(2), lambda g: g[0])
    assert torch.equal(sign.algebra((torch.zeros(1, 2, 2).double(), X)), torch.zeros(1, 2, 2).double())


@pytest.mark.parametrize(
    "function",
    [
        lambda h: 2 * h,  # not in the group
        lambda h: h.mT,  # reverses products
        lambda h: h[0],  # one element for a batch
        lambda h: torch.eye(2),  # float32 without a batch
        lambda h: h @ torch.ones(5, 5),  # does not run
        lambda h: None,
    ],
)
def test_functions_that_are_no_homomorphisms_are_refused(function):
    with pytest.raises(ValueError, match=r"embed: the function .* O\(2\)"):
        embedding(O(2), O(2), function)


def test_embeddings_are_values():
    embed = embedding(S(3), S(5))
    assert isinstance(embed, Embedding)
    assert {embed: 1}[embedding(S(3), S(5))] == 1
    assert embed != embedding(S(3), S(4))


UNITARY = [(U(2), Sp(4)), (SU(2), Sp(4)), (U(1), U(2)), (O(2), U(2)), (SO(2), SU(2)), (SU(2), SU(3))]
REAL = [(U(2), SO(4)), (SO(3), GL(3)), (O(2), GL(3)), (SE(2), Affine(2)), (GLPlus(2), GL(2))]


@pytest.mark.parametrize("source, target", [*UNITARY, *REAL], ids=str)
def test_unitary_and_linear_groups_have_their_places(source, target):
    embed = embedding(source, target)
    g, h = source.sample(5, generator=seeded()), source.sample(5, generator=seeded(1))
    assert target.contains(embed(g), 1e-9)
    assert distance(target, embed(source.compose(g, h)), target.compose(embed(g), embed(h))) < 1e-12 * 100
    V = target.V.restrict(source)
    assert (V.matrix(g) - target.V.matrix(embed(g))).abs().max() < 1e-12
    assert (V == source.V) == ((source, target) in REAL and source.dim_V == target.dim_V)
    X = source.lie_algebra()
    flow = torch.linalg.matrix_exp(1e-6 * embed.algebra(X))
    assert (flow - embed(torch.linalg.matrix_exp(1e-6 * X))).abs().max() < 1e-11


def test_reflections_have_no_place_among_oriented_maps():
    for source, target in [(E(2), Affine(2)), (U(2), SU(2)), (O(2), SU(2)), (O(3), GLPlus(3))]:
        with pytest.raises(ValueError, match="no standard embedding"):
            embedding(source, target)
