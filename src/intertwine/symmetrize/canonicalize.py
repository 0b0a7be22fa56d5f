"""One pose per input, chosen by a learned network, so that a model that knows a single pose can be kept as it is."""

import warnings
from collections.abc import Callable, Collection
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..groups import Group
from ..groups.group import Element
from ..reps import Action
from .average import Elements, ElementSource, Guarantee, Symmetrizer
from .fold import add, batch_size, owner_of, unfold, weighted_sum
from .score import EnergyScore, every_pose

Gradient = Literal["straight_through", "gumbel", "none"]


class Canonicalize(Symmetrizer):
    """Any model in the pose that a learned canonicalizer chooses: φ(x) = ρ_out(g) f(ρ_in(g)⁻¹x), one call of the model.

    canonicalizer: `DiscreteCanonicalizer`, `ContinuousCanonicalizer`, another source, or for a finite group the plain
    network of an `EnergyScore`. Train it with a task loss and the prior, `canonicalizer.prior_loss(info)` of the info
    that `return_info=True` gives, which pulls the poses of training data to the one they have: weight 100 in the paper.
    freeze_model: the model gets no gradient and stays in eval mode. The other arguments: see `Symmetrizer`.
    Raises ValueError for a plain network and an infinite group. Source: arXiv:2310.01647.
    """

    def __init__(
        self,
        model: nn.Module,
        rep_in: Action,
        rep_out: Action,
        canonicalizer: ElementSource | nn.Module,
        *,
        freeze_model: bool = False,
        chunk: int | None = None,
        invariant_args: Collection[int | str] = (),
    ):
        if isinstance(canonicalizer, nn.Module) and not isinstance(canonicalizer, ElementSource):
            canonicalizer = DiscreteCanonicalizer(EnergyScore(canonicalizer, rep_in))
        super().__init__(model, rep_in, rep_out, canonicalizer, chunk=chunk, invariant_args=invariant_args)
        self.freeze_model = freeze_model
        if freeze_model:
            model.requires_grad_(False)
            model.eval()

    @property
    def canonicalizer(self) -> ElementSource:
        """The source of the poses."""
        return self.source

    def train(self, mode: bool = True) -> "Canonicalize":
        """Set the mode; a frozen model stays in eval mode."""
        super().train(mode)
        if self.freeze_model:
            self.model.eval()
        return self

    def _moved(self, x: Any, elements: Elements, g: Element, copies: Callable[[Any], Any]) -> Any:
        """The chosen poses; in training with the slope of the mixture of all poses, whose value is 0."""
        chosen, mixture = super()._moved(x, elements, g, copies), elements.info.get("mixture")
        if mixture is None or not mixture.requires_grad:
            return chosen
        poses = unfold(every_pose(self.rep_in, x), mixture.shape[1], type(self).__name__)
        slope = weighted_sum(poses, (mixture - mixture.detach()).T, owner_of(x))
        return add(chosen, copies(slope))


