"""Where everything lies in a depth-wise convolution over edges: rows of constants, weights, blocks of the output."""

from dataclasses import dataclass
from functools import cached_property
from math import gcd, sqrt

import numpy as np
import torch
from torch import Tensor

from .couplings import coupled
from .irreps import Irrep, Irreps
from .wigner import clebsch_gordan


@dataclass(frozen=True)
class Band:
    """Components 2j-1 and 2j (j = 0: the first) of all paths from one input block to degrees l3 >= j.

    The paths of a block are sorted by l3, so these are the last ones: neighbours in rows, and in the weights.
    """

    start: int  # first entry among those of the source
    count: int  # of components
    width: int  # paths · channels
    weight: int  # first flat weight


@dataclass(frozen=True)
class Source:
    """One input block: Y turns into matrices T [2l1+1, rows] by one constant matrix product."""

    x: int  # first entry of the block
    dim: int  # 2 l1 + 1
    channels: int
    table: int  # first column of the constants; blocks of equal degree and paths share them
    rows: int  # Σ over paths of 2 l3 + 1
    bands: tuple[Band, ...]


@dataclass(frozen=True, eq=False)
class EdgePlan:
    """What an `EdgeConv` runs. Hashed by identity: one for each module."""

    sources: tuple[Source, ...]
    dim_in: int
    dim_out: int
    weights: int
    paths: tuple[tuple[int, int, Irrep], ...]  # (input block, l2, output irrep) in the order of the weights
    path_channels: tuple[int, ...]
    rep_in: Irreps
    rep_out: Irreps
    table: np.ndarray  # [(lmax_edge+1)², columns], float64
    entries: np.ndarray  # where each entry of the output lies among the rows of all sources, one after the other
    entry_weights: np.ndarray  # the flat weight, in the order of the bands, that scales each entry of the output
    order: np.ndarray  # the flat weight at each place of the order of the bands

    @cached_property
    def most(self) -> int:
        """The highest degree of all."""
        return max(max(self.rep_in.blocks[i][0].l, l2, irrep.l) for i, l2, irrep in self.paths)

    @property
    def in_order(self) -> bool:
        """Whether the weights are in the order of the bands already: irreps_out is sorted by degree."""
        return bool((np.diff(self.order) == 1).all())

    def weight_shape(self) -> tuple[int, ...]:
        """(paths, channels) where all input blocks have equal channels, else (numbers,)."""
        equal = set(self.path_channels)
        return (len(self.paths), *equal) if len(equal) == 1 else (self.weights,)

    @cached_property
    def unit(self) -> int:
        """Entries that always stay together."""
        return gcd(*self.path_channels)

    @cached_property
    def pieces(self) -> Tensor:
        """Where each unit of the output lies among those of the rows of all sources."""
        return torch.tensor(self.entries[:: self.unit] // self.unit)

    @cached_property
    def source_pieces(self) -> tuple[Tensor, ...]:
        """Where the units of the rows of each source lie in the output."""
        sizes = [source.rows * source.channels // self.unit for source in self.sources]
        return self.pieces.argsort().split(sizes)


def edge_plan(irreps_in: Irreps, lmax_edge: int, irreps_out: Irreps) -> EdgePlan:
    """Lay out every path (block of irreps_in) ⊗ Y_l2 → irrep in irreps_out, scaled by √(2l3+1).

    Paths are ordered by input block, then output irrep (in the order of irreps_out), then l2. In the output each irrep
    is one block, whose channels follow that order too.
    """
    wanted = list(dict.fromkeys(irrep for irrep, _ in irreps_out.blocks))
    parity = irreps_in.group == irreps_out.group and irreps_in.blocks[0][0].p is not None
    edge = [Irrep(l, (-1) ** l if parity else None) for l in range(lmax_edge + 1)]
    paths = [
        (i, y.l, irrep)
        for i, (a, _) in enumerate(irreps_in.blocks)
        for irrep in wanted
        for y in edge
        if coupled(a, y, irrep)
    ]
    if not paths:
        raise ValueError(f"EdgeConv: no path leads from {irreps_in} and degrees up to {lmax_edge} to {irreps_out}")
    path_channels = [irreps_in.blocks[i][1] for i, _, _ in paths]
    channels = {irrep: sum(c for c, (_, _, k) in zip(path_channels, paths) if k == irrep) for irrep in wanted}
    rep_out = Irreps([(channels[irrep], irrep) for irrep in wanted])
    entry = dict(zip((irrep for irrep, _ in rep_out.blocks), _starts(irrep.dim * c for irrep, c in rep_out.blocks)))
    weight, filled, places = _starts(path_channels), dict.fromkeys(wanted, 0), []
    for c, (_, _, irrep) in zip(path_channels, paths):
        places.append(entry[irrep] + filled[irrep])  # of the first component; the next ones follow at its stride
        filled[irrep] += c

    entries, entry_weights = np.empty((2, rep_out.dim), dtype=np.int64)
    sources, columns, known, order = [], [], {}, []
    x = rows = width = done = 0
    for i, (a, c) in enumerate(irreps_in.blocks):
        mine = sorted((p for p, path in enumerate(paths) if path[0] == i), key=lambda p: paths[p][2].l)
        bands, parts, start = [], [], 0
        for j in range(max((paths[p][2].l for p in mine), default=-1) + 1):
            upper = [p for p in mine if paths[p][2].l >= j]
            first = done + c * (len(mine) - len(upper))
            components = range(max(0, 2 * j - 1), 2 * j + 1)
            bands.append(Band(start, len(components), len(upper) * c, first))
            for k in components:
                for n, p in enumerate(upper):
                    _, l2, irrep = paths[p]
                    at = places[p] + k * channels[irrep]
                    entries[at : at + c] = rows + start + np.arange(n * c, (n + 1) * c)
                    entry_weights[at : at + c] = first + np.arange(n * c, (n + 1) * c)
                    B = np.zeros(((lmax_edge + 1) ** 2, a.dim))
                    C = clebsch_gordan(a.l, l2, irrep.l)[:, :, k]
                    B[l2 * l2 : (l2 + 1) ** 2] = C.T * sqrt(irrep.dim)
                    parts.append(B)
                start += len(upper) * c
        if mine:
            B = np.stack(parts, -1).reshape((lmax_edge + 1) ** 2, -1)
            if B.tobytes() not in known:
                known[B.tobytes()] = width
                columns.append(B)
                width += B.shape[1]
            sources.append(Source(x, a.dim, c, known[B.tobytes()], len(parts), tuple(bands)))
            order += [np.arange(weight[p], weight[p] + c) for p in mine]
            rows, done = rows + start, done + c * len(mine)
        x += a.dim * c
    table = np.concatenate(columns, 1)
    table.setflags(write=False)
    return EdgePlan(
        sources=tuple(sources),
        dim_in=x,
        dim_out=rep_out.dim,
        weights=done,
        paths=tuple(paths),
        path_channels=tuple(path_channels),
        rep_in=irreps_in,
        rep_out=rep_out,
        table=table,
        entries=entries,
        entry_weights=entry_weights,
        order=np.concatenate(order),
    )


def _starts(sizes) -> list[int]:
    return [0, *np.cumsum(list(sizes)).tolist()]
