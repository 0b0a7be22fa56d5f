"""The layers of the SE(3)-Transformer: attention whose keys and values are tensor field messages."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...nn.activation import NormActivation
from ...nn.linear import Linear
from ...nn.perceptron import affine
from ...nn.segment import segment_mean, segment_softmax, segment_sum
from ...nn.tensor_field import Degrees, TensorFieldKernel
from ...so3 import EdgeFrame, Irreps
from ...so3.edge_frame import Orders
from ...so3.irreps import Irrep

SKIPS, INTERACTIONS, POSITIONS = ("cat", "sum"), ("1x1", "attentive"), (None, "add", "cat")


class Edges(NamedTuple):
    """What all layers share about the edges: nodes, frames, |x| with the edge scalars, which edges have a direction.

    `apart` is None where all do.
    """

    source: Int[Tensor, " edges"]
    target: Int[Tensor, " edges"]
    frame: EdgeFrame
    scalars: Float[Tensor, "edges 1+edge_scalars"]
    apart: Tensor | None


class SE3Attention(nn.Module):
    """f_i ← P(skip(Σ_j a_ij v_ij, f_i)), a_ij = softmax_j <k_ij, W f_i> / √dim(k); k and v are tensor field messages.

    `rep_in`, `rep_out`: one term for each degree, no parity. Values have the degrees of `rep_out`, keys those that
    `rep_in` has too, with 1/div of the channels of `rep_out`, split into `heads`. rel_pos: "add" adds x_j - x_i to the
    first channel of degree 1 of the source, where there are several; "cat" makes it a channel of its own. skip: "cat"
    puts f_i beside the sum before P, "sum" adds W f_i. self_interaction: P is one linear map ("1x1"), or one whose
    weights are a softmax over the input channels of a network of their Gram matrix ("attentive").
    Raises ValueError where channels cannot be divided. Source: arXiv:2006.10503, eq. 10 to 12; arXiv:2102.13419.
    """

    def __init__(
        self,
        rep_in: Irreps | str,
        rep_out: Irreps | str,
        edge_scalars: int = 0,
        *,
        heads: int = 1,
        div: int = 4,
        rel_pos: str | None = None,
        skip: str = "cat",
        self_interaction: str = "1x1",
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        for name, value, known in (
            ("rel_pos", rel_pos, POSITIONS),
            ("skip", skip, SKIPS),
            ("self_interaction", self_interaction, INTERACTIONS),
        ):
            if value not in known:
                raise ValueError(f"SE3Attention: {name} must be one of {known}, got {value!r}")
        source, target = Degrees(rep_in, "SE3Attention"), Degrees(rep_out, "SE3Attention")
        self.rep_in, self.rep_out, self.heads, self.rel_pos, self.skip = source.rep, target.rep, heads, rel_pos, skip
        narrow = {l: c // div for l, c in target.channels.items()}
        if heads < 1 or div < 1 or any(c < 1 or c % heads for c in narrow.values()):
            raise ValueError(
                f"SE3Attention: {target.rep} divided by div={div} leaves {sorted(set(narrow.values()))} channels, "
                f"which must be positive and divisible by heads={heads}"
            )
        shared = {l: c for l, c in narrow.items() if l in source.channels}
        if not shared:
            raise ValueError(f"SE3Attention: {source.rep} and {target.rep} share no degree, so there are no keys")
        value_rep, key_rep = irreps(narrow), irreps(shared)
        moving = dict(source.channels)
        if rel_pos == "cat":
            moving[1] = moving.get(1, 0) + 1
        elif rel_pos == "add" and moving.get(1, 0) < 2:
            self.rel_pos = None
        self.source, self.moving = source, Degrees(irreps(moving), "SE3Attention")
        self.values_of, self.keys_of = Degrees(value_rep, "SE3Attention"), Degrees(key_rep, "SE3Attention")
        self.values = TensorFieldKernel(self.moving.rep, value_rep, edge_scalars, generator=generator)
        self.keys = TensorFieldKernel(self.moving.rep, key_rep, edge_scalars, generator=generator)
        self.query = Linear(source.rep, key_rep, bias=False, generator=generator)
        joined = self.values_of.rep + source.rep if skip == "cat" else self.values_of.rep
        self.joined = _by_degree(joined)
        interaction = AttentiveMix if self_interaction == "attentive" else _linear
        self.mix = interaction(self.joined, target.rep, generator)
        self.own = Linear(source.rep, target.rep, bias=False, generator=generator) if skip == "sum" else None

    def forward(self, f: Float[Tensor, "nodes dim_in"], edges: Edges) -> Float[Tensor, "nodes dim_out"]:
        """Features after attention over the incoming edges of each node."""
        y = self._moving(f, edges)
        a = self._weights(y, f, edges)
        v = self.values(y, self.values.weights(edges.scalars, edges.apart))
        v = edges.frame.truncated(self.values_of.lmax, self.values_of.lmax).out_of(v)
        summed = self.values_of.flat(segment_sum(self._weighted(v, a), edges.target, len(f)))
        if self.own is not None:
            return self.mix(summed) + self.own(f)
        return self.mix(_side_by_side(summed, self.values_of.rep, f, self.rep_in, self.joined))

    def attention(self, f: Float[Tensor, "nodes dim_in"], edges: Edges) -> Float[Tensor, "edges heads"]:
        """The weights a_ij of each edge; they sum to 1 over the edges that a node receives."""
        return self._weights(self._moving(f, edges), f, edges)

    def _weights(self, y: Orders, f: Tensor, edges: Edges) -> Tensor:
        q = self.keys_of.rows(self.query(f)).index_select(0, edges.target)
        q = edges.frame.truncated(self.keys_of.lmax, self.keys_of.lmax).into(q)
        k = self.keys(y, self.keys.weights(edges.scalars, edges.apart))
        return segment_softmax(self._logits(k, q), edges.target, len(f))

    def _moving(self, f: Tensor, edges: Edges) -> Orders:
        """Features of the sources in the frames, with the relative position, which lies along the edge."""
        frame = edges.frame.truncated(self.moving.lmax, self.moving.lmax)
        y = frame.into(self._rows(f).index_select(0, edges.source))
        if self.rel_pos is None:
            return y
        at = torch.zeros(y[0].shape[1:], dtype=y[0].dtype, device=y[0].device)
        at[1, self.moving.channels[1] - 1 if self.rel_pos == "cat" else 0] = 1
        return (y[0] + edges.scalars[:, :1, None] * at, *y[1:])

    def _rows(self, f: Tensor) -> Tensor:
        """Features of the nodes, with an empty channel where the relative position will stand."""
        if self.rel_pos != "cat":
            return self.moving.rows(f)
        blocks = dict(zip(self.source.order, self.rep_in.split(f)))
        position = f.new_zeros(len(f), 3, 1)
        blocks[1] = torch.cat([blocks[1], position], -1) if 1 in blocks else position
        return self.moving.rows(self.moving.rep.join([blocks[l] for l in self.moving.order]))

    def _logits(self, k: Orders, q: Orders) -> Tensor:
        """Inner products in the frame: [edges, heads]."""
        logits = 0
        for m in range(self.keys_of.lmax + 1):
            rows = (self.keys_of.lmax + 1 - m) * (2 if m else 1)
            product = (k[m] * q[m]).reshape(len(k[m]), rows, self.keys_of.widest)
            if self.heads == 1:
                logits = logits + product.sum((1, 2))[:, None]
                continue
            degrees = torch.arange(m, self.keys_of.lmax + 1).repeat(1 if m == 0 else 2).tolist()
            for row, l in enumerate(degrees):
                if l in self.keys_of.channels:
                    of_l = product[:, row, : self.keys_of.channels[l]]
                    logits = logits + of_l.unflatten(1, (self.heads, -1)).sum(2)
        return logits / self.keys_of.rep.dim**0.5

    def _weighted(self, v: Tensor, a: Tensor) -> Tensor:
        if self.heads == 1:
            return v * a[:, :, None]
        parts = []
        for l in range(self.values_of.lmax + 1):
            c = self.values_of.channels.get(l, self.heads)
            weight = a.repeat_interleave(c // self.heads, 1)
            parts.append(v[:, l * l : (l + 1) ** 2] * nn.functional.pad(weight, (0, v.shape[2] - c))[:, None])
        return torch.cat(parts, 1)


class TensorFieldLayer(nn.Module):
    """f_i ← mean over edges j → i of W(x_j - x_i) f_j, plus a linear map of f_i: a convolution without attention."""

    def __init__(
        self,
        rep_in: Irreps | str,
        rep_out: Irreps | str,
        edge_scalars: int = 0,
        *,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.kernel = TensorFieldKernel(rep_in, rep_out, edge_scalars, generator=generator)
        self.rep_in, self.rep_out = self.kernel.source.rep, self.kernel.target.rep
        self.own = Linear(self.rep_in, self.rep_out, bias=False, generator=generator, allow_zero=True)

    def forward(self, f: Float[Tensor, "nodes dim_in"], edges: Edges) -> Float[Tensor, "nodes dim_out"]:
        """Features after one convolution."""
        source, target = self.kernel.source, self.kernel.target
        y = edges.frame.truncated(source.lmax, source.lmax).into(source.rows(f).index_select(0, edges.source))
        z = self.kernel(y, self.kernel.weights(edges.scalars, edges.apart))
        z = edges.frame.truncated(target.lmax, target.lmax).out_of(z)
        return target.flat(segment_mean(z, edges.target, len(f))) + self.own(f)


class AttentiveMix(nn.Module):
    """Each output channel a convex combination of the input channels of its degree, chosen by their Gram matrix."""

    def __init__(self, rep_in: Irreps, rep_out: Irreps, generator: torch.Generator | None):
        super().__init__()
        self.source, self.target = Degrees(rep_in, "AttentiveMix"), Degrees(rep_out, "AttentiveMix")
        missing = [l for l in self.target.channels if l not in self.source.channels]
        if missing:
            raise ValueError(f"AttentiveMix: {rep_in} has no degree {missing[0]} to make {rep_out} of")
        self.networks = nn.ModuleDict()
        for l, c_out in self.target.channels.items():
            c_in = self.source.channels[l]
            last = affine(c_in * c_in, c_in * c_out, bias=False, generator=generator)
            self.networks[str(l)] = nn.Sequential(nn.LayerNorm(c_in * c_in), nn.LeakyReLU(), last)

    def forward(self, x: Float[Tensor, "nodes dim_in"]) -> Float[Tensor, "nodes dim_out"]:
        """Mixed channels."""
        blocks = dict(zip(self.source.order, self.source.rep.split(x)))
        mixed = []
        for l in self.target.order:
            f = blocks[l]
            weight = self.networks[str(l)]((f.mT @ f).flatten(1)).unflatten(1, (f.shape[2], self.target.channels[l]))
            mixed.append(f @ weight.softmax(1))
        return self.target.rep.join(mixed)


class NormMLP(nn.Module):
    """Each vector keeps its direction; its length goes, with those of its degree, through LayerNorm, ReLU, Linear."""

    def __init__(self, rep: Irreps, generator: torch.Generator | None, *, eps: float = 1e-6):
        super().__init__()
        self.rep, self.eps = rep, eps
        self.networks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(c), nn.ReLU(), affine(c, c, generator=generator)) for _, c in rep.blocks
        )

    def forward(self, x: Float[Tensor, "nodes dim"]) -> Float[Tensor, "nodes dim"]:
        """New lengths."""
        blocks = []
        for block, network in zip(self.rep.split(x), self.networks):
            length = (block.square().sum(1) + self.eps**2).sqrt()
            blocks.append(block * (network(length) / length).unsqueeze(1))
        return self.rep.join(blocks)


def norm(kind: str, rep: Irreps, generator: torch.Generator | None) -> nn.Module:
    """The nonlinearity of the paper: ReLU(|x| + b) x / |x| with b from N(0, 1) ("bias"), or `NormMLP` ("mlp")."""
    if kind == "mlp":
        return NormMLP(rep, generator)
    if kind != "bias":
        raise ValueError(f"SE3Transformer: norm must be 'bias' or 'mlp', got {kind!r}")
    layer = NormActivation(rep, torch.relu, bias=True)
    with torch.no_grad():
        layer.bias.normal_(generator=generator)
    return layer


def irreps(channels: dict[int, int]) -> Irreps:
    """Terms by degree, without parity."""
    return Irreps([(c, Irrep(l)) for l, c in sorted(channels.items())])


def _linear(rep_in: Irreps, rep_out: Irreps, generator: torch.Generator | None) -> Linear:
    return Linear(rep_in, rep_out, bias=False, generator=generator, allow_zero=True)


def _by_degree(rep: Irreps) -> Irreps:
    channels: dict[int, int] = {}
    for irrep, c in rep.blocks:
        channels[irrep.l] = channels.get(irrep.l, 0) + c
    return irreps(channels)


def _side_by_side(x: Tensor, rep_x: Irreps, y: Tensor, rep_y: Irreps, joined: Irreps) -> Tensor:
    """Channels of the same degree beside each other."""
    found: dict[int, list[Tensor]] = {}
    for rep, z in ((rep_x, x), (rep_y, y)):
        for (irrep, _), block in zip(rep.blocks, rep.split(z)):
            found.setdefault(irrep.l, []).append(block)
    return joined.join([torch.cat(found[irrep.l], -1) for irrep, _ in joined.blocks])
