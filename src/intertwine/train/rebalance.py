"""Strengths of partial symmetries that tune themselves: those which the data resists are weakened, once."""

from typing import Any

import lightning.pytorch as pl

from intertwine.symmetrize import SoftEquivariance


class RebalanceWeights(pl.Callback):
    """Watches every `SoftEquivariance` of the module after `warmup` epochs, and rebalances its weights once.

    at_epoch: after so many epochs; about a quarter of the training (2,000 of 8,000 in the paper). Until then the
    smallest penalty of each symmetry is kept, at the end of each epoch. power: see `SoftEquivariance.rebalance`.
    Weights and penalties are part of checkpoints. Raises ValueError unless 0 <= warmup < at_epoch and power >= 0, and
    for a module without a `SoftEquivariance`. Source: arXiv:2306.00356, section 3.
    """

    def __init__(self, at_epoch: int, warmup: int = 50, power: float = 2.0):
        if not 0 <= warmup < at_epoch or power < 0:
            raise ValueError(
                f"RebalanceWeights: needs 0 <= warmup < at_epoch and power >= 0, got {warmup=}, {at_epoch=}, {power=}"
            )
        self.at_epoch, self.warmup, self.power = at_epoch, warmup, power
        self._saved: dict[str, Any] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        found = _soft(pl_module)
        if not found:
            raise ValueError(f"RebalanceWeights: {type(pl_module).__name__} holds no SoftEquivariance")
        for path, state in self._saved.items():
            found[path].balance = state
        self._saved = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        done = trainer.current_epoch + 1
        for soft in _soft(pl_module).values():
            if self.warmup < done <= self.at_epoch:
                soft.observe()
            if done == self.at_epoch:
                soft.rebalance(self.power)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["soft_equivariance"] = {path: soft.balance for path, soft in _soft(pl_module).items()}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._saved = checkpoint.get("soft_equivariance", {})


def _soft(module: pl.LightningModule) -> dict[str, SoftEquivariance]:
    return {path: m for path, m in module.named_modules() if isinstance(m, SoftEquivariance)}
