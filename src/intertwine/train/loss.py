"""The loss on energies, forces and stress, exact under data parallelism: every term is a sum over a global count."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

KINDS = ("mse", "huber", "l1", "l2norm")


@dataclass(frozen=True)
class EnergyForceLoss:
    """L = λ_E mean_g w (ΔE/n)² + λ_F mean_atoms,components w ΔF² + λ_σ mean w Δσ², over the labels present.

    energy, forces, stress: the weights λ, for errors in eV/atom, eV/Å, eV/Å³. kind: "mse", "huber" (delta
    `huber_delta` in those units), "l1", or "l2norm" (mean ‖ΔF‖ for forces, absolute otherwise). per_atom=False
    compares energies of whole structures. Structures or atoms without a label are left out of sum and count.
    Raises ValueError for a negative weight, all weights zero, or an unknown kind.
    """

    energy: float = 1.0
    forces: float = 10.0
    stress: float = 0.0
    kind: Literal["mse", "huber", "l1", "l2norm"] = "mse"
    huber_delta: float = 0.01
    per_atom: bool = True

    def __post_init__(self) -> None:
        weights = (self.energy, self.forces, self.stress)
        if min(weights) < 0 or max(weights) == 0:
            raise ValueError(f"EnergyForceLoss: weights must be >= 0 and not all zero, got {weights}")
        if self.kind not in KINDS:
            raise ValueError(f"EnergyForceLoss: kind must be one of {', '.join(KINDS)}, got {self.kind!r}")

    def __call__(self, prediction: Mapping[str, Tensor], batch: Any) -> dict[str, Tensor]:
        """`loss`, to be differentiated on this process, and its parts `energy`, `forces`, `stress` (unweighted).

        With W processes each returns W · (its own sum) / (count over all), so that the average of the gradients that
        data parallelism takes is the gradient of the union batch, whatever each process holds. `batch.step_counts`
        (see `train.batches.Loader`) gives the counts beforehand, over batches whose gradients are accumulated too.
        """
        sums, counts, given = [], [], getattr(batch, "step_counts", None)
        weight = batch.weight
        for i, (name, factor) in enumerate((("energy", self.energy), ("forces", self.forces), ("stress", self.stress))):
            if factor == 0:
                continue
            total, count, each = getattr(self, f"_{name}")(prediction, batch, weight)
            sums.append(total)
            counts.append(each * (count if given is None else given[i]))
        count = torch.stack(counts).to(torch.float64)
        if given is None:
            world = 1
            if dist.is_available() and dist.is_initialized() and (world := dist.get_world_size()) > 1:
                dist.all_reduce(count)
            count = count.clamp(min=1.0) / world
        parts = torch.stack([s.to(torch.float64) for s in sums]) / count
        factors = [f for f in (self.energy, self.forces, self.stress) if f > 0]
        loss = (parts * parts.new_tensor(factors)).sum()
        names = [n for n, f in zip(("energy", "forces", "stress"), (self.energy, self.forces, self.stress)) if f > 0]
        return {"loss": loss, **{name: part.detach() for name, part in zip(names, parts)}}

    def _energy(self, prediction: Mapping[str, Tensor], batch: Any, weight: Tensor) -> tuple[Tensor, Tensor, int]:
        present = batch.has_energy.reshape(-1)
        difference = prediction["energy"] - torch.where(present, batch.energy.reshape(-1), 0.0).to(torch.float64)
        if self.per_atom:
            difference = difference / batch.natoms
        value = self._measure(difference) * weight.to(difference.dtype)
        return torch.where(present, value, 0.0).sum(), present.sum(), 1

    def _forces(self, prediction: Mapping[str, Tensor], batch: Any, weight: Tensor) -> tuple[Tensor, Tensor, int]:
        present = batch.has_forces.reshape(-1)[batch.batch]
        predicted = prediction["forces"]
        difference = predicted - torch.where(present[:, None], batch.forces, 0.0).to(predicted.dtype)
        if self.kind == "l2norm":
            value, per_atom = torch.linalg.vector_norm(difference, dim=1), 1
        else:
            value, per_atom = self._measure(difference).sum(dim=1), 3
        value = value * weight.to(value.dtype)[batch.batch]
        return torch.where(present, value, 0.0).sum(), present.sum(), per_atom

    def _stress(self, prediction: Mapping[str, Tensor], batch: Any, weight: Tensor) -> tuple[Tensor, Tensor, int]:
        present = batch.has_stress.reshape(-1)
        predicted = prediction["stress"]
        difference = predicted - torch.where(present[:, None, None], batch.stress, 0.0).to(predicted.dtype)
        value = self._measure(difference).sum(dim=(1, 2)) * weight.to(difference.dtype)
        return torch.where(present, value, 0.0).sum(), present.sum(), 9

    def _measure(self, difference: Tensor) -> Tensor:
        match self.kind:
            case "mse":
                return difference.square()
            case "huber":
                zero = torch.zeros_like(difference)
                return torch.nn.functional.huber_loss(difference, zero, reduction="none", delta=self.huber_delta)
            case _:
                return difference.abs()
