"""How well each pose of an input suits: scores by any plain network, equivariant because every pose is tried."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..groups.group import Element
from ..reps import Action
from .fold import batch_size, device_of, repeat, unfold


class EnergyScore(nn.Module):
    """Scores a_g(x) = s(ρ(g)⁻¹x) of all elements of a finite group, [batch, |G|], for any plain network s.

    Turning x permutes them, a_hg(h·x) = a_g(x), as exactly as the Action acts. net: one number per sample, [batch] or
    [batch, 1]; a crop or a smaller resolution for speed belongs at its start. Cost: |G| passes of net.
    Raises ValueError for an infinite group or another shape of output. Source: arXiv:2310.01647.
    """

    def __init__(self, net: nn.Module, action: Action):
        super().__init__()
        self.net, self.action, self.group = net, action, action.group
        if self.group is None or not self.group.is_finite:
            raise ValueError(
                f"{type(self).__name__}: {action!r} has {self.group}, which is not finite; every element is scored. "
                "Give an Action of a finite group such as Cyclic(8), or use ContinuousCanonicalizer"
            )

    def forward(self, x: Any) -> Float[Tensor, "batch order"]:
        """The score of each element, in the order of `group.elements()`."""
        out = self.outputs(x)
        if out.shape[2:] not in ((), (1,)):
            raise ValueError(
                f"{type(self).__name__}: the network must give one number per sample, got shape {tuple(out.shape[1:])}"
            )
        return out.flatten(1)

    def outputs(self, x: Any) -> Float[Tensor, "batch order ..."]:
        """What the network says of each pose ρ(g)⁻¹x."""
        return unfold(self.net(every_pose(self.action, x)), self.group.order, type(self).__name__).transpose(0, 1)


class VectorScore(EnergyScore):
    """Scores a_g(x) = cos(r, s(ρ(g)⁻¹x)): the likeness of what a network says of each pose to a reference vector r.

    net: a vector per sample, [batch, v]; reference: [v], a parameter with learn_reference. `overlap(x)` is to be added
    to the loss with a small weight (published 1e-4): it keeps the vectors of the poses of a sample apart.
    Raises ValueError as `EnergyScore`, and for a reference of no length. Source: arXiv:2310.01647.
    """

    def __init__(
        self, net: nn.Module, action: Action, reference: Float[Tensor, " v"], *, learn_reference: bool = False
    ):
        super().__init__(net, action)
        if reference.ndim != 1 or not reference.norm() > 0:
            raise ValueError(
                f"VectorScore: reference must be a vector other than 0, got shape {tuple(reference.shape)}"
            )
        self.reference = nn.Parameter(reference.clone(), requires_grad=learn_reference)

    def forward(self, x: Any) -> Float[Tensor, "batch order"]:
        """The cosine for each element, in the order of `group.elements()`."""
        return nn.functional.cosine_similarity(self._vectors(x), self.reference, -1)

    def overlap(self, x: Any) -> Float[Tensor, ""]:
        """Mean absolute inner product of the vectors of two different poses of a sample."""
        S = self._vectors(x)
        n = S.shape[1]
        gram = (S @ S.mT).abs()
        return (gram.sum((1, 2)) - gram.diagonal(dim1=1, dim2=2).sum(1)).mean() / max(n * (n - 1), 1)

    def _vectors(self, x: Any) -> Float[Tensor, "batch order v"]:
        out = self.outputs(x)
        if out.shape[2:] != self.reference.shape:
            raise ValueError(
                f"VectorScore: the network must give {len(self.reference)} numbers per sample, like the reference; got "
                f"shape {tuple(out.shape[1:])}"
            )
        return out


def every_pose(action: Action, x: Any) -> Any:
    """ρ(g)⁻¹x for each element of a finite group: the batch |G| times, element by element."""
    group, B = action.group, batch_size(action, x)
    return action(group.inverse(repeated_elements(action, B, device_of(x))), repeat(action, x, group.order))


def repeated_elements(action: Action, B: int, device: torch.device) -> Element:
    """The elements of a finite group, each B times."""
    elements = action.group.to(action.group.elements(), device)
    return action.group.take(elements, torch.arange(action.group.order, device=device).repeat_interleave(B))
