"""What large runs need: accumulated gradients, a kill at any step, early stopping, lower precision, sets on disk."""

import csv
import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

from intertwine.data.atoms import pack, read
from intertwine.models import saved
from intertwine.train import EnergyForceLoss
from intertwine.train.batches import Loader, Packed
from intertwine.train.order import Order
from train.conftest import data, fit, module, weights
from train.test_fit import same


def partly(graphs):
    """The same structures with some labels missing."""
    for i, graph in enumerate(graphs):
        for label, every in (("energy", 3), ("forces", 4)):
            if i % every == 0:
                graph[f"has_{label}"] = torch.tensor([False])
                graph[label] = torch.full_like(graph[label], torch.nan)
    return graphs


def gradient(potential, loss, batches) -> torch.Tensor:
    potential.zero_grad()
    for batch in batches:
        (loss(potential(batch, training=True), batch)["loss"] / len(batches)).backward()
    return torch.cat([p.grad.flatten() for p in potential.parameters()])


@pytest.mark.parametrize("kind", ["mse", "l2norm"])
@pytest.mark.parametrize(("count", "pieces"), [(12, 4), (10, 3)], ids=["even", "a shorter end"])
def test_accumulated_gradients_are_those_of_the_large_batch(structures, count, pieces, kind):
    """Batches of 3, `pieces` to a step; water and methanol differ in atoms, and labels are missing."""
    made = data(structures)
    packed = Packed(partly([graph.clone() for graph in list(made.parts["train"])[:count]]))
    potential = module("NequIP").build(made.facts).double()
    loss = EnergyForceLoss(energy=2.0, forces=3.0, kind=kind)
    batches = list(Loader(packed, Order(count, 3, shuffle=True), accumulate=lambda: pieces))
    assert len(batches) == 4
    first = gradient(potential, loss, batches[:pieces])
    chosen = [i for union in Order(count, 3, shuffle=True).unions()[:pieces] for i in union[0]]
    alone = gradient(potential, loss, [packed.batch(chosen)])
    torch.testing.assert_close(first, alone, rtol=0, atol=1e-10)
    assert alone.abs().max() > 1e-3
    plain = gradient(potential, loss, [packed.batch(i) for i in np.array_split(chosen, pieces)])
    assert (plain - alone).abs().max() > 1e-4  # means of means would be another gradient
    if count == 10:  # one batch is left; Lightning divides it by `pieces` all the same
        last = gradient(potential, loss, batches[3:]) / pieces
        rest = [i for union in Order(count, 3, shuffle=True).unions()[3:] for i in union[0]]
        torch.testing.assert_close(last, gradient(potential, loss, [packed.batch(rest)]), rtol=0, atol=1e-10)


def test_a_run_that_accumulates_is_the_run_with_large_batches(structures, tmp_path):
    """24 structures: two of 4 in turn are one of 8, and the order of structures is the same."""
    big, small = module("NequIP"), module("NequIP")
    fit(structures, tmp_path / "big", big, data_options={"batch_size": 8}, max_epochs=3)
    fit(structures, tmp_path / "small", small, data_options={"batch_size": 4}, max_epochs=3, accumulate_grad_batches=2)
    assert saved.load(tmp_path / "small" / "last.ckpt")["global_step"] == 9
    for name, value in weights(big).items():
        torch.testing.assert_close(weights(small)[name], value, rtol=1e-4, atol=1e-5)  # float32 sums in another order


def test_no_file_holds_half_a_step(structures, tmp_path):
    """Validation and Ctrl-C in the middle of accumulated gradients: the file waits for the end of the step."""

    class Interrupt(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if (trainer.current_epoch, batch_idx) == (1, 3):
                signal.raise_signal(signal.SIGTERM)

    options = {"max_epochs": 3, "accumulate_grad_batches": 3, "val_check_interval": 2}
    options["data_options"] = {"batch_size": 4}
    whole = module()
    fit(structures, tmp_path / "whole", whole, **options)
    with pytest.raises(SystemExit):
        fit(structures, tmp_path / "cut", module(), callbacks=[Interrupt()], **options)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning leaves Ctrl-C ignored
    last = saved.load(tmp_path / "cut" / "last.ckpt")
    assert last["global_step"] == 4
    assert last["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"] == 6
    fit(structures, tmp_path / "cut", module(), resume=tmp_path / "cut" / "last.ckpt", **options)
    same(*(saved.load(tmp_path / name / "last.ckpt") for name in ("whole", "cut")))


def curve(folder: Path) -> dict[int, float]:
    """The training loss by step; what was written again after a kill counts."""
    with open(folder / "metrics.csv") as file:
        return {int(row["step"]): float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]}


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_been(structures, tmp_path):
    """SIGKILL at a step that no schedule knows, in the middle of an epoch: only the file of three steps ago is left."""
    step = int(np.random.RandomState(20).randint(11, 29))
    worker = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("interrupted.py"))]
    done = subprocess.run([*worker, str(structures), str(tmp_path / "cut"), str(step), "3"], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    last = saved.load(tmp_path / "cut" / "last.ckpt")
    assert last["global_step"] in (step - step % 3, step - step % 5)  # the last of a third step and of an epoch
    assert last["global_step"] % 5
    whole, resumed = module(), module()
    fit(structures, tmp_path / "whole", whole, max_epochs=6, save_every=3)
    fit(structures, tmp_path / "cut", resumed, max_epochs=6, save_every=3, resume=tmp_path / "cut" / "last.ckpt")
    same(*(saved.load(tmp_path / name / "last.ckpt") for name in ("whole", "cut")))
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[name], value, rtol=0, atol=1e-7)
    assert curve(tmp_path / "cut") == pytest.approx(curve(tmp_path / "whole"), rel=1e-6)


