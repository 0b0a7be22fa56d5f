"""Where everything lies in a depth-wise convolution over edges: rows of constants, weights, blocks of the output."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np

from .couplings import coupled
from .irreps import Irrep, Irreps
from .wigner import clebsch_gordan


@dataclass(frozen=True)
class Strand:
    """All paths from one input block to one output irrep: n of them, neighbours in rows, weights and output."""

    row: int  # first row among the rows (order m3, path) of the input block
    rows: int  # (2 l3 + 1) · n
    dim: int  # 2 l3 + 1
    width: int  # n · channels: entries of one row of the output
    weight: int  # first flat weight
    out: int  # first entry of the output block
    channel: int  # first channel inside it
    channels: int  # all channels of it


@dataclass(frozen=True)
class Source:
    """One input block: Y turns into matrices T [2l1+1, rows] by one constant matrix product."""

    x: int  # first entry of the block
    dim: int  # 2 l1 + 1
    channels: int
    table: int  # first column of the constants; blocks of equal degree and paths share them
    rows: int
    strands: tuple[Strand, ...]


@dataclass(frozen=True, eq=False)
class EdgePlan:
    """What an `EdgeConv` runs. Hashed by identity: one for each module."""

    sources: tuple[Source, ...]
    dim_in: int
    dim_out: int
    weights: int
    paths: tuple[tuple[int, int, Irrep], ...]  # (input block, l2, output irrep) in the order of the weights
    path_channels: tuple[int, ...]
    rep_out: Irreps
    table: np.ndarray  # [(lmax_edge+1)², columns], float64

    @cached_property
    def idle(self) -> tuple[slice, ...]:
        """Entries of the input that no path reads."""
        ends, start = [], 0
        for source in self.sources:
            ends.append(slice(start, source.x))
            start = source.x + source.dim * source.channels
        return tuple(s for s in (*ends, slice(start, self.dim_in)) if s.stop > s.start)

    @cached_property
    def widest(self) -> int:
        """The most numbers that one step needs for one edge."""
        return max(max(s.rows * s.channels, s.dim * s.rows, s.dim * s.channels) for s in self.sources)

    def weight_shape(self) -> tuple[int, ...]:
        """(paths, channels) where all input blocks have equal channels, else (numbers,)."""
        equal = set(self.path_channels)
        return (len(self.paths), *equal) if len(equal) == 1 else (self.weights,)

    @cached_property
    def entries(self) -> np.ndarray:
        """Where each entry of the output lies among the rows of all sources, one after the other."""
        starts = np.cumsum([0, *(source.rows * source.channels for source in self.sources)])
        return self._spread(
            lambda i, s: starts[i] + s.row * self.sources[i].channels + np.arange(s.dim * s.width).reshape(s.dim, -1)
        )

    @cached_property
    def entry_weights(self) -> np.ndarray:
        """The flat weight that scales each entry of the output."""
        return self._spread(lambda i, s: np.arange(s.weight, s.weight + s.width))

    def _spread(self, value: Callable[[int, Strand], np.ndarray]) -> np.ndarray:
        index = np.empty(self.dim_out, dtype=np.int64)
        for i, source in enumerate(self.sources):
            for s in source.strands:
                block = index[s.out : s.out + s.dim * s.channels].reshape(s.dim, s.channels)
                block[:, s.channel : s.channel + s.width] = value(i, s)
        return index


def edge_plan(irreps_in: Irreps, lmax_edge: int, irreps_out: Irreps) -> EdgePlan:
    """Lay out every path (block of irreps_in) ⊗ Y_l2 → irrep in irreps_out, scaled by √(2l3+1).

    Paths are ordered by input block, then output irrep (in the order of irreps_out), then l2. In the output each irrep
    is one block, whose channels follow that order too.
    """
    wanted = list(dict.fromkeys(irrep for irrep, _ in irreps_out.blocks))
    parity = irreps_in.group == irreps_out.group and irreps_in.blocks[0][0].p is not None
    edge = [Irrep(l, (-1) ** l if parity else None) for l in range(lmax_edge + 1)]
    found = [
        (i, c, irrep, [y.l for y in edge if coupled(a, y, irrep)])
        for i, (a, c) in enumerate(irreps_in.blocks)
        for irrep in wanted
    ]
    channels = {irrep: sum(c * len(degrees) for _, c, k, degrees in found if k == irrep) for irrep in wanted}
    rep_out = Irreps([(channels[irrep], irrep) for irrep in wanted])
    starts, start = {}, 0
    for irrep, c in rep_out.blocks:
        starts[irrep], start = start, start + irrep.dim * c
    filled = dict.fromkeys(wanted, 0)

    sources, paths, path_channels, columns, known = [], [], [], [], {}
    x = weight = width = 0
    for i, (a, c) in enumerate(irreps_in.blocks):
        strands, row, parts = [], 0, []
        mine = [(irrep, degrees) for k, _, irrep, degrees in found if k == i and degrees]
        places = {}
        for irrep, degrees in mine:
            places[irrep] = weight, filled[irrep]
            paths += [(i, l2, irrep) for l2 in degrees]
            path_channels += [c] * len(degrees)
            weight, filled[irrep] = weight + len(degrees) * c, filled[irrep] + len(degrees) * c
        for irrep, degrees in sorted(mine, key=lambda entry: (entry[0].l, entry[1])):  # alike for both parities
            n, (first, channel) = len(degrees), places[irrep]
            strands.append(Strand(row, irrep.dim * n, irrep.dim, n * c, first, starts[irrep], channel, channels[irrep]))
            B = np.zeros(((lmax_edge + 1) ** 2, a.dim, irrep.dim, n))
            for k, l2 in enumerate(degrees):
                C = clebsch_gordan(a.l, l2, irrep.l) * sqrt(irrep.dim)
                B[l2 * l2 : (l2 + 1) ** 2, :, :, k] = C.transpose(1, 0, 2)
            parts.append(B.reshape(*B.shape[:2], -1))
            row += irrep.dim * n
        if strands:
            B = np.concatenate(parts, -1).reshape((lmax_edge + 1) ** 2, -1)
            if B.tobytes() not in known:
                known[B.tobytes()] = width
                columns.append(B)
                width += B.shape[1]
            sources.append(Source(x, a.dim, c, known[B.tobytes()], row, tuple(strands)))
        x += a.dim * c
    if not paths:
        raise ValueError(f"EdgeConv: no path leads from {irreps_in} and degrees up to {lmax_edge} to {irreps_out}")
    table = np.concatenate(columns, 1)
    table.setflags(write=False)
    return EdgePlan(tuple(sources), x, rep_out.dim, weight, tuple(paths), tuple(path_channels), rep_out, table)
