"""SimplEx: a sample as the nearest mixture of training examples, in what a layer makes of them (arXiv:2110.15355)."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .attribution import Explainer


def simplex(layer: Callable[[Any], Tensor], x: Any, *, steps: int = 300) -> Explainer:
    """Weights of the training examples x, positive with sum 1, that reconstruct the layer's output: [batch, train].

    w minimises ‖h(z) − Σ w_j h(x_j)‖², by so many steps of accelerated projected gradient from equal weights, so that
    the weights depend continuously on h(z) also where several mixtures are as near. Invariant where the layer is.
    """

    def weights(z: Any) -> Float[Tensor, "batch train"]:
        with torch.no_grad():
            return mixture(layer(z).flatten(1), layer(x).flatten(1), steps)

    return Explainer("simplex", layer, lambda z, _: weights(z))


def mixture(
    h: Float[Tensor, "batch features"], corpus: Float[Tensor, "train features"], steps: int
) -> Float[Tensor, "batch train"]:
    """Positive weights with sum 1 whose mixture of the corpus is nearest to each h."""
    centre = corpus.mean(0)  # a mixture moves with the origin; differences are better conditioned
    corpus, h = corpus - centre, h - centre
    gram, target = corpus @ corpus.T, h @ corpus.T
    step = 1 / torch.linalg.eigvalsh(gram)[-1].clamp_min(torch.finfo(gram.dtype).tiny)
    w = h.new_full((len(h), len(corpus)), 1 / len(corpus))
    ahead, t = w, 1.0
    for _ in range(steps):
        new = onto_simplex(ahead - step * (ahead @ gram - target))
        t, before = (1 + (1 + 4 * t * t) ** 0.5) / 2, t
        ahead, w = new + (before - 1) / t * (new - w), new
    return w


def onto_simplex(v: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
    """The nearest point with positive entries and sum 1: max(v − τ, 0), τ by sorting."""
    ordered = v.sort(dim=1, descending=True).values
    count = torch.arange(1, v.shape[1] + 1, device=v.device)
    shift = (ordered.cumsum(1) - 1) / count
    last = (ordered > shift).sum(1, keepdim=True) - 1
    return (v - shift.gather(1, last)).clamp_min(0)
