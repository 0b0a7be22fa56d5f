"""Induction and restriction: cosets in their documented order, reciprocity, double cosets, transitivity."""

import pytest
import torch

from grids import exp, seeded
from intertwine.groups import SE, SL, SO, A, Cyclic, Dihedral, E, GLPlus, Lorentz, O, S, Sp, Trivial
from intertwine.reps import Induced, Rep, Restricted, outer

INDUCED = {
    "S3 in S4: V": lambda: S(3).V.induce(S(4)),
    "S3 in S4: V^2 + 2 V + det": lambda: (S(3).V ** 2 + 2 * S(3).V + S(3).det).induce(S(4)),
    "S3 in S4: one factor for a sum": lambda: Rep(
        S(4), [(_one_term(Induced(S(3).V + S(3).det, _along(S(3), S(4)))), 2)]
    ),
    "C3 in D6: irrep": lambda: Cyclic(3).irrep(1).induce(Dihedral(6)),
    "D2 in D6: regular": lambda: Dihedral(2).regular.induce(Dihedral(6)),
    "1 in A4": lambda: Trivial().trivial.induce(A(4)),
    "S2*S2 in S4": lambda: outer(S(2).V, S(2).det).induce(S(4)),
    "O1 in S2*O1": lambda: O(1).V.induce(S(2) * O(1)),
    "SO2 in O2": lambda: (SO(2).V + 2 * SO(2).irrep(3)).induce(O(2)),
    "SO3 in O3": lambda: (SO(3).V ** 2 + SO(3).adjoint).induce(O(3)),
    "SO1 in O1": lambda: SO(1).V.induce(O(1)),
    "SE2 in E2": lambda: (SE(2).V * SE(2).V.dual).induce(E(2)),
    "restricted in full Lorentz": lambda: Lorentz(1, 3, "restricted").V.induce(Lorentz(1, 3)),
    "proper in full Lorentz": lambda: Lorentz(1, 3, "proper").V.dual.induce(Lorentz(1, 3)),
}
RESTRICTED = {
    "S4 to S3": lambda: (S(4).V ** 2 + 2 * S(4).regular + S(4).det).restrict(S(3)),
    "S3 to O3 back": lambda: (O(3).V ** 2 + O(3).det).restrict(S(3)),
    "O3 to SO2": lambda: (O(3).V + O(3).adjoint).restrict(SO(2)),
    "D6 to C3": lambda: (Dihedral(6).regular + Dihedral(6).irrep(1, 2)).restrict(Cyclic(3)),
    "O2 to C5": lambda: (O(2).irrep(1, 2) + O(2).V).restrict(Cyclic(5)),
    "Lorentz to SO3": lambda: (Lorentz(1, 3).V * Lorentz(1, 3).V.dual).restrict(SO(3)),
    "E3 to O3": lambda: (E(3).V.dual + E(3).adjoint).restrict(O(3)),
    "SL2 to SO2": lambda: (SL(2).V * SL(2).V.dual).restrict(SO(2)),
    "member of a product": lambda: (S(3) * SO(3)).V.restrict(SO(3)),
    "induced, then restricted": lambda: SO(3).V.induce(O(3)).restrict(O(2)),
    "a turn about another axis": lambda: (SO(3).V ** 2).restrict(SO(2), _about_x),
    "both members alike": lambda: (SO(2) * SO(2)).V.restrict(SO(2), lambda h: (h, h @ h)),
    "to a product": lambda: O(3).V.restrict(O(2) * O(1)),
}
EVERY = {**INDUCED, **RESTRICTED}
every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY.keys())


def _along(source, target):
    from intertwine.groups import embedding

    return embedding(source, target)


def _one_term(factor):
    from intertwine.reps import Product

    return Product((factor,))


def _about_x(h):
    g = torch.eye(3, dtype=h.dtype, device=h.device).repeat(*h.shape[:-2], 1, 1)
    g[..., 1:, 1:] = h
    return g


