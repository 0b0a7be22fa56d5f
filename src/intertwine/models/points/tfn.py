"""Tensor field network (arXiv:1802.08219) for moving points: features of degrees 0..L, convolved with harmonics."""

import math

import torch
from torch import Tensor, nn

from ...nn.gate import Gate
from ...nn.linear import Linear
from ...nn.perceptron import perceptron
from ...so3 import EdgeConv, Irrep, Irreps, spherical_harmonics
from .dynamics import Dynamics, edge_charges


class TFN(Dynamics):
    """Charged points whose features are irreps: charge, |v| and v in, a displacement out.

    h_i ← gate(W Σ_j R(d_ij, q_i q_j) ⊙ (h_j ⊗ Y(x_j - x_i)) + W' h_i), R a perceptron of width `radial`; the last layer
    has no gate and gives one vector, which is added to x. hidden: channels of every degree 0..`degree`, with parity
    (-1)^l; Y up to twice the degree. Three dimensions. Raises ValueError for sizes below 1.
    Source: arXiv:1802.08219, as a baseline in arXiv:2102.09844, section 5.1.
    """

    def __init__(
        self,
        hidden: int = 32,
        degree: int = 1,
        layers: int = 4,
        *,
        radial: int = 32,
        generator: torch.Generator | None = None,
    ):
        super().__init__(3)
        if min(hidden, degree, layers, radial) < 1:
            raise ValueError(f"TFN: sizes must be at least 1, got {hidden=}, {degree=}, {layers=}, {radial=}")
        self.degree = 2 * degree
        wanted = Irreps([(hidden, Irrep(l, (-1) ** l)) for l in range(degree + 1)])
        rep = Irreps("2x0e + 1x1o")
        self.radial, self.convs, self.mix, self.own, self.gates = (nn.ModuleList() for _ in range(5))
        for layer in range(layers):
            last = layer == layers - 1
            scalars = Irreps([(hidden, Irrep(0, 1))])
            gate = nn.Identity() if last else Gate(scalars, nn.functional.silu, Irreps([*_blocks(wanted)[1:]]))
            out = Irreps("1x1o") if last else gate.rep_in
            conv = EdgeConv(rep, self.degree, wanted if not last else out)
            sizes = [2, radial, radial, math.prod(conv.weight_shape)]
            self.radial.append(perceptron(sizes, generator=generator))
            self.convs.append(conv)
            self.mix.append(Linear(conv.rep_out, out, bias=False, generator=generator))
            self.own.append(Linear(rep, out, bias=not last, generator=generator))
            self.gates.append(gate)
            rep = wanted

    def move(self, x: Tensor, v: Tensor, q: Tensor, edge_index: Tensor) -> Tensor:
        """x and the displacement."""
        source, target = edge_index
        r = x.index_select(0, source) - x.index_select(0, target)
        distance = torch.linalg.vector_norm(r, dim=1, keepdim=True)
        radial, Y = torch.cat([distance, edge_charges(q, edge_index)], 1), spherical_harmonics(r, self.degree)
        h = torch.cat([q[:, None], torch.linalg.vector_norm(v, dim=1, keepdim=True), v], 1)
        for network, conv, mix, own, gate in zip(self.radial, self.convs, self.mix, self.own, self.gates):
            weight = network(radial).unflatten(1, conv.weight_shape)
            h = gate(mix(conv(h, Y, weight, source, target)) + own(h))
        return x + h


def _blocks(irreps: Irreps) -> list[tuple[int, Irrep]]:
    return [(c, irrep) for irrep, c in irreps.blocks]
