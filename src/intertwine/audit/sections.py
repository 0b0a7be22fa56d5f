"""The two kinds of section of an audit page, one per result: what is drawn, and the data the script draws from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import audit_figures as af
from . import figures as nf
from .consensus import CAVEAT
from .markup import COPY, dash, figure, scroll, table
from .nero_result import ROUNDING, NeroResult
from .pack import pack
from .result import AuditResult, Row, Worst
from .statistics import MIN_SAMPLES, rule_of_three
from .svg import Scale, number, text
from .views import draw, numbers, view

OUTPUT_NUMBERS = 60_000  # numbers of outputs that the detail panels of one result may hold
WIDEST = 20_000  # models x elements above which outputs are not kept at all

Part = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Limits:
    """How much a page holds: pictures of inputs, samples with a value per element, marks on the maps of samples."""

    thumbnails: int
    pairs: int
    marks: int


def audit_section(r: AuditResult, index: int, limits: Limits, audits: Sequence[AuditResult]) -> Part:
    """Figures, tables and data of one audit; audits of one page share scales."""
    place = {sample: i for i, sample in enumerate(r.samples)}
    listed = [*r.worst, *r.missing]
    kept = keep(r.n_samples, limits.pairs, [place[w.sample] for w in listed])
    marks = keep(r.n_samples, limits.marks, kept or []) or list(range(r.n_samples))
    first = place[r.worst[0].sample] if r.worst else 0
    names = list(r.outputs)
    body = _errors(r, index) + figure(af.noise_strip(r), f"r{index}-noise")
    for n, o in enumerate(r.outputs.values()):
        if not (o.size > 0).any() and len(r.outputs) > 1:
            body += f'<p class="soft">The output {text(o.name)} is zero for every sample: there is nothing to draw.</p>'
            continue
        scale = af.error_scale([a.outputs[o.name] for a in audits if o.name in a.outputs])
        body += '<div class="split even">'
        body += figure(af.sample_scatter(r, o, marks, scale), f"r{index}-samples-{n}", output=n)
        body += figure(af.one_sample(r, o, first, scale), f"r{index}-one-{n}", output=n) + "</div>"
    said, snippet = "No pair has an error.", ""
    if r.worst:
        w = r.worst[0]
        said = f"Sample {w.sample}, {w.description}: error {number(w.absolute)}, {number(w.relative)} of the output."
        snippet = w.snippet
    body += (
        f'<div class="card detail" aria-live="polite"><h3>Chosen pair</h3><p class="say">{text(said)}</p>'
        f'<p><code class="snippet">{text(snippet)}</code></p></div>'
    )
    body += _worst(r, place, names)
    if (lie := af.lie_bars(r)) is not None:
        body += figure(lie, f"r{index}-lie")
    body += f'<p class="soft">Cost: {text(r.cost_line())}.</p>'
    return _section(index, r.title, body), _audit_data(r, place, kept, first, limits)


def _audit_data(r: AuditResult, place: dict[int, int], kept: list[int] | None, first: int, limits: Limits) -> dict:
    rows = list(range(r.n_samples)) if kept is None else kept
    names = list(r.outputs)
    outputs = []
    for o in r.outputs.values():
        both = torch.cat([o.errors, o.special_errors], 1)
        outputs.append(
            {
                "name": o.name,
                "columns": both.shape[1],
                "errors": pack(both[rows]),
                "size": pack(o.size),
                "rms": pack(o.errors.square().nanmean(1).sqrt()),
                "verdict": o.verdict.word,
                "reason": o.verdict.reason,
                "floor": vars(o.floor),
                "p_value": o.p_value,
            }
        )
    worst = [
        {
            "i": place[w.sample],
            "k": _column(r, w),
            "o": names.index(w.output),
            "sample": w.sample,
            "absolute": w.absolute,
            "relative": w.relative,
            "element": w.description,
            "snippet": w.snippet,
        }
        for w in [*r.worst, *r.missing]
    ]
    named: list[int] = []
    if r.element_labels is None:  # every sample drew its own elements: name those of the samples likely to be chosen
        named = sorted({w["i"] for w in worst} | set(rows[: limits.thumbnails]))[: max(limits.thumbnails, 16)]
    return {
        "kind": "audit",
        "title": r.title,
        "group": r.group,
        "rep_in": r.rep_in,
        "rep_out": r.rep_out,
        "better": "lower",
        "sentence": r.sentence,
        "verdict": r.verdict.word,
        "samples": r.n_samples,
        "index": r.samples,
        "drawn": r.n_elements,
        "special": r.labels,
        "shared": r.element_labels,
        "names": {str(i): af.element_names(r, i) for i in named},
        "kept": kept,
        "outputs": outputs,
        "worst": worst,
        "first": first,
        "peak": worst[0]["k"] if worst else 0,
        "table": [vars(row) | {"interval": vars(row.interval) if row.interval else None} for row in r.table],
        "definitions": r.definitions,
        "cost": r.cost,
        "meta": r.meta,
        "how": r.how,
        "views": {},
    }


def nero_section(r: NeroResult, index: int, limits: Limits, audits: Sequence[AuditResult]) -> Part:
    """Figures and data of one NERO result."""
    scale, first = nf.nero_scale(r), nf.worst_sample(r)
    kept = keep(r.n_samples, limits.pairs, [first])
    marks = keep(r.n_samples, limits.marks, kept or []) or list(range(r.n_samples))
    pictured = range(min(len(r.inputs), r.n_samples, limits.thumbnails))
    shown = dict.fromkeys([*([first] if first < len(r.inputs) and limits.thumbnails else []), *pictured])
    views = {i: view(r.inputs[i]) for i in shown}
    details: dict[int, Tensor] = {}
    if r.values.shape[0] * r.values.shape[2] <= WIDEST:
        for i in shown:
            t = torch.stack([o[i] for o in r.outputs])
            if sum(other.numel() for other in details.values()) + t.numel() <= OUTPUT_NUMBERS:
                details[i] = t
    body = ""
    if len(r.models) > 2:
        body += '<p class="note">Lines and marks tell two models apart; with more, read the tables.</p>'
    classes = sorted(set(r.classes)) if r.classes else []
    body += figure(nf.aggregate(r, scale), f"r{index}-aggregate", before=_picker(classes))
    shade = "".join(
        f'<button type="button" data-shade="{key}" aria-pressed="{pressed}">Colour: {what} over the orbit</button>'
        for key, pressed, what in (("mean", "true", "mean"), ("std", "false", "deviation"))
    )
    body += figure(nf.sample_map(r, marks), f"r{index}-samples", before=f'<p class="js-only tools">{shade}</p>')
    peak = _peak(r, first)
    body += '<div class="split">' + figure(nf.individual(r, scale, first), f"r{index}-one")
    body += _detail(r, first, peak, views.get(first), details.get(first)) + "</div>"
    body += _targets(r)
    body += f'<p class="soft">Cost: {r.cost["evaluations"]:,} evaluations in {r.cost["calls"]:,} calls.</p>'
    data = _nero_data(r, kept, nf.mean_scale(r)) | {
        "first": first,
        "peak": peak,
        "views": {str(i): v for i, v in views.items()},
        "outputs": {str(i): pack(t, digits=3) for i, t in details.items()},
        "width": next(iter(details.values())).shape[-1] if details else 0,
        "classes": {"names": classes, "values": pack(torch.stack([r.of_class(c) for c in classes]))}
        if classes
        else None,
    }
    return _section(index, r.title, body), data


def _nero_data(r: NeroResult, kept: list[int] | None, means: Scale) -> dict[str, Any]:
    grid, places = r.grid, r.grid.coordinates
    rows = list(range(r.n_samples)) if kept is None else kept
    data: dict[str, Any] = {
        "kind": "nero",
        "title": r.title,
        "models": r.models,
        "group": r.group,
        "metric": r.metric,
        "label": r.label,
        "better": r.better,
        "unit": r.unit,
        "grid": grid.kind,
        "shape": list(grid.shape),
        "elements": len(grid),
        "samples": r.n_samples,
        "labels": None if grid.kind == "sphere" else grid.labels,
        "turn": list(grid.turn),
        "mean_scale": {"lo": means.low, "hi": means.high, "log": means.log},
        "values": pack(r.values[:, rows]),
        "kept": kept,
        "aggregate": pack(r.aggregate),
        "ci": pack(r.ci),
        "mean": pack(r.sample_mean),
        "std": pack(r.sample_std),
        "embedding": pack(r.embedding),
        "targets": r.targets_used,
        "consensus": r.consensus,
        "agreement": None if r.agreement is None else pack(r.agreement),
        "floor": r.floor,
        "flat": ROUNDING * r.size if r.size and r.better == "lower" else None,
        "missing": r.missing,
        "cost": r.cost,
        "meta": r.meta,
    }
    if grid.kind == "circle":
        data["angles"] = places["angle"].tolist()
    elif grid.kind == "sphere":
        angles, axes = grid.shape
        data["angles"] = places["angle"].reshape(angles, axes)[:, 0].tolist()
        data["axes"] = [[round(v, 5) for v in axis] for axis in places["axis"][:axes].tolist()]
    elif "x" in places:
        data["x"], data["y"] = places["x"].tolist(), places["y"].tolist()
    return data


# --- pieces of an audit


def _errors(r: AuditResult, index: int) -> str:
    """The table of errors; each name is explained where it stands and below."""
    shown = [row for row in r.table if row.name != "lie_derivative"]
    notes = list(dict.fromkeys(row.name for row in shown))
    several = len(r.outputs) > 1
    columns = [*["output"] * several, "error", "dtype", "value", f"{1 - r.alpha:.0%} interval"]
    columns += ["mean", "median", "95 %", "maximum", "n", "no value"]
    rows = ""
    for row in shown:
        note = notes.index(row.name) + 1
        explained = f'<abbr title="{text(r.definitions[row.name])}">{text(row.name)}</abbr>'
        cells = [*[text(row.output)] * several, f'{explained}<sup><a href="#r{index}-n{note}">{note}</a></sup>']
        cells += [row.dtype, number(row.value), _interval(r, row), dash(row.mean), dash(row.median), dash(row.q95)]
        cells += [dash(row.maximum), f"{row.n_samples} × {row.n_elements}", str(row.missing or "–")]
        rows += "<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>"
    foot = "".join(
        f'<li id="r{index}-n{i + 1}"><strong>{text(n)}</strong>: {text(r.definitions[n])}.</li>'
        for i, n in enumerate(notes)
    )
    heads = "".join(f'<th scope="col">{text(h)}</th>' for h in columns)
    three = rule_of_three(r.n_samples)
    return (
        f'<div class="card" data-copies><h3>Errors</h3>{scroll(heads, rows, "errors")}{COPY}'
        f'<p>{text(three[0].upper() + three[1:])}.</p><ol class="soft">{foot}</ol></div>'
    )


def _interval(r: AuditResult, row: Row) -> str:
    if row.interval is not None:
        return f"{number(row.interval.low)} to {number(row.interval.high)}"
    return "n too small" if row.dtype == r.dtype and r.n_samples < MIN_SAMPLES else "–"


def _worst(r: AuditResult, place: dict[int, int], names: list[str]) -> str:
    """The worst pairs, then pairs without a value, each with a button that shows it and a line that repeats it."""
    rows = ""
    for w in [*r.worst, *r.missing]:
        i, k = place[w.sample], _column(r, w)
        go = f'<button type="button" data-go="{i},{k},{names.index(w.output)}">Show</button>'
        rows += f'<tr data-pair="{i},{k}"><td data-skip="1" class="js-only">{go}</td>'
        rows += f"<td>{text(w.output)}</td>" if len(names) > 1 else ""
        rows += f'<td>{w.sample}</td><td class="wrap">{text(w.description)}</td>'
        rows += f"<td>{number(w.absolute)}</td><td>{number(w.relative)}</td>"
        code = f"<summary>code</summary><code>{text(w.snippet)}</code>"
        rows += f'<td class="wrap"><details class="snip">{code}</details></td></tr>'
    columns = [*["output"] * (len(names) > 1), "sample", "element", "error", "relative", "to see it again"]
    heads = '<th scope="col" data-skip="1" class="js-only">show</th>'
    heads += "".join(f'<th scope="col">{h}</th>' for h in columns)
    lost = ""
    if r.missing:
        lost = f" {r.missing_pairs:,} pairs have no value; {len(r.missing)} of them are listed last."
    return (
        '<div class="card" data-copies><h3>Worst pairs</h3>'
        f'<p class="soft">A sample and an element, largest relative error first.{lost}</p>'
        f"{scroll(heads, rows, 'worst pairs')}{COPY}</div>"
    )


def _column(r: AuditResult, w: Worst) -> int:
    return w.element + (r.n_elements if w.special else 0)


# --- pieces of a NERO result


def _picker(classes: list[str]) -> str:
    if not 1 < len(classes) <= 50:
        return ""
    options = "".join(f'<option value="{c}">{text(name)}</option>' for c, name in enumerate(classes))
    select = f'<select data-class><option value="-1">all samples</option>{options}</select>'
    return f'<p class="js-only"><label>Average over {select}</label></p>'


def _detail(r: NeroResult, i: int, k: int, shown: dict | None, kept: Tensor | None) -> str:
    said = "; ".join(f"{name} {number(r.values[m, i, k].item())}" for m, name in enumerate(r.models))
    pictures = '<p class="soft">No picture of this sample is kept in the page.</p>'
    if shown is not None:
        pictures = f"<figure>{draw(shown, 'input')}<figcaption>input</figcaption></figure>"
    rows = ""
    for m, name in enumerate(r.models):
        said_here, undone = ("not kept",) * 2 if kept is None else (numbers(kept[m, k, 0]), numbers(kept[m, k, 1]))
        rows += f"<dt>{text(name)}: {text(r.label)} {number(r.values[m, i, k].item())}</dt>"
        rows += f"<dd>output f(gx): <code>{text(said_here)}</code></dd>"
        rows += f"<dd>undone, ρ(g)⁻¹f(gx): <code>{text(undone)}</code></dd>"
    return (
        '<div class="card detail" aria-live="polite"><h3>Chosen sample and element</h3>'
        f'<p class="say">Sample {i}, {text(r.grid.labels[k])}: {text(said)}.</p><div class="views">{pictures}</div>'
        f'<dl class="numbers">{rows}</dl></div>'
    )


def _targets(r: NeroResult) -> str:
    """Where there are no labels: what outputs are compared with, and what that cannot tell."""
    if r.targets_used == "labels":
        return ""
    if r.agreement is None or r.tied is None:
        return (
            '<div class="card"><h3>Targets</h3><p>There are no labels: each output is compared with what the model '
            "says of the unmoved input, moved along. This measures symmetry, not accuracy.</p></div>"
        )
    rows = []
    for name, agreement, tied in zip(r.models, r.agreement, r.tied):
        a = agreement[agreement.isfinite()]
        shares = [f"{a.mean().item():.1%}", f"{a.min().item():.1%}"] if len(a) else ["no value", "no value"]
        rows.append([name, *shares, int(tied.sum())])
    columns = ["model", "mean agreement", "lowest agreement", "tied votes"]
    return (
        f'<div class="card"><h3>Consensus</h3><p>There are no labels here: targets are the {text(r.consensus)} of what '
        f"each model says along the orbit, pulled back. <strong>{text(CAVEAT)}</strong></p>"
        f"{table(columns, rows, 'agreement with the consensus')}</div>"
    )


def _peak(r: NeroResult, i: int) -> int:
    v = r.values[:, i] if r.better == "lower" else -r.values[:, i]
    return int(v.nan_to_num(nan=-math.inf).amax(0).argmax())


# --- both


def keep(n: int, limit: int, needed: Sequence[int]) -> list[int] | None:
    """Which samples stay when only `limit` fit: those needed, then evenly spaced ones; None means all."""
    if n <= limit:
        return None
    chosen = dict.fromkeys(list(needed)[:limit])
    for j in range(limit):
        if len(chosen) >= limit:
            break
        chosen[j * n // limit] = None
    return sorted(chosen)


def _section(index: int, title: str, body: str) -> str:
    head = f'<h2 id="r{index}-h">{text(title)}</h2>'
    return f'<section id="r{index}" data-result="{index}" aria-labelledby="r{index}-h">{head}{body}</section>'
