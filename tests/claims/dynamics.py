"""The n-body experiment that several papers share: from frame 30 of charged points to their positions at frame 40."""

import copy
import math
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import torch
from torch import nn

from claims.claim import Numbers
from intertwine.data import charged
from intertwine.groups import SO
from intertwine.models.points import TFN, EGNNDynamics, LinearDynamics, MessagePassing, RadialField
from intertwine.reps import Points

VALID = 1_000_000  # seeds of systems for validation start here
EVERY = 20  # epochs between validations
PUBLISHED_SIZE = {"train": 3000, "valid": 2000, "test": 2000, "batch": 100}
Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # positions, velocities [systems, n, 3], charges [systems, n]

# EGNN and what arXiv:2102.09844 compares it with, from a generator of weights.
MODELS = {
    "linear": lambda generator: LinearDynamics(),
    "radial field": lambda generator: RadialField(generator=generator),
    "GNN": lambda generator: MessagePassing(generator=generator),
    "TFN": lambda generator: TFN(generator=generator),
    "TFN with charges on edges": lambda generator: TFN(edge_charges=True, generator=generator),
    "EGNN": lambda generator: EGNNDynamics(generator=generator),
}


@dataclass(frozen=True)
class Task:
    """Inputs and targets for training and for the test, float32; the test set also turned, each system by its own.

    valid: systems that choose among the epochs of a training, or none.
    """

    train: Inputs
    train_target: torch.Tensor
    test: Inputs
    test_target: torch.Tensor
    turned: Inputs
    turned_target: torch.Tensor
    valid: Inputs | None = None
    valid_target: torch.Tensor | None = None


def task(train: int, test: int, seed: int, now: int = 30, then: int = 40, valid: int = 0) -> Task:
    """Published charged motions; systems for training, for the test and for validation come from different seeds."""

    def draw(systems: int, seed: int) -> tuple[Inputs, torch.Tensor]:
        steps = 100 * (then + 1) + 1
        inputs, target = charged(systems, steps=steps, seed=seed).task(now, then)
        return (inputs["positions"], inputs["velocities"], inputs["charges"]), target

    (x, v, q), target = draw(test, 2 * seed + 1)
    turn = SO(3).sample(test, generator=torch.Generator().manual_seed(seed))
    act = Points(SO(3))
    turned = (act(turn, x), act(turn, v), q), act(turn, target)
    return Task(*draw(train, 2 * seed), (x, v, q), target, *turned, *(draw(valid, VALID + seed) if valid else ()))


def train_dynamics(
    make: Callable[[torch.Generator], nn.Module],
    data: Task,
    *,
    epochs: int,
    lr: float = 1e-3,
    batch: int = 100,
    seed: int = 0,
    turn: bool = False,
) -> Numbers:
    """Mean squared errors on the test set and on the turned one, parameters, and seconds of training of this process.

    make: the model from a generator of its weights; it is called as model(positions, velocities, charges). Adam, a
    learning rate that falls to zero as a cosine, epochs in whole batches. turn: turn each system of a batch at random.
    With systems for validation, the weights that are tested are the best of every twentieth epoch and the last.
    """
    generator = torch.Generator().manual_seed(seed)
    model = make(generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=1e-12)
    count = len(data.train_target)
    steps = max(1, count // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    act, began = Points(SO(3)), time.process_time()
    best, chosen_weights = math.inf, None
    for epoch in range(1, epochs + 1):
        model.train()
        order = torch.randperm(count, generator=generator)
        for k in range(steps):
            chosen = order[k * batch : (k + 1) * batch]
            (x, v, q), target = (part[chosen] for part in data.train), data.train_target[chosen]
            if turn:
                g = SO(3).sample(len(chosen), generator=generator)
                x, v, target = act(g, x), act(g, v), act(g, target)
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x, v, q), target).backward()
            optimizer.step()
            schedule.step()
        if data.valid is not None and (epoch % EVERY == 0 or epoch == epochs):
            found = error(model, data.valid, data.valid_target)
            if found < best:
                best, chosen_weights = found, copy.deepcopy(model.state_dict())
    if chosen_weights is not None:
        model.load_state_dict(chosen_weights)
    seconds = time.process_time() - began
    return {
        "error": error(model, data.test, data.test_target),
        "error turned": error(model, data.turned, data.turned_target),
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(seconds, 1),
    }


def _alone(name: str, data: Task, epochs: int, batch: int, seed: int) -> Numbers:
    """One model on one core."""
    torch.set_num_threads(1)
    found = train_dynamics(MODELS[name], data, epochs=epochs, batch=batch, seed=seed)
    return {f"{name} {what}": value for what, value in found.items()}


def side_by_side(
    *, seed: int, epochs: int, batch: int, models: tuple[str, ...], cores: int | None = None, **size: int
) -> Numbers:
    """Test errors of the models, each at its best validation error, in as many processes as `cores`, all by default."""
    given = task(**size, seed=seed), epochs, batch, seed
    if cores == 1:
        return {key: value for name in models for key, value in _alone(name, *given).items()}
    with ProcessPoolExecutor(cores or os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(_alone, name, *given) for name in models]
        return {key: value for found in running for key, value in found.result().items()}


@torch.no_grad()
def error(model: nn.Module, inputs: Inputs, target: torch.Tensor) -> float:
    """Mean squared error of all coordinates."""
    model.eval()
    return nn.functional.mse_loss(model(*inputs), target).item()


def in_order(numbers: Numbers) -> tuple[str, str]:
    """The errors of the models that were trained, from the largest, and the seconds of those that take some."""
    names = sorted((n for n in MODELS if f"{n} error" in numbers), key=lambda n: -numbers[f"{n} error"])
    errors = ", ".join(f"{name} {numbers[f'{name} error']:.4f}" for name in names)
    return errors, ", ".join(f"{name} {numbers[f'{name} seconds']:.0f}" for name in names if name != "linear")


def errors_and_seconds(numbers: Numbers) -> str:
    """Both in one line."""
    errors, seconds = in_order(numbers)
    return f"{errors}; CPU seconds: {seconds}"
