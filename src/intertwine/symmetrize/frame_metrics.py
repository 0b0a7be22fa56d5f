"""How far single draws are from the symmetry that a stochastic frame has on the average, by FAENet's names."""

from typing import Any

import torch
from torch import Tensor

from ..groups import O
from ..groups.group import Element
from ..groups.matrix import E
from ..reps.containers import named_tensors
from .average import Symmetrizer
from .fold import owner_of, repeat, unfold, weighted_sum
from .stochastic_frame import StochasticFrame


def symmetry_metrics(
    model: Symmetrizer,
    x: Any,
    *,
    generator: torch.Generator,
    elements: int = 8,
    energy: str = "energy",
    forces: str = "forces",
) -> dict[str, float]:
    """Mean changes of a model's outputs under motions of its input, in the mode (train or eval) that it is in.

    `Rot-I` and `Refl-I` are mean |ΔE| per sample under turns and turned mirrors, `Perc` mean |ΔE/E| under turns;
    `Pos` is the mean |Δ| of the numbers of the input as the model sees it, averaged over its elements, under turns;
    `F-Rot-E` and `F-Refl-E` mean |ΔF| per atom where the output is a dict with forces; for a `StochasticFrame`
    `within_frame_std` is the standard deviation of E over the elements of the frame, root mean square over samples.
    Mirrors are tried for SO(d) and SE(d) too, which do not promise them. energy, forces: the keys in a dict of outputs;
    an output that is a tensor is the energy. Raises ValueError for a group that does not turn points.
    Source: arXiv:2305.05577.
    """
    group = model.rep_in.group
    if not isinstance(group, (O, E)):
        raise ValueError(f"symmetry_metrics: {group} does not turn points; use audit.measure")
    found: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        y = model(x, generator=generator)
        E0, seen = _energy(y, energy), _seen(model, x, generator)
        for name, mirror in (("Rot", False), ("Refl", True)):
            for _ in range(elements):
                g = _motion(group, mirror, generator)
                turned = model.rep_in(g, x)
                expected, moved = model.rep_out(g, y), model(turned, generator=generator)
                change = (_energy(moved, energy) - E0).abs()
                found.setdefault(f"{name}-I", []).append(change.mean())
                if not mirror:
                    found.setdefault("Perc", []).append((change / E0.abs().clamp_min(1e-300)).mean())
                    found.setdefault("Pos", []).append((_seen(model, turned, generator) - seen).abs().mean())
                if forces in named_tensors(y):
                    off = (moved[forces] - expected[forces]).norm(dim=-1)
                    found.setdefault(f"F-{name}-E", []).append(off.mean())
        numbers = {name: torch.stack(values).mean().item() for name, values in found.items()}
        if isinstance(model.source, StochasticFrame):
            numbers["within_frame_std"] = _spread(model, x, energy)
    return numbers


def _energy(y: Any, key: str) -> Tensor:
    return y if isinstance(y, Tensor) else y[key]


def _seen(model: Symmetrizer, x: Any, generator: torch.Generator) -> Tensor:
    """All real numbers of the input, moved as the model sees them, averaged over the elements."""
    elements = model.source(x, generator=generator)
    B, K = elements.weight.shape
    device = elements.weight.device
    sample, copy = torch.arange(B, device=device).repeat(K), torch.arange(K, device=device).repeat_interleave(B)
    g = model.rep_in.group.inverse(model.rep_in.group.take(elements.g, (sample, copy)))
    copies = unfold(model.rep_in(g, repeat(model.rep_in, x, K)), K, "symmetry_metrics")
    mean = weighted_sum(copies, elements.weight.T, owner_of(x))
    return torch.cat([t.flatten() for t in named_tensors(mean).values() if t.is_floating_point()])


def _motion(group: O | E, mirror: bool, generator: torch.Generator) -> Element:
    """A uniform turn, or turn and mirror, about the origin."""
    n = group.n
    R = O(n).sample(1, generator=generator)[0]
    R[0] = R[0] * torch.linalg.det(R).sign() * (-1 if mirror else 1)
    return group.element(R) if isinstance(group, E) else R


def _spread(model: Symmetrizer, x: Any, key: str) -> float:
    """Standard deviation of the energy over the whole frame, one element at a time."""
    elements = model.source.frame(x)
    y = _energy(model._copies(x, elements, 0, elements.mask.shape[1], (), {}), key)  # [copies, batch, ...]
    w = elements.weight.T.reshape(*elements.mask.T.shape, *[1] * (y.ndim - 2)).to(y)
    mean = (w * y).sum(0)
    return (w * (y - mean).square()).sum(0).mean().sqrt().item()
