"""What every network that moves charged points has in common: its inputs, its symmetry, and who sees whom."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...groups import E, Group
from ...nn.graph import full_graph
from ...reps import Action, Invariant, Points, Vectors


def all_pairs(systems: int, n: int, device: torch.device | str = "cpu") -> Int[Tensor, "2 edges"]:
    """All ordered pairs of points of each of `systems` systems of n points, sorted by target."""
    first = n * torch.arange(systems, device=device)
    return (full_graph(n, device=device)[:, None] + first[:, None]).flatten(1)


class Dynamics(nn.Module, ABC):
    """Positions at a later time from positions, velocities and charges; `move` says how.

    rep_in: what the group, E(dim) unless given, does to positions, velocities and charges; rep_out: to the later
    positions.
    """

    def __init__(self, dim: int = 3, group: Group | None = None):
        super().__init__()
        group = E(dim) if group is None else group
        self.rep_in: tuple[Action, ...] = (Points(group), Vectors(group), Invariant(group))
        self.rep_out: Action = Points(group)

    def forward(
        self,
        positions: Float[Tensor, "*systems n dim"],
        velocities: Float[Tensor, "*systems n dim"],
        charges: Float[Tensor, "*systems n"],
        edge_index: Int[Tensor, "2 edges"] | None = None,
    ) -> Float[Tensor, "*systems n dim"]:
        """The later positions. edge_index: (source, target) among all points in a row; None: all pairs of a system.

        Raises ValueError for shapes that do not fit.
        """
        check_motion(type(self).__name__, positions, velocities, charges)
        *systems, n, dim = positions.shape
        if edge_index is None:
            edge_index = all_pairs(torch.Size(systems).numel(), n, positions.device)
        x, v, q = positions.reshape(-1, dim), velocities.reshape(-1, dim), charges.reshape(-1)
        return self.move(x, v, q, edge_index).reshape(positions.shape)

    @abstractmethod
    def move(self, x: Tensor, v: Tensor, q: Tensor, edge_index: Tensor) -> Tensor:
        """The later positions [points, dim] from x, v [points, dim] and q [points]."""


def check_motion(name: str, positions: Tensor, velocities: Tensor, charges: Tensor) -> None:
    """Raises ValueError, in the name of a network, for velocities or charges that do not belong to the positions."""
    if velocities.shape != positions.shape or charges.shape != positions.shape[:-1]:
        raise ValueError(
            f"{name}: positions {tuple(positions.shape)} need velocities of the same shape and "
            f"charges {tuple(positions.shape[:-1])}, got {tuple(velocities.shape)} and {tuple(charges.shape)}"
        )


def edge_charges(q: Float[Tensor, " points"], edge_index: Int[Tensor, "2 edges"]) -> Float[Tensor, "edges 1"]:
    """q_i q_j of every edge."""
    source, target = edge_index
    return (q.index_select(0, target) * q.index_select(0, source))[:, None]


def edge_squares(x: Float[Tensor, "points dim"], edge_index: Int[Tensor, "2 edges"]) -> Float[Tensor, "edges 1"]:
    """|x_i - x_j|² of every edge."""
    source, target = edge_index
    return (x.index_select(0, target) - x.index_select(0, source)).square().sum(1, keepdim=True)
