"""One subspace has one basis, whatever basis it came in."""

import numpy as np
import pytest

from intertwine.maps.echelon import orthonormal, pivots, readable


def subspace(seed, N=40, r=6):
    rng = np.random.default_rng(seed)
    B = rng.integers(-2, 3, (N, r)).astype(float)
    B[:5] = 0  # rows without information come first
    return np.linalg.qr(B)[0], rng


@pytest.mark.parametrize("seed", range(5))
def test_canonical_bases_do_not_depend_on_the_basis_given(seed):
    Q, rng = subspace(seed)
    turned = Q @ np.linalg.qr(rng.standard_normal((6, 6)))[0]
    assert np.abs(orthonormal(Q) - orthonormal(turned)).max() < 1e-12
    assert np.abs(readable(Q) - readable(turned)).max() < 1e-9
    assert np.array_equal(pivots(Q), pivots(turned))


def test_orthonormal_is_triangular_on_the_pivots():
    Q, _ = subspace(0)
    B, rows = orthonormal(Q), pivots(Q)
    assert np.abs(B.T @ B - np.eye(6)).max() < 1e-13
    assert np.abs(np.triu(B[rows], 1)).max() < 1e-13
    assert (np.diag(B[rows]) > 0).all()
    assert np.abs(Q @ (Q.T @ B) - B).max() < 1e-13


def test_readable_is_exact_where_fractions_fit():
    B = np.array([[1, 0], [0.5, 0.25], [0, 1], [-2 / 3, 3]])
    E = readable(np.linalg.qr(B)[0])
    assert E[2:].tolist() == [[-2, 4], [-2 / 3 - 6, 12]]  # pivots are the first two rows
    odd = np.array([[1.0], [np.pi]])
    assert readable(odd / np.linalg.norm(odd))[1, 0] == pytest.approx(np.pi)


def test_pivots_cross_chunks():
    Q = np.zeros((600, 3))
    Q[[10, 300, 599], [0, 1, 2]] = 1
    assert pivots(Q).tolist() == [10, 300, 599]
    with pytest.raises(ValueError, match="only 1 of 2 columns"):
        pivots(np.ones((5, 2)) / np.sqrt(5))


def test_empty():
    assert orthonormal(np.zeros((4, 0))).shape == (4, 0)
    assert readable(np.zeros((4, 0))).shape == (4, 0)
