"""A space of maps as text: what `intertwine basis` prints."""

from fractions import Fraction

import numpy as np

from .block import Block
from .dense import DenseKernel
from .echelon import readable
from .map import Map

MOST_ENTRIES = 2**26  # of all matrices of a block together
WIDE, TALL = 40, 30  # a matrix with more columns or rows is listed entry by entry


def describe(space: Map, *, most: int = 60) -> str:
    """Dimension, rule and basis of a Map; of every kind of block at most `most` basis maps are written out.

    A basis that the solver found as numbers is shown in reduced echelon form, with fractions where they fit: it spans
    the same space as the orthonormal basis that the weights multiply.
    """
    lines = [space.explain()]
    for block in kinds(space):
        matrices, echelon = shown(block)
        for k, M in enumerate(matrices[:most]):
            name = ", in echelon form" if echelon else f": {block.labels[k]}"
            lines += ["", f"{block.U} -> {block.W}, map {k + 1} of {block.N}{name}", _matrix(M, block)]
        if len(matrices) > most:
            lines += ["", f"{block.U} -> {block.W}: {len(matrices) - most} more maps"]
    return "\n".join(lines)


def kinds(space: Map) -> list[Block]:
    """One block for each pair of different terms."""
    found: dict[tuple, Block] = {}
    for block in space.blocks:
        found.setdefault((block.U, block.W), block)
    return list(found.values())


def shown(block: Block) -> tuple[np.ndarray, bool]:
    """Basis matrices of a block for reading [N, dim_out, dim_in], and whether they are not those of the weights."""
    entries = block.N * block.W.dim * block.U.dim
    if entries > MOST_ENTRIES:
        raise ValueError(
            f"{block}: {block.N} matrices of {block.W.dim} x {block.U.dim} are too many to show; use explain(), "
            "or a smaller representation of the same kind"
        )
    B = block.kernel.dense()
    if not isinstance(block.kernel, DenseKernel):
        return B, False
    flat = np.linalg.qr(B.reshape(len(B), -1).T)[0]
    return readable(flat).T.reshape(B.shape), True


def _matrix(M: np.ndarray, block: Block) -> str:
    if M.shape[1] <= WIDE and M.shape[0] <= TALL:
        cells = [[number(v) for v in row] for row in M]
        width = max(len(cell) for row in cells for cell in row)
        group = block.U.shape[-1] if len(block.U.shape) > 1 else M.shape[1]
        rows = []
        for row in cells:
            padded = [cell.rjust(width) for cell in row]
            parts = [" ".join(padded[i : i + group]) for i in range(0, len(padded), group)]
            rows.append("  " + " | ".join(parts))
        return "\n".join(rows)
    entries = np.argwhere(M)
    listed = [
        f"y[{_index(i, block.W.shape)}] += {number(M[i, j])} x[{_index(j, block.U.shape)}]" for i, j in entries[:8]
    ]
    more = [f"and {len(entries) - 8} more entries"] if len(entries) > 8 else []
    return "\n".join(f"  {line}" for line in listed + more)


def _index(flat: int, shape: tuple[int, ...]) -> str:
    return ",".join(str(int(i)) for i in np.unravel_index(flat, shape)) if shape else ""


def number(value: float) -> str:
    """A zero as a dot, a fraction with a small denominator as such, anything else to four digits."""
    near = Fraction(float(value)).limit_denominator(24)
    if abs(float(near) - value) < 1e-9:
        return "." if near == 0 else str(near)
    return f"{value:.4g}"
