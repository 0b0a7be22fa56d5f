"""Lie derivatives: the error per infinitesimal direction, which says along which generator a symmetry breaks."""

import warnings
from typing import Any

import torch
from torch import Tensor

from .elements import describe_generator, exponential
from .orbit import Orbit, Outputs


def lie_derivatives(orbit: Orbit, n_samples: int) -> dict[str, list[tuple[str, float, float, int]]]:
    """‖d/dt ρ_out(e^{−tA}) f(ρ_in(e^{tA}) x)‖ at t = 0: (name of A, RMS, maximum, samples) per output and generator A.

    By forward-mode differentiation when input and output are tensors and the model allows it, else by a central
    difference with step ε^{1/3}. Empty for a finite group. Source: arXiv:2210.02984, eq. 3.
    """
    algebra = orbit.group.lie_algebra()
    rows = algebra if isinstance(algebra, tuple) else (algebra,)
    which = list(range(min(n_samples, len(orbit.samples))))
    out: dict[str, list[tuple[str, float, float, int]]] = {name: [] for name in orbit.base().compared}
    for a in range(len(rows[0])):
        A = tuple(r[a] for r in rows) if isinstance(algebra, tuple) else algebra[a]
        found = _forward_mode(orbit, A, which)
        if found is None:
            found = _central_difference(orbit, A, which)
        for name, square in found.items():
            finite = square[square.isfinite()]
            value = (finite.mean().sqrt().item(), finite.max().sqrt().item()) if len(finite) else (torch.nan, torch.nan)
            out[name].append((describe_generator(orbit.group, A), *value, len(which)))
    return out


def _forward_mode(orbit: Orbit, A: Any, which: list[int]) -> dict[str, Tensor] | None:
    """Exact derivatives, or None where something in the way has no forward mode."""
    if not isinstance(orbit.samples.data, Tensor) or isinstance(A, tuple) or set(orbit.base().rows) != {""}:
        return None
    squares = []
    identity = orbit.group.identity()
    for start in range(0, len(which), orbit.chunk):
        x = orbit.samples.take(which[start : start + orbit.chunk])

        def pulled_back(t: Tensor, x: Tensor = x) -> Tensor:
            # 1 ± tA is tangent to exp(±tA), which is all that a first derivative sees
            return orbit.rep_out(identity - t * A, orbit.fn(orbit.rep_in(identity + t * A, x)))

        zero = torch.zeros((), dtype=torch.float64)
        try:
            with warnings.catch_warnings():  # torch scripts its own forward-mode rules, and warns about doing so
                warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)
                _, tangent = torch.func.jvp(pulled_back, (zero,), (torch.ones_like(zero),))
        except (RuntimeError, NotImplementedError, TypeError, ValueError):
            return None
        if not tangent.isfinite().all():
            return None
        squares.append(tangent.detach().double().flatten(1).square().mean(1).cpu())
    orbit.calls += len(squares)
    orbit.evaluations += len(which)
    return {"": torch.cat(squares)}


def _central_difference(orbit: Orbit, A: Any, which: list[int]) -> dict[str, Tensor]:
    dtype = next((t.dtype for t in orbit.base().tensors.values() if t.is_floating_point()), torch.float64)
    h = torch.finfo(dtype).eps ** (1 / 3)
    group = orbit.group
    pulled = []
    for sign in (1, -1):
        X = tuple(a[None] for a in A) if isinstance(A, tuple) else A[None]
        g, back = exponential(group, X, sign * h), exponential(group, X, -sign * h)
        parts = []
        for start in range(0, len(which), orbit.chunk):
            part = which[start : start + orbit.chunk]
            moved = orbit.rep_in(group.take(g, 0), orbit.samples.take(part))
            outputs = orbit._outputs(orbit.call(moved, len(part)), part)
            parts.append(orbit.act(group.take(back, torch.zeros(len(part), dtype=torch.int64)), outputs))
        pulled.append(Outputs.join(parts))
    return {name: square / (2 * h) ** 2 for name, square in pulled[0].minus(pulled[1]).mean_square().items()}
