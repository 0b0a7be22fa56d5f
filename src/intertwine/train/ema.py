"""Exponential moving average of the weights: what is validated, tested and saved as the model.

Lightning's own averaging callback copies the module before our network exists (it is sized to the data in `setup`)
and has no warm-up, hence this one.
"""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor


class EMA(pl.Callback):
    """Keeps θ̄ ← d θ̄ + (1 - d) θ after every optimiser step t, with d = min(decay, (1 + t)/(10 + t)).

    Validation runs on θ̄, checkpoints hold θ̄ as `state_dict` and θ beside it, and when training ends the module is
    left with θ̄. Raises ValueError unless 0 <= decay < 1.
    """

    def __init__(self, decay: float = 0.99):
        if not 0 <= decay < 1:
            raise ValueError(f"EMA: decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.steps = 0
        self.average: dict[str, Tensor] | None = None
        self._swapped = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.average is None:
            self.average = {name: p.detach().clone() for name, p in pl_module.named_parameters()}
        self.average = {name: a.to(pl_module.device) for name, a in self.average.items()}

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.steps:
            return  # gradients are being accumulated: no optimiser step was taken
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps = trainer.global_step
        average = list(self._averages().values())
        torch._foreach_lerp_(average, [p.detach() for p in pl_module.parameters()], 1 - decay)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.average is not None and not self._swapped:
            self._swap(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Checkpoint callbacks run after this one, so they see the raw weights in the module again.
        if self._swapped:
            self._swap(pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self._swapped:
            self._swap(pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.average is not None and not self._swapped:
            self._swap(pl_module)
            self._swapped, self.average = False, None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self.average is None:
            return
        raw = checkpoint["state_dict"]
        current, average = ({}, {})
        for name, value in raw.items():
            other = self.average.get(name, value)
            current[name], average[name] = (other, value) if self._swapped else (value, other)
        checkpoint["state_dict"] = average
        checkpoint["ema"] = {"current": current, "steps": self.steps, "decay": self.decay}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn != "fit" or "ema" not in checkpoint:
            return
        names = dict(pl_module.named_parameters())
        self.average = {n: v.clone() for n, v in checkpoint["state_dict"].items() if n in names}
        self.steps = checkpoint["ema"]["steps"]
        # Lightning has loaded `state_dict`, the average, into the module; training goes on from the raw weights.
        pl_module.load_state_dict(checkpoint["ema"]["current"])

    def _averages(self) -> dict[str, Tensor]:
        if self.average is None:
            raise RuntimeError("EMA: no average yet; it starts with fit")
        return self.average

    @torch.no_grad()
    def _swap(self, pl_module: pl.LightningModule) -> None:
        for name, parameter in pl_module.named_parameters():
            kept = parameter.detach().clone()
            parameter.copy_(self._averages()[name])
            self._averages()[name].copy_(kept)
        self._swapped = not self._swapped
