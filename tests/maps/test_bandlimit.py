"""Bands: equivariant to rounding, reconstructed exactly, low-pass on a circle; the paper's program as it is."""

import warnings

import numpy as np
import pytest
import torch

from intertwine.groups import A, Cyclic, Dihedral, S, Trivial, embedding, subgroup, subsample
from intertwine.maps import bandlimit

C, D = Cyclic, Dihedral
PRODUCT = C(4) * C(6)
EVEN_AND_SWAP = torch.tensor([[1, 2, 0, 3], [1, 0, 3, 2], [1, 0, 2, 3]])


def pairs():
    yield from [embedding(C(m), C(n)) for n, m in [(12, 4), (8, 4), (9, 3), (15, 5), (12, 3), (7, 1), (6, 6)]]
    yield from [embedding(D(m), D(n)) for n, m in [(8, 4), (4, 2), (12, 4), (10, 2), (7, 1), (9, 3), (6, 3), (12, 3)]]
    yield from [embedding(C(6), D(6)), embedding(Trivial(), S(3)), embedding(S(4), S(4))]
    yield from [subsample(S(4), 2, 2, generators=EVEN_AND_SWAP), subgroup(S(4), S(4).generators()[1:])]
    yield from [subgroup(A(4), A(4).generators()[1:]), subsample(PRODUCT, 0, 2), subsample(PRODUCT, 1, 2)]
    yield subgroup(D(8), torch.tensor([[1, 3], [0, 2]]))


@pytest.mark.parametrize("keep", ["equivariant", "equivariant-full", "paper"])
@pytest.mark.parametrize("embed", list(pairs()), ids=str)
def test_reconstruction_is_exact_and_the_filter_commutes(embed, keep):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of "paper", tested below
        band = bandlimit(embed.target, embed, keep=keep)
    P, U, N = band.projector, band.upsample, embed.target.order
    assert P.shape == (N, N) and band.dim <= embed.source.order
    np.testing.assert_allclose(P @ P, P, atol=1e-12)
    np.testing.assert_allclose(P, P.T, atol=1e-12)
    np.testing.assert_allclose(U @ P[band.restriction], P, atol=1e-12)
    translations = embed.target.regular.matrix(embed.target.generators()).numpy()
    commutator = max((np.abs(L @ P - P @ L).max() for L in translations), default=0.0)
    assert abs(commutator - band.commutator) < 1e-12
    if keep != "paper":
        assert commutator < 1e-14
        assert np.abs(np.ones(N) - P @ np.ones(N)).max() < 1e-12  # constants are in every band
    # the way back commutes with H
    for h in embed.source.regular.group.generators() if not isinstance(embed.source.generators(), tuple) else ():
        L_G = embed.target.regular.matrix(embed(h)).numpy()
        L_H = embed.source.regular.matrix(h).numpy()
        if keep != "paper":
            np.testing.assert_allclose(U @ L_H, L_G @ U, atol=1e-12)


@pytest.mark.parametrize("n, m", [(8, 4), (4, 2), (12, 4), (10, 2), (7, 1)])
def test_dihedral_bands_are_full_and_well_conditioned(n, m):
    band = bandlimit(D(n), D(m))
    assert band.dim == 2 * m and band.condition <= 1.03


def test_dimensions_on_circles():
    assert bandlimit(C(8), C(4)).dim == bandlimit(C(8), C(4), keep="equivariant-full").dim == 3
    assert bandlimit(C(12), C(4)).dim == 3
    assert bandlimit(C(12), C(4), keep="equivariant-full").kept == (((0,), 1), ((1,), 1), ((6,), 1))


@pytest.mark.parametrize("n, m", [(9, 3), (15, 5), (12, 3), (21, 7), (10, 5), (6, 1)])
def test_on_a_circle_it_is_the_ideal_low_pass(n, m, generator):
    P = bandlimit(C(n), C(m)).projector
    x = torch.randn(20, n, generator=generator, dtype=torch.float64)
    spectrum = torch.fft.rfft(x)
    spectrum[:, (m + 1) // 2 :] = 0  # what is left has |frequency| < m / 2
    np.testing.assert_allclose(x.numpy() @ P, torch.fft.irfft(spectrum, n).numpy(), atol=1e-12)


@pytest.mark.parametrize("n, m", [(12, 4), (8, 4), (15, 5)])
def test_nothing_is_folded_back(n, m):
    band = bandlimit(C(n), C(m))
    for k in range((m + 1) // 2, n // 2 + 1):
        wave = np.cos(2 * np.pi * k * np.arange(n) / n)
        assert np.abs(band.projector @ wave).max() < 1e-12
        assert np.abs(wave[band.restriction]).max() > 0.5  # plain sampling takes it for something else


@pytest.mark.parametrize("group", [C(8), D(4), S(4), PRODUCT], ids=str)
def test_rate_one_is_the_identity_and_the_trivial_subgroup_the_mean(group):
    N = group.order
    np.testing.assert_allclose(bandlimit(group, group).projector, np.eye(N), atol=1e-12)
    band = bandlimit(group, Trivial())
    np.testing.assert_allclose(band.projector, np.full((N, N), 1 / N), atol=1e-12)
    np.testing.assert_allclose(band.upsample, np.ones((N, 1)), atol=1e-12)


@pytest.mark.parametrize(
    "group, sub, commutator",
    [
        *[(C(12), C(4), 0.125), (C(8), C(4), 0.25), (D(8), D(4), 0.25)],
        *[(C(9), C(3), 0), (C(15), C(5), 0), (C(12), C(3), 0), (D(9), D(3), 0)],
        *[(D(6), D(3), 0), (D(6), C(6), 0), (D(12), D(3), 0)],
    ],
    ids=str,
)
def test_the_program_of_the_paper_and_its_commutator(group, sub, commutator):
    if commutator:
        with pytest.warns(UserWarning, match=f"up to {commutator}"):
            band = bandlimit(group, sub, keep="paper")
    else:
        band = bandlimit(group, sub, keep="paper")
    assert abs(band.commutator - commutator) < 1e-12 and band.dim == sub.order


def test_the_program_takes_half_an_irrep():
    with pytest.warns(UserWarning, match="not closed under translation"):
        band = bandlimit(C(12), C(4), keep="paper")
    assert band.kept == (((0,), 0, 0), ((1,), 0, 0), ((1,), 1, 0), ((2,), 0, 0))
    averaged = sum(L @ band.projector @ L.T for L in C(12).regular.matrix(C(12).elements()).numpy()) / 12
    assert np.abs(averaged @ averaged - averaged).max() > 0.01  # averaging over the group leaves no projector


def test_bad_input():
    with pytest.raises(ValueError, match="keep must be one of"):
        bandlimit(C(8), C(4), keep="all")
    with pytest.raises(ValueError, match=r"the group is Cyclic\(12\), the embedding is Cyclic\(4\) in Cyclic\(8\)"):
        bandlimit(C(12), embedding(C(4), C(8)))
    with pytest.raises(ValueError, match="no standard embedding"):
        bandlimit(C(8), C(3))
    with pytest.raises(ValueError, match="sends several elements to one"):
        bandlimit(C(2), embedding(C(4), C(2), lambda h: h % 2))
