"""Irreps of rotations and reflections in the plane: labels, signs, types, orthogonality, completeness."""

import math

import pytest
import torch

from grids import seeded
from intertwine.groups import SO, Cyclic, Dihedral, O, S
from intertwine.reps import Irrep, irrep_labels
from intertwine.reps.finite_irreps import PlanarIrrep

POLYGONS = [*(Cyclic(n) for n in (1, 2, 3, 4, 5, 8)), *(Dihedral(n) for n in (1, 2, 3, 4, 5, 8))]
polygons = pytest.mark.parametrize("group", POLYGONS, ids=str)
CONTINUOUS = [*((SO(2), (k,)) for k in (0, 1, 2, 5)), *((O(2), label) for label in [(0, 0), (1, 0), (1, 1), (1, 4)])]
EVERY = [*((group, label) for group in POLYGONS for label in irrep_labels(group)), *CONTINUOUS]
every = pytest.mark.parametrize("group, label", EVERY, ids=str)


def irreps(group) -> list[Irrep]:
    return [group.irrep(*label).terms[0][0].factors[0] for label in irrep_labels(group)]


def rotation(angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


@every
def test_they_are_orthogonal_representations(group, label):
    rep = group.irrep(*label)
    generator = seeded()
    g, h = group.sample(20, generator=generator), group.sample(20, generator=generator)
    M = rep.matrix(g)
    assert (rep.matrix(group.compose(g, h)) - M @ rep.matrix(h)).abs().max() < 1e-12
    assert (M.mT @ M - torch.eye(rep.dim)).abs().max() < 1e-12
    factor = rep.terms[0][0].factors[0]
    assert isinstance(factor, Irrep)
    assert factor.is_orthogonal
    assert factor.is_signed_permutation == (rep.dim == 1)
    assert (
        factor.is_trivial
        == factor.is_permutation
        == bool((rep.character(group.sample(50, generator=generator)) == 1).all())
    )


@pytest.mark.parametrize("k", [0, 1, 3])
def test_derivatives(k):
    for rep in (SO(2).irrep(k), O(2).irrep(min(k, 1), k)):
        X = rep.group.lie_algebra()
        t = 1e-5
        central = (rep.matrix(torch.linalg.matrix_exp(t * X)) - rep.matrix(torch.linalg.matrix_exp(-t * X))) / (2 * t)
        assert (rep.algebra_matrix(X) - central).abs().max() < 1e-6
    assert Cyclic(5).irrep(2).algebra_matrix(Cyclic(5).lie_algebra()).shape == (0, 2, 2)


def test_signs_of_rotations_and_reflections():
    angle = 2 * math.pi / 5
    assert (Cyclic(5).irrep(2).matrix(torch.tensor(1)) - rotation(2 * angle)).abs().max() < 1e-15
    assert (Dihedral(5).irrep(1, 2).matrix(torch.tensor([0, 1])) - rotation(2 * angle)).abs().max() < 1e-15
    F = torch.diag(torch.tensor([1.0, -1.0]).double())
    assert (Dihedral(5).irrep(1, 2).matrix(torch.tensor([1, 0])) - F).abs().max() < 1e-15
    assert (Dihedral(5).irrep(1, 2).matrix(torch.tensor([1, 1])) - rotation(2 * angle) @ F).abs().max() < 1e-15
    assert (SO(2).irrep(3).matrix(rotation(0.7)) - rotation(2.1)).abs().max() < 1e-14
    assert (O(2).irrep(1, 3).matrix(rotation(0.7) @ F) - rotation(2.1) @ F).abs().max() < 1e-14
    g = O(2).sample(10, generator=seeded())
    assert torch.equal(O(2).irrep(1, 0).matrix(g), O(2).det.matrix(g))
    assert (O(2).irrep(1, 1).matrix(g) - g).abs().max() < 1e-15
    assert Dihedral(4).irrep(0, 2).matrix(torch.tensor([[0, 1], [1, 0], [1, 1]])).flatten().tolist() == [-1, 1, -1]
    assert Dihedral(4).irrep(1, 2).matrix(torch.tensor([[0, 1], [1, 0], [1, 1]])).flatten().tolist() == [-1, -1, 1]
    assert Dihedral(4).irrep(1, 0).matrix(torch.tensor([[0, 1], [1, 0], [1, 1]])).flatten().tolist() == [1, -1, -1]


def test_labels():
    assert irrep_labels(Cyclic(1)) == ((0,),)
    assert irrep_labels(Cyclic(6)) == ((0,), (1,), (2,), (3,))
    assert irrep_labels(Dihedral(1)) == ((0, 0), (1, 0))
    assert irrep_labels(Dihedral(2)) == ((0, 0), (0, 1), (1, 0), (1, 1))
    assert irrep_labels(Dihedral(5)) == ((0, 0), (1, 0), (1, 1), (1, 2))
    assert irrep_labels(Dihedral(6)) == ((0, 0), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3))
    assert [irrep.dim for irrep in irreps(Cyclic(6))] == [1, 2, 2, 1]
    assert [irrep.dim for irrep in irreps(Dihedral(6))] == [1, 1, 1, 2, 2, 1]
    assert str(Dihedral(6).irrep(1, 2) + 2 * Dihedral(6).irrep(0, 3)) == "irrep(1, 2) + 2*irrep(0, 3)"


