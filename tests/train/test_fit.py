"""A run from file to model: it learns, logs, keeps its best, and goes on from where it stopped as if it never had."""

import csv
import os
import signal

import lightning.pytorch as pl
import pytest
import torch

from intertwine.data.atoms import collate
from intertwine.models import catalog, load_potential, saved
from intertwine.train import EnergyForceLoss, NonFiniteLoss, PotentialModule, fit_potential
from train.conftest import data, fit, module, weights


def test_a_run_learns_logs_and_leaves_a_model(structures, tmp_path):
    made = module()
    best = fit(structures, tmp_path / "run", made, max_epochs=30)
    assert best == tmp_path / "run" / "best.ckpt"
    names = {path.name for path in best.parent.iterdir()}
    assert {"best.ckpt", "last.ckpt", "metrics.csv"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    with open(best.parent / "metrics.csv") as file:
        errors = [float(row["val/forces_rmse"]) for row in csv.DictReader(file) if row["val/forces_rmse"]]
    assert len(errors) == 30
    assert min(errors) < 0.5 * errors[0]
    model = load_potential(best)
    batch = collate(list(data(structures).parts["val"]))
    error = (model(batch)["forces"] - batch.forces).square().mean().sqrt() * 1000
    # The best is kept by the loss, energies included; what was logged for it is what the file gives.
    assert any(float(error) == pytest.approx(e, rel=1e-6) for e in errors)


def test_the_file_says_everything(structures, tmp_path):
    best = fit(structures, tmp_path / "run", module(), max_epochs=1)
    about = saved.load(best)["intertwine"]
    assert about["potential"]["species"] == ["H", "C", "O"]
    assert about["potential"]["cutoff"] == 3.5
    assert about["units"]["energy"] == "eV"
    assert about["conventions"]["degree_1"] == "(x, y, z)"
    assert len(about["data_hash"]) == 12
    assert saved.load(best)["hyper_parameters"]["network"] == "Pair"
    assert saved.load(best)["datamodule_hyper_parameters"]["cutoff"] == 3.5


def final(path, folder, network, epochs, **options):
    made = module(network)
    fit(path, folder, made, max_epochs=epochs, **options)
    return made, saved.load(folder / "last.ckpt")


def tensors(tree, where=""):
    """Every tensor and number of a tree that training determines, by place."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from tensors(value, f"{where}/{key}")
    elif isinstance(tree, list | tuple):
        for i, value in enumerate(tree):
            yield from tensors(value, f"{where}/{i}")
    elif isinstance(tree, torch.Tensor):
        yield where, tree


def same(a, b, atol=1e-7):
    for part in ("state_dict", "ema", "optimizer_states"):
        left, right = dict(tensors(a[part])), dict(tensors(b[part]))
        assert set(left) == set(right) and left
        for place, value in left.items():
            torch.testing.assert_close(value, right[place], rtol=0, atol=atol, msg=lambda m, p=place: f"{p}: {m}")


@pytest.mark.parametrize("network", ["Pair", "NequIP"])
def test_ten_epochs_and_ten_more_are_twenty(structures, tmp_path, network):
    made, whole = final(structures, tmp_path / "whole", network, 20)

    class Stop(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            trainer.should_stop = trainer.current_epoch == 9

    final(structures, tmp_path / "first", network, 20, callbacks=[Stop()])
    assert saved.load(tmp_path / "first" / "last.ckpt")["epoch"] == 9
    again, resumed = final(structures, tmp_path / "second", network, 20, resume=tmp_path / "first" / "last.ckpt")
    same(whole, resumed)
    for name, value in weights(made).items():
        torch.testing.assert_close(weights(again)[name], value, rtol=0, atol=1e-7)


@pytest.mark.parametrize("step", [1, 3, 5, 7])
def test_ctrl_c_leaves_a_file_to_go_on_from_exactly(structures, tmp_path, step):
    """Five steps make an epoch: stop at its beginning, inside, at its end, and inside the second."""
    _, whole = final(structures, tmp_path / "whole", "Pair", 3)

    class Interrupt(pl.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            if trainer.global_step == step - 1:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit):
        final(structures, tmp_path / "cut", "Pair", 3, callbacks=[Interrupt()])
    signal.signal(signal.SIGINT, before)  # Lightning leaves Ctrl-C ignored in a process it expects to end
    assert saved.load(tmp_path / "cut" / "last.ckpt")["global_step"] == step
    _, resumed = final(structures, tmp_path / "cut", "Pair", 3, resume=tmp_path / "cut" / "last.ckpt")
    same(whole, resumed)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_file(structures, tmp_path, what):
    made = module()

    class Spoil(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 12:
                self.frames = batch.frame.tolist()
                self.before = (tmp_path / "last.ckpt").read_bytes()
                if what == "loss":
                    batch.forces[0] = torch.inf

        def on_after_backward(self, trainer, pl_module):
            if what == "gradient" and trainer.global_step == 12:
                next(pl_module.parameters()).grad[0] = torch.nan

    spoil = Spoil()
    with pytest.raises(
        NonFiniteLoss, match=r"step 12: the (loss|gradient of the loss) is (inf|nan) for frames"
    ) as error:
        fit(structures, tmp_path, made, max_epochs=5, callbacks=[spoil])
    assert str(spoil.frames) in str(error.value)
    assert (tmp_path / "last.ckpt").read_bytes() == spoil.before
    assert all(p.isfinite().all() for p in made.parameters())
    fit(structures, tmp_path, module(), max_epochs=5, resume=tmp_path / "last.ckpt")


def test_a_checkpoint_of_another_model_names_both(structures, tmp_path):
    fit(structures, tmp_path / "pair", module(), max_epochs=1)
    with pytest.raises(ValueError, match=r"another model, a Pair .* than this run's NequIP .*backbone \(checkpoint"):
        fit(structures, tmp_path / "other", module("NequIP"), max_epochs=1, resume=tmp_path / "pair" / "last.ckpt")
    with pytest.raises(ValueError, match=r"cutoff \(checkpoint 3\.5, here 3\.0\)"):
        fit(
            structures,
            tmp_path / "other",
            module(),
            data_options={"cutoff": 3.0},
            max_epochs=1,
            resume=tmp_path / "pair" / "last.ckpt",
        )


def test_the_budget_ends_the_run_and_the_rate(structures, tmp_path):
    made = module(lr=1e-3)
    fit(structures, tmp_path, made, max_time=2.0)
    with open(tmp_path / "metrics.csv") as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file) if row["lr"]]
    assert len(rates) > 10
    assert rates[-1] < 0.02 * max(rates)
    assert max(rates) == pytest.approx(1e-3, rel=0.05)
    # The last steps, which a budget of minutes leaves in the middle of an epoch, are validated and kept too.
    with open(tmp_path / "metrics.csv") as file:
        validated = [int(row["step"]) for row in csv.DictReader(file) if row["val/loss"]]
    assert validated[-1] == saved.load(tmp_path / "last.ckpt")["global_step"] - 1


def test_a_run_without_end_is_refused(structures, tmp_path):
    with pytest.raises(ValueError, match="training never ends"):
        fit_potential(data(structures), tmp_path)


def test_energies_alone(structures, tmp_path):
    best = fit(structures, tmp_path, module(loss=EnergyForceLoss(1.0, 0.0)), max_epochs=2)
    assert load_potential(best).forces == "gradient"


def test_direct_forces(structures, tmp_path, monkeypatch):
    entry = catalog.Entry("TwoHeads", "models.atoms.two_heads", "", "")
    monkeypatch.setattr(catalog, "ENTRIES", (*catalog.ENTRIES, entry))
    made = PotentialModule("TwoHeads", forces="direct")
    best = fit(structures, tmp_path, made, max_epochs=3)
    tree = saved.load(best)
    assert tree["intertwine"]["conservative"] is False
    assert tree["hyper_parameters"]["forces"] == "direct"
    model = load_potential(best)
    assert model.forces == "direct"
    fresh = PotentialModule("TwoHeads", forces="direct").build(data(structures).facts)
    assert (made.potential.backbone.head - fresh.backbone.head).abs().max() > 1e-3


def test_direct_forces_come_without_stress():
    with pytest.raises(ValueError, match="direct forces come without stress"):
        PotentialModule("Pair", loss=EnergyForceLoss(stress=1.0), forces="direct")
