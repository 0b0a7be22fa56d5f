"""What an audit returns: numbers with their intervals, the worst pairs with a line to repeat them, and a verdict."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from .choose import Choice
from .elements import describe
from .pack import clean
from .statistics import Interval, holm, rule_of_three
from .verdict import BROKEN, NoiseFloor, Verdict

NAN = math.nan

DEFINITIONS: dict[str, str] = {
    "absolute": "RMS over pairs of ‖r‖, r = ρ_out(g) f(x) − f(ρ_in(g) x), ‖·‖ the RMS over entries; output units",
    "relative": "sqrt(Σ‖r_ij‖² / Σ‖f(x_i)‖²), over samples i and elements j; the number to compare models by",
    "variation": "sqrt(mean‖r_ij‖² / mean over pairs i ≠ i' of ‖f(x_i) − f(x_i')‖²): 0 symmetric, 1 as different as "
    "two unrelated samples",
    "flip": "share of pairs for which the largest output is another one: decisions that the group changes",
    "lie_derivative": "RMS over samples of ‖d/dt ρ_out(exp(−tA)) f(ρ_in(exp(tA)) x)‖ at t = 0, for each generator A",
}


@dataclass(frozen=True)
class Row:
    """One line of the table: one error definition for one output. NaN where a column has no meaning."""

    output: str  # path of the output, "" for a bare tensor
    name: str  # key of DEFINITIONS
    dtype: str
    value: float  # the number named by the definition
    n_samples: int
    n_elements: int
    interval: Interval | None = None
    maximum: float = NAN
    mean: float = NAN
    median: float = NAN
    q95: float = NAN
    missing: int = 0
    detail: str = ""  # the generator, for a Lie derivative


@dataclass(frozen=True)
class Worst:
    """One pair with a large error: which sample, which element, how to see it again."""

    sample: int  # place in the data
    element: int  # column of `errors`, or of `special_errors` when special
    special: bool
    description: str
    output: str
    absolute: float
    relative: float
    snippet: str


@dataclass(frozen=True)
class OutputAudit:
    """The audit of one output of the model; errors are ‖r_ij‖ in output units, NaN where there was no value."""

    name: str
    verdict: Verdict
    floor: NoiseFloor
    errors: Float[Tensor, "samples elements"]
    special_errors: Float[Tensor, "samples special"]
    size: Float[Tensor, " samples"]  # ‖f(x_i)‖
    rms: float  # RMS error
    relative_rms: float  # relative to the size of the output; 0 for an output that is always zero
    p_value: float  # share of resamples on the other side of the bound on variation; NaN without an interval


@dataclass(frozen=True)
class AuditResult:
    """How far a model is from its symmetry: table, worst pairs, noise floors, verdict. Printed, or `to_html`."""

    title: str
    group: str
    rep_in: str
    rep_out: str
    table: list[Row]
    outputs: dict[str, OutputAudit]
    worst: list[Worst]
    missing: list[Worst]
    verdict: Verdict
    labels: list[str]  # of the special elements
    element_labels: list[str] | None  # of shared elements; None when every sample drew its own
    how: str  # "exhaustive over S(3)", "16 Haar samples per input", ...
    samples: list[int]  # place in the data of each audited sample
    n_samples: int
    n_elements: int
    dtype: str
    alpha: float
    cost: dict[str, int]
    seconds: float  # shown in the terminal only: it differs from run to run
    meta: dict[str, str]
    picked: Choice = field(repr=False)  # the elements themselves; not in to_dict
    definitions: dict[str, str] = field(default_factory=lambda: dict(DEFINITIONS))

    @property
    def headline(self) -> OutputAudit:
        """The output that decides the verdict."""
        speaking = [o for o in self.outputs.values() if o.verdict == self.verdict]
        return speaking[0]

    @property
    def per_pair(self) -> Float[Tensor, "samples elements"]:
        """Errors of the headline output."""
        return self.headline.errors

    @property
    def floor(self) -> NoiseFloor:
        """Noise floor of the headline output."""
        return self.headline.floor

    @property
    def sentence(self) -> str:
        """The verdict as one sentence for people."""
        speaking = {o.verdict.word for o in self.outputs.values()} - {"trivially invariant"}
        about = "" if len(speaking) < 2 else f" (output {self.headline.name!r})"
        word = self.verdict.word
        return f"{word[0].upper()}{word[1:]} under {self.group}{about}: {self.verdict.reason}."

    def own_labels(self, i: int) -> list[str]:
        """The elements that sample i drew, in words."""
        return [describe(self.picked.group, self.picked.element(i, j)) for j in range(self.n_elements)]

    def row(self, name: str, output: str | None = None, dtype: str | None = None) -> Row:
        """The first table row of that definition. Raises KeyError when there is none."""
        for row in self.table:
            if row.name == name and output in (None, row.output) and dtype in (None, row.dtype):
                return row
        raise KeyError(f"no row {name!r} for output {output!r}; there are {[(r.output, r.name) for r in self.table]}")

    def to_dict(self) -> dict[str, Any]:
        """Everything but the wall time, ready for strict JSON: what is no number is None, with a flag beside it."""
        return clean(self._tree())

    def _tree(self) -> dict[str, Any]:
        return {
            "kind": "audit",
            "title": self.title,
            "group": self.group,
            "rep_in": self.rep_in,
            "rep_out": self.rep_out,
            "verdict": {"word": self.verdict.word, "reason": self.verdict.reason, "severity": self.verdict.severity},
            "sentence": self.sentence,
            "table": [asdict(row) for row in self.table],
            "outputs": {
                name: {
                    "verdict": {"word": o.verdict.word, "reason": o.verdict.reason, "severity": o.verdict.severity},
                    "floor": asdict(o.floor),
                    "rms": o.rms,
                    "p_value": o.p_value,
                    "size": o.size.tolist(),
                    "errors": o.errors.tolist(),
                    "special_errors": o.special_errors.tolist(),
                }
                for name, o in self.outputs.items()
            },
            "worst": [asdict(w) for w in self.worst],
            "missing": [asdict(w) for w in self.missing],
            "special": self.labels,
            "elements": self.element_labels,
            "how": self.how,
            "samples": self.samples,
            "n_samples": self.n_samples,
            "n_elements": self.n_elements,
            "dtype": self.dtype,
            "alpha": self.alpha,
            "cost": self.cost,
            "meta": self.meta,
            "definitions": self.definitions,
        }

    def to_html(self, path: str | Path, **options: Any) -> Path:
        """Write the page of contract C3; options as in `audit.write_html`."""
        from .report import write_html

        return write_html(self, path, **{"title": self.title, **options})

    def __repr__(self) -> str:
        lines = [self.sentence, f"  {self.rep_in}  →  {self.rep_out}", ""]
        several = len(self.outputs) > 1
        header = ["output"] * several + [
            "error",
            "dtype",
            "value",
            f"{1 - self.alpha:.0%} interval",
            "mean",
            "max",
            "n",
        ]
        shown = [row for row in self.table if row.name != "lie_derivative" or row in self._steepest()]
        rows = [
            [row.output] * several
            + [
                f"{row.name} {row.detail}".strip(),
                row.dtype,
                number(row.value),
                "" if row.interval is None else str(row.interval),
                number(row.mean),
                number(row.maximum),
                f"{row.n_samples} × {row.n_elements}",
            ]
            for row in shown
        ]
        widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]
        for line in [header, *rows]:
            lines.append(("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths))).rstrip())
        floor = self.floor
        lines += [
            "",
            f"  noise floor: dtype {number(floor.dtype)}, action {number(floor.action)} (round trip of the input "
            f"{floor.round_trip:.1e}), repeat {number(floor.repeat)}, batching {number(floor.batching)}",
        ]
        if several:
            lines += [f"  {name}: {o.verdict.word}" for name, o in self.outputs.items()]
        if self.missing:
            lines.append(
                f"  no value (NaN or infinite) at {self.missing_pairs} pairs, first: {self.missing[0].snippet}"
            )
        if self.worst:
            w = self.worst[0]
            lines += [f"  worst: sample {w.sample}, {w.description}: {w.absolute:.3g}", f"    {w.snippet}"]
        lines += [f"  {rule_of_three(self.n_samples)}", f"  {self.how}; {self.cost_line()}, {self.seconds:.1f} s"]
        return "\n".join(lines)

    def _steepest(self) -> list[Row]:
        """Of the Lie derivatives of each output, the largest: the terminal has no room for all."""
        found: dict[str, Row] = {}
        for row in self.table:
            if row.name == "lie_derivative" and (row.output not in found or row.value > found[row.output].value):
                found[row.output] = row
        return list(found.values())

    @property
    def missing_pairs(self) -> int:
        """How many pairs have no value, over all outputs."""
        return sum(row.missing for row in self.table if row.name == "absolute" and row.dtype == self.dtype)

    def cost_line(self) -> str:
        """Evaluations and calls."""
        return f"{self.cost['evaluations']:,} evaluations in {self.cost['calls']:,} calls of the model"


@dataclass(frozen=True)
class FamilyRow:
    """One audit among many: its word alone, and with Holm's correction for having looked many times."""

    title: str
    output: str
    group: str
    variation: float
    word: str
    p_value: float
    p_holm: float
    corrected: str


