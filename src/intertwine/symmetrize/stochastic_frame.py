"""One element of a frame at a time: the cost of one call in training, the symmetry in expectation."""

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..groups.matrix import E
from ..reps import Action
from .average import Elements, ElementSource, Guarantee
from .pca_frame import PCAFrame

SKEW = 1e-6  # odd moments below this part of those of the distances leave the sign of an axis open


class StochasticFrame(ElementSource):
    """k elements of another frame, drawn anew for each sample and call, without replacement.

    E[φ] is the average over the whole frame, for any k; k at least the size of the frame is that average. In eval mode
    `eval_k` counts: "all" uses the whole frame, exactly. Without `generator=` in the call it draws from torch's default
    generator, as dropout does. pick="det" takes, in place of a draw, the element that makes the third moment (else the
    fifth) of the points positive along each axis, exact too; signs that both leave open are averaged over.
    Raises ValueError for k below 1, and for pick="det" without a `PCAFrame`. Source: arXiv:2305.05577.
    """

    def __init__(
        self,
        frame: ElementSource,
        *,
        k: int = 1,
        eval_k: int | Literal["all"] = "all",
        pick: Literal["uniform", "det"] = "uniform",
    ):
        super().__init__()
        if not isinstance(frame, ElementSource):
            raise TypeError(f"StochasticFrame: frame must be an ElementSource such as PCAFrame(E(3)), got {frame!r}")
        for name, count in (("k", k), ("eval_k", eval_k)):
            if not (isinstance(count, int) and count >= 1) and (name, count) != ("eval_k", "all"):
                raise ValueError(f"StochasticFrame: {name} must be an integer of at least 1, got {count!r}")
        if pick not in ("uniform", "det"):
            raise ValueError(f"StochasticFrame: pick must be 'uniform' or 'det', got {pick!r}")
        if pick == "det" and not isinstance(frame, PCAFrame):
            raise ValueError(f"StochasticFrame: pick='det' needs the axes of a PCAFrame, got {frame!r}")
        self.frame, self.k, self.eval_k, self.pick = frame, k, eval_k, pick
        self.group, self.work = frame.group, frame.work

    @property
    def guarantee(self) -> Guarantee:
        """That of the frame where all of it is used or nothing is drawn, else in expectation."""
        drawn = self.pick == "uniform" and self._k() != "all"
        return "in expectation" if drawn else self.frame.guarantee

    @property
    def calls(self) -> tuple[float, int]:
        """k, or in eval mode what `eval_k` says."""
        usual, most = self.frame.calls
        k = self._k()
        if k == "all":
            return usual, most
        return (1.0, most) if self.pick == "det" else (min(float(k), usual), min(k, most))

    def bind(self, rep_in: Action, rep_out: Action) -> None:
        """Bind the frame."""
        super().bind(rep_in, rep_out)
        self.frame.bind(rep_in, rep_out)

    def forward(self, x: Any, *, generator: torch.Generator | None = None) -> Elements:
        """The chosen elements, with equal weights."""
        elements, k = self.frame(x, generator=generator), self._k()
        if k == "all" or not len(elements.mask):
            return elements
        if self.pick == "det":
            kept = elements.mask & _upright(self.frame, x, elements)
            kept = torch.where(kept.any(1, keepdim=True), kept, elements.mask)
            k = int(kept.sum(1).max())
            index = kept.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :k]
        else:
            score = _uniform(elements.mask, generator).masked_fill(~elements.mask, -1.0)
            index, kept = score.topk(min(k, score.shape[1]), 1).indices, elements.mask
        rows = torch.arange(len(index), device=index.device)[:, None]
        g = self.group.take(elements.g, (rows, index))
        return Elements.uniform(g, kept.gather(1, index), elements.info)

    def _k(self) -> int | Literal["all"]:
        return self.k if self.training else self.eval_k

    def extra_repr(self) -> str:
        """k, eval_k and how elements are picked."""
        return f"k={self.k}, eval_k={self.eval_k}, pick={self.pick!r}"


def _uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform draws in the shape of a tensor, on its device."""
    if generator is None:
        return torch.rand_like(like, dtype=torch.float64)
    return torch.rand(like.shape, generator=generator, device=generator.device, dtype=torch.float64).to(like.device)


def _upright(frame: PCAFrame, x: Any, elements: Elements) -> Bool[Tensor, "batch frames"]:
    """Elements along whose axes the skew of the points is not negative; under SO(d) the last follows the others."""
    cloud = frame._reduced(frame.reader(x))
    R = frame.group.linear_part(elements.g) if isinstance(frame.group, E) else elements.g
    if cloud.points.shape[-1] < R.shape[-1]:
        R = R[..., frame.plane, :][..., frame.plane]
    canonical = torch.einsum("bnd,bkde->bkne", cloud.points.detach(), R.detach())
    weight = cloud.weight[:, None, :, None]
    third, fifth = _skew(canonical, weight, 3), _skew(canonical, weight, 5)
    moment = torch.where(third.abs() > SKEW, third, torch.where(fifth.abs() > SKEW, fifth, 0.0))
    return (moment[..., : R.shape[-1] - frame.special] >= 0).all(-1)


def _skew(x: Tensor, weight: Tensor, power: int) -> Float[Tensor, "batch frames d"]:
    """Odd moment along each axis, as a part of that of the distances from the centre."""
    odd, size = (weight * x**power).sum(2), (weight * x.norm(dim=-1, keepdim=True) ** power).sum(2)
    return odd / torch.where(size > 0, size, 1)
