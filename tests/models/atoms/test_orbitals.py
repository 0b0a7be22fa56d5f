"""Orbitals of a pair of matrices: eigenvalues that no rotation changes, errors that no choice of signs changes."""

import pytest
import scipy.linalg
import torch

from intertwine.data.atoms import Blocks
from intertwine.models.atoms import BlockLoss, orbital_energies, orbital_metrics
from intertwine.so3 import Irreps


def pair(n: int, generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A symmetric H and a positive S."""
    A, B = (torch.randn(n, n, generator=generator, dtype=torch.float64) for _ in range(2))
    return A + A.T, B @ B.T / n + torch.eye(n, dtype=torch.float64)


def test_it_solves_the_generalised_problem(generator):
    H, S = pair(7, generator)
    energies, C = orbital_energies(H, S)
    torch.testing.assert_close(H @ C, S @ C * energies)
    torch.testing.assert_close(C.T @ S @ C, torch.eye(7, dtype=torch.float64))
    torch.testing.assert_close(energies.numpy(), scipy.linalg.eigvalsh(H.numpy(), S.numpy()))


def test_energies_do_not_turn(generator):
    rep = Irreps("2x0e + 1x1o + 1x2e")
    H, S = pair(rep.dim, generator)
    D = rep.matrix(rep.group.sample(1, generator=generator)[0])
    turned = orbital_energies(D @ H @ D.T, D @ S @ D.T)
    torch.testing.assert_close(turned.energies, orbital_energies(H, S).energies, rtol=0, atol=1e-10)


def test_the_derivative_of_an_energy(generator):
    """d ε_k / d H = c_k c_kᵀ."""
    H, S = pair(4, generator)
    H.requires_grad_()
    energies, C = orbital_energies(H, S)
    (slope,) = torch.autograd.grad(energies[1], H)
    torch.testing.assert_close(slope, torch.outer(C[:, 1], C[:, 1]).detach())


def test_dependent_orbitals_are_dropped(generator):
    H, S = pair(4, generator)
    twice = torch.cat([torch.eye(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)[:1]])  # orbital 0 again
    with pytest.warns(UserWarning, match="near-singular, 1 of 5 directions are dropped"):
        energies, C = orbital_energies(twice @ H @ twice.T, twice @ S @ twice.T)
    assert C.shape == (5, 4)
    torch.testing.assert_close(energies, orbital_energies(H, S).energies)


def test_nothing_differs_from_itself(generator):
    H, S = pair(6, generator)
    found = orbital_metrics(H, H, S, 4)
    assert found["mae_h"] == found["mae_eps"] == found["mae_gap"] == 0
    assert found["psi_cosine"] == pytest.approx(1)


def test_what_the_errors_are(generator):
    S = torch.eye(3, dtype=torch.float64)
    true = torch.diag(torch.tensor([-3.0, -1.0, 2.0], dtype=torch.float64))
    angle = torch.tensor(0.1, dtype=torch.float64)
    Q = torch.eye(3, dtype=torch.float64)
    Q[:2, :2] = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
    own = Q @ torch.diag(torch.tensor([-3.1, -0.8, 2.5], dtype=torch.float64)) @ Q.T
    found = orbital_metrics(own, true, S, 4)
    assert found["mae_h"] == pytest.approx(float((own - true).abs().mean()))
    assert found["mae_eps"] == pytest.approx(0.15)
    assert found["mae_gap"] == pytest.approx(0.3)
    assert found["psi_cosine"] == pytest.approx(float(angle.cos()))
    full = orbital_metrics(own, true, S, 6)
    assert full["mae_gap"] != full["mae_gap"]  # no empty orbital: not a number


def test_degenerate_levels_count_by_their_space(generator):
    """Which vectors eigh returns for equal energies is arbitrary, and a tiny change turns them."""
    rep = Irreps("1x0e + 1x1o")
    S = torch.eye(4, dtype=torch.float64)
    H = torch.diag(torch.tensor([-5.0, -1.0, -1.0, -1.0], dtype=torch.float64))
    noise = 1e-9 * pair(4, generator)[0]
    for electrons in (4, 8):  # also where the level is filled only in part
        assert orbital_metrics(H + noise, H, S, electrons)["psi_cosine"] == pytest.approx(1, abs=1e-6)
    assert rep.dim == 4


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda I: orbital_energies(I, I[:2]), "H has shape"),
        (lambda I: orbital_energies(I, -I), "no positive eigenvalue"),
        (lambda I: orbital_metrics(I, I[:2, :2], I, 2), "H_ref"),
        (lambda I: orbital_metrics(I, I, I, 3), "3 electrons; expected an even number, 2 to 6"),
        (lambda I: orbital_metrics(I, I, I, 8), "8 electrons"),
    ],
    ids=("shape", "negative", "reference", "odd", "too many"),
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call(torch.eye(3, dtype=torch.float64))


def test_the_loss_counts_what_exists():
    zero = Blocks(torch.zeros(1, 2, 2), torch.zeros(2, 2, 2))
    wrong = Blocks(torch.full((1, 2, 2), 2.0), torch.full((2, 2, 2), -1.0))
    mask = Blocks(torch.tensor([[[True, False], [False, False]]]), torch.zeros(2, 2, 2, dtype=torch.bool))
    assert float(BlockLoss()(wrong, zero, mask)) == 6.0
    mask.pairs[0] = True
    assert float(BlockLoss()(wrong, zero, mask)) == pytest.approx(6 / 5 + 8 / 5)
