"""NERO: evaluate models along whole orbits, to see *where* a symmetry breaks, not only how much (arXiv:2305.19889)."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..reps import Action
from .action_laws import check_action
from .boxes import in_frame
from .consensus import Consensus, Kind, Weight, boxes_consensus, combine, weights, where_valid
from .error import describe_run
from .floors import there_and_back
from .grid import OrbitGrid
from .metrics import Metric, metric_named
from .nero_result import DETAILED, NeroResult, band, embed, orbit_mean
from .orbit import Orbit, Outputs, Samples
from .targets import lay_out
from .tree import cast, evaluating, map_tensors, named_tensors

SHOWN_NUMBERS = 12  # entries of an output that the detail panel can show


def nero(
    fn: Callable[[Any], Any] | Mapping[str, Callable[[Any], Any]],
    rep_in: Action,
    rep_out: Action,
    data: Any,
    *,
    orbit: OrbitGrid,
    metric: str | Metric | Callable[[Any, Any], Tensor] = "rmse",
    targets: Any = None,
    consensus: Kind | None = None,
    weight: Weight | None = None,
    rep_target: Action | None = None,
    classes: Sequence[Any] | None = None,
    chunk: int = 256,
    unit: str = "",
    generator: torch.Generator,
    title: str | None = None,
) -> NeroResult:
    """Evaluate metric(f(g·x), g·y) for every sample x and every element g of an orbit.

    fn: a callable, or several by name to compare; the rest as in `audit.measure`. metric: see `audit.metric_named`.
    targets: labels y, as fn returns them for all samples (a tensor, or a dict with rows joined), or a list with what fn
    would return for each sample alone; integer labels do not move. Without them y is the model's own f(x), or, with
    `consensus`, what it says along the orbit, pulled back and combined: "mean", "median", "vote", "boxes" (see there).
    rep_target: how targets move, when not as outputs. classes: one per sample, for averages per class (default: integer
    targets). Angles are degrees; values are in the metric's `unit`. `generator` draws the bootstrap.
    Raises ValueError for Actions and a grid of different groups, for what is no Action on these data, and for another
    number of targets than of samples.
    """
    started = time.perf_counter()
    for name, action in (("rep_in", rep_in), ("rep_out", rep_out)):
        if action.group != orbit.group:
            raise ValueError(f"nero: {name} belongs to {action.group}, the orbit to {orbit.group}")
    if targets is not None and consensus is not None:
        raise ValueError("nero: give targets or a consensus, not both")
    models = dict(fn) if isinstance(fn, Mapping) else {title or getattr(fn, "__name__", type(fn).__name__): fn}
    measure_of = metric_named(metric)
    samples = Samples(data, rep_in)
    if classes is not None and len(classes) != len(samples):
        raise ValueError(f"nero: {len(classes)} classes for {len(samples)} samples")
    runs = []
    for model in models.values():
        with evaluating(model):
            evaluation = Orbit(model, rep_in, rep_out, samples, chunk=chunk)
            if not runs:
                _check_actions(evaluation, orbit)
            given = None if targets is None else lay_out(targets, evaluation.base())
            runs.append(_run(evaluation, orbit, measure_of, given, rep_target, consensus, weight))
    values = torch.stack([run["values"] for run in runs])
    if classes is None and targets is not None and not any(t.is_floating_point() for t in given.tensors.values()):
        classes = next(iter(given.tensors.values())).tolist()
    mean, std = orbit_mean(values, orbit.weight)
    return NeroResult(
        title=title or " and ".join(models),
        models=list(models),
        group=str(orbit.group),
        metric=measure_of.name,
        better=measure_of.better,
        unit=unit or measure_of.unit,
        grid=orbit,
        values=values,
        aggregate=values.nanmean(1),
        ci=torch.stack([band(v, generator) for v in values]),
        spread=torch.stack([_decile(values, 0.1), _decile(values, 0.9)], -1),
        sample_mean=mean,
        sample_std=std,
        embedding=embed(values),
        targets_used="labels" if targets is not None else "consensus" if consensus else "self",
        consensus=consensus,
        agreement=None if consensus is None else torch.stack([run["agreement"] for run in runs]),
        tied=None if consensus is None else torch.stack([run["tied"] for run in runs]),
        size=runs[0]["size"],
        floor=[run["floor"] for run in runs],
        inside=_inside(evaluation, orbit),
        outputs=[run["outputs"] for run in runs],
        inputs=[samples[i] for i in range(min(DETAILED, len(samples)))],
        classes=None if classes is None else [str(c) for c in classes],
        cost={
            "evaluations": sum(run["evaluations"] for run in runs),
            "calls": sum(run["calls"] for run in runs),
        },
        seconds=time.perf_counter() - started,
        meta=[
            describe_run(model, samples, generator, [_dtype(samples)]) | {"model": name}
            for name, model in models.items()
        ],
    )


def _check_actions(evaluation: Orbit, grid: OrbitGrid) -> None:
    """Identity and composition on a few elements; of shifts the smallest, which leave something in the frame."""
    places = torch.linspace(0, len(grid) - 1, 5).long()
    if "x" in grid.coordinates:
        places = (grid.coordinates["x"].square() + grid.coordinates["y"].square()).argsort(stable=True)[:5]
    g, samples = grid.group.take(grid.elements, places), evaluation.samples.cast(torch.float64)
    check_action("rep_in", evaluation.rep_in, samples.take(range(min(4, len(samples)))), g)
    check_action("rep_out", evaluation.rep_out, cast(evaluation.base().one(0), torch.float64), g)


def _run(evaluation: Orbit, grid: OrbitGrid, metric: Metric, given, rep_target, kind, weight) -> dict[str, Any]:
    """One model: values [samples, elements], agreement with the consensus, outputs of the first samples, the floor."""
    n, k = len(evaluation.samples), len(grid)
    group = grid.group
    values = torch.full((n, k), torch.nan, dtype=torch.float64)
    agreement, tied = torch.full((n,), torch.nan, dtype=torch.float64), torch.zeros(n, dtype=torch.bool)
    details: list[Tensor] = []
    per_block = max(1, evaluation.chunk // k)
    for start in range(0, n, per_block):
        block = list(range(start, min(n, start + per_block)))
        which = [i for i in block for _ in range(k)]
        g = group.take(grid.elements, torch.arange(k).repeat(len(block)))
        outputs = Outputs.join([y for _, _, y in evaluation.moved(which, g)])
        target = given if given is not None else evaluation.base()
        if kind is not None:
            pulled_back = evaluation.act(group.inverse(g), outputs)
            if kind == "boxes":
                target, found = _boxes_consensus(
                    pulled_back, len(block), weight, in_frame(evaluation.rep_out, grid.elements)
                )
            else:
                inverse = group.inverse(grid.elements)
                valid = None
                if isinstance(pulled_back.tree, Tensor):
                    valid = where_valid(evaluation.rep_out, inverse, pulled_back.tree[:k])
                target, found = _consensus(pulled_back, len(block), k, kind, weight, valid)
            agreement[block], tied[block] = found.agreement, found.tied
            target = target.take([i - start for i in which])
        else:
            target = target.take(which)
        if any(t.is_floating_point() for t in target.tensors.values()):
            target = evaluation.act(g, target, rep_target)
        values[block] = metric(outputs, target).reshape(len(block), k)
        for i in block:
            if i < DETAILED:
                places = range((i - start) * k, (i - start + 1) * k)
                mine = outputs.take(places)
                undone = evaluation.act(group.inverse(grid.elements), mine)
                details.append(torch.stack([_numbers(mine), _numbers(undone)], 1))
    floor = size = None
    if metric.better == "lower":
        back = there_and_back(evaluation, lambda which: group.take(grid.elements, torch.tensor([i % k for i in which])))
        floor = metric(back[0], evaluation.base()).nanmean().item()
        size = _size(metric, given if given is not None else evaluation.base())
    return {
        "values": values,
        "agreement": agreement,
        "tied": tied,
        "floor": floor,
        "size": size,
        "outputs": details,
        "evaluations": evaluation.evaluations,
        "calls": evaluation.calls,
    }


def _consensus(pulled_back: Outputs, n: int, k: int, kind: Kind, weight, valid) -> tuple[Outputs, Consensus]:
    """Tensor by tensor and sample by sample; agreement is the lowest over the tensors of an output."""
    parts, agreement, tied = [], torch.ones(n, dtype=torch.float64), torch.zeros(n, dtype=torch.bool)
    for i in range(n):
        mine = pulled_back.take(range(i * k, (i + 1) * k))
        combined = {}
        for name, t in mine.tensors.items():
            z = t.reshape(1, k, len(t) // k, *t.shape[1:])
            if kind == "vote":
                z = z.squeeze(2)
            seen = None if valid is None else valid[None, :, None]  # as z is laid out, one row for each element
            found = combine(z, weights(z, weight), kind, seen) if name in mine.compared else None
            combined[name] = z[0, 0] if found is None else found.value if kind == "vote" else found.value[0]
            if found is not None:
                agreement[i] = torch.minimum(agreement[i], found.agreement[0])
                tied[i] |= found.tied[0]
        values = iter(combined.values())
        tree = map_tensors(lambda _, values=values: next(values), mine.tree)
        rows = {name: None if mine.rows[name] is None else [mine.rows[name][0]] for name in mine.rows}
        parts.append(Outputs(tree, rows))
    return Outputs.join(parts), Consensus(torch.empty(0), agreement, tied)


def _boxes_consensus(pulled_back: Outputs, n: int, weight, visible) -> tuple[Outputs, Consensus]:
    """Detections of n samples, combined."""
    z = map_tensors(lambda t: t.unflatten(0, (n, -1)), pulled_back.tree)
    found = boxes_consensus(z, weight, [visible] * n)
    return Outputs(found.value, dict.fromkeys(found.value)), found


def _inside(evaluation: Orbit, grid: OrbitGrid) -> Tensor | None:
    """For images, the share of the pixels that comes from inside the image at each element; else None."""
    show = getattr(evaluation.rep_in, "inside", None)
    if show is None:
        return None
    parts = []
    for start in range(0, len(grid), evaluation.chunk):
        places = torch.arange(start, min(len(grid), start + evaluation.chunk))
        moved = show(grid.group.take(grid.elements, places), evaluation.samples.take([0] * len(places)))
        parts.append(moved.double().flatten(1).mean(1).cpu())
    return torch.cat(parts)


def _numbers(outputs: Outputs) -> Tensor:
    """The first entries of each evaluation, [evaluations, at most SHOWN_NUMBERS]."""
    columns = []
    for name in outputs.compared:
        t = outputs.tensors[name].detach().double().cpu()
        columns.append(t.reshape(len(outputs), -1) if len(t) % len(outputs) == 0 else t.new_zeros(len(outputs), 0))
    return torch.cat(columns, 1)[:, :SHOWN_NUMBERS].float()


def _decile(values: Tensor, q: float) -> Tensor:
    """A quantile over samples, [models, elements], by sorting; missing values are not counted."""
    ordered = torch.where(values.isfinite(), values, torch.nan).sort(1).values  # NaN comes last
    count = values.isfinite().sum(1, keepdim=True)
    place = ((count - 1).clamp_min(0) * q).round().long()
    return ordered.gather(1, place)[:, 0]


def _size(metric: Metric, target: Outputs) -> float | None:
    """RMS of what an error metric compares; None for a metric that is not one of ours."""
    if not metric.ragged:
        return None
    output = metric.name.rpartition(":")[0]
    squares = [s for name, s in target.mean_square().items() if not output or name == output]
    finite = torch.cat(squares)
    finite = finite[finite.isfinite()]
    return finite.mean().sqrt().item() if len(finite) else None


def _dtype(samples: Samples) -> str:
    floating = [t.dtype for t in named_tensors(samples[0]).values() if t.is_floating_point()]
    return str(floating[0]).removeprefix("torch.") if floating else "integer"
