"""The figures of a NERO result: orbits as circles, tiles and maps of the sphere, and the map of samples."""

import math
from dataclasses import dataclass

from .nero_result import ROUNDING, NeroResult
from .panels import Series, orbit_panels
from .parts import colour_bar, legend, legend_below, orientation, pair, standalone, svg, table_rows
from .svg import Scale, colour, number, tag, text, value_scale


@dataclass(frozen=True)
class Figure:
    """Panels drawn side by side, the sentence that replaces them for who cannot see, and the same as a table."""

    title: str
    sentence: str
    panels: list[str]
    header: list[str]
    rows: list[list[str]]
    legend: str = ""
    stage: str = ""  # "orbit" or "samples": what the keys move along
    note: str = ""
    columns: str = "wide"  # or "maps": many small panels


def nero_scale(result: NeroResult) -> Scale:
    """One scale for every figure of a result."""
    per_model = []
    for values in result.values.flatten(1):
        step = max(1, len(values) // 100_000)
        finite = values[values.isfinite()]
        ends = [finite.min().item(), finite.max().item()] if len(finite) else []
        per_model.append(values[::step].tolist() + ends)
    return value_scale(per_model, at_least=ROUNDING * (result.size or 0.0), better=result.better)


def aggregate(result: NeroResult, scale: Scale) -> Figure:
    """The mean over samples at each element, with its confidence band and the 10-90 % band of samples."""
    banded = result.grid.kind == "circle"
    series = [
        Series(
            result.aggregate[m],
            result.ci[m] if banded else None,
            result.spread[m] if banded else None,
            result.floor[m],
        )
        for m in range(len(result.models))
    ]
    header = [
        "element",
        *[f"{name}: {c}" for name in result.models for c in ("mean", "95 % band", "10–90 % of samples")],
        *["inside the image"] * result.cut,
    ]
    rows = []
    for k in table_rows(result):
        row = [result.grid.labels[k]]
        for m in range(len(result.models)):
            row += [
                number(result.aggregate[m, k].item()),
                pair(result.ci[m, k]),
                pair(result.spread[m, k]),
            ]
        rows.append([*row, f"{result.inside[k].item():.0%}"] if result.cut else row)
    bands = " Dark band: 95 % confidence of the mean; light band: 10 to 90 % of samples." if banded else ""
    note = f"Mean over {result.n_samples} samples.{bands}{orientation(result)}"
    return Figure(
        f"Average over samples: {result.label} along the orbit",
        " ".join(result.sentence(m) for m in range(len(result.models))),
        orbit_panels(result, series, scale, "aggregate"),
        header,
        rows,
        _legend(result, scale),
        note=note,
        columns="maps" if result.grid.kind == "sphere" else "wide",
    )


def individual(result: NeroResult, scale: Scale, sample: int) -> Figure:
    """One sample along the orbit, both models on the same scale as everything else."""
    series = [Series(result.values[m, sample], floor=result.floor[m]) for m in range(len(result.models))]
    rows = [
        [result.grid.labels[k], *[number(result.values[m, sample, k].item()) for m in range(len(result.models))]]
        for k in table_rows(result)
    ]
    return Figure(
        "One sample along the orbit",
        f"Sample {sample}. " + " ".join(individual_sentence(result, m, sample) for m in range(len(result.models))),
        orbit_panels(result, series, scale, "individual"),
        ["element", *result.models],
        rows,
        _legend(result, scale),
        "orbit",
        note="Flat means symmetric; a peak says where it breaks. Same scale as the average above."
        + orientation(result),
        columns="maps" if result.grid.kind == "sphere" else "wide",
    )


def _legend(result: NeroResult, scale: Scale) -> str:
    lines = result.grid.kind in ("circle", "sphere")
    return legend(result, scale, lines=lines, colours=result.grid.kind != "circle")


def individual_sentence(result: NeroResult, m: int, sample: int) -> str:
    """Where the orbit of one sample is best and worst."""
    v = result.values[m, sample]
    good = v.isfinite()
    if not good.any():
        return f"{result.models[m]}: no value anywhere."
    low, high = v.nan_to_num(nan=math.inf).argmin().item(), v.nan_to_num(nan=-math.inf).argmax().item()
    if result.better == "lower" and result.size and v[high] <= ROUNDING * result.size:
        return f"{result.models[m]}: flat, never above {v[high].item():.2g}."
    return (
        f"{result.models[m]}: {result.label} from {number(v[low].item())} at {result.grid.labels[low]} "
        f"to {number(v[high].item())} at {result.grid.labels[high]}."
    )


def mean_scale(result: NeroResult) -> Scale:
    """One scale for the orbit means of all models: their own, for they vary less than single values."""
    return value_scale(result.sample_mean.tolist(), at_least=ROUNDING * (result.size or 0.0), better=result.better)


def sample_map(result: NeroResult, marks: list[int]) -> Figure:
    """One mark per sample: samples whose orbits look alike are neighbours; two models share the axes."""
    scale = mean_scale(result)
    flat = result.embedding.reshape(-1, 2)
    spread = flat.abs().amax().item()
    limits = [(flat[:, c].min().item(), flat[:, c].max().item()) for c in (0, 1)]
    pads = [0.08 * max(high - low, 1e-3 * spread, 1e-300) for low, high in limits]
    x = Scale(limits[0][0] - pads[0], limits[0][1] + pads[0], 16, 324)
    y = Scale(limits[1][0] - pads[1], limits[1][1] + pads[1], 244, 16)
    widest = max(result.sample_std.nan_to_num().max().item(), 1e-300)
    panels = []
    for m, name in enumerate(result.models):
        dots = []
        places, means, deviations = (t[m].tolist() for t in (result.embedding, result.sample_mean, result.sample_std))
        for i in marks:
            mean, std = means[i], deviations[i]
            dots.append(
                tag(
                    "circle",
                    {
                        "data-i": i,
                        "cx": x(places[i][0]),
                        "cy": y(places[i][1]),
                        "r": 3 + 5 * math.sqrt(max(0.0, std) / widest) if math.isfinite(std) else 4.0,
                        "fill": colour(scale.share(mean)) if math.isfinite(mean) else "url(#hatch)",
                    },
                )
            )
        frame = tag("rect", {"x": 10, "y": 10, "width": 320, "height": 240, "class": "gr"})
        caption = tag("text", {"x": 170, "y": 270, "text-anchor": "middle"}, text(name))
        panels.append(
            svg(
                340,
                280,
                f"Map of samples for {name}",
                frame + tag("g", {"class": "mk"}, *dots) + caption,
                {"data-type": "samples", "data-m": m},
            )
        )
    worst = [_worst_sample(result, m) for m in range(len(result.models))]
    sentence = " ".join(
        f"{name}: sample {i} is worst on average, {result.label} {number(result.sample_mean[m, i].item())}."
        for m, (name, i) in enumerate(zip(result.models, worst))
    )
    rows = [
        [
            str(i),
            *[
                number(t[m, i].item())
                for m in range(len(result.models))
                for t in (result.sample_mean, result.sample_std)
            ],
        ]
        for i in marks[:200]
    ]
    return Figure(
        "Map of samples",
        sentence,
        panels,
        ["sample", *[f"{name}: {what}" for name in result.models for what in ("orbit mean", "orbit deviation")]],
        rows,
        colour_bar(
            scale, f"{result.label}, mean over the orbit", hatched=not bool(result.sample_mean.isfinite().all())
        ),
        "samples",
        note="Neighbours have orbits of the same shape (two principal components of the values along the orbit, one "
        "fit for all models). Colour: mean over the orbit. Size: standard deviation over the orbit. Choose a sample to "
        "see its own orbit below.",
    )


def _worst_sample(result: NeroResult, m: int) -> int:
    mean = result.sample_mean[m]
    return int((mean if result.better == "lower" else -mean).nan_to_num(nan=-math.inf).argmax())


def worst_sample(result: NeroResult) -> int:
    """The sample whose orbit is worst on average, over all models: what the page shows first."""
    means = result.sample_mean if result.better == "lower" else -result.sample_mean
    return int(means.nan_to_num(nan=-math.inf).amax(0).argmax())


def nero_figure(result: NeroResult, kind: str, sample: int) -> str:
    """The first panel of a figure as a standalone SVG. Raises ValueError for an unknown kind."""
    scale = nero_scale(result)
    if kind == "aggregate":
        figure = aggregate(result, scale)
    elif kind == "individual":
        figure = individual(result, scale, sample)
    elif kind == "samples":
        figure = sample_map(result, list(range(result.n_samples)))
    else:
        raise ValueError(f"plot: kind must be 'auto', 'aggregate', 'individual' or 'samples', got {kind!r}")
    panel = next((p for p in figure.panels if 'data-type="line"' in p), figure.panels[0])
    return standalone(panel, legend_below(result, mean_scale(result) if kind == "samples" else scale, panel))