def family(results: Sequence[AuditResult], *, alpha: float = 0.05) -> list[FamilyRow]:
    """Several audits as one family: verdicts that rest on an interval are kept only where Holm's p-value ≤ alpha.

    "approximate" and "broken" rest on which side of the bound the variation lies; the others do not and stay.
    """
    found = [(result, o) for result in results for o in result.outputs.values()]
    tested = [
        i for i, (_, o) in enumerate(found) if o.verdict.word in ("approximate", "broken") and o.p_value == o.p_value
    ]
    adjusted = dict(zip(tested, holm([found[i][1].p_value for i in tested])))
    rows = []
    for i, (result, o) in enumerate(found):
        p = adjusted.get(i, NAN)
        corrected = "undecided" if i in adjusted and p > alpha else o.verdict.word
        variation = result.row("variation", o.name).value
        rows.append(FamilyRow(result.title, o.name, result.group, variation, o.verdict.word, o.p_value, p, corrected))
    return rows


def number(value: float | None) -> str:
    """Three significant digits; a dash where there is nothing."""
    return "–" if value is None or value != value else f"{value:.3g}"


def methods(result: AuditResult) -> str:
    """The paragraph that says exactly what was computed."""
    return (
        f"Residuals r = ρ_out(g) f(x) − f(ρ_in(g) x) for {result.n_samples} inputs and {result.how}. Averages are over "
        f"these elements; maxima also over {len(result.labels)} special ones. Intervals: percentile bootstrap over "
        "samples, 2,000 resamples, the elements of one sample kept together as a cluster. Verdicts: exact = largest "
        "relative error ≤ 1e-10 in float64 and ≤ 100 noise floors in float32; exact up to the Action's interpolation = "
        "RMS error within 3 times the error of moving an input there and back; approximate = upper end of the interval "
        f"of the variation < {BROKEN}; broken = lower end ≥ {BROKEN}; undecided otherwise. References: orbits and "
        "their plots, arXiv:2305.19889; Lie derivative, arXiv:2210.02984; step-down correction, Holm (1979)."
    )
