"""FA-GNN (arXiv:2110.03336) on charged points: in frames a plain network learns more from each pass over the data."""

import pytest
import torch
from torch import nn

from claims.claim import Claim, Numbers
from claims.dynamics import Task, task, train_dynamics
from intertwine.models.points import FAGNN, EGNNDynamics
from intertwine.models.points.fa_gnn import message_layers, pair_features

COPIES = 8  # calls of the plain layers in one call of FA-GNN


class Plain(nn.Module):
    """The layers of `FAGNN` one after the other, in the axes of the laboratory; positions are centred there too."""

    def __init__(self, generator: torch.Generator):
        super().__init__()
        self.layers = nn.ModuleList(message_layers(60, 4, generator=generator))

    def forward(self, x: torch.Tensor, v: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        center = x.mean(1, keepdim=True)
        h, pairs = torch.cat([x - center, v], -1), pair_features(x, q)
        for layer in self.layers:
            h = layer(h, pairs)
        return center + h


def augmented(data: Task, copies: int, epochs: int, **run: int) -> Numbers:
    return train_dynamics(Plain, data, epochs=copies * epochs, turn=True, **run)


RUNS = {
    "plain": lambda data, **run: train_dynamics(Plain, data, **run),
    "augmented": lambda data, **run: augmented(data, 1, **run),
    "augmented 8×": lambda data, **run: augmented(data, COPIES, **run),
    "frames": lambda data, **run: train_dynamics(lambda g: FAGNN(generator=g), data, **run),
    "EGNN": lambda data, **run: train_dynamics(lambda g: EGNNDynamics(generator=g), data, lr=5e-4, **run),
}


def experiment(
    *, seed: int, seeds: int, epochs: int, batch: int = 100, runs: tuple[str, ...] = tuple(RUNS), **size: int
) -> Numbers:
    """Mean test errors over seeds of data and weights, on turned systems too, their spread, and seconds of training."""
    numbers: Numbers = {}
    tasks = [task(**size, seed=s) for s in range(seed, seed + seeds)]
    for name in runs:
        found = [RUNS[name](data, epochs=epochs, batch=batch, seed=seed + k) for k, data in enumerate(tasks)]
        numbers |= {f"{name} {what}": sum(run[what] for run in found) / seeds for what in found[0]}
        numbers[f"{name} largest error"] = max(run["error"] for run in found)
        numbers[f"{name} smallest error"] = min(run["error"] for run in found)
    return numbers


def holds(numbers: Numbers) -> bool:
    """With as many passes frames are better by a tenth than none and than augmentation, and do not see turns."""
    own = numbers["frames error"]
    return (
        own <= 0.9 * min(numbers["plain error"], numbers["augmented error"])
        and abs(numbers["frames error turned"] - own) < 1e-4 * own
        and numbers["frames parameters"] == numbers["plain parameters"]
    )


def ours(numbers: Numbers) -> str:
    def said(name: str) -> str:
        low, high = (numbers[f"{name} {which} error"] for which in ("smallest", "largest"))
        return f"{name} {numbers[f'{name} error']:.4f} ({low:.4f} to {high:.4f})"

    seconds = ", ".join(f"{name} {numbers[f'{name} seconds'] / numbers['plain seconds']:.1f}" for name in RUNS)
    order = sorted(RUNS, key=lambda name: -numbers[f"{name} error"])
    return f"{', '.join(map(said, order))}; training time over that of the plain network: {seconds}"


CLAIM = Claim(
    name="fa_nbody",
    system="FA-GNN",
    symbol="intertwine.models.points.FAGNN",
    arxiv="2110.03336",
    statement="five charges, from frame 30 to 40, mean squared error, three seeds, 24 passes over 1,000 systems: a "
    "plain graph network whose layers work in frames is better than itself bare or with turned systems; beside it, "
    "with no rule: eight times the passes with augmentation, which costs as much as frames, and EGNN",
    theirs="FA-GNN 0.0057, EGNN 0.0071, GNN 0.0107 (3,000 systems, 10,000 epochs)",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"seeds": 1, "train": 100, "test": 100, "epochs": 12, "batch": 20, "runs": ("plain", "augmented", "frames")},
    full={"seeds": 3, "train": 1000, "test": 500, "epochs": 24, "batch": 50},
)


@pytest.mark.claim
def test_frames_learn_more_from_each_pass():
    numbers, _ = CLAIM.run(CLAIM.short)
    assert numbers["frames error"] < 0.9 * min(numbers["plain error"], numbers["augmented error"]), numbers
    assert abs(numbers["frames error turned"] / numbers["frames error"] - 1) < 1e-4
    assert abs(numbers["plain error turned"] / numbers["plain error"] - 1) > 1e-4
    assert numbers["frames parameters"] == numbers["plain parameters"]


def test_the_rule_can_fail():
    fine = {"plain error": 1.0, "augmented error": 1.0, "frames error": 0.8, "frames error turned": 0.8}
    fine |= {"frames parameters": 9, "plain parameters": 9}
    assert holds(fine)
    wrong = {"plain error": 0.8, "augmented error": 0.85, "frames error turned": 0.81, "plain parameters": 10}
    assert not any(holds(fine | {name: value}) for name, value in wrong.items())
