"""A potential whose physics is known on paper: a spring between all pairs that see each other."""

import torch
from torch import Tensor, nn

from intertwine.models.atoms import Potential

STIFF, LENGTH = 30.0, 1.0  # eV/Å², Å


class Springs(nn.Module):
    """½ k (r - r₀)² for each pair; half of it on either atom."""

    symmetry = "O(3)"

    def __init__(self, stiff: float = STIFF, cutoff: float = 3.0):
        super().__init__()
        self.cutoff, self.config = cutoff, {"stiff": stiff, "cutoff": cutoff}
        self.stiff = nn.Parameter(torch.tensor(stiff))

    def forward(self, species: Tensor, vectors: Tensor, edge_index: Tensor) -> Tensor:
        each = 0.25 * self.stiff * (torch.linalg.vector_norm(vectors, dim=1) - LENGTH) ** 2
        return each.new_zeros(species.shape[0]).index_add(0, edge_index[1], each)


def springs(stiff: float = STIFF, **options) -> Potential:
    """In float64, for H and O."""
    return Potential(Springs(stiff), ["H", "O"], 3.0, **options).double().eval()
