"""One word for what an audit found, and the sentence that justifies it: rules only, no measuring."""

import math
from dataclasses import dataclass
from typing import Literal

from .statistics import Interval

Word = Literal[
    "exact",
    "exact up to the Action's interpolation",
    "approximate",
    "undecided",
    "trivially invariant",
    "stochastic",
    "broken",
]

EXACT = 1e-10  # largest relative error in float64
FLOORS = 100  # largest float32 error, in units of the float32 noise floor
BROKEN = 0.05  # of the distance between two unrelated samples
REPEAT64, REPEAT32 = 1e-10, 1e-4  # relative difference of two calls that rounding may cause, however long the sums
ROUND_TRIP = 1e-6  # an Action that returns an input this well does not interpolate

# Severity decides exit codes and which output speaks for the whole; the shape is the cue beside the word.
SEVERITY: dict[str, int] = {
    "exact": 0,
    "exact up to the Action's interpolation": 1,
    "approximate": 2,
    "undecided": 2,
    "trivially invariant": 2,
    "stochastic": 2,
    "broken": 3,
}
SHAPE: dict[str, str] = {
    "exact": "check",
    "exact up to the Action's interpolation": "check-ring",
    "approximate": "wave",
    "undecided": "question",
    "trivially invariant": "flat",
    "stochastic": "dice",
    "broken": "cross",
}


@dataclass(frozen=True)
class NoiseFloor:
    """What the error would be for a perfect model, in units of the output; None means not measured.

    dtype: RMS ‖f_32(x) − f_64(x)‖. action: RMS ‖f(ρ(g)⁻¹ρ(g)x) − f(x)‖. round_trip: ‖ρ(g)⁻¹ρ(g)x − x‖ / ‖x‖, inputs.
    repeat: RMS between two identical calls. batching: RMS between two ways to cut the samples into batches.
    """

    dtype: float | None
    action: float
    round_trip: float
    repeat: float
    batching: float

    def of_the_model(self) -> float:
        """The highest floor that the model itself sets: dtype, repeat, batching; not the Action's interpolation."""
        return max(self.dtype or 0.0, self.repeat, self.batching)


@dataclass(frozen=True)
class Evidence:
    """The numbers a verdict rests on; errors and floors in units of the output."""

    error: float  # RMS over pairs
    size: float  # RMS of the outputs
    relative_max64: float | None  # largest error / size in float64; None when float64 was not or could not be run
    max32: float | None  # largest error in float32
    floor: NoiseFloor
    spread: float  # RMS distance between outputs of different samples; NaN for one sample
    variation: float
    interval: Interval | None  # of `variation`
    n_samples: int
    missing: int = 0  # pairs whose error is no number
    pairs: int = 0
    no_float64: str = ""  # why
    noise_cause: str = ""  # why two calls differ


@dataclass(frozen=True)
class Verdict:
    """The word, and the reason for it in one sentence."""

    word: Word
    reason: str

    @property
    def severity(self) -> int:
        """0 exact, 1 exact up to interpolation, 2 not shown to be either, 3 broken."""
        return SEVERITY[self.word]

    @property
    def shape(self) -> str:
        """Name of the mark drawn beside the word."""
        return SHAPE[self.word]

    def fails(self, threshold: Literal["broken", "approximate"]) -> bool:
        """Whether this is at or worse than the threshold (the exit code of `intertwine audit --fail-on`)."""
        if threshold not in ("broken", "approximate"):
            raise ValueError(f"fail-on must be 'broken' or 'approximate', got {threshold!r}")
        return self.severity >= SEVERITY[threshold]

    def __str__(self) -> str:
        return f"{self.word}: {self.reason}"


def decide(e: Evidence) -> Verdict:
    """The verdict by contract; the first rule that applies wins."""
    rounding = 2.0**-23 * e.size  # of float32, for outputs of this size
    dtype_floor = max(e.floor.dtype or 0.0, rounding)
    broken = e.interval is not None and e.interval.low >= BROKEN

    if e.missing:
        reason = f"{e.missing} of {e.pairs} pairs have no value (NaN or infinite)"
        if broken:
            return Verdict("broken", f"{reason}; over the others the variation is {_with(e)}")
        return Verdict("undecided", f"{reason}: a symmetry cannot be claimed over inputs where there is no output")

    # Two calls may differ by the order of a sum, which is rounding and shrinks in float64; what a model draws does not.
    # The dtype floor is no yardstick here: float32 and float64 calls of a drawing model differ by the draws as well.
    noise = max(e.floor.repeat, e.floor.batching)
    if noise > (REPEAT32 if e.relative_max64 is None else REPEAT64) * e.size:
        symmetry = math.sqrt(max(0.0, e.error**2 - e.floor.repeat**2))
        cause = "two identical calls" if e.floor.repeat > 0 else "two ways of cutting the data into batches"
        return Verdict(
            "stochastic",
            f"{cause} differ by {noise:.3g} RMS; of the RMS error {e.error:.3g}, {symmetry:.3g} is left for the "
            "symmetry once that run-to-run part is taken out" + (f"; {e.noise_cause}" if e.noise_cause else ""),
        )

    floor = max(e.floor.of_the_model(), rounding if e.relative_max64 is None else 2.0**-52 * e.size)
    if e.spread < 10 * floor or e.size == 0:
        return Verdict(
            "trivially invariant",
            f"the output hardly depends on the input (it spreads by {e.spread:.3g} over the data, the noise floor is "
            f"{floor:.3g}); a constant model is no evidence of symmetry",
        )

    small32 = e.max32 is None or e.max32 <= FLOORS * dtype_floor
    if e.relative_max64 is not None and e.relative_max64 <= EXACT and small32:
        single = "float32 was not run" if e.max32 is None else f"{e.max32 / e.size:.2g} in float32"
        return Verdict("exact", f"the largest relative error is {e.relative_max64:.2g} in float64 ({single}): rounding")
    if e.relative_max64 is None and small32:
        why = f" ({e.no_float64})" if e.no_float64 else ""
        return Verdict(
            "undecided",
            f"nothing above float32 rounding was found, but without a float64 run{why} nobody can say exact",
        )
    if e.floor.round_trip > ROUND_TRIP and e.error <= 3 * e.floor.action:
        return Verdict(
            "exact up to the Action's interpolation",
            f"the RMS error {e.error:.3g} is within 3 × {e.floor.action:.3g}, the cost of moving inputs there and back",
        )

    if e.interval is None:
        if math.isnan(e.variation):
            return Verdict("undecided", f"RMS error {e.error:.3g}; with one sample there is nothing to compare it with")
        return Verdict(
            "undecided", f"the variation is {e.variation:.3g}, but {e.n_samples} samples are too few for an interval"
        )
    if e.interval.high < BROKEN:
        return Verdict("approximate", f"the variation is {_with(e)}: small, and not rounding")
    if broken:
        return Verdict("broken", f"the variation is {_with(e)}, where 1 means as different as two unrelated samples")
    return Verdict("undecided", f"the variation is {_with(e)}, which straddles the bound {BROKEN}")


def _with(e: Evidence) -> str:
    return f"{e.variation:.3g} ({e.interval.level:.0%} interval {e.interval})"
