"""Pieces that every figure shares: the panel, the frame of a plot, legends, colour bars, patterns."""

import math
import re

from torch import Tensor

from .nero_result import NeroResult
from .svg import Scale, colour, fmt, number, style, tag, text, tick

HATCH = (
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6" class="hatch-back"/><line x1="0" y1="0" x2="0" y2="6" class="hatch-line"/></pattern>'
)
SVG_CSS = (
    "text{font:12px system-ui,sans-serif;fill:var(--ink)}.soft{fill:var(--soft)}.small{font-size:11px}"
    ".ax{stroke:var(--soft);fill:none}.gr{stroke:var(--line);fill:none}"
    ".curve{fill:none;stroke-width:2}.curve.a{stroke:var(--a)}.curve.b{stroke:var(--b);stroke-dasharray:6 3}"
    ".band.a{fill:var(--a);opacity:.28}.band.b{fill:var(--b);opacity:.28}"
    ".range.a{fill:var(--a);opacity:.1}.range.b{fill:var(--b);opacity:.1}"
    ".pt.a{fill:var(--a)}.pt.b{fill:var(--b)}.pt{stroke:var(--card);stroke-width:.8}"
    ".floor{stroke:var(--soft);stroke-dasharray:2 3;fill:none;stroke-width:1.5}"
    ".cell{stroke:none}.cut{fill:var(--card);pointer-events:none}.hatch-back{fill:var(--card)}.hatch-line{stroke:var(--soft);stroke-width:2}"
    ".mk{stroke:var(--ink);stroke-width:.7}.lie.a{fill:var(--a)}.axisline{fill:none;stroke:var(--ink);stroke-width:1.2}"
)


def frame(y: Scale, x: Scale, ticks: list[float], name, x_label: str, y_label: str) -> str:
    """Grid lines, ticks, their names and both labels of a plot."""
    body = ""
    for value in y.ticks(5):
        body += tag("line", {"x1": x.start, "x2": x.end, "y1": y(value), "y2": y(value), "class": "gr"})
        body += tag("text", {"x": x.start - 6, "y": y(value) + 4, "text-anchor": "end"}, tick(value))
    for value in ticks:
        body += tag("line", {"x1": x(value), "x2": x(value), "y1": y.start, "y2": y.start + 5, "class": "ax"})
        body += tag("text", {"x": x(value), "y": y.start + 19, "text-anchor": "middle"}, text(name(value)))
    body += tag("line", {"x1": x.start, "x2": x.end, "y1": y.start, "y2": y.start, "class": "ax"})
    under = {"x": (x.start + x.end) / 2, "y": y.start + 38, "text-anchor": "middle", "class": "soft"}
    body += tag("text", under, text(x_label))
    return body + tag("text", {"x": 4, "y": y.end - 14, "class": "soft"}, text(y_label))


def svg(width: float, height: float, alt: str, body: str, attributes: dict[str, object] | None = None) -> str:
    """One panel; its title is read by screen readers through aria-label."""
    return tag(
        "svg",
        {
            "viewBox": f"0 0 {fmt(width)} {fmt(height)}",
            "role": "img",
            "aria-label": alt,
            "style": f"--w:{fmt(width)}px",
            **(attributes or {}),
        },
        body,
    )


def legend(result: NeroResult, scale: Scale, *, lines: bool, colours: bool) -> str:
    """Names of the models with their line and mark where lines are drawn, the colour scale where colours are."""
    parts = []
    if lines and len(result.models) > 1:
        for m, name in enumerate(result.models):
            mark = (
                tag("circle", {"cx": 20, "cy": 8, "r": 3.5, "class": "pt a"})
                if m == 0
                else tag("rect", {"x": 17, "y": 5, "width": 6, "height": 6, "class": "pt b"})
            )
            parts.append(_key(tag("path", {"d": "M2 8H38", "class": f"curve {ab(m)}"}) + mark, name))
    if lines and any(f is not None and scale.low < f < scale.high for f in result.floor):
        parts.append(_key(tag("path", {"d": "M2 8H38", "class": "floor"}), "floor: moved there and back"))
    if colours:
        parts.append(colour_bar(scale, axis_label(result), hatched=result.missing > 0))
    return "".join(parts)


def _key(picture: str, name: str) -> str:
    small = tag("svg", {"viewBox": "0 0 40 16", "width": 40, "height": 16, "aria-hidden": "true"}, picture)
    return f'<span class="key">{small}{text(name)}</span>'


def colour_bar(scale: Scale, label: str, *, hatched: bool = False) -> str:
    """The colour scale with its ticks, drawn once for all figures that share it."""
    width = 330 if hatched else 262
    size = {"viewBox": f"0 0 {width} 36", "width": width, "height": 36, "role": "img"}
    bar = tag("svg", {**size, "aria-label": "colour scale"}, _bar(scale, hatched))
    return f'<span class="key">{bar}<span>{text(label)}</span></span>'


