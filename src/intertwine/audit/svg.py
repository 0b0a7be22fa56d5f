"""Hand-written SVG: elements, scales, ticks and colours for the figures of an audit page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# cividis at 0, 1/9, ..., 1 (Nuñez et al. 2018): even in lightness, the same for most kinds of colour blindness
CIVIDIS = (
    *("#00224e", "#123570", "#3b496c", "#575d6d", "#707173"),
    *("#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"),
)

# (light, dark) theme; classes of figures and of the page refer to these names
PALETTE: dict[str, tuple[str, str]] = {
    "page": ("#f6f7f9", "#14171c"),
    "card": ("#ffffff", "#1d2229"),
    "ink": ("#1b2027", "#e8ecf1"),
    "soft": ("#525c68", "#a9b4c0"),
    "line": ("#d5dae0", "#38414c"),
    "a": ("#0b5fa5", "#74b6f2"),  # first model: solid, circles
    "b": ("#a8500a", "#f2a65a"),  # second model: dashed, squares
    "focus": ("#7a1fa2", "#d9a6ff"),
    "tint": ("#e4eef8", "#22374d"),
}
SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
TEXT = ("ink", "soft", "a", "b")  # must reach 4.5 : 1 on page and card
GRAPHICS = ("a", "b", "focus", "soft")  # must reach 3 : 1


def tag(name: str, attributes: dict[str, object] | None = None, *children: str) -> str:
    """One element; attribute values are escaped, children are markup (escape text with `text`)."""
    parts = ""
    for key, value in (attributes or {}).items():
        if isinstance(value, float):
            parts += f' {key}="{fmt(value)}"'
        elif value is not None:
            parts += f' {key}="{value if isinstance(value, int) else escape(str(value))}"'
    return f"<{name}{parts}>{''.join(children)}</{name}>" if children else f"<{name}{parts}/>"


def text(value: object) -> str:
    """Text as markup."""
    return escape(str(value))


def fmt(value: float) -> str:
    """A coordinate: two decimals at most, no trailing zeros."""
    rounded = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if rounded in ("-0", "") else rounded


def number(value: float | None) -> str:
    """A number for people: three digits, "no value" for what is none."""
    if value is None or not math.isfinite(value):
        return "no value"
    return f"{value:.3g}"


def tick(value: float) -> str:
    """A number at an axis: powers of ten in superscript where a plain number would be long."""
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        exponent = math.floor(math.log10(abs(value)) + 1e-9)
        factor = value / 10.0**exponent
        power = "10" + "⁻" * (exponent < 0) + "".join(SUPERSCRIPTS[int(c)] for c in str(abs(exponent)))
        return power if abs(factor - 1) < 1e-6 else f"{factor:.3g}·{power}"
    return f"{value:.4g}"


def style() -> str:
    """CSS variables of the palette, for both themes."""
    light = ";".join(f"--{name}:{pair[0]}" for name, pair in PALETTE.items())
    dark = ";".join(f"--{name}:{pair[1]}" for name, pair in PALETTE.items())
    return f":root{{{light};color-scheme:light dark}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"


@dataclass(frozen=True)
class Scale:
    """Values to pixels, linear or logarithmic; a logarithmic scale draws what is at or below its start at its start."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def share(self, value: float) -> float:
        """Place between low (0) and high (1), clipped."""
        if self.high <= self.low:
            return 0.0
        if self.log:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, share))

    def __call__(self, value: float) -> float:
        return self.start + (self.end - self.start) * self.share(value)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values within the range, about `count` of them."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            step = max(1, math.ceil((last - first + 1) / count))
            return [10.0**e for e in range(first, last + 1, step)]
        if self.high <= self.low:
            return [self.low]
        raw = (self.high - self.low) / count
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def between(self, start: float, end: float) -> "Scale":
        """The same values on other pixels."""
        return Scale(self.low, self.high, start, end, self.log)


def value_scale(values: Sequence[Sequence[float]], *, at_least: float = 0.0, better: str = "lower") -> Scale:
    """One scale for the values of all models: linear from 0, so that a flat orbit looks flat.

    at_least: a size below which differences are rounding; an exact model is drawn as a flat line at zero. Logarithmic
    only where two models are both above it and three hundred times apart.
    """
    everything = [v for model in values for v in model if math.isfinite(v)]
    if not everything:
        return Scale(0.0, 1.0, 0.0, 1.0)
    low, high = min(everything), max(everything)
    levels = []
    for model in values:
        ordered = sorted(v for v in model if math.isfinite(v))
        if ordered:
            levels.append(ordered[int(0.9 * (len(ordered) - 1))])
    levels = [v for v in levels if v > at_least]
    if better == "lower" and low >= 0 and len(levels) > 1 and min(levels) > 0 and max(levels) > 300 * min(levels):
        start = 10.0 ** math.floor(math.log10(min(levels)) - 1)
        return Scale(start, 10.0 ** math.ceil(math.log10(high)), 0.0, 1.0, True)
    if low >= 0:
        return Scale(0.0, max(high * 1.05, at_least, 1e-300), 0.0, 1.0)
    pad = 0.05 * (high - low) or 1.0
    return Scale(low - pad, high + pad, 0.0, 1.0)


def colour(share: float) -> str:
    """cividis at a share between 0 and 1."""
    x = min(1.0, max(0.0, share)) * (len(CIVIDIS) - 1)
    i = min(int(x), len(CIVIDIS) - 2)
    a, b = (tuple(int(CIVIDIS[k][j : j + 2], 16) for j in (1, 3, 5)) for k in (i, i + 1))
    return "#" + "".join(f"{round(p + (q - p) * (x - i)):02x}" for p, q in zip(a, b))


def luminance(hex_colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(hex_colour[j : j + 2], 16) / 255 for j in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def path(points: Sequence[tuple[float, float] | None], *, closed: bool = False) -> str:
    """Path data through points; None interrupts the line."""
    out, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        out.append(f"{pen}{fmt(point[0])} {fmt(point[1])}")
        pen = "L"
    return "".join(out) + ("Z" if closed and out and None not in points else "")
