"""Detections are boxes with scores and labels: how well two sets of them agree, and what many sets say together."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..groups.group import Element
from ..reps import Action, Boxes, box_hull

SAME = 0.5  # IoU from which two boxes show the same thing
COCO = tuple(0.5 + 0.05 * i for i in range(10))  # the thresholds over which "map" averages


class Detections(NamedTuple):
    """Boxes in slots; a slot whose score is 0 is empty."""

    boxes: Float[Tensor, "*batch slots 4"]
    scores: Float[Tensor, "*batch slots"]
    labels: Tensor  # whole numbers, [*batch, slots]


def read(x: Mapping[str, Tensor]) -> Detections:
    """The detections in a dict: "boxes" or corners of turned ones; "scores" (default 1) and "labels" (default 0)."""
    if not isinstance(x, Mapping) or "boxes" not in x:
        found = sorted(x) if isinstance(x, Mapping) else type(x).__name__
        raise ValueError(f"boxes: detections are a dict with 'boxes', 'scores' and 'labels', got {found}")
    boxes = x["boxes"]
    boxes = box_hull(boxes) if boxes.shape[-1] == 2 else boxes
    slots = boxes.shape[:-1]
    scores = x.get("scores", torch.ones(slots, dtype=boxes.dtype, device=boxes.device))
    labels = x.get("labels", torch.zeros(slots, dtype=torch.int64, device=boxes.device))
    if boxes.shape[-1] != 4 or scores.shape != slots or labels.shape != slots:
        raise ValueError(
            f"boxes: boxes {tuple(x['boxes'].shape)}, scores {tuple(scores.shape)} and labels {tuple(labels.shape)} "
            "do not fit; give [..., slots, 4] (or corners [..., slots, 4, 2]), [..., slots] and [..., slots]"
        )
    return Detections(boxes, scores, labels)


def pad_boxes(detections: Sequence[Mapping[str, Tensor]], slots: int | None = None) -> dict[str, Tensor]:
    """What detectors return, one dict per image with any number of boxes, as one dict with as many slots for each.

    detections: "boxes" [n, 4] or corners [n, 4, 2], "scores" [n] (default 1), "labels" [n] (default 0). slots: default
    the most that an image has; of more the best scores are kept. Empty slots have score 0. A detector that an audit
    calls must give a number of slots. Raises ValueError without images, or for dicts that do not fit.
    """
    if not detections:
        raise ValueError("pad_boxes: give the detections of at least one image")
    slots = max(len(d["boxes"]) for d in detections) if slots is None else slots
    joined: dict[str, list[Tensor]] = {"boxes": [], "scores": [], "labels": []}
    for d in detections:
        _, scores, labels = read(d)
        best = scores.argsort(descending=True, stable=True)[:slots]
        for name, t in (("boxes", d["boxes"]), ("scores", scores), ("labels", labels)):
            joined[name].append(torch.cat([t[best], t.new_zeros(slots - len(best), *t.shape[1:])]))
    return {name: torch.stack(parts) for name, parts in joined.items()}


def box_iou(a: Float[Tensor, "*batch n 4"], b: Float[Tensor, "*batch m 4"]) -> Float[Tensor, "*batch n m"]:
    """Intersection over union of upright boxes (x0, y0, x1, y1), each of a with each of b; 0 for boxes without area."""
    low = torch.maximum(a[..., :, None, :2], b[..., None, :, :2])
    high = torch.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    both = (high - low).clamp_min(0).prod(-1)
    area_a, area_b = ((x[..., 2:] - x[..., :2]).clamp_min(0).prod(-1) for x in (a, b))
    union = area_a[..., :, None] + area_b[..., None, :] - both
    return torch.where(union > 0, both / union.clamp_min(torch.finfo(union.dtype).tiny), 0.0)


def mean_iou(output: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Float[Tensor, " images"]:
    """The mean over the boxes of the target of the best IoU of a detection of the same label.

    An image without targets scores 1 if nothing is detected there, else 0.
    """
    found, wanted, iou = _matched(output, target)
    there = wanted.scores > 0
    best = torch.where(there, iou.amax(1).clamp_min(0), 0.0) if iou.shape[1] else torch.zeros_like(there).double()
    return _or_nothing(found, there, best.sum(1) / there.sum(1).clamp_min(1))


def average_precision(
    output: Mapping[str, Tensor], target: Mapping[str, Tensor], thresholds: Sequence[float] = COCO
) -> Float[Tensor, " images"]:
    """Average precision of each image: the area under precision over recall, its mean over labels and IoU thresholds.

    Detections are matched in order of score, each to the best target of its label that is left; labels that the target
    does not hold are not counted. An image without targets scores 1 if nothing is detected there, else 0.
    """
    found, wanted, iou = _matched(output, target)
    images, n, _ = iou.shape
    there = wanted.scores > 0
    order = found.scores.argsort(dim=1, descending=True, stable=True)
    iou = iou.gather(1, order[:, :, None].expand_as(iou))
    label = torch.where(found.scores > 0, found.labels, -1).gather(1, order)
    level = torch.as_tensor(list(thresholds), dtype=iou.dtype, device=iou.device)
    hit = torch.zeros(images, len(level), n, dtype=torch.bool, device=iou.device)
    left = there[:, None].expand(images, len(level), -1).clone()
    for i in range(n if there.shape[1] else 0):
        best, which = torch.where(left, iou[:, None, i], -1.0).max(2)
        hit[:, :, i] = best >= level
        left &= ~(hit[:, :, i, None] & torch.nn.functional.one_hot(which, left.shape[2]).bool())
    total = torch.zeros(images, dtype=torch.float64, device=iou.device)
    kinds = torch.zeros_like(total)
    for kind in wanted.labels[there].unique().tolist():
        mine = (label == kind)[:, None]
        count = (there & (wanted.labels == kind)).sum(1)
        right = (hit & mine).double()
        precision = torch.where(mine, right.cumsum(2) / mine.cumsum(2).clamp_min(1), 0.0)
        envelope = precision.flip(2).cummax(2).values.flip(2) if n else precision
        area = (envelope * right).sum(2).mean(1) / count.clamp_min(1)
        total += area
        kinds += count > 0
    return _or_nothing(found, there, total / kinds.clamp_min(1))


def average_precision_at_half(output: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Float[Tensor, " images"]:
    """Average precision where an IoU of 0.5 is enough."""
    return average_precision(output, target, (SAME,))


def _matched(output: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> tuple[Detections, Detections, Tensor]:
    """Both sets, and the IoU of each detection with each target, -1 where a slot is empty or labels differ."""
    found, wanted = read(output), read(target)
    iou = box_iou(found.boxes.double(), wanted.boxes.to(found.boxes.device).double())
    same = found.labels[:, :, None] == wanted.labels[:, None]
    live = (found.scores > 0)[:, :, None] & (wanted.scores > 0)[:, None]
    return found, wanted, torch.where(same & live, iou, -1.0)


def _or_nothing(found: Detections, there: Tensor, value: Tensor) -> Tensor:
    empty = ~(found.scores > 0).any(1)
    return torch.where(there.any(1), value.double(), empty.double())


def in_frame(rep_out: Action, g: Element) -> Callable[[np.ndarray], np.ndarray] | None:
    """Whether the centres of boxes [n, 4] lie in the image before and after each of K moves, [K, n]; None without size.

    What is outside before is in no moved image, so nobody can have seen it.
    """
    action = getattr(rep_out, "parts", {}).get("boxes", rep_out)
    if not isinstance(action, Boxes) or action.size is None:
        return None
    (K,), (height, width) = action.group.batch_shape(g), action.size

    def visible(boxes: np.ndarray) -> np.ndarray:
        here = torch.from_numpy(boxes)
        both = torch.stack([here.expand(K, *here.shape), action(g, here.expand(K, *here.shape))])
        x, y = ((both[..., :2] + both[..., 2:]) / 2).unbind(-1)
        return ((x > 0) & (x < width) & (y > 0) & (y < height)).all(0).numpy()

    return visible


def combine_boxes(
    z: Mapping[str, Tensor],
    w: Float[Tensor, "B K"],
    visible: Sequence[Callable[[np.ndarray], np.ndarray] | None],
    *,
    by_score: bool,
) -> tuple[dict[str, Tensor], Float[Tensor, " B"]]:
    """What K sets of detections of each of B images say together, and how far the sets agree with it.

    z: dict of [B, K, slots, ...], pulled back into one frame. In order of score a detection joins the running average
    of the boxes of its label with which it has the largest IoU, at least 0.5, at most one of each set; averages weigh
    by score or evenly, times w. Boxes stay that are in more than half (by w) of the sets in which they are `visible`,
    one function for each image, and have their mean score there. Agreement: boxes found in both over boxes in either,
    its mean over the sets.
    """
    found = read(z)
    B, K, slots = found.scores.shape
    boxes, scores, labels = (t.detach().cpu().double().numpy() for t in found)
    kept = {"boxes": np.zeros((B, slots, 4)), "scores": np.zeros((B, slots)), "labels": np.zeros((B, slots))}
    agreement = np.ones(B)
    for b, share in enumerate((w / w.sum(1, keepdim=True)).cpu().numpy()):
        clusters = _cluster(boxes[b], scores[b], labels[b], share, by_score)
        means = np.array([c.mean for c in clusters]).reshape(-1, 4)
        in_set = np.array([np.isin(np.arange(K), c.members) for c in clusters]).reshape(-1, K).T
        could = np.ones_like(in_set) if visible[b] is None else visible[b](means)
        most = np.maximum(share @ could, 1e-12)
        support = share @ (in_set & could) / most
        seen = share[:, None] * could
        score = np.array([seen[c.members, i] @ c.scores for i, c in enumerate(clusters)]) / most
        stay = sorted(np.flatnonzero(support > 0.5).tolist(), key=lambda i: -score[i])[:slots]
        for place, i in enumerate(stay):
            kept["boxes"][b, place], kept["labels"][b, place] = means[i], clusters[i].label
            kept["scores"][b, place] = score[i]
        matched = in_set[:, stay].sum(1)
        either = (could | in_set)[:, stay].sum(1) + (scores[b] > 0).sum(1) - matched
        agreement[b] -= share @ np.where(either > 0, 1 - matched / np.maximum(either, 1), 0.0)
    like = {"boxes": found.boxes, "scores": found.scores, "labels": found.labels}
    return {name: torch.from_numpy(t).to(like[name]) for name, t in kept.items()}, torch.from_numpy(agreement)


class _Cluster:
    """Boxes of several sets that show one thing."""

    def __init__(self, label: float):
        self.label, self.members, self.scores = label, [], []
        self.total, self.weight = np.zeros(4), 0.0

    @property
    def mean(self) -> np.ndarray:
        return self.total / self.weight

    def add(self, box: np.ndarray, score: float, member: int, weight: float) -> None:
        self.total, self.weight = self.total + weight * box, self.weight + weight
        self.members.append(member)
        self.scores.append(score)


def _cluster(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, share: np.ndarray, by_score: bool
) -> list[_Cluster]:
    """Detections [K, slots] in order of score, each with the running average that it fits best."""
    clusters: list[_Cluster] = []
    means = np.zeros((0, 4))
    for flat in np.argsort(-scores, axis=None, kind="stable"):
        k, i = divmod(int(flat), scores.shape[1])
        if scores[k, i] <= 0 or share[k] <= 0:
            continue
        iou = box_iou(torch.from_numpy(boxes[k, i, None]), torch.from_numpy(means))[0].numpy()
        iou[[c.label != labels[k, i] or k in c.members for c in clusters]] = -1
        best = int(iou.argmax()) if len(iou) else -1
        if best < 0 or iou[best] < SAME:
            clusters.append(_Cluster(labels[k, i]))
            means, best = np.concatenate([means, boxes[None, k, i]]), len(clusters) - 1
        clusters[best].add(boxes[k, i], scores[k, i], k, share[k] * (scores[k, i] if by_score else 1.0))
        means[best] = clusters[best].mean
    return clusters
