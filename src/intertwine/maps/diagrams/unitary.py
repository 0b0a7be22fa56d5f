"""Apply decorated pairings: J on some inputs, a layer of plain pairings, J on some outputs.

A starred pair is a plain one with the complex structure on one of its ends. So the layer of U(n) on R^(2n) is the layer
of O(2n) on copies of the features that J has turned, side by side as channels; J only moves and negates components.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...groups import O, U
from ..kernel import Plan
from .category import Diagram

if TYPE_CHECKING:
    from .fuse import Layer
    from .kernel import DiagramKernel

Axes = tuple[int, ...]  # on which J acts


@dataclass(frozen=True)
class Turned(Plan):
    """Weights go to cells (pairing, turned copy of the input, turned copy of the output); other cells are zero.

    Constants: those of the layer, the cell and the sign of each map, then index and sign of every turn but the empty.
    """

    layer: "Layer"
    turns_in: tuple[Axes, ...]
    turns_out: tuple[Axes, ...]
    pairings: int

    @classmethod
    def of(cls, kernel: "DiagramKernel", c_in: int, c_out: int) -> "Turned":
        """The plan of a kernel of decorated pairings between so many channels."""
        from .fuse import Layer  # these two build on this file
        from .kernel import DiagramKernel

        diagrams, signs, source, target = kernel.diagrams, np.ones(kernel.N), kernel.U, kernel.W
        if kernel.flipped:
            signs = np.array([d.transpose_sign for d in diagrams], dtype=np.float64)
            diagrams, source, target = tuple(d.T for d in diagrams), target, source
        ends = [_ends(d) for d in diagrams]
        plain = list(dict.fromkeys(d.blocks for d in diagrams))
        ins, outs = (tuple(sorted({end[side] for end in ends}, key=lambda axes: (len(axes), axes))) for side in (0, 1))
        cells = [
            (plain.index(d.blocks) * len(ins) + ins.index(below)) * len(outs) + outs.index(above)
            for d, (below, above) in zip(diagrams, ends)
        ]
        pairings = tuple(Diagram(target.order, source.order, blocks, "brauer") for blocks in plain)
        inner = DiagramKernel(O(kernel.group.dim_V), target, source, pairings, len(pairings))
        layer = Layer({(0, 0): inner}, {0: c_in * len(ins)}, {0: c_out * len(outs)})
        constants = [*layer.arrays, np.array(cells), signs[:, None, None]]
        for turns, order in ((ins, source.order), (outs, target.order)):
            for axes in turns:
                constants += turn(kernel.group, order, axes) if axes else ()
        return cls(tuple(constants), layer.flops, layer, ins, outs, len(pairings))

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        own = len(self.layer.arrays)
        cells, signs, *moves = constants[own:]
        ins, outs, (_, c_in, c_out) = len(self.turns_in), len(self.turns_out), w.shape
        W = w.new_zeros(self.pairings * ins * outs, c_in, c_out).index_copy(0, cells, w * signs.to(w.dtype))
        W = W.view(self.pairings, ins, outs, c_in, c_out).transpose(2, 3)
        copies = self._turned([x] * ins, self.turns_in, moves)
        W = W.reshape(self.pairings, ins * c_in, outs * c_out)
        (y,) = self.layer.run([copies[0] if ins == 1 else torch.cat(copies, -1)], [W], constants[:own])
        parts = self._turned(y.split(c_out, -1), self.turns_out, moves[2 * sum(map(bool, self.turns_in)) :])
        return sum(parts[1:], parts[0])

    def _turned(self, parts, turns: tuple[Axes, ...], moves: list[Tensor]) -> list[Tensor]:
        """Each part with J on its axes; `moves` are index and sign of every turn that is not empty, in order."""
        found, place = [], 0
        for part, axes in zip(parts, turns):
            if axes:
                index, sign = moves[place : place + 2]
                part, place = part.index_select(-2, index) * sign.to(part.dtype), place + 2
            found.append(part)
        return found


def _ends(d: Diagram) -> tuple[Axes, Axes]:
    """The input and the output axes on which J acts: the last point of a pair, the first of a pair of outputs."""
    starred = [d.blocks[i] for i in d.head]
    below = tuple(sorted(b - d.l for _, b in starred if b >= d.l))
    return below, tuple(sorted(a for a, b in starred if b < d.l))


def turn(group: U, order: int, axes: Axes) -> tuple[np.ndarray, np.ndarray]:
    """J on some axes of V^order: index [n^order] and sign [n^order, 1] with (Jx)[i] = sign[i] x[index[i]]."""
    n, J = group.dim_V, group.complex_structure().numpy()
    index, sign = np.zeros(1, dtype=np.int64), np.ones(1)
    for axis in range(order):
        M = J if axis in axes else np.eye(n)
        there = np.abs(M).argmax(1)
        index = (index[:, None] * n + there).reshape(-1)
        sign = (sign[:, None] * M[np.arange(n), there]).reshape(-1)
    return index, sign[:, None]
