"""Plots of values on an orbit: a circle and its unrolled twin, tiles and heat maps, maps of the sphere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.spatial import Voronoi
from torch import Tensor

from .grid import mollweide
from .nero_result import NeroResult
from .parts import ab, alt, axis_label, frame, svg
from .svg import Scale, colour, fmt, number, path, tag, text, tick

MAPS = 6  # angles of the sphere that get a map


@dataclass(frozen=True)
class Series:
    """What one model contributes to an orbit plot."""

    values: Tensor
    band: Tensor | None = None  # [K, 2], confidence
    range: Tensor | None = None  # [K, 2], 10-90 % of samples
    floor: float | None = None


def orbit_panels(result: NeroResult, series: Sequence[Series], scale: Scale, role: str) -> list[str]:
    """The plots of some values on an orbit, by the kind of its grid."""
    kind = result.grid.kind
    if kind == "circle":
        return [_polar(result, series, scale, role), _unrolled(result, series, scale, role)]
    if kind == "sphere":
        return _maps(result, series, scale, role)
    return [_tiles(result, s, scale, role, m) for m, s in enumerate(series)]


def _meta(kind: str, role: str, scale: Scale, **more: object) -> dict[str, object]:
    known = {"type": kind, "role": role, "lo": repr(scale.low), "hi": repr(scale.high), "log": int(scale.log), **more}
    return {f"data-{name}": value for name, value in known.items()}


def _polar(result: NeroResult, series: Sequence[Series], scale: Scale, role: str) -> str:
    cx, cy, inner, outer = 170.0, 166.0, 16.0, 122.0
    radius = scale.between(inner, outer)
    angle = [a * math.pi / 180 for a in result.grid.coordinates["angle"].tolist()]

    def at(k: int, r: float) -> tuple[float, float]:
        return cx - r * math.sin(angle[k]), cy - r * math.cos(angle[k])

    body = ""
    for value in scale.ticks(4):
        body += tag("circle", {"cx": cx, "cy": cy, "r": radius(value), "class": "gr"})
    for degrees in range(0, 360, 45):
        a = degrees * math.pi / 180
        dx, dy = -math.sin(a), -math.cos(a)
        body += tag("line", {
            "x1": cx + inner * dx, "y1": cy + inner * dy, "x2": cx + outer * dx, "y2": cy + outer * dy, "class": "gr",
        })  # fmt: skip
        body += tag(
            "text",
            {"x": cx + (outer + 18) * dx, "y": cy + (outer + 18) * dy + 4, "text-anchor": "middle"},
            f"{degrees}°",
        )
    for s in series:
        if s.floor is not None and scale.low < s.floor < scale.high:
            body += tag("circle", {"cx": cx, "cy": cy, "r": radius(s.floor), "class": "floor"})
    for m, s in enumerate(series):
        for name, pair in (("range", s.range), ("band", s.band)):
            if pair is not None and pair.isfinite().all():
                ring = [at(k, radius(pair[k, 1].item())) for k in range(len(angle))]
                hole = [at(k, radius(pair[k, 0].item())) for k in reversed(range(len(angle)))]
                d = path(ring, closed=True) + path(hole, closed=True)
                body += tag("path", {"d": d, "class": f"{name} {ab(m)}", "fill-rule": "evenodd"})
        points = [at(k, radius(v)) if math.isfinite(v) else None for k, v in enumerate(s.values.tolist())]
        body += tag("path", {"d": path([*points, points[0]]), "class": f"curve {ab(m)}", "data-m": m})
        body += _points(points, m, at, radius(scale.low))
    for value in scale.ticks(4)[-2:]:  # after the curves: labels stay readable
        body += tag("text", {"x": cx + 4, "y": cy - radius(value) - 3, "class": "soft small"}, tick(value))
    body += tag(
        "text", {"x": cx, "y": 326, "text-anchor": "middle", "class": "soft small"}, "0° at the top, counter-clockwise"
    )
    return svg(
        340, 334, alt(result, role, "polar plot"), body, _meta("polar", role, scale, cx=cx, cy=cy, r0=inner, r1=outer)
    )


def _unrolled(result: NeroResult, series: Sequence[Series], scale: Scale, role: str) -> str:
    left, right, top, bottom = 66.0, 446.0, 30.0, 256.0
    y, x = scale.between(bottom, top), Scale(0, 360, left, right)
    angle = result.grid.coordinates["angle"].tolist()
    body = frame(y, x, [0, 90, 180, 270, 360], lambda a: f"{a:g}°", "angle", axis_label(result))
    for s in series:
        if s.floor is not None and scale.low < s.floor < scale.high:
            body += tag("line", {"x1": left, "x2": right, "y1": y(s.floor), "y2": y(s.floor), "class": "floor"})
    for m, s in enumerate(series):
        for name, pair in (("range", s.range), ("band", s.band)):
            if pair is not None and pair.isfinite().all():
                order = [*range(len(angle)), 0]
                xs = [*[x(a) for a in angle], x(360)]
                d = path(
                    [(px, y(pair[k, 1].item())) for px, k in zip(xs, order)]
                    + [(px, y(pair[k, 0].item())) for px, k in zip(reversed(xs), reversed(order))],
                    closed=True,
                )
                body += tag("path", {"d": d, "class": f"{name} {ab(m)}"})
        values = s.values.tolist()
        points = [(x(a), y(v)) if math.isfinite(v) else None for a, v in zip(angle, values)]
        closing = (x(360), points[0][1]) if points[0] else None  # drawn again at 360°, counted once
        body += tag("path", {"d": path([*points, closing]), "class": f"curve {ab(m)}", "data-m": m})
        body += _points(points, m, lambda k, _: (x(angle[k]), bottom - 5), 0)
    return svg(
        460,
        300,
        alt(result, role, "line plot"),
        body,
        _meta("line", role, scale, x0=left, x1=right, y0=bottom, y1=top),
    )


def _points(points: Sequence[tuple[float, float] | None], m: int, fallback, r: float) -> str:
    """A mark for each element; a hatched square where there is no value."""
    out = []
    for k, point in enumerate(points):
        x, y = point or fallback(k, r)
        which = {"data-k": k, "data-m": m}
        if point is None:
            square = {"x": x - 4, "y": y - 4, "width": 8, "height": 8, "fill": "url(#hatch)", "class": "mk none"}
            out.append(tag("rect", {**square, **which}))
        elif m == 0:
            out.append(tag("circle", {"cx": x, "cy": y, "r": 2.6, "class": "pt a", **which}))
        else:
            out.append(tag("rect", {"x": x - 2.4, "y": y - 2.4, "width": 4.8, "height": 4.8, "class": "pt b", **which}))
    return "".join(out)


def _tiles(result: NeroResult, s: Series, scale: Scale, role: str, m: int) -> str:
    rows, columns = result.grid.shape
    kind = result.grid.kind
    finite = kind == "finite"
    size = max(12.0, min(78.0, 380.0 / columns)) if finite else min(26.0, 360.0 / columns)
    left, top = (10.0, 10.0) if finite else (58.0, 10.0)
    gap = 3.0 if finite else 0.0
    body = ""
    for k, v in enumerate(s.values.tolist()):
        r, c = divmod(k, columns)
        r = r if finite else rows - 1 - r  # y up
        x, y = left + c * size, top + r * size
        good = math.isfinite(v)
        body += tag("rect", {
            "x": x, "y": y, "width": size - gap, "height": size - gap, "class": "cell",
            "fill": colour(scale.share(v)) if good else "url(#hatch)", "data-k": k, "data-m": m,
        })  # fmt: skip
        if result.cut and result.inside[k] < 1 - 1e-6:  # a cut corner, as large a share of the tile as the image lost
            leg = min(1.0, math.sqrt(2 * (1 - result.inside[k].item()))) * (size - gap)
            right = x + size - gap
            corner = f"M{fmt(right - leg)} {fmt(y)}H{fmt(right)}V{fmt(y + leg)}Z"
            body += tag("path", {"d": corner, "class": "cut"})
        if finite and size >= 50:
            ink = "#ffffff" if good and scale.share(v) < 0.55 else "#000000"
            attributes = {
                "x": x + (size - gap) / 2,
                "y": y + (size - gap) / 2 + 4,
                "text-anchor": "middle",
                "class": "tile small",
            }
            body += tag(
                "text",
                {**attributes, "style": f"fill:{ink}" if good else None, "data-t": k},
                number(v) if good else "none",
            )
    width, height = left + columns * size + 10, top + rows * size + 14
    if not finite:
        xs, ys = result.grid.coordinates["x"], result.grid.coordinates["y"]
        for value, px in ((xs.min().item(), left + size / 2), (xs.max().item(), left + (columns - 0.5) * size)):
            body += tag("text", {"x": px, "y": height + 2, "text-anchor": "middle", "class": "small"}, tick(value))
        for value, py in ((ys.min().item(), top + (rows - 0.5) * size), (ys.max().item(), top + size / 2)):
            body += tag("text", {"x": left - 6, "y": py + 4, "text-anchor": "end", "class": "small"}, tick(value))
        middle = top + rows * size / 2
        body += tag(
            "text",
            {"x": left + columns * size / 2, "y": height + 2, "text-anchor": "middle", "class": "soft small"},
            text(result.grid.axis_labels[0]),
        )
        body += tag(
            "text",
            {
                "x": 14,
                "y": middle,
                "text-anchor": "middle",
                "class": "soft small",
                "transform": f"rotate(-90 14 {fmt(middle)})",
            },
            text(result.grid.axis_labels[1]),
        )
        height += 8
    if len(result.models) > 1:
        body += tag("text", {"x": width / 2, "y": height + 12, "text-anchor": "middle"}, text(result.models[m]))
        height += 20
    return svg(
        width,
        height,
        f"{alt(result, role, 'tiles' if finite else 'heat map')}, {result.models[m]}",
        body,
        _meta("cells", role, scale, m=m),
    )


def shown_angles(shape: tuple[int, ...]) -> list[int]:
    """Rows of a sphere grid that get a map: evenly spaced, 180° included, 0° (the identity) not."""
    n = shape[0]
    return sorted({round((j + 1) * (n - 1) / min(MAPS, n - 1)) for j in range(min(MAPS, n - 1))})


def _maps(result: NeroResult, series: Sequence[Series], scale: Scale, role: str) -> list[str]:
    angles, axes = result.grid.shape
    angle = result.grid.coordinates["angle"].reshape(angles, axes)[:, 0].tolist()
    cells = sphere_cells(result.grid.coordinates["axis"][:axes])
    panels = []
    for m, s in enumerate(series):
        values = s.values.tolist()
        for row in shown_angles(result.grid.shape):
            body = ""
            for a, outline in enumerate(cells):
                v = values[row * axes + a]
                fill = colour(scale.share(v)) if math.isfinite(v) else "url(#hatch)"
                body += tag(
                    "path", {"d": outline, "class": "cell", "fill": fill, "data-k": row * axes + a, "data-m": m}
                )
            body = tag("g", {"clip-path": "url(#globe)"}, body)
            body += tag("ellipse", {"cx": 100, "cy": 52, "rx": 90, "ry": 45, "class": "ax"})
            title = f"{angle[row]:.4g}°" + (f", {result.models[m]}" if len(series) > 1 else "")
            body += tag("text", {"x": 100, "y": 114, "text-anchor": "middle"}, text(title))
            panels.append(
                svg(
                    200,
                    120,
                    f"{alt(result, role, 'map of axes')}, turn by {title}",
                    body,
                    _meta("cells", role, scale, m=m),
                )
            )
    panels.append(_profiles(result, series, scale, role, angle))
    return panels


def sphere_cells(axes: Tensor) -> list[str]:
    """The part of the map that is nearest to each axis, as path data on the 200 × 104 panel."""
    flat = mollweide(axes)
    width = 4 * (1 - flat[:, 1].square()).clamp_min(0).sqrt()  # once around at this height: the map closes on itself
    shift = torch.stack([width, torch.zeros_like(width)], 1)
    far = torch.tensor([[9.0, 9], [-9, 9], [9, -9], [-9, -9], [0, 4], [0, -4]], dtype=flat.dtype)
    points = torch.cat([flat, flat + shift, flat - shift, far])
    diagram = Voronoi(points.numpy())
    out = []
    for a in range(len(axes)):
        outline = ""
        for copy in (a, a + len(axes), a + 2 * len(axes)):
            x, y = diagram.vertices[diagram.regions[diagram.point_region[copy]]].clip(-6, 6).T
            if x.min() < 2 and x.max() > -2 and y.min() < 1 and y.max() > -1:  # the rest is outside the map
                outline += path([(100 + 45 * float(p), 52 - 45 * float(q)) for p, q in zip(x, y)], closed=True)
        out.append(outline)
    return out


def _profiles(result: NeroResult, series: Sequence[Series], scale: Scale, role: str, angle: list[float]) -> str:
    angles, axes = result.grid.shape
    left, right, top, bottom = 66.0, 446.0, 30.0, 200.0
    y, x = scale.between(bottom, top), Scale(0, 180, left, right)
    body = frame(y, x, [0, 45, 90, 135, 180], lambda a: f"{a:g}°", "angle of the turn", axis_label(result))
    for s in series:
        if s.floor is not None and scale.low < s.floor < scale.high:
            body += tag("line", {"x1": left, "x2": right, "y1": y(s.floor), "y2": y(s.floor), "class": "floor"})
    for m, s in enumerate(series):
        table = s.values.reshape(angles, axes)
        low, high = table.nan_to_num(nan=math.inf).amin(1), table.nan_to_num(nan=-math.inf).amax(1)
        fine = [k for k in range(angles) if math.isfinite(low[k]) and math.isfinite(high[k])]
        d = path(
            [(x(angle[k]), y(high[k].item())) for k in fine]
            + [(x(angle[k]), y(low[k].item())) for k in reversed(fine)],
            closed=True,
        )
        body += tag("path", {"d": d, "class": f"band {ab(m)}", "data-m": m})
        mean = table.nanmean(1).tolist()
        points = [(x(a), y(v)) if math.isfinite(v) else None for a, v in zip(angle, mean)]
        body += tag("path", {"d": path(points), "class": f"curve {ab(m)}", "data-m": m})
    body += tag("path", {"d": "", "class": "axisline"})
    return svg(
        460, 246, alt(result, role, "profile over angles"), body,
        {**_meta("profile", role, scale, x0=left, x1=right, y0=bottom, y1=top), "class": "full"},
    )  # fmt: skip
