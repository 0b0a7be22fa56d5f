"""What `nero` returns: values along orbits, their averages with bands, and a map of the samples."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .consensus import CAVEAT
from .grid import OrbitGrid
from .metrics import Better
from .pack import clean
from .statistics import MIN_SAMPLES, bootstrap_weights

METRIC_NAMES = {
    "rmse": "RMSE",
    "mae": "MAE",
    "epe": "end-point error",
    "confidence": "confidence in the true class",
    "iou": "IoU",
    "ap50": "AP50",
    "map": "mAP",
}
DETAILED = 64  # samples whose inputs and outputs are kept for the detail panel
RESAMPLES = 1000
ROUNDING = 1e-5  # of the size of the outputs: an error below it is drawn, and called, flat


@dataclass(frozen=True)
class NeroResult:
    """Values of a metric for every model, sample and element of an orbit; NaN where there was no value.

    ci: 95 % cluster-bootstrap band of the aggregate, [models, elements, 2]. spread: the 10 and 90 % quantiles of the
    samples, same shape. sample_mean and sample_std are over the orbit. embedding: a deterministic PCA of the rows of
    `values`, one for all models. outputs: per model, of the first samples, a few numbers of f(gx) and of ρ(g)⁻¹ f(gx)
    for each element, [elements, 2, numbers].
    """

    title: str
    models: list[str]
    group: str
    metric: str
    better: Better
    unit: str
    grid: OrbitGrid
    values: Float[Tensor, "models samples elements"]
    aggregate: Float[Tensor, "models elements"]
    ci: Float[Tensor, "models elements 2"]
    spread: Float[Tensor, "models elements 2"]
    sample_mean: Float[Tensor, "models samples"]
    sample_std: Float[Tensor, "models samples"]
    embedding: Float[Tensor, "models samples 2"]
    targets_used: Literal["labels", "consensus", "self"]
    consensus: str | None
    agreement: Float[Tensor, "models samples"] | None
    tied: Tensor | None
    size: float | None  # RMS of the targets, in units of an error metric: what an error is small against
    floor: list[float | None]  # what moving inputs there and back costs, per model
    inside: Float[Tensor, " elements"] | None  # share of the pixels of a moved image that comes from inside the image
    outputs: list[list[Tensor]]
    inputs: list[Any]
    classes: list[str] | None
    cost: dict[str, int]
    seconds: float  # shown in the terminal only
    meta: list[dict[str, str]]

    @property
    def label(self) -> str:
        """The metric as people write it: "forces:rmse" reads "forces RMSE"."""
        output, _, name = self.metric.rpartition(":")
        return f"{output} {METRIC_NAMES.get(name, name)}".strip()

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.values.shape[1]

    @property
    def cut(self) -> bool:
        """Whether some element of the orbit pushes part of an image outside its frame."""
        return self.inside is not None and self.inside.min().item() < 1 - 1e-6

    @property
    def missing(self) -> int:
        """Evaluations without a value."""
        return int((~self.values.isfinite()).sum())

    def of_class(self, label: str) -> Float[Tensor, "models elements"]:
        """The aggregate over the samples of one class. Raises KeyError for a class that is not there."""
        if self.classes is None or label not in self.classes:
            raise KeyError(f"no class {label!r}; there are {sorted(set(self.classes or []))}")
        return self.values[:, [i for i, c in enumerate(self.classes) if c == label]].nanmean(1)

    def extremes(self, m: int) -> tuple[int, int]:
        """Elements at which the aggregate of model m is worst and best."""
        a = self.aggregate[m].nan_to_num(nan=-math.inf if self.better == "lower" else math.inf)
        low, high = int(a.argmin()), int(a.argmax())
        return (high, low) if self.better == "lower" else (low, high)

    def sentence(self, m: int) -> str:
        """What the aggregate plot of model m shows, for people and for screen readers."""
        a = self.aggregate[m]
        if not a.isfinite().any():
            return f"{self.models[m]}: no value anywhere on the orbit."
        worst, best = self.extremes(m)
        low, high = a[best].item(), a[worst].item()
        if self.better == "lower" and self.size and high <= ROUNDING * self.size:
            share = f"{high / self.size:.1g} of what it predicts"
            return f"{self.models[m]}: {self.label} never exceeds {high:.2g} on the orbit, {share}: flat."
        if abs(high - low) <= 1e-9 * max(abs(high), abs(low), 1e-300):
            return f"{self.models[m]}: {self.label} is {high:.3g} everywhere on the orbit."
        return (
            f"{self.models[m]}: {self.label} is worst at {self.grid.labels[worst]} with {high:.3g}, "
            f"best at {self.grid.labels[best]} with {low:.3g}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but inputs and wall time, ready for strict JSON: what is no number is None."""
        return clean(self._tree())

    def _tree(self) -> dict[str, Any]:
        return {
            "kind": "nero",
            "title": self.title,
            "models": self.models,
            "group": self.group,
            "metric": self.metric,
            "better": self.better,
            "unit": self.unit,
            "grid": {
                "kind": self.grid.kind,
                "labels": self.grid.labels,
                "shape": list(self.grid.shape),
                "weight": self.grid.weight.tolist(),
                "coordinates": {name: t.tolist() for name, t in self.grid.coordinates.items()},
            },
            "values": self.values.tolist(),
            "aggregate": self.aggregate.tolist(),
            "ci": self.ci.tolist(),
            "spread": self.spread.tolist(),
            "sample_mean": self.sample_mean.tolist(),
            "sample_std": self.sample_std.tolist(),
            "embedding": self.embedding.tolist(),
            "targets_used": self.targets_used,
            "consensus": self.consensus,
            "agreement": None if self.agreement is None else self.agreement.tolist(),
            "floor": self.floor,
            "inside": None if self.inside is None else self.inside.tolist(),
            "classes": self.classes,
            "cost": self.cost,
            "meta": self.meta,
        }

    def plot(self, kind: Literal["auto", "aggregate", "individual", "samples"] = "auto", *, sample: int = 0) -> str:
        """One figure as an SVG string: the aggregate (default), one sample's orbit, or the map of samples."""
        from .figures import nero_figure

        return nero_figure(self, "aggregate" if kind == "auto" else kind, sample)

    def to_html(self, path: str | Path, **options: Any) -> Path:
        """Write the page of contract C3; options as in `audit.write_html`."""
        from .report import write_html

        return write_html(self, path, **{"title": self.title, **options})

    def __repr__(self) -> str:
        lines = [
            f"{self.title}: {self.metric} over {len(self.grid)} elements of {self.group}, {self.n_samples} samples"
        ]
        for m in range(len(self.models)):
            lines.append("  " + self.sentence(m))
            if self.agreement is not None:
                lines.append(f"    agreement with its consensus: {self.agreement[m].nanmean():.1%}")
        if self.targets_used != "labels":
            lines.append(
                "  "
                + (CAVEAT if self.consensus else "Targets are the model's own outputs, moved: symmetry, not accuracy.")
            )
        if self.missing:
            lines.append(f"  {self.missing} evaluations have no value (NaN or infinite)")
        lines.append(
            f"  {self.cost['evaluations']:,} evaluations in {self.cost['calls']:,} calls, {self.seconds:.1f} s"
        )
        return "\n".join(lines)


