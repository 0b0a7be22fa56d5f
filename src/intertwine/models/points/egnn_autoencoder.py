"""EGNN as an autoencoder of graphs: nodes of a graph without features become points, and near points are joined."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .dynamics import all_pairs
from .egnn import EGNN


class EGNNAutoencoder(nn.Module):
    """Graphs to points of R^dim and back to probabilities of edges, equivariant under permutations of nodes.

    Every node starts with the same features and a random normal point, so that nodes of the same neighbourhood can come
    apart. After every layer points shrink by `shrink`. An edge has probability σ(w |x_i - x_j|² + b).
    Raises as `EGNN` does, and for dim < 1. Source: arXiv:2102.09844, section 5.2.
    """

    def __init__(
        self,
        hidden: int = 64,
        dim: int = 8,
        layers: int = 4,
        *,
        shrink: float = 1e-3,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if dim < 1:
            raise ValueError(f"EGNNAutoencoder: points need a dimension of at least 1, got {dim}")
        self.dim, self.shrink = dim, shrink
        self.egnn = EGNN(1, hidden, 0, layers, edge_features=1, generator=generator)
        self.weight, self.bias = nn.Parameter(torch.tensor(-0.1)), nn.Parameter(torch.tensor(1.0))

    def encode(
        self,
        adjacency: Float[Tensor, "graphs n n"],
        noise: Float[Tensor, "graphs n dim"] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "graphs n dim"]:
        """Points of the nodes, from given starting points or from drawn ones. Raises ValueError on wrong shapes."""
        graphs, n = adjacency.shape[:2]
        if adjacency.shape != (graphs, n, n):
            raise ValueError(f"EGNNAutoencoder: needs adjacency matrices [graphs, n, n], got {tuple(adjacency.shape)}")
        if noise is None:
            device = "cpu" if generator is None else generator.device
            noise = torch.randn(graphs, n, self.dim, generator=generator, device=device).to(adjacency)
        if noise.shape != (graphs, n, self.dim):
            raise ValueError(f"EGNNAutoencoder: noise must be {(graphs, n, self.dim)}, got {tuple(noise.shape)}")
        edge_index = all_pairs(graphs, n, adjacency.device)
        source, target = edge_index
        joined = adjacency.flatten(0, 1)[target, source % n if n else source][:, None]
        h, x = self.egnn.embed(adjacency.new_ones(graphs * n, 1)), noise.flatten(0, 1)
        for layer in self.egnn.layers:
            h, x = layer(h, x, edge_index, joined)
            x = x * (1 - self.shrink)
        return x.reshape(noise.shape)

    def decode(self, x: Float[Tensor, "graphs n dim"]) -> Float[Tensor, "graphs n n"]:
        """The logarithm of the odds of every edge, for `binary_cross_entropy_with_logits`; mind the diagonal."""
        return self.weight * (x[:, :, None] - x[:, None]).square().sum(-1) + self.bias

    def forward(
        self,
        adjacency: Float[Tensor, "graphs n n"],
        noise: Float[Tensor, "graphs n dim"] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "graphs n n"]:
        """Probabilities of edges; 0 on the diagonal."""
        p = torch.sigmoid(self.decode(self.encode(adjacency, noise, generator=generator)))
        return p * (1 - torch.eye(p.shape[-1], dtype=p.dtype, device=p.device))
