"""What a softly symmetric model found: how far its parameters are from each symmetry, and the error of the function."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..reps import Action
from ..symmetrize import SoftEquivariance
from .error import measure
from .result import AuditResult


@dataclass(frozen=True)
class Softness:
    """For each symmetry its level, R/½‖W‖² of the layers, its weight in the loss, and the audit of the function."""

    levels: dict[str, float]
    weights: dict[str, float]
    audits: dict[str, AuditResult]

    @property
    def errors(self) -> dict[str, float]:
        """The relative error of the function under each symmetry."""
        return {name: result.headline.relative_rms for name, result in self.audits.items()}

    def agreement(self, errors: Mapping[str, float] | None = None) -> float:
        """Rank correlation (Spearman) of the levels with the errors, or with others by the same names; NaN for ties.

        Parameters and function need not agree: layers can break a symmetry that the whole keeps, and the other way
        round with activations that break it.
        """
        errors = self.errors if errors is None else errors
        a, b = (_ranks([values[name] for name in self.levels]) for values in (self.levels, errors))
        with np.errstate(invalid="ignore"):
            return float(np.corrcoef(a, b)[0, 1]) if len(a) > 1 else float("nan")

    def __repr__(self) -> str:
        width = max(map(len, self.levels))
        lines = [f"{'':<{width}}  level of the layers  error of the function  weight in the loss"]
        for name, level in self.levels.items():
            error, word = self.errors[name], self.audits[name].verdict.word
            lines.append(f"{name:<{width}}  {level:<19.3g}  {f'{error:.3g}, {word}':<21}  {self.weights[name]:.3g}")
        return "\n".join(lines)


def measure_softness(
    model: SoftEquivariance,
    actions: Mapping[str, tuple[Action, Action]],
    data: Any,
    *,
    generator: torch.Generator,
    **options: Any,
) -> Softness:
    """The distance of the parameters from each symmetry, next to the equivariance error of the function on data.

    actions: (rep_in, rep_out) of the whole model for each symmetry of it; options as in `measure`, such as `elements`
    for groups without a uniform distribution. Raises ValueError for other names, and what `measure` raises.
    Source: arXiv:2306.00356.
    """
    levels = model.levels()
    if actions.keys() != levels.keys():
        raise ValueError(f"measure_softness: the model has symmetries {list(levels)}, actions {list(actions)}")
    audits = {name: measure(model, *actions[name], data, generator=generator, title=name, **options) for name in levels}
    return Softness(levels, dict(model.weight), audits)


def _ranks(values: list[float]) -> np.ndarray:
    """Places in order, equal values sharing the mean of theirs."""
    v = np.array(values)
    return (v[:, None] > v).sum(1) + ((v[:, None] == v).sum(1) - 1) / 2
