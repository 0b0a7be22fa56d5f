"""The layers of EquiformerV2: attention whose messages are SO(2) convolutions, and perceptrons on the sphere."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import dropout, silu

from intertwine.nn.frame_activation import FrameS2Activation, frame_gate
from intertwine.nn.gate import Gate
from intertwine.nn.grid_activation import SeparableS2Activation
from intertwine.nn.linear import Linear
from intertwine.nn.norm import DegreeRMSNorm, SeparableLayerNorm
from intertwine.nn.segment import segment_softmax, segment_sum
from intertwine.nn.sphere_mlp import GridMLP
from intertwine.so3 import EdgeFrame, Irreps, S2Grid, SO2Convolution
from intertwine.so3.edge_frame import Orders

NORMS = ("layer_norm_sh", "rms_norm_sh", "layer_norm")
ATTENTION_ACTIVATIONS = ("s2_sep", "s2", "gate")
FEED_FORWARDS = ("grid_mlp", "s2_sep", "gate")


@dataclass(frozen=True)
class Sizes:
    """The options of `EquiformerV2` that its layers share."""

    species: int
    degree: int
    order: int
    channels: int
    attn_hidden: int
    heads: int
    alpha_channels: int
    value_channels: int
    ffn_hidden: int
    n_gaussian: int
    edge_channels: int
    norm: Literal["layer_norm_sh", "rms_norm_sh", "layer_norm"]
    attn_activation: Literal["s2_sep", "s2", "gate"]
    ffn: Literal["grid_mlp", "s2_sep", "gate"]
    edge_grid: S2Grid | str
    node_grid: S2Grid | str
    attn_renorm: bool
    alpha_drop: float
    path_drop: float

    def rep(self, channels: int) -> Irreps:
        """Degrees 0..L with so many channels, without parity."""
        return Irreps.spherical(self.degree, channels, None)


class Edges(NamedTuple):
    """What all layers share about the edges: ends, frames, Gaussians of the lengths, species of the ends, and factors
    that go to zero where an edge ends (None: all one)."""

    source: Int[Tensor, " edges"]
    target: Int[Tensor, " edges"]
    frame: EdgeFrame
    gaussians: Float[Tensor, "edges n_gaussian"]
    source_species: Int[Tensor, " edges"]
    target_species: Int[Tensor, " edges"]
    weight: Float[Tensor, " edges"] | None


class RadialNet(nn.Module):
    """Gaussians of the length and embeddings of both species through Linear, and twice LayerNorm, SiLU, Linear.

    The first matrix acts on the embeddings of the few species before they are given to the edges.
    """

    def __init__(self, sizes: Sizes, out: int, generator: torch.Generator | None):
        super().__init__()
        c = sizes.edge_channels
        self.parts = [sizes.n_gaussian, c, c]
        self.source, self.target = (_uniform(1e-3, generator, sizes.species, c) for _ in range(2))
        shapes = [(sum(self.parts), c), (c, c), (c, out)]
        self.weights = nn.ParameterList(_uniform(n**-0.5, generator, n, m) for n, m in shapes)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(m)) for _, m in shapes)
        self.norms = nn.ModuleList(nn.LayerNorm(c) for _ in range(2))

    def forward(self, edges: Edges) -> Float[Tensor, "edges out"]:
        """Numbers for each edge."""
        length, source, target = self.weights[0].split(self.parts)
        h = edges.gaussians @ length
        h = h + torch.addmm(self.biases[0], self.source, source).index_select(0, edges.source_species)
        h = h + (self.target @ target).index_select(0, edges.target_species)
        for norm, weight, bias in zip(self.norms, self.weights[1:], self.biases[1:]):
            h = torch.addmm(bias, silu(norm(h)), weight)
        return h


class EdgeDegreeEmbedding(nn.Module):
    """What an atom knows of its surroundings at the start: Σ_j D (r_0(e_ij), .., r_L(e_ij)) / n̄, a number for each
    degree and channel, which in the frame of the edge are of order 0."""

    def __init__(self, sizes: Sizes, avg_num_neighbors: float, generator: torch.Generator | None):
        super().__init__()
        self.degrees, self.average = sizes.degree + 1, avg_num_neighbors
        self.radial = RadialNet(sizes, self.degrees * sizes.channels, generator)

    def forward(self, edges: Edges, n: int) -> Float[Tensor, "n components channels"]:
        """Features of the atoms."""
        rows = self.radial(edges).unflatten(1, (self.degrees, -1))
        if edges.weight is not None:
            rows = rows * edges.weight[:, None, None]
        message = edges.frame.truncated(self.degrees - 1, 0).out_of((rows,))
        return segment_sum(message, edges.target, n) / self.average


class SO2Attention(nn.Module):
    """Σ_j a_ij D conv₂(act(conv₁(s_ij ∘ Dᵀ[x_j ‖ x_i]))), then linear; a_ij = softmax_j of numbers that conv₁ gives.

    a_ij of each head: α·SmoothLeakyReLU(LayerNorm(conv₁'s extra scalars)); LayerNorm is the attention
    re-normalisation. Where edges have factors u_ij, these stand before exp in the softmax, and once more before a_ij,
    so that the last neighbour of an atom fades too. Source: arXiv:2306.12059, sections 3.2 and 4.
    """

    def __init__(
        self, sizes: Sizes, out_channels: int, generator: torch.Generator | None, *, drop: float | None = None
    ):
        super().__init__()
        s = sizes
        self.heads, self.alphas, self.drop = s.heads, s.alpha_channels, s.alpha_drop if drop is None else drop
        self.activation = s.attn_activation
        gates = {"s2_sep": s.attn_hidden, "s2": 0, "gate": s.degree * s.attn_hidden}[s.attn_activation]
        self.extra = [s.heads * s.alpha_channels, gates]
        options = {"mmax": s.order, "bias": True, "generator": generator}
        self.first = SO2Convolution(
            s.degree, s.degree, 2 * s.channels, s.attn_hidden, extra_scalars=sum(self.extra), **options
        )
        self.radial = RadialNet(s, self.first.scale_numel, generator)
        gate = s.attn_activation == "gate"
        self.act = None if gate else FrameS2Activation(s.degree, silu, s.edge_grid, mmax=s.order)
        self.second = SO2Convolution(s.degree, s.degree, s.attn_hidden, s.heads * s.value_channels, **options)
        self.norm = nn.LayerNorm(s.alpha_channels) if s.attn_renorm else nn.Identity()
        self.alpha = _uniform(s.alpha_channels**-0.5, generator, s.heads, s.alpha_channels)
        self.out = Linear(s.rep(s.heads * s.value_channels), s.rep(out_channels), generator=generator)

    def forward(
        self, x: Float[Tensor, "n components channels"], edges: Edges
    ) -> Float[Tensor, "n components out_channels"]:
        """Messages to the atoms."""
        ends = torch.cat([x.index_select(0, edges.source), x.index_select(0, edges.target)], 2)
        y, extra = self.first(edges.frame.into(ends), self.radial(edges))
        alpha, gates = extra.split(self.extra, 1)
        if self.activation == "gate":
            y = frame_gate(y, gates)
        else:
            y = self.act(y, gates) if self.activation == "s2_sep" else self.act(y)
        message = edges.frame.out_of(_by_head(self.second(y), self._attention(alpha, edges, x.shape[0])))
        return self.out(segment_sum(message, edges.target, x.shape[0]).flatten(1)).unflatten(1, (x.shape[1], -1))

    def _attention(self, alpha: Tensor, edges: Edges, n: int) -> Float[Tensor, "edges heads"]:
        logits = (_smooth_leaky_relu(self.norm(alpha.unflatten(1, (self.heads, self.alphas)))) * self.alpha).sum(2)
        if edges.weight is None:
            shares = segment_softmax(logits, edges.target, n)
        else:
            fading = edges.weight[:, None]
            shares = segment_softmax(logits, edges.target, n, fading) * fading
        return dropout(shares, self.drop, self.training)


class FeedForwardS2(nn.Module):
    """Linear C → F, a nonlinearity, linear F → C', on the features of each atom.

    kind "grid_mlp": a `GridMLP` with hidden widths (F, F), degree 0 from SiLU(Linear(degree 0 of x)); "s2_sep":
    `SeparableS2Activation`; "gate": `Gate`; their scalars are Linear(degree 0 of x). Source: arXiv:2306.12059, 4.3.
    """

    def __init__(self, sizes: Sizes, out_channels: int, generator: torch.Generator | None):
        super().__init__()
        s, f = sizes, sizes.ffn_hidden
        inner, self.kind, self.channels, self.hidden = s.rep(f), s.ffn, s.channels, f
        self.into = Linear(s.rep(s.channels), inner, generator=generator)
        scalars = f * (s.degree if s.ffn == "gate" else 1)
        self.scalars = Linear(Irreps(f"{s.channels}x0"), Irreps(f"{scalars}x0"), generator=generator)
        if s.ffn == "grid_mlp":
            self.act = GridMLP(inner, (f, f), grid=s.node_grid, generator=generator)
        elif s.ffn == "s2_sep":
            self.act = SeparableS2Activation(inner, silu, s.node_grid)
        else:
            rest = Irreps([(f, irrep) for irrep, _ in inner.blocks[1:]])
            self.act = Gate(Irreps(f"{f}x0"), silu, rest, normalize=False)
        self.out = Linear(inner, s.rep(out_channels), generator=generator)

    def forward(self, x: Float[Tensor, "n components channels"]) -> Float[Tensor, "n components out_channels"]:
        """The perceptron."""
        h, scalars = self.into(x.flatten(1)), self.scalars(x[:, 0])
        if self.kind == "grid_mlp":
            h = torch.cat([silu(scalars), self.act(h)[:, self.hidden :]], 1)
        elif self.kind == "s2_sep":
            h = self.act(torch.cat([scalars, h], 1))
        else:
            h = self.act(torch.cat([h[:, : self.hidden], scalars, h[:, self.hidden :]], 1))
        return self.out(h).unflatten(1, (x.shape[1], -1))


class Block(nn.Module):
    """x ← x + attention(norm(x)), then x ← x + feed-forward(norm(x)); in training a branch is left out for a whole
    graph with probability `path_drop` (atoms without neighbours always keep it, so that their energy is fixed)."""

    def __init__(self, sizes: Sizes, generator: torch.Generator | None):
        super().__init__()
        self.norms = nn.ModuleList(normalization(sizes) for _ in range(2))
        self.attention = SO2Attention(sizes, sizes.channels, generator)
        self.feed_forward = FeedForwardS2(sizes, sizes.channels, generator)
        self.path_drop = sizes.path_drop

    def forward(
        self, x: Float[Tensor, "n components channels"], edges: Edges, graph: Int[Tensor, " n"] | None
    ) -> Float[Tensor, "n components channels"]:
        """Features of the atoms."""
        x = x + self._kept(self.attention(normalized(self.norms[0], x), edges), edges, graph)
        return x + self._kept(self.feed_forward(normalized(self.norms[1], x)), edges, graph)

    def _kept(self, branch: Tensor, edges: Edges, graph: Tensor | None) -> Tensor:
        if not self.training or self.path_drop == 0:
            return branch
        n = branch.shape[0]
        factor = dropout(branch.new_ones(n), self.path_drop, True)  # there are no more graphs than atoms
        factor = factor[:1].expand(n) if graph is None else factor.index_select(0, graph)
        near = segment_sum(torch.ones_like(edges.target), edges.target, n) > 0
        return branch * torch.where(near, factor, 1.0)[:, None, None]


def normalization(sizes: Sizes) -> nn.Module:
    """One of `NORMS`."""
    rep = sizes.rep(sizes.channels)
    if sizes.norm == "layer_norm":
        return DegreeRMSNorm(rep, center=True)
    return SeparableLayerNorm(rep, separate=sizes.norm == "layer_norm_sh")


def normalized(norm: nn.Module, x: Float[Tensor, "n components channels"]) -> Float[Tensor, "n components channels"]:
    """A norm of flat features on features [n, components, channels]."""
    return norm(x.flatten(1)).view_as(x)


def _uniform(bound: float, generator: torch.Generator | None, *shape: int) -> nn.Parameter:
    return nn.Parameter((2 * torch.rand(*shape, generator=generator) - 1) * bound)


def _smooth_leaky_relu(x: Tensor) -> Tensor:
    """0.6 x + 0.4 x (2 sigmoid(x) - 1)."""
    return 0.2 * x + 0.8 * silu(x)


def _by_head(y: Orders, shares: Float[Tensor, "edges heads"]) -> Orders:
    """The channels of each head times its share."""
    channels = y[0].shape[-1]
    factor = shares[:, :, None].expand(-1, -1, channels // shares.shape[1]).flatten(1)
    return tuple(part * factor.view(part.shape[0], *[1] * (part.ndim - 2), channels) for part in y)
