"""Symmetries that hold only partly: layers are pulled towards the equivariant ones, and how far they stay off tells."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .. import maps
from ..reps import Rep

Layers = Mapping[str, tuple[Rep, Rep]]


class SoftEquivariance(nn.Module):
    """A model whose linear layers are pulled towards several symmetries, each with a strength of its own.

    symmetries: for each name the layers it speaks of, by their path in the model, as (rep_in, rep_out). Its penalty is
    R = Σ ½‖W - PW‖² + ½‖b - Pb‖² with P the orthogonal projection onto the equivariant maps; `loss()`, to be added to
    that of the task, is Σ weight·R. The forward pass is that of the model. `observe()` once per epoch after a warm-up,
    and `rebalance()` once at about a quarter of the training, weaken the symmetries that the data resists; `levels()`
    reports what was found: R/½‖W‖², 0 for a symmetry that holds, at most 1. A level speaks of the parameters: audit the
    model for the error of the function.

    Nothing else in the model is pulled: with pointwise functions on components that turn, the model is not equivariant
    even at R = 0. The state dict is that of the model under "model.".
    Raises ValueError for a layer that does not exist, has no matrix as weight or does not fit its Reps, and for weights
    that name other symmetries. Source: arXiv:2306.00356.
    """

    def __init__(
        self, model: nn.Module, symmetries: Mapping[str, Layers], *, weight: float | Mapping[str, float] = 100.0
    ):
        super().__init__()
        self.model = model
        if not symmetries or not all(symmetries.values()):
            raise ValueError("SoftEquivariance: give at least one symmetry, and at least one layer for each")
        self.weight = dict(weight) if isinstance(weight, Mapping) else dict.fromkeys(symmetries, float(weight))
        if self.weight.keys() != symmetries.keys() or any(value < 0 for value in self.weight.values()):
            raise ValueError(f"SoftEquivariance: needs a weight ≥ 0 for each of {list(symmetries)}, got {self.weight}")
        self._spaces = {
            name: {path: self._space(path, *reps) for path, reps in layers.items()}
            for name, layers in symmetries.items()
        }
        self._least: dict[str, float] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model itself."""
        return self.model(*args, **kwargs)

    def penalties(self) -> dict[str, Float[Tensor, ""]]:
        """R of each symmetry; its gradient is W - PW."""
        found = {}
        for name, layers in self._spaces.items():
            parts = [part for path in layers for part in self._residuals(path, *layers[path])]
            found[name] = sum(part.square().sum() for part in parts) / 2
        return found

    def loss(self) -> Float[Tensor, ""]:
        """Σ weight·R over the symmetries of weight above 0."""
        found = self.penalties() if any(self.weight.values()) else {}
        return sum((w * found[name] for name, w in self.weight.items() if w > 0), torch.zeros(()))

    @torch.no_grad()
    def levels(self) -> dict[str, float]:
        """R/½‖W‖² of each symmetry over its layers: the part of the weights that breaks it."""
        found = self.penalties()
        return {
            name: float(2 * found[name] / sum(p.square().sum() for path in layers for p in self._weights(path)))
            for name, layers in self._spaces.items()
        }

    @torch.no_grad()
    def observe(self) -> dict[str, float]:
        """Remember the smallest penalty of each symmetry so far, and return the current ones."""
        now = {name: float(R) for name, R in self.penalties().items()}
        self._least = {name: min(R, self._least.get(name, R)) for name, R in now.items()}
        return now

    def rebalance(self, power: float = 2.0) -> dict[str, float]:
        """Divide each weight by (R/the least R of all)^power, with the smallest R seen; the new weights.

        Symmetries of weight 0 keep it and do not count. Where the least is 0, others with R > 0 get weight 0.
        """
        if not self._least:
            self.observe()
        live = {name: self._least[name] for name, w in self.weight.items() if w > 0}
        least = min(live.values(), default=0.0)
        for name, R in live.items():
            self.weight[name] *= (least / R) ** power if R > 0 else 1.0
        return dict(self.weight)

    def _weights(self, path: str) -> list[Tensor]:
        layer = self.model.get_submodule(path)
        return [p for p in (layer.weight, layer.bias) if p is not None]

    def _space(self, path: str, rep_in: Rep, rep_out: Rep) -> tuple[maps.Map, maps.Map]:
        try:
            layer = self.model.get_submodule(path)
        except AttributeError:
            known = [name for name, module in self.model.named_modules() if isinstance(module, nn.Linear)]
            raise ValueError(f"SoftEquivariance: the model has no layer {path!r}; it has {known}") from None
        if not isinstance(layer, nn.Linear):
            raise ValueError(f"SoftEquivariance: {path!r} is a {type(layer).__name__}, not a torch.nn.Linear")
        if layer.weight.shape != (rep_out.dim, rep_in.dim):
            raise ValueError(
                f"SoftEquivariance: layer {path!r} has weights {tuple(layer.weight.shape)}, from {rep_in!r} to "
                f"{rep_out!r} it needs ({rep_out.dim}, {rep_in.dim})"
            )
        return maps.between(rep_in, rep_out, allow_zero=True), maps.invariants(rep_out, allow_zero=True)

    def _residuals(self, path: str, space: maps.Map, invariants: maps.Map) -> list[Tensor]:
        layer = self.model.get_submodule(path)
        found = [layer.weight - nearest(space, layer.weight)]
        return found if layer.bias is None else [*found, layer.bias - nearest(invariants, layer.bias[:, None])[:, 0]]


@torch.no_grad()
def nearest(space: maps.Map, M: Float[Tensor, "dim_out dim_in"]) -> Float[Tensor, "dim_out dim_in"]:
    """The equivariant matrix nearest to M. A constant: the derivative of ½‖M - PM‖² is M - PM without that of PM."""
    return space.matrix(space.project(M)) if space.dim else torch.zeros_like(M)
