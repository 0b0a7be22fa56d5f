"""NequIP (arXiv:2101.03164), equivariant message passing: h ← gate(W₂ Σ_j R(r_ij) ⊙ (W₁h_j ⊗ Y(r̂_ij)) + W_z h_i)."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from intertwine.nn.gate import Gate
from intertwine.nn.radial import Bessel, PolynomialEnvelope
from intertwine.nn.radial_networks import RadialNetworks
from intertwine.nn.scaled import mixed, mixed_by_species, normal
from intertwine.so3 import EdgeConv, Irrep, Irreps, spherical_harmonics


class NequIP(nn.Module):
    """One number per atom from its surroundings within `cutoff` Å; a `Backbone` for `Potential`.

    layers: interaction blocks; degree: highest degree L of features and harmonics; channels: of every irrep;
    parity: "natural" keeps irreps of parity (-1)^l, "full" both parities (both E(3)), None drops parity (SE(3) only);
    n_bessel, p: radial basis and envelope; radial: hidden widths of the radial networks; avg_num_neighbors: n̄ of the
    training set, messages are summed with n̄^(-1/2); readout: hidden width of the last map; generator: of the weights.
    Raises ValueError for sizes below 1, a degree below 0 or an unknown parity.
    """

    def __init__(
        self,
        species: Sequence[str],
        *,
        cutoff: float = 5.0,
        layers: int = 3,
        degree: int = 1,
        channels: int = 16,
        parity: Literal["natural", "full"] | None = "natural",
        n_bessel: int = 8,
        p: int = 6,
        radial: Sequence[int] = (64, 64),
        readout: int = 16,
        avg_num_neighbors: float = 1.0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if min(layers, channels, n_bessel, readout, *radial) < 1 or degree < 0 or not species:
            raise ValueError(
                f"NequIP: sizes must be at least 1 and the degree at least 0, got {layers=} {degree=} {channels=} "
                f"{n_bessel=} {radial=} {readout=} and {len(species)} species"
            )
        if parity not in ("natural", "full", None):
            raise ValueError(f"NequIP: parity must be 'natural', 'full' or None, got {parity!r}")
        if not avg_num_neighbors > 0:
            raise ValueError(f"NequIP: avg_num_neighbors must be positive, got {avg_num_neighbors}")
        self.cutoff, self.degree = float(cutoff), degree
        self.symmetry = "SO(3)" if parity is None else "O(3)"
        self.config: dict[str, Any] = {
            **{"layers": layers, "degree": degree, "channels": channels, "parity": parity, "n_bessel": n_bessel},
            **{"p": p, "radial": list(radial), "readout": readout, "avg_num_neighbors": float(avg_num_neighbors)},
        }
        self.basis = Bessel(cutoff, n_bessel)
        self.envelope = PolynomialEnvelope(cutoff, p)
        self.embedding = normal(generator, len(species), channels)
        scalar = Irrep(0, None if parity is None else 1)
        rep = Irreps([(channels, scalar)])
        self.blocks = nn.ModuleList()
        for out in _wanted(layers, rep, _irreps(degree, channels, parity)):
            self.blocks.append(Interaction(rep, degree, out, len(species), avg_num_neighbors, generator))
            rep = self.blocks[-1].rep_out
        shapes = [block.conv.weight_shape for block in self.blocks]
        self.radial = RadialNetworks([n_bessel, *radial], shapes, generator)
        self.readout = nn.ParameterList([normal(generator, channels, readout), normal(generator, readout, 1)])

    def forward(
        self, species: Int[Tensor, " atoms"], vectors: Float[Tensor, "edges 3"], edge_index: Int[Tensor, "2 edges"]
    ) -> Float[Tensor, " atoms"]:
        """Unscaled atom energies; `vectors` point from each edge's target to its source, Å."""
        source, target = edge_index
        r = torch.linalg.vector_norm(vectors, dim=1)
        basis = self.basis(r) * self.envelope(r)[:, None]
        Y = spherical_harmonics(vectors, self.degree)
        weights = self.radial(basis)
        h = self.embedding.index_select(0, species)
        for block, weight in zip(self.blocks, weights):
            h = block(h, species, Y, weight, source, target)
        first, last = self.readout
        return mixed(mixed(h, first), last).squeeze(1)


