"""The pose that equivariant transformers find, for `symmetrize.Canonicalize`: any model, and outputs that move too."""

import warnings
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...groups import Group
from ...symmetrize import Elements, ElementSource
from ...symmetrize.average import Guarantee
from .equivariant_transformer import EquivariantTransformer


class WarpCanonicalizer(ElementSource):
    """One element of a group of linear maps of the plane per image: what a transformer predicts.

    transformer: stages that turn, scale, shear or stretch, alone or in a sequence. group: that of the Actions it is
    used with; by default the transformer's own. For images [batch, channels, height, width], with
    `reps.Images(group)`. Equivariant to interpolation, so the guarantee is "approximate". Images without a direction
    (blank, or the same turned by 180°) get the angle 0: `info["degenerate"]`, and one warning per object with the
    count. `info` has the `matrix` too.
    Raises ValueError for stages that are no linear maps, and where no group is known. Source: arXiv:1901.11399.
    """

    guarantee: Guarantee = "approximate"
    work = "one resampling and two convolutions for each stage"

    def __init__(self, transformer: nn.Module, group: Group | None = None):
        super().__init__()
        stages = [module for module in transformer.modules() if isinstance(module, EquivariantTransformer)]
        if other := [stage.kind for stage in stages if stage.group is None]:
            raise ValueError(
                f"WarpCanonicalizer: stages of {', '.join(other)} are no linear maps of the plane; use them in a "
                "TransformedClassifier"
            )
        self.transformer, self.group, self._warned = transformer, group or getattr(transformer, "group", None), False
        if self.group is None:
            raise ValueError("WarpCanonicalizer: the transformer names no group; give one, such as GLPlus(2)")

    @property
    def calls(self) -> tuple[float, int]:
        """1."""
        return 1.0, 1

    def forward(self, x: Any, *, generator: torch.Generator | None = None) -> Elements:
        """The element that carries the canonical pose to the image's."""
        warp = self.transformer(x)
        count = int(warp.degenerate.sum())
        if count and not self._warned:
            self._warned = True
            warnings.warn(
                f"WarpCanonicalizer: {count} of {len(warp.matrix)} images have no direction; they keep their angle",
                stacklevel=3,
            )
        g = warp.matrix[:, None, :2, :2]
        mask = torch.ones(g.shape[:2], dtype=torch.bool, device=g.device)
        return Elements.uniform(g, mask, {"matrix": warp.matrix, "degenerate": warp.degenerate})

    def prior_loss(self, info: dict[str, Tensor]) -> Float[Tensor, ""]:
        """Mean squared entry of T - 1: the training data is in the pose to be kept."""
        T = info["matrix"]
        return (T - torch.eye(3, dtype=T.dtype, device=T.device)).square().mean()
