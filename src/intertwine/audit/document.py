"""The frame of an audit page: verdicts first, then blocks and results, then how it was done and what words mean."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .markup import table
from .nero_result import NeroResult
from .parts import GLOBE, HATCH, SVG_CSS
from .result import AuditResult, family, methods
from .svg import number, style, text
from .views import data_uri
from .words import GLOSSARY, ICONS, KEYS, NERO_METHODS

CSP = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Section:
    """One more block of a page: a title and any of text, a table (header first), a PNG (bytes), an SVG (markup).

    Everything is escaped; pictures become data URIs, inside which nothing runs. wide: use the full width of the page.
    """

    title: str
    caption: str = ""
    text: str = ""
    table: Sequence[Sequence[object]] | None = None
    png: bytes | None = None
    svg: str | None = None
    wide: bool = False


@dataclass(frozen=True)
class Document:
    """What a page is made of; `html()` puts it together."""

    title: str
    created: str | None
    results: Sequence[AuditResult | NeroResult]
    sections: Sequence[Section]
    parts: Sequence[str]  # markup of each result
    notes: Sequence[str]  # what was left out
    data: str  # JSON, safe inside a script element
    css: str
    script: str

    def html(self) -> str:
        """The whole document."""
        return (
            f'<!doctype html>\n<html lang="en"><head>{self._head()}</head><body>'
            '<a class="skip" href="#plots">Skip to the plots</a>'
            f'<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>{HATCH}{GLOBE}</defs></svg>'
            f"<header>{self._header()}</header><main>{summary(self.results)}{self._left_out()}{self._blocks()}"
            f'<div id="plots" tabindex="-1">{"".join(self.parts)}</div>{self._methods()}{_glossary()}</main>'
            '<footer><p class="soft">Written by intertwine. This file needs no network and sends nothing.</p></footer>'
            f'{_keys()}<script type="application/json" id="audit-data">{self.data}</script>'
            f"<script>{self.script}</script></body></html>\n"
        )

    def _head(self) -> str:
        return _head(self.title, f"{self.css}\n{SVG_CSS}")

    def _header(self) -> str:
        links = [(f"r{i}", r.title) for i, r in enumerate(self.results)]
        links = (
            [("blocks", "Overview")] * bool(self.sections) + links + [("methods", "Methods"), ("glossary", "Glossary")]
        )
        nav = "".join(f'<li><a href="#{name}">{text(label)}</a></li>' for name, label in links)
        made = f'<p class="soft">Made {text(self.created)}.</p>' if self.created else ""
        return (
            f'<h1>{text(self.title)}</h1>{made}<nav aria-label="On this page"><ul>{nav}</ul></nav>'
            '<div class="tools js-only"><button type="button" id="download">Download JSON</button>'
            '<button type="button" data-keys>Keys</button></div>'
        )

    def _left_out(self) -> str:
        if not self.notes:
            return ""
        said = text("; ".join(self.notes))
        return f'<p class="note">To keep this file small, {said}. Everything is in the result object.</p>'

    def _blocks(self) -> str:
        blocks = "".join(_block(s) for s in self.sections)
        return _part("blocks", "Overview", f'<div class="blocks">{blocks}</div>') if blocks else ""

    def _methods(self) -> str:
        said = dict.fromkeys(methods(r) if isinstance(r, AuditResult) else NERO_METHODS for r in self.results)
        paragraphs = "".join(f"<p>{text(p)}</p>" for p in said)
        return _part("methods", "Methods", f'<div class="card">{paragraphs}</div>')


def page(title: str, sections: Sequence[Section], *, body: str, css: str, script: str) -> str:
    """The plain frame: a title, blocks, markup of the caller's."""
    blocks = "".join(_block(s) for s in sections)
    return (
        f'<!doctype html>\n<html lang="en"><head>{_head(title, css)}</head><body>'
        f'<header><h1>{text(title)}</h1></header><main><div class="blocks">{blocks}</div>{body}</main>'
        '<footer><p class="soft">Written by intertwine. This file needs no network and sends nothing.</p></footer>'
        f"<script>{script}</script></body></html>\n"
    )


def _head(title: str, css: str) -> str:
    return (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{CSP}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(title)}</title><style>{style()}\n{css}</style>"
    )


