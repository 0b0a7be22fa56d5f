"""Learning rates that know their budget: epochs, steps or minutes, whichever ends the run first."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Timer


@dataclass(frozen=True)
class Optimizer:
    """AdamW (amsgrad) with a clip and a schedule.

    lr: peak learning rate; weight_decay: on matrices only; clip: largest norm of the gradient; schedule: "cosine" from
    lr to `floor`·lr over the run's budget, "constant", or "plateau" (×`factor` after `patience` validations without
    progress); warmup: steps of linear warm-up; ema: decay of the average of the weights.
    Raises ValueError for a value outside its range.
    """

    lr: float = 1e-2
    weight_decay: float = 5e-7
    amsgrad: bool = True
    clip: float = 10.0
    schedule: Literal["cosine", "constant", "plateau"] = "cosine"
    warmup: int = 50
    floor: float = 0.0
    factor: float = 0.8
    patience: int = 50
    ema: float = 0.99

    def __post_init__(self) -> None:
        if not (self.lr > 0 and self.clip > 0 and self.weight_decay >= 0 and self.warmup >= 0):
            raise ValueError(f"Optimizer: lr and clip must be > 0, weight_decay and warmup >= 0, got {self}")
        if not 0 <= self.floor <= 1 or not 0 < self.factor < 1:
            raise ValueError(f"Optimizer: floor must be in [0, 1] and factor in (0, 1), got {self}")
        if self.schedule not in ("cosine", "constant", "plateau"):
            raise ValueError(f"Optimizer: schedule must be cosine, constant or plateau, got {self.schedule!r}")

    def rate(self, step: int, progress: float) -> float:
        """Learning rate at a step, when the share `progress` (0 to 1) of the budget is spent."""
        ramp = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.schedule != "cosine":
            return self.lr * ramp
        share = 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
        return self.lr * ramp * (self.floor + (1 - self.floor) * share)


def progress(trainer: pl.Trainer) -> float:
    """Share of the training budget that is spent: the largest of epochs, steps and time; 0 for a run without end."""
    shares = [0.0]
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        per_epoch = max(trainer.num_training_batches / trainer.accumulate_grad_batches, 1)
        shares.append(trainer.global_step / (trainer.max_epochs * per_epoch))
    if trainer.max_steps is not None and trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    for callback in trainer.callbacks:
        if isinstance(callback, Timer) and (left := callback.time_remaining()) is not None:
            spent = callback.time_elapsed()
            shares.append(spent / max(spent + left, 1e-9))
    return min(max(shares), 1.0)


def parameter_groups(module: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimiser: matrices decay, vectors and scalars (biases, frequencies) do not."""
    decayed = [p for p in module.parameters() if p.requires_grad and p.ndim >= 2]
    free = [p for p in module.parameters() if p.requires_grad and p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
