"""What is kept of a run: `best.ckpt`, `last.ckpt`, and on Ctrl-C a `last.ckpt` from which the run goes on exactly."""

import signal
import threading
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint


class KeepCheckpoints(ModelCheckpoint):
    """Writes `best.ckpt` (lowest `monitor`) and `last.ckpt` after each validation, and on Ctrl-C.

    The first Ctrl-C ends the current step, saves `last.ckpt` and stops; the second stops at once. An error (such as a
    loss that is not finite) saves nothing, so that the last good file stays. dirpath: default, the run's log folder.
    """

    def __init__(self, dirpath: str | None = None, monitor: str = "val/loss"):
        super().__init__(
            dirpath=dirpath,
            filename="best",
            monitor=monitor,
            save_last=False,
            save_top_k=1,
            auto_insert_metric_name=False,
            enable_version_counter=False,
            save_on_train_epoch_end=False,
        )
        self._previous: Any = None
        self._validated = -1

    @property
    def last_path(self) -> str:
        """Where `last.ckpt` is written."""
        return f"{self.dirpath}/last.ckpt"

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Signal handlers can only be set in the main thread; elsewhere Ctrl-C reaches the main thread anyway.
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGINT)
            signal.signal(signal.SIGINT, lambda *_: self._interrupt(pl_module))

    def _interrupt(self, pl_module: pl.LightningModule) -> None:
        if pl_module.stop_requested:
            raise KeyboardInterrupt
        pl_module.stop_requested = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if pl_module.stop_agreed or (pl_module.stop_requested and trainer.world_size == 1):
            trainer.save_checkpoint(self.last_path)
            raise KeyboardInterrupt

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._validated = trainer.global_step
            trainer.save_checkpoint(self.last_path)  # Lightning's own `save_last` writes only when the best improves

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # A budget ends where it ends: the last steps, those of the lowest rate, must be validated and kept too.
        if self._validated != trainer.global_step and trainer.fit_loop.epoch_loop.val_loop._data_source.is_defined():
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True
        elif self._validated != trainer.global_step:
            trainer.save_checkpoint(self.last_path)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._restore()
        super().teardown(trainer, pl_module, stage)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None
