"""MACE (arXiv:2206.07697): messages are polynomials of all that surrounds an atom, so that two layers suffice."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from intertwine.nn.radial import Bessel, PolynomialEnvelope
from intertwine.nn.radial_networks import RadialNetworks
from intertwine.nn.scaled import mixed, mixed_by_species, normal
from intertwine.so3 import EdgeConv, Irreps, SymmetricContraction, spherical_harmonics


class MACE(nn.Module):
    """One number per atom from its surroundings within `cutoff` Å; a `Backbone` for `Potential`, symmetric under E(3).

    layers: interactions; edge_degree: of harmonics and of the sums A over neighbours; hidden_degree: of the features
    that layers pass on; channels: of every irrep; correlation: highest power ν of A in a message, so ν+1 bodies a
    layer; n_bessel, p: radial basis and envelope; radial: hidden widths of the radial networks; readout: hidden width
    of the last map; symmetric: see `SymmetricContraction`; avg_num_neighbors: n̄ of the training set, sums over
    neighbours are divided by it; generator: of the weights.
    Raises ValueError for sizes below 1 or a degree below 0.
    """

    symmetry = "O(3)"

    def __init__(
        self,
        species: Sequence[str],
        *,
        cutoff: float = 5.0,
        layers: int = 2,
        edge_degree: int = 3,
        hidden_degree: int = 1,
        channels: int = 64,
        correlation: int = 3,
        n_bessel: int = 8,
        p: int = 5,
        radial: Sequence[int] = (64, 64, 64),
        readout: int = 16,
        symmetric: bool = True,
        avg_num_neighbors: float = 1.0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        sizes = (layers, channels, correlation, n_bessel, readout, *radial)
        if min(sizes) < 1 or min(edge_degree, hidden_degree) < 0 or not species:
            raise ValueError(
                f"MACE: sizes must be at least 1 and degrees at least 0, got {layers=} {channels=} {correlation=} "
                f"{n_bessel=} {radial=} {readout=} {edge_degree=} {hidden_degree=} and {len(species)} species"
            )
        if not avg_num_neighbors > 0:
            raise ValueError(f"MACE: avg_num_neighbors must be positive, got {avg_num_neighbors}")
        self.cutoff, self.edge_degree = float(cutoff), edge_degree
        self.config: dict[str, Any] = {
            **{"layers": layers, "edge_degree": edge_degree, "hidden_degree": hidden_degree, "channels": channels},
            **{"correlation": correlation, "n_bessel": n_bessel, "p": p, "radial": list(radial), "readout": readout},
            **{"symmetric": symmetric, "avg_num_neighbors": float(avg_num_neighbors)},
        }
        self.basis = Bessel(cutoff, n_bessel)
        self.envelope = PolynomialEnvelope(cutoff, p)
        self.embedding = normal(generator, len(species), channels)
        rep, hidden = Irreps([(channels, "0e")]), Irreps.spherical(hidden_degree, channels)
        self.blocks = nn.ModuleList()
        for layer in range(layers):
            out = hidden if layer < layers - 1 else Irreps([(channels, "0e")])
            self.blocks.append(
                ManyBodyInteraction(
                    rep, edge_degree, out, len(species), correlation, symmetric, avg_num_neighbors, generator
                )
            )
            rep = out
        self.radial = RadialNetworks([n_bessel, *radial], [block.conv.weight_shape for block in self.blocks], generator)
        self.readouts = nn.ParameterList(normal(generator, channels, 1) for _ in range(layers - 1))
        self.last = nn.ParameterList([normal(generator, channels, readout), normal(generator, readout, 1)])

    def forward(
        self, species: Int[Tensor, " atoms"], vectors: Float[Tensor, "edges 3"], edge_index: Int[Tensor, "2 edges"]
    ) -> Float[Tensor, " atoms"]:
        """Unscaled atom energies; `vectors` point from each edge's target to its source, Å."""
        source, target = edge_index
        r = torch.linalg.vector_norm(vectors, dim=1)
        weights = self.radial(self.basis(r) * self.envelope(r)[:, None])
        Y = spherical_harmonics(vectors, self.edge_degree)
        h, energies = self.embedding.index_select(0, species), []
        for layer, (block, weight) in enumerate(zip(self.blocks, weights)):
            h = block(h, species, Y, weight, source, target)
            scalars = block.rep_out.split(h)[0].squeeze(1)
            if layer < len(self.readouts):
                energies.append(mixed(scalars, self.readouts[layer]))
        first, second = self.last
        energies.append(mixed(nn.functional.silu(mixed(scalars, first)), second))
        return torch.stack(energies).sum(0).squeeze(1)


class ManyBodyInteraction(nn.Module):
    """One MACE layer: A = W₂ (1/n̄) Σ_j R ⊙ (W₁h_j ⊗ Y), then W₃ m(A) + W_sc[z] h with the symmetric contraction m."""

    def __init__(
        self,
        rep_in: Irreps,
        edge_degree: int,
        rep_out: Irreps,
        n_species: int,
        correlation: int,
        symmetric: bool,
        avg_num_neighbors: float,
        generator: torch.Generator | None,
    ):
        super().__init__()
        ((_, channels), *_) = rep_out.blocks
        self.rep_in, self.rep_out = rep_in, rep_out
        self.rep_sum = Irreps.spherical(edge_degree, channels)
        self.conv = EdgeConv(rep_in, edge_degree, self.rep_sum)
        self.norm = 1 / avg_num_neighbors
        self.before = nn.ParameterList(normal(generator, c, c) for _, c in rep_in.blocks)
        self.sums = nn.ParameterList(normal(generator, c, channels) for _, c in self.conv.rep_out.blocks)
        self.contraction = SymmetricContraction(
            self.rep_sum, rep_out, correlation, n_species, symmetric=symmetric, generator=generator
        )
        self.after = nn.ParameterList(normal(generator, channels, channels) for _ in rep_out.blocks)
        inputs = dict(rep_in.blocks)
        self.self_connection = nn.ParameterDict(
            {
                str(k): normal(generator, n_species, inputs[irrep], channels)
                for k, (irrep, _) in enumerate(rep_out.blocks)
                if irrep in inputs
            }
        )

    def forward(
        self,
        h: Float[Tensor, "atoms dim_in"],
        species: Int[Tensor, " atoms"],
        Y: Float[Tensor, "edges harmonics"],
        weight: Float[Tensor, "edges paths channels"],
        source: Int[Tensor, " edges"],
        target: Int[Tensor, " edges"],
    ) -> Float[Tensor, "atoms dim_out"]:
        """The features of the next layer."""
        old = self.rep_in.split(h)
        x = self.rep_in.join([mixed(block, matrix) for block, matrix in zip(old, self.before)])
        summed = self.conv.rep_out.split(self.conv(x, Y, weight, source, target, h.shape[0]))
        A = self.rep_sum.join([mixed(block, matrix, self.norm) for block, matrix in zip(summed, self.sums)])
        new = [mixed(m, W) for m, W in zip(self.rep_out.split(self.contraction(A, species)), self.after)]
        inputs = {irrep: block for (irrep, _), block in zip(self.rep_in.blocks, old)}
        for k, matrix in self.self_connection.items():
            irrep, _ = self.rep_out.blocks[int(k)]
            new[int(k)] = new[int(k)] + mixed_by_species(inputs[irrep], matrix, species)
        return self.rep_out.join(new)
