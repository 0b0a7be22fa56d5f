"""Two processes do what one does: the same gradient to 1e-10, of accumulated uneven batches too, and a whole `fit`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from intertwine.train.batches import Loader, Packed
from intertwine.train.loss import EnergyForceLoss
from intertwine.train.order import Order
from train.conftest import data, module

# Ranks hold 1 and 4 structures, of different sizes, and some labels are missing.
SHARES = ([0], [1, 2, 3, 4])
UNLABELLED = {"energy": (2,), "forces": (3, 4)}


def parts(path):
    """The structures, a potential in float64 and the loss: the same in every process."""
    made = data(path)
    graphs = [graph.clone() for graph in list(made.parts["train"])[:7]]
    for label, indices in UNLABELLED.items():
        for i in indices:
            graphs[i][f"has_{label}"] = torch.tensor([False])
            graphs[i][label].fill_(torch.nan)
    potential = module("NequIP").build(made.facts).double()
    return Packed(graphs), potential, EnergyForceLoss(energy=2.0, forces=3.0)


def gradient(model, loss, batch) -> torch.Tensor:
    loss(model(batch, training=True), batch)["loss"].backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def accumulated(model, loss, packed, no_sync) -> torch.Tensor:
    """Two batches to a step: of four structures, then of the three that are left, dealt to two processes."""
    first, last = Loader(packed, Order(7, 2, shuffle=True), accumulate=lambda: 2)
    with no_sync():
        (loss(model(first, training=True), first)["loss"] / 2).backward()
    (loss(model(last, training=True), last)["loss"] / 2).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


WORKER = """
import sys, torch, torch.distributed as dist
sys.path[:0] = {paths!r}
from train.test_ddp import SHARES, accumulated, gradient, parts
rank = int(sys.argv[1])
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://{store}", rank=rank, world_size=2)
packed, potential, loss = parts({file!r})
wrapped = torch.nn.parallel.DistributedDataParallel(potential)
found = gradient(wrapped, loss, packed.batch(SHARES[rank]))
wrapped.zero_grad()
steps = accumulated(wrapped, loss, packed, wrapped.no_sync)
if rank == 0:
    torch.save((found, steps), {out!r})
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_the_gradient_of_two_processes_is_that_of_one(structures, tmp_path):
    code = WORKER.format(
        paths=[str(Path(__file__).parents[1])],
        store=tmp_path / "store",
        file=str(structures),
        out=str(tmp_path / "g.pt"),
    )
    workers = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", code, str(rank)], stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    said = [worker.communicate(timeout=500)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    packed, potential, loss = parts(structures)
    alone = gradient(potential, loss, packed.batch([i for share in SHARES for i in share]))
    found, steps = torch.load(tmp_path / "g.pt", weights_only=True)
    torch.testing.assert_close(found, alone, rtol=0, atol=1e-10)
    assert alone.abs().max() > 1e-3
    potential.zero_grad()
    everything = gradient(potential, loss, packed.batch(range(7)))
    torch.testing.assert_close(steps, everything, rtol=0, atol=1e-10)
    assert (everything - alone).abs().max() > 1e-3


@pytest.mark.slow
def test_fit_runs_on_two_processes(structures, tmp_path):
    command = [sys.executable, "-m", "intertwine", "fit", f"--data.path={structures}", f"--out={tmp_path / 'run'}"]
    command += ["--data.shift=mean", "--data.cutoff=3.5", "--model.network=Pair", "--trainer.max_epochs=2"]
    command += ["--trainer.devices=2", "--trainer.accelerator=cpu", "--trainer.strategy=ddp"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=500, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "best.ckpt").is_file()
    assert "F RMSE" in done.stdout