class DiscreteCanonicalizer(ElementSource):
    """The element of a finite group with the highest score, for each sample; all of them where several are highest.

    score: a module from data to scores [batch, |G|] in the order of `group.elements()` that turning the input
    permutes, a_hg(h·x) = a_g(x): `EnergyScore` and `VectorScore` do so for any network; others are "approximate".
    Scores within tie_tol·max(1, the largest size) of the best are equal: symmetric inputs keep all their best poses,
    with equal weights, which is exact, and a constant image is averaged over the whole group. One warning per object
    says how many samples had ties; scores that are NaN take the identity. `info` has `scores`, `chosen` (the index of
    the best), `ties` (how many) and `degenerate` for each sample. torch.compile and torch.export fix how many poses
    there are: the first of the best alone is used then, which is exact but for symmetric inputs with outputs that move.

    gradient, in train mode: "straight_through" gives the input that of the mixture of all poses by softmax(beta·scores)
    and the value of the best; "gumbel" also adds Gumbel noise to beta·scores, so that one pose is drawn (then in
    expectation); "none" none. In eval mode the chosen element is a constant.
    prior: wanted probabilities of the elements, [|G|]; the identity if None. Raises ValueError for an infinite group,
    a prior that does not fit, or scores of another shape. Source: arXiv:2310.01647.
    """

    work = "|G| passes of the score network"

    def __init__(
        self,
        score: nn.Module,
        group: Group | None = None,
        *,
        beta: float = 1.0,
        gradient: Gradient = "straight_through",
        tie_tol: float = 1e-6,
        prior: Float[Tensor, " order"] | None = None,
    ):
        super().__init__()
        group = getattr(score, "group", None) if group is None else group
        if not isinstance(group, Group) or not group.is_finite:
            raise ValueError(
                f"DiscreteCanonicalizer: needs a finite group, got {group}; name it, or use an EnergyScore"
            )
        if gradient not in ("straight_through", "gumbel", "none"):
            raise ValueError(
                f"DiscreteCanonicalizer: gradient must be 'straight_through', 'gumbel' or 'none', got {gradient!r}"
            )
        if not beta > 0 or not tie_tol >= 0:
            raise ValueError(f"DiscreteCanonicalizer: needs beta > 0 and tie_tol ≥ 0, got {beta} and {tie_tol}")
        n = group.order
        wanted = torch.eye(n, dtype=torch.float64)[0] if prior is None else prior.double()
        if wanted.shape != (n,) or bool((wanted < 0).any()) or abs(float(wanted.sum()) - 1) > 1e-6:
            raise ValueError(f"DiscreteCanonicalizer: prior must be {n} probabilities for {group}, got {prior}")
        self.score, self.group, self.beta, self.gradient, self.tie_tol = score, group, beta, gradient, tie_tol
        self._prior, self._warned = wanted, False

    @property
    def guarantee(self) -> Guarantee:
        """Exact for scores that are permuted by construction; in expectation while Gumbel noise is drawn."""
        if not isinstance(self.score, EnergyScore):
            return "approximate"
        return "in expectation" if self.training and self.gradient == "gumbel" else "exact"

    @property
    def calls(self) -> tuple[float, int]:
        """1, and |G| for inputs that look the same in all poses."""
        return 1.0, self.group.order

    def forward(self, x: Any, *, generator: torch.Generator | None = None) -> Elements:
        """The best element of each sample, or all of the best."""
        scores = self._scores(x)
        logits, kept = self.beta * scores, self._best(scores.detach())
        info = {"scores": scores, "chosen": scores.detach().argmax(1), "ties": kept.sum(1)}
        if self.training and self.gradient == "gumbel":
            logits = logits + _gumbel(logits, generator)
            info["chosen"] = logits.detach().argmax(1)
            kept = nn.functional.one_hot(info["chosen"], self.group.order).bool()
        if self.training and self.gradient != "none":
            info["mixture"] = logits.softmax(1)
        info["degenerate"] = info["ties"] > 1
        compiling = torch.compiler.is_compiling()
        if not (self._warned or compiling) and bool(info["degenerate"].any()):
            self._warned = True
            warnings.warn(
                f"DiscreteCanonicalizer: {int(info['degenerate'].sum())} of {len(scores)} samples have several best "
                f"poses (up to {int(info['ties'].max())}); all are used, which is exact but costs more calls",
                stacklevel=2,
            )
        most = max(int(kept.sum(1).max()), 1) if len(kept) and not compiling else 1
        index = kept.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
        elements = self.group.to(self.group.elements(), scores.device)
        return Elements.uniform(self.group.take(elements, index), kept.gather(1, index), info)

    def prior_loss(self, info: dict[str, Tensor]) -> Float[Tensor, ""]:
        """Mean KL(prior ‖ softmax(scores)); with the default prior the cross-entropy of the identity."""
        log_p = info["scores"].log_softmax(1)
        prior = self._prior.to(log_p)
        return torch.xlogy(prior, prior).sum() - (log_p @ prior).mean()

    def identity_metric(self, info: dict[str, Tensor]) -> Float[Tensor, ""]:
        """Share of the samples that keep their pose."""
        return (info["chosen"] == 0).double().mean()

    def alignment(self, x: Any, h: Element) -> Float[Tensor, ""]:
        """Share of the samples for which moving x by one element h moves its best elements by h: 1 where exact."""
        with torch.no_grad():
            before, after = self._best(self._scores(x)), self._best(self._scores(self.rep_in(h, x)))
        elements = self.group.elements()
        stack = self.group.take(h, None)
        moved = self.group.index(self.group.compose(stack, elements)).to(before.device)
        return (after[:, moved] == before).all(1).double().mean()

    def _scores(self, x: Any) -> Float[Tensor, "batch order"]:
        scores, shape = self.score(x), (batch_size(self.rep_in, x), self.group.order)
        if scores.shape != shape:
            raise ValueError(
                f"DiscreteCanonicalizer: the scores have shape {tuple(scores.shape)}, {self.group} needs {shape}"
            )
        return scores

    def _best(self, scores: Tensor) -> Bool[Tensor, "batch order"]:
        """The elements whose scores are the best, but for rounding; the identity where there is no best."""
        largest = scores.amax(1, keepdim=True)
        kept = scores >= largest - self.tie_tol * scores.abs().amax(1, keepdim=True).clamp_min(1)
        first = torch.arange(self.group.order, device=scores.device) == 0
        return torch.where(kept.any(1, keepdim=True), kept, first)

    def extra_repr(self) -> str:
        """The group and how it learns."""
        return f"{self.group}, beta={self.beta:g}, gradient={self.gradient!r}"


def _gumbel(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard Gumbel noise in the shape of a tensor."""
    device = like.device if generator is None else generator.device
    u = torch.rand(like.shape, generator=generator, device=device, dtype=torch.float64)
    return -(-u.clamp_min(1e-300).log()).log().to(like)
