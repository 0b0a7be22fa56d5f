"""What a NERO plot can show: one number for each output and its target."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .boxes import average_precision, average_precision_at_half, mean_iou
from .orbit import Outputs

Better = Literal["higher", "lower"]
BOXES = {"iou": mean_iou, "ap50": average_precision_at_half, "map": average_precision}


@dataclass(frozen=True)
class Metric:
    """A number per evaluation: its name, which way is good, its unit, and how to compute it.

    `compute(output, target)` gets the outputs and the targets of several evaluations and returns one number for each.
    """

    name: str
    better: Better
    compute: Callable[[Any, Any], Tensor]
    unit: str = ""
    ragged: bool = False  # compute takes Outputs, whose evaluations may differ in size

    def __call__(self, output: Outputs, target: Outputs) -> Float[Tensor, " evaluations"]:
        if self.ragged:
            values = self.compute(output, target)
        elif output.uniform and target.uniform:
            values = self.compute(output.tree, target.tree)
        else:
            one_by_one = [self.compute(output.one(i), target.one(i)) for i in range(len(output))]
            values = torch.stack([torch.as_tensor(v, dtype=torch.float64).reshape(()) for v in one_by_one])
        values = torch.as_tensor(values).detach().double().cpu()
        if values.shape != (len(output),):
            raise ValueError(
                f"nero: metric {self.name!r} returns shape {tuple(values.shape)} for {len(output)} evaluations; "
                "it must return one number for each"
            )
        return values


def metric_named(metric: str | Metric | Callable[[Any, Any], Tensor]) -> Metric:
    """A Metric from its name, or from any callable (then higher is taken as worse; pass a Metric to say otherwise).

    "rmse", "mae": over all entries of one evaluation, in output units. "epe": mean length of the error vectors,
    which lie along the last axis, or along the channels of images [B, channels, height, width].
    "accuracy", "confidence": of the true class, for scores [B, classes] and integer targets. For detections (dicts of
    boxes, scores and labels): "iou", the mean over targets of the best box; "ap50" and "map", average precision at IoU
    0.5 and over 0.5 to 0.95. A prefix picks one output of a dict: "forces:rmse". Raises ValueError for an unknown name.
    """
    if isinstance(metric, Metric):
        return metric
    if not isinstance(metric, str):
        return Metric(getattr(metric, "__name__", type(metric).__name__), "lower", metric)
    output, _, name = metric.rpartition(":")
    if name in ("rmse", "mae", "epe"):
        return Metric(metric, "lower", lambda y, t: _distance(y, t, output, name), ragged=True)
    if name in ("accuracy", "confidence"):
        return Metric(metric, "higher", lambda y, t: _class(_part(y, output), _part(t, output), name))
    if name in BOXES:
        return Metric(metric, "higher", lambda y, t: BOXES[name](_part(y, output), _part(t, output)))
    known = ", ".join(("rmse", "mae", "epe", "accuracy", "confidence", *BOXES))
    raise ValueError(f"nero: metric {metric!r} is none of {known}; or give a function")


def _part(x: Any, output: str) -> Tensor:
    return x[output] if output else x


def _distance(y: Outputs, target: Outputs, output: str, name: str) -> Float[Tensor, " evaluations"]:
    """Over the entries of what both hold: of one output when named, else of all, weighed by their entries."""
    theirs = target.tensors
    names = [n for n in y.compared if n in theirs and (not output or n == output)]
    if not names:
        raise ValueError(f"nero: the outputs are {list(y.rows)}, the targets {list(theirs)}; nothing to compare")
    total = torch.zeros(len(y), dtype=torch.float64)
    entries = torch.zeros(len(y), dtype=torch.float64)
    for n in names:
        a, b = y.tensors[n], theirs[n].to(y.tensors[n].device)
        if a.shape != b.shape:
            raise ValueError(f"nero: output {n!r} has shape {tuple(a.shape)}, its target {tuple(b.shape)}")
        r = a.double() - b.double()
        if name == "epe":  # vectors lie along the channels of images [..., channels, height, width], else the last axis
            sizes = r.norm(dim=-3 if r.ndim > 3 else -1) if r.ndim > 1 else r.abs()
        else:
            sizes = r.square() if name == "rmse" else r.abs()
        sizes = sizes.reshape(len(a), -1)
        per_row, width = sizes.sum(1), sizes.shape[1]
        owner = y.owner(n)
        total.index_add_(0, owner, per_row.cpu())
        entries.index_add_(0, owner, torch.full((len(a),), float(width), dtype=torch.float64))
    value = total / entries.clamp_min(1)
    return value.sqrt() if name == "rmse" else value


def _class(scores: Tensor, label: Tensor, name: str) -> Float[Tensor, " evaluations"]:
    if scores.ndim != 2 or label.ndim != 1:
        raise ValueError(
            f"nero: {name} needs scores [B, classes] and labels [B], got {tuple(scores.shape)} and {tuple(label.shape)}"
        )
    if name == "accuracy":
        return (scores.argmax(1) == label).double()
    return scores.double().softmax(1).gather(1, label[:, None].long())[:, 0]
