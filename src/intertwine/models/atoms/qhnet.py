"""QHNet (arXiv:2306.04922): Hamiltonian matrices of molecules, block by block, from features of atoms and pairs."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...data.atoms.action import AtomsAction
from ...data.atoms.basis import Basis
from ...data.atoms.blocks import BlockLayout, Blocks, BlocksAction
from ...data.atoms.orbital_matrices import invariant_part
from ...groups import SE, E
from ...maps.constants import Constants
from ...nn import ExpBernstein, ExpEnvelope, Linear, full_graph
from ...nn.perceptron import perceptron
from ...so3 import Expansion, Irrep, Irreps, spherical_harmonics
from .qhnet_layers import NodeLayer, PairLayer, SelfLayer

BOHR = 0.529177210903  # Å
WEIGHT_WIDTH = 32  # of the networks that give the weights of products


class QHNet(nn.Module):
    """Fock or Hamiltonian matrices (Hartree) from elements and positions (Å), exactly symmetric and equivariant.

    basis: the shells of every element it may meet. degree: of features and harmonics; hidden: channels of each irrep;
    bottleneck: channels that are expanded to blocks; layers of messages, of which those after the first `start_layer`
    also add to the features of blocks; cutoff: reach of messages and blocks (Å; 15 Bohr), where both end smoothly;
    n_radial: functions of the distance; parity: "so3" as published, or "o3", which also respects reflections; shift:
    for each element a constant block [orbitals, orbitals] of the diagonal, as `mean_blocks` gives it (Hartree).
    Molecules only: periodic structures raise, and so does an element that the basis lacks.
    Raises ValueError for sizes that do not fit, or a degree below that of the product of two shells.
    """

    def __init__(
        self,
        basis: Basis,
        *,
        degree: int = 4,
        hidden: int = 128,
        bottleneck: int = 32,
        layers: int = 5,
        start_layer: int = 2,
        cutoff: float = 15 * BOHR,
        n_radial: int = 32,
        parity: Literal["so3", "o3"] = "so3",
        shift: Mapping[int, Sequence[Sequence[float]]] | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if min(hidden, bottleneck, layers, n_radial) < 1 or not 0 <= start_layer < layers - 1:
            raise ValueError(
                f"QHNet: sizes must be at least 1 and start_layer below layers - 1, got {hidden=} {bottleneck=} "
                f"{layers=} {n_radial=} {start_layer=}"
            )
        if parity not in ("so3", "o3"):
            raise ValueError(f"QHNet: parity must be 'so3' or 'o3', got {parity!r}")
        wide = basis.widest if parity == "o3" else Irreps([(c, Irrep(a.l, None)) for a, c in basis.widest.blocks])
        if degree < 2 * wide.lmax:
            raise ValueError(
                f"QHNet: shells up to degree {wide.lmax} couple to degree {2 * wide.lmax}, but degree is {degree}"
            )
        self.basis, self.layout, self.degree, self.cutoff = basis, BlockLayout(basis), degree, float(cutoff)
        self.parity, self.start_layer = parity, start_layer
        sizes = {"degree": degree, "hidden": hidden, "bottleneck": bottleneck, "layers": layers}
        self.config: dict[str, Any] = {
            **{"basis": {str(z): list(ls) for z, ls in basis.shells.items()}, **sizes, "start_layer": start_layer},
            **{"cutoff": self.cutoff, "n_radial": n_radial, "parity": parity},
            "shift": None if shift is None else {str(z): np.asarray(b).tolist() for z, b in shift.items()},
        }
        self._shift = Constants([_wide_shift(self.layout, shift)], any_dtype=True)
        # Published: exponentials e^(-kr), r in Bohr.
        self.radial, self.envelope = ExpBernstein(n_radial, gamma=1 / BOHR), ExpEnvelope(cutoff)
        self.embedding = nn.Parameter(torch.randn(len(basis.elements), hidden, generator=generator))
        rep = Irreps.spherical(degree, hidden, -1 if parity == "o3" else None)
        coupled = sorted({irrep for a, _ in wide.blocks for b, _ in wide.blocks for irrep in a * b})
        pair = Irreps([(hidden, irrep) for irrep in coupled]) if parity == "o3" else rep
        narrow = Irreps([(bottleneck, irrep) for irrep in coupled])
        self.nodes, self.selves, self.pairs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        first = Irreps([rep.blocks[0][::-1]])
        for k in range(layers):
            before = rep if k else first
            self.nodes.append(NodeLayer(before, rep, degree, n_radial, WEIGHT_WIDTH, k > 0, generator))
            if k > start_layer:
                self.selves.append(SelfLayer(rep, pair, generator))
                self.pairs.append(PairLayer(rep, pair, n_radial, WEIGHT_WIDTH, generator))
        self.heads = nn.ModuleList(Head(pair, narrow, wide, ends, hidden, generator) for ends in (1, 2))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "QHNet":
        """An untrained network with these options, as `config` gives them."""
        options = dict(config)
        basis = Basis({int(z): ls for z, ls in options.pop("basis").items()})
        shift = options.pop("shift")
        return cls(basis, shift=None if shift is None else {int(z): b for z, b in shift.items()}, **options)

    @property
    def rep_in(self) -> AtomsAction:
        """How rigid motions move a molecule."""
        return AtomsAction(SE(3) if self.parity == "so3" else E(3))

    @property
    def rep_out(self) -> BlocksAction:
        """How rigid motions move blocks."""
        return BlocksAction(self.basis, self.rep_in.group)

    def matrices(self, batch: Any) -> list[Float[Tensor, "nao nao"]]:
        """The Hamiltonian of each molecule, orbitals in the order of its atoms and of the basis (Hartree)."""
        return self.layout.pack(self(batch), batch.z, getattr(batch, "batch", None))

    def forward(self, batch: Any) -> Blocks:
        """Blocks of an `AtomicGraph` or `AtomicBatch`, whose edges, if any, are not used (Hartree).

        Raises ValueError for an element that the basis lacks, and for a periodic structure.
        """
        self.basis.check(batch.z.unique().tolist())
        if bool(batch.pbc.any()):
            raise ValueError("QHNet: the structure is periodic; only molecules have one Hamiltonian matrix")
        elements = torch.tensor(self.basis.elements, device=batch.z.device)
        pairs = full_graph(len(batch.z), getattr(batch, "batch", None), device=batch.z.device)
        return self.evaluate(torch.searchsorted(elements, batch.z), batch.pos, pairs)

    def evaluate(
        self, species: Int[Tensor, " atoms"], pos: Float[Tensor, "atoms 3"], pairs: Int[Tensor, "2 pairs"]
    ) -> Blocks:
        """`forward` on plain tensors: places of elements in `basis.elements`, all ordered pairs (source, target)."""
        source, target = pairs
        vectors = (pos[source] - pos[target]).to(self.embedding.dtype)
        r = torch.linalg.vector_norm(vectors, dim=1)
        u = self.envelope(r)
        basis = self.radial(r) * (u * self.radial.count**0.5)[:, None]
        Y = spherical_harmonics(vectors, self.degree)
        h = self.embedding.index_select(0, species)
        diagonal = pair = 0.0
        for k, layer in enumerate(self.nodes):
            h = layer(h, Y, basis, pairs)
            if k > self.start_layer:
                at = k - self.start_layer - 1
                diagonal = diagonal + self.selves[at](h)
                pair = pair + self.pairs[at](h, basis, pairs)
        one, two = self.heads
        (shift,) = self._shift(h)
        diagonal = one(diagonal, self.embedding, species) + shift.index_select(0, species)
        pair = two(pair, self.embedding, species[target], species[source]) * u[:, None, None]
        # Rows are atoms i, columns atoms j: the partner of (i, j) is (j, i), transposed.
        key = target * len(pos) + source
        partner = torch.searchsorted(key, source * len(pos) + target)
        return Blocks((diagonal + diagonal.mT) / 2, (pair + pair.index_select(0, partner).mT) / 2)


class Head(nn.Module):
    """Features of an atom or a pair to its block, by weights and biases that the elements of its ends decide."""

    def __init__(
        self, rep: Irreps, narrow: Irreps, wide: Irreps, ends: int, hidden: int, generator: torch.Generator | None
    ):
        super().__init__()
        self.mix = Linear(rep, narrow, generator=generator)
        self.expansion = Expansion(narrow, wide, wide)
        sizes = [self.expansion.weight_numel, self.expansion.bias_numel]
        self.numbers = nn.ModuleList(perceptron([ends * hidden, hidden, size], generator=generator) for size in sizes)

    def forward(
        self,
        x: Float[Tensor, "rows dim"],
        embedding: Float[Tensor, "species hidden"],
        *ends: Int[Tensor, " rows"],
    ) -> Float[Tensor, "rows wide wide"]:
        """The blocks. One set of weights for each element, or ordered pair of elements, is made and then looked up."""
        n = len(embedding)
        table = embedding
        if len(ends) == 2:
            table = torch.cat([embedding.repeat_interleave(n, 0), embedding.repeat(n, 1)], 1)
        which = ends[0] if len(ends) == 1 else ends[0] * n + ends[1]
        return self.expansion(self.mix(x), *(net(table).index_select(0, which) for net in self.numbers))


def _wide_shift(layout: BlockLayout, shift: Mapping[int, Sequence[Sequence[float]]] | None) -> np.ndarray:
    """One block for each element of the basis, in the shape of the widest."""
    basis = layout.basis
    table = np.zeros((len(basis.elements), layout.width, layout.width))
    for z, block in (shift or {}).items():
        basis.check([z])
        where, block = basis.positions(z), np.asarray(block, dtype=np.float64)
        if block.shape != (len(where), len(where)):
            raise ValueError(f"QHNet: shift of element {z} has shape {block.shape}, it has {len(where)} orbitals")
        invariant = invariant_part(block, basis.shells[z])
        if np.abs(block - invariant).max() > 1e-9 or np.abs(block - block.T).max() > 1e-9:
            raise ValueError(f"QHNet: shift of element {z} is not symmetric and invariant; take mean_blocks(...)")
        table[basis.elements.index(z)][np.ix_(where, where)] = block
    return table