@every
def test_endomorphisms_are_all_that_commutes(group, label):
    """The commutant, by averaging over the group: 1 for real type, 2 for complex type, spanned by what is listed."""
    irrep = group.irrep(*label).terms[0][0].factors[0]
    basis = irrep.endomorphisms()
    complex_type = irrep.dim == 2 and len(label) == 1
    assert basis.shape == (2 if complex_type else 1, irrep.dim, irrep.dim)
    assert basis.dtype == torch.float64
    assert torch.equal(basis[0], torch.eye(irrep.dim).double())
    g = group.elements() if group.is_finite else group.sample(500, generator=seeded())
    M = irrep.matrix(g)
    assert (M[:, None] @ basis - basis @ M[:, None]).abs().max() < 1e-12
    if complex_type:
        assert basis[1].tolist() == [[0, -1], [1, 0]]
    d = irrep.dim
    constraints = torch.einsum("gij,kl->gikjl", M, torch.eye(d).double()) - torch.einsum(
        "ij,glk->gikjl", torch.eye(d).double(), M
    )
    assert d * d - torch.linalg.matrix_rank(constraints.reshape(-1, d * d), atol=1e-8) == len(basis)


@polygons
def test_matrix_entries_are_orthogonal(group):
    """Mean of rho_ij rho'_kl: zero between different irreps; delta_ik delta_jl / d for real type."""
    g = group.elements()
    for a in irreps(group):
        for b in irreps(group):
            mean = torch.einsum("gij,gkl->ijkl", a.matrix(g), b.matrix(g)) / group.order
            if a != b:
                assert mean.abs().max() < 1e-12
            elif len(a.endomorphisms()) == 1:
                one = torch.eye(a.dim).double()
                expected = torch.einsum("ik,jl->ijkl", one, one) / a.dim
                assert (mean - expected).abs().max() < 1e-12
            else:  # complex type: the entries of a rotation repeat, and the mean is the projection on the commutant
                E = a.endomorphisms() / math.sqrt(2)
                assert (mean - torch.einsum("eik,ejl->ijkl", E, E)).abs().max() < 1e-12


@polygons
def test_the_regular_representation_holds_each_as_often_as_its_dimension_over_its_type(group):
    """One copy of every irrep of Cyclic(n); in Dihedral(n) one of the flat ones, two of the planes: nothing is left."""
    g = group.elements()
    total = 0
    for irrep in irreps(group):
        chi = irrep.matrix(g).diagonal(dim1=-2, dim2=-1).sum(-1)
        copies = float((group.regular.character(g) * chi).mean()) / len(irrep.endomorphisms())
        expected = irrep.dim / len(irrep.endomorphisms())
        assert abs(copies - expected) < 1e-10
        total += round(copies) * irrep.dim
    assert total == group.order
    assert abs(float((group.regular.character(g) ** 2).mean()) - group.order) < 1e-10


@polygons
def test_there_are_as_many_as_real_classes(group):
    """Real irreps are counted by the classes of g and its inverse together."""
    classes = group.conjugacy_classes()
    label = torch.empty(group.order, dtype=torch.int64)
    for i, members in enumerate(classes):
        label[members] = i
    inverse = label[group.index(group.inverse(group.elements()))]
    pairs = {tuple(sorted((int(label[i]), int(inverse[i])))) for i in range(group.order)}
    assert len(irrep_labels(group)) == len(pairs)


@pytest.mark.parametrize(
    "group, label, message",
    [
        (Cyclic(4), (3,), r"Cyclic\(4\) has no irrep\(3\); it has irrep\(0\), irrep\(1\), irrep\(2\)"),
        (Cyclic(4), (0, 1), r"Cyclic\(4\): irreps are named irrep\(k\), got \(0, 1\)"),
        (Dihedral(3), (1,), r"Dihedral\(3\): irreps are named irrep\(j, k\), got \(1,\)"),
        (Dihedral(3), (0, 1), r"Dihedral\(3\) has no irrep\(0, 1\)"),
        (Dihedral(4), (1, 3), r"Dihedral\(4\) has no irrep\(1, 3\)"),
        (SO(2), (-1,), r"SO\(2\) has no irrep\(-1\); it has irrep\(k\) for k >= 0"),
        (SO(2), (), r"SO\(2\): irreps are named irrep\(k\), got \(\)"),
        (SO(2), (1.0,), r"SO\(2\): irreps are named irrep\(k\), got \(1.0,\)"),
        (O(2), (0, 1), r"O\(2\) has no irrep\(0, 1\)"),
        (O(2), (2, 1), r"O\(2\) has no irrep\(2, 1\)"),
        (O(3), (1,), r"O\(3\): irreps have labels for n = 2 here; those of O\(3\) and SO\(3\) are so3.Irreps"),
        (S(4), (1,), r"S\(4\) has no representation named 'irrep'"),
    ],
)
def test_unknown_labels_are_refused(group, label, message):
    with pytest.raises(ValueError, match=message):
        group.irrep(*label)


def test_only_polygons_list_their_irreps():
    with pytest.raises(
        ValueError, match=r"SO\(2\): the irreps that can be listed are those of Cyclic\(n\) and Dihedral\(n\)"
    ):
        irrep_labels(SO(2))


def test_equal_labels_of_different_groups_differ():
    assert PlanarIrrep(Cyclic(5), (1,)) != PlanarIrrep(Cyclic(7), (1,))
    assert Cyclic(5).irrep(1) == Cyclic(5).irrep(1)
