"""Symmetries that hold only partly: layers are pulled towards the equivariant ones, and how far they stay off tells."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .. import maps
from ..reps import Rep
from .projection import Projection, sizes
from .unprojected import Layers, warn_of_pointwise

Metric = Callable[[Tensor, list[Tensor]], Tensor]  # of M and the pieces of M − PM
EPS = 1e-3  # of the logarithm: residuals below count as this much


def _log(M: Tensor, residual: list[Tensor]) -> Tensor:
    return torch.log(sum(((part.abs() + EPS).square().sum() for part in residual), M.new_zeros(()) + EPS**2))


def _cosine(M: Tensor, residual: list[Tensor]) -> Tensor:
    """1 − cos(M, PM), without the difference of two numbers near 1."""
    off = sum((part.square().sum() for part in residual), M.new_zeros(()))
    share = off / M.square().sum().clamp_min(torch.finfo(M.dtype).tiny)
    return share / (1 + (1 - share).clamp_min(0).sqrt())


METRICS: dict[str, Metric | None] = {"frobenius": None, "log": _log, "cosine": _cosine}


class SoftEquivariance(nn.Module):
    """A model whose linear layers are pulled towards several symmetries, each with a strength of its own.

    symmetries: for each name the layers it speaks of, by their path in the model, as (rep_in, rep_out); `soft_layers`
    lists those of a relaxed model. The penalty is R = Σ ½‖W − PW‖² + ½‖b − Pb‖² with P the orthogonal projection onto
    the equivariant maps; `loss()`, to be added to that of the task, is Σ weight·R. The forward pass is that of the
    model. `observe()` once per epoch after a warm-up, and `rebalance()` once at about a quarter of the training, weaken
    the symmetries that the data resists (`train.RebalanceWeights` does both); `levels()` reports what was found:
    R/½‖W‖², 0 for a symmetry that holds, at most 1. A level speaks of the parameters: `audit.measure_softness` puts the
    error of the function beside it.

    metric: what `loss()` adds up in place of R: "log" log Σ (ε + |W − PW|)², which pulls as hard near the end, "cosine"
    1 − cos(W, PW), which no size of W changes; each matrix and bias by itself. pointwise: paths of activations of
    single entries that see only entries which the groups leave alone. State dict: that of the model under "model.".

    Nothing but the layers is pulled. Warns of a pointwise activation among the modules that does not commute with a
    symmetry on the layer before it, or on any where that is unknown: the model is then not equivariant even at R = 0.
    Raises ValueError for a layer that does not exist, has no matrix as weight or does not fit its Reps, for weights
    that name other symmetries, and for an unknown metric. Source: arXiv:2306.00356.
    """

    def __init__(
        self,
        model: nn.Module,
        symmetries: Mapping[str, Layers],
        *,
        weight: float | Mapping[str, float] = 100.0,
        metric: str = "frobenius",
        pointwise: Collection[str] = (),
    ):
        super().__init__()
        self.model = model
        if not symmetries or not all(symmetries.values()):
            raise ValueError("SoftEquivariance: give at least one symmetry, and at least one layer for each")
        self.weight = dict(weight) if isinstance(weight, Mapping) else dict.fromkeys(symmetries, float(weight))
        if self.weight.keys() != symmetries.keys() or any(value < 0 for value in self.weight.values()):
            raise ValueError(f"SoftEquivariance: needs a weight ≥ 0 for each of {list(symmetries)}, got {self.weight}")
        if metric not in METRICS:
            raise ValueError(f"SoftEquivariance: metric {metric!r} is none of {', '.join(METRICS)}")
        self.metric = metric
        for layers in symmetries.values():
            for path, reps in layers.items():
                _check(model, path, *reps)
        self._paths: dict[str, list[str]] = {name: list(layers) for name, layers in symmetries.items()}
        self._places: list[tuple[str, str, tuple[str, ...]]] = []  # path, parameter, symmetries: of each projection
        self.projections = nn.ModuleList()
        for path in dict.fromkeys(path for paths in self._paths.values() for path in paths):
            own = {name: layers[path] for name, layers in symmetries.items() if path in layers}
            self._add(path, "weight", {name: maps.between(*reps, allow_zero=True) for name, reps in own.items()})
            if model.get_submodule(path).bias is not None:
                self._add(path, "bias", {name: maps.invariants(out, allow_zero=True) for name, (_, out) in own.items()})
        self._least: dict[str, float] = {}
        warn_of_pointwise(model, symmetries, pointwise)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model itself."""
        return self.model(*args, **kwargs)

    def penalties(self) -> dict[str, Float[Tensor, ""]]:
        """R of each symmetry; its gradient is W − PW."""
        return self._sum(lambda M, residual: sum((r.square().sum() for r in residual), M.new_zeros(())) / 2)

    def loss(self) -> Float[Tensor, ""]:
        """Σ weight·R, or of another metric, over the symmetries of weight above 0; without any, a constant 0."""
        measure = METRICS[self.metric]
        if measure is not None:
            found = self._sum(measure) if any(self.weight.values()) else {}
            return sum((w * found[name] for name, w in self.weight.items() if w > 0), torch.zeros(()))
        total = torch.zeros(())
        for projection, (path, kind, names) in zip(self.projections, self._places):
            strengths = {name: self.weight[name] for name in names}
            if any(strengths.values()):
                total = total + projection.pull(strengths, self._matrix(path, kind))
        return total

    @torch.no_grad()
    def levels(self) -> dict[str, float]:
        """R/½‖W‖² of each symmetry over its layers: the part of the weights that breaks it."""
        found = self.penalties()
        return {
            name: float(2 * found[name] / sum(p.square().sum() for path in paths for p in self._parameters_of(path)))
            for name, paths in self._paths.items()
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

    @property
    def balance(self) -> dict[str, dict[str, float]]:
        """What a resumed run needs besides the parameters: weights, and the smallest penalties seen; can be set."""
        return {"weight": dict(self.weight), "least": dict(self._least)}

    @balance.setter
    def balance(self, state: Mapping[str, Mapping[str, float]]) -> None:
        if state["weight"].keys() != self.weight.keys():
            raise ValueError(f"SoftEquivariance: has {list(self.weight)}, the state {list(state['weight'])}")
        self.weight, self._least = dict(state["weight"]), dict(state["least"])

    def _add(self, path: str, kind: str, spaces: dict[str, maps.Map]) -> None:
        """One projection for all symmetries under which a layer has the same terms."""
        shared: dict[tuple, dict[str, maps.Map]] = {}
        for name, space in spaces.items():
            shared.setdefault(sizes(space), {})[name] = space
        for group in shared.values():
            self.projections.append(Projection(group))
            self._places.append((path, kind, tuple(group)))

    def _sum(self, measure: Metric) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for projection, (path, kind, names) in zip(self.projections, self._places):
            M = self._matrix(path, kind)
            for name in names:
                value = measure(M, projection.residual(name, M))
                found[name] = found[name] + value if name in found else value
        return {name: found[name] for name in self._paths}

    def _matrix(self, path: str, kind: str) -> Float[Tensor, "dim_out dim_in"]:
        parameter = getattr(self.model.get_submodule(path), kind)
        return parameter if parameter.ndim == 2 else parameter[:, None]

    def _parameters_of(self, path: str) -> list[Tensor]:
        layer = self.model.get_submodule(path)
        return [p for p in (layer.weight, layer.bias) if p is not None]


def _check(model: nn.Module, path: str, rep_in: Rep, rep_out: Rep) -> None:
    try:
        layer = model.get_submodule(path)
    except AttributeError:
        known = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
        raise ValueError(f"SoftEquivariance: the model has no layer {path!r}; it has {known}") from None
    if not isinstance(layer, nn.Linear):
        raise ValueError(f"SoftEquivariance: {path!r} is a {type(layer).__name__}, not a torch.nn.Linear")
    if layer.weight.shape != (rep_out.dim, rep_in.dim):
        raise ValueError(
            f"SoftEquivariance: layer {path!r} has weights {tuple(layer.weight.shape)}, from {rep_in!r} to "
            f"{rep_out!r} it needs ({rep_out.dim}, {rep_in.dim})"
        )
