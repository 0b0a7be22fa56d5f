"""What networks of moving points are compared with: a straight line, radial forces, and messages without symmetry."""

import torch
from torch import Tensor, nn

from ...nn.perceptron import affine, perceptron
from ...nn.segment import segment_mean, segment_sum
from .dynamics import Dynamics, edge_charges, edge_squares


class LinearDynamics(Dynamics):
    """x + t v, with t learned. Source: arXiv:2102.09844, section 5.1."""

    def __init__(self, time: float = 0.7, *, dim: int = 3):
        super().__init__(dim)
        self.time = nn.Parameter(torch.tensor(float(time)))

    def move(self, x: Tensor, v: Tensor, q: Tensor, edge_index: Tensor) -> Tensor:
        """A straight line."""
        return x + self.time * v


class RadialField(Dynamics):
    """Points pulled along the lines between them by a function of distance and charges; no features at nodes.

    x_i ← x_i + mean_j (x_i - x_j) tanh φ(d_ij, q_i q_j, d_ij² at the start) + φ_v(|v_i|) v_i, φ and φ_v with one hidden
    layer. E(n)-equivariant. Source: arXiv:1910.00753, as in arXiv:2102.09844, section 5.1.
    """

    def __init__(self, hidden: int = 64, layers: int = 4, *, dim: int = 3, generator: torch.Generator | None = None):
        super().__init__(dim)
        self.radial, self.velocity = nn.ModuleList(), nn.ModuleList()
        for _ in range(layers):
            last = affine(hidden, 1, bias=False, generator=generator)
            nn.init.xavier_uniform_(last.weight, gain=1e-3, generator=generator)
            self.radial.append(nn.Sequential(affine(3, hidden, generator=generator), nn.SiLU(), last, nn.Tanh()))
            self.velocity.append(perceptron([1, hidden, 1], generator=generator))

    def move(self, x: Tensor, v: Tensor, q: Tensor, edge_index: Tensor) -> Tensor:
        """Layer by layer."""
        source, target = edge_index
        edge = torch.cat([edge_charges(q, edge_index), edge_squares(x, edge_index)], 1)
        speed = torch.linalg.vector_norm(v, dim=1, keepdim=True)
        for radial, velocity in zip(self.radial, self.velocity):
            difference = x.index_select(0, target) - x.index_select(0, source)
            distance = torch.linalg.vector_norm(difference, dim=1, keepdim=True)
            pull = difference * radial(torch.cat([distance, edge], 1))
            x = x + segment_mean(pull, target, len(x)) + velocity(speed) * v
        return x


class MessagePassing(Dynamics):
    """Messages between nodes that know raw positions and velocities: the control, with no symmetry but permutations.

    h_i ← h_i + φ_h(h_i, Σ_j φ_e(h_i, h_j, q_i q_j)), read out as the position itself.
    Source: arXiv:1704.01212, as in arXiv:2102.09844, section 5.1.
    """

    def __init__(self, hidden: int = 64, layers: int = 4, *, dim: int = 3, generator: torch.Generator | None = None):
        super().__init__(dim)
        self.hidden = hidden
        self.embed = affine(2 * dim, hidden, generator=generator)
        self.edge, self.node = nn.ModuleList(), nn.ModuleList()
        for _ in range(layers):
            edge = perceptron([2 * hidden + 1, hidden, hidden], generator=generator)
            self.edge.append(nn.Sequential(*edge, nn.SiLU()))
            self.node.append(perceptron([2 * hidden, hidden, hidden], generator=generator))
        self.out = perceptron([hidden, hidden, dim], generator=generator)

    def move(self, x: Tensor, v: Tensor, q: Tensor, edge_index: Tensor) -> Tensor:
        """Layer by layer."""
        source, target = edge_index
        h, charge = self.embed(torch.cat([x, v], 1)), edge_charges(q, edge_index)
        for edge, node in zip(self.edge, self.node):
            m = edge(torch.cat([h.index_select(0, target), h.index_select(0, source), charge], 1))
            h = h + node(torch.cat([h, segment_sum(m, target, len(h))], 1))
        return self.out(h)
