"""Errors of a potential as sums over everything seen, so that ragged batches and several processes give one number."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..data.atoms.species import symbol

EV_PER_A3_IN_GPA = 160.21766208

# Sums kept per configuration type; names are only labels of columns.
_COLUMNS = (
    *("graphs", "e", "abs_e", "sq_e", "abs_en", "sq_en"),
    *("components", "abs_f", "sq_f", "sq_f_true", "atoms", "cosine"),
    *("stress", "abs_s"),
)
_INDEX = {name: i for i, name in enumerate(_COLUMNS)}
_ELEMENT_COLUMNS = ("atoms", "abs_f", "sq_f", "sq_f_true")
_HIGHEST_NUMBER = 118


class PotentialMetrics:
    """Accumulates energy, force and stress errors, overall and per `config_type`.

    `update(prediction, batch)` for every batch, `reduce()` once to add up the processes, `compute()` for the table in
    meV, meV/atom, meV/Å. `config_types` fixes the rows, the same on every process; types outside it count as "other".
    """

    def __init__(self, config_types: tuple[str, ...] = ()):
        self.rows = (*dict.fromkeys((*config_types, "other")),)
        self.reset()

    def reset(self) -> None:
        """Forget everything seen."""
        self.sums = torch.zeros(len(self.rows), len(_COLUMNS), dtype=torch.float64)
        self.elements = torch.zeros(_HIGHEST_NUMBER + 1, len(_ELEMENT_COLUMNS), dtype=torch.float64)

    @torch.no_grad()
    def update(self, prediction: Mapping[str, Tensor], batch: Any) -> None:
        """Add one batch of predictions."""
        graphs = batch.natoms.numel()
        table = torch.zeros(graphs, len(_COLUMNS), dtype=torch.float64, device=batch.natoms.device)

        def put(name: str, value: Tensor, present: Tensor) -> None:
            table[:, _INDEX[name]] = torch.where(present, value.to(torch.float64), 0.0)

        has = batch.has_energy.reshape(-1)
        error = prediction["energy"].double() - batch.energy.reshape(-1).double()
        per_atom = error / batch.natoms
        put("graphs", torch.ones_like(error), has)
        put("e", error, has)
        put("abs_e", error.abs(), has)
        put("sq_e", error.square(), has)
        put("abs_en", per_atom.abs(), has)
        put("sq_en", per_atom.square(), has)
        if "forces" in prediction:
            has = batch.has_forces.reshape(-1)
            predicted, true = prediction["forces"].double(), batch.forces.double()

            def per_graph(value: Tensor) -> Tensor:
                return torch.zeros(graphs, dtype=torch.float64, device=value.device).index_add(0, batch.batch, value)

            error = predicted - true
            cosine = torch.nn.functional.cosine_similarity(predicted, true, dim=1, eps=1e-12)
            put("components", 3 * batch.natoms, has)
            put("abs_f", per_graph(error.abs().sum(1)), has)
            put("sq_f", per_graph(error.square().sum(1)), has)
            put("sq_f_true", per_graph(true.square().sum(1)), has)
            put("atoms", batch.natoms, has)
            put("cosine", per_graph(cosine), has)
            present = has[batch.batch]
            parts = (torch.ones_like(cosine), error.abs().sum(1), error.square().sum(1), true.square().sum(1))
            parts = torch.where(present[:, None], torch.stack(parts, dim=1), 0.0)
            self.elements.index_add_(0, batch.z.cpu(), parts.cpu())
        if "stress" in prediction:
            has = batch.has_stress.reshape(-1)
            error = prediction["stress"].double() - batch.stress.double()
            put("stress", torch.full((graphs,), 9.0, dtype=torch.float64, device=error.device), has)
            put("abs_s", error.abs().sum((1, 2)), has)
        row = {name: i for i, name in enumerate(self.rows)}
        types = getattr(batch, "config_type", None) or ["other"] * graphs
        index = torch.tensor([row.get(t, row["other"]) for t in types])
        self.sums.index_add_(0, index, table.cpu())

    def reduce(self) -> None:
        """Add the sums of all processes; without a process group nothing happens."""
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            device = "cuda" if dist.get_backend() == "nccl" else "cpu"
            for name in ("sums", "elements"):
                sums = getattr(self, name).to(device)
                dist.all_reduce(sums)
                setattr(self, name, sums.cpu())

    def compute(self, row: str | None = None) -> dict[str, float]:
        """Errors over everything, or over one configuration type.

        energy_mae, energy_rmse, energy_rmse_aligned (mean error removed) in meV; energy_mae_per_atom and
        energy_rmse_per_atom in meV/atom; forces_mae, forces_rmse in meV/Å, forces_rmse_relative in %, forces_cosine;
        stress_mae in meV/Å³ and stress_mae_gpa. What no label was seen for is left out.
        """
        sums = self.sums.sum(0) if row is None else self.sums[self.rows.index(row)]
        value = {name: float(sums[i]) for name, i in _INDEX.items()}
        out: dict[str, float] = {}
        if n := value["graphs"]:
            out["energy_mae"] = 1e3 * value["abs_e"] / n
            out["energy_rmse"] = 1e3 * (value["sq_e"] / n) ** 0.5
            out["energy_rmse_aligned"] = 1e3 * max(value["sq_e"] / n - (value["e"] / n) ** 2, 0.0) ** 0.5
            out["energy_mae_per_atom"] = 1e3 * value["abs_en"] / n
            out["energy_rmse_per_atom"] = 1e3 * (value["sq_en"] / n) ** 0.5
        if n := value["components"]:
            out["forces_mae"] = 1e3 * value["abs_f"] / n
            out["forces_rmse"] = 1e3 * (value["sq_f"] / n) ** 0.5
            if value["sq_f_true"]:
                out["forces_rmse_relative"] = 100 * (value["sq_f"] / value["sq_f_true"]) ** 0.5
            out["forces_cosine"] = value["cosine"] / value["atoms"]
        if n := value["stress"]:
            out["stress_mae"] = 1e3 * value["abs_s"] / n
            out["stress_mae_gpa"] = EV_PER_A3_IN_GPA * value["abs_s"] / n
        return out

    def by_element(self) -> dict[str, dict[str, float]]:
        """Force errors of each element: atoms, forces_mae, forces_rmse (meV/Å), forces_rmse_relative (%)."""
        out = {}
        for z in self.elements[:, 0].nonzero()[:, 0].tolist():
            atoms, total, square, true = self.elements[z].tolist()
            out[symbol(z)] = {
                "atoms": int(atoms),
                "forces_mae": 1e3 * total / (3 * atoms),
                "forces_rmse": 1e3 * (square / (3 * atoms)) ** 0.5,
                **({"forces_rmse_relative": 100 * (square / true) ** 0.5} if true else {}),
            }
        return out

    def table(self) -> dict[str, dict[str, float]]:
        """`compute` for "all" and for every configuration type that was seen."""
        seen = [row for i, row in enumerate(self.rows) if bool(self.sums[i].any())]
        return {"all": self.compute(), **({row: self.compute(row) for row in seen} if len(seen) > 1 else {})}