@every
def test_they_are_representations(make):
    rep = make()
    group, generator = rep.group, seeded()
    g, h = group.sample(12, generator=generator), group.sample(12, generator=generator)
    M, N = rep.matrix(g), rep.matrix(h)
    scale = float(M.norm(dim=(-1, -2)).max() * N.norm(dim=(-1, -2)).max())
    assert (rep.matrix(group.compose(g, h)) - M @ N).abs().max() < 1e-10 * scale
    assert (rep.matrix(group.inverse(g)) @ M - torch.eye(rep.dim)).abs().max() < 1e-10 * scale**2
    assert (rep.matrix(group.identity()) - torch.eye(rep.dim)).abs().max() < 1e-14
    assert (rep.character(g) - M.diagonal(dim1=-2, dim2=-1).sum(-1)).abs().max() < 1e-10 * scale
    if rep.is_orthogonal:
        assert (M.mT @ M - torch.eye(rep.dim)).abs().max() < 1e-10
    if rep.is_permutation:
        assert torch.equal(rep.permutation(g), M.argmax(-2))
    dual = rep.dual.matrix(g)
    assert (dual - torch.linalg.inv(M).mT).abs().max() < 1e-9 * scale


@every
def test_their_derivatives(make):
    rep = make()
    group, t = rep.group, 1e-5
    if group.is_finite:
        assert rep.algebra_matrix(group.lie_algebra()).shape == (0, rep.dim, rep.dim)
        return
    X = group.lie_algebra()
    flows = [exp(group, tuple(s * part for part in X) if isinstance(X, tuple) else s * X) for s in (t, -t)]
    central = (rep.matrix(flows[0]) - rep.matrix(flows[1])) / (2 * t)
    assert (rep.algebra_matrix(X) - central).abs().max() < 1e-6


@every
def test_float32_elements_are_welcome(make):
    rep = make()
    g = rep.group.sample(8, generator=seeded(5))
    x = rep.randn(8, generator=seeded(6))
    y = rep.act(rep.group.to(g, dtype=torch.float32), x)
    assert y.dtype == torch.float32
    exact = rep.act(g, x.double())
    assert (y - exact).abs().max() < 1e-5 * float(exact.norm())


def test_names_and_dimensions():
    rep = (2 * S(3).V + S(3).det).induce(S(4))
    assert str(rep) == "2*Ind(S(3), V) + Ind(S(3), det)"
    assert rep.dim == 4 * (2 * 3 + 1)
    assert rep.terms[0][0].factors[0].index == 4
    assert str(S(4).regular.restrict(S(3))) == "Res(S(4), regular)"
    assert isinstance(S(4).regular.restrict(S(3)).terms[0][0].factors[0], Restricted)
    custom = SO(3).V.restrict(SO(2), _about_x)
    assert str(custom).startswith("Res(SO(3), V, #")
    assert custom == SO(3).V.restrict(SO(2), lambda h: _about_x(h))
    assert custom != SO(3).V.restrict(SO(2))


def test_the_layout_is_coset_component_channel():
    """3 copies of V of S(2) induced to S(3): blocks of the representatives e, (1 2) and (0 1 2) -> (1, 2, 0)."""
    rep = (3 * S(2).V).induce(S(3))
    factor = rep.terms[0][0].factors[0]
    assert factor.cosets.representatives().tolist() == [[0, 1, 2], [0, 2, 1], [1, 2, 0]]
    x = torch.arange(18.0)
    assert rep.split(x)[0].shape == (6, 3)
    blocks = rep.split(x)[0].unflatten(0, (3, 2))
    moved = rep.split(rep.act(torch.tensor([0, 2, 1]), x))[0].unflatten(0, (3, 2))
    assert torch.equal(moved[1], blocks[0])  # (1 2) e = (1 2) e
    assert torch.equal(moved[0], blocks[1])
    # (1 2)(1, 2, 0) = (2, 1, 0) = (1, 2, 0)(1, 0, 2): the third block stays, its two components change places
    assert torch.equal(moved[2], blocks[2].flip(0))


def test_the_reflection_comes_second_in_O():
    cosets = SO(3).V.induce(O(3)).terms[0][0].factors[0].cosets
    assert torch.equal(cosets.representatives()[0], torch.eye(3).double())
    assert torch.equal(cosets.representatives()[1], torch.diag(torch.tensor([-1.0, 1, 1]).double()))
    j, h = cosets.locate(O(3).sample(20, generator=seeded()))
    assert SO(3).contains(h)
    assert set(j.tolist()) == {0, 1}


