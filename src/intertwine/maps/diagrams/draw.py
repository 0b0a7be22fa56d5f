"""Pictures of diagrams: outputs on top, inputs below, a curve for each link, a dot for the head of a jellyfish."""

from collections.abc import Sequence
from itertools import pairwise

from ...extras import require
from .category import HEADED, SPARE, STARRED, Diagram

STEP, HEIGHT, MARGIN, RADIUS = 28, 56, 16, 4  # pixels


def svg(diagram: Diagram) -> str:
    """The diagram as a small SVG image, for notebooks and pages."""
    width = MARGIN * 2 + STEP * max(diagram.l, diagram.k, 1)
    height = HEIGHT + 2 * MARGIN
    drawn = [f'<path d="{_path(link)}" fill="none" stroke="{colour}"/>' for link, colour in _links(diagram)]
    drawn += [f'<circle cx="{x:g}" cy="{y:g}" r="{RADIUS}"/>' for x, y in map(_place(diagram), _points(diagram))]
    if diagram.kind in HEADED:
        x, y = _head(diagram)
        drawn.append(f'<circle cx="{x:g}" cy="{y:g}" r="{RADIUS + 2}" fill="white" stroke="black"/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img">'
        f"<title>{diagram}</title>{''.join(drawn)}</svg>"
    )


def plot(diagrams: Diagram | Sequence[Diagram], columns: int = 5):
    """Draw diagrams with matplotlib, in rows of `columns`; returns the figure. Needs the extra `report`."""
    figures = require("matplotlib.figure", "report")
    paths = require("matplotlib.path", "report")
    patches = require("matplotlib.patches", "report")
    diagrams = [diagrams] if isinstance(diagrams, Diagram) else list(diagrams)
    columns = max(1, min(columns, len(diagrams)))
    rows = max(1, -(-len(diagrams) // columns))
    figure = figures.Figure(figsize=(1.6 * columns, 1.3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for ax in axes:
        ax.set_axis_off()
        ax.invert_yaxis()
        ax.set_aspect("equal")
    for ax, diagram in zip(axes, diagrams):
        for (start, bend, end), colour in _links(diagram):
            curve = paths.Path([start, bend, end], [paths.Path.MOVETO, paths.Path.CURVE3, paths.Path.CURVE3])
            ax.add_patch(patches.PathPatch(curve, fill=False, edgecolor=colour))
        if points := [_place(diagram)(p) for p in _points(diagram)]:
            ax.scatter(*zip(*points), s=14, color="black", zorder=2)
        if diagram.kind in HEADED:
            ax.scatter(*_head(diagram), s=40, facecolor="white", edgecolor="black", zorder=3)
        ax.set_title(str(diagram).partition(" ")[2], fontsize=6)
        ax.autoscale_view()
    return figure


def _points(diagram: Diagram) -> range:
    return range(diagram.l + diagram.k)


def _place(diagram: Diagram):
    """Where a point is drawn, (x, y) with y downwards."""

    def place(point: int) -> tuple[float, float]:
        on_top = point < diagram.l
        column = point if on_top else point - diagram.l
        return MARGIN + STEP * (column + 0.5), MARGIN + (0 if on_top else HEIGHT)

    return place


def _head(diagram: Diagram) -> tuple[float, float]:
    return MARGIN + STEP * (max(diagram.l, diagram.k) + 0.4), MARGIN + HEIGHT / 2


def _links(diagram: Diagram):
    """(start, control point, end) and a colour for every link of a block, and for every leg of the head."""
    place = _place(diagram)
    middle = MARGIN + HEIGHT / 2
    starred = diagram.head if diagram.kind in STARRED else ()
    for i, block in enumerate(diagram.blocks):
        for a, b in pairwise(block):
            (x, y), (u, v) = place(a), place(b)
            depth = min(1.0, 0.4 + 0.2 * abs(b - a)) if y == v else 1.0  # longer arcs within a row hang lower
            yield ((x, y), ((x + u) / 2, y + (middle - y) * depth), (u, v)), "crimson" if i in starred else "black"
    for i in () if starred else diagram.head:
        x, y = _head(diagram)
        start = (x + STEP / 2, y) if i == SPARE else place(diagram.blocks[i][0])
        yield (start, ((start[0] + x) / 2, y), (x, y)), "gray"


def _path(link) -> str:
    (x, y), (a, b), (u, v) = link
    return f"M{x:g} {y:g}Q{a:g} {b:g} {u:g} {v:g}"
