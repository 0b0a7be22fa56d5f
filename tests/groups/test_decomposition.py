"""Every element of GL⁺(n) and SL(n) has coordinates, exact and with derivatives, where the exponential map has none."""

import math

import pytest
import torch
from scipy.linalg import logm

from grids import seeded
from intertwine.groups import (
    GL,
    SE,
    SL,
    SO,
    Affine,
    GLPlus,
    O,
    cartan,
    coordinates,
    from_coordinates,
    iwasawa,
    polar,
    polar_log,
    sample_invariant,
)
from intertwine.groups.decomposition import bases

NO_REAL_LOGARITHM = -torch.diag(torch.tensor([2.0, 0.5], dtype=torch.float64))
# Where a careless derivative is infinite or a branch is lost: identity, equal singular values, angles of π.
HARD = {
    "identity": torch.eye(2),
    "twice identity": 2 * torch.eye(3),
    "minus identity": -torch.eye(2),
    "no real logarithm": NO_REAL_LOGARITHM,
    "half turn": torch.diag(torch.tensor([-1.0, -1.0, 1.0])),
    "two equal singular values": torch.diag(torch.tensor([2.0, 2.0, 0.5])),
    "half turn of four": torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0])),
    "two half turns": -torch.eye(4),
    "identity of four": torch.eye(4),
}


def relative(a, b):
    return ((a - b).abs().amax((-1, -2)) / torch.linalg.matrix_norm(b)).max().item()


