"""`measure`: the equivariance error of any callable, with an interval, a noise floor and a verdict (contract C2)."""

import platform
import time
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ..groups.group import Element
from ..reps import Action
from .action_laws import check_action
from .choose import Choice, choose
from .derivative import lie_derivatives
from .elements import describe
from .floors import measure_floor, noise_cause
from .orbit import Orbit as Orbit
from .orbit import Samples, in_dtype
from .orbit import pair_error as pair_error
from .result import AuditResult, OutputAudit, Row, Worst
from .summary import Run, summarise, worst_pairs
from .tree import cast, evaluating, module_of, named_tensors

LISTED = 10  # worst pairs, and missing pairs, that are listed
LIE_SAMPLES = 64  # samples per generator of the Lie algebra: two evaluations each


def measure(
    fn: Callable[[Any], Any],
    rep_in: Action,
    rep_out: Action,
    data: Any,
    *,
    elements: Element | Callable[..., Element] | None = None,
    n_samples: int = 256,
    n_elements: int = 16,
    dtype: Literal["both", "float32", "float64"] = "both",
    generator: torch.Generator,
    alpha: float = 0.05,
    special: bool = True,
    chunk: int = 256,
    title: str | None = None,
) -> AuditResult:
    """Measure how far fn(ρ_in(g) x) is from ρ_out(g) fn(x), over samples x and elements g.

    fn: any callable that takes batches as `rep_in.collate` makes them; a module is run in eval() and restored.
    data: a tensor (samples in front), a sequence of samples, or a loader of batches; labels are ignored.
    elements: None for all elements of a small finite group and uniform (Haar) samples of a compact one; a stack of
    elements; or a sampler such as `audit.Sampler(E(3), scale=1.0)`, needed for non-compact groups.
    special: try the identity, the generators, reflections and quarter turns too (in maxima, never in averages).
    dtype: "both" runs float32 and float64, on converted deep copies where needed; float32 alone is never "exact".
    chunk: evaluations per call of fn. Errors are in units of the output; definitions in `result.definitions`.
    Raises ValueError for Actions of different groups, data or outputs that do not fit their Action, empty data, and for
    an Action that does not keep the laws of one on these data (identity, composition).
    Source: arXiv:2305.19889 (orbits), arXiv:2210.02984 (Lie derivative).
    """
    started = time.perf_counter()
    if rep_in.group != rep_out.group:
        raise ValueError(f"measure: rep_in belongs to {rep_in.group}, rep_out to {rep_out.group}")
    if dtype not in ("both", "float32", "float64"):
        raise ValueError(f"measure: dtype must be 'both', 'float32' or 'float64', got {dtype!r}")
    group = rep_out.group
    samples = Samples(data, rep_in).subset(n_samples, generator)
    with evaluating(fn):
        y = _check_fit(fn, rep_in, rep_out, samples, group)
        picked = choose(group, elements, len(samples), n_elements, special, generator)
        some = picked.own if picked.shared is None else picked.shared
        few = samples.cast(torch.float64).take(range(min(4, len(samples))))
        laws = check_action("rep_in", rep_in, few, some)
        check_action("rep_out", rep_out, cast(y, torch.float64), some)
        runs, no_float64 = _runs(fn, rep_in, rep_out, samples, picked, dtype, chunk)
        headline = runs[-1]
        floors = measure_floor(runs[0].orbit, headline.orbit, picked, len(runs) == 2)
        noisy = any(floor.repeat > 0 for floor in floors.values())
        cause = noise_cause(headline.orbit) if noisy else ""
        derivatives = lie_derivatives(headline.orbit, LIE_SAMPLES)

    table: list[Row] = []
    outputs: dict[str, OutputAudit] = {}
    worst: list[Worst] = []
    missing: list[Worst] = []
    for name in headline.errors:
        outputs[name], rows = summarise(name, runs, floors[name], no_float64, generator, alpha, cause)
        table += rows
        table += [
            Row(name, "lie_derivative", headline.dtype, value, n, 1, maximum=largest, detail=label)
            for label, value, largest, n in derivatives.get(name, [])
        ]
        bad, lost = worst_pairs(name, headline, picked, LISTED)
        worst += bad
        missing += lost
    worst.sort(key=lambda w: -w.relative)
    speaking = [o for o in outputs.values() if o.verdict.word != "trivially invariant"] or list(outputs.values())
    verdict = max(speaking, key=lambda o: (o.verdict.severity, o.relative_rms)).verdict
    shared = picked.shared is not None
    return AuditResult(
        title=title or _name(fn),
        group=str(group),
        rep_in=repr(rep_in),
        rep_out=repr(rep_out),
        table=table,
        outputs=outputs,
        worst=worst[:LISTED],
        missing=missing[:LISTED],
        verdict=verdict,
        labels=picked.special_labels,
        element_labels=[describe(group, picked.element(0, j)) for j in range(picked.n_elements)] if shared else None,
        how=picked.how,
        samples=list(samples.index),
        n_samples=len(samples),
        n_elements=picked.n_elements,
        dtype=headline.dtype,
        alpha=alpha,
        cost={
            "evaluations": sum(run.orbit.evaluations for run in runs),
            "calls": sum(run.orbit.calls for run in runs),
        },
        seconds=time.perf_counter() - started,
        meta=describe_run(fn, samples, generator, [run.dtype for run in runs])
        | {"laws of rep_in": f"identity {laws.identity:.1e}, composition {laws.composition:.1e} of the data's size"},
        picked=picked,
    )


