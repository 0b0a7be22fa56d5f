"""The Clebsch-Gordan way to run a tensor product: products of components, one constant matrix, weights.

What goes channel by channel is done in `cg_channels` where that can be; "uvw" with many channels in `cg_full`.
"""

import math
from itertools import accumulate

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..maps.constants import Constants
from ..maps.own_derivatives import transforming
from .cg_channels import LEAST_SAMPLES, Branch, ChannelPlan, Group, ScalarPath, Span, channel_product
from .couplings import Path, Piece, weight_shape
from .irreps import Irreps
from .wigner import clebsch_gordan

CACHED = 3 << 17  # numbers in the products of one chunk of samples on the CPU; measured


class ClebschGordan(nn.Module):
    """Σ over paths of scale Σ_{ijuv} w_uvw C_ijk x_iu y_jv; paths that join the same two pieces share their products.

    A piece is a range of channels of a block of an input; the i1, i2 of paths count pieces, i3 blocks of `rep_out`.
    All paths have one mode. It has no parameters: weights come flat with the call, path after path.
    """

    def __init__(
        self,
        irreps1: Irreps,
        irreps2: Irreps,
        rep_out: Irreps,
        paths: tuple[Path, ...],
        pieces1: tuple[Piece, ...],
        pieces2: tuple[Piece, ...],
    ):
        super().__init__()
        self.sides, self.pieces, self.paths = (irreps1, irreps2, rep_out), (pieces1, pieces2), paths
        self.mode, self.weighted = paths[0].mode, paths[0].has_weight
        channels = [self._channels(path) for path in paths]
        self.path_shapes = tuple(weight_shape(self.mode, *c) for c in channels)
        groups: dict[tuple[int, int, int], list[int]] = {}
        for p, (path, (c1, c2, _)) in enumerate(zip(paths, channels)):
            first = self.weighted and {"uvu": c2, "uvv": c1}.get(self.mode, 1) > 1  # weights come before the products
            groups.setdefault((path.i1, path.i2, p if first else -1), []).append(p)
        self.groups = tuple((i1, i2, tuple(members)) for (i1, i2, _), members in groups.items())
        tables = []
        for i1, i2, members in self.groups:
            l1, l2 = self._degree(0, i1), self._degree(1, i2)
            parts = []
            for p in members:
                l3 = rep_out.blocks[paths[p].i3][0].l
                parts.append(paths[p].scale * clebsch_gordan(l1, l2, l3).reshape(-1, 2 * l3 + 1).T)
            tables.append(np.concatenate(parts))
        self._tables = Constants(tables, any_dtype=True)
        self._factors = tuple(self._dot_factor(*group) for group in self.groups)
        self._by_channels = self._channel_plan() if self._goes_by_channels() else None

    def _degree(self, side: int, piece: int) -> int:
        return self.sides[side].blocks[self.pieces[side][piece][0]][0].l

    def _channels(self, path: Path) -> tuple[int, int, int]:
        counts = [stop - start for _, start, stop in (self.pieces[0][path.i1], self.pieces[1][path.i2])]
        return *counts, self.sides[2].blocks[path.i3][1]

    def _dot_factor(self, i1: int, i2: int, members: tuple[int, ...]) -> float | None:
        """What is left of the coefficients of a single path with a scalar: a number times a dot product."""
        l3 = self.sides[2].blocks[self.paths[members[0]].i3][0].l
        l1, l2 = self._degree(0, i1), self._degree(1, i2)
        if len(members) > 1 or 0 not in (l1, l2, l3):
            return None
        return self.paths[members[0]].scale * float(clebsch_gordan(l1, l2, l3).flat[0])

    def _goes_by_channels(self) -> bool:
        """Whether each channel of the product is made of one channel of each factor, both taken from whole blocks."""
        for irreps, pieces in zip(self.sides, self.pieces):
            if any((first, stop) != (0, irreps.blocks[i][1]) for i, first, stop in pieces):
                return False
        single = {"uvu": 1, "uvv": 0}.get(self.mode)  # the side of v, of u, has one channel then
        if single is not None:
            return all(self._channels(path)[single] == 1 for path in self.paths)
        return self.mode in ("uuu", "uvuv")

    def _channel_plan(self) -> ChannelPlan:
        weights = list(accumulate(map(math.prod, self.path_shapes), initial=0))
        starts = [list(accumulate((irrep.dim * c for irrep, c in side.blocks), initial=0)) for side in self.sides]

        def span(side: int, block: int, pairs: tuple[int, int]) -> Span:
            return Span(starts[side][block], self.sides[side].blocks[block][0].dim, pairs)

        scalars, groups = [], []
        for t, (i1, i2, members) in enumerate(self.groups):
            blocks = self.pieces[0][i1][0], self.pieces[1][i2][0]
            c1, c2, c3 = self._channels(self.paths[members[0]])
            ends = ((c1, 1), (1, c2), (c1, c2)) if self.mode == "uvuv" else ((c1, 1), (c2, 1), (c3, 1))
            x, y = span(0, blocks[0], ends[0]), span(1, blocks[1], ends[1])
            outs = [span(2, self.paths[p].i3, ends[2]) for p in members]
            rows = [s.rows for s in (x, y, outs[0])]
            if (factor := self._factors[t]) is not None:
                scalars.append(ScalarPath((x, y, outs[0]), rows.index(1), factor, weights[members[0]]))
            else:
                first = accumulate((s.rows for s in outs), initial=0)
                branches = tuple(Branch(r, s, weights[p]) for r, s, p in zip(first, outs, members))
                groups.append(Group(x, y, t, branches))
        return ChannelPlan(tuple(scalars), tuple(groups), self.sides[2].dim)

    def widths(self) -> list[tuple[int, int, int]]:
        """For each group of paths (d1·d2, rows, channels that meet): the sizes of its products."""
        found = []
        for (_, _, members), table in zip(self.groups, self._tables.arrays):
            c1, c2, _ = self._channels(self.paths[members[0]])
            pairs = c1 * (c1 - 1) // 2
            meeting = {"uvw": c1 * c2, "uvuv": c1 * c2, "uvv": c2, "uvu<v": pairs, "u<vw": pairs}.get(self.mode, c1)
            found.append((table.shape[1], table.shape[0], meeting))
        return found

    def cost(self) -> tuple[float, float, int]:
        """Operations and bytes of float32 between them, for one sample; calls of the library."""
        flops = moved = 0.0
        for pairs, rows, channels in self.widths():
            flops += (2 * rows + 1) * pairs * channels
            moved += 4 * channels * (2 * pairs + 3 * rows)
        if self.weighted and self.mode in ("uvw", "uuw", "u<vw"):
            for path, shape in zip(self.paths, self.path_shapes):
                flops += 2 * math.prod(shape) * self.sides[2].blocks[path.i3][0].dim
        return flops, moved, 12 * len(self.groups)

    def forward(self, x1: Tensor, x2: Tensor, weight: Tensor | None) -> Float[Tensor, "*batch dim_out"]:
        """The product of flat features; weight [.., numbers] or [numbers]."""
        tables = self._tables(x1)
        if self._by_channels and x1.device.type == "cpu" and not torch.compiler.is_compiling() and not transforming():
            same = {x1.dtype, x2.dtype} | ({weight.dtype} if self.weighted else set()) == {tables[0].dtype}
            own = weight is None or weight.ndim == 1 or weight.shape[:-1] == x1.shape[:-1]
            if same and own and x1.ndim == x2.ndim == 2 and len(x1) == len(x2):
                return channel_product(self._by_channels, tables, x1, x2, weight)
        weights = [None] * len(self.paths) if weight is None else self._split(weight)
        largest = max(pairs * c for pairs, _, c in self.widths())
        size = max(LEAST_SAMPLES, CACHED // largest)
        whole = torch.compiler.is_compiling() or x1.device.type != "cpu" or len(x1) <= size
        if whole or not x1.ndim == x2.ndim == 2 or len(x1) != len(x2):
            return self._run(x1, x2, weights, tables)
        parts = []
        for start in range(0, len(x1), size):
            chunk = slice(start, start + size)
            own = [w[chunk] if w is not None and weight.ndim == 2 and len(weight) > 1 else w for w in weights]
            parts.append(self._run(x1[chunk], x2[chunk], own, tables))
        return torch.cat(parts)

    def _run(self, x1: Tensor, x2: Tensor, weights: list[Tensor | None], tables: list[Tensor]) -> Tensor:
        batch = torch.broadcast_shapes(x1.shape[:-1], x2.shape[:-1])
        taken: list[list[Tensor]] = []
        for side, x in enumerate((x1, x2)):
            blocks = self.sides[side].split(x)
            taken.append([blocks[i].narrow(-1, a, b - a).movedim(-2, 0).contiguous() for i, a, b in self.pieces[side]])
        out: dict[int, Tensor] = {}
        for (i1, i2, members), table, factor in zip(self.groups, tables, self._factors):
            x, y, rest = self._meeting(taken[0][i1], taken[1][i2], [weights[p] for p in members])
            dims = [self.sides[2].blocks[self.paths[p].i3][0].dim for p in members]
            if factor is not None:
                rows = [factor * (x * y if dims[0] > 1 else (x * y).sum(0, keepdim=True))]
            else:
                pairs = x.unsqueeze(1) * y
                products = (table @ pairs.reshape(table.shape[1], -1)).view(len(table), *pairs.shape[2:])
                rows = products.split(dims)
            for p, z, w in zip(members, rows, rest):
                k = self.paths[p].i3
                z = self._weighted(z, w)
                out[k] = out[k] + z if k in out else z
        return self.sides[2].join(
            [
                out[k].movedim(0, -2).expand(*batch, -1, -1) if k in out else x1.new_zeros(*batch, irrep.dim, c)
                for k, (irrep, c) in enumerate(self.sides[2].blocks)
            ]
        )

    def _split(self, weight: Tensor) -> list[Tensor]:
        """The weight of each path, [.., *shape]."""
        parts = weight.split([math.prod(shape) for shape in self.path_shapes], -1)
        return [part.unflatten(-1, shape) for part, shape in zip(parts, self.path_shapes)]

    def _meeting(self, x: Tensor, y: Tensor, w: list[Tensor | None]) -> tuple[Tensor, Tensor, list[Tensor | None]]:
        """Both pieces [components, .., channels] with the channels that meet side by side; and what is left of w."""
        mode, (c1, c2) = self.mode, (x.shape[-1], y.shape[-1])
        if mode == "uvu" and c2 > 1:
            y = y.sum(-1, keepdim=True) if w[0] is None else _mixed(y, w[0].mT)
            return x, y, [None] * len(w)
        if mode == "uvv" and c1 > 1:
            x = x.sum(-1, keepdim=True) if w[0] is None else _mixed(x, w[0])
            return x, y, [None] * len(w)
        if mode in ("uvw", "uvuv"):
            return x.repeat_interleave(c2, -1), y.repeat(*[1] * (y.ndim - 1), c1), w
        if mode in ("uvu<v", "u<vw"):
            u, v = torch.triu_indices(c1, c1, 1, device=x.device)
            return x.index_select(-1, u), y.index_select(-1, v), w
        return x, y, w

    def _weighted(self, z: Tensor, w: Tensor | None) -> Tensor:
        """The rows of one path [components, .., channels] times its weights, channels mixed where the mode says so."""
        if self.mode == "uuw" and w is None:
            return z.sum(-1, keepdim=True)
        if w is None:
            return z
        if self.mode in ("uuw", "uvw", "u<vw"):
            return _mixed(z, w.flatten(-3, -2) if self.mode == "uvw" else w)
        return z * (w if self.mode in ("uuu", "uvu<v") else w.flatten(-2))


def _mixed(z: Tensor, w: Tensor) -> Tensor:
    """Channels of z [components, .., c] through one matrix, or one for each sample."""
    return z @ w if w.ndim == 2 else (z.movedim(0, -2) @ w).movedim(-2, 0)
