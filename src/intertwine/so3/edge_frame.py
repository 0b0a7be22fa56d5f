"""Features turned into the frame of their edge and back: there, a convolution only mixes equal orders (`so2_conv`).

The frame of an edge has its polar axis along the edge; its roll about the edge is arbitrary, and no choice of it is
continuous on the sphere. So no derivative passes through the matrices: a map between `into` and `out_of` that commutes
with rotations about the edge does not feel the roll, and the derivatives of the whole follow from the generators, at
every direction, to every order.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import block_diag
from torch import Tensor

from ..maps.constants import known_to_compilers
from ..maps.own_derivatives import quick
from .frame_blocks import frame_blocks
from .harmonics import over_length
from .wigner import _frozen, check_degree, generators

Orders = tuple[Tensor, ...]  # one tensor for each order: [E, lmax+1, C] for 0, [E, 2, lmax+1-m, C] for ±m


class EdgeFrame:
    """Rotations that take the polar axis y to each edge vector, for features up to degree `lmax`, orders up to `mmax`.

    Built once by `from_vectors` and shared by all layers. `into` gives one tensor for each order: entry 0 is
    [E, lmax+1, C], entry m [E, 2, lmax+1-m, C], orders +m and -m of degrees m..lmax. Differentiable by the edge
    vectors, twice and more, provided that what happens between `into` and `out_of` commutes with rotations about y.
    Source: arXiv:2302.03655, section 4; the derivative is ours.
    """

    def __init__(self, direction: Tensor, blocks: tuple[Tensor, ...] | None, lmax: int, mmax: int):
        self.direction, self._blocks, self.lmax, self.mmax = direction, blocks, lmax, mmax
        self.dense: dict[tuple[int, int], Tensor] = {}  # what `dense_frame` keeps

    @property
    def blocks(self) -> tuple[Tensor, ...]:
        """The matrix D of every degree, made when first asked for: convolutions of low degree go without."""
        if self._blocks is None:
            self._blocks = frame_blocks(self.direction.detach(), self.lmax, self.mmax)
        return self._blocks

    @property
    def unmade(self) -> bool:
        """Whether `blocks` has not been asked for."""
        return self._blocks is None

    @classmethod
    def from_vectors(
        cls,
        vectors: Float[Tensor, "edges 3"],
        lmax: int,
        mmax: int | None = None,
        *,
        roll: Float[Tensor, " edges"] | None = None,
    ) -> "EdgeFrame":
        """The frames of edge vectors (any length, in Å or whatever).

        roll: turn each frame about its edge by so much (radians), as a test that what is done in the frames does not
        feel it, or, where it does so slightly (a function on a coarse grid), at random in training.
        Raises ValueError for a vector of length zero, naming the edges, for a roll of another shape, and unless
        0 <= mmax <= lmax.
        """
        check_degree("EdgeFrame: lmax", lmax)
        mmax = lmax if mmax is None else mmax
        check_orders("EdgeFrame", mmax, lmax)
        if vectors.ndim != 2 or vectors.shape[-1] != 3:
            raise ValueError(f"EdgeFrame: vectors have shape [edges, 3], got {tuple(vectors.shape)}")
        square = (vectors * vectors).sum(1, keepdim=True)
        if not torch.compiler.is_compiling():
            _refuse_zero(square.detach())
        direction = over_length(vectors, square)
        if roll is None:
            return cls(direction, None, lmax, mmax)
        if roll.shape != vectors.shape[:1]:
            raise ValueError(f"EdgeFrame: {len(vectors)} edges need as many angles in roll, got {tuple(roll.shape)}")
        return cls(direction, frame_blocks(direction.detach(), lmax, mmax, roll.to(direction)), lmax, mmax)

    def into(self, x: Float[Tensor, "edges components channels"]) -> Orders:
        """Features of the edges, components (lmax+1)², as seen in the frame: Dᵀx, sorted by order."""
        if x.ndim != 3 or x.shape[1] != (self.lmax + 1) ** 2 or x.shape[0] != self.direction.shape[0]:
            wanted = (self.direction.shape[0], (self.lmax + 1) ** 2, "channels")
            raise ValueError(f"EdgeFrame.into: expected shape {wanted}, got {tuple(x.shape)}")
        if torch.compiler.is_compiling():
            return _into(_turned(x, self.direction, -1), self.blocks)
        return _Into.apply(x, self.direction, *self.blocks)

    def out_of(self, y: Orders) -> Float[Tensor, "edges components channels"]:
        """Back to the common axes: D y."""
        if len(y) != self.mmax + 1 or y[0].shape[1] != self.lmax + 1:
            raise ValueError(
                f"EdgeFrame.out_of: expected orders 0..{self.mmax} of {self.lmax + 1} degrees, got {len(y)} orders, "
                f"the first of shape {tuple(y[0].shape)}"
            )
        if torch.compiler.is_compiling():
            return _turned(_out_of(y, self.blocks), self.direction, 1)
        return _OutOf.apply(self.direction, len(self.blocks), *self.blocks, *y)

    def truncated(self, lmax: int, mmax: int) -> "EdgeFrame":
        """The same frames for lower degrees and orders; views, nothing is computed."""
        if (lmax, mmax) == (self.lmax, self.mmax):
            return self
        blocks = tuple(D[:, :, : 2 * min(l, mmax) + 1] for l, D in enumerate(self.blocks[: lmax + 1]))
        return EdgeFrame(self.direction, blocks, lmax, min(lmax, mmax))


def check_orders(name: str, mmax: int, lmax: int) -> None:
    """Raise ValueError unless 0 <= mmax <= lmax."""
    if isinstance(mmax, bool) or not isinstance(mmax, int) or not 0 <= mmax <= lmax:
        raise ValueError(f"{name}: mmax must be an integer from 0 to lmax={lmax}, got {mmax!r}")


def _refuse_zero(square: Tensor) -> None:
    tiny = torch.finfo(square.dtype).tiny
    if len(square) and square.min().item() < tiny:
        edges = (square[:, 0] < tiny).nonzero().flatten().tolist()
        shown = ", ".join(map(str, edges[:10])) + (", .." if len(edges) > 10 else "")
        raise ValueError(
            f"EdgeFrame: {len(edges)} edges have length zero and no direction (edges {shown}); "
            "remove them from the graph"
        )


# --- the two turns, in ordinary operations


_SMALL, _FEW = 400, 9  # on the CPU torch.bmm is slow below so many products a matrix, and then few outer ones are not


def _product(a: Tensor, b: Tensor) -> Tensor:
    """A matrix product for each edge."""
    inner = a.shape[2]
    if a.shape[1] * inner * b.shape[2] >= _SMALL or inner > _FEW or a.device.type != "cpu":
        return torch.bmm(a, b)
    out = a.narrow(2, 0, 1) * b.narrow(1, 0, 1)
    for n in range(1, inner):
        out = torch.addcmul(out, a.narrow(2, n, 1), b.narrow(1, n, 1))
    return out


def _into(x: Tensor, blocks: tuple[Tensor, ...]) -> Orders:
    turned = [x[:, :1], *(_product(D.mT, x[:, l * l : (l + 1) ** 2]) for l, D in enumerate(blocks) if l)]
    most = blocks[-1].shape[2] // 2
    zero = torch.stack([part[:, 0] for part in turned], 1)
    return zero, *(torch.stack([p[:, 2 * m - 1 : 2 * m + 1] for p in turned[m:]], 2) for m in range(1, most + 1))


def _out_of(y: Orders, blocks: tuple[Tensor, ...]) -> Tensor:
    rows = [y[0][:, :1]]
    for l, D in list(enumerate(blocks))[1:]:
        parts = [y[0][:, l : l + 1], *(y[m][:, :, l - m] for m in range(1, D.shape[2] // 2 + 1))]
        rows.append(_product(D, torch.cat(parts, 1)))
    return torch.cat(rows, 1)


# --- their derivatives


_DENSE_COMPONENTS = 16  # up to here all pairs of components at once are cheaper than a product for each degree


@lru_cache(maxsize=32)
def _generator_table(lmax: int) -> np.ndarray:
    """The generators of degrees 0..lmax, [pairs of components, 3]: all pairs, or those of equal degree."""
    blocks = [generators(l) for l in range(lmax + 1)]
    if (lmax + 1) ** 2 <= _DENSE_COMPONENTS:
        blocks = [np.stack([block_diag(*(G[k] for G in blocks)) for k in range(3)])]
    return _frozen(np.concatenate([G.reshape(3, -1) for G in blocks], 1).T.copy())


def torque(p: Tensor, q: Tensor) -> Float[Tensor, "edges 3"]:
    """Σ over components and channels of p (G_k q), k = x, y, z."""
    components = p.shape[1]
    lmax = round(components**0.5) - 1
    rows = [slice(l * l, (l + 1) ** 2) for l in range(lmax + 1)] if components > _DENSE_COMPONENTS else [slice(None)]
    pairs = [torch.bmm(p[:, row], q[:, row].mT).flatten(1) for row in rows]
    table = torch.tensor(_generator_table(lmax), dtype=p.dtype, device=p.device)
    return (torch.cat(pairs, 1) if len(pairs) > 1 else pairs[0]) @ table


class _Into(torch.autograd.Function):
    """(x, direction, blocks) -> orders. A turn ω of the frame changes Dᵀx by -Dᵀ(ω·G)x, and a shift dr of the direction
    is the turn r × dr."""

    generate_vmap_rule = True

    @staticmethod
    @quick
    def forward(x: Tensor, direction: Tensor, *blocks: Tensor) -> Orders:
        return _into(x, blocks)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, *g: Tensor):
        x, direction, *blocks = ctx.saved_tensors
        back = _OutOf.apply(direction, len(blocks), *blocks, *g)
        turn = torch.linalg.cross(torque(back, x), direction).neg() if ctx.needs_input_grad[1] else None
        return back, turn, *([None] * len(blocks))


class _OutOf(torch.autograd.Function):
    """(direction, number of blocks, blocks, orders) -> features."""

    generate_vmap_rule = True

    @staticmethod
    @quick
    def forward(direction: Tensor, count: int, *rest: Tensor) -> Tensor:
        return _out_of(rest[count:], rest[:count])

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.count = inputs[1]
        ctx.save_for_backward(inputs[0], *inputs[2 : 2 + ctx.count], output)

    @staticmethod
    def backward(ctx, g: Tensor):
        direction, *blocks, z = ctx.saved_tensors
        back = _Into.apply(g, direction, *blocks)
        turn = torch.linalg.cross(torque(g, z), direction) if ctx.needs_input_grad[0] else None
        return turn, None, *([None] * len(blocks)), *back


@known_to_compilers
def _generator_numbers(l: int) -> tuple:
    return tuple(tuple(map(tuple, G)) for G in generators(l).tolist())


def _turned(x: Tensor, direction: Tensor, sign: int) -> Tensor:
    """x itself, with the first two derivatives by the direction of exp(±ω·G)x, ω = r₀ × r: for a compiler, which gets
    the second derivative of a custom function wrong (torch 2.13)."""
    omega = sign * torch.linalg.cross(direction.detach(), direction)

    def rotate(x: Tensor) -> Tensor:
        parts = []
        for l in range(round(x.shape[1] ** 0.5)):
            G = torch.einsum("ek,kij->eij", omega, torch.tensor(_generator_numbers(l), dtype=x.dtype, device=x.device))
            parts.append(torch.bmm(G, x[:, l * l : (l + 1) ** 2]))
        return torch.cat(parts, 1)

    first = rotate(x)
    return x + first + rotate(first) / 2