@pytest.mark.parametrize("group", [S(3), A(4), Dihedral(2), Cyclic(5), S(2) * Cyclic(3)], ids=str)
def test_the_regular_representation_is_induced_from_one_element(group):
    g = group.elements()
    assert torch.equal(Trivial().trivial.induce(group).matrix(g), group.regular.matrix(g))


def test_what_has_a_name_keeps_it():
    """Restricted to a group on the same space, V is V again, so that maps between them are found by name."""
    assert O(3).V.restrict(SO(3)) == SO(3).V
    assert (O(3).V ** 2 + O(3).det + O(3).adjoint).restrict(SO(3)) == SO(3).V ** 2 + SO(3).det + SO(3).adjoint
    assert S(4).V.restrict(A(4)) == A(4).V
    assert GLPlus(4).V.dual.restrict(Sp(4)) == Sp(4).V.dual
    assert O(2).irrep(1, 3).restrict(SO(2)) == SO(2).irrep(3)
    assert Dihedral(6).irrep(1, 3).restrict(Cyclic(6)) == Cyclic(6).irrep(3)
    assert (S(3) * SO(3)).pull(0, S(3).V ** 2).restrict(S(3)) == S(3).V ** 2
    assert S(5).V.restrict(S(5)) == S(5).V == S(5).V.induce(S(5))
    for rep, H in [(O(2).irrep(1, 3), SO(2)), (Dihedral(6).irrep(0, 3), Cyclic(6)), (O(3).adjoint, SO(3))]:
        h = H.sample(5, generator=seeded())
        along = _along(H, rep.group)
        assert (rep.restrict(H).matrix(h) - rep.matrix(along(h))).abs().max() < 1e-12


# --- counting by characters


def inner(a: Rep, b: Rep) -> float:
    """Mean over the group of the product of characters: the dimension of the maps from one to the other."""
    g = a.group.elements()
    return float((a.character(g) * b.character(a.group.inverse(g))).mean())


def subgroups_of_D6():
    """All sixteen, as (group, embedding): rotations by multiples of 6/m, alone or with the reflections r^s f."""
    for m in (1, 2, 3, 6):
        step = 6 // m
        yield pytest.param(Cyclic(m), None, id=f"C{m}")
        for s in range(step):
            yield pytest.param(
                Dihedral(m),
                lambda h, step=step, s=s: torch.stack([h[..., 0], (step * h[..., 1] + s * h[..., 0]) % 6], -1),
                id=f"D{m} through r^{s} f",
            )


@pytest.mark.parametrize("H, embed", list(subgroups_of_D6()))
def test_frobenius_reciprocity(H, embed):
    G = Dihedral(6)
    plane = H.irrep(1, 1) if H in (Dihedral(3), Dihedral(6)) else H.irrep(1) if H.order in (3, 6) else H.det
    for U in (H.trivial, plane, H.regular):
        induced = U.induce(G, embed)
        assert induced.dim == U.dim * G.order // H.order
        for W in (G.V, G.irrep(1, 2), G.irrep(0, 3) + G.irrep(1, 1) * G.V):
            there, here = inner(induced, W), inner(U, W.restrict(H, embed))
            assert abs(there - here) < 1e-10
            assert abs(there - round(there)) < 1e-10


def double_cosets(G, H, K, along_H, along_K) -> list[int]:
    """The first element of every H g K."""
    label = torch.full((G.order,), -1)
    found = []
    left, right = along_H(H.elements()), along_K(K.elements())
    for i in range(G.order):
        if label[i] < 0:
            g = G.take(G.elements(), i)
            block = G.compose(G.compose(left[:, None], g), right)
            label[G.index(block).unique()] = len(found)
            found.append(i)
    return found


