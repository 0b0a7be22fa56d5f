"""Any representation as a sum of irreps: multiplicities of theory, types, a basis that makes it block diagonal."""

import numpy as np
import pytest
import torch

from grids import seeded
from intertwine import maps, so3
from intertwine.groups import SL, SO, SU, A, Cyclic, Dihedral, Lorentz, O, PermutationGroup, S, U

COUNTS = [
    (lambda: Cyclic(5).V, {"irrep(0)": 1, "irrep(1)": 1, "irrep(2)": 1}),
    (lambda: Cyclic(8).regular, {f"irrep({k})": 1 for k in range(5)}),
    (lambda: Dihedral(4).regular, {"irrep(0, 0)": 1, "irrep(0, 2)": 1, "irrep(1, 0)": 1, "irrep(1, 2)": 1}),
    (lambda: 3 * Dihedral(5).irrep(1, 2), {"irrep(1, 2)": 3}),
    (lambda: S(5).V, {"(5)": 1, "(4, 1)": 1}),
    (lambda: 2 * S(4).V + S(4).V, {"(4)": 3, "(3, 1)": 3}),
    (lambda: S(4).V ** 2, {"(4)": 2, "(3, 1)": 3, "(2, 2)": 1, "(2, 1, 1)": 1}),
    (lambda: S(6).V ** 2, {"(6)": 2, "(5, 1)": 3, "(4, 2)": 1, "(4, 1, 1)": 1}),
    (lambda: O(3).V ** 2, {"0e": 1, "1e": 1, "2e": 1}),
    (lambda: O(3).V ** 3, {"0o": 1, "1o": 3, "2o": 2, "3o": 1}),
    (lambda: SO(2).V ** 2, {"irrep(0)": 2, "irrep(2)": 1}),
]


@pytest.mark.parametrize(("make", "counts"), COUNTS, ids=[str(k) for k in range(len(COUNTS))])
def test_multiplicities(make, counts):
    found = maps.decompose(make())
    have = dict(zip(found.labels, found.multiplicities))
    assert {label: have[label] for label in counts} == counts
    assert sum(d * m for d, m in zip(found.dims, found.multiplicities)) == found.rep.dim
    if found.rep.group == Dihedral(4):  # the regular representation holds the plane twice
        assert have.pop("irrep(1, 1)") == 2
    assert set(have) == set(counts)


@pytest.mark.parametrize(
    ("make", "kinds", "commutant"),
    [
        (lambda: Cyclic(5).irrep(1), "C", 2),
        (lambda: Dihedral(5).irrep(1, 1), "R", 1),
        (lambda: SO(2).V, "C", 2),
        (lambda: O(2).V, "R", 1),
        (lambda: SU(2).V, "H", 4),
        (lambda: U(2).V, "C", 2),
        (lambda: 2 * A(3).V, "RC", 12),
        (lambda: PermutationGroup("(0 1 2 3)(4 5 6 7), (0 4 2 6)(1 7 3 5)").V, "RRRRH", 8),  # the quaternions
    ],
)
def test_types(make, kinds, commutant):
    """One, two or four endomorphisms; with multiplicities their squares add up to all maps that commute."""
    rep = make()
    found = maps.decompose(rep)
    assert "".join(found.types) == kinds
    assert found.commutant == commutant == maps.dimension(rep, rep)
    for part in found.parts:
        products = np.einsum("eij,fkj->efik", part.endomorphisms, part.endomorphisms)
        assert np.abs(products[range(len(products)), range(len(products))] - np.eye(part.dim)).max() < 1e-10


@pytest.mark.parametrize(
    "make",
    [
        lambda: 2 * S(4).V ** 2 + S(4).V,
        lambda: 3 * Cyclic(6).regular + Cyclic(6).irrep(1),
        lambda: 2 * O(3).V ** 2 + O(3).V,
        lambda: 2 * A(4).V + A(4).V ** 2,
        lambda: SU(2).V + 2 * SU(2).V ** 2,
    ],
)
def test_the_basis_is_block_diagonal(make):
    """Q' g Q is, for every label, one matrix times the identity of the copies; alike for named irreps."""
    rep = make()
    found = maps.decompose(rep)
    assert np.abs(found.Q.T @ found.Q - np.eye(rep.dim)).max() < 1e-10
    g = rep.group.sample(3, generator=seeded())
    turned = found.Q.T @ rep.matrix(g).numpy() @ found.Q
    start = 0
    for part, d, m in zip(found.parts, found.dims, found.multiplicities):
        block = turned[:, start : start + d * m, start : start + d * m].reshape(-1, d, m, d, m)
        small = block[:, :, 0, :, 0]
        assert np.abs(block - np.einsum("gij,ab->giajb", small, np.eye(m))).max() < 1e-10
        if part.term is not None:
            assert np.abs(small - type(rep)(rep.group, [(part.term, 1)]).matrix(g).numpy()).max() < 1e-10
        turned[:, start : start + d * m, start : start + d * m] = 0
        start += d * m
    assert np.abs(turned).max() < 1e-10


def test_features_of_named_irreps():
    rep = 2 * O(3).V ** 2
    found = maps.decompose(rep)
    assert found.irreps == so3.Irreps("2x0e + 2x1e + 2x2e")
    assert str(found) == "2*0e + 2*1e + 2*2e"
    g = rep.group.sample(4, generator=seeded(1))
    x = rep.randn(4, generator=seeded(), dtype=torch.float64)
    Q = torch.from_numpy(found.Q)
    assert (rep.act(g, x) @ Q - found.irreps.act(g, x @ Q)).abs().max() < 1e-10
    with pytest.raises(ValueError, match=r"there is no representation named \(4\), \(3, 1\)"):
        _ = maps.decompose(S(4).V).irreps


def test_refusals():
    for group in (SL(2), Lorentz(1, 3)):
        with pytest.raises(ValueError, match="neither finite nor compact"):
            maps.decompose(group.V)
    with pytest.raises(ValueError, match="3125 components without multiplicities, at most 2048"):
        maps.decompose(S(5).V ** 5)
    with pytest.raises(TypeError, match="give a Rep"):
        maps.decompose("V")
