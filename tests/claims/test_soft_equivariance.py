"""Soft equivariance (arXiv:2306.00356): a moment of inertia that keeps one axis only, and which symmetry was broken."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from claims.claim import Claim, Numbers
from claims.tensor_tasks import TASKS, perceptron
from intertwine import audit
from intertwine.groups import MatrixGroup, O
from intertwine.models.tensors import EMLP
from intertwine.reps import Rep
from intertwine.symmetrize import SoftEquivariance, relax, soft_layers

TASK = TASKS["inertia"]
NETWORKS = ("PER", "hard", "MLP", "RPP")
STRENGTH, DECAY = 0.3, (1e-5, 1.0)
PULL = 1.0  # 100 in the paper, whose targets are not scaled to 1
RATES = {"PER": 1e-2, "hard": 1e-2, "MLP": 3e-3, "RPP": 1e-2}  # chosen on another seed


def about(axis: int) -> MatrixGroup:
    """O(2): rotations about an axis of space, and mirrors that contain it."""
    i, j = (k for k in range(3) if k != axis)
    turn, mirror = torch.zeros(1, 3, 3), torch.eye(3)[None].clone()
    turn[0, i, j], turn[0, j, i], mirror[0, i, i] = 1, -1, -1

    def sample(k: int, generator: torch.Generator) -> Tensor:
        angle = 2 * math.pi * torch.rand(k, 1, 1, generator=generator, dtype=torch.float64)
        turned = torch.matrix_exp(angle * turn[0].double())
        flipped = torch.randint(2, (k,), generator=generator, dtype=torch.bool)[:, None, None]
        return torch.where(flipped, turned @ mirror[0].double(), turned)

    return MatrixGroup(turn, mirror, sample)


GROUPS = {"O(3)": O(3)} | {axis: about(k) for k, axis in enumerate("xyz")}


def actions(group) -> tuple[Rep, Rep]:
    """Five masses and positions, and a matrix."""
    return 5 * group.trivial + 5 * group.V, group.V**2


def target(x: Tensor) -> Tensor:
    """I + 0.3 (I e_z) e_zᵀ: what O(3) does to it is no longer known, what O(2) about z does is."""
    inertia = TASK.target(x).view(-1, 3, 3)
    return torch.cat([inertia[:, :, :2], (1 + STRENGTH) * inertia[:, :, 2:]], 2).flatten(1)


class Residual(nn.Module):
    """An equivariant layer and a dense one beside it: the residual pathway prior of arXiv:2112.01388."""

    def __init__(self, layer: nn.Module, generator: torch.Generator):
        super().__init__()
        self.layer = layer
        self.free = nn.Linear(layer.rep_in.dim, layer.rep_out.dim)
        for parameter in self.free.parameters():
            nn.init.normal_(parameter, std=1e-2 * layer.rep_in.dim**-0.5, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.free(x)


def network(kind: str, width: int, generator: torch.Generator) -> nn.Module:
    hard = EMLP(TASK.rep_in, TASK.rep_out, width, generator=generator)
    if kind == "hard":
        return hard
    if kind == "RPP":
        hard.linears = nn.ModuleList(Residual(layer, generator) for layer in hard.linears)
        hard.last = Residual(hard.last, generator)
        return hard
    dense = relax(hard)
    if kind == "MLP":
        return perceptron(TASK, sum(p.numel() for p in dense.parameters()), generator)
    embed = lambda g: g  # noqa: E731
    layers = {name: soft_layers(dense, None if name == "O(3)" else group, embed) for name, group in GROUPS.items()}
    return SoftEquivariance(dense, layers, weight=PULL)


def penalty(model: nn.Module) -> Tensor:
    """What the networks add to the error of the task."""
    if isinstance(model, SoftEquivariance):
        return model.loss()
    if not any(isinstance(module, Residual) for module in model.modules()):
        return torch.zeros(())
    squares = [0.0, 0.0]
    for name, p in model.named_parameters():
        squares[".free." in name] += p.square().sum() / 2
    return DECAY[0] * squares[0] + DECAY[1] * squares[1]


def fit(model: nn.Module, kind: str, x: Tensor, y: Tensor, epochs: int, generator: torch.Generator) -> None:
    """Adam, 100 points a step, the rate falling as a cosine; strengths rebalanced after a quarter of the epochs."""
    optimizer = torch.optim.Adam(model.parameters(), RATES[kind])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        for chosen in torch.randperm(len(x), generator=generator).split(100):
            optimizer.zero_grad()
            (F.mse_loss(model(x[chosen]), y[chosen]) + penalty(model)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # products of features can run away
            optimizer.step()
        schedule.step()
        if isinstance(model, SoftEquivariance):
            if min(50, epochs // 8) <= epoch < epochs // 4:
                model.observe()
            elif epoch == epochs // 4:
                model.rebalance()


def experiment(*, seed: int, points: int, width: int, epochs: int, repeats: int, networks: list[str]) -> Numbers:
    """Mean squared error of each network on fresh points; of PER the level, error and weight of each group."""
    numbers: Numbers = {}
    for k in range(repeats):
        generator = torch.Generator().manual_seed(seed + k)
        x, x_test = (TASK.inputs(points, generator) for _ in range(2))
        y, y_test = target(x), target(x_test)
        size_in, size_out = x.square().mean().sqrt(), y.square().mean().sqrt()  # a number changes no symmetry
        for kind in networks:
            model = network(kind, width, torch.Generator().manual_seed(seed + k))
            fit(model, kind, x / size_in, y / size_out, epochs, torch.Generator().manual_seed(seed + k))
            with torch.no_grad():
                numbers[f"{kind} {k}"] = F.mse_loss(model(x_test / size_in) * size_out, y_test).item()
            if kind == "PER":
                numbers |= {f"{name} {k}": value for name, value in softness(model, x_test / size_in, k).items()}
    return numbers


def softness(model: SoftEquivariance, x: Tensor, k: int) -> Numbers:
    """What PER found, next to what is true."""
    options = {"n_samples": 100, "generator": torch.Generator().manual_seed(k), "dtype": "float32"}
    reps = {name: actions(group) for name, group in GROUPS.items()}
    found = audit.measure_softness(model, reps, x, **options)
    truth = {name: audit.measure(target, *reps[name], x, **options).headline.relative_rms for name in reps}
    return {
        **{f"level {name}": level for name, level in found.levels.items()},
        **{f"error {name}": error for name, error in found.errors.items()},
        **{f"true error {name}": error for name, error in truth.items()},
        **{f"weight {name}": weight for name, weight in found.weights.items()},
        "rank correlation": found.agreement(truth),
    }


def mean(numbers: Numbers, name: str) -> float:
    values = [numbers[f"{name} {k}"] for k in range(len(numbers)) if f"{name} {k}" in numbers]
    return sum(values) / len(values)


def holds(numbers: Numbers) -> bool:
    """PER beats both, in the mean over seeds; in every seed the z axis is the one found, by parameters and function."""
    seeds = range(sum(name.startswith("PER ") for name in numbers))
    return (
        mean(numbers, "PER") < min(mean(numbers, "hard"), mean(numbers, "MLP"))
        and len(seeds) > 0
        and all(
            numbers[f"{what} z {k}"] < min(numbers[f"{what} x {k}"], numbers[f"{what} y {k}"])
            for k in seeds
            for what in ("level", "error")
        )
    )


def ours(numbers: Numbers) -> str:
    errors = ", ".join(f"{kind} {mean(numbers, kind):.3g}" for kind in NETWORKS)
    parts = [
        f"{what} " + ", ".join(f"{name} {mean(numbers, f'{what} {name}'):.2g}" for name in GROUPS)
        for what in ("level", "error", "true error")
    ]
    return (
        f"test MSE {errors}. What PER found (means of three seeds): {'; '.join(parts)}; rank correlation of levels and "
        f"true errors {mean(numbers, 'rank correlation'):.2f}"
    )


CLAIM = Claim(
    name="soft_equivariance",
    system="Soft equivariance",
    symbol="intertwine.symmetrize.SoftEquivariance",
    arxiv="2306.00356",
    statement="a moment of inertia that is exactly symmetric about z only (1,000 points): a network pulled towards "
    "four groups beats the hard O(3) network and an MLP, and its parameters and its function keep z best in every seed",
    theirs="the regulariser beats an MLP, hard equivariance and residual pathways on this task, and its strengths "
    "order the groups by how well they hold (8,000 epochs, width 384)",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"points": 200, "width": 30, "epochs": 60, "repeats": 1, "networks": ["PER"]},
    full={"points": 1000, "width": 64, "epochs": 200, "repeats": 3, "networks": list(NETWORKS)},
)


@pytest.mark.claim
def test_the_axis_that_is_kept_is_found():
    """Hardly trained, and only the network that is pulled."""
    numbers, _ = CLAIM.run(CLAIM.short)
    assert numbers["level z 0"] < 0.95 * min(numbers["level x 0"], numbers["level y 0"]), numbers
    assert numbers["error z 0"] < min(numbers["error x 0"], numbers["error y 0"]), numbers
    assert numbers["true error z 0"] < 1e-6 < 0.1 < numbers["true error x 0"], numbers


def test_the_rule_can_fail():
    fine = {"PER 0": 0.5, "hard 0": 1.0, "MLP 0": 4.0, "RPP 0": 0.6}
    fine |= {f"{what} {axis} 0": 0.1 + (axis != "z") for what in ("level", "error") for axis in "xyz"}
    assert holds(fine)
    wrong = {"PER 0": 1.1, "MLP 0": 0.4, "level z 0": 2.0, "error y 0": 0.05}
    assert not any(holds(fine | {name: value}) for name, value in wrong.items())