def _check_fit(fn, rep_in, rep_out, samples: Samples, group) -> Any:
    """Find what does not fit before any time is spent, and say which side it is on; returns fn of the first sample."""
    identity = group.identity()
    module = module_of(fn)
    floating = [p.dtype for p in module.parameters() if p.is_floating_point()] if module is not None else []
    batch = (samples.cast(floating[0]) if floating else samples).take([0])
    try:
        rep_in(identity, batch)
    except (ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f"measure: the data does not fit rep_in {rep_in!r}: {error}") from error
    y = Orbit(fn, rep_in, rep_out, samples).call(batch, 1)
    try:
        moved = rep_out(identity, y)
    except (ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(
            f"measure: fn(data[0]) does not fit rep_out {rep_out!r}: {error}; fn returns {_described(y)}"
        ) from error
    if not named_tensors(moved):
        raise ValueError(f"measure: fn(data[0]) is a {type(y).__name__} without any tensor")
    return y


def _described(y: Any) -> str:
    """The outputs with their shapes, and for several what to do about it."""
    if isinstance(y, Tensor):
        return f"a tensor {tuple(y.shape)}"
    shapes = ", ".join(f"{name!r} {tuple(t.shape)}" for name, t in named_tensors(y).items())
    return f"a {type(y).__name__} with {shapes}: give Nested with one Action for each"


def _runs(fn, rep_in, rep_out, samples, picked: Choice, dtype: str, chunk: int) -> tuple[list[Run], str]:
    """The runs asked for, float32 first, and why there is none in float64 (empty when there is)."""

    def run(precision: torch.dtype) -> Run:
        orbit = Orbit(in_dtype(fn, precision), rep_in, rep_out, samples.cast(precision), chunk=chunk)
        n = len(samples)
        errors, flips = _errors(orbit, *picked.draws(n), n, picked.n_elements)
        special, _ = _errors(orbit, *picked.specials(n), n, len(picked.special_labels))
        if not errors:
            raise ValueError("measure: fn returns nothing that can be compared")
        return Run(str(precision).removeprefix("torch."), orbit, errors, special, flips)

    if dtype != "both":
        only = run(getattr(torch, dtype))
        if dtype == "float64" and (why := _not_float64(only)):
            raise ValueError(f"measure: {why}; convert the model, or use dtype='float32'")
        return [only], "it was not asked for" if dtype == "float32" else ""
    single = run(torch.float32)
    try:
        double = run(torch.float64)
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        return [single], f"it stopped with {type(error).__name__}: {str(error).splitlines()[0]}"
    why = _not_float64(double)
    return [single] if why else [single, double], why


def _not_float64(run: Run) -> str:
    for t in run.orbit.base().tensors.values():
        if t.is_floating_point() and t.dtype != torch.float64:
            return f"fn returns {str(t.dtype).removeprefix('torch.')} for float64 inputs"
    return ""


def _errors(orbit: Orbit, which: list[int], g: Element, n: int, k: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    names = orbit.base().compared
    squares = {name: torch.zeros(n * k, dtype=torch.float64) for name in names}
    flips = {name: torch.zeros(n * k, dtype=torch.float64) for name in names if _decides(orbit, name)}
    for piece, expected, moved in orbit.pairs(which, g):
        for name, value in expected.minus(moved).mean_square().items():
            squares[name][piece] = value
        for name in flips:
            flips[name][piece] = (expected.tensors[name].argmax(1) != moved.tensors[name].argmax(1)).double().cpu()
    return {name: s.reshape(n, k) for name, s in squares.items()}, {name: f.reshape(n, k) for name, f in flips.items()}


def _decides(orbit: Orbit, name: str) -> bool:
    """Whether an output is a set of scores for classes: invariant, one row of at least two numbers per sample."""
    t = orbit.base().tensors[name]
    if t.ndim != 2 or t.shape[1] < 2 or orbit.base().rows[name] is not None or not t.is_floating_point():
        return False
    terms = getattr(orbit.rep_out, "terms", None)
    if terms is not None:
        return all(not W.factors for W, _ in terms)
    part = getattr(orbit.rep_out, "parts", {}).get(name, orbit.rep_out)
    return type(part).__name__ == "Invariant"


def _name(fn: Callable) -> str:
    return getattr(fn, "__name__", None) or type(fn).__name__


def describe_run(fn: Callable, samples: Samples, generator: torch.Generator, dtypes: list[str]) -> dict[str, str]:
    """What a reader needs to trust and repeat a run: model, data, seed, versions; no time stamp, no machine name."""
    from .. import __version__

    module = module_of(fn)
    count = sum(p.numel() for p in module.parameters()) if module is not None else None
    device = next((str(p.device) for p in module.parameters()), "cpu") if module is not None else "cpu"
    return {
        "model": _name(fn),
        "parameters": "unknown" if count is None else f"{count:,}",
        "dtype": " and ".join(dtypes),
        "device": device,
        "seed": str(generator.initial_seed()),
        "samples": str(len(samples)),
        "data fingerprint": samples.fingerprint(),
        "versions": f"intertwine {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }
