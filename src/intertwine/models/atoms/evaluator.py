"""A potential on structures that move: edges are kept with a skin, so a step costs little beyond the network."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intertwine.data.atoms.neighbors import VerletList

from .potential import Potential, tape_works


class Evaluator:
    """Energies, forces and stress of moving structures: what dynamics, relaxation and calculators call at every step.

    model: a `Potential`, or what `interop.export.load_exported` gives. skin: Å by which the neighbour list reaches
    beyond the cutoff; it is rebuilt only when an atom has moved skin/2 since, and no result depends on it. compile: pay
    a minute at the first call for faster ones afterwards; sizes may change. Raises ValueError for a negative skin.
    """

    def __init__(self, model: Any, *, skin: float = 0.5, compile: bool = False):
        self.model, self.neighbors = model, VerletList(model.cutoff, skin=skin)
        self._evaluate: Callable[..., dict[str, Tensor]] = model.evaluate
        if compile:
            self._evaluate = torch.compile(model.evaluate, fullgraph=True, dynamic=True)
        self._eager = isinstance(model, Potential) and not compile

    def __call__(
        self,
        pos: Float[Tensor, "atoms 3"],
        cell: Float[Tensor, "graphs 3 3"],
        pbc: Bool[Tensor, "graphs 3"],
        species: Int[Tensor, " atoms"],
        batch: Int[Tensor, " atoms"],
    ) -> dict[str, Tensor]:
        """What `Potential.forward` gives, for these positions; `species` as `model.species_index` gives them."""
        edge_index, edge_shift = self.neighbors.update(pos, cell, pbc, batch)
        options = {"tape": tape_works()} if self._eager else {}
        with torch.no_grad():
            return self._evaluate(pos, cell, pbc, species, edge_index, edge_shift, batch, **options)


def check_forces(model: Any, job: str, *, allow_nonconservative: bool) -> None:
    """Raise ValueError when a model has no forces, or forces that conserve nothing and are not allowed."""
    if model.forces == "none":
        raise ValueError(f"{job}: this potential gives no forces; build it with forces='gradient'")
    if not (model.conservative or allow_nonconservative):
        raise ValueError(
            f"{job}: the forces of this potential come from a force head and are the derivative of no energy, so "
            "energy will drift; pass allow_nonconservative=True to go on all the same"
        )
