"""Energies, forces and stress from any network of one number per atom: here live units, shifts and derivatives."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from intertwine.data.atoms.action import AtomsAction, PotentialOutputAction
from intertwine.data.atoms.species import look_up, species_table
from intertwine.groups import SE, E, Group


class Backbone(Protocol):
    """What a network must be to become a `Potential`: one output per atom, seeing edge vectors and species only.

    Positions enter through the edge vectors alone, so one derivative with respect to them gives forces and stress,
    and the energy cannot depend on where the origin is.
    Three attributes are optional. `direct_forces = True`: it has a force head, and a call returns (one number per atom,
    vectors [atoms, 3]). `smooth = False`: its energy jumps where an edge comes or goes, so it has no gradient forces.
    `sees_graphs = True`: it also takes the graph of each atom, int64 [atoms], as a fourth argument.
    """

    cutoff: float
    config: dict[str, Any]  # keyword arguments that build it again, plain JSON values
    symmetry: Literal["O(3)", "SO(3)", "none"]

    def __call__(
        self, species: Int[Tensor, " atoms"], vectors: Float[Tensor, "edges 3"], edge_index: Int[Tensor, "2 edges"]
    ) -> Float[Tensor, " atoms"]: ...


class Potential(nn.Module):
    """Interatomic potential E = Σ_i (σ_z (ε_i - ε_z) + e_z) with forces and stress as exact derivatives.

    backbone: a `Backbone` giving ε; ε_z is its value for an atom without neighbours, so that a lonely atom has the
    energy e_z and a molecule that comes apart ends at the sum of the shifts. species: chemical symbols, in the order of
    the network's species index. cutoff: Å, that of the graphs. energy_shift: e in eV; energy_scale: σ in eV; one
    number for all, or one for each symbol. forces: "gradient"; "direct", σ_z f_i with f (1/Å) from the network's force
    head, faster but the derivative of no energy (`conservative` is False) and without stress; or "none". stress=False
    skips the virial. Energies are summed in float64 whatever the network's dtype: at -9391 eV a float32 step is 1 meV.
    Raises ValueError if the cutoffs differ, a shift is missing, a species is unknown or repeated, or the network cannot
    give the forces asked for.
    """

    def __init__(
        self,
        backbone: nn.Module,
        species: Sequence[str],
        cutoff: float,
        *,
        energy_shift: float | Mapping[str, float] = 0.0,
        energy_scale: float | Mapping[str, float] = 1.0,
        forces: Literal["gradient", "direct", "none"] = "gradient",
        stress: bool = True,
    ):
        super().__init__()
        species = tuple(species)
        if not species or len(set(species)) != len(species):
            raise ValueError(f"Potential: species must be distinct chemical symbols, got {list(species)}")
        if not cutoff > 0:
            raise ValueError(f"Potential: cutoff must be positive, got {cutoff} Å")
        if backbone.cutoff != cutoff:
            raise ValueError(f"Potential: the network's cutoff is {backbone.cutoff} Å, the graphs' is {cutoff} Å")
        _check_forces(backbone, forces)
        self.backbone = backbone
        self.species = species
        self.cutoff = float(cutoff)
        self.forces = forces
        self.stress = stress and forces != "direct"
        self.energy_shift = _per_species("energy_shift", energy_shift, species)
        self.energy_scale = _per_species("energy_scale", energy_scale, species)
        for name in ("shift", "scale", "index_of_number"):
            self.register_buffer(name, None, persistent=False)
        self._reset_constants(torch.device("cpu"))
        self._compiled = None

    def _reset_constants(self, device: torch.device) -> None:
        self.shift = torch.tensor(self.energy_shift, dtype=torch.float64, device=device)
        self.scale = torch.tensor(self.energy_scale, dtype=torch.float64, device=device)
        self.index_of_number = species_table(self.species).to(device)

    def _apply(self, fn: Any, recurse: bool = True) -> "Potential":
        # `.float()` must not round the shifts, and `.to(device)` must move them: so they are written anew.
        super()._apply(fn, recurse)
        self._reset_constants(self.scale.device)
        return self

    def compile_training(self, **options: Any) -> None:
        """Compile the tensor part of `forward`, derivatives included; shapes stay dynamic."""
        self._compiled = torch.compile(self.evaluate, fullgraph=True, dynamic=True, **options)

    @property
    def conservative(self) -> bool:
        """Whether forces are the derivative of the energy; if not, dynamics does not conserve energy."""
        return self.forces != "direct"

    @property
    def rep_in(self) -> AtomsAction:
        """How rigid motions move a structure: those the network keeps, or all of E(3) for one that keeps none."""
        return AtomsAction(self._group())

    @property
    def rep_out(self) -> PotentialOutputAction:
        """How rigid motions move what `forward` returns."""
        return PotentialOutputAction(self._group())

    def _group(self) -> Group:
        return SE(3) if self.backbone.symmetry == "SO(3)" else E(3)

    @property
    def config(self) -> dict[str, Any]:
        """Everything needed to build this potential again, as plain JSON values."""
        return {
            "backbone": type(self.backbone).__name__,
            "options": dict(self.backbone.config),
            "species": list(self.species),
            "cutoff": self.cutoff,
            "energy_shift": dict(zip(self.species, self.energy_shift)),
            "energy_scale": dict(zip(self.species, self.energy_scale)),
            "forces": self.forces,
            "stress": self.stress,
        }

    def species_index(self, z: Int[Tensor, " atoms"]) -> Int[Tensor, " atoms"]:
        """Position of each atomic number in `species`; raises ValueError naming both sets for one never seen."""
        return look_up(self.index_of_number, z, self.species)

    def forward(self, batch: Any, *, training: bool | None = None) -> dict[str, Tensor]:
        """Energy [G] and atom_energy [N] in eV (float64), forces [N, 3] in eV/Å, stress [G, 3, 3] in eV/Å³.

        training: keep the graph for a loss on forces; default: the module's mode. Stress is (1/V) dE/dstrain and
        zero for structures that are not periodic in all three directions (see `has_stress`).
        Raises ValueError for a species that is not in `species`.
        """
        training = self.training if training is None else training
        # Evaluation stays eager: compiling it too would cost another minute for a few batches.
        evaluate = self._compiled if training and self._compiled is not None else self.evaluate
        with torch.set_grad_enabled(training and torch.is_grad_enabled()):
            return evaluate(
                batch.pos,
                batch.cell,
                batch.pbc,
                self.species_index(batch.z),
                batch.edge_index,
                batch.edge_shift,
                batch.batch,
                tape=training or tape_works(),
            )

    def evaluate(
        self,
        pos: Float[Tensor, "atoms 3"],
        cell: Float[Tensor, "graphs 3 3"],
        pbc: Tensor,
        species: Int[Tensor, " atoms"],
        edge_index: Int[Tensor, "2 edges"],
        edge_shift: Float[Tensor, "edges 3"],
        batch: Int[Tensor, " atoms"],
        tape: bool = False,
    ) -> dict[str, Tensor]:
        """`forward` on plain tensors: no data-dependent branch, so it compiles whole for any size.

        tape: take the derivative by autograd's tape instead of `torch.func.grad`: up to twice as fast in eager mode,
        but only where `tape_works()`.
        """
        source, target = edge_index
        n_graphs = cell.shape[0]
        dtype = next(self.backbone.parameters()).dtype
        edge_graph = batch[target]
        image = torch.einsum("ei,eij->ej", edge_shift.to(pos.dtype), cell[edge_graph].to(pos.dtype))
        vectors = (pos[source] - pos[target] + image).to(dtype)
        scale, shift = self.scale[species], self.shift[species]
        # One lonely atom of each species rides along: measured from it, an atom without neighbours has ε = 0.
        everyone = torch.cat([species, torch.arange(len(self.species), device=species.device)])

        inputs: tuple[Tensor, ...] = (edge_index,)
        if getattr(self.backbone, "sees_graphs", False):
            own = torch.arange(n_graphs, n_graphs + len(self.species), device=batch.device)
            inputs = (edge_index, torch.cat([batch, own]))

        def both(vectors: Tensor) -> tuple[Tensor, Tensor | None]:
            out = self.backbone(everyone, vectors, *inputs)
            raw, head = out if isinstance(out, tuple) else (out, None)
            raw = raw.to(torch.float64)
            return (raw[: species.shape[0]] - raw[species.shape[0] :].index_select(0, species)) * scale, head

        def total(vectors: Tensor) -> tuple[Tensor, Tensor]:
            energies, _ = both(vectors)
            return energies.sum(), energies

        if self.forces == "gradient":
            gradient, energies = _gradient(total, vectors, tape)
        else:
            energies, head = both(vectors)
        atom_energy = energies + shift
        out = {
            "energy": atom_energy.new_zeros(n_graphs).index_add(0, batch, atom_energy),
            "atom_energy": atom_energy,
        }
        if self.forces == "gradient":
            # r_ij = pos[j] - pos[i]: moving i (target) by d changes r by -d, moving j (source) by +d.
            pull = torch.cat([gradient, -gradient])
            out["forces"] = torch.zeros_like(pos, dtype=dtype).index_add(0, torch.cat([target, source]), pull)
            if self.stress:
                out["stress"] = _stress(vectors, gradient, edge_graph, cell, pbc)
        if self.forces == "direct":
            out["forces"] = head[: species.shape[0]] * scale[:, None].to(dtype)
        return out


def _check_forces(backbone: nn.Module, forces: str) -> None:
    if forces not in ("gradient", "direct", "none"):
        raise ValueError(f"Potential: forces must be 'gradient', 'direct' or 'none', got {forces!r}")
    name = type(backbone).__name__
    if forces == "direct" and not getattr(backbone, "direct_forces", False):
        raise ValueError(f"Potential: forces='direct', but {name} has no force head; take forces='gradient'")
    if forces == "gradient" and not getattr(backbone, "smooth", True):
        raise ValueError(
            f"Potential: forces='gradient', but the energy of this {name} jumps where an edge comes or goes; take "
            "forces='direct', or a network that ends smoothly at the cutoff"
        )


def tape_works() -> bool:
    """Whether autograd's tape can be used: transforms of `torch.func` do not see it, inference mode has none."""
    # Asked first, because a compiler cannot trace the other questions, and needs no tape.
    if torch.compiler.is_compiling() or torch.is_inference_mode_enabled():
        return False
    return torch._C._functorch.peek_interpreter_stack() is None


