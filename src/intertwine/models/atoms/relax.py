"""Relaxation of many different structures at once; one that has arrived leaves the batch, so the rest goes faster."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intertwine.data.atoms.graph import AtomicBatch
from intertwine.nn.segment import segment_max, segment_sum

from .evaluator import Evaluator, check_forces

# FIRE as in ASE: a step starts at 0.1 and grows to 1 (in units of mass 1), after 5 downhill steps in a row.
_FIRST, _LONGEST, _PATIENCE = 0.1, 1.0, 5
_GROW, _SHRINK, _MIX, _MIX_LESS = 1.1, 0.5, 0.1, 0.99


@dataclass(frozen=True)
class Relaxed:
    """Where a relaxation ended: pos [N, 3] Å, energy [G] eV, forces [N, 3] eV/Å, all float64.

    fmax [G]: largest force on an atom, eV/Å; converged [G]; steps [G] taken by each structure.
    """

    pos: Float[Tensor, "n 3"]
    energy: Float[Tensor, " graphs"]
    forces: Float[Tensor, "n 3"]
    fmax: Float[Tensor, " graphs"]
    converged: Bool[Tensor, " graphs"]
    steps: Int[Tensor, " graphs"]


def relax(
    model: Any,
    batch: AtomicBatch,
    *,
    fmax: float = 0.05,
    steps: int = 500,
    max_step: float = 0.2,
    skin: float = 0.5,
    compile: bool = False,
    allow_nonconservative: bool = False,
) -> Relaxed:
    """Move atoms downhill by FIRE (10.1103/PhysRevLett.97.170201) until no force is larger than `fmax` eV/Å.

    Every structure has its own step and clock, so its path is that of ASE's FIRE on it alone; cells stay as they are
    (for cells take `interop.ase.Calculator` and ASE's filters). steps: at most, for each structure; max_step: Å, norm
    over a structure. skin, compile: see `Evaluator`.
    Raises ValueError as `Verlet` does, and FloatingPointError naming the structure whose energy stops being finite.
    """
    check_forces(model, "relax", allow_nonconservative=allow_nonconservative)
    if not (fmax > 0 and max_step > 0 and steps >= 0):
        raise ValueError(
            f"relax: fmax and max_step must be positive, steps not negative; got {fmax=} {max_step=} {steps=}"
        )
    graphs = len(batch.cell)
    pos = batch.pos.detach().to(torch.float64, copy=True)
    result = Relaxed(
        pos=pos,
        energy=pos.new_zeros(graphs),
        forces=torch.zeros_like(pos),
        fmax=pos.new_zeros(graphs),
        converged=torch.zeros(graphs, dtype=torch.bool, device=pos.device),
        steps=torch.zeros(graphs, dtype=torch.int64, device=pos.device),
    )
    descent = _Fire(model, batch, Evaluator(model, skin=skin, compile=compile))
    for taken in range(steps + 1):
        energy, forces = descent.evaluate()
        if not bool(torch.isfinite(energy).all()):
            which = descent.graphs[~torch.isfinite(energy)].tolist()
            raise FloatingPointError(f"relax: the energy of structure {which[0]} is not finite after {taken} steps")
        largest = segment_max(torch.linalg.vector_norm(forces, dim=1), descent.batch, len(energy))
        done = largest < fmax
        for kept, value in ((result.energy, energy), (result.fmax, largest), (result.converged, done)):
            kept[descent.graphs] = value
        result.steps[descent.graphs] = taken
        result.pos[descent.atoms], result.forces[descent.atoms] = descent.pos, forces
        if bool(done.all()):
            break
        if taken < steps:
            descent.keep(~done, forces)
            descent.step(max_step)
    return result


class _Fire:
    """The structures still on their way: `atoms` and `graphs` are their numbers in the batch that was given."""

    def __init__(self, model: Any, batch: AtomicBatch, evaluator: Evaluator):
        self.evaluator, self.species = evaluator, model.species_index(batch.z)
        self.pos, self.cell, self.pbc, self.batch = (
            batch.pos.detach().double(),
            batch.cell.double(),
            batch.pbc,
            batch.batch,
        )
        self.atoms = torch.arange(len(self.pos), device=self.pos.device)
        self.graphs = torch.arange(len(self.cell), device=self.pos.device)
        self.velocity = torch.zeros_like(self.pos)
        self.forces = self.velocity
        self.length, self.mix = (self.pos.new_full((len(self.cell),), x) for x in (_FIRST, _MIX))
        self.downhill = torch.zeros_like(self.graphs)

    def evaluate(self) -> tuple[Float[Tensor, " graphs"], Float[Tensor, "n 3"]]:
        out = self.evaluator(self.pos, self.cell, self.pbc, self.species, self.batch)
        return out["energy"], out["forces"].double()

    def keep(self, wanted: Bool[Tensor, " graphs"], forces: Float[Tensor, "n 3"]) -> None:
        """Go on with these structures only, at these forces (of all)."""
        self.forces = forces
        if bool(wanted.all()):
            return
        of_atoms = wanted[self.batch]
        for name in ("pos", "velocity", "forces", "species", "atoms"):
            setattr(self, name, getattr(self, name)[of_atoms])
        self.batch = (torch.cumsum(wanted, 0) - 1)[self.batch[of_atoms]]
        for name in ("cell", "pbc", "graphs", "length", "mix", "downhill"):
            setattr(self, name, getattr(self, name)[wanted])

    def step(self, max_step: float) -> None:
        """One step of FIRE for every structure; a structure that goes uphill stops and starts anew."""
        n = len(self.graphs)
        dot = lambda a, b: segment_sum((a * b).sum(1), self.batch, n)  # noqa: E731
        spread = lambda x: x[self.batch][:, None]  # noqa: E731
        power = dot(self.forces, self.velocity)
        force, speed = dot(self.forces, self.forces).sqrt(), dot(self.velocity, self.velocity).sqrt()
        moving = speed > 0
        down, up = moving & (power > 0), moving & (power <= 0)
        # A structure without forces has arrived and is not here, so `force` is not zero.
        turned = (1 - spread(self.mix)) * self.velocity + spread(self.mix * speed / force) * self.forces
        self.velocity = torch.where(spread(down), turned, torch.zeros_like(turned))
        patient = down & (self.downhill > _PATIENCE)
        self.length = torch.where(patient, (self.length * _GROW).clamp(max=_LONGEST), self.length)
        self.length = torch.where(up, self.length * _SHRINK, self.length)
        self.mix = torch.where(patient, self.mix * _MIX_LESS, self.mix).masked_fill(up, _MIX)
        self.downhill = torch.where(down, self.downhill + 1, self.downhill).masked_fill(up, 0)
        self.velocity = self.velocity + spread(self.length) * self.forces
        move = spread(self.length) * self.velocity
        norm = dot(move, move).sqrt()
        self.pos = self.pos + move * spread((max_step / norm).clamp(max=1.0))
