"""The second noun: how a group element moves a piece of data, whatever the data is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch

from ..groups import Group
from ..groups.group import Element


class Action(ABC):
    """A left action of `group`: `action(g, x)` is g·x, and (gh)·x = g·(h·x).

    Batch rule: the batch axes of `g` are none (the same element for all of x) or equal to the leading axes of x.
    An Action also knows how its data is batched: `collate` joins samples, `uncollate` takes a batch apart.
    """

    group: Group

    @abstractmethod
    def act(self, g: Element, x: Any) -> Any:
        """Move x by g."""

    def __call__(self, g: Element, x: Any) -> Any:
        return self.act(g, x)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.group})"

    def collate(self, samples: Sequence[Any]) -> Any:
        """Join samples into one batch: tensors are stacked."""
        return torch.stack(list(samples))

    def uncollate(self, batch: Any) -> list[Any]:
        """The samples of a batch: the rows of a tensor."""
        return list(batch)


def check_batch(action: Any, batch: torch.Size, leading: torch.Size) -> None:
    """Raise ValueError unless an element's batch axes are none or the leading axes of the data."""
    if len(batch) > len(leading) or batch != leading[: len(batch)]:
        raise ValueError(
            f"{action!r}: the group element has batch shape {tuple(batch)}, the data {tuple(leading)}; give one "
            "element for all of the data, or one for each entry of its leading axes"
        )
