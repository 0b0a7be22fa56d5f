"""HTML pieces that every part of an audit page is made of: figures with their tables, tables that scroll."""

import math
from collections.abc import Sequence

from .figures import Figure
from .svg import number, text

COPY = '<p class="js-only"><button type="button" data-csv>Copy table as CSV</button></p>'
MOVES = {"orbit": "the elements of the orbit", "samples": "the samples"}


def figure(f: Figure, name: str, *, output: int | None = None, before: str = "") -> str:
    """A figure with its sentence, legend, table, and what the script needs to make it move."""
    cursor = hover = attributes = ""
    if f.stage:
        label = text(f"{f.title}: move along {MOVES[f.stage]} with the arrow keys, question mark lists the keys")
        values = 'aria-valuemin="0" aria-valuemax="0" aria-valuenow="0"'
        cursor = f'<div class="cursor js-only" role="slider" tabindex="0" aria-label="{label}" {values}></div>'
        hover = '<p class="hover js-only" aria-hidden="true"></p>'
        attributes = f' data-stage="{f.stage}"'
    if output is not None:
        attributes += f' data-output="{output}"'
    panels = f'<div class="{"maps" if f.columns == "maps" else "panels"}">{"".join(f.panels)}</div>'
    note = f"<figcaption>{text(f.note)}</figcaption>" if f.note else ""
    return (
        f'<figure class="fig" role="group" aria-labelledby="{name}-t {name}-s"{attributes}>'
        f'<h3 id="{name}-t">{text(f.title)}</h3>'
        f'<p class="sentence subject" id="{name}-s">{text(f.sentence)}</p>{before}'
        f'<div class="legend">{f.legend}</div><div class="stage">{panels}{cursor}</div>{hover}{note}'
        f'<details class="table"><summary>Show as table</summary>{table(f.header, f.rows, f.title)}</details></figure>'
    )


def table(header: Sequence[object], rows: Sequence[Sequence[object]], label: str) -> str:
    """A table of plain text with a button that copies it."""
    heads = "".join(f'<th scope="col">{text(h)}</th>' for h in header)
    body = "".join("<tr>" + "".join(f"<td>{text(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f"<div data-copies>{scroll(heads, body, label)}{COPY}</div>"


def scroll(heads: str, body: str, label: str) -> str:
    """A table of markup that scrolls sideways by itself where the page is narrow, by keyboard too."""
    region = f'<div class="scroll" role="region" tabindex="0" aria-label="Table: {text(label)}">'
    return f"{region}<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"


def dash(v: float) -> str:
    """A number, or a dash where a column has no meaning."""
    return number(v) if math.isfinite(v) else "–"
