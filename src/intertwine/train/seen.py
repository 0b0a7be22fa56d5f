"""What a test saw: some structures with labels and predictions, thinned evenly, and the closest pairs of all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

_HIGHEST_NUMBER = 118


@dataclass(frozen=True)
class Case:
    """One structure of a test: Å, eV, eV/Å; a label that is missing is None."""

    frame: int
    config_type: str
    z: Int[np.ndarray, " atoms"]
    pos: Float[np.ndarray, "atoms 3"]
    cell: Float[np.ndarray, "3 3"] | None
    energy: float
    energy_true: float | None
    forces: Float[np.ndarray, "atoms 3"] | None
    forces_true: Float[np.ndarray, "atoms 3"] | None

    @property
    def energy_error(self) -> float | None:
        """Predicted minus true energy, eV."""
        return None if self.energy_true is None else self.energy - self.energy_true

    @property
    def force_rmse(self) -> float | None:
        """Root mean square error of the force components, eV/Å."""
        if self.forces is None or self.forces_true is None:
            return None
        return float(np.sqrt(np.mean((self.forces - self.forces_true) ** 2)))


class Seen:
    """Collects batch after batch; of more than `most` structures every second, fourth, ... is kept, in their order.

    closest [119, 119]: the smallest distance of two atoms of these elements in any structure, Å; inf for none.
    """

    def __init__(self, most: int = 1000):
        self.most = most
        self.cases: list[Case] = []
        self.closest = np.full((_HIGHEST_NUMBER + 1,) * 2, np.inf)
        self._stride, self._count = 1, 0

    @torch.no_grad()
    def add(self, prediction: Mapping[str, Tensor], batch: Any) -> None:
        """Add one batch and what was predicted for it."""
        source, target = batch.edge_index
        image = torch.einsum("ei,eij->ej", batch.edge_shift, batch.cell[batch.batch[target]])
        distance = (batch.pos[source] - batch.pos[target] + image).norm(dim=1).cpu().numpy()
        z = batch.z.cpu().numpy()
        np.minimum.at(self.closest, (z[source.cpu().numpy()], z[target.cpu().numpy()]), distance)
        for i, (start, end) in enumerate(zip(batch.ptr.tolist(), batch.ptr.tolist()[1:])):
            if self._count % self._stride == 0:
                self.cases.append(_case(prediction, batch, i, slice(start, end)))
            self._count += 1
            if len(self.cases) > self.most:
                self.cases, self._stride = self.cases[::2], 2 * self._stride

    def predictions(self) -> dict[str, np.ndarray] | None:
        """Labels and predictions laid end to end, of the structures that have both labels; None without one."""
        both = [c for c in self.cases if c.energy_true is not None and c.force_rmse is not None]
        if not both:
            return None
        return {
            "energy": np.array([c.energy for c in both]),
            "energy_true": np.array([c.energy_true for c in both]),
            "forces": np.concatenate([c.forces for c in both]),
            "forces_true": np.concatenate([c.forces_true for c in both]),
            "natoms": np.array([len(c.z) for c in both]),
        }


def _case(prediction: Mapping[str, Tensor], batch: Any, i: int, atoms: slice) -> Case:
    array = lambda t: t.detach().double().cpu().numpy()  # noqa: E731
    forces = prediction.get("forces")
    return Case(
        frame=int(batch.frame[i]),
        config_type=batch.config_type[i],
        z=batch.z[atoms].cpu().numpy(),
        pos=array(batch.pos[atoms]),
        cell=array(batch.cell[i]) if bool(batch.pbc[i].any()) else None,
        energy=float(prediction["energy"][i]),
        energy_true=float(batch.energy[i]) if bool(batch.has_energy[i]) else None,
        forces=None if forces is None else array(forces[atoms]),
        forces_true=array(batch.forces[atoms]) if bool(batch.has_forces[i]) else None,
    )
