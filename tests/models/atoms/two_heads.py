"""The smallest network with a force head: pair energies, and pair forces that are not their derivative."""

import torch

from intertwine.models.atoms import Pair


class TwoHeads(Pair):
    """Energies of `Pair`; f_i = Σ_j w[z_i, z_j] · b(r) u(r) r̂, with w not symmetric in its species."""

    direct_forces, sees_graphs = True, True

    def __init__(self, species, *, cutoff=5.0, n_bessel=8, p=6, avg_num_neighbors=1.0, generator=None):
        options = {"n_bessel": n_bessel, "p": p, "avg_num_neighbors": avg_num_neighbors}
        super().__init__(species, cutoff=cutoff, generator=generator, **options)
        n = len(species)
        self.head = torch.nn.Parameter(torch.randn(n, n, self.basis.count, generator=generator))
        self.seen = None

    def forward(self, species, vectors, edge_index, graph):
        self.seen = graph
        source, target = edge_index
        r = torch.linalg.vector_norm(vectors, dim=1)
        size = (self.head[species[source], species[target]] * self.basis(r)).sum(1) * self.envelope(r) / r
        forces = torch.zeros(len(species), 3, dtype=vectors.dtype).index_add(0, target, size[:, None] * vectors)
        return super().forward(species, vectors, edge_index), forces