def orbit_mean(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation over the last axis, entries without a value left out."""
    good = values.isfinite()
    w = torch.where(good, weight, 0)
    total = w.sum(-1, keepdim=True)
    mean = (w * torch.where(good, values, 0)).sum(-1, keepdim=True) / total
    variance = (w * torch.where(good, values - mean, 0).square()).sum(-1, keepdim=True) / total
    return mean[..., 0], variance.sqrt()[..., 0]


def band(values: Float[Tensor, "n k"], generator: torch.Generator, alpha: float = 0.05) -> Float[Tensor, "k 2"]:
    """Percentile band of the mean over samples at each element, whole samples resampled; NaN below 10 samples."""
    n, k = values.shape
    out = torch.full((k, 2), torch.nan, dtype=torch.float64)
    if n < MIN_SAMPLES:
        return out
    w = bootstrap_weights(n, RESAMPLES, generator)
    level = torch.tensor([alpha / 2, 1 - alpha / 2], dtype=torch.float64)
    for start in range(0, k, 256):
        part = values[:, start : start + 256]
        good = part.isfinite()
        means = (w @ torch.where(good, part, 0)) / (w @ good.double())
        out[start : start + 256] = torch.quantile(means, level, 0).T
    return out


def embed(values: Float[Tensor, "models n k"]) -> Float[Tensor, "models n 2"]:
    """Two principal components of the orbit values, one PCA for all models; the largest loading is positive."""
    m, n, k = values.shape
    X = values.reshape(m * n, k)
    good = X.isfinite()
    mean = torch.where(good, X, 0).sum(0) / good.sum(0).clamp_min(1)
    X = torch.where(good, X - mean, 0)
    out = torch.zeros(m * n, 2, dtype=torch.float64)
    size = X.square().sum()
    if size == 0:
        return out.reshape(m, n, 2)
    tall = len(X) >= k
    eigenvalues, vectors = torch.linalg.eigh(X.T @ X if tall else X @ X.T)
    for c in range(min(2, len(eigenvalues))):
        if eigenvalues[-1 - c] <= 1e-12 * size:
            break
        v = vectors[:, -1 - c]
        loading = v if tall else X.T @ v / eigenvalues[-1 - c].sqrt()
        sign = loading[loading.abs().argmax()].sign()
        out[:, c] = sign * (X @ loading)
    return out.reshape(m, n, 2)
