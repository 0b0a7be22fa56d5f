"""Brauer layers (arXiv:2212.08630): networks of exact tensor layers learn tensor functions from few points."""

import pytest
import torch

from claims.claim import Claim, Numbers
from claims.tensor_tasks import TASKS, learn, perceptron

KINDS = ("EMLP", "MLP", "MLP + turned")


def experiment(*, seed: int, tasks: list[str], points: list[int], steps: int, hidden: int) -> Numbers:
    """Relative test RMSE of the equivariant network and of two plain ones of as many parameters, equal steps."""
    return {
        f"{name}, {count} points, {kind}": learn(TASKS[name], kind, count, steps=steps, hidden=hidden, seed=seed)
        for name in tasks
        for count in points
        for kind in KINDS
    }


def ratios(numbers: Numbers) -> dict[str, tuple[float, float]]:
    """For each task and number of points: the error of each plain network over that of the equivariant one."""
    found = {}
    for key, error in numbers.items():
        where, kind = key.rsplit(", ", 1)
        if kind == "EMLP":
            found[where] = tuple(numbers[f"{where}, {other}"] / error for other in KINDS[1:])
    return found


def holds(numbers: Numbers) -> bool:
    """The equivariant network has the lowest error on every task with the most points it was given."""
    found = ratios(numbers)
    most = max(points_of(where) for where in found)
    return all(min(pair) > 1 for where, pair in found.items() if points_of(where) == most)


def points_of(where: str) -> int:
    """The number in "inertia, 100 points"."""
    return int(where.split(", ")[1].split()[0])


def ours(numbers: Numbers) -> str:
    parts = []
    for where in ratios(numbers):
        errors = " / ".join(f"{numbers[f'{where}, {kind}']:.2g}" for kind in KINDS)
        parts.append(f"{where}: {errors}")
    return "relative RMSE of EMLP / MLP / MLP on turned data: " + "; ".join(parts)


CLAIM = Claim(
    name="brauer_layers",
    system="Brauer diagrams",
    symbol="intertwine.models.tensors.EMLP",
    arxiv="2212.08630",
    statement="networks of O(5), O(3) and Lorentz layers have lower test error at 1000 points than plain networks "
    "of the same size, with and without randomly turned training data, at equal steps (three tensor functions)",
    theirs="direction only (theory; the tasks are those of arXiv:2104.09459)",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"tasks": ["O(5)"], "points": [100], "steps": 120, "hidden": 80},
    full={"tasks": list(TASKS), "points": [100, 300, 1000], "steps": 400, "hidden": 384},
)


@pytest.mark.claim
def test_equivariant_networks_learn_from_few_points():
    numbers, _ = CLAIM.run(CLAIM.short)
    assert CLAIM.holds(numbers), numbers
    assert ratios(numbers)["O(5), 100 points"][0] > 2


def test_the_rule_can_fail():
    assert not holds(
        {"O(5), 100 points, EMLP": 0.2, "O(5), 100 points, MLP": 0.3, "O(5), 100 points, MLP + turned": 0.1}
    )


@pytest.mark.parametrize("name", TASKS)
def test_the_targets_are_equivariant(name):
    task, generator = TASKS[name], torch.Generator().manual_seed(0)
    x, y = task.draw(50, generator)
    g = task.rep_in.group.sample(50, generator=generator, dtype=torch.float32)
    moved = task.rep_out.act(g, y)
    assert torch.allclose(task.target(task.rep_in.act(g, x)), moved, atol=1e-4 * float(moved.abs().max()))


def test_plain_networks_are_as_large():
    network = perceptron(TASKS["inertia"], 100_000, torch.Generator().manual_seed(0))
    assert abs(sum(p.numel() for p in network.parameters()) - 100_000) < 1000
