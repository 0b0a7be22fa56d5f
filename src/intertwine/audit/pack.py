"""Numbers into JSON: short, exact enough to draw, and honest about what is no number."""

import json
import math
from typing import Any

from torch import Tensor

LEVELS = 999
MANY = 50_000  # above this many values, levels of a scale instead of digits


class Packed(dict):
    """Numbers already fit for JSON: not looked through again."""


def pack(t: Tensor, *, digits: int = 4) -> Packed:
    """A tensor, flat: {"shape", "v"} with `digits` significant digits, or levels 0..999 of a scale when it is large.

    What is not finite is null in the list, and named in "flags" by its place: NaN, Infinity, -Infinity.
    """
    flat = t.detach().double().cpu().flatten()
    finite = flat.isfinite()
    out = Packed(shape=list(t.shape))
    lost = (~finite).nonzero()[:, 0].tolist()
    if lost:
        out["flags"] = {str(i): _flag(flat[i].item()) for i in lost[:1000]}
        out["missing"] = len(lost)
    values = flat.tolist()
    if len(values) <= MANY:
        out["v"] = [_short(v, digits) if ok else None for v, ok in zip(values, finite.tolist())]
        return out
    known = flat[finite]
    low, high = (known.min().item(), known.max().item()) if len(known) else (0.0, 1.0)
    positive = known[known > 0]
    log = low >= 0 and len(positive) > 0 and high > 1000 * positive.median().item()
    if log:
        low = positive.min().item()
        level = (flat.clamp_min(low) / low).log() / math.log(high / low) if high > low else flat * 0
        level = (level * LEVELS).round().where(flat > 0, -1.0)
    else:
        level = ((flat - low) / (high - low) * LEVELS).round() if high > low else flat * 0
    levels = level.nan_to_num().tolist()
    q = [int(v) if ok else None for v, ok in zip(levels, finite.tolist())]
    out.update(lo=low, hi=high, log=int(log), q=q)
    return out


def clean(x: Any) -> Any:
    """The same with NaN and infinities as null, each flagged under its key with "_flag" appended."""
    if isinstance(x, Packed):
        return x
    if isinstance(x, dict):
        out = {}
        for key, value in x.items():
            out[key] = clean(value)
            if isinstance(value, float) and not math.isfinite(value):
                out[f"{key}_flag"] = _flag(value)
        return out
    if isinstance(x, (list, tuple)):
        return [clean(v) for v in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x


def to_json(x: Any) -> str:
    """JSON that can stand inside a script element: no `</`, no `<!--`, one form for one content."""
    content = json.dumps(clean(x), ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True)
    return (
        content.replace("</", "<\\/")
        .replace("<!--", "<\\u0021--")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def _flag(v: float) -> str:
    return "NaN" if v != v else "Infinity" if v > 0 else "-Infinity"


def _short(v: float, digits: int) -> float | int:
    rounded = float(f"{v:.{digits}g}")
    return int(rounded) if rounded == int(rounded) and abs(rounded) < 1e6 else rounded
