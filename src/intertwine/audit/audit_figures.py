"""The figures of an audit result: noise floors, a mark per sample, one sample's errors, Lie derivatives."""

import math
from collections.abc import Sequence

from .figures import Figure
from .parts import frame, svg
from .result import AuditResult, OutputAudit
from .svg import Scale, colour, fmt, number, tag, text, tick


def error_scale(outputs: Sequence[OutputAudit]) -> Scale:
    """One logarithmic scale for the errors of one output, of all models; the size of the output is always on it."""
    everything = []
    for o in outputs:
        everything += [v for t in (o.errors, o.special_errors, o.size) for v in t.flatten().tolist()]
        everything += [v for v in (o.floor.dtype, o.floor.action, o.floor.repeat, o.floor.batching) if v is not None]
    everything = [v for v in everything if math.isfinite(v) and v > 0] or [1.0]
    high = 10.0 ** math.ceil(math.log10(max(everything)))
    low = max(10.0 ** math.floor(math.log10(min(everything))), high * 1e-20)
    return Scale(low if low < high else high / 10, high, 0.0, 1.0, True)


def noise_strip(result: AuditResult) -> Figure:
    """Floors, RMS and maximum of each output on one axis, relative to the size of that output."""
    marks, rows = [], []
    for name, o in result.outputs.items():
        size = _rms(o.size.tolist())
        found = {
            "dtype floor": (o.floor.dtype, "square"),
            "action floor": (o.floor.action, "diamond"),
            "repeat": (max(o.floor.repeat, o.floor.batching), "triangle"),
            "RMS error": (o.rms, "dot"),
            "largest error": (result.row("absolute", name).maximum, "bar"),
        }
        marks.append((name, size, found))
        rows.append([name or "output", number(size), *[number(v) for v, _ in found.values()]])
    shares = [v / size for _, size, found in marks for v, _ in found.values() if v and math.isfinite(v) and size > 0]
    high = 10.0 ** math.ceil(math.log10(max([*shares, 1.0])))
    low = min(10.0 ** math.floor(math.log10(min([*shares, 0.1]))), high / 10)
    left, right = 16.0, 444.0
    x = Scale(low, high, left, right, True)
    body, top = "", 8.0
    for name, size, found in marks:
        y = top + 34
        label = name or "output"
        body += tag("text", {"x": left, "y": top + 12}, text(label))
        body += tag("line", {"x1": left, "x2": right, "y1": y, "y2": y, "class": "gr", "stroke-width": 6})
        for what, (value, shape) in found.items():
            if value is None or not math.isfinite(value):
                continue
            share = value / size if size > 0 else 0.0
            body += _mark(shape, x(share) if share > 0 else left, y, f"{what} {number(share)} of the output")
        top += 52
    body += tag("line", {"x1": left, "x2": right, "y1": top, "y2": top, "class": "ax"})
    for value in x.ticks(6):
        body += tag("line", {"x1": x(value), "x2": x(value), "y1": top, "y2": top + 5, "class": "ax"})
        body += tag("text", {"x": x(value), "y": top + 19, "text-anchor": "middle"}, tick(value))
    body += tag(
        "text",
        {"x": 230, "y": top + 38, "text-anchor": "middle", "class": "soft"},
        "relative to the size of the output",
    )
    sentence = " ".join(
        f"{name or 'Output'}: RMS error {number(found['RMS error'][0])}, largest {number(found['largest error'][0])}; "
        f"floors: dtype {_or_dash(found['dtype floor'][0])}, action {number(found['action floor'][0])}, "
        f"repeat {number(found['repeat'][0])}."
        for name, _, found in marks
    )
    names = {
        "square": "dtype floor",
        "diamond": "action floor",
        "triangle": "repeat",
        "dot": "RMS error",
        "bar": "largest error",
    }
    legend = "".join(
        f'<span class="key"><svg viewBox="0 0 18 18" width="18" height="18" aria-hidden="true">'
        f"{_mark(shape, 9, 9)}</svg>{name}</span>"
        for shape, name in names.items()
    )
    return Figure(
        "Errors against the noise floors",
        sentence,
        [svg(460, top + 46, "Errors and noise floors on one logarithmic axis", body, {"class": "full"})],
        ["output", "size", "dtype floor", "action floor", "repeat", "RMS error", "largest error"],
        rows,
        legend,
        note="dtype: the model in float32 against float64. Action: the model on an input moved there and back. Repeat: "
        "two "
        "identical calls, or two ways of cutting the data into batches. What is zero is drawn at the left end.",
    )  # fmt: skip


