"""A potential inside LAMMPS: LAMMPS moves the atoms, and asks for energies, forces and virial at every step."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from intertwine.data.atoms.species import atomic_numbers
from intertwine.models.atoms.evaluator import Evaluator, check_forces

FIX = "intertwine"


def attach(
    lmp: Any,
    model: Any,
    types: Sequence[str],
    *,
    skin: float = 0.5,
    compile: bool = False,
    allow_nonconservative: bool = False,
) -> None:
    """Give all forces of a LAMMPS simulation to `model`, by `fix external`.

    lmp: a `lammps.lammps` with a box, atoms, `units metal` and a pair style (`pair_style zero` when nothing else acts),
    one MPI process; types: chemical symbols of its atom types 1, 2, ...; model, skin, compile: see `Evaluator`.
    Energy (also per atom) and virial enter LAMMPS's own: `thermo`, `fix npt`, `minimize`; any box will do.
    A failure of the model ends the run: forces become NaN, and the reason is printed by Python.
    Raises ValueError for other units, several processes, a type without a symbol, and as `Verlet` does.
    """
    check_forces(model, "lammps.attach", allow_nonconservative=allow_nonconservative)
    if (units := lmp.extract_global("units")) != "metal":
        raise ValueError(f"lammps.attach: potentials are in eV and Å, LAMMPS is in `units {units}`; take `units metal`")
    if (processes := lmp.extract_setting("world_size")) != 1:
        raise ValueError(f"lammps.attach: fix external sees the atoms of one process, LAMMPS runs on {processes}")
    if (count := lmp.extract_setting("ntypes")) != len(types):
        raise ValueError(f"lammps.attach: LAMMPS has {count} atom types, but types names {len(types)}: {list(types)}")
    numbers = torch.tensor([0, *(atomic_numbers([name])[0] for name in types)])
    model.species_index(numbers[1:])  # raises for what the model has not seen
    lmp.command(f"fix {FIX} all external pf/callback 1 1")
    lmp.command(f"fix_modify {FIX} energy yes virial yes")
    lmp.set_fix_external_callback(
        FIX, _Callback(lmp, model, numbers, Evaluator(model, skin=skin, compile=compile)), None
    )


class _Callback:
    """What LAMMPS calls: positions in, forces out, in LAMMPS's order of atoms, which changes as it sorts them."""

    def __init__(self, lmp: Any, model: Any, numbers: torch.Tensor, evaluator: Evaluator):
        self.lmp, self.model, self.numbers, self.evaluator = lmp, model, numbers, evaluator

    def __call__(self, caller: Any, step: int, count: int, tag: np.ndarray, x: np.ndarray, f: np.ndarray) -> None:
        f[:] = np.nan  # what stays if the next lines raise, since an exception cannot pass through LAMMPS
        order = np.argsort(tag)  # by name, so that the neighbour list outlives a sort
        out, volume = self._evaluate(x[order], self.lmp.numpy.extract_atom("type")[:count][order])
        energies = np.empty(count)
        f[order], energies[order] = out["forces"].double().cpu().numpy(), out["atom_energy"].cpu().numpy()
        self.lmp.fix_external_set_energy_global(FIX, float(out["energy"]))
        self.lmp.fix_external_set_energy_peratom(FIX, energies.tolist())
        if "stress" in out:
            virial = -volume * out["stress"][0].double().cpu().numpy()
            self.lmp.fix_external_set_virial_global(FIX, virial[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]].tolist())

    def _evaluate(self, x: np.ndarray, types: np.ndarray) -> tuple[dict[str, torch.Tensor], float]:
        low, high, xy, yz, xz, periodic, _ = self.lmp.extract_box()
        a, b, c = (h - l for h, l in zip(high, low))
        cell = np.array([[a, 0, 0], [xy, b, 0], [xz, yz, c]])
        species = self.model.species_index(self.numbers[torch.from_numpy(types.astype(np.int64))])
        pbc = torch.tensor([[bool(p) for p in periodic]])
        box = torch.from_numpy(cell)[None] if any(periodic) else torch.zeros(1, 3, 3, dtype=torch.float64)
        out = self.evaluator(torch.from_numpy(x), box, pbc, species, torch.zeros_like(species))
        return out, float(np.linalg.det(cell))
