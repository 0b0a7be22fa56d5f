"""The strengths of partial symmetries are rebalanced once, from the smallest penalties seen, also across a resume."""

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from intertwine.groups import MatrixGroup, O
from intertwine.symmetrize import SoftEquivariance
from intertwine.train import RebalanceWeights, SafetensorsIO
from intertwine.train.fit import quiet


class Fit(pl.LightningModule):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layer = nn.Sequential(nn.Linear(6, 3))
        turn = MatrixGroup(torch.tensor([[[0.0, 0, 0], [0, 0, -1], [0, 1, 0]]]))
        named = {"O(3)": O(3), "about x": turn, "off": O(3)}
        symmetries = {name: {"0": (2 * group.V, group.V)} for name, group in named.items()}
        self.soft = SoftEquivariance(layer, symmetries, weight=0.5)
        self.soft.weight["off"] = 0.0
        self.seen = []

    def training_step(self, batch, _):
        x, y = batch
        return (self.soft(x) - y).square().mean() + self.soft.loss()

    def on_train_epoch_end(self):
        penalties = {name: R.item() for name, R in self.soft.penalties().items()}
        self.seen.append((penalties, dict(self.soft.weight)))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


def run(module: Fit, folder, epochs: int, *, resume=None, **options) -> Fit:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 6, generator=generator)
    y = x[:, ::2] + torch.tensor([1.0, 0, 0]) * x[:, 1:2]
    with quiet():
        trainer = pl.Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False, plugins=[SafetensorsIO()],
            enable_model_summary=False, enable_checkpointing=False, callbacks=[RebalanceWeights(**options)],
        )  # fmt: skip
        trainer.fit(module, DataLoader(TensorDataset(x, y), batch_size=10), ckpt_path=resume)
        trainer.save_checkpoint(folder / f"{epochs}.ckpt")
    return module


def test_once_from_the_smallest_penalties_after_the_warm_up(tmp_path):
    whole = run(Fit(), tmp_path, 6, at_epoch=4, warmup=1, power=1.5)
    first = {"O(3)": 0.5, "about x": 0.5, "off": 0.0}
    assert all(weight == first for _, weight in whole.seen[:3])
    R = {name: min(penalties[name] for penalties, _ in whole.seen[1:4]) for name in ("O(3)", "about x")}
    assert R["about x"] < R["O(3)"]
    expected = {"O(3)": 0.5 * (R["about x"] / R["O(3)"]) ** 1.5, "about x": 0.5, "off": 0.0}
    for _, weight in whole.seen[4:]:
        assert weight == pytest.approx(expected)
    run(Fit(), tmp_path, 3, at_epoch=4, warmup=1, power=1.5)
    resumed = run(Fit(), tmp_path, 6, resume=tmp_path / "3.ckpt", at_epoch=4, warmup=1, power=1.5)
    assert resumed.soft.balance == whole.soft.balance
    again = run(Fit(), tmp_path, 7, resume=tmp_path / "6.ckpt", at_epoch=4, warmup=1)
    assert again.soft.weight == pytest.approx(expected)


@pytest.mark.parametrize("options", [{"at_epoch": 50}, {"at_epoch": 3, "warmup": -1}, {"at_epoch": 60, "power": -1.0}])
def test_what_cannot_be(options):
    with pytest.raises(ValueError, match=r"0 <= warmup < at_epoch and power >= 0"):
        RebalanceWeights(**options)


def test_without_anything_to_balance(tmp_path):
    class Bare(Fit):
        def __init__(self):
            super().__init__()
            self.soft = self.soft.model

    with pytest.raises(ValueError, match="Bare holds no SoftEquivariance"):
        run(Bare(), tmp_path, 1, at_epoch=1, warmup=0)
