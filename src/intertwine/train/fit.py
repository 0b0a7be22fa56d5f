"""One call from a structure file to a trained potential; the command line and the demo are built on it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger

from .checkpoint import SafetensorsIO
from .data import AtomicDataModule
from .keep import KeepCheckpoints
from .log import History
from .potential import PotentialModule


def loggers(folder: str | Path) -> list[Any]:
    """CSV and TensorBoard logs side by side in one folder."""
    return [History(folder), TensorBoardLogger(str(folder), name="", version="")]


def trainer(folder: str | Path, **options: Any) -> pl.Trainer:
    """A Lightning Trainer that writes safe checkpoints and both logs into `folder`; options go to `Trainer`.

    save_every: steps between two writes of `last.ckpt`, besides those after validation.
    """
    defaults: dict[str, Any] = {
        "accelerator": "auto",
        "devices": 1,
        "logger": loggers(folder),
        "plugins": [SafetensorsIO()],
        "default_root_dir": str(folder),
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "log_every_n_steps": 50,
    }
    keep = KeepCheckpoints(str(folder), every=options.pop("save_every", None))
    callbacks = [*(options.pop("callbacks", None) or []), keep]
    with quiet():
        return pl.Trainer(**(defaults | options), callbacks=callbacks)


def fit_potential(
    data: str | Path | AtomicDataModule,
    folder: str | Path,
    *,
    module: PotentialModule | None = None,
    max_time: float | None = None,
    resume: str | Path | None = None,
    data_options: dict[str, Any] | None = None,
    **trainer_options: Any,
) -> Path:
    """Train a potential and return the path of its best checkpoint.

    data: a structure file or a data module (`data_options` go to `AtomicDataModule` in the first case); folder: where
    checkpoints and logs go; max_time: seconds of training; resume: a checkpoint to go on from; trainer_options:
    anything `lightning.Trainer` takes, such as max_epochs, and save_every, the steps between two writes of `last.ckpt`.
    Raises ValueError when nothing limits the run, and what reading the data and training raise.
    """
    limits = (max_time, *(trainer_options.get(name) for name in ("max_epochs", "max_steps")))
    if all(limit is None for limit in limits):
        raise ValueError("fit_potential: give max_time, max_epochs or max_steps, or training never ends")
    if not isinstance(data, AtomicDataModule):
        data = AtomicDataModule(str(data), **(data_options or {}))
    module = PotentialModule() if module is None else module
    if max_time is not None:
        trainer_options["max_time"] = timedelta(seconds=max_time)
    trainer_options.setdefault("max_epochs", -1)
    run = trainer(folder, **trainer_options)
    with quiet():
        run.fit(module, datamodule=data, ckpt_path=None if resume is None else str(resume))
    best = run.checkpoint_callback.best_model_path
    return Path(best or run.checkpoint_callback.last_path)


# Lightning says these on every run; none of them is about the user's job.
_CHATTER = (
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*LeafSpec.*",
    ".*torch.jit.script.*",
    ".*You are using a CUDA device.*",
    ".*Experiment logs directory .* exists and is not empty.*",
    ".*The dirpath has changed.*",
    ".*Trying to infer the `batch_size`.*",
    ".*callbacks used to create the checkpoint need to be provided.*",
    ".*is smaller than the logging interval.*",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide Lightning's standing advice for the length of a block; warnings about the run still show."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        for pattern in _CHATTER:
            warnings.filterwarnings("ignore", message=pattern)
        for name in names:
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
