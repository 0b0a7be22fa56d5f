"""A trained potential as an ASE calculator, so that ASE's dynamics, optimisers, filters and phonons run on it."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from intertwine.models.atoms.evaluator import Evaluator
from intertwine.models.atoms.potential import Potential

from .export import Exported, load_model


class Calculator(AseCalculator):
    """ASE calculator of a potential: energy, free_energy, energies (eV), forces (eV/Å), stress (eV/Å³, Voigt).

    model: a `Potential`, what `load_exported` gives, or the path of a checkpoint or of an exported potential (.pt2);
    dtype: of the network, default as trained; skin: Å by which the neighbour list reaches beyond the cutoff, so that it
    is rebuilt only after atoms have moved skin/2; compile=True pays a minute at the first call for faster steps
    afterwards (long runs). dtype and device of an exported potential are those it was exported with.
    Raises ValueError for elements the model has not seen; stress of a structure that is not periodic in all three
    directions raises PropertyNotImplementedError.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress"]

    def __init__(
        self,
        model: Potential | Exported | str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        skin: float = 0.3,
        compile: bool = False,
        **options: Any,
    ):
        super().__init__(**options)
        if isinstance(model, str | Path):
            model = load_model(model, device=device)
        self.model = model.to(device=device, dtype=dtype).eval() if isinstance(model, Potential) else model
        self.device = torch.device(device)
        self._evaluate = Evaluator(self.model, skin=skin, compile=compile)
        self.neighbors = self._evaluate.neighbors

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | tuple[str, ...] = ("energy",),
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `results` for `atoms`; called by ASE when something changed since the last call."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        periodic = bool(atoms.pbc.all())
        if "stress" in properties and not (periodic and self.model.stress):
            why = f"pbc is {atoms.pbc.tolist()}" if not periodic else "the model gives none"
            raise PropertyNotImplementedError(f"no stress: {why}")
        pos = torch.from_numpy(np.array(atoms.positions)).to(self.device)
        # As in `data.atoms.from_ase`: a box without periodic directions is no box.
        cell = torch.from_numpy(np.array(atoms.cell) if atoms.pbc.any() else np.zeros((3, 3))).to(self.device)[None]
        pbc = torch.from_numpy(np.array(atoms.pbc)).to(self.device)[None]
        species = self.model.species_index(torch.from_numpy(atoms.numbers.astype(np.int64)).to(self.device))
        out = self._evaluate(pos, cell, pbc, species, torch.zeros_like(species))
        energy = float(out["energy"])
        self.results = {"energy": energy, "free_energy": energy, "energies": out["atom_energy"].cpu().numpy()}
        if "forces" in out:
            self.results["forces"] = out["forces"].cpu().double().numpy()
        if "stress" in out and periodic:
            self.results["stress"] = full_3x3_to_voigt_6_stress(out["stress"][0].cpu().double().numpy())
