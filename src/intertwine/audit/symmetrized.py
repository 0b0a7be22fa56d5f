"""Explanations that follow the symmetry: any explanation, averaged over the group (arXiv:2304.06715)."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ..reps import Action
from .attribution import _combine
from .elements import count
from .tree import map_tensors

LISTED = 100_000  # elements of a finite group that are drawn without repetition


class SymmetrizedExplainer:
    """explain, averaged over the group: invariant, or with `rep_explanation` equivariant, exactly for n="all".

    e_G(x) = mean of e(ρ(g)x), or of ρ_E(g)⁻¹ e(ρ(g)x). n: so many elements, drawn once when this is made, without
    repetition where the group is finite; the explanation then follows the symmetry better with n, not exactly.
    Costs n explanations. Raises ValueError for n="all" of an infinite group.
    """

    def __init__(
        self,
        explain: Callable[[Any, Tensor | None], Any],
        rep_in: Action,
        rep_explanation: Action | None = None,
        *,
        n: int | Literal["all"] = "all",
        generator: torch.Generator | None = None,
    ):
        group = rep_in.group
        if n == "all" and not group.is_finite:
            raise ValueError(f"SymmetrizedExplainer: {group} is not finite; give n, the number of elements to draw")
        if n != "all" and (n < 1 or generator is None):
            raise ValueError(f"SymmetrizedExplainer: n must be 'all', or at least 1 with a generator; got {n}")
        self.explain, self.rep_in, self.rep_explanation = explain, rep_in, rep_explanation
        self.model = getattr(explain, "model", None)
        if n == "all":
            self.elements = group.elements()
        elif group.is_finite and group.order <= LISTED:
            self.elements = group.take(group.elements(), torch.randperm(group.order, generator=generator)[:n])
        else:
            self.elements = group.sample(n, generator=generator)

    def __call__(self, x: Any, target: Tensor | None = None) -> Any:
        group = self.rep_in.group
        k = count(group, self.elements)
        total: Any = None
        for i in range(k):
            g = group.take(self.elements, i)
            e = self.explain(self.rep_in(g, x), target)
            if self.rep_explanation is not None:
                e = self.rep_explanation(group.inverse(g), e)
            total = e if total is None else _combine(torch.add, total, e)
        return map_tensors(lambda t: t / k, total)
