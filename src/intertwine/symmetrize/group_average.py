"""Averaging over a group: all of it where it is finite, uniform draws where it is not."""

from collections.abc import Collection
from typing import Any, Literal

import torch
from torch import nn

from ..groups import Group
from ..groups.group import Element
from ..reps import Action
from .average import Elements, ElementSource, Symmetrizer
from .fold import batch_size, device_of

MOST = 1024  # elements of a finite group that are averaged over before draws must be asked for


class WholeGroup(ElementSource):
    """Every element of a finite group, for every sample: exact. Raises ValueError for a group that is too large."""

    def __init__(self, group: Group):
        super().__init__()
        if not group.is_finite or group.order > MOST:
            size = f"of order {group.order}" if group.is_finite else "infinite"
            raise ValueError(
                f"WholeGroup: {group} is {size}, at most {MOST} elements are averaged; use Sampled(group, k)"
            )
        self.group, self.work = group, "none: the elements are the same for every sample"
        self._elements = group.elements()

    @property
    def calls(self) -> tuple[float, int]:
        """|G|."""
        return float(self.group.order), self.group.order

    def forward(self, x: Any, *, generator: torch.Generator | None = None) -> Elements:
        """All elements, with weights 1/|G|."""
        return same_for_all(self.group, self._elements, self.group.order, x, self.rep_in)

    def extra_repr(self) -> str:
        """The group."""
        return str(self.group)


class Subset(ElementSource):
    """The same chosen elements for every sample; exact for the group only when they are all of it.

    Elements that form a subgroup H make φ exactly H-equivariant. elements: a stack with one batch axis.
    Raises ValueError for an empty stack or elements that are not in the group.
    """

    guarantee = "approximate"

    def __init__(self, group: Group, elements: Element):
        super().__init__()
        batch = group.batch_shape(elements)
        if len(batch) != 1 or batch[0] < 1:
            raise ValueError(f"Subset: elements of {group} must be a stack with one leading axis, got {tuple(batch)}")
        if not group.contains(elements, 1e-5):
            raise ValueError(f"Subset: not all elements given belong to {group}")
        self.group, self._elements, self.count = group, elements, batch[0]

    @property
    def calls(self) -> tuple[float, int]:
        """How many elements were given."""
        return float(self.count), self.count

    def forward(self, x: Any, *, generator: torch.Generator | None = None) -> Elements:
        """The elements, with equal weights."""
        return same_for_all(self.group, self._elements, self.count, x, self.rep_in)

    def extra_repr(self) -> str:
        """The group and how many elements."""
        return f"{self.group}, {self.count} elements"


class Sampled(ElementSource):
    """k uniform (Haar) elements, drawn anew for each call and each sample: right in expectation.

    Without `generator=` in the call it draws from torch's default generator, as dropout does. fixed=True keeps one draw
    made from `seed`, for all samples: repeatable, but neither exact nor right in expectation.
    Raises ValueError for a group that is not compact, which has no uniform elements.
    """

    independent = True

    def __init__(self, group: Group, k: int, *, fixed: bool = False, seed: int = 0):
        super().__init__()
        if not isinstance(k, int) or k < 1:
            raise ValueError(f"Sampled({group}): k must be an integer of at least 1, got {k!r}")
        if not group.is_compact:
            raise ValueError(
                f"Sampled: {group} is not compact and has no uniform elements; for E(n) and SE(n) use FrameAverage, or "
                "average over the linear part"
            )
        self.group, self.k, self.fixed = group, k, fixed
        self.guarantee: Literal["in expectation", "approximate"] = "approximate" if fixed else "in expectation"
        self._elements = group.sample(k, generator=torch.Generator().manual_seed(seed)) if fixed else None

    @property
    def calls(self) -> tuple[float, int]:
        """k."""
        return float(self.k), self.k

    def forward(self, x: Any, *, generator: torch.Generator | None = None) -> Elements:
        """k draws, with weights 1/k."""
        if self.fixed:
            return same_for_all(self.group, self._elements, self.k, x, self.rep_in)
        B, device = batch_size(self.rep_in, x), device_of(x)
        g = self.group.sample(B * self.k, generator=generator or torch.default_generator, device=device)
        mask = torch.ones(B, self.k, dtype=torch.bool, device=device)
        return Elements.uniform(self.group.reshape(g, B, self.k), mask, {})

    def extra_repr(self) -> str:
        """The group, k, and whether the draw is kept."""
        return f"{self.group}, k={self.k}" + (", fixed" if self.fixed else "")


class GroupAverage(Symmetrizer):
    """Any model averaged over a group: exact for finite groups, Monte-Carlo with `samples` draws for compact ones.

    Without `samples` the group must be finite with at most 1,024 elements, all of which are used. With it,
    `return_info=True` in the call gives the Monte-Carlo `variance` of each entry. fixed and seed: see `Sampled`.
    The other arguments are those of `Symmetrizer`. Averaging the outputs of a trained model that is far from symmetric
    ruins it: average, then train. Raises ValueError for an infinite group without `samples`.
    """

    def __init__(
        self,
        model: nn.Module,
        rep_in: Action,
        rep_out: Action,
        *,
        samples: int | None = None,
        fixed: bool = False,
        seed: int = 0,
        chunk: int | None = None,
        invariant_args: Collection[int | str] = (),
    ):
        group = rep_in.group if isinstance(rep_in, Action) else None
        if group is None:
            raise TypeError(f"GroupAverage: rep_in must be an Action that names its group, got {rep_in!r}")
        if samples is None and (not group.is_finite or group.order > MOST):
            size = f"of order {group.order}" if group.is_finite else "infinite"
            raise ValueError(
                f"GroupAverage: {group} is {size}; give samples=k for a Monte-Carlo average (right in expectation), "
                "or use FrameAverage"
            )
        source = WholeGroup(group) if samples is None else Sampled(group, samples, fixed=fixed, seed=seed)
        super().__init__(model, rep_in, rep_out, source, chunk=chunk, invariant_args=invariant_args)


def same_for_all(group: Group, g: Element, count: int, x: Any, rep_in: Action) -> Elements:
    """One stack of elements for every sample, with equal weights."""
    B, device = batch_size(rep_in, x), device_of(x)
    index = torch.arange(count, device=group.device_of(g)).expand(B, count)
    mask = torch.ones(B, count, dtype=torch.bool, device=device)
    return Elements.uniform(group.to(group.take(g, index), device), mask, {})
