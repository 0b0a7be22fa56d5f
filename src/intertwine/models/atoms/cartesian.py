"""The control of every comparison: message passing that sees raw Cartesian components, so nothing makes it equivariant.

Same graph, cutoff, radial basis and readout as NequIP; translation and permutation invariant, but a rotated molecule is
a new one to it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from intertwine.nn.radial import Bessel, PolynomialEnvelope


class Cartesian(nn.Module):
    """h_i ← h_i + V SiLU(n̄^{-½} Σ_j u(r_ij) φ(h_i, h_j, b(r_ij), r̂_ij)), ε = readout(h).

    channels: width of h; hidden: width of the messages. Raises ValueError for sizes below 1.
    """

    symmetry = "none"

    def __init__(
        self,
        species: Sequence[str],
        *,
        cutoff: float = 5.0,
        layers: int = 3,
        channels: int = 32,
        hidden: int = 64,
        n_bessel: int = 8,
        p: int = 6,
        readout: int = 16,
        avg_num_neighbors: float = 1.0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if min(layers, channels, hidden, n_bessel, readout) < 1:
            raise ValueError(f"Cartesian: sizes must be at least 1, got {layers=} {channels=} {hidden=} {readout=}")
        self.cutoff = cutoff
        self.config: dict[str, Any] = {
            **{"layers": layers, "channels": channels, "hidden": hidden, "n_bessel": n_bessel, "p": p},
            **{"readout": readout, "avg_num_neighbors": avg_num_neighbors},
        }
        self.basis = Bessel(cutoff, n_bessel)
        self.envelope = PolynomialEnvelope(cutoff, p)
        self.avg_num_neighbors = avg_num_neighbors
        self.layers = nn.ModuleList()
        weight = _Init(generator)
        self.embedding = weight(len(species), channels, fan_in=1)
        for _ in range(layers):
            layer = nn.ParameterDict(
                {
                    "nodes": weight(channels, 2 * hidden, fan_in=2 * channels),
                    "edges": weight(n_bessel + 3, hidden, fan_in=n_bessel + 3),
                    "bias": nn.Parameter(torch.zeros(hidden)),
                    "mix": weight(hidden, hidden, fan_in=hidden),
                    "out": weight(hidden, channels, fan_in=hidden),
                }
            )
            self.layers.append(layer)
        self.readout = nn.ParameterList([weight(channels, readout, fan_in=channels), weight(readout, fan_in=readout)])

    def forward(
        self, species: Int[Tensor, " atoms"], vectors: Float[Tensor, "edges 3"], edge_index: Int[Tensor, "2 edges"]
    ) -> Float[Tensor, " atoms"]:
        source, target = edge_index
        r = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        envelope = self.envelope(r)
        edge = torch.cat([self.basis(r[:, 0]) * envelope, vectors / r], dim=1)
        h = self.embedding[species]
        for layer in self.layers:
            mine, theirs = (h @ layer["nodes"]).chunk(2, dim=1)
            message = mine[target] + theirs[source] + edge @ layer["edges"] + layer["bias"]
            message = nn.functional.silu(nn.functional.silu(message) @ layer["mix"]) * envelope
            summed = torch.zeros_like(mine).index_add(0, target, message) / self.avg_num_neighbors**0.5
            h = h + summed @ layer["out"]
        return nn.functional.silu(h @ self.readout[0]) @ self.readout[1]

    @classmethod
    def like(
        cls, network: nn.Module, species: Sequence[str], *, generator: torch.Generator | None = None
    ) -> "Cartesian":
        """The twin of a network: same depth, cutoff and radial basis, and as many parameters to within 2 %.

        Raises ValueError if no width comes that close (networks of a few hundred parameters).
        """
        shared = {k: network.config[k] for k in ("layers", "n_bessel", "p", "readout", "avg_num_neighbors")}
        target = sum(p.numel() for p in network.parameters())

        def excess(sizes: tuple[int, int]) -> int:
            channels, hidden = sizes
            per_layer = 3 * channels * hidden + (shared["n_bessel"] + 4) * hidden + hidden**2
            return abs(
                len(species) * channels + shared["layers"] * per_layer + (channels + 1) * shared["readout"] - target
            )

        # Messages about twice as wide as the features, as by default; both sizes vary, to meet the count.
        sizes = [(c, h) for h in range(1, 2048) for c in range(max(1, h // 2 - 2), h // 2 + 3)]
        channels, hidden = min(sizes, key=excess)
        if excess((channels, hidden)) > 0.02 * target:
            raise ValueError(f"Cartesian: no width has {target} parameters to within 2 %")
        return cls(species, cutoff=network.cutoff, channels=channels, hidden=hidden, generator=generator, **shared)


class _Init:
    """Normal weights of variance 1/fan_in from one generator."""

    def __init__(self, generator: torch.Generator | None):
        self.generator = generator

    def __call__(self, *shape: int, fan_in: int) -> nn.Parameter:
        return nn.Parameter(torch.randn(*shape, generator=self.generator) / fan_in**0.5)
