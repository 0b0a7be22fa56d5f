"""How well a small network learns the forces of ethanol: a short training, shared by claims of potentials."""

import math
import time
from collections.abc import Callable

import torch

from claims.claim import data_folder

SYMBOLS = ("H", "C", "O")


def force_error(
    build: Callable[..., torch.nn.Module],
    frames: list,
    test: list,
    *,
    seed: int,
    steps: int = 0,
    seconds: float = 0.0,
) -> tuple[float, int]:
    """Force RMSE on `test`, meV/Å, after so many steps on `frames`, or seconds of this process; and the steps taken.

    build(species, avg_num_neighbors=, generator=) makes the network; its cutoff is 4 Å.
    """
    from intertwine.data.atoms import collate, fit_shift_scale
    from intertwine.models.atoms import Potential
    from intertwine.train import EnergyForceLoss

    fitted = fit_shift_scale(frames, shift="mean")
    neighbors = sum(graph.edge_index.shape[1] for graph in frames) / sum(len(graph.z) for graph in frames)
    generator = torch.Generator().manual_seed(seed)
    network = build(SYMBOLS, cutoff=4.0, avg_num_neighbors=neighbors, generator=generator)
    shift, scale = (dict(zip(SYMBOLS, values.tolist())) for values in (fitted.shift, fitted.scale))
    model = Potential(network, SYMBOLS, 4.0, energy_shift=shift, energy_scale=scale, stress=False)
    loss = EnergyForceLoss(energy=1.0, forces=10.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=5e-7, amsgrad=True)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    step, spent, start = 0, 0.0, time.process_time()
    while spent < 1:
        for group in optimizer.param_groups:
            group["lr"] = 1e-4 + (1e-2 - 1e-4) * 0.5 * (1 + math.cos(math.pi * spent))
        picked = torch.randint(len(frames), (5,), generator=generator).tolist()
        batch = collate([frames[i] for i in picked])
        optimizer.zero_grad()
        loss(model(batch, training=True), batch)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        average.update_parameters(model)
        step += 1
        spent = step / steps if steps else (time.process_time() - start) / seconds
    batch = collate(test)
    error = average.module(batch, training=False)["forces"] - batch.forces
    return 1000 * error.square().mean().sqrt().item(), step


def structures(count: int, tested: int, *, seed: int, real: bool) -> tuple[list, list]:
    """Training and test graphs with neighbours within 4 Å, float32."""
    from intertwine.data.atoms import read

    if not real:
        return generated(count, tested, seed=seed)
    folder = data_folder("ethanol")
    if folder is None:
        raise FileNotFoundError("the full claim needs the folder ethanol/ of the real data: set INTERTWINE_DATA")
    sets = [read(folder / name, cutoff=4.0, dtype=torch.float32) for name in ("train.xyz", "test_MD.xyz")]
    return list(sets[0][:count] if count < len(sets[0]) else sets[0]), list(sets[1][:tested])


def generated(count: int, tested: int, *, seed: int) -> tuple[list, list]:
    """Ethanol at 500 K labelled by GFN2-xTB: the first frames of one trajectory train, the last ones test."""
    from intertwine.data.atoms import AtomicDataset
    from intertwine.data.atoms.generate import xtb_trajectory

    images = list(xtb_trajectory("CCO", count + tested, interval_fs=10.0, burn_in_fs=300.0, seed=seed))
    graphs = list(AtomicDataset.from_ase(images, cutoff=4.0, dtype=torch.float32))
    return graphs[:count], graphs[count:]
