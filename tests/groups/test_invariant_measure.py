"""Haar weights: integrals keep their value when a function is moved, and change when the weight is left out."""

import math

import pytest
import torch

from grids import seeded
from haar_proposals import affine, bump, proposals, translation_error
from intertwine.groups import SL, SO, Affine, GLPlus, O, haar_weight, sample_invariant

K = 40_000
DECOMPOSITIONS = ("polar", "iwasawa", "cartan")


@pytest.mark.parametrize("decomposition", DECOMPOSITIONS)
@pytest.mark.parametrize("group", [GLPlus(2), SL(2), SL(3)], ids=str)
def test_integrals_do_not_change_under_left_translation(group, decomposition):
    generator = seeded()
    g, weight = proposals(group, K, decomposition, generator)
    h = group.sample(1, generator=generator)[0]
    errors, change = translation_error(g, weight, h)
    assert errors < 4
    assert change < 0.1 or group.n > 2


def test_integrals_change_without_the_density():
    """The test above can fail: with the Haar density left out of the weight, it does."""
    h = torch.tensor([[0.5, 0.0], [1.0, 2.0]], dtype=torch.float64)
    g, weight = proposals(SL(2), K, "polar", seeded())
    z = 2 * torch.linalg.svdvals(g).log()
    assert translation_error(g, weight, h)[0] < 4
    assert translation_error(g, weight / haar_weight(z), h)[0] > 4
    g, weight = proposals(SL(2), K, "iwasawa", seeded())
    a = torch.linalg.qr(g)[1].diagonal(dim1=-2, dim2=-1).abs()
    assert translation_error(g, weight / haar_weight(a, "iwasawa"), h)[0] > 4


def test_affine_weights_are_left_invariant():
    generator = seeded()
    g, weight = affine(K, generator)
    h = Affine(2).sample(1, generator=generator)[0]
    h[:2, 2] *= 0.3
    h[:2, :2] *= 1.2
    assert translation_error(g, weight, h)[0] < 4
    unlike = weight * torch.linalg.det(g)  # |det g| forgotten
    assert translation_error(g, unlike, h)[0] > 4


def test_decompositions_agree_on_ratios():
    """Three ways to write one measure: integrals agree up to one factor each."""
    ratios = []
    for decomposition in DECOMPOSITIONS:
        g, weight = proposals(SL(2), K, decomposition, seeded())
        f = weight * bump(g)
        ratios.append(((f * g[:, 0, 1]).mean() / f.mean()).item())
    assert max(ratios) - min(ratios) < 0.03


def test_weights_are_those_of_the_proposal():
    """With one dimension of Z all is a formula: GL⁺(1) with log s ~ N(0, σ²) has ∫ exp(−log² s) ds/s = √π."""
    g, g_inv, log_weight = sample_invariant(GLPlus(1), 20_000, 1.5, generator=seeded())
    z = 2 * g[:, 0, 0].log()
    f = torch.exp(-(z**2)) * log_weight.exp()
    assert abs(f.mean() - math.sqrt(math.pi)) < 4 * f.std() / math.sqrt(20_000)
    assert (g * g_inv - 1).abs().max() < 1e-14


@pytest.mark.parametrize("group", [GLPlus(2), GLPlus(3), SL(2), SL(4), SO(2), SO(3), Affine(2)], ids=str)
def test_samples_belong_and_are_inverted(group):
    samples = sample_invariant(group, 100, generator=seeded())
    assert group.contains(samples.g, 1e-10) and samples.log_weight.isfinite().all()
    assert (samples.g @ samples.g_inv - torch.eye(group.dim_V)).abs().max() < 1e-12
    again = sample_invariant(group, 100, generator=seeded(), dtype=torch.float32)
    assert again.g.dtype == again.log_weight.dtype == torch.float32
    assert torch.equal(again.g, samples.g.float())
    if isinstance(group, SO) and type(group) is SO:
        assert (samples.log_weight == 0).all()


def test_equispaced_rotations():
    """No angle twice (−π and π are one rotation), and a quadrature that is exact for the harmonics it resolves."""
    g = sample_invariant(SO(2), 6, rotations="equispaced", generator=seeded()).g
    assert torch.equal(g[0], torch.eye(2))
    angle = torch.atan2(g[:, 1, 0], g[:, 0, 0])
    distance = (angle[:, None] - angle).cos().acos()[~torch.eye(6, dtype=torch.bool)]
    assert distance.min().item() == pytest.approx(math.pi / 3)
    assert max((order * angle).cos().sum().abs().item() for order in range(1, 6)) < 1e-12


def test_self_normalised_weights_have_mean_one():
    samples = sample_invariant(SL(2), 50, 0.5, self_normalised=True, generator=seeded())
    assert samples.log_weight.exp().mean().item() == pytest.approx(1)


def test_weights_stay_finite():
    values = torch.tensor([[0.0, 0.0], [1e-9, 0.0], [900.0, -900.0]], dtype=torch.float64)
    assert haar_weight(values[:2]).tolist() == [1.0, 1.0]
    assert haar_weight(torch.tensor([2.0, -2.0])).item() == pytest.approx(math.sinh(2) / 2)
    assert haar_weight(torch.tensor([1.0, -0.5]), "cartan").item() == pytest.approx(math.sinh(1.5))
    assert haar_weight(torch.tensor([3.0, 0.5]), "iwasawa").item() == pytest.approx(6)
    assert haar_weight(torch.tensor([1.0, 1.0]), "cartan").item() == 0


def test_what_cannot_be_sampled():
    for bad, message in [
        (lambda: sample_invariant(O(2), 3), r"O\(2\) has no polar coordinates"),
        (lambda: sample_invariant(SL(2), 0), "k ≥ 1"),
        (lambda: sample_invariant(SL(2), 3, 0.0), "sigma > 0"),
        (lambda: sample_invariant(SL(3), 3, rotations="equispaced"), "in the plane"),
        (lambda: sample_invariant(SL(3), 3, rotations="random"), "'haar' or 'equispaced'"),
        (lambda: haar_weight(torch.ones(2), "lu"), "must be polar, iwasawa or cartan, got 'lu'"),
    ]:
        with pytest.raises(ValueError, match=message):
            bad()
