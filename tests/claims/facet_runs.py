"""Small Facet networks trained on the forces of acetylacetone, for the claims about them."""

import torch

from claims.claim import data_folder

SYMBOLS = ("H", "C", "O")


def structures(count: int, tested: int, *, seed: int, real: bool) -> tuple[list, list]:
    """Acetylacetone at 300 K (DFT, the real data), else ethanol labelled by GFN2-xTB on the spot; within 4 Å."""
    from intertwine.data.atoms import AtomicDataset, read
    from intertwine.data.atoms.generate import xtb_trajectory

    if real:
        folder = data_folder("acac")
        if folder is None:
            raise FileNotFoundError("the full claim needs the folder acac/ of the real data: set INTERTWINE_DATA")
        train, test = (
            read(folder / f"{n}.xyz", cutoff=4.0, dtype=torch.float32) for n in ("train_300K", "test_MD_300K")
        )
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed)).tolist()
        return [train[i] for i in order[:count]], list(test[:tested])
    images = list(xtb_trajectory("CCO", count + tested, interval_fs=10.0, burn_in_fs=300.0, seed=seed))
    graphs = list(AtomicDataset.from_ase(images, cutoff=4.0, dtype=torch.float32))
    return graphs[:count], graphs[count:]


def potential(frames: list, irreps: str, seed: int, **options):
    """A small Facet for these structures."""
    from intertwine.data.atoms import fit_shift_scale
    from intertwine.models.atoms import Facet, Potential

    fitted = fit_shift_scale(frames, shift="mean")
    neighbors = sum(graph.edge_index.shape[1] for graph in frames) / sum(len(graph.z) for graph in frames)
    network = Facet(
        SYMBOLS,
        cutoff=4.0,
        irreps=(irreps,) * 2,
        out_channels=32,
        embed=32,
        grid="exact:1e-2",
        avg_num_neighbors=neighbors,
        generator=torch.Generator().manual_seed(seed),
        **options,
    )
    shift, scale = (dict(zip(SYMBOLS, values.tolist())) for values in (fitted.shift, fitted.scale))
    return Potential(network, SYMBOLS, 4.0, energy_shift=shift, energy_scale=scale, stress=False)


def step(model, optimizer, batch) -> None:
    """One step of training on energies and forces."""
    from intertwine.train import EnergyForceLoss

    optimizer.zero_grad()
    EnergyForceLoss(energy=1.0, forces=10.0)(model(batch, training=True), batch)["loss"].backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimizer.step()


def trained(model, frames: list, test: list, steps: int, seed: int) -> float:
    """Force RMSE on `test`, meV/Å, of the average of the weights after so many steps."""
    from intertwine.data.atoms import collate

    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, amsgrad=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=1e-4)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        picked = torch.randint(len(frames), (5,), generator=generator).tolist()
        step(model, optimizer, collate([frames[i] for i in picked]))
        schedule.step()
        average.update_parameters(model)
    batch = collate(test)
    error = average.module(batch, training=False)["forces"] - batch.forces
    return 1000 * error.square().mean().sqrt().item()
