"""Ponita for the motion of charged points: charges are scalars, velocities are vectors, and out comes a shift."""

from typing import Literal

import torch
from torch import Tensor

from .dynamics import Dynamics
from .ponita import Ponita


class PonitaDynamics(Dynamics):
    """x + one output vector of `Ponita` on all pairs of points, each with itself too.

    Published for the n-body problem: 5 layers of width 128, 16 directions, 256 basis functions, layer scale 1e-6, Adam
    with rate 1e-3, and training systems turned at random, because a grid of directions is only roughly symmetric.
    Raises as `Ponita` does. Source: arXiv:2310.02970, section 5.
    """

    def __init__(
        self,
        hidden: int = 128,
        layers: int = 5,
        *,
        orientations: int = 16,
        basis_dim: int = 256,
        layer_scale: float | None = 1e-6,
        grid: Literal["repulsion", "fibonacci", "platonic"] = "repulsion",
        dim: Literal[2, 3] = 3,
        generator: torch.Generator | None = None,
    ):
        super().__init__(dim)
        self.ponita = Ponita(
            *(1, 1, hidden, 0, 1),
            layers=layers,
            orientations=orientations,
            basis_dim=basis_dim,
            layer_scale=layer_scale,
            task="node",
            dim=dim,
            grid=grid,
            generator=generator,
        )

    def move(self, x: Tensor, v: Tensor, q: Tensor, edge_index: Tensor) -> Tensor:
        """The later positions."""
        loops = torch.arange(len(x), device=x.device).expand(2, -1)
        return x + self.ponita(x, q[:, None], v[:, None], torch.cat([edge_index, loops], 1)).vectors[:, 0]
