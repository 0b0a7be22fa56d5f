"""Which parts of an input a prediction rests on: explanations that audits of explanations are tried on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..extras import require
from .tree import evaluating, map_tensors, named_tensors

Targets = Int[Tensor, " batch"] | None
CAPTUM = {  # its names of methods that `guarantee` knows by ours
    "Saliency": "gradient_abs",
    "InputXGradient": "input_x_gradient",
    "IntegratedGradients": "integrated_gradients",
    "GradientShap": "gradient_shap",
    "DeepLift": "deeplift",
    "FeatureAblation": "feature_ablation",
    "Occlusion": "occlusion",
    "FeaturePermutation": "permutation_importance",
}


@dataclass(frozen=True)
class Explainer:
    """`explain(x, target)`: an explanation of model(x)[target] for each sample of a batch.

    target: the class of each sample; None for a model with one output. Parameters and inputs are left as they are.
    """

    method: str
    model: Callable[[Any], Tensor]
    compute: Callable[[Any, Targets], Any]

    def __call__(self, x: Any, target: Targets = None) -> Any:
        with evaluating(self.model), torch.enable_grad():
            return map_tensors(torch.Tensor.detach, self.compute(x, target))


def gradient(model: Callable[[Any], Tensor]) -> Explainer:
    """d model(x)[target] / dx, in the structure of x; zero for what has no derivative."""
    return Explainer("gradient", model, lambda x, target: _gradient(model, x, target))


def gradient_abs(model: Callable[[Any], Tensor]) -> Explainer:
    """|d model(x)[target] / dx|."""
    return Explainer("gradient_abs", model, lambda x, target: map_tensors(torch.abs, _gradient(model, x, target)))


def input_x_gradient(model: Callable[[Any], Tensor]) -> Explainer:
    """x · d model(x)[target] / dx, entry by entry."""
    return Explainer("input_x_gradient", model, lambda x, t: _combine(torch.mul, x, _gradient(model, x, t)))


def integrated_gradients(model: Callable[[Any], Tensor], *, baseline: Any = None, steps: int = 50) -> Explainer:
    """(x − b) times the mean gradient on the way from the baseline b to x (arXiv:1703.01365), by the midpoint rule.

    baseline: one sample, or a batch of one; None for zero.
    """

    def compute(x: Any, target: Targets) -> Any:
        b = map_tensors(torch.zeros_like, x) if baseline is None else _combine(_spread, x, baseline)
        way = _combine(torch.sub, x, b)
        total = map_tensors(torch.zeros_like, x)
        for k in range(steps):
            here = _combine(lambda p, d, at=(k + 0.5) / steps: p + at * d if p.is_floating_point() else p, b, way)
            total = _combine(torch.add, total, _gradient(model, here, target))
        return _combine(lambda d, t: d * t / steps, way, total)

    return Explainer("integrated_gradients", model, compute)


def ablation(
    model: Callable[[Tensor], Tensor],
    *,
    windows: Bool[Tensor, "windows *sample"] | None = None,
    baseline: Tensor | float = 0.0,
) -> Explainer:
    """What model(x)[target] loses when entries take the value of the baseline: feature ablation, occlusion.

    windows: what is taken away together, as `sliding_windows` gives; None for one entry at a time. An entry gets the
    mean over the windows that hold it, zero when none does.
    """

    def compute(x: Tensor, target: Targets) -> Tensor:
        masks = torch.eye(x[0].numel(), dtype=torch.bool).reshape(-1, *x.shape[1:]) if windows is None else windows
        full, total = _score(model(x), target), torch.zeros_like(x)
        for mask in masks.to(x.device):
            lost = full - _score(model(torch.where(mask, torch.as_tensor(baseline).to(x), x)), target)
            total += mask * lost.reshape(-1, *[1] * (x.ndim - 1))
        return total / masks.sum(0).clamp_min(1).to(x)

    return Explainer("feature_ablation" if windows is None else "occlusion", model, compute)


def sliding_windows(
    shape: Sequence[int], size: Sequence[int], *, stride: int = 1, wrap: bool = False
) -> Bool[Tensor, "windows *shape"]:
    """Boxes of a size at every place of an array, `stride` apart; wrap: on a torus, else inside the borders."""
    corners = [range(0, n if wrap else n - s + 1, stride) for n, s in zip(shape, size, strict=True)]
    places = torch.cartesian_prod(*map(torch.tensor, corners)).reshape(-1, len(shape))
    out = torch.ones(len(places), *shape, dtype=torch.bool)
    for axis, (n, s) in enumerate(zip(shape, size)):
        inside = (torch.arange(n) - places[:, axis, None]) % n < s
        out &= inside.reshape(-1, *[n if a == axis else 1 for a in range(len(shape))])
    return out


def from_captum(model: Callable[[Tensor], Tensor], method: str, /, **options: Any) -> Explainer:
    """Any attribution of captum by its name, such as "DeepLift" or "GradientShap"; options go to its attribute().

    Its `method` is the name that `guarantee` knows, such as "deeplift", where there is one.

    Raises ModuleNotFoundError naming the extra where captum is absent, ValueError for a name it has not.
    """
    attr = require("captum.attr", "explain")
    if not hasattr(attr, method):
        raise ValueError(f"from_captum: captum.attr has no {method!r}")
    tool = getattr(attr, method)(model)

    def compute(x: Tensor, target: Targets) -> Tensor:
        return tool.attribute(x.detach().clone(), target=target, **options)

    return Explainer(CAPTUM.get(method, method), model, compute)


def _score(y: Tensor, target: Targets) -> Float[Tensor, " batch"]:
    if y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1):
        return y.reshape(-1)
    if target is None or y.ndim != 2:
        raise ValueError(f"explain: the model returns {tuple(y.shape)}; give the class of each sample as target")
    return y.gather(1, target.to(y.device)[:, None])[:, 0]


def _gradient(model: Callable[[Any], Tensor], x: Any, target: Targets) -> Any:
    leaves = map_tensors(lambda t: t.detach().clone().requires_grad_(t.is_floating_point()), x)
    floating = [t for t in named_tensors(leaves).values() if t.requires_grad]
    found = iter(
        torch.autograd.grad(_score(model(leaves), target).sum(), floating, allow_unused=True, materialize_grads=True)
    )
    return map_tensors(lambda t: next(found) if t.requires_grad else torch.zeros_like(t), leaves)


def _combine(fn: Callable[[Tensor, Tensor], Tensor], a: Any, b: Any) -> Any:
    """fn on the tensors of two equal structures."""
    other = iter(named_tensors(b).values())
    return map_tensors(lambda t: fn(t, next(other)), a)


def _spread(x: Tensor, baseline: Tensor) -> Tensor:
    return baseline.to(x).expand_as(x).clone()
