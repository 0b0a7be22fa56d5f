"""How a tensor of any kind turns: each Cartesian index by the element, with the sign that its parity asks for."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..groups import SO, Group, O
from ..reps import Action, Tensors
from .tensor_types import TensorType


class TensorAction(Action):
    """Tensors of one kind, Float[Tensor, "*batch *kind.shape"], under O(3), the default, or SO(3).

    Raises ValueError for another group.
    """

    def __init__(self, kind: TensorType, group: Group | None = None):
        if group not in (None, O(3), SO(3)):
            raise ValueError(f"TensorAction: tensors of space turn under O(3) or SO(3), not {group}")
        self.kind, self.group = kind, group or O(3)

    def act(self, g: Float[Tensor, "*g 3 3"], x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Move x by g. Raises ValueError on wrong axes or batch."""
        kind, batch = self.kind, x.shape[: x.ndim - len(self.kind.shape)]
        if tuple(x.shape[len(batch) :]) != tuple(kind.shape):
            raise ValueError(f"{self}: the last axes must be {list(kind.shape)}, the data has {tuple(x.shape)}")
        lift = None if kind.lift is None else torch.tensor(kind.lift, dtype=x.dtype, device=x.device)
        t = x if lift is None else (x @ lift.mT).reshape(*batch, *[3] * kind.rank)
        if kind.rank:
            t = Tensors(self.group, kind.rank).act(g, t)
        if lift is not None:
            t = t.reshape(*batch, -1) @ lift
        if kind.parity == (-1) ** kind.rank:
            return t
        sign = torch.linalg.det(g).sign().to(t)
        return t * sign.reshape(*sign.shape, *[1] * (t.ndim - sign.ndim))

    def __repr__(self) -> str:
        return f"TensorAction({self.kind}, {self.group})"