def _gradient(total: Callable[[Tensor], tuple[Tensor, Tensor]], vectors: Tensor, tape: bool) -> tuple[Tensor, Tensor]:
    """dE/dr_ij [edges, 3] in eV/Å, and the atom energies; differentiable again where grad mode is on."""
    if torch.compiler.is_compiling() or not tape:
        return torch.func.grad(total, has_aux=True)(vectors)
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        leaf = vectors if vectors.requires_grad else vectors.detach().requires_grad_()
        energy, energies = total(leaf)
        # A derivative has the dtypes of what it derives; autocast would choose again.
        with torch.autocast(leaf.device.type, enabled=False):
            (gradient,) = torch.autograd.grad(energy, leaf, create_graph=keep, allow_unused=True)
    if gradient is None:
        gradient = torch.zeros_like(leaf)
    return (gradient, energies) if keep else (gradient, energies.detach())


def _stress(vectors: Tensor, gradient: Tensor, edge_graph: Tensor, cell: Tensor, pbc: Tensor) -> Tensor:
    """(1/V) dE/dstrain = (1/V) Σ_edges sym(r ⊗ dE/dr), since a strain ε turns every r into r(1 + ε)."""
    outer = vectors.unsqueeze(2) * gradient.unsqueeze(1)
    outer = (0.5 * (outer + outer.transpose(1, 2))).double()  # in float32 a sum over 1e5 edges is wrong by 1e-3
    virial = torch.zeros_like(cell, dtype=torch.float64).index_add(0, edge_graph, outer).to(cell.dtype)
    volume = (cell[:, 0] * torch.linalg.cross(cell[:, 1], cell[:, 2])).sum(dim=1).abs()
    closed = pbc.reshape(-1, 3).all(dim=1) & (volume > 0)
    inverse = torch.where(closed, 1.0 / torch.where(closed, volume, torch.ones_like(volume)), torch.zeros_like(volume))
    return virial * inverse[:, None, None]


def _per_species(name: str, value: float | Mapping[str, float], species: tuple[str, ...]) -> tuple[float, ...]:
    if not isinstance(value, Mapping):
        return (float(value),) * len(species)
    if missing := [s for s in species if s not in value]:
        raise ValueError(f"Potential: {name} has no entry for {', '.join(missing)}; it has {', '.join(value)}")
    return tuple(float(value[s]) for s in species)
