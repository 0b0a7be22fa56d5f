"""Progress for people: one bar for each long job, silent where nobody watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar
from tqdm.auto import tqdm

from .schedule import progress

_FORMAT = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


class BudgetBar(ProgressBar):
    """Shows the share of the training budget that is spent (time, steps or epochs), the step, the last val error."""

    def __init__(self, label: str = "training", row: int = 0):
        super().__init__()
        self.label, self.row = label, row  # row: on which line of the terminal, where several runs draw at once
        self._bar: tqdm | None = None
        self._shown = True

    def disable(self) -> None:
        self._shown = False

    def enable(self) -> None:
        self._shown = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._bar = tqdm(
            total=100,
            desc=f"{self.label:<28}",
            position=self.row,
            disable=None if self._shown else True,  # None: only where somebody watches
            miniters=1,
            mininterval=0,
            bar_format=_FORMAT,
        )

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        if self._bar is not None:
            share = round(100 * progress(trainer), 1)
            if share - self._bar.n >= 0.5 or share >= 100:
                self._bar.update(share - self._bar.n)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        error = trainer.callback_metrics.get("val/forces_mae")
        if self._bar is not None and error is not None:
            self._bar.set_postfix_str(f"step {trainer.global_step}, force MAE {float(error):.1f} meV/Å", refresh=False)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@contextmanager
def bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for the length of a block; gives the function to call with (done, total)."""
    with tqdm(total=0, desc=f"{label:<28}", disable=None, bar_format=_FORMAT) as drawn:

        def update(done: int, total: int) -> None:
            drawn.total = total
            if done == total or done - drawn.n >= max(total // 200, 1):
                drawn.update(done - drawn.n)

        yield update
