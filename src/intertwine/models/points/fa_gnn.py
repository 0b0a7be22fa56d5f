"""FA-GNN for moving points: plain message passing whose layers each work in the frames of their own latent vectors."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...groups import E, O
from ...nn.perceptron import affine, perceptron
from ...reps import Action, Invariant, Points, Vectors
from ...symmetrize import FrameBlock
from .dynamics import check_motion


class FAGNN(nn.Module):
    """Later positions of charged points: latent vectors of points, mixed by a plain network in each of 2^dim frames.

    x - c and v are the first latents; every layer h_i ← h_i + φ_h(h_i, Σ_j φ_e(h_i, h_j, q_i q_j, |x_i - x_j|²)) is a
    `FrameBlock` that reads and gives `vectors` latent vectors per point; the last gives one, and c is added. All pairs
    of a system exchange messages. E(dim)-equivariant, and one call costs 2^dim of the plain network.
    Published for the n-body problem: these defaults, Adam with rate 1e-3, batches of 100; frames without gradient,
    which `detach` gives. Raises ValueError for sizes below 1. Source: arXiv:2110.03336, section 4.3.
    """

    def __init__(
        self,
        vectors: int = 20,
        layers: int = 4,
        *,
        dim: int = 3,
        detach: bool = True,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if min(vectors, layers, dim) < 1:
            raise ValueError(f"FAGNN: vectors, layers and dim must be at least 1, got {vectors}, {layers} and {dim}")
        self.rep_in: tuple[Action, ...] = (Points(E(dim)), Vectors(E(dim)), Invariant(E(dim)))
        self.rep_out: Action = Points(E(dim))
        self.blocks = nn.ModuleList(
            FrameBlock(layer, layer.n_out // dim, O(dim), detach=detach, allow_nonconservative=True)
            for layer in message_layers(vectors * dim, layers, dim, generator=generator)
        )

    def forward(
        self,
        positions: Float[Tensor, "*systems n dim"],
        velocities: Float[Tensor, "*systems n dim"],
        charges: Float[Tensor, "*systems n"],
    ) -> Float[Tensor, "*systems n dim"]:
        """The later positions. Raises ValueError for shapes that do not fit."""
        check_motion("FAGNN", positions, velocities, charges)
        *systems, n, dim = positions.shape
        batch = torch.Size(systems).numel()
        x, v, q = positions.reshape(batch, n, dim), velocities.reshape(batch, n, dim), charges.reshape(batch, n)
        center, pairs = x.mean(1, keepdim=True), pair_features(x, q)
        h = torch.stack([x - center, v], 2)
        for block in self.blocks:
            h = block(h, pairs)
        return (center + h[:, :, 0]).reshape(positions.shape)


class MessageLayer(nn.Module):
    """h_i ← h_i + φ_h(h_i, Σ_{j≠i} φ_e(h_i, h_j, a_ij)) among all points of a system, with maps into and out of h."""

    def __init__(self, n_in: int, hidden: int, n_out: int, *, generator: torch.Generator | None = None):
        super().__init__()
        self.n_out = n_out
        self.embed = nn.Identity() if n_in == hidden else affine(n_in, hidden, generator=generator)
        self.own = affine(hidden, hidden, generator=generator)
        self.other = affine(hidden, hidden, bias=False, generator=generator)
        self.pair = affine(2, hidden, bias=False, generator=generator)
        self.message = perceptron([hidden, hidden], generator=generator)
        self.node = perceptron([2 * hidden, hidden, hidden], generator=generator)
        self.out = nn.Identity() if n_out == hidden else perceptron([hidden, hidden, n_out], generator=generator)

    def forward(
        self, h: Float[Tensor, "batch n n_in"], pairs: Float[Tensor, "batch n n 2"]
    ) -> Float[Tensor, "batch n n_out"]:
        """The new features."""
        h, act, others = self.embed(h), nn.functional.silu, 1 - torch.eye(h.shape[1], dtype=h.dtype, device=h.device)
        m = act(self.own(h)[:, :, None] + self.other(h)[:, None] + self.pair(pairs))  # [batch, i, j, hidden]
        m = (act(self.message(m)) * others[..., None]).sum(2)
        return self.out(h + self.node(torch.cat([h, m], -1)))


def message_layers(
    hidden: int, layers: int, dim: int = 3, *, generator: torch.Generator | None = None
) -> list[MessageLayer]:
    """The plain layers of `FAGNN`, from positions and velocities (2·dim numbers) to `dim` numbers at each point."""
    sizes = [2 * dim, *[hidden] * (layers - 1), dim]
    return [MessageLayer(a, hidden, b, generator=generator) for a, b in pairwise(sizes)]


def pair_features(x: Float[Tensor, "batch n dim"], q: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n n 2"]:
    """q_i q_j and |x_i - x_j|² of every pair."""
    squares = (x[:, :, None] - x[:, None]).square().sum(-1)
    return torch.stack([q[:, :, None] * q[:, None], squares], -1)
