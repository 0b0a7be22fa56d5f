"""A linear pair potential: the smallest network that trains, so that everything around networks can be tested on it."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from intertwine.nn.radial import Bessel, PolynomialEnvelope


class Pair(nn.Module):
    """ε_i = ½ Σ_j w[z_i, z_j] · b(r_ij) u(r_ij), with w symmetric in its species; cutoff in Å.

    Raises ValueError for a cutoff that is not positive.
    """

    symmetry = "O(3)"

    def __init__(
        self,
        species: Sequence[str],
        *,
        cutoff: float = 5.0,
        n_bessel: int = 8,
        p: int = 6,
        avg_num_neighbors: float = 1.0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.cutoff = cutoff
        self.config: dict[str, Any] = {"n_bessel": n_bessel, "p": p, "avg_num_neighbors": avg_num_neighbors}
        self.basis = Bessel(cutoff, n_bessel)
        self.envelope = PolynomialEnvelope(cutoff, p)
        n = len(species)
        self.weight = nn.Parameter(torch.randn(n, n, n_bessel, generator=generator) / avg_num_neighbors**0.5)

    def forward(
        self, species: Int[Tensor, " atoms"], vectors: Float[Tensor, "edges 3"], edge_index: Int[Tensor, "2 edges"]
    ) -> Float[Tensor, " atoms"]:
        source, target = edge_index
        r = torch.linalg.vector_norm(vectors, dim=1)
        weight = (self.weight + self.weight.transpose(0, 1))[species[source], species[target]]
        pair = 0.25 * (weight * self.basis(r)).sum(1) * self.envelope(r)
        return pair.new_zeros(species.shape[0]).index_add(0, target, pair)
