"""How rigid motions move a structure and what a potential says of it, so that both can be audited and symmetrised."""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...groups import Group
from ...groups.group import Element
from ...groups.matrix import E, O
from ...reps.action import Action, check_batch
from .graph import AtomicBatch, AtomicGraph, collate

_SCALARS = ("z", "pbc", "natoms", "edge_index", "edge_shift", "energy", "weight", "config_type", "frame", "charge")
_MASKS = ("has_energy", "has_forces", "has_stress", "batch", "ptr")


class AtomsAction(Action):
    """Rigid motions of a graph or batch: pos -> pos Rᵀ + t, rows of cell and forces -> · Rᵀ, stress -> RσRᵀ.

    Edges, shifts and scalars stay: they count images, not lengths. group: E(3), SE(3), or O(3), SO(3) without
    translations. One element for all graphs, or one for each graph of a batch. `invariant` names further fields that do
    not move; a field that is neither known nor named is an error. Raises ValueError for another group.
    """

    def __init__(self, group: Group, *, invariant: Sequence[str] = ()):
        self.group, self.invariant = _space(self, group), tuple(invariant)

    def act(self, g: Element, x: AtomicGraph | AtomicBatch) -> AtomicGraph | AtomicBatch:
        """The moved structures; a new object that shares what does not move. Raises ValueError on a wrong batch."""
        unknown = sorted(set(x.keys()) - {"pos", "cell", "forces", "stress", *_SCALARS, *_MASKS, *self.invariant})
        if unknown:
            raise ValueError(f"{self}: how {', '.join(unknown)} moves is not known; name invariants in invariant=")
        turn, shift = _parts(self, g, len(x.cell), x.pos.device)
        atoms = getattr(x, "batch", None) if turn.ndim == 3 and len(turn) > 1 else None
        moved = copy.copy(x)
        moved.pos = _vectors(turn, x.pos, atoms)
        if shift is not None:
            moved.pos = moved.pos + (shift if atoms is None else shift[atoms]).to(x.pos.dtype)
        moved.cell = (x.cell.double() @ turn.mT).to(x.cell.dtype)
        if "forces" in x:
            moved.forces = _vectors(turn, x.forces, atoms)
        if "stress" in x:
            moved.stress = _tensors(turn, x.stress)
        return moved

    def collate(self, samples: Sequence[AtomicGraph]) -> AtomicBatch:
        """Join graphs into one batch."""
        return collate(list(samples))

    def uncollate(self, batch: AtomicBatch) -> list[AtomicGraph]:
        """The graphs of a batch; a single graph is a batch of one."""
        return batch.to_data_list() if isinstance(batch, AtomicBatch) else [batch]

    def __repr__(self) -> str:
        return f"AtomsAction({self.group})"


class PotentialOutputAction(Action):
    """How the output of a potential moves: energy and atom_energy stay, forces -> F Rᵀ, stress -> RσRᵀ.

    A dict {"energy": [G], "atom_energy": [N], "forces": [N, 3], "stress": [G, 3, 3]}, or some of these keys. With one
    element for each graph the dict must also hold "batch" [N], the graph of each atom. `invariant` names further keys
    that do not move. Raises ValueError for a group other than E(3), SE(3), O(3), SO(3).
    """

    def __init__(self, group: Group, *, invariant: Sequence[str] = ()):
        self.group, self.invariant = _space(self, group), tuple(invariant)

    def act(self, g: Element, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """The output for the moved structures. Raises ValueError for unknown keys or a wrong batch."""
        known = {"energy", "atom_energy", "forces", "stress", "batch", "natoms", *self.invariant}
        if set(x) - known:
            raise ValueError(f"{self}: how {sorted(set(x) - known)} moves is not known; name invariants in invariant=")
        device = next((value.device for value in x.values()), "cpu")
        turn, _ = _parts(self, g, _graphs(x), device)
        many = turn.ndim == 3 and len(turn) > 1
        if many and "forces" in x and "batch" not in x and len(x["forces"]) != len(turn):
            raise ValueError(
                f"{self}: {len(turn)} elements for {len(x['forces'])} atoms; add the key 'batch' with each atom's graph"
            )
        moved = dict(x)
        if "forces" in x:
            atoms = x.get("batch", torch.arange(len(x["forces"]), device=x["forces"].device)) if many else None
            moved["forces"] = _vectors(turn, x["forces"], atoms)
        if "stress" in x:
            moved["stress"] = _tensors(turn, x["stress"])
        return moved

    def collate(self, samples: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Join outputs along their first axis; "batch" is made anew, so that they can be taken apart."""
        joined = {k: torch.cat([s[k] for s in samples]) for k in samples[0] if k != "batch"}
        for key in ("atom_energy", "forces"):
            if key in joined:
                owner = [torch.full((len(s[key]),), i, device=s[key].device) for i, s in enumerate(samples)]
                joined["batch"] = torch.cat(owner)
                break
        return joined

    def uncollate(self, batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """One dict per graph. Raises ValueError when per-atom outputs come without "batch"."""
        graphs = _graphs(batch) or (int(batch["batch"].max()) + 1 if "batch" in batch else 1)
        per_atom = {"forces", "atom_energy"} & set(batch)
        if "batch" not in batch and graphs > 1 and per_atom:
            raise ValueError(f"{self}: {graphs} graphs without 'batch'; add each atom's graph under that key")
        samples = [{key: value[i : i + 1] for key, value in batch.items()} for i in range(graphs)]
        for i, sample in enumerate(samples):
            sample.pop("batch", None)
            for key in per_atom:
                sample[key] = batch[key][batch["batch"] == i] if "batch" in batch else batch[key]
        return samples

    def __repr__(self) -> str:
        return f"PotentialOutputAction({self.group})"


def _space(action: Action, group: Group) -> Group:
    if not isinstance(group, (E, O)) or group.n != 3:
        raise ValueError(f"{type(action).__name__}: structures move under E(3), SE(3), O(3) or SO(3), not {group}")
    return group


def _graphs(x: dict[str, Tensor]) -> int | None:
    """How many graphs an output speaks of; None when it has only per-atom entries."""
    return next((len(x[key]) for key in ("energy", "stress") if key in x), None)


def _parts(action: Action, g: Tensor, graphs: int | None, device) -> tuple[Tensor, Tensor | None]:
    """R [*b, 3, 3] and t [*b, 3] in float64, with *b empty or (graphs,); t is None for groups that only turn."""
    g = g.to(device, torch.float64)
    if graphs is not None:
        check_batch(action, g.shape[:-2], torch.Size([graphs]))
    group = action.group
    if isinstance(group, E):
        return group.linear_part(g), group.translation_part(g)
    return g, None


def _vectors(turn: Float[Tensor, "*b 3 3"], x: Float[Tensor, "n 3"], atoms: Tensor | None) -> Float[Tensor, "n 3"]:
    """R x for each row, computed in float64 and rounded once; `atoms` is the graph of each row."""
    wide = x.double()
    if atoms is not None:
        return torch.einsum("nij,nj->ni", turn[atoms], wide).to(x.dtype)
    return (wide @ turn.reshape(3, 3).mT).to(x.dtype)


def _tensors(turn: Float[Tensor, "*b 3 3"], x: Float[Tensor, "g 3 3"]) -> Float[Tensor, "g 3 3"]:
    return (turn @ x.double() @ turn.mT).to(x.dtype)
