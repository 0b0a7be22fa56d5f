"""What a potential says of two atoms alone: the first thing to look at, and where a bad one shows."""

from itertools import combinations_with_replacement

import numpy as np
import torch
from jaxtyping import Float

from ..data.atoms import AtomicGraph, atomic_numbers, collate, connect
from ..extras import require
from ..models.atoms.potential import Potential


def dimers(
    potential: Potential, *, points: int = 80, most: int = 15
) -> dict[tuple[str, str], tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]]:
    """Distances (Å) and energies (eV, against the two atoms alone) of pairs of the potential's species, `most` at most.

    From half the sum of the covalent radii to 1.05 times the cutoff.
    """
    radii = require("ase.data", "atoms").covalent_radii
    curves = {}
    parameter = next(potential.parameters())
    for pair in list(combinations_with_replacement(potential.species, 2))[:most]:
        numbers = torch.tensor([atomic_numbers([name])[0] for name in pair])
        distances = np.linspace(0.5 * float(radii[numbers].sum()), 1.05 * potential.cutoff, points)
        pos = torch.zeros(points, 2, 3, dtype=torch.float64)
        pos[:, 1, 2] = torch.from_numpy(distances)
        batch = collate([connect(AtomicGraph(p, numbers), potential.cutoff) for p in pos]).to(parameter.device)
        with torch.no_grad():
            energy = potential(batch, training=False)["energy"]
        alone = sum(dict(zip(potential.species, potential.energy_shift))[name] for name in pair)
        curves[pair] = (distances, energy.cpu().numpy() - alone)
    return curves
