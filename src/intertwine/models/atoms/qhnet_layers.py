"""The layers of QHNet: messages to atoms, and products of two atoms, or of an atom with itself, that become blocks.

Every layer first normalises what it reads, which the paper does not: its messages are cubic in the features, so that
without it they overflow in a few layers on molecules of ten atoms.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...nn import Linear, NormGate, SeparableLayerNorm, second_moment_constant
from ...nn.scaled import mixed, normal
from ...so3 import EdgeConv, Irreps, TensorProduct


def shifted_softplus(x: Tensor) -> Tensor:
    """log(½ + ½ eˣ): smooth, and zero at zero."""
    return nn.functional.softplus(x) - math.log(2.0)


class Weights(nn.Module):
    """Numbers to the weights of a product, through one hidden layer of shifted softplus; without biases, so 0 at 0."""

    def __init__(self, n_in: int, n_out: int, hidden: int, generator: torch.Generator | None):
        super().__init__()
        self.first, self.last = normal(generator, n_in, hidden), normal(generator, hidden, n_out)
        self.gain = second_moment_constant(shifted_softplus)

    def forward(self, x: Float[Tensor, "*batch n_in"]) -> Float[Tensor, "*batch n_out"]:
        """The weights."""
        return mixed(shifted_softplus(mixed(x, self.first)), self.last, self.gain)


class PairWeights(nn.Module):
    """MLP₁(φ(r_ij)) ⊙ MLP₂(s_ij): s holds the scalars of both ends, and the scalar product of each other channel."""

    def __init__(self, rep: Irreps, n_radial: int, n_out: int, hidden: int, generator: torch.Generator | None):
        super().__init__()
        self.rep = rep
        self.mix = Linear(rep, rep, generator=generator)
        self.channels = [c for irrep, c in rep.blocks if not irrep.is_trivial]
        scalars = rep.dim - sum(c * irrep.dim for irrep, c in rep.blocks if not irrep.is_trivial)
        self.radial = Weights(n_radial, n_out, hidden, generator)
        self.inner = Weights(2 * scalars + sum(self.channels), n_out, hidden, generator)

    def forward(
        self, h: Float[Tensor, "atoms dim"], basis: Float[Tensor, "pairs radial"], pairs: Int[Tensor, "2 pairs"]
    ) -> Float[Tensor, "pairs weights"]:
        """Weights of each pair (source j, target i)."""
        x = self.mix(h)
        a, b = (self.rep.split(x.index_select(0, end)) for end in (pairs[1], pairs[0]))
        numbers = []
        for (irrep, _), at, other in zip(self.rep.blocks, a, b):
            both = (at, other) if irrep.is_trivial else ((at * other).mean(-2, keepdim=True),)
            numbers += [part.squeeze(-2) for part in both]
        return self.radial(basis) * self.inner(torch.cat(numbers, -1))


class NodeLayer(nn.Module):
    """h_i ← V h_i + W Σ_j w_ij ⊙ (g(h)_j ⊗ Y(r̂_ij)): a message of every atom within the cutoff."""

    def __init__(
        self,
        rep_in: Irreps,
        rep_out: Irreps,
        degree: int,
        n_radial: int,
        hidden: int,
        gated: bool,
        generator: torch.Generator | None,
    ):
        super().__init__()
        self.norm = SeparableLayerNorm(rep_in)
        self.conv = EdgeConv(rep_in, degree, rep_out)
        self.weights = PairWeights(rep_in, n_radial, math.prod(self.conv.weight_shape), hidden, generator)
        self.gate = NormGate(rep_in, generator=generator) if gated else nn.Identity()
        self.before = Linear(rep_in, rep_in, generator=generator)
        self.after = Linear(self.conv.rep_out, rep_out, generator=generator)
        self.keep = nn.Identity() if rep_in == rep_out else Linear(rep_in, rep_out, bias=False, generator=generator)

    def forward(
        self,
        h: Float[Tensor, "atoms dim_in"],
        Y: Float[Tensor, "pairs harmonics"],
        basis: Float[Tensor, "pairs radial"],
        pairs: Int[Tensor, "2 pairs"],
    ) -> Float[Tensor, "atoms dim_out"]:
        """New features of the atoms."""
        x = self.norm(h)
        weight = self.weights(x, basis, pairs).unflatten(-1, self.conv.weight_shape)
        return self.keep(h) + self.after(self.conv(self.before(self.gate(x)), Y, weight, *pairs, len(h)))


class SelfLayer(nn.Module):
    """f_ii from h_i: the product of two gated and mixed copies of it."""

    def __init__(self, rep: Irreps, rep_out: Irreps, generator: torch.Generator | None):
        super().__init__()
        self.norm = SeparableLayerNorm(rep)
        self.copies = nn.ModuleList(
            nn.Sequential(NormGate(rep, generator=generator), Linear(rep, rep, generator=generator)) for _ in range(2)
        )
        self.product = TensorProduct(rep, rep, rep_out, mode="uuu", weights="shared", generator=_seeded(generator))
        self.keep = Linear(rep, rep_out, bias=False, generator=generator)
        self.gate = NormGate(rep_out, generator=generator)
        self.after = Linear(rep_out, rep_out, generator=generator)

    def forward(self, h: Float[Tensor, "atoms dim"]) -> Float[Tensor, "atoms dim_out"]:
        """What is added to f_ii."""
        x = self.norm(h)
        return self.after(self.gate(self.keep(x) + self.product(*(copy(x) for copy in self.copies))))


class PairLayer(nn.Module):
    """f_ij from h_j ⊗ h_i, with weights of their distance and invariants."""

    def __init__(self, rep: Irreps, rep_out: Irreps, n_radial: int, hidden: int, generator: torch.Generator | None):
        super().__init__()
        self.norm = SeparableLayerNorm(rep)
        self.gate = NormGate(rep, generator=generator)
        self.before = Linear(rep, rep, generator=generator)
        self.product = TensorProduct(rep, rep, rep_out, mode="uuu")
        self.weights = PairWeights(rep, n_radial, self.product.weight_numel, hidden, generator)
        self.gate_out = NormGate(rep_out, generator=generator)
        self.after = Linear(rep_out, rep_out, generator=generator)

    def forward(
        self, h: Float[Tensor, "atoms dim"], basis: Float[Tensor, "pairs radial"], pairs: Int[Tensor, "2 pairs"]
    ) -> Float[Tensor, "pairs dim_out"]:
        """What is added to f_ij."""
        x = self.norm(h)
        y = self.before(self.gate(x))
        source, target = (y.index_select(0, end) for end in pairs)
        return self.after(self.gate_out(self.product(source, target, self.weights(x, basis, pairs))))


def _seeded(generator: torch.Generator | None) -> torch.Generator:
    """Shared weights of a product want a generator: the given one, or one that continues torch's own."""
    return torch.default_generator if generator is None else generator
