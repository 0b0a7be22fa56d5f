"""A target without labels: what a model says along the whole orbit, pulled back and combined (arXiv:2305.19889)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..groups.group import Element
from ..reps import Action
from .boxes import combine_boxes, in_frame
from .tree import map_tensors

Kind = Literal["mean", "median", "vote", "boxes"]
KINDS = ("mean", "median", "vote", "boxes")
Weight = Literal["confidence", "uniform"]
AGREES = 0.01  # RMS distance to the consensus, relative to its size, below which an output agrees

CAVEAT = "Consensus scores measure stability, not correctness: a constant model agrees with itself everywhere."


@dataclass(frozen=True)
class Consensus:
    """The combined output of each sample, the share of the orbit that agrees with it, and ties of a vote."""

    value: Tensor | dict[str, Tensor]  # [B, *out]; class numbers [B] for a vote; a dict of boxes, scores and labels
    agreement: Float[Tensor, " B"]
    tied: Bool[Tensor, " B"]


def consensus(
    outputs: Float[Tensor, "B K *out"] | Mapping[str, Tensor],
    rep_out: Action,
    g: Element,
    *,
    weight: Weight | Float[Tensor, "B K"] | None = None,
    kind: Kind = "mean",
) -> Consensus:
    """Combine f(g_k x_b), k = 1..K, into one output per sample: z = ρ_out(g)⁻¹ f(gx), then ŷ = Σ w z / Σ w.

    g: K elements for all samples, or [B, K]. kind: "mean"; "median" (coordinate by coordinate, the lower one); "vote"
    (class with the largest total weight; outputs are scores); "boxes" for detections, a dict of boxes [B, K, slots, 4],
    scores [B, K, slots] (0: empty slot) and labels [B, K, slots]: averages of boxes that match (IoU ≥ 0.5, same label),
    kept where more than half of the orbit has them. weight: "uniform", 1 (default); "confidence", the largest
    probability (scores only), or the score of each box (default for boxes); or given numbers.
    Raises ValueError for shapes that do not fit. Source: arXiv:2305.19889, section 4.2.
    """
    if kind not in KINDS:
        raise ValueError(f"consensus: kind must be one of {KINDS}, got {kind!r}")
    if isinstance(outputs, Mapping) != (kind == "boxes"):
        raise ValueError(
            f"consensus: {kind!r} does not combine a {type(outputs).__name__}; boxes come as a dict of boxes, scores "
            "and labels, everything else as a tensor"
        )
    first = outputs["boxes"] if isinstance(outputs, Mapping) else outputs
    B, K = first.shape[:2]
    group = rep_out.group
    batch = group.batch_shape(g)
    if tuple(batch) not in ((K,), (B, K)):
        raise ValueError(f"consensus: outputs are [B, K] = {(B, K)}, the elements have batch shape {tuple(batch)}")
    if len(batch) == 1:
        g = group.take(g, torch.arange(K).repeat(B))
    else:
        g = group.reshape(g, B * K)
    z = rep_out(group.inverse(g), map_tensors(lambda t: t.flatten(0, 1), outputs))
    z = map_tensors(lambda t: t.unflatten(0, (B, K)), z)
    if isinstance(outputs, Mapping):
        own = [in_frame(rep_out, group.take(g, slice(b * K, (b + 1) * K))) for b in range(B)]
        return boxes_consensus(z, weight, own)
    valid = where_valid(rep_out, group.inverse(g), outputs.flatten(0, 1))
    return combine(z, weights(z, weight), kind, None if valid is None else valid.unflatten(0, (B, K)))


def where_valid(rep_out: Action, inverse: Element, outputs: Tensor) -> Bool[Tensor, "..."] | None:
    """For images, the pixels of outputs pulled back by `inverse` that no border has touched; else None."""
    inside = getattr(rep_out, "inside", None)
    return None if inside is None else inside(inverse, outputs) > 1 - 1e-6


def boxes_consensus(z: Mapping[str, Tensor], weight: Weight | Tensor | None, visible: list) -> Consensus:
    """The consensus of detections that are already pulled back, [B, K, slots, ...]; see `combine_boxes`."""
    first = z["boxes"]
    w = weights(first, weight if isinstance(weight, Tensor) else "uniform")
    value, agreement = combine_boxes(z, w, visible, by_score=isinstance(weight, Tensor) or weight != "uniform")
    return Consensus(value, agreement, torch.zeros(len(first), dtype=torch.bool))


def weights(z: Float[Tensor, "B K *out"], weight: Weight | Tensor | None) -> Float[Tensor, "B K"]:
    """The weight of each pulled-back output. Raises ValueError for an unknown name or a wrong shape."""
    if isinstance(weight, Tensor):
        if weight.shape != z.shape[:2]:
            raise ValueError(f"consensus: weights have shape {tuple(weight.shape)}, the outputs {tuple(z.shape[:2])}")
        return weight.double()
    if weight in (None, "uniform"):
        return torch.ones(z.shape[:2], dtype=torch.float64)
    if weight != "confidence":
        raise ValueError(f"consensus: weight must be 'confidence', 'uniform' or a tensor [B, K], got {weight!r}")
    if z.ndim != 3:
        raise ValueError(f"consensus: confidence needs scores [B, K, classes], the outputs are {tuple(z.shape)}")
    return z.double().softmax(-1).amax(-1)


def combine(
    z: Float[Tensor, "B K *out"], w: Float[Tensor, "B K"], kind: Kind, valid: Bool[Tensor, "B K ..."] | None = None
) -> Consensus:
    """The consensus of outputs that are already pulled back; entries that are not `valid` do not count."""
    B, K = z.shape[:2]
    if kind == "vote":
        if z.ndim != 3:
            raise ValueError(f"consensus: a vote needs scores [B, K, classes], the outputs are {tuple(z.shape)}")
        label = z.argmax(-1)
        total = torch.zeros(B, z.shape[2], dtype=torch.float64).scatter_add_(1, label, w)
        best = total.argmax(1)
        tied = (total >= total.amax(1, keepdim=True) * (1 - 1e-12)).sum(1) > 1
        return Consensus(best, (label == best[:, None]).double().mean(1), tied)
    counted = torch.ones_like(z, dtype=torch.bool) if valid is None else valid.expand_as(z)
    if kind == "mean":
        share = (w / w.sum(1, keepdim=True)).to(z.dtype).reshape(B, K, *[1] * (z.ndim - 2)) * counted
        value = (share * z).sum(1)
        value = value if valid is None else value / share.sum(1).clamp_min(torch.finfo(z.dtype).tiny)
    else:
        value = (
            z.where(counted, torch.nan).nanmedian(1).values.nan_to_num() if valid is not None else z.median(1).values
        )
    off = (z - value[:, None]).double().where(counted, 0.0).reshape(B, K, -1).square()
    distance = (off.sum(-1) / counted.reshape(B, K, -1).sum(-1).clamp_min(1)).sqrt()
    size = value.double().reshape(B, 1, -1).square().mean(-1).sqrt()
    agrees = distance <= AGREES * size + torch.finfo(torch.float64).tiny
    return Consensus(value, agrees.double().mean(1), torch.zeros(B, dtype=torch.bool))
