"""Fourier bases of finite groups: orthonormal, whole, made of irreps, whatever their type."""

import numpy as np
import pytest
import torch

from intertwine.groups import A, Cyclic, Dihedral, O, PermutationGroup, S, Trivial
from intertwine.maps import fourier_basis
from intertwine.maps.fourier import mean_shift, multiplication, real_irreps

# the quaternion group, by left multiplication on 1, i, j, k, -1, -i, -j, -k
QUATERNION = PermutationGroup(torch.tensor([[1, 4, 3, 6, 5, 0, 7, 2], [2, 7, 4, 1, 6, 3, 0, 5]]))
GROUPS = [Trivial(), *map(Cyclic, (1, 2, 5, 8)), *map(Dihedral, (1, 2, 5, 6)), S(4), A(4), QUATERNION]
GROUPS += [Cyclic(3) * Cyclic(4), S(3) * Cyclic(4), PermutationGroup("(0 1 2 3 4), (1 2 4 3)")]


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_the_basis_is_orthonormal_and_translations_keep_each_irrep(group):
    F, labels = fourier_basis(group)
    assert F.shape == (group.order, group.order) and len(labels) == group.order
    np.testing.assert_allclose(F.T @ F, np.eye(group.order), atol=1e-12)
    names = [label for label, _, _ in labels]
    apart = np.array([[a != b for a in names] for b in names])
    for L in group.regular.matrix(group.generators()).numpy():
        assert np.abs((F.T @ L @ F)[apart]).max(initial=0) < 1e-12
    assert np.abs(F[:, 0] - group.order**-0.5).max() < 1e-12  # the trivial irrep comes first


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_irreps_are_homomorphisms_and_irreducible(group):
    table = multiplication(group)
    total = 0
    for rho in real_irreps(group):
        M = rho.matrices
        assert np.abs(np.einsum("gij,hjk->ghik", M, M) - M[table]).max() < 1e-12
        assert abs((rho.character**2).mean() - rho.endo) < 1e-12
        for unit in rho.units:
            assert np.abs(M @ unit - unit @ M).max() < 1e-12 and np.abs(unit @ unit + np.eye(rho.dim)).max() < 1e-12
        total += rho.dim * rho.copies
    assert total == group.order


def test_dimensions_and_types():
    assert [(rho.dim, rho.endo) for rho in real_irreps(S(4))] == [(1, 1), (1, 1), (2, 1), (3, 1), (3, 1)]
    assert [(rho.dim, rho.endo) for rho in real_irreps(A(4))] == [(1, 1), (2, 2), (3, 1)]
    assert [(rho.dim, rho.endo) for rho in real_irreps(QUATERNION)] == [(1, 1)] * 4 + [(4, 4)]
    assert [label for label, _, _ in fourier_basis(Cyclic(4))[1]] == [(0,), (1,), (1,), (2,)]


def test_roughness_of_waves():
    """1 - cos(2 pi k / n) for frequency k on a circle."""
    F, labels = fourier_basis(Cyclic(8))
    rough = 1 - np.einsum("gi,gi->i", F, mean_shift(Cyclic(8)) @ F)
    np.testing.assert_allclose(rough, [1 - np.cos(2 * np.pi * k / 8) for (k,), _, _ in labels], atol=1e-12)


def test_bad_input():
    for group in (S(7), O(2)):
        with pytest.raises(ValueError, match="1000 at most"):
            fourier_basis(group)