def test_the_page_of_costs_is_what_the_script_says():
    """docs/scale.md is written by tools/scale.py."""
    path = Path(__file__).parents[2] / "tools" / "scale.py"
    spec = importlib.util.spec_from_file_location("scale", path)
    scale = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scale)
    page = scale.PAGE.read_text()
    assert page == scale.written(page)
    job = scale.Job("one", structures=970, atoms=10, passes=2, batch_atoms=100, gpus=2)
    assert job.steps == pytest.approx(100)
    assert job.hours == pytest.approx(2 * 970 * 10 / (scale.GPU_ATOMS * 2 * scale.SCALING) / 3600)


def test_early_stopping_is_a_callback_of_lightning(structures, tmp_path):
    stop = EarlyStopping("val/loss", patience=2, min_delta=1e9)  # eV²: nothing improves that much
    fit(structures, tmp_path, module(), max_epochs=50, callbacks=[stop])
    assert saved.load(tmp_path / "last.ckpt")["epoch"] == 2
    assert (tmp_path / "best.ckpt").is_file()


def test_bf16_is_for_the_steps_alone(structures, tmp_path):
    """Weights stay float32, energies float64, and validation sees the model as it will be used."""
    runs = {precision: module("NequIP") for precision in ("32-true", "bf16-mixed")}
    for precision, made in runs.items():
        fit(structures, tmp_path / precision, made, max_epochs=2, precision=precision)
    assert all(value.dtype == torch.float32 for value in weights(runs["bf16-mixed"]).values())
    plain, mixed = (curve(tmp_path / precision) for precision in runs)
    assert mixed != plain
    assert mixed == pytest.approx(plain, rel=0.1)
    batch = data(structures).val_dataloader()
    for made in runs.values():
        made.metrics.reset()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = runs["32-true"]._evaluate(next(iter(batch)))
    high = runs["32-true"]._evaluate(next(iter(batch)))
    assert torch.equal(low["forces"], high["forces"])


def test_tf32_is_switched_back(structures, tmp_path):
    class Look(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            self.seen = torch.get_float32_matmul_precision()

    look, before = Look(), torch.get_float32_matmul_precision()
    made = module()
    made.tf32 = True
    fit(structures, tmp_path, made, max_epochs=1, callbacks=[look])
    assert (look.seen, torch.get_float32_matmul_precision()) == ("high", before)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_set_on_disk_trains_as_one_in_memory(structures, tmp_path, workers):
    whole = read(structures)
    pack(whole, tmp_path / "set.lmdb", cutoff=3.5)
    runs = {}
    for name, path in (("memory", structures), ("disk", tmp_path / "set.lmdb")):
        runs[name] = module()
        bounds = {"max_atoms": 20, "max_edges": 200, "workers": workers if name == "disk" else 0}
        fit(path, tmp_path / name, runs[name], data_options=bounds, max_epochs=2)
    for name, value in weights(runs["memory"]).items():
        torch.testing.assert_close(weights(runs["disk"])[name], value, rtol=0, atol=1e-9)


def test_bounds_of_a_set_on_disk_need_its_cutoff(structures, tmp_path):
    pack(read(structures), tmp_path / "set.lmdb", cutoff=4.0)
    made = data(tmp_path / "set.lmdb", max_edges=200)
    with pytest.raises(ValueError, match=r"within 4\.0 Å, wanted are those within 3\.5 Å; pack it with --cutoff 3\.5"):
        made.train_dataloader()
    with pytest.raises(ValueError, match="max_atoms and max_edges at least 1"):
        data(structures, max_atoms=0)