@pytest.mark.parametrize("group", [make(n) for make in (GLPlus, SL) for n in (2, 3, 4)], ids=str)
def test_coordinates_are_exact_for_ten_thousand_elements(group):
    g = sample_invariant(group, 10_000, 1.0, generator=seeded()).g
    v = coordinates(g, group)
    assert v.shape == (10_000, group.lie_algebra().shape[0])
    assert relative(from_coordinates(v, group), g) < 1e-12
    angle = v[:, -group.n * (group.n - 1) // 2 :].square().sum(-1).sqrt() / math.sqrt(2)
    assert angle.max() <= math.pi * math.sqrt(group.n // 2) + 1e-12


@pytest.mark.parametrize("name", HARD)
def test_coordinates_are_exact_where_it_is_hard(name):
    g = HARD[name].double()
    v = coordinates(g)
    assert (from_coordinates(v) - g).abs().max() < 1e-12
    assert v[-1] >= 0  # an angle of π is π, not −π


def test_elements_without_a_real_logarithm_are_reached():
    """scipy finds no real one; the share of such samples of SL(2) is the one that the specification gives."""
    assert abs(logm(NO_REAL_LOGARITHM.numpy()).imag).max() > 1
    for sigma, share in ((math.sqrt(0.1), 0.044), (0.5, 0.069), (1.0, 0.133)):
        g = sample_invariant(SL(2), 40_000, sigma, generator=seeded()).g
        trace = g.diagonal(dim1=-2, dim2=-1).sum(-1)
        found = (trace < -2).double().mean().item()  # negative eigenvalues that differ
        assert abs(found - share) < 4 * math.sqrt(share / 40_000) + 5e-4


@pytest.mark.parametrize("group", [SO(2), SO(3), SO(4), Affine(2), Affine(3), SE(2), GLPlus(1), SL(1)], ids=str)
def test_coordinates_of_other_groups(group):
    g = group.sample(50, generator=seeded())
    v = coordinates(g, group)
    assert v.shape == (50, group.lie_algebra().shape[0])
    assert relative(from_coordinates(v, group), g) < 1e-12


def test_coordinates_are_orthonormal_and_named_as_documented():
    turn = torch.tensor([[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]]).double()
    assert coordinates(turn)[-1] == pytest.approx(0.7 * math.sqrt(2))
    assert coordinates(turn @ turn.mT @ torch.diag(torch.tensor([2.0, 3.0]).double()))[:2].tolist() == pytest.approx(
        [math.log(2), math.log(3)]
    )
    for group in (GLPlus(3), SL(3), SL(4)):
        basis = torch.cat([torch.from_numpy(part.copy()) for part in bases(group)]).flatten(1)
        assert (basis @ basis.mT - torch.eye(len(basis))).abs().max() < 1e-14


def test_polar_is_symmetric_times_rotation():
    g = GLPlus(3).sample(200, generator=seeded())
    P, R = polar(g)
    X, again = polar_log(g)
    assert relative(P @ R, g) < 1e-13
    assert torch.equal(again, R) and relative(torch.linalg.matrix_exp(X), P) < 1e-13
    assert (P - P.mT).abs().max() < 1e-13 and torch.linalg.eigvalsh(P).min() > 0
    assert SO(3).contains(R, 1e-12)


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("make", [GLPlus, SL])
def test_iwasawa_and_cartan_reconstruct(make, n):
    g = sample_invariant(make(n), 500, 1.0, generator=seeded()).g
    K, A, N = iwasawa(g)
    assert relative(K @ A @ N, g) < 1e-13
    assert SO(n).contains(K, 1e-12)
    assert (A.diagonal(dim1=-2, dim2=-1) > 0).all() and (A - torch.diag_embed(A.diagonal(dim1=-2, dim2=-1)) == 0).all()
    assert (N.tril(-1) == 0).all() and (N.diagonal(dim1=-2, dim2=-1) - 1).abs().max() < 1e-13
    K1, a, K2 = cartan(g)
    assert relative(K1 @ torch.diag_embed(a.exp()) @ K2, g) < 1e-13
    assert SO(n).contains(K1, 1e-12) and SO(n).contains(K2, 1e-12)
    assert (a.diff(dim=-1) <= 0).all()


@pytest.mark.parametrize("name", HARD)
def test_first_and_second_derivatives_are_finite_where_it_is_hard(name):
    g = HARD[name].double().requires_grad_()
    v = coordinates(g)
    slope = torch.linspace(-1, 2, v.numel(), dtype=torch.float64)
    (first,) = torch.autograd.grad((slope * v).sum(), g, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), g)
    assert first.isfinite().all() and second.isfinite().all()
    assert first.abs().max() < 50


@pytest.mark.parametrize("name", ["identity", "twice identity", "two equal singular values"])
def test_derivatives_agree_with_differences_where_eigenvalues_meet(name):
    g = HARD[name].double().requires_grad_()
    assert torch.autograd.gradcheck(coordinates, g)
    assert torch.autograd.gradgradcheck(coordinates, g)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_derivatives_agree_with_differences(n):
    g = GLPlus(n).sample(1, generator=seeded(n)).requires_grad_()
    assert torch.autograd.gradcheck(coordinates, g)
    assert torch.autograd.gradgradcheck(coordinates, g)


@pytest.mark.parametrize("n", [2, 3])
def test_derivatives_near_and_at_a_half_turn(n):
    """One-sided differences, away from the jump: both angles stay below π."""
    plane = torch.zeros(n, n, dtype=torch.float64)
    plane[1, 0], plane[0, 1] = 1, -1
    axes = SO(n).sample(1, generator=seeded())[0]
    generator = axes @ plane @ axes.mT
    for gap in (1e-3, 1e-6, 0.0):
        g = torch.linalg.matrix_exp((math.pi - gap) * generator)
        if gap == 0:
            g = axes @ torch.diag(torch.tensor([-1.0, -1.0, 1.0][:n]).double()) @ axes.mT
        t = torch.zeros((), dtype=torch.float64, requires_grad=True)
        v = coordinates(g @ torch.linalg.matrix_exp(t * generator))
        (slope,) = torch.autograd.grad(v.square().sum(), t)
        # |coordinates|² = 2 θ², and θ = π − gap grows or, behind the jump, falls with t.
        assert slope.abs().item() == pytest.approx(4 * (math.pi - gap), rel=1e-6)


def test_single_precision_and_empty_batches():
    g = GLPlus(3).sample(20, generator=seeded(), dtype=torch.float32)
    v = coordinates(g)
    assert v.dtype == torch.float32
    assert relative(from_coordinates(v), g) < 1e-5
    for group in (GLPlus(2), SL(3), SO(2)):
        v = coordinates(torch.zeros(0, group.n, group.n), group)
        assert from_coordinates(v, group).shape == (0, group.n, group.n)


@pytest.mark.parametrize("function", [polar, polar_log, iwasawa, cartan, coordinates])
def test_determinants_must_be_positive(function):
    for bad in (torch.diag(torch.tensor([-1.0, 1.0])), torch.zeros(2, 2), torch.full((2, 2), math.nan)):
        with pytest.raises(ValueError, match="no positive determinant"):
            function(torch.stack([torch.eye(2), bad]))
    with pytest.raises(ValueError, match=r"square matrices \[..., n, n\], got .* \(2, 3\)"):
        function(torch.ones(2, 3))


def test_elements_and_groups_that_do_not_fit():
    with pytest.raises(ValueError, match=r"does not belong to SL\(2\)"):
        coordinates(2 * torch.eye(2), SL(2))
    with pytest.raises(ValueError, match=r"does not belong to SO\(2\)"):
        coordinates(torch.diag(torch.tensor([2.0, 0.5])), SO(2))
    for group in (O(2), GL(2)):
        with pytest.raises(ValueError, match=r"has no polar coordinates here; give GLPlus\(n\)"):
            coordinates(torch.eye(2), group)
    with pytest.raises(ValueError, match=r"SL\(3\) has 8 coordinates, got \(5,\)"):
        from_coordinates(torch.zeros(5), SL(3))
