"""Stiffness of strut lattices (arXiv:2401.16914): MACE's layers on struts, a readout of any Cartesian tensor, and a
function that makes the energy of every strain positive."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intertwine.data.atoms.lattices import LatticeAction, Lattices
from intertwine.groups import E
from intertwine.maps.constants import Constants
from intertwine.nn.gate import Gate
from intertwine.nn.linear import Linear
from intertwine.nn.positive import PositiveMatrix
from intertwine.nn.radial import Gaussian
from intertwine.nn.radial_networks import RadialNetworks
from intertwine.nn.scaled import normal
from intertwine.nn.segment import segment_mean
from intertwine.reps import Tensors
from intertwine.so3 import CartesianTensor, Irrep, Irreps, Mandel, spherical_harmonics, to_mandel

from .mace import ManyBodyInteraction

STIFFNESS = "ijkl=jikl=klij"
BENT = nn.functional.silu


class LatticeTensorNet(nn.Module):
    """A tensor of each periodic lattice of struts, a mean over its joints; it turns with the lattice under E(3).

    tensor: the index symmetry of the output, as in `so3.CartesianTensor`: "ij=ji", "ijk=ikj" (piezoelectric), ..;
    degree: of the features of the first layers and the harmonics; channels: of every irrep; layers: interactions;
    correlation: see `SymmetricContraction`; readout: channels of the gated layer before the mean; n_basis: Gaussians of
    a strut's length on [0, length_max], and as many of its radius on [0, radius_max], lengths in the unit of the data;
    radial: hidden widths of the networks for the weights of messages; agg_norm: what sums over struts are divided by;
    generator: of the weights.
    Raises ValueError for sizes below 1, lengths or agg_norm <= 0, a formula that `CartesianTensor` refuses, and a
    tensor with an irrep that no power of the harmonics reaches.
    """

    def __init__(
        self,
        tensor: str,
        *,
        degree: int = 4,
        channels: int = 32,
        layers: int = 2,
        correlation: int = 3,
        readout: int = 16,
        n_basis: int = 6,
        length_max: float = 1.0,
        radius_max: float = 0.1,
        radial: Sequence[int] = (64, 64, 64),
        agg_norm: float = 4.0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if min(degree, channels, layers, correlation, readout, *radial) < 1 or not agg_norm > 0:
            raise ValueError(
                f"LatticeTensorNet: sizes must be at least 1 and agg_norm positive, got {degree=} {channels=} "
                f"{layers=} {correlation=} {readout=} {radial=} {agg_norm=}"
            )
        self.degree, self.target = degree, CartesianTensor(tensor)
        self.length, self.radius = Gaussian(length_max, n_basis), Gaussian(radius_max, n_basis)
        self.embedding = normal(generator, 1, channels)
        rep, self.blocks = Irreps([(channels, "0e")]), nn.ModuleList()
        wanted = sorted({Irrep(0, 1), *(irrep for irrep, _ in self.target.irreps.blocks)})
        for layer in range(layers):
            # The last layer makes what the tensor holds, and the invariants that gate it.
            last = Irreps([(channels, irrep) for irrep in wanted])
            out = Irreps.spherical(degree, channels) if layer < layers - 1 else last
            self.blocks.append(ManyBodyInteraction(rep, degree, out, 1, correlation, True, agg_norm, generator))
            rep = out
        shapes = [block.conv.weight_shape for block in self.blocks]
        self.radial = RadialNetworks([2 * n_basis, *radial], shapes, generator)
        gated = [(readout, irrep) for irrep in wanted if irrep.l > 0]
        self.gate = Gate(Irreps([(readout, "0e")]), BENT, Irreps(gated) if gated else Irreps([(0, "0e")]))
        self.before = Linear(rep, self.gate.rep_in, bias=False, generator=generator)
        self.after = Linear(self.gate.rep_out, self.target.irreps, generator=generator)
        self.basis = Constants([self.target.basis.reshape(self.target.irreps.dim, -1)], any_dtype=True)
        self.rep_in, self.rep_out = LatticeAction(E(3)), Tensors(E(3), self.target.rank)

    def forward(self, lattices: Lattices) -> Float[Tensor, "lattices *three"]:
        """The tensor [lattices, 3, .., 3] of each lattice."""
        vectors, (start, end) = lattices.vectors, lattices.bars
        # Both directions of every strut, from the neighbour to the joint that looks at it, sorted by the latter.
        source, target = torch.cat([end, start]), torch.cat([start, end])
        target, order = target.sort(stable=True)
        source, strut = source[order], order % max(len(start), 1)
        sign = torch.where(order < len(start), 1.0, -1.0).to(vectors)
        r = torch.linalg.vector_norm(vectors, dim=1)
        edge = torch.cat([self.length(r), self.radius(lattices.radius)], 1)
        weights = [weight[strut] for weight in self.radial(edge)]
        Y = spherical_harmonics(vectors[strut] * sign[:, None], self.degree)
        species = torch.zeros_like(lattices.batch)
        h = self.embedding.index_select(0, species)
        for block, weight in zip(self.blocks, weights):
            h = block(h, species, Y, weight, source, target)
        x = segment_mean(self.gate(self.before(h)), lattices.batch, len(lattices.cell))
        (basis,) = self.basis(x)
        return (self.after(x) @ basis).unflatten(1, [3] * self.target.rank)


class LatticeElasticityNet(nn.Module):
    """The elastic stiffness of each lattice as a Mandel matrix, symmetric and positive semi-definite by construction.

    positive: the function of `nn.PositiveMatrix` that makes it so, or None for the plain output, which may promise
    energy for nothing. Further arguments as in `LatticeTensorNet`. Train it on stiffness in a unit that makes numbers
    of order one. Raises as these do. Source: arXiv:2401.16914.
    """

    def __init__(self, *, positive: str | None = "square", generator: torch.Generator | None = None, **options):
        super().__init__()
        self.network = LatticeTensorNet(STIFFNESS, generator=generator, **options)
        self.positive = None if positive is None else PositiveMatrix(positive)
        self.rep_in, self.rep_out = self.network.rep_in, Mandel(E(3))

    def forward(self, lattices: Lattices) -> Float[Tensor, "lattices 6 6"]:
        """The stiffness of each lattice in Mandel's form; `so3.from_mandel` gives C_ijkl."""
        M = to_mandel(self.network(lattices))
        M = 0.5 * (M + M.mT)  # symmetric bit for bit
        return M if self.positive is None else self.positive(M)
