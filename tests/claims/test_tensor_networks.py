"""Symmetric tensor networks (arXiv:2508.12596): a stress law learned in one frame holds in every frame."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from claims.claim import Claim, Numbers
from intertwine.maps import Cartesian
from intertwine.models.points import Constitutive
from intertwine.so3 import random_rotation

UPPER = torch.triu_indices(3, 3)


def energy(C: Tensor, A: Tensor) -> Tensor:
    """Mooney-Rivlin and one family of fibres A = a ⊗ a: c1(I1-3) + c2(I2-3) + κ/2 (J-1)² + μ(a·Ca-1)²."""
    first, J = C.diagonal(dim1=-2, dim2=-1).sum(-1), torch.linalg.det(C).sqrt()
    second = (first.square() - (C * C).sum((-1, -2))) / 2
    fibre = (A * C).sum((-1, -2))
    return (first - 3) + 0.5 * (second - 3) + 0.5 * (J - 1).square() + 0.5 * (fibre - 1).square()


def states(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """C = FᵀF of F = 1 + 0.3 N(0, 1), fibres along x, and the stress S = 2 ∂W/∂C.

    Drawn again where F turns the body inside out, or squeezes it below 0.3 in some direction: the stress grows like the
    inverse square of that, and a few such states would be all of the error of every model.
    """
    F = torch.eye(3, dtype=torch.float64) + 0.3 * torch.randn(4 * count, 3, 3, generator=generator, dtype=torch.float64)
    F = F[(torch.linalg.det(F) > 0) & (torch.linalg.svdvals(F)[:, -1] > 0.3)][:count]
    A = torch.zeros(count, 3, 3, dtype=torch.float64)
    A[:, 0, 0] = 1
    C = F.mT @ F
    S = 2 * torch.func.grad(lambda C: energy(C, A).sum())(C)
    return C, A, (S + S.mT) / 2


def turned(data: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Every state by a rotation of its own."""
    R = random_rotation(len(data[0]), generator=generator).to(data[0])
    return tuple(R @ t @ R.mT for t in data)


class Components(nn.Module):
    """The control: a perceptron from the 6 + 6 components of C and A to the 6 of S."""

    def __init__(self, hidden: int, generator: torch.Generator):
        super().__init__()
        widths = (12, hidden, hidden, 6)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        with torch.no_grad():
            for layer in self.layers:
                layer.weight.normal_(std=(2 / layer.in_features) ** 0.5, generator=generator)
                layer.bias.zero_()

    def forward(self, C: Tensor, A: Tensor) -> Tensor:
        """S as a symmetric matrix."""
        x = torch.cat([C[:, UPPER[0], UPPER[1]], A[:, UPPER[0], UPPER[1]]], -1)
        for k, layer in enumerate(self.layers):
            x = layer(nn.functional.silu(x) if k else x)
        S = x.new_zeros(len(x), 3, 3)
        S[:, UPPER[0], UPPER[1]] = x
        S[:, UPPER[1], UPPER[0]] = x
        return S


def rmse(model: nn.Module, data: tuple[Tensor, ...]) -> float:
    """Over components of the stress."""
    with torch.no_grad():
        return (model(*data[:2]) - data[2]).square().mean().sqrt().item()


def fit(model: nn.Module, data: tuple[Tensor, ...], steps: int, turns: torch.Generator | None) -> nn.Module:
    """Adam on all states at once; `turns` draws new rotations of the states for every step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=1e-5)
    for _ in range(steps):
        C, A, S = data if turns is None else turned(data, turns)
        optimizer.zero_grad()
        (model(C, A) - S).square().mean().backward()
        optimizer.step()
        schedule.step()
    return model


def experiment(*, seed: int, train: int, tested: int, steps: int, factor: float) -> Numbers:
    """RMSE of the stress, over its standard deviation, in the frame of the training states and in random frames."""
    generator = torch.Generator().manual_seed(seed)
    data, test = states(train, generator), states(tested, generator)
    scale = data[2].std()
    data, test = ((C.float(), A.float(), (S / scale).float()) for C, A, S in (data, test))
    rotated = turned(test, generator)
    fibres = (Cartesian(2, symmetric=True),)
    models = {
        "function": (Constitutive(fibres, energy=False, generator=generator), None),
        "energy": (Constitutive(fibres, energy=True, generator=generator), None),
        "plain": (Components(64, generator), None),
        "augmented": (Components(64, generator), generator),
    }
    numbers: Numbers = {"factor asked": factor}
    for name, (model, turns) in models.items():
        fit(model, data, steps, turns)
        numbers[f"{name} same frame"] = rmse(model, test)
        numbers[f"{name} rotated"] = rmse(model, rotated)
        numbers[f"{name} weights"] = sum(p.numel() for p in model.parameters())
    return numbers


def holds(numbers: Numbers) -> bool:
    """In random frames both laws beat the plain perceptron, tenfold after full training.

    Against the perceptron trained on rotated states nothing is asked, only reported: a factor of two was expected and
    is there early in training, but is gone at the end.
    """
    worst = max(numbers["function rotated"], numbers["energy rotated"])
    return worst * numbers["factor asked"] <= numbers["plain rotated"]


def ours(numbers: Numbers) -> str:
    names = {"function": "covariants", "energy": "energy", "plain": "MLP", "augmented": "MLP with rotated data"}
    return "; ".join(
        f"{words}: {100 * numbers[f'{name} rotated']:.2g} % rotated, "
        f"{100 * numbers[f'{name} same frame']:.2g} % in the frame of training"
        for name, words in names.items()
    )


CLAIM = Claim(
    name="tensor_networks",
    system="Symmetric tensor networks",
    symbol="intertwine.nn.EquivariantFunction",
    arxiv="2508.12596",
    statement="a stress law learned from 200 states in one frame: error in random frames, over the stress's deviation, "
    "at least 10 times below a perceptron's (one trained on rotated states is shown too)",
    theirs="a constitutive law is learned equivariantly (no number compared here)",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"train": 200, "tested": 200, "steps": 300, "factor": 3},
    full={"train": 200, "tested": 1000, "steps": 3000, "factor": 10},
)


@pytest.mark.claim
def test_a_stress_law_holds_in_every_frame():
    numbers, _ = CLAIM.run(CLAIM.short)
    assert CLAIM.holds(numbers), numbers
    for name in ("function", "energy"):
        assert abs(numbers[f"{name} rotated"] / numbers[f"{name} same frame"] - 1) < 1e-3, "no frame is special"


def test_the_rule_can_fail():
    numbers = {"factor asked": 10, "function rotated": 0.03, "energy rotated": 0.02, "plain rotated": 0.4}
    assert holds(numbers)
    assert not holds(numbers | {"function rotated": 0.05})
