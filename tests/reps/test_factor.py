"""The atoms of representations: what they print, and their matrices where these are easily got wrong."""

import pytest
import torch

from grids import seeded
from intertwine.groups import SE, SL, SO, A, Cyclic, Dihedral, E, GLPlus, Lorentz, O, S, Sp
from intertwine.reps import Factor, Product, Rep


def factor(rep: Rep) -> Factor:
    """The only factor of the only term."""
    ((W, c),) = rep.terms
    assert c == 1
    return W.factors[0]


@pytest.mark.parametrize("group", [S(3), A(4), Dihedral(4), Dihedral(2), Cyclic(6), O(1), S(2) * Cyclic(3)], ids=str)
def test_the_regular_representation_multiplies_from_the_left(group):
    elements = group.elements()
    for i in range(group.order):
        g = group.take(elements, i)
        moved = group.index(group.compose(g, elements))  # e_h -> e_gh
        x = torch.arange(float(group.order))
        y = group.regular.act(g, x)
        assert torch.equal(y[moved], x)
    assert torch.equal(
        group.regular.character(elements), torch.tensor([group.order] + [0] * (group.order - 1)).double()
    )


def test_the_determinant_is_the_sign_of_a_permutation():
    assert S(3).det.matrix(S(3).elements()).flatten().tolist() == [1, -1, -1, 1, 1, -1]
    assert A(4).det.matrix(A(4).elements()).flatten().tolist() == [1] * 12
    rough = O(3).sample(500, generator=seeded(), dtype=torch.float32)
    assert set(O(3).det.matrix(rough).flatten().tolist()) == {-1, 1}  # exactly, though the elements are rounded


@pytest.mark.parametrize("group", [S(4), S(3) * S(2), O(2) * S(3), GLPlus(2) * Sp(2), S(2) * O(1) * SO(3)], ids=str)
def test_the_determinant_is_that_of_V(group):
    g = group.sample(20, generator=seeded())
    values = group.det.matrix(g).flatten()
    assert (values - torch.linalg.det(group.V.matrix(g))).abs().max() < 1e-12 * values.abs().max()


def test_determinants_need_no_large_matrix():
    group = S(300) * S(301)  # V has 90 300 dimensions
    assert set(group.det.matrix(group.sample(20, generator=seeded())).flatten().tolist()) == {-1, 1}


@pytest.mark.parametrize(
    "group, unit",
    [(O(3), True), (SL(2), True), (Sp(4), True), (Lorentz(1, 3), True), (E(2), True), (SE(1), True), (GLPlus(2), False),
     (S(3) * GLPlus(2), False), (S(3) * SL(2), True)],
    ids=str,
)  # fmt: skip
def test_determinants_are_signs_where_the_group_keeps_volumes(group, unit):
    assert group.det.is_orthogonal == group.det.is_signed_permutation == unit
    values = group.det.matrix(group.sample(40, generator=seeded())).flatten()
    assert bool((values.abs() == 1).all()) == unit
    assert str(group.det.dual) == ("det" if unit else "det'")


def test_the_adjoint_moves_the_algebra():
    """R [a]x R^T = [Ra]x, in the basis of SO(3)'s algebra: coordinates (a_z, -a_y, a_x) up to sign."""
    R = SO(3).sample(5, generator=seeded())
    basis = SO(3).lie_algebra()
    coordinates = torch.randn(3, generator=seeded()).double()
    X = torch.einsum("d,dij->ij", coordinates, basis)
    moved = torch.einsum("bd,dij->bij", SO(3).adjoint.act(R, coordinates.expand(5, 3)), basis)
    assert (moved - R @ X @ R.mT).abs().max() < 1e-14
    assert SO(3).adjoint.is_orthogonal
    assert not Sp(2).adjoint.is_orthogonal
    assert not SE(2).adjoint.is_orthogonal


def test_the_adjoint_is_orthogonal_only_in_an_orthonormal_basis():
    class Stretched(SO):
        """SO(3) with an algebra whose basis vectors differ in length."""

        def lie_algebra(self):
            return super().lie_algebra() * torch.tensor([1.0, 2.0, 3.0]).double()[:, None, None]

        def __str__(self):
            return f"Stretched({self.n})"

    assert not Stretched(3).adjoint.is_orthogonal


@pytest.mark.parametrize("group", [S(3), SO(1), O(1), S(3) * Cyclic(2)], ids=str)
def test_no_algebra_no_adjoint(group):
    with pytest.raises(ValueError, match="has no Lie algebra"):
        _ = group.adjoint


@pytest.mark.parametrize("group", [O(2), S(3) * SO(3), SL(2)], ids=str)
def test_no_list_no_regular_representation(group):
    with pytest.raises(ValueError, match="is infinite; only a finite group has a regular representation"):
        _ = group.regular
    with pytest.raises(ValueError, match="at most 1000000"):
        _ = S(12).regular


def test_names():
    assert [str(factor(rep)) for rep in (S(3).V, SL(2).V.dual, O(2).det, S(3).regular, SO(3).adjoint)] == [
        "V",
        "V'",
        "det",
        "regular",
        "adjoint",
    ]
    group = S(3) * GLPlus(2)
    assert str(group.V.dual) == "V[0]*V'[1]"
    assert str(group.V.dual.dual) == "V[0]*V[1]"


def test_factors_are_values():
    assert factor(S(3).V) == factor(S(3).V)
    assert factor(S(3).V) != factor(A(3).V)
    assert factor(S(3).V) != "V"
    assert {factor(S(3).V): 1}[factor(S(3).V)] == 1
    assert repr(factor(S(3).V)) == "V"


class Shear(Factor):
    """The group of positive scalings, as translations: x -> (1, log x; 0, 1). No algebra is given."""

    group, dim = GLPlus(1), 2

    def matrix(self, g, dtype=torch.float64):
        M = torch.eye(2, dtype=dtype).repeat(*g.shape[:-2], 1, 1)
        M[..., 0, 1] = g[..., 0, 0].log().to(dtype)
        return M

    def __str__(self):
        return "shear"


def test_a_factor_of_ones_own():
    rep = Rep(GLPlus(1), [(Product((Shear(),)), 2)])
    g, h = GLPlus(1).sample(2, generator=seeded()).unbind()
    assert (rep.matrix(g @ h) - rep.matrix(g) @ rep.matrix(h)).abs().max() < 1e-14
    assert str(rep.dual) == "2*shear'"
    assert (rep.dual.matrix(g) - torch.linalg.inv(rep.matrix(g)).mT).abs().max() < 1e-14
    with pytest.raises(ValueError, match=r"shear of GLPlus\(1\) does not say how the Lie algebra acts"):
        rep.algebra_matrix(GLPlus(1).lie_algebra())
    with pytest.raises(ValueError, match=r"shear of GLPlus\(1\) is not a permutation representation"):
        Shear().permutation(g)
