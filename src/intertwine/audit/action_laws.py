"""Whether what is called an Action is one: an audit with something else measures nothing."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..groups.group import Element
from ..reps import Action
from .elements import describe
from .tree import named_tensors

ROUNDING = 1e-4  # relative, in float32, after several operations


@dataclass(frozen=True)
class ActionLaws:
    """How far an Action is from the laws on some data, relative to the size of the data.

    identity: e·x against x. composition: (gh)·x against g·(h·x). round_trip: g⁻¹·(g·x) against x, which is what
    interpolation costs. reversed_order: (gh)·x against h·(g·x).
    """

    identity: float
    composition: float
    round_trip: float
    reversed_order: float


def action_laws(action: Action, x: Any, g: Element, h: Element) -> ActionLaws:
    """The laws for one pair of elements, the same for the whole batch x."""
    group = action.group
    gh, hg = group.compose(g, h), group.compose(h, g)
    there = action(h, x)
    both = action(g, there)
    return ActionLaws(
        identity=_distance(action(group.identity(), x), x),
        composition=_distance(action(gh, x), both),
        round_trip=_distance(action(group.inverse(h), there), x),
        reversed_order=_distance(action(hg, x), both),
    )


def check_action(role: str, action: Action, x: Any, g: Element, *, pairs: int = 4) -> ActionLaws:
    """The largest errors over the first elements of a stack g [K]. Raises ValueError when this is no Action.

    An Action that interpolates obeys composition as far as a round trip goes; more than three round trips is a mistake.
    """
    group = action.group
    (k,) = group.batch_shape(g)
    worst: dict[str, tuple[float, str]] = {}
    for i in range(min(pairs, k)):
        one, two = group.take(g, i), group.take(g, (i + 1) % k)
        names = f"g: {describe(group, one)}, h: {describe(group, two)}"
        for name, value in vars(action_laws(action, x, one, two)).items():
            if name not in worst or not value <= worst[name][0]:
                worst[name] = value, names
    laws = ActionLaws(**{name: value for name, (value, _) in worst.items()})
    if laws.identity > ROUNDING:
        raise ValueError(
            f"audit: {role} {action!r} is no Action: the identity changes the data by {laws.identity:.2g} of its size"
        )
    if laws.composition > ROUNDING + 3 * laws.round_trip or laws.round_trip >= 1:
        hint = ""
        if laws.reversed_order < laws.composition / 3:
            hint = "; (gh)·x equals h·(g·x): it acts from the right, so act with g⁻¹ where it has g"
        raise ValueError(
            f"audit: {role} {action!r} is no Action: (gh)·x differs from g·(h·x) by {laws.composition:.2g} of the "
            f"size of the data, and g⁻¹·(g·x) from x by {laws.round_trip:.2g} ({worst['composition'][1]}){hint}"
        )
    return laws


def _distance(a: Any, b: Any) -> float:
    """Largest over the tensors of ‖a − b‖ / ‖b‖; entries without a value in both count as equal."""
    named, other = named_tensors(a), named_tensors(b)
    if named.keys() != other.keys():
        return torch.inf
    return max((_relative(named[name], other[name]) for name in named), default=0.0)


def _relative(a: Tensor, b: Tensor) -> float:
    if a.shape != b.shape:
        return torch.inf
    a, b = a.detach().double(), b.detach().double()
    difference = torch.where(a.isfinite() | b.isfinite(), a - b, 0.0)
    size = torch.where(b.isfinite(), b, 0.0).norm().item()
    error = difference.norm().item()
    return 0.0 if error == 0 else torch.inf if size == 0 or error != error else error / size