def _bar(scale: Scale, hatched: bool) -> str:
    x = scale.between(8, 248)
    body = "".join(
        tag("rect", {"x": 8 + 6 * i, "y": 4, "width": 6.2, "height": 12, "fill": colour((i + 0.5) / 40)})
        for i in range(40)
    )
    for value in scale.ticks(4):
        body += tag("line", {"x1": x(value), "x2": x(value), "y1": 16, "y2": 20, "class": "ax"})
        body += tag("text", {"x": x(value), "y": 32, "text-anchor": "middle", "class": "small"}, tick(value))
    if hatched:
        body += tag("rect", {"x": 258, "y": 4, "width": 14, "height": 12, "fill": "url(#hatch)", "class": "mk"})
        body += tag("text", {"x": 277, "y": 14, "class": "small"}, "no value")
    return body


def axis_label(result: NeroResult) -> str:
    """What is measured, in which unit, and which way is better."""
    unit = f" ({result.unit})" if result.unit else ""
    return f"{result.label}{unit}, {result.better} is better"


def alt(result: NeroResult, role: str, what: str) -> str:
    """The name of a figure for those who cannot see it."""
    return f"{'Average over samples' if role == 'aggregate' else 'One sample'}: {result.label}, {what}"


def orientation(result: NeroResult) -> str:
    """How to read maps of rotations, and which part of moved images is filled in."""
    if result.grid.kind == "sphere":
        return " Each map shows all axes of rotation at one angle, in true areas: z up, the x axis in the middle."
    if not result.cut:
        return ""
    low, high = result.inside.min().item(), result.inside.max().item()
    shown = " (a cut corner shows the share)" if result.grid.kind != "circle" else ""
    return f" Of a moved image {low:.0%} to {high:.0%} comes from inside the frame, the rest is filled in{shown}."


def table_rows(result: NeroResult) -> list[int]:
    """Places of the grid that the table shows: all, or one for each angle, or the first two hundred."""
    k = len(result.grid)
    if result.grid.kind == "sphere":
        angles, axes = result.grid.shape
        return [row * axes for row in range(angles)] if k > 200 else list(range(k))
    return list(range(min(k, 200)))


def pair(t: Tensor) -> str:
    """An interval in words, a dash where it is not finite."""
    low, high = t.tolist()
    return f"{number(low)} to {number(high)}" if math.isfinite(low) and math.isfinite(high) else "–"


def ab(m: int) -> str:
    """The style of model m: a or b."""
    return "ab"[m % 2]


def standalone(panel: str, below: tuple[str, float, float] = ("", 0.0, 0.0)) -> str:
    """A panel that needs no page: with its own name space, colours and patterns, and markup of some size below it."""
    defs = f"<defs>{HATCH}{GLOBE}</defs><style>{style()}{SVG_CSS}</style>"
    added, wide, high = below
    head, rest = panel.split(">", 1)
    before, size, after = re.split(r'viewBox="0 0 ([^"]*)"', head, maxsplit=1)
    width, height = (float(v) for v in size.split())
    head = f'{before}viewBox="0 0 {fmt(max(width, wide))} {fmt(height + high)}"{after}'
    body, end = rest.rsplit("</svg>", 1)
    added = tag("g", {"transform": f"translate(0 {fmt(height)})"}, added) if added else ""
    return f'{head} xmlns="http://www.w3.org/2000/svg">{defs}{body}{added}</svg>{end}'


def legend_below(result: NeroResult, scale: Scale, panel: str) -> tuple[str, float, float]:
    """The legend of a panel that stands alone, its width and height: what its lines are, or its colours."""
    if 'data-type="line"' not in panel:
        words = tag("text", {"x": 8, "y": 50, "class": "small soft"}, text(axis_label(result)))
        return _bar(scale, result.missing > 0) + words, 330.0 if result.missing else 262.0, 58.0
    lines = list(zip(result.models, ("curve a", "curve b"))) if len(result.models) > 1 else []
    if any(f is not None and scale.low < f < scale.high for f in result.floor):
        lines.append(("moved there and back", "floor"))
    body = ""
    for i, (name, kind) in enumerate(lines):
        body += tag("path", {"d": f"M66 {fmt(12 + 18 * i)}H102", "class": kind})
        body += tag("text", {"x": 110, "y": 16 + 18 * i}, text(name))
    return body, 0.0, 18.0 * len(lines) + 6 * bool(lines)


GLOBE = '<clipPath id="globe"><ellipse cx="100" cy="52" rx="90" ry="45"/></clipPath>'
