"""Tensor field network (arXiv:1802.08219) for moving points: features of degrees 0..L, convolved with harmonics."""

import torch
from torch import Tensor, nn

from ...groups import SE
from .dynamics import Dynamics, edge_charges
from .se3_attention import TensorFieldLayer, irreps, norm
from .se3_transformer import edges_of


class TFN(Dynamics):
    """Charged points whose features are irreps: charge and velocity in, a displacement out.

    h_i ← η(mean_j W(x_j - x_i) h_j + W' h_i), with the `TensorFieldKernel` for W and a network of the lengths of each
    degree for η; the last layer has no η and gives one vector, which is added to x. hidden: channels of each degree
    0..`degree`. The kernel knows the distance alone, and no step multiplies what a node carries by what it receives:
    q_i q_j, which the other networks of charged points are given, it has to build. edge_charges: give it that too, as
    the published baseline does not. Equivariant under SE(3), not reflections. Raises ValueError for sizes below 1.
    Source: arXiv:1802.08219, as a baseline in arXiv:2102.09844, section 5.1 (the default sizes).
    """

    def __init__(
        self,
        hidden: int = 16,
        degree: int = 1,
        layers: int = 4,
        *,
        edge_charges: bool = False,
        generator: torch.Generator | None = None,
    ):
        super().__init__(3, SE(3))
        if min(hidden, degree, layers) < 1:
            raise ValueError(f"TFN: sizes must be at least 1, got {hidden=}, {degree=}, {layers=}")
        self.edge_charges, self.degree = edge_charges, degree
        reps = [irreps({0: 1, 1: 1}), *[irreps(dict.fromkeys(range(degree + 1), hidden))] * (layers - 1)]
        ends = [*reps[1:], irreps({1: 1})]
        self.convolutions = nn.ModuleList(
            TensorFieldLayer(a, b, int(edge_charges), generator=generator) for a, b in zip(reps, ends)
        )
        self.norms = nn.ModuleList([*(norm("mlp", rep, generator) for rep in ends[:-1]), nn.Identity()])

    def move(self, x: Tensor, v: Tensor, q: Tensor, edge_index: Tensor) -> Tensor:
        """x and the displacement."""
        edges = edges_of(x, edge_index, edge_charges(q, edge_index) if self.edge_charges else None, self.degree)
        h = torch.cat([q[:, None], v], 1)
        for convolution, nonlinearity in zip(self.convolutions, self.norms):
            h = nonlinearity(convolution(h, edges))
        return x + h
