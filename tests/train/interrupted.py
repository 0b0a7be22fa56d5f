"""A training in a process of its own that is killed at a step, without a chance to save: run by test_resume.py."""

import os
import signal
import sys
from pathlib import Path

import lightning.pytorch as pl
import torch


class Kill(pl.Callback):
    """SIGKILL when a number of optimiser steps are done."""

    def __init__(self, step: int):
        self.step = step

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from train.conftest import fit, module

    torch.set_num_threads(1)
    path, folder, step, every = sys.argv[1:]
    fit(path, Path(folder), module(), max_epochs=6, save_every=int(every), callbacks=[Kill(int(step))])
