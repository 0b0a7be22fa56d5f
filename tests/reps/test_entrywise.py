"""What functions of entries make of a factor: a homomorphism again, with the right flags."""

import pytest
import torch

from grids import exp, seeded
from intertwine.groups import Dihedral, GLPlus, O, S
from intertwine.reps import Entrywise, Product, Rep


def one(group, *factors):
    return Rep(group, [(Product(factors), 1)])


CASES = [
    *(Entrywise(Dihedral(4).irrep(1, 1).terms[0][0].factors[0], power, odd) for power, odd in ((1, False), (1, True))),
    *(Entrywise(GLPlus(1).V.terms[0][0].factors[0], power) for power in (2.0, 0.5, 0.0)),
    Entrywise(GLPlus(2).det.terms[0][0].factors[0], 3.0, True),
    *(Entrywise(group.det.terms[0][0].factors[0], odd=odd) for group in (S(4), O(3)) for odd in (False, True)),
]


@pytest.mark.parametrize("factor", CASES, ids=lambda factor: f"{factor} of {factor.group}")
def test_it_is_a_representation(factor):
    group = factor.group
    g, h = (group.sample(16, generator=seeded(seed)) for seed in (0, 1))
    product = factor.matrix(g) @ factor.matrix(h)
    assert (factor.matrix(group.compose(g, h)) - product).abs().max() < 1e-12 * product.abs().max()
    rep = one(group, factor)
    x = rep.randn(16, generator=seeded(2), dtype=torch.float64)
    assert (rep.act(g, x) - (factor.matrix(g) @ x[..., None])[..., 0]).abs().max() < 1e-12 * x.abs().max() * 100
    if not group.is_finite:
        X = group.lie_algebra() * 0.3
        assert (factor.matrix(exp(group, X)) - torch.linalg.matrix_exp(factor.algebra(X))).abs().max() < 1e-12
    if factor.is_permutation:
        assert torch.equal(factor.matrix(g).sum(-1), torch.ones(16, factor.dim, dtype=torch.float64))


def test_names_and_flags():
    plane = Dihedral(4).irrep(1, 1).terms[0][0].factors[0]
    assert str(Entrywise(plane)) == "abs(irrep(1, 1))"
    assert str(Entrywise(plane, 3.0, True)) == "signed(irrep(1, 1), 3)"
    assert Entrywise(plane).is_permutation
    assert not Entrywise(plane, odd=True).is_permutation
    assert Entrywise(plane, odd=True).is_signed_permutation
    scale = GLPlus(1).V.terms[0][0].factors[0]
    assert not Entrywise(scale, 2.0).is_orthogonal
    assert Entrywise(scale, 0.0).is_permutation
    assert Entrywise(scale, 2.0) == Entrywise(scale, 2.0) != Entrywise(scale, 3.0)