@pytest.mark.parametrize(
    "H, K", [(S(3), Dihedral(4)), (Dihedral(4), S(3)), (S(3), S(3)), (Dihedral(4), Dihedral(4))], ids=str
)
def test_mackey_on_S4(H, K):
    """Res_H Ind_K 1 has as many trivial parts as there are double cosets HgK, and dimension |G| / |K|."""
    G = S(4)
    rep = K.trivial.induce(G).restrict(H)
    count = len(double_cosets(G, H, K, _along(H, G), _along(K, G)))
    assert rep.dim == G.order // K.order
    assert abs(inner(rep, H.trivial) - count) < 1e-10
    # Mackey's formula for characters: chi(h) = sum over double cosets of the character induced from H and g K g^-1
    h, elements = _along(H, G)(H.elements()), G.elements()
    inside = torch.zeros(G.order, dtype=torch.bool)
    inside[G.index(_along(K, G)(K.elements()))] = True
    conjugated = G.compose(G.compose(G.inverse(elements)[:, None], h), elements[:, None])
    expected = inside[G.index(conjugated)].sum(0) / K.order
    assert (rep.character(H.elements()) - expected).abs().max() < 1e-10


def test_induction_in_stages_differs_by_the_stated_permutation():
    """Block (j, i) of Ind_S3 Ind_S2 is block t of Ind_S2, where t_j s_i = t h for h in S2; h acts inside the block."""
    U = S(2).V
    direct, staged = U.induce(S(4)), U.induce(S(3)).induce(S(4))
    assert direct.dim == staged.dim == 24
    s = U.induce(S(3)).terms[0][0].factors[0].cosets.representatives()
    t = S(3).trivial.induce(S(4)).terms[0][0].factors[0].cosets.representatives()
    both = S(4).compose(t[:, None], _along(S(3), S(4))(s))  # [4, 3]
    coset, h = direct.terms[0][0].factors[0].cosets.locate(both)
    P = torch.zeros(24, 24, dtype=torch.float64)
    for block, (c, part) in enumerate(zip(coset.flatten(), h.reshape(12, 2))):
        P[2 * c : 2 * c + 2, 2 * block : 2 * block + 2] = U.matrix(part)
    assert torch.equal(P @ P.mT, torch.eye(24).double())
    g = S(4).sample(10, generator=seeded())
    assert torch.equal(direct.matrix(g) @ P, P @ staged.matrix(g))


def test_induction_to_O2_makes_two_flips_of_each_frequency():
    """SO(2).irrep(k) induced to O(2) has the character of 2 copies of (1, k): 2 tr on rotations, 0 on reflections."""
    rep = SO(2).irrep(3).induce(O(2))
    g = O(2).sample(50, generator=seeded())
    expected = 2 * O(2).irrep(1, 3).character(g)
    assert (rep.character(g) - expected).abs().max() < 1e-10


# --- errors


@pytest.mark.parametrize(
    "H, G",
    [(SO(2), SO(3)), (Cyclic(5), O(2)), (Trivial(), SO(2)), (SO(3), E(3)), (SL(2), GLPlus(2)), (O(3), Lorentz(1, 3))],
)
def test_an_infinite_index_is_refused(H, G):
    with pytest.raises(ValueError, match="has infinite index in") as error:
        H.trivial.induce(G)
    assert f"{H} has infinite index in {G}" in str(error.value)


def test_other_refusals():
    with pytest.raises(ValueError, match=r"O\(3\) has no standard embedding in SO\(3\)"):
        O(3).V.induce(SO(3))
    with pytest.raises(ValueError, match=r"S\(4\) has no standard embedding in S\(3\)"):
        S(3).V.restrict(S(4))
    with pytest.raises(ValueError, match="sends several elements to one"):
        Cyclic(4).V.induce(Cyclic(2), lambda h: h % 2)
    with pytest.raises(ValueError, match="not a homomorphism"):
        S(3).V.restrict(S(3), lambda h: S(3).inverse(h))
    with pytest.raises(ValueError, match=r"cosets of .* are not known"):
        SO(2).V.induce(O(2), lambda h: h.mT)
    with pytest.raises(ValueError, match=r"cosets of .* are not known"):
        (S(2) * SO(2)).V.induce(S(2) * SO(2), lambda g: (g[0], g[1].mT))
    with pytest.raises(ValueError, match=r"Induced: V belongs to S\(3\)"):
        Induced(S(3).V, _along(S(2), S(4)))
    with pytest.raises(ValueError, match=r"Restricted: V belongs to S\(3\)"):
        Restricted(S(3).V.terms[0][0].factors[0], _along(S(2), S(4)))
    with pytest.raises(ValueError, match="at most 1000000"):
        S(9).V.induce(S(10))
