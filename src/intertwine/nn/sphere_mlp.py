"""Perceptrons over channels at every point of a sphere: the node updates of EquiformerV2 and of Facet."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from ..maps.constants import Constants
from ..so3 import Irrep, Irreps, S2Grid
from .activation import second_moment_constant
from .grid_choice import chosen, exact, grid_error
from .law import Function, name_of
from .linear import Linear
from .signals import SphereSignal

MARGIN = 4.0  # between the weights a grid is sought for and weights drawn as a layer's are; measured


class GridMLP(nn.Module):
    """A feature read as functions on the sphere, and at every point the same perceptron, without bias, over channels.

    irreps: degrees 0..L with equal channels, as in `S2Activation`; no pseudoscalar functions. hidden: widths between
    `channels` and `channels`; `act` stands between the layers, and after the last with `act_out`, divided by the root
    of its second moment. heads: groups of channels, all treated by one perceptron of channels / heads inputs.
    grid: as in `S2Activation`; an error asked for is that of weights like the initial ones, of variance 1 / fan-in, but
    always the same, so that the grid does not depend on `generator`, and four times below what was asked, since other
    weights do worse; `equivariance_error()` says what it is now.
    Raises ValueError for other irreps, a width below 1, and channels that the heads do not divide.
    Source: arXiv:2306.12059, section 4.3 (hidden=(F, F)); arXiv:2509.08418 (hidden=(16,), heads=2, act_out=True).
    """

    def __init__(
        self,
        irreps: Irreps,
        hidden: Sequence[int],
        *,
        heads: int = 1,
        act: Function = silu,
        act_out: bool = False,
        grid: S2Grid | str = "exact:1e-4",
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.signal, self.channels = SphereSignal.of("GridMLP", irreps)
        if not irreps.blocks[0][0].is_trivial:
            raise ValueError(f"GridMLP: '{irreps}' changes sign under reflections, which no perceptron commutes with")
        self.rep_in = self.rep_out = irreps
        widths, options = [self.channels, *hidden, self.channels], {"heads": heads, "act": act, "act_out": act_out}
        self.perceptron = ChannelMLP(widths, **options, generator=generator)
        if not isinstance(grid, S2Grid):
            # By weights that are always the same: a layer built again and loaded must get the grid it was trained on.
            with torch.device("cpu"):
                like = ChannelMLP(widths, **options, generator=torch.Generator().manual_seed(0))
            grid = chosen("GridMLP", self.signal, like, grid, self.channels, MARGIN)
        self.grid = grid
        self.constants = Constants(self.signal.matrices(self.grid), any_dtype=True)

    def equivariance_error(self) -> float:
        """The largest change under rotations, relative to the largest value, as in `S2Activation`, in all channels."""
        return grid_error(self.signal, self.perceptron, self.grid, self.channels)

    def extra_repr(self) -> str:
        """Representation and grid."""
        return f"{self.rep_in}, {len(self.grid)} points"

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """To the grid, the perceptron, and back. Raises ValueError on a wrong trailing dimension."""
        self.rep_in.check(x)
        to, back = self.constants(x)
        return (back @ self.perceptron(to @ x.unflatten(-1, (-1, self.channels)))).flatten(-2)


class SphereMLP(nn.Module):
    """Linear to the sphere, a `GridMLP`, and linear back, with the untouched invariants beside it: Facet's node update.

    irreps: any terms of the kinds that functions on the sphere have: (-1)^l if there is an odd one, else all even, or
    none. On the sphere are as many channels as the largest term of degree above 0 has.
    hidden: the width inside the perceptron; `act` follows both of its layers. heads, grid, generator: as in `GridMLP`.
    Raises ValueError for irreps without degree above 0 or of other kinds, and as `GridMLP`.
    Source: arXiv:2509.08418.
    """

    def __init__(
        self,
        irreps: Irreps,
        grid: S2Grid | str = "exact:1e-4",
        *,
        hidden: int = 16,
        heads: int = 2,
        act: Function = silu,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        directed = [c for irrep, c in irreps.blocks if irrep.l > 0]
        if not directed:
            raise ValueError(f"SphereMLP: '{irreps}' has no degree above 0, and nothing to put on a sphere")
        parities = {irrep.p for irrep, _ in irreps.blocks}
        parity = None if parities == {None} else 1 if parities == {1} else -1
        sphere = Irreps.spherical(irreps.lmax, max(directed), parity)
        foreign = [str(irrep) for irrep, _ in irreps.blocks if not sphere.count(irrep)]
        if foreign:
            raise ValueError(f"SphereMLP: {', '.join(foreign)} of '{irreps}' is in no function on the sphere: {sphere}")
        self.rep_in = self.rep_out = irreps
        self.scalars = irreps.count(sphere.blocks[0][0])
        self.into = Linear(irreps, sphere, bias=False, generator=generator, allow_zero=True)
        self.mlp = GridMLP(sphere, (hidden,), heads=heads, act=act, act_out=True, grid=grid, generator=generator)
        beside = Irreps([(self.scalars, Irrep(0, None if parity is None else 1))])
        self.out_of = Linear(sphere + beside, irreps, generator=generator)

    def equivariance_error(self) -> float:
        """That of the grid; the linear layers are exact."""
        return self.mlp.equivariance_error()

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """The update of x. Raises ValueError on a wrong trailing dimension."""
        parts = self.rep_in.split(x)
        scalars = [part.flatten(-2) for (irrep, _), part in zip(self.rep_in.blocks, parts) if irrep.is_trivial]
        return self.out_of(torch.cat([self.mlp(self.into(x)), *scalars], -1))


class ChannelMLP(nn.Module):
    """Matrices over the last axis, the same for each of `heads` groups of channels, and a function between them.

    widths: of all heads together at both ends, inside of one head. No bias; `act`, also after the last matrix with
    `act_out`, is divided by the root of its second moment. Weights start at variance 1 / fan-in.
    Raises ValueError for widths below 1, or ends that the heads do not divide.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        heads: int = 1,
        act: Function = silu,
        act_out: bool = False,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        first, *hidden, last = widths
        if heads < 1 or first % heads or last % heads:
            raise ValueError(f"ChannelMLP: {heads} heads do not divide {first} channels in and {last} out")
        if min(widths) < 1:
            raise ValueError(f"ChannelMLP: widths must be at least 1, got {tuple(widths)}")
        sizes = [first // heads, *hidden, last // heads]
        self.heads, self.act, self.act_out = heads, act, act_out
        self.constant = second_moment_constant(exact(act))
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(a, b, generator=generator) / math.sqrt(a)) for a, b in pairwise(sizes)
        )

    def extra_repr(self) -> str:
        """Widths, heads and function."""
        widths = " -> ".join(str(len(w)) for w in self.weights) + f" -> {self.weights[-1].shape[1]}"
        return f"{widths}, {self.heads} heads, {name_of(self.act)}"

    def forward(self, values: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch channels"]:
        """The perceptron."""
        x = values.unflatten(-1, (self.heads, -1)) if self.heads > 1 else values
        for i, weight in enumerate(self.weights):
            x = x @ weight
            if self.act_out or i + 1 < len(self.weights):
                x = self.act(x) * self.constant
        return x.flatten(-2) if self.heads > 1 else x