class Interaction(nn.Module):
    """One NequIP layer: a feature of `rep_in` to `rep_out`, the irreps of `rep_wanted` that edges can reach."""

    def __init__(
        self,
        rep_in: Irreps,
        degree: int,
        rep_wanted: Irreps,
        n_species: int,
        avg_num_neighbors: float,
        generator: torch.Generator | None,
    ):
        super().__init__()
        self.rep_in = rep_in
        self.conv = EdgeConv(rep_in, degree, rep_wanted)
        arriving = dict(self.conv.rep_out.blocks)
        self.rep_out = Irreps([(c, irrep) for irrep, c in rep_wanted.blocks if irrep in arriving])
        scalars, gated = _part(self.rep_out, lambda l: l == 0), _part(self.rep_out, lambda l: l > 0)
        # An odd scalar needs an odd function, else it would not be one afterwards.
        acts = [torch.tanh if irrep.p == -1 else nn.functional.silu for irrep, _ in scalars.blocks]
        self.gate = Gate(scalars, acts, gated)
        self.norm = avg_num_neighbors**-0.5
        self.before = nn.ParameterList(normal(generator, c, c) for _, c in rep_in.blocks)
        self.after, self.self_connection = nn.ParameterList(), nn.ParameterDict()
        inputs = dict(rep_in.blocks)
        for k, (irrep, channels) in enumerate(self.rep_out.blocks):
            width = channels + (self.gate.gates if irrep.is_trivial else 0)
            self.after.append(normal(generator, arriving[irrep], width))
            if irrep in inputs:
                self.self_connection[str(k)] = normal(generator, n_species, inputs[irrep], width)

    def forward(
        self,
        h: Float[Tensor, "atoms dim_in"],
        species: Int[Tensor, " atoms"],
        Y: Float[Tensor, "edges harmonics"],
        weight: Float[Tensor, "edges paths channels"],
        source: Int[Tensor, " edges"],
        target: Int[Tensor, " edges"],
    ) -> Float[Tensor, "atoms dim_out"]:
        """W₂ Σ_j R ⊙ (W₁h_j ⊗ Y) + W_sc[z] h, gated."""
        old = self.rep_in.split(h)
        x = self.rep_in.join([mixed(block, matrix) for block, matrix in zip(old, self.before)])
        summed = self.conv(x, Y, weight, source, target, h.shape[0])
        inputs = {irrep: block for (irrep, _), block in zip(self.rep_in.blocks, old)}
        arrived = {irrep: block for (irrep, _), block in zip(self.conv.rep_out.blocks, self.conv.rep_out.split(summed))}
        new = []
        for k, (irrep, _) in enumerate(self.rep_out.blocks):
            z = mixed(arrived[irrep], self.after[k], self.norm)
            if str(k) in self.self_connection:
                z = z + mixed_by_species(inputs[irrep], self.self_connection[str(k)], species)
            new.append(z)
        # The gates were made with the even scalars, which come first; they belong behind all scalars.
        even, gates = new[0].split([self.rep_out.blocks[0][1], self.gate.gates], -1)
        odd = sum(irrep.l == 0 for irrep, _ in self.rep_out.blocks)
        return self.gate(torch.cat([block.flatten(1) for block in (even, *new[1:odd], gates, *new[odd:])], 1))


def _irreps(degree: int, channels: int, parity: str | None) -> Irreps:
    if parity is None:
        return Irreps([(channels, Irrep(l, None)) for l in range(degree + 1)])
    signs = (1, -1) if parity == "full" else (1,)
    return Irreps([(channels, Irrep(l, sign * (-1) ** l)) for l in range(degree + 1) for sign in signs])


def _wanted(layers: int, last: Irreps, hidden: Irreps) -> list[Irreps]:
    """The irreps to ask of each layer: those of `hidden` from which the layers behind it can still reach `last`."""
    harmonics = [irrep for irrep, _ in hidden.blocks if irrep.natural]
    wanted = [last]
    for _ in range(layers - 1):
        goal = {irrep for irrep, _ in wanted[0].blocks}
        useful = [
            (c, a) for c, a in ((c, a) for a, c in hidden.blocks) if any(b in goal for y in harmonics for b in a * y)
        ]
        wanted.insert(0, Irreps(useful))
    return wanted


def _part(irreps: Irreps, keep: Callable[[int], bool]) -> Irreps:
    """The terms of some degrees; the group stays, even where none is left."""
    return irreps._with(irreps.group, [term for term, (irrep, _) in zip(irreps.terms, irreps.blocks) if keep(irrep.l)])
