"""What the claims on Hamiltonians share: shaken molecules, a trained QHNet, its errors on other molecules."""

from collections.abc import Sequence

import numpy as np
import torch


def shaken(name: str, count: int, *, sigma: float = 0.05, seed: int) -> list:
    """Copies of a molecule of ASE's G2 set, every coordinate moved by N(0, sigma²) Å."""
    from ase.build import molecule

    rng, images = np.random.default_rng(seed), []
    for _ in range(count):
        images.append(molecule(name))
        images[-1].positions += sigma * rng.standard_normal(images[-1].positions.shape)
    return images


def turned(images: Sequence, *, seed: int) -> list:
    """Copies, each turned by a rotation of its own."""
    from intertwine.so3 import random_rotation

    turns = random_rotation(len(images), generator=torch.Generator().manual_seed(seed)).double().numpy()
    copies = [image.copy() for image in images]
    for image, R in zip(copies, turns):
        image.positions = image.positions @ R.T
    return copies


def trained(data: Sequence, *, steps: int, batch: int, seed: int, rate: float = 1e-3, **sizes):
    """A QHNet after so many steps of Adam on these matrices of one molecule; sizes: its options. In float32."""
    from intertwine.data.atoms import BlockLayout, Blocks, collate, mean_blocks
    from intertwine.models.atoms import BlockLoss, QHNet

    generator = torch.Generator().manual_seed(seed)
    basis = data[0].basis
    model = QHNet(basis, shift=mean_blocks(data), generator=generator, **sizes)
    layout, loss, z = BlockLayout(basis), BlockLoss(), torch.tensor(data[0].numbers)
    blocks = [layout.unpack(torch.tensor(one.hamiltonian, dtype=torch.float32), z) for one in data]
    targets = [torch.stack(parts) for parts in zip(*blocks)]
    graphs = [one.graph() for one in data]
    mask = layout.mask(z.repeat(batch), torch.arange(batch).repeat_interleave(len(z)))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: min((k + 1) / warm, (steps - k) / max(1, steps - warm))
    )
    for _ in range(steps):
        picked = torch.randint(len(data), (batch,), generator=generator)
        predicted = model(collate([graphs[i] for i in picked]))
        optimizer.zero_grad()
        loss(predicted, Blocks(*(part[picked].flatten(0, 1) for part in targets)), mask).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def predicted(model, data: Sequence) -> list[torch.Tensor]:
    """The matrices of a model, float64."""
    from intertwine.data.atoms import collate

    with torch.no_grad():
        return [H.double() for H in model.matrices(collate([one.graph() for one in data]))]


def mean_error(matrices: Sequence, data: Sequence) -> float:
    """Mean absolute error of all entries, mHa."""
    return 1e3 * float(np.mean([np.abs(np.asarray(H) - one.hamiltonian).mean() for H, one in zip(matrices, data)]))


def root_mean_square(matrices: Sequence, data: Sequence) -> float:
    """Root mean square error of all entries, mHa: unlike the mean absolute one it does not change with the axes."""
    squares = [np.square(np.asarray(H) - one.hamiltonian).mean() for H, one in zip(matrices, data)]
    return 1e3 * float(np.sqrt(np.mean(squares)))


def orbital_errors(matrices: Sequence[torch.Tensor], data: Sequence) -> dict[str, float]:
    """Means of `orbital_metrics` over molecules; energies in mHa."""
    from intertwine.models.atoms import orbital_metrics

    found = [
        orbital_metrics(H, torch.tensor(one.hamiltonian), torch.tensor(one.overlap), one.electrons)
        for H, one in zip(matrices, data)
    ]
    mean = {key: float(np.mean([metrics[key] for metrics in found])) for key in found[0]}
    return {"orbital energies": 1e3 * mean["mae_eps"], "gap": 1e3 * mean["mae_gap"], "cosine": mean["psi_cosine"]}
