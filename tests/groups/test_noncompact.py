"""Symplectic, linear and Lorentz groups: forms, components, algebras in their documented order."""

import pytest
import torch

from grids import seeded
from intertwine.groups import SL, GLPlus, Lorentz, Sp


def test_symplectic_groups_keep_the_interleaved_form():
    form = Sp(4).form()
    assert form.tolist() == [[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1], [0, 0, -1, 0]]
    g = Sp(4).sample(50, generator=seeded())
    assert (g.mT @ form @ g - form).abs().max() < 1e-10
    X = Sp(4).lie_algebra()
    assert (X.mT @ form + form @ X).abs().max() == 0
    assert (torch.linalg.inv(form) @ torch.diag(torch.tensor([1.0, 0, 0, 0]).double()) - X[0]).abs().max() == 0


@pytest.mark.parametrize("n", [1, 3, 5])
def test_symplectic_spaces_have_even_dimension(n):
    with pytest.raises(ValueError, match=rf"Sp\({n}\): n must be even"):
        Sp(n)


def test_the_algebras_of_linear_groups():
    assert torch.equal(GLPlus(2).lie_algebra().flatten(1), torch.eye(4).double())
    traceless = SL(3).lie_algebra()
    assert traceless.diagonal(dim1=-2, dim2=-1).sum(-1).abs().max() == 0
    assert traceless[6].tolist() == [[1, 0, 0], [0, -1, 0], [0, 0, 0]]
    assert traceless[7].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, -1]]


def test_determinants():
    generator = seeded()
    assert (torch.linalg.det(SL(3).sample(100, generator=generator)) - 1).abs().max() < 1e-12
    spread = torch.linalg.det(GLPlus(3).sample(100, generator=generator))
    assert (spread > 0).all()
    assert spread.std() > 0.1


def test_membership_of_linear_groups():
    flip = torch.diag(torch.tensor([-1.0, 1.0]))
    double = 2 * torch.eye(2)
    assert [GLPlus(2).contains(g) for g in (torch.eye(2), double, flip, torch.zeros(2, 2))] == [
        True,
        True,
        False,
        False,
    ]
    assert [SL(2).contains(g) for g in (torch.eye(2), double, flip)] == [True, False, False]
    assert not SL(3).contains(torch.eye(2))


COMPONENTS = ("full", "proper", "orthochronous", "restricted")
# Which of the four pieces, by the signs of the determinants of the + and the - block, each component holds.
PIECES = {
    "full": {(1, 1), (1, -1), (-1, 1), (-1, -1)},
    "proper": {(1, 1), (-1, -1)},
    "orthochronous": {(1, 1), (1, -1)},
    "restricted": {(1, 1)},
}


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("p, q", [(1, 3), (2, 2), (1, 1)])
def test_samples_reach_exactly_the_pieces_of_a_component(p, q, component):
    group = Lorentz(p, q, component)
    g = group.sample(200, generator=seeded())
    form = torch.diag(torch.tensor([1.0] * p + [-1.0] * q)).double()
    assert torch.equal(group.form(), form)
    assert (g.mT @ form @ g - form).abs().max() < 1e-9
    signs = torch.stack([torch.linalg.det(g[:, :p, :p]).sign(), torch.linalg.det(g[:, p:, p:]).sign()], -1)
    found, counts = signs.int().unique(dim=0, return_counts=True)
    assert {tuple(piece) for piece in found.tolist()} == PIECES[component]
    assert counts.min() > 200 / len(counts) / 2
    for other in COMPONENTS:
        inside = Lorentz(p, q, other).contains_each(g, 1e-8)
        assert torch.equal(inside, torch.tensor([tuple(s) in PIECES[other] for s in signs.int().tolist()]))


def test_generators_reflect_one_axis_of_each_kind():
    assert Lorentz(1, 3).generators().diagonal(dim1=-2, dim2=-1).tolist() == [[-1, 1, 1, 1], [1, -1, 1, 1]]
    assert Lorentz(1, 3, "proper").generators().diagonal(dim1=-2, dim2=-1).tolist() == [[-1, -1, 1, 1]]
    assert Lorentz(1, 3, "orthochronous").generators().diagonal(dim1=-2, dim2=-1).tolist() == [[1, -1, 1, 1]]
    assert Lorentz(1, 3, "restricted").generators().shape == (0, 4, 4)


def test_lorentz_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"component must be one of .* got 'improper'"):
        Lorentz(1, 3, "improper")
    with pytest.raises(ValueError, match="n must be an integer of at least 1, got 0"):
        Lorentz(0, 3)
    assert str(Lorentz(1, 3)) == "Lorentz(1, 3)"
    assert str(Lorentz(1, 3, "proper")) == "Lorentz(1, 3, 'proper')"


def test_boosts_are_moderate():
    """Well conditioned on purpose: non-compact samples are no Haar samples."""
    for group in (Lorentz(1, 3), Sp(4), GLPlus(3), SL(3)):
        assert torch.linalg.cond(group.sample(500, generator=seeded())).max() < 100
    near = Lorentz(1, 3, "restricted").sample(100, generator=seeded(), scale=0.0)
    assert (near.mT @ near - torch.eye(4)).abs().max() < 1e-12
