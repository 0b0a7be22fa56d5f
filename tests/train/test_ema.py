"""The average follows its formula, is what is validated and saved, and never leaks into the weights that train."""

import lightning.pytorch as pl
import pytest
import torch

from intertwine.models import load_potential, saved
from intertwine.train import EMA
from train.conftest import fit, module, weights


class Watch(pl.Callback):
    """Keeps the raw weights after every step, and those that validation sees."""

    def __init__(self):
        self.raw, self.validated = [], []

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        self.raw.append(weights(pl_module))  # called before the step of the batch: weights after the step before

    def on_validation_epoch_end(self, trainer, pl_module):
        self.validated.append(weights(pl_module))


def test_the_average_by_hand(structures, tmp_path):
    watch, made = Watch(), module(ema=0.6)
    fit(structures, tmp_path, made, max_epochs=2, callbacks=[watch])
    tree = saved.load(tmp_path / "last.ckpt")
    raw = [*watch.raw, {n: tree["ema"]["current"][f"potential.{n}"] for n in watch.raw[0]}]
    assert len(raw) == 11  # before the first step and after each of ten
    average, epochs = raw[0], []
    for t, after in enumerate(raw[1:]):
        decay = min(0.6, (1 + t) / (10 + t))
        average = {n: decay * average[n] + (1 - decay) * after[n] for n in average}
        if t in (4, 9):
            epochs.append(average)
    for found, expected in zip(watch.validated, epochs):
        torch.testing.assert_close(found, expected)
    left = load_potential(tmp_path / "last.ckpt").state_dict()
    torch.testing.assert_close({n: left[n] for n in average}, average)
    torch.testing.assert_close(weights(made), average)  # the module itself is left with the average
    difference = [(average[n] - raw[-1][n]).abs().max() for n in average]
    assert max(difference) > 1e-4


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_must_be_a_share(decay):
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        EMA(decay)