def summary(results: Sequence[AuditResult | NeroResult]) -> str:
    """The verdict of every audit in words, a mark beside each; the family correction when there are several."""
    cards = [_verdict(r) if isinstance(r, AuditResult) else _along(r) for r in results]
    rows = family([r for r in results if isinstance(r, AuditResult)])
    if len(rows) > 1:
        columns = ["model", "output", "group", "variation", "verdict alone", "p", "p (Holm)", "verdict among these"]
        lines = []
        for f in rows:
            tested = math.isfinite(f.p_holm)
            p = [f"{f.p_value:.2g}", f"{f.p_holm:.2g}"] if tested else ["–", "–"]
            lines.append([f.title, f.output or "output", f.group, number(f.variation), f.word, *p, f.corrected])
        cards.append(
            '<section class="card" aria-labelledby="family-h"><h2 class="h3" id="family-h">All audits on this page</h2>'
            '<p class="soft">Looking often finds something by chance; the last column is corrected for that (Holm).</p>'
            f"{table(columns, lines, 'all audits on this page')}</section>"
        )
    return "".join(cards)


def icon(shape: str) -> str:
    """The mark beside a verdict: a shape, not a colour."""
    ring = '<circle cx="24" cy="24" r="21" class="icon-ring"/>'
    return f'<svg viewBox="0 0 48 48" aria-hidden="true">{ring}{ICONS[shape]}</svg>'


def _verdict(r: AuditResult) -> str:
    said = f"<p>{text(r.sentence)}</p>"
    if len(r.outputs) > 1:
        each = "".join(f"<li><strong>{text(n)}</strong>: {text(o.verdict)}</li>" for n, o in r.outputs.items())
        said = f'<p>Under {text(r.group)}, output by output:</p><ul class="outputs">{each}</ul>'
    facts = {**r.meta, "elements": r.how, "group": r.group, "maps": f"{r.rep_in} → {r.rep_out}"}
    return _card(f"Verdict for {r.title}", r.verdict.shape, r.title, r.verdict.word, said, facts)


def _along(r: NeroResult) -> str:
    said = "".join(f"<p>{text(r.sentence(m))}</p>" for m in range(len(r.models)))
    facts = {**r.meta[0], "elements": f"{len(r.grid)} of {r.group}"}
    for key in ("model", "parameters"):
        facts[key] = ", ".join(m[key] for m in r.meta)
    return _card(f"Orbits of {r.title}", "orbit", r.title, "Along the orbit", said, facts)


def _card(label: str, shape: str, title: str, word: str, said: str, facts: dict[str, str]) -> str:
    short = [f"{facts['samples']} samples"]
    if "unknown" not in facts["parameters"]:
        short.append(f"{facts['parameters']} parameters")
    short += [facts["dtype"], facts["device"], f"seed {facts['seed']}", f"data {facts['data fingerprint']}"]
    rows = "".join(f"<div><dt>{text(k)}</dt><dd>{text(v)}</dd></div>" for k, v in facts.items())
    return (
        f'<section class="card" aria-label="{text(label)}"><div class="verdict">{icon(shape)}'
        f'<div><p class="soft">{text(title)}</p><p class="word">{text(word)}</p>{said}</div></div>'
        f'<details class="run"><summary>Run: {text(", ".join(short))}</summary><dl class="facts">{rows}</dl></details>'
        "</section>"
    )


def _block(s: Section) -> str:
    body = f"<h3>{text(s.title)}</h3>"
    if s.text:
        body += "".join(f"<p>{text(p)}</p>" for p in s.text.split("\n\n"))
    for content, kind in ((s.png, "image/png"), (s.svg.encode() if s.svg else None, "image/svg+xml")):
        if content is not None:
            body += f'<img src="{data_uri(content, kind)}" alt="{text(s.caption or s.title)}">'
    if s.caption:
        body += f'<p class="soft">{text(s.caption)}</p>'
    if s.table is not None:
        header, *rows = list(s.table)
        body += table(header, rows, s.title)
    return f'<div class="card{" wide" if s.wide else ""}">{body}</div>'


def _part(name: str, title: str, body: str) -> str:
    return f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{text(title)}</h2>{body}</section>'


def _glossary() -> str:
    words = "".join(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in GLOSSARY.items())
    return _part("glossary", "Glossary", f'<div class="card"><dl class="glossary">{words}</dl></div>')


def _keys() -> str:
    rows = "".join(f'<tr><td><kbd>{text(k)}</kbd></td><td class="wrap">{text(v)}</td></tr>' for k, v in KEYS.items())
    return (
        '<dialog id="keys" aria-labelledby="keys-h"><h2 id="keys-h">Keys inside a plot</h2>'
        f'<table>{rows}</table><p><button type="button">Close</button></p></dialog>'
    )
