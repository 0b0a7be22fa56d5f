"""The tensor field kernel: a map between features for each edge, whose weights a network of the distance chooses."""

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..maps.constants import Constants
from ..so3.edge_frame import Orders
from ..so3.irreps import Irreps
from ..so3.wigner import clebsch_gordan

HIDDEN = 32


class Degrees:
    """One term for each degree, by degree: how features of unequal channels lie in the tensors of an `EdgeFrame`.

    Raises ValueError for a degree that comes twice, TypeError for irreps with parity.
    """

    def __init__(self, rep: Irreps | str, who: str):
        self.rep = Irreps(rep)
        if any(irrep.p is not None for irrep, _ in self.rep.blocks):
            raise TypeError(f"{who}: {self.rep} has parities, the kernel none: write degrees alone, as in '4x0+4x1'")
        self.channels = {irrep.l: c for irrep, c in self.rep.blocks}
        if len(self.channels) < len(self.rep.blocks) or not self.channels or min(self.channels.values()) < 1:
            raise ValueError(f"{who}: {self.rep} must have one term for each degree, and channels in it")
        self.order = [irrep.l for irrep, _ in self.rep.blocks]
        self.lmax, self.widest = max(self.channels), max(self.channels.values())

    def rows(self, x: Float[Tensor, "nodes dim"]) -> Float[Tensor, "nodes components channels"]:
        """All degrees 0..lmax one below the other, with zeros for missing degrees and channels."""
        self.rep.check(x)
        found = dict(zip(self.order, self.rep.split(x)))
        rows = []
        for l in range(self.lmax + 1):
            block = found.get(l)
            if block is None:
                block = x.new_zeros(len(x), 2 * l + 1, self.widest)
            rows.append(nn.functional.pad(block, (0, self.widest - block.shape[-1])))
        return rows[0] if len(rows) == 1 else torch.cat(rows, 1)

    def flat(self, rows: Float[Tensor, "nodes components channels"]) -> Float[Tensor, "nodes dim"]:
        """Back from `rows`."""
        return self.rep.join([rows[:, l * l : (l + 1) ** 2, : self.channels[l]] for l in self.order])

    def of_order(self, m: int) -> list[int]:
        """The degrees that have orders ±m."""
        return [l for l in sorted(self.channels) if l >= m]

    def of_degree(self, y: Orders, m: int, l: int) -> Tensor:
        """What the edges carry of degree l in orders ±m: [edges, 1 or 2, channels of l]."""
        rows = y[m].unsqueeze(1) if m == 0 else y[m]
        return rows[:, :, l - m, : self.channels[l]]

    def joined(self, found: dict[int, Tensor], m: int, like: Tensor) -> Tensor:
        """Orders ±m of all degrees, from `of_degree` of some; zeros for the others."""
        wide = [
            nn.functional.pad(found[l], (0, self.widest - self.channels[l]))
            if l in found
            else like.new_zeros(len(like), 2 if m else 1, self.widest)
            for l in range(m, self.lmax + 1)
        ]
        stacked = torch.stack(wide, 2)
        return stacked.squeeze(1) if m == 0 else stacked


