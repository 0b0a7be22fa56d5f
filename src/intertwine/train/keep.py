"""What is kept of a run: `best.ckpt`, and `last.ckpt`, from which it goes on exactly, also after Ctrl-C or a kill."""

import signal
import threading
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint

from .log import History


class KeepCheckpoints(ModelCheckpoint):
    """Writes `best.ckpt` (lowest `monitor`) and `last.ckpt` after each validation, every `every` steps, and on Ctrl-C.

    The first Ctrl-C, or SIGTERM of a single process, ends the current step, saves `last.ckpt` and stops; the second
    stops at once. An error (such as a loss that is not finite) saves nothing, so that the last good file stays. While
    gradients are being accumulated nothing is saved either: they are in no file, so `last.ckpt` waits for the end of
    the step. dirpath: default, the run's log folder. Raises ValueError for every < 1.
    """

    def __init__(self, dirpath: str | None = None, monitor: str = "val/loss", every: int | None = None):
        if every is not None and every < 1:
            raise ValueError(f"KeepCheckpoints: every must be at least 1 step, got {every}")
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
        self.every = every
        self._previous: dict[int, Any] = {}
        self._validated = -1
        self._stepped, self._due = -1, False

    @property
    def last_path(self) -> str:
        """Where `last.ckpt` is written."""
        return f"{self.dirpath}/last.ckpt"

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Signal handlers can only be set in the main thread; elsewhere Ctrl-C reaches the main thread anyway.
        if threading.current_thread() is threading.main_thread():
            self._catch(signal.SIGINT, pl_module)

    def _interrupt(self, pl_module: pl.LightningModule) -> None:
        if pl_module.stop_requested:
            raise KeyboardInterrupt
        pl_module.stop_requested = True

    def _catch(self, number: int, pl_module: pl.LightningModule) -> None:
        self._previous[number] = signal.getsignal(number)
        signal.signal(number, lambda *_: self._interrupt(pl_module))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        # Lightning's own handler, set after `on_fit_start`, ends without a file; it ends whole groups of processes too.
        if trainer.world_size == 1 and threading.current_thread() is threading.main_thread():
            self._catch(signal.SIGTERM, pl_module)
        self._stepped = trainer.global_step
        for logger in trainer.loggers:
            if isinstance(logger, History):
                logger.begin(trainer.global_step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.global_step == self._stepped:
            return  # gradients are being accumulated
        self._stepped = trainer.global_step
        stop = pl_module.stop_agreed or (pl_module.stop_requested and trainer.world_size == 1)
        if stop or self._due or (self.every is not None and self._stepped % self.every == 0):
            trainer.save_checkpoint(self.last_path)
            self._due = False
        if stop:
            raise KeyboardInterrupt

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._validated = trainer.global_step
            # Lightning's own `save_last` writes only when the best improves.
            self._due = trainer.fit_loop.epoch_loop._should_accumulate()
            if not self._due:
                trainer.save_checkpoint(self.last_path)

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
        while self._previous:
            signal.signal(*self._previous.popitem())
