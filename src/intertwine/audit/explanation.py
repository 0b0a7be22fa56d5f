"""Whether an explanation follows the symmetry of the model it explains (arXiv:2304.06715)."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..groups.group import Element
from ..reps import Action
from .choose import choose
from .orbit import Samples
from .statistics import MIN_SAMPLES, Interval, cluster_bootstrap, percentile_interval
from .tree import map_tensors, named_tensors

Explain = Callable[[Any, Tensor | None], Any]
Similarity = Callable[[Float[Tensor, "pairs entries"], Float[Tensor, "pairs entries"]], Float[Tensor, " pairs"]]
ENOUGH = 0.99  # similarity of the model's own outputs below which the numbers say little about explanations
NOISE = 0.02  # of the size of the input, for the sensitivity


@dataclass(frozen=True)
class ExplanationAudit:
    """How similar explanations of moved inputs are to the explanation, moved or not: 1 is the same."""

    kind: str  # "invariance" or "equivariance"
    group: str
    how: str  # which elements
    value: float  # mean over samples and elements, the identity included, as published
    interval: Interval | None  # over samples; None for fewer than ten
    without_identity: float  # NaN where there is nothing else
    model_similarity: float | None  # 1 − relative invariance error of the model; None when the model is not known
    sensitivity: float  # largest relative change of an explanation when 2 % of noise is added to the input
    per_pair: Float[Tensor, "samples elements"]

    def __repr__(self) -> str:
        interval = "" if self.interval is None else f", {self.interval.level:.0%} interval {self.interval}"
        model = "not measured" if self.model_similarity is None else f"{self.model_similarity:.6g}"
        return (
            f"Explanation {self.kind} under {self.group}: {self.value:.6g}{interval}\n"
            f"  without the identity {self.without_identity:.6g}; invariance of the model {model}; sensitivity "
            f"{self.sensitivity:.3g}\n  {self.per_pair.shape[0]} samples, {self.how}"
        )


def cosine(a: Float[Tensor, "pairs entries"], b: Float[Tensor, "pairs entries"]) -> Float[Tensor, " pairs"]:
    """Cosine of the angle between two explanations: 1 for two zeros, 0 for one zero; sizes do not matter."""
    sizes = a.norm(dim=1), b.norm(dim=1)
    unit = [torch.where(s > 0, 1 / s, 0.0)[:, None] * t for s, t in zip(sizes, (a, b))]
    return torch.where((sizes[0] == 0) & (sizes[1] == 0), 1.0, (unit[0] * unit[1]).sum(1))


def agreement(a: Float[Tensor, "pairs entries"], b: Float[Tensor, "pairs entries"]) -> Float[Tensor, " pairs"]:
    """Share of equal entries: for concepts that are there or not."""
    return (a == b).double().mean(1)


SIMILARITIES: dict[str, Similarity] = {"cosine": cosine, "agreement": agreement}


def explanation_invariance(explain: Explain, rep_in: Action, data: Any, **options: Any) -> ExplanationAudit:
    """Mean of s(e(ρ(g)x), e(x)): for explanations that must not move, such as the importance of training examples.

    Options as for `explanation_equivariance`.
    """
    return _measure(explain, rep_in, None, data, **options)


def explanation_equivariance(
    explain: Explain, rep_in: Action, rep_explanation: Action, data: Any, **options: Any
) -> ExplanationAudit:
    """Mean of s(e(ρ(g)x), ρ_E(g)e(x)): for explanations that must move along, such as the importance of pixels.

    explain: e(x, target) on a batch, one row per sample: an `Explainer` such as `gradient(model)`, or any function.
    generator (required): everything random. targets: the class of each entry of `data`; default: what the model says of
    the input as it stands, never of the moved one. model: the model that is explained, default `explain.model`.
    elements, n_samples=256, n_elements=50: as in `measure`. similarity: "cosine", "agreement" or a function of two
    batches of flat explanations. Warns when the model itself is not invariant. Raises ValueError for explanations
    without one row per sample. Source: arXiv:2304.06715, equations 2 and 3.
    """
    if rep_explanation.group not in (None, rep_in.group):
        raise ValueError(f"explanation: rep_in belongs to {rep_in.group}, rep_explanation to {rep_explanation.group}")
    return _measure(explain, rep_in, rep_explanation, data, **options)


def _measure(
    explain: Explain,
    rep_in: Action,
    rep_explanation: Action | None,
    data: Any,
    *,
    generator: torch.Generator,
    targets: Tensor | None = None,
    model: Callable[[Any], Tensor] | None = None,
    elements: Element | Callable[..., Element] | None = None,
    n_samples: int = 256,
    n_elements: int = 50,
    similarity: str | Similarity = "cosine",
    chunk: int = 256,
) -> ExplanationAudit:
    alike = SIMILARITIES.get(similarity) if isinstance(similarity, str) else similarity
    if alike is None:
        raise ValueError(f"explanation: similarity {similarity!r} is none of {', '.join(SIMILARITIES)}; or a function")
    everything = Samples(data, rep_in)
    if targets is not None and len(targets) != len(everything):
        raise ValueError(f"explanation: {len(targets)} targets for {len(everything)} samples")
    samples = everything.subset(n_samples, generator)
    n, group = len(samples), rep_in.group
    picked = choose(group, elements, n, n_elements, False, generator)
    model = model if model is not None else getattr(explain, "model", None)

    def outputs(x: Any) -> Tensor | None:
        if model is None:
            return None
        y = model(x)
        return y.detach().reshape(len(y), -1) if isinstance(y, Tensor) else None

    x = samples.take(range(n))
    y = outputs(x)
    if targets is not None:
        targets = targets[torch.tensor(samples.index)]
    elif y is not None and y.shape[1] > 1:
        targets = y.argmax(1)

    def explained(batch: Any, which: list[int]) -> Any:
        return explain(batch, None if targets is None else targets[which])

    base = explained(x, list(range(n)))
    _flat(base, n)
    which, g = picked.draws(n)
    found, change = [], 0.0
    for start in range(0, len(which), chunk):
        part = which[start : start + chunk]
        g_part = group.take(g, slice(start, start + len(part)))
        moved = rep_in(g_part, samples.take(part))
        expected = map_tensors(lambda t, part=part: t[part], base)
        if rep_explanation is not None:
            expected = rep_explanation(g_part, expected)
        found.append(alike(_flat(explained(moved, part), len(part)), _flat(expected, len(part))))
        if y is not None:
            change += (outputs(moved) - y[part]).double().square().sum().item()
    per_pair = torch.cat(found).double().reshape(n, picked.n_elements).cpu()
    model_similarity = None
    if y is not None:
        model_similarity = 1 - (change / (picked.n_elements * y.double().square().sum().item() or 1.0)) ** 0.5
        if model_similarity < ENOUGH:
            warnings.warn(
                f"the model itself is invariant under {group} to {model_similarity:.3g} only, so its explanations need "
                "not follow the symmetry",
                stacklevel=3,
            )
    moving = ~_is_identity(group, g).reshape(n, picked.n_elements)
    per_sample = per_pair.mean(1)
    interval = None
    if n >= MIN_SAMPLES:
        draws = cluster_bootstrap(lambda w: w @ per_sample / w.sum(1), n, generator=generator)
        interval = percentile_interval(draws)
    return ExplanationAudit(
        kind="invariance" if rep_explanation is None else "equivariance",
        group=str(group),
        how=picked.how,
        value=per_pair.mean().item(),
        interval=interval,
        without_identity=per_pair[moving].mean().item(),
        model_similarity=model_similarity,
        sensitivity=_sensitivity(explained, samples, base, min(n, chunk), generator),
        per_pair=per_pair,
    )


def _flat(e: Any, size: int) -> Float[Tensor, "batch entries"]:
    parts = list(named_tensors(e).values())
    if not parts or any(t.ndim == 0 or len(t) != size for t in parts):
        shapes = [tuple(t.shape) for t in parts]
        raise ValueError(f"explanation: explain returns {shapes} for {size} samples; it must return one row for each")
    return torch.cat([t.detach().double().reshape(size, -1) for t in parts], 1)


def _is_identity(group: Any, g: Element) -> Tensor:
    identity = group.identity()
    if not isinstance(g, tuple):
        g, identity = (g,), (identity,)
    same = [
        (a.double() - b.double()).abs().reshape(len(a), -1).amax(1) < 1e-9
        for a, b in zip(_leaves(g), _leaves(identity))
    ]
    return torch.stack(same).all(0)


def _leaves(g: Element) -> list[Tensor]:
    return [leaf for part in g for leaf in _leaves(part)] if isinstance(g, tuple) else [g]


def _sensitivity(explained, samples: Samples, base: Any, n: int, generator: torch.Generator) -> float:
    """Largest ‖e(x + δ) − e(x)‖ / ‖e(x)‖ over three random δ with ‖δ‖ = 0.02 ‖x‖ for each of n samples."""
    which = list(range(n))
    x, e = samples.take(which), _flat(base, len(samples))[:n]

    def shaken(t: Tensor) -> Tensor:
        if not t.is_floating_point():
            return t
        delta = torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t)
        lengths = [v.reshape(n, -1).norm(dim=1) for v in (t, delta)]
        return t + delta * (NOISE * lengths[0] / lengths[1]).reshape(n, *[1] * (t.ndim - 1))

    size = e.norm(dim=1)
    largest = 0.0
    for _ in range(3):
        change = (_flat(explained(map_tensors(shaken, x), which), n) - e).norm(dim=1)
        largest = max(largest, torch.where(size > 0, change / size, 0.0).max().item())
    return largest
