"""A space of maps as a picture: which weights a matrix shares, and the basis matrix by matrix."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..extras import require
from .block import Block
from .map import Map
from .text import kinds, number, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

WIDTH = 9.0  # inches
MOST = 40  # basis matrices drawn for one kind of block


def plot_basis(space: Map, path: str | Path | None = None) -> "Figure":
    """Draw every kind of block of a Map; writes to `path` (png, svg, pdf) where one is given.

    Where each entry belongs to at most one basis map, the first panel numbers and colours the entries by the weight
    that they share. Then every basis map: rows are output components, columns input components, thin lines part the
    values of the first index. Needs matplotlib, from the extra `report`. Raises ValueError for a Map of dimension 0.
    """
    figure_module = require("matplotlib.figure", "report")
    if space.dim == 0:
        raise ValueError(f"{space!r} has no basis to draw")
    drawn = [(block, *shown(block)) for block in kinds(space)]
    heights = [_height(block, matrices) for block, matrices, _ in drawn]
    figure = figure_module.Figure(figsize=(WIDTH, sum(heights) + 0.5), layout="constrained")
    group = space.rep_in.group
    figure.suptitle(f"{space.rep_in}  →  {space.rep_out}   of {group}: {space.dim} weights", fontsize=12)
    parts = figure.subfigures(len(drawn), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (block, matrices, echelon) in zip(parts, drawn):
        _draw(part, block, matrices, echelon)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _grid(matrices: np.ndarray) -> tuple[int, int]:
    """Rows and columns of panels: entries of about a quarter of an inch, panels neither tiny nor huge."""
    count, columns = min(len(matrices), MOST), matrices.shape[2]
    width = min(max(1.4, 0.26 * columns), 2.6 if columns < 20 else 4.2)
    across = max(1, int((WIDTH - 0.3) / width))
    if count > 3 * across:  # many maps: smaller panels rather than a tall page
        across = max(across, min(int((WIDTH - 0.3) / 1.4), math.ceil(count / 3)))
    return math.ceil(count / across), across


def _panel_height(matrices: np.ndarray, across: int) -> float:
    _, rows, columns = matrices.shape
    return min((WIDTH - 0.5) / across * rows / columns, 6.0) + 0.35


def _height(block: Block, matrices: np.ndarray) -> float:
    down, across = _grid(matrices)
    return down * _panel_height(matrices, across) + _sharing_height(matrices) * _disjoint(matrices) + 0.7


def _sharing_height(matrices: np.ndarray) -> float:
    _, rows, columns = matrices.shape
    return min(max(1.0, (WIDTH - 1.5) * rows / columns), 4.5) + 0.6


def _disjoint(matrices: np.ndarray) -> bool:
    return len(matrices) > 1 and bool(((matrices != 0).sum(0) <= 1).all())


def _draw(part: "SubFigure", block: Block, matrices: np.ndarray, echelon: bool) -> None:
    more = f", the first {MOST}" if block.N > MOST else ""
    note = ", in echelon form" if echelon else ""
    title = f"{block.U} → {block.W}: {block.N} map{'s' * (block.N > 1)}{more}{note}, by {block.route}"
    part.suptitle(title, fontsize=10, x=0.01, ha="left")
    down, across = _grid(matrices)
    body = part
    if _disjoint(matrices):
        heights = [_sharing_height(matrices), down * _panel_height(matrices, across)]
        top, body = part.subfigures(2, 1, height_ratios=heights)
        _sharing(top.subplots(), block, matrices)
    panels = body.subplots(down, across, squeeze=False).reshape(-1)
    limit = np.abs(matrices).max()
    size = (WIDTH - 0.5) / across / matrices.shape[2]  # of an entry, in inches
    for k, axes in enumerate(panels):
        if k >= min(block.N, MOST):
            axes.set_axis_off()
        else:
            _panel(axes, block, matrices[k], limit, f"{k + 1}" if echelon else f"{k + 1}:  {block.labels[k]}", size)


def _panel(axes: "Axes", block: Block, M: np.ndarray, limit: float, title: str, size: float) -> None:
    axes.imshow(M, cmap="RdBu_r", vmin=-1.4 * limit, vmax=1.4 * limit, interpolation="nearest", aspect="equal")
    axes.set_title(title, fontsize=7, pad=3)
    _lines(axes, block, M.shape)
    axes.set_xticks([])
    axes.set_yticks([])
    if size >= 0.17:
        for (i, j), value in np.ndenumerate(M):
            if value:
                text = number(value).replace("-", "−")
                color = "white" if abs(value) > 0.6 * limit else "black"
                axes.text(j, i, text, ha="center", va="center", fontsize=min(7, 22 * size), color=color)


def _lines(axes: "Axes", block: Block, shape: tuple[int, int]) -> None:
    """Part the rows and columns by the value of their first index."""
    for term, size, line in ((block.W, shape[0], axes.axhline), (block.U, shape[1], axes.axvline)):
        if len(term.shape) > 1:
            step = size // term.shape[0]
            for k in range(1, term.shape[0]):
                line(k * step - 0.5, color="0.55", linewidth=0.6)


def _sharing(axes: "Axes", block: Block, matrices: np.ndarray) -> None:
    """Entries coloured and numbered by the weight they hold; a minus where they hold its negative."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    alive = (matrices != 0).any(0)
    which = np.where(alive, (matrices != 0).argmax(0), -1).astype(float)
    which[~alive] = np.nan
    count = len(matrices)
    # neighbouring weights should not have neighbouring colours: step round the colour map by the golden ratio
    steps = 0.08 + 0.84 * (np.arange(count) * 0.618034 % 1)
    named = "tab10" if count <= 10 else "tab20"
    table = matplotlib.colormaps[named].colors[:count] if count <= 20 else matplotlib.colormaps["turbo"](steps)
    colours = ListedColormap(table, name="weights").with_extremes(bad="white")
    axes.imshow(which, cmap=colours, vmin=-0.5, vmax=count - 0.5, interpolation="nearest", aspect="auto")
    _lines(axes, block, which.shape)
    rows, columns = which.shape
    if rows <= 30 and columns <= 64:
        for i, j in np.argwhere(alive):
            k = int(which[i, j])
            sign = "−" if matrices[k, i, j] < 0 else ""
            shade = np.dot(colours(k)[:3], (0.299, 0.587, 0.114))
            size = 8 if columns <= 30 else 5
            axes.text(
                j,
                i,
                f"{sign}{k + 1}",
                ha="center",
                va="center",
                fontsize=size,
                color="black" if shade > 0.5 else "white",
            )
    for term, size, place, name in (
        (block.W, rows, axes.set_yticks, "output"),
        (block.U, columns, axes.set_xticks, "input"),
    ):
        shown_all = size <= 30
        ticks = np.arange(size) if shown_all else np.arange(0, size, size // max(term.shape[:1] or (1,)))
        texts = ["".join(map(str, np.unravel_index(t, term.shape))) if term.shape else "" for t in ticks]
        place(ticks, texts, fontsize=7, rotation=90 if name == "input" and shown_all and size > 16 else 0)
    axes.set_xlabel(f"component of {block.U}", fontsize=8)
    axes.set_ylabel(f"component of {block.W}", fontsize=8)
    axes.set_title("entries with the same number share a weight", fontsize=8)
