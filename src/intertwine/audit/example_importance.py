"""Explanations that must not move at all: which training examples, or which concepts, a prediction rests on."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import functional_call, grad, jacrev, vmap

from .attribution import Explainer, Targets

Loss = Callable[[Tensor, Tensor], Tensor]  # (outputs [B, ...], targets [B]) -> a number


def tracin(
    model: torch.nn.Module, loss: Loss, x: Float[Tensor, "train *sample"], y: Tensor, *, parameters: str = ""
) -> Explainer:
    """⟨∇L(x, target), ∇L(x_j, y_j)⟩ for each training example j: [batch, train] (arXiv:2002.08484, one checkpoint).

    parameters: only those whose name starts so.
    """
    slopes = _Slopes(model, loss, parameters)
    train = slopes(x, y)
    return Explainer("tracin", model, lambda z, target: slopes(z, target) @ train.T)


def influence(
    model: torch.nn.Module,
    loss: Loss,
    x: Float[Tensor, "train *sample"],
    y: Tensor,
    *,
    damping: float = 1e-2,
    parameters: str = "",
) -> Explainer:
    """∇L(x, target)ᵀ (H + damping)⁻¹ ∇L(x_j, y_j), H the Hessian of the mean loss: [batch, train] (arXiv:1703.04730).

    H is written out, so name few `parameters`: only those whose name starts so.
    """
    slopes = _Slopes(model, loss, parameters)
    H = slopes.hessian(x, y)
    train = torch.linalg.solve(H + damping * torch.eye(len(H)).to(H), slopes(x, y).T)
    return Explainer("influence", model, lambda z, target: slopes(z, target) @ train)


def representation_similarity(layer: Callable[[Any], Tensor], x: Any) -> Explainer:
    """Cosine of the layer's output for the input with that for each training example: [batch, train]."""

    def unit(z: Any) -> Tensor:
        return torch.nn.functional.normalize(layer(z).flatten(1), dim=1)

    return Explainer("representation_similarity", layer, lambda z, _: unit(z) @ unit(x).T)


def concept_activation(
    layer: Callable[[Any], Tensor], x: Any, concepts: Int[Tensor, "probes concepts"], *, ridge: float = 1e-3
) -> Explainer:
    """Which concepts a linear classifier on a layer's output sees: 0 or 1, [batch, concepts] (arXiv:1711.11279).

    concepts: 0 or 1 for each probe input of x. The classifier is a ridge regression on ±1.
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T + 1  # with a constant

    return Explainer("concept_activation", layer, _classifier(layer, x, concepts, lambda probes: kernel, ridge))


def concept_regions(
    layer: Callable[[Any], Tensor],
    x: Any,
    concepts: Int[Tensor, "probes concepts"],
    *,
    width: float | None = None,
    ridge: float = 1e-3,
) -> Explainer:
    """`concept_activation` with a Gaussian kernel: concepts as regions of any shape (arXiv:2209.11222).

    width: of the kernel; default, the median distance between two probes.
    """

    def kernel(probes: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        apart = torch.pdist(probes)
        wide = width if width is not None else float(apart[apart > 0].median()) if (apart > 0).any() else 1.0
        return lambda a, b: torch.exp(-torch.cdist(a, b).square() / (2 * wide**2))

    return Explainer("concept_regions", layer, _classifier(layer, x, concepts, kernel, ridge))


def _classifier(
    layer: Callable[[Any], Tensor],
    x: Any,
    concepts: Int[Tensor, "probes concepts"],
    choose: Callable[[Tensor], Callable[[Tensor, Tensor], Tensor]],
    ridge: float,
) -> Callable[[Any, Targets], Tensor]:
    def features(z: Any) -> Tensor:
        return layer(z).flatten(1).double()

    with torch.no_grad():
        probes = features(x)
        kernel = choose(probes)
        K = kernel(probes, probes)
        weight = torch.linalg.solve(K + ridge * len(K) * torch.eye(len(K)).to(K), 2 * concepts.double() - 1)
    return lambda z, _: (kernel(features(z), probes) @ weight > 0).double()


class _Slopes:
    """Gradients of the loss of single samples, as rows."""

    def __init__(self, model: torch.nn.Module, loss: Loss, prefix: str):
        self.model, self.loss = model, loss
        everything = {name: p.detach() for name, p in model.named_parameters()}
        self.chosen = {name: p for name, p in everything.items() if name.startswith(prefix)}
        self.rest = {name: p for name, p in everything.items() if name not in self.chosen}
        if not self.chosen:
            raise ValueError(f"the model has no parameter whose name starts with {prefix!r}: {list(everything)}")

    def _loss(self, flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        pieces = flat.split([p.numel() for p in self.chosen.values()])
        named = {name: piece.reshape(p.shape) for (name, p), piece in zip(self.chosen.items(), pieces)}
        return self.loss(functional_call(self.model, {**self.rest, **named}, (x,)), y)

    @property
    def flat(self) -> Tensor:
        return torch.cat([p.reshape(-1) for p in self.chosen.values()])

    def __call__(self, x: Tensor, y: Targets) -> Float[Tensor, "batch parameters"]:
        if y is None:
            raise ValueError("explain: a loss needs the target of each sample")
        return vmap(grad(lambda p, a, b: self._loss(p, a[None], b[None])), (None, 0, 0))(self.flat, x.detach(), y)

    def hessian(self, x: Tensor, y: Tensor) -> Float[Tensor, "parameters parameters"]:
        return jacrev(grad(lambda p: self._loss(p, x.detach(), y)))(self.flat)