class TensorFieldKernel(nn.Module):
    """W(x) = Σ_J φ_J(|x|, e) Q_J Y_J(x/|x|) for every edge, from each degree k to each degree l, all channels to all.

    Q_J = √((2l+1)/n) times Clebsch-Gordan of (k, J, l), n the number of (k, J, channel) that end in l, and Y in
    normalisation "component": with φ of variance 1 the variance of features stays. Works in the frame of the edge,
    where W mixes equal orders only (arXiv:2302.03655), with features as `EdgeFrame.into` gives them. φ has one network
    for each pair of degrees: Linear, LayerNorm, ReLU twice, Linear without bias.
    rep_in, rep_out: one term for each degree, no parity. Raises ValueError or TypeError for others.
    Source: arXiv:1802.08219; arXiv:2006.10503, eq. 8.
    """

    def __init__(
        self,
        rep_in: Irreps | str,
        rep_out: Irreps | str,
        edge_scalars: int = 0,
        *,
        hidden: int = HIDDEN,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.source, self.target = Degrees(rep_in, "TensorFieldKernel"), Degrees(rep_out, "TensorFieldKernel")
        self.pairs = [(k, l) for k in sorted(self.source.channels) for l in sorted(self.target.channels)]
        P, sizes = len(self.pairs), [1 + edge_scalars, hidden, hidden]
        self.matrices = nn.ParameterList(_uniform((P, a, b), a, generator) for a, b in pairwise(sizes))
        self.shifts = nn.ParameterList(_uniform((P, 1, b), a, generator) for a, b in pairwise(sizes))
        self.gains = nn.ParameterList(torch.ones(P, 1, hidden) for _ in range(2))
        self.offsets = nn.ParameterList(torch.zeros(P, 1, hidden) for _ in range(2))
        shapes = [(2 * min(k, l) + 1, self.source.channels[k], self.target.channels[l]) for k, l in self.pairs]
        self.last = nn.ParameterList(
            _uniform((hidden, *shape), hidden, generator, math.sqrt(6 / hidden)) for shape in shapes
        )
        fan = {l: sum((2 * min(k, l) + 1) * c for k, c in self.source.channels.items()) for _, l in self.pairs}
        self._frames = Constants([in_frame(k, l) / math.sqrt(fan[l]) for k, l in self.pairs], any_dtype=True)

    def extra_repr(self) -> str:
        """From and to."""
        return f"{self.source.rep} -> {self.target.rep}"

    def weights(
        self, scalars: Float[Tensor, "edges 1+edge_scalars"], apart: Tensor | None = None
    ) -> dict[tuple[int, int], list[Float[Tensor, "edges channels_in channels_out"]]]:
        """The kernel of each pair of degrees in the frame: order 0, then for m = 1.. the part that keeps the sign of
        the order and the part that changes it. Edges that are not `apart` (of length 0) have no direction: J = 0 alone.
        """
        x = scalars.expand(len(self.pairs), *scalars.shape)
        for A, b, gain, offset in zip(self.matrices, self.shifts, self.gains, self.offsets):
            x = nn.functional.layer_norm(torch.baddbmm(b, x, A), A.shape[-1:]) * gain + offset
            x = torch.relu(x)
        found = {}
        for (k, l), h, last, T in zip(self.pairs, x.unbind(), self.last, self._frames(scalars)):
            rows = [h @ A.flatten(1) for A in torch.einsum("mj,hjio->mhio", T, last).unbind()]
            if apart is not None:
                alone = h @ last[:, 0].flatten(1) if k == l else torch.zeros_like(rows[0])
                rows = [torch.where(apart[:, None], w, t * alone) for t, w in zip(T[:, 0], rows)]
            found[k, l] = [w.unflatten(1, last.shape[2:]) for w in rows]
        return found

    def forward(self, y: Orders, weights: dict[tuple[int, int], list[Tensor]]) -> Orders:
        """Features of the edges of `rep_in` to those of `rep_out`, all in the frame."""
        out = []
        for m in range(self.target.lmax + 1):
            found: dict[int, Tensor] = {}
            for k in self.source.of_order(m):
                x = self.source.of_degree(y, m, k)
                turned = torch.stack([-x[:, 1], x[:, 0]], 1) if m else None
                for l in self.target.of_order(m):
                    if m == 0:
                        z = _row(x, weights[k, l][0])
                        found[l] = found[l] + z if l in found else z
                        continue
                    _, *signs = weights[k, l]
                    same, other = signs[2 * m - 2 : 2 * m]
                    z = torch.baddbmm(found[l], x, same) if l in found else torch.bmm(x, same)
                    found[l] = torch.baddbmm(z, turned, other)
            out.append(self.target.joined(found, m, y[0]))
        return tuple(out)


def _row(x: Float[Tensor, "edges 1 i"], w: Float[Tensor, "edges i o"]) -> Float[Tensor, "edges 1 o"]:
    """x w without a batched product, whose derivative by w, columns times rows, BLAS takes ten times as long for."""
    return (x.mT * w).sum(1, keepdim=True)


@lru_cache(maxsize=256)
def in_frame(k: int, l: int) -> np.ndarray:
    """T [2 min(k,l) + 1, 2 min(k,l) + 1]: the kernels of J = |k-l|..k+l as their weights in the frame of the edge."""
    low, least = abs(k - l), min(k, l)
    T = np.zeros((2 * least + 1, 2 * least + 1))
    for J in range(low, k + l + 1):
        C = clebsch_gordan(k, J, l) * math.sqrt((2 * J + 1) * (2 * l + 1))
        if (k + J + l) % 2 == 0:
            T[0, J - low] = C[k, J, l]
            for m in range(1, least + 1):
                T[2 * m - 1, J - low] = C[k + m, J, l + m]
        else:
            for m in range(1, least + 1):
                T[2 * m, J - low] = C[k + m, J, l - m]
    T.setflags(write=False)
    return T


def _uniform(shape: tuple[int, ...], fan_in: int, generator, bound: float | None = None) -> nn.Parameter:
    bound = 1 / math.sqrt(fan_in) if bound is None else bound
    return nn.Parameter((2 * torch.rand(shape, generator=generator) - 1) * bound)
