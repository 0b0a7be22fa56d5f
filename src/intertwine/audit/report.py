"""One HTML file that holds an audit whole: it opens offline, without scripts too, and says what it leaves out (C3)."""

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

from ..files import write_atomically
from .document import Document, Section, page
from .nero_result import NeroResult
from .pack import to_json
from .result import AuditResult
from .sections import Limits, audit_section, nero_section
from .svg import CIVIDIS

Result = AuditResult | NeroResult


def write_html(
    result: Result | Sequence[Result],
    path: str | Path,
    *,
    title: str,
    thumbnails: int = 64,
    max_bytes: int = 5_000_000,
    created: str | None = None,
    sections: Sequence[Section] = (),
) -> Path:
    """Write one self-contained page for one or several results and return its path.

    Offline: no request leaves the page. Deterministic: the same results and `created` give the same bytes; there is no
    time stamp unless `created` is given (any text). thumbnails: pictures of inputs. max_bytes: beyond it pictures, then
    values per pair, are thinned, and the page says so. sections: further blocks (`audit.Section`) that stand before the
    audits, such as the plots of a training run. Written to a temporary file and renamed.
    Raises ValueError without results and sections, or when thumbnails or max_bytes is negative.
    """
    results = [result] if isinstance(result, (AuditResult, NeroResult)) else list(result)
    if not results and not sections:
        raise ValueError("write_html: nothing to write; give a result or a section")
    if thumbnails < 0 or max_bytes < 0:
        raise ValueError(f"write_html: thumbnails and max_bytes must not be negative, got {thumbnails}, {max_bytes}")
    for r in results:
        if not isinstance(r, (AuditResult, NeroResult)):
            raise TypeError(f"write_html: cannot write a {type(r).__name__}; give an AuditResult or a NeroResult")
    full = Limits(thumbnails, 10**9, 10**9)
    content = b""
    for plan in _plans(full, max((r.n_samples for r in results), default=0)):
        content = _build(results, sections, title, created, plan, full).encode()
        if len(content) <= max_bytes:
            break
    write_atomically(path, content)
    return Path(path)


def plain_page(title: str, sections: Sequence[Section], *, body: str = "", css: str = "", script: str = "") -> str:
    """A page in the same dress without audits: blocks, then `body`, markup that is trusted as are css and script."""
    frame = (resources.files(__package__) / "page" / "page.css").read_text(encoding="utf-8")
    return page(title, sections, body=body, css=frame + css, script=script)


def _left_out(plan: Limits, results: Sequence[Result], full: Limits) -> list[str]:
    """What was left out, in sentences."""
    n = max((r.n_samples for r in results), default=0)
    out = []
    if plan.thumbnails < min(full.thumbnails, n):
        out.append(f"pictures are kept for {plan.thumbnails} samples")
    if plan.pairs < n:
        out.append(f"values element by element are kept for {plan.pairs} of {n:,} samples")
    if plan.marks < n:
        out.append(f"the maps show {plan.marks:,} of {n:,} samples")
    return out


def _plans(full: Limits, n: int) -> list[Limits]:
    """From everything to very little: pictures go first, then values of pairs, marks last."""
    few = replace(full, thumbnails=min(full.thumbnails, 8))
    plans = [full, few]
    plans += [replace(few, pairs=p) for p in (4096, 1024, 256, 64) if p < n]
    plans += [replace(few, pairs=64, marks=m) for m in (2000, 500, 100) if m < n]
    return [*plans, Limits(0, 8, 100)]


def _build(results, sections, title, created, plan: Limits, full: Limits) -> str:
    parts, data = [], []
    audits = [r for r in results if isinstance(r, AuditResult)]
    for index, r in enumerate(results):
        make = audit_section if isinstance(r, AuditResult) else nero_section
        markup, numbers = make(r, index, plan, audits)
        parts.append(markup)
        data.append(numbers)
    folder = resources.files(__package__) / "page"
    return Document(
        title=title,
        created=created,
        results=results,
        sections=sections,
        parts=parts,
        notes=_left_out(plan, results, full),
        data=to_json({"title": title, "created": created, "ramp": CIVIDIS, "results": data}),
        css=(folder / "page.css").read_text(encoding="utf-8"),
        script=(folder / "page.js").read_text(encoding="utf-8"),
    ).html()