def sample_scatter(result: AuditResult, o: OutputAudit, marks: list[int], scale: Scale) -> Figure:
    """One mark per sample: the size of its output against its RMS error over the orbit."""
    size = o.size.tolist()
    error = [_rms(row) for row in o.errors.tolist()]
    finite = [v for v in size if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    pad = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    x, y = Scale(low - pad, high + pad, 66, 446), scale.between(226, 30)
    ticks = x.ticks(5)
    body = frame(y, x, ticks, tick, "size of the output, ‖f(x)‖", "error of the sample")
    dots = []
    for i in marks:
        if math.isfinite(error[i]) and math.isfinite(size[i]):
            fill = colour(scale.share(error[i]))
            dots.append(tag("circle", {"data-i": i, "cx": x(size[i]), "cy": y(error[i]), "r": 3.6, "fill": fill}))
        else:
            px = x(size[i]) if math.isfinite(size[i]) else 66.0
            square = {"x": px - 4, "y": 26, "width": 8, "height": 8, "fill": "url(#hatch)"}
            dots.append(tag("rect", {"data-i": i, **square}))
    body += tag("g", {"class": "mk"}, *dots)
    ranked = sorted(marks, key=lambda i: -error[i] if math.isfinite(error[i]) else -math.inf)
    worst = ranked[0]
    rows = [[str(result.samples[i]), number(size[i]), number(error[i]), number(_largest(o, i))] for i in ranked[:200]]
    lost = sum(not math.isfinite(e) for e in error)
    return Figure(
        f"Map of samples{_of(o)}",
        f"Sample {result.samples[worst]} is worst: RMS error {number(error[worst])} over its orbit."
        + (f" {lost} samples have no value." if lost else ""),
        [svg(460, 274, "Error and size of the output of each sample", body, {"data-type": "samples", "class": "full"})],
        ["sample", "‖f(x)‖", "RMS error", "largest error"],
        rows,
        stage="samples",
        note="One mark per sample; a hatched square at the top is a sample without a value.",
    )  # fmt: skip


def one_sample(result: AuditResult, o: OutputAudit, i: int, scale: Scale) -> Figure:
    """The errors of one sample, draw by draw and at the special elements."""
    k, special = o.errors.shape[1], o.special_errors.shape[1]
    y = scale.between(206, 30)
    total = k + special + (1 if special else 0)
    x = Scale(-0.7, total - 0.3, 66, 446)
    body = frame(y, Scale(0, 1, 66, 446), [], tick, "", "error")
    values = [*o.errors[i].tolist(), *o.special_errors[i].tolist()]
    for j, v in enumerate(values):
        px = x(j if j < k else j + 1)
        good = math.isfinite(v)
        shape = {"data-k": j, "class": f"pt {'a' if j < k else 'b'}"}
        py = y(v) if good else 201.0
        body += tag("line", {"x1": px, "x2": px, "y1": y.start, "y2": py, "class": "gr stem", "data-k": j})
        if not good:
            body += tag(
                "rect",
                {**shape, "x": px - 4, "y": py - 4, "width": 8, "height": 8, "fill": "url(#hatch)", "class": "mk none"},
            )
        elif j < k:
            body += tag("circle", {**shape, "cx": px, "cy": py, "r": 3.6})
        else:
            body += tag("rect", {**shape, "x": px - 3.4, "y": py - 3.4, "width": 6.8, "height": 6.8})
    drawn = "given elements" if result.element_labels is not None else "drawn elements"
    body += tag("text", {"x": x((k - 1) / 2), "y": 225, "text-anchor": "middle", "class": "soft"}, f"{k} {drawn}")
    if special:
        px = x(k + 1 + (special - 1) / 2)
        body += tag(
            "text", {"x": min(px, 420.0), "y": 225, "text-anchor": "middle", "class": "soft"}, f"{special} special"
        )
    names = element_names(result, i)
    rows = [[name, number(v)] for name, v in zip(names, values)]
    good = [(v, name) for v, name in zip(values, names) if math.isfinite(v)]
    peak = max(good) if good else None
    sentence = (
        f"Sample {result.samples[i]}: largest error {number(peak[0])} at {peak[1]}."
        if peak
        else f"Sample {result.samples[i]} has no value."
    )
    meta = {
        "data-type": "dots", "data-role": "individual", "data-lo": repr(scale.low), "data-hi": repr(scale.high),
        "data-log": 1, "data-y0": 206, "data-y1": 30, "class": "full",
    }  # fmt: skip
    return Figure(
        f"One sample, element by element{_of(o)}",
        sentence,
        [svg(460, 238, "Errors of one sample", body, meta)],
        ["element", "error"],
        rows,
        stage="orbit",
        note="Circles: elements that averages are over. Squares: identity, generators, reflections, quarter turns.",
    )


def lie_bars(result: AuditResult) -> Figure | None:
    """The Lie derivative along each generator, relative to the size of the output; None for a finite group."""
    found = [row for row in result.table if row.name == "lie_derivative"]
    if not found:
        return None
    sizes = {name: _rms(o.size.tolist()) for name, o in result.outputs.items()}
    shares = [row.value / sizes[row.output] if sizes[row.output] > 0 else 0.0 for row in found]
    finite = [s for s in shares if math.isfinite(s)]
    high = max([*finite, 1e-9])  # below 1e-9 a bar would show rounding
    several = len(result.outputs) > 1
    left, right, step = 190.0, 400.0, 22.0
    x = Scale(0.0, high, left, right)
    body = ""
    for n, (row, share) in enumerate(zip(found, shares)):
        y = 10 + n * step
        label = f"{row.output}: {row.detail}" if several else row.detail
        body += tag("text", {"x": left - 8, "y": y + 12, "text-anchor": "end", "class": "small"}, text(label[:34]))
        if math.isfinite(share):
            body += tag(
                "rect",
                {"x": left, "y": y + 2, "width": max(0.8, x(share) - left), "height": step - 8, "class": "lie a"},
            )
            body += tag("text", {"x": x(share) + 5, "y": y + 12, "class": "small"}, number(share))
        else:
            body += tag("rect", {"x": left, "y": y + 2, "width": 40, "height": step - 8, "fill": "url(#hatch)"})
    height = 10 + len(found) * step
    body += tag("line", {"x1": left, "x2": left, "y1": 8, "y2": height, "class": "ax"})
    body += tag("text", {"x": left, "y": height + 18, "class": "soft"}, "relative to the size of the output")
    steepest = max(range(len(found)), key=lambda n: shares[n] if math.isfinite(shares[n]) else -1)
    return Figure(
        "Which direction breaks: Lie derivatives",
        f"Largest along {found[steepest].detail}{' for ' + found[steepest].output if several else ''}: "
        f"{number(shares[steepest])} of the output per unit of the generator.",
        [svg(460, height + 28, "Lie derivative along each generator", body, {"class": "full"})],
        ["output", "generator", "RMS", "largest", "relative"],
        [
            [r.output or "output", r.detail, number(r.value), number(r.maximum), number(s)]
            for r, s in zip(found, shares)
        ],
        note="Rate of change of ρ_out(exp(−tA)) f(ρ_in(exp(tA)) x) at t = 0, per radian of a turn or unit of a shift.",
    )


def element_names(result: AuditResult, i: int) -> list[str]:
    """What each column of sample i is called: drawn elements, then special ones."""
    if result.element_labels is not None:
        return [*result.element_labels, *result.labels]
    return [*[f"draw {j + 1}: {label}" for j, label in enumerate(result.own_labels(i))], *result.labels]


def _mark(shape: str, x: float, y: float, title: str = "") -> str:
    inside = tag("title", {}, text(title)) if title else ""
    line = {"fill": "var(--card)", "stroke": "var(--ink)", "stroke-width": 1.6}
    if shape == "dot":
        return tag("circle", {"cx": x, "cy": y, "r": 5.5, "class": "pt a"}, inside)
    if shape == "bar":
        return tag("rect", {"x": x - 2, "y": y - 8, "width": 4, "height": 16, "class": "pt b"}, inside)
    corners = {
        "square": [(-5, -5), (5, -5), (5, 5), (-5, 5)],
        "diamond": [(0, -6.5), (6.5, 0), (0, 6.5), (-6.5, 0)],
        "triangle": [(0, -6), (6, 5), (-6, 5)],
    }[shape]
    return tag("polygon", {"points": " ".join(f"{fmt(x + a)},{fmt(y + b)}" for a, b in corners), **line}, inside)


def _largest(o: OutputAudit, i: int) -> float:
    values = [v for v in [*o.errors[i].tolist(), *o.special_errors[i].tolist()] if math.isfinite(v)]
    return max(values) if values else math.nan


def _rms(values: list[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return math.sqrt(sum(v * v for v in finite) / len(finite)) if finite else math.nan


def _of(o: OutputAudit) -> str:
    return f": {o.name}" if o.name else ""


def _or_dash(value: float | None) -> str:
    return "not measured" if value is None else number(value)
