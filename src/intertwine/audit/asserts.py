"""The check that every layer of this package must pass, given to users: equivariance, forward and gradient."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..reps import Action, Rep
from .elements import describe, draw
from .tree import evaluating, map_tensors, module_of, named_tensors

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


@dataclass(frozen=True)
class EquivarianceError:
    """Largest absolute errors found, and the size of what was compared (0 means the model returned only zeros)."""

    forward: float
    gradient: float | None
    scale: float
    elements: int


def assert_equivariant(
    model: Callable[..., Any],
    *,
    elements: int | Any = 8,
    steps: int = 0,
    atol: float | None = None,
    generator: torch.Generator | None = None,
    data: Any = None,
    gradient: bool = True,
    training: bool = False,
    rep_in: Action | tuple[Action, ...] | None = None,
    rep_out: Action | None = None,
) -> EquivarianceError:
    """Raise AssertionError unless model(rep_in(g, x)) = rep_out(g, model(x)), for values and for derivatives.

    Derivatives: both sides are functions of x and of the parameters, so their vector-Jacobian products with one random
    cotangent v must agree; for representations this says J(gx)ᵀ v = ρ_in(g)⁻ᵀ J(x)ᵀ ρ_out(g)ᵀ v (contragredient).
    elements: how many random elements (discrete generators are added), or a batch of elements.
    steps: Adam steps towards random targets on a copy of the model first; some defects appear only in training.
    atol: allowed error times max(1, largest value compared); default 1e-10 in float64, 1e-5 in float32.
    data: a batch of inputs, or a list of samples; by default 4 random features of `rep_in`.
    gradient=False: for outputs without derivative. training=True: leave the model in train() mode.
    rep_in, rep_out: default to the model's own; a tuple of Actions means that the model takes that many arguments.
    Raises ValueError when an Action is missing, groups differ, or the output has no derivative.
    """
    rep_in = rep_in if rep_in is not None else _declared(model, "rep_in")
    rep_out = rep_out if rep_out is not None else _declared(model, "rep_out")
    several = isinstance(rep_in, (tuple, list))
    actions = tuple(rep_in) if several else (rep_in,)
    group = rep_out.group
    for action in actions:
        if action.group != group:
            raise ValueError(f"assert_equivariant: rep_in belongs to {action.group}, rep_out to {group}")
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    dtype = _dtype(model, data)
    inputs = _inputs(actions, data, several, dtype, generator)
    where = ""
    if steps:
        model = copy.deepcopy(model)
        _train(model, inputs, steps, generator)
        where = f" after {steps} optimiser steps"
    g, count = draw(group, elements, generator=generator)
    tolerance = atol if atol is not None else TOLERANCE[dtype]
    parameters = [p for p in module_of(model).parameters() if p.requires_grad] if module_of(model) else []

    worst = {"forward": _Worst(), "gradient": _Worst()}
    with _mode(model, training), torch.enable_grad():
        for k in range(count):
            g_k = group.take(g, k)
            x, leaves = _leaves(inputs)
            moved = named_tensors(model(*(action(g_k, part) for action, part in zip(actions, x))))
            expected = named_tensors(rep_out(g_k, model(*x)))
            if moved.keys() != expected.keys():
                raise ValueError(f"assert_equivariant: the model gives {sorted(moved)}, rep_out {sorted(expected)}")
            for name in expected:
                worst["forward"].see(moved[name], expected[name], k, f"output {name!r}" if name else "output")
            if gradient:
                _compare_gradients(
                    worst["gradient"], moved, expected, [*leaves, *parameters], len(leaves), k, generator
                )

    for kind, found in worst.items():
        if found.failed(tolerance):
            raise AssertionError(
                f"{_name(model)} is not equivariant under {group}{where}: {kind} error {found.error:.3e} at "
                f"{found.place}, values up to {found.scale:.3g}, allowed {tolerance * max(1.0, found.scale):.1e}\n"
                f"  element {found.element} of {count}: {describe(group, group.take(g, found.element))}\n"
                f"  rep_in {_show(rep_in)}; rep_out {_show(rep_out)}"
                + (_terms(rep_out, found.residual) if kind == "forward" else "")
            )
    return EquivarianceError(
        worst["forward"].error, worst["gradient"].error if gradient else None, worst["forward"].scale, count
    )


class _Worst:
    """Keeps the largest error seen, where it was, and the largest value compared."""

    def __init__(self):
        self.error, self.scale, self.element, self.place = 0.0, 0.0, 0, "nothing"
        self.residual: Tensor | None = None

    def see(self, a: Tensor, b: Tensor, element: int, place: str) -> None:
        if a.shape != b.shape:
            raise ValueError(f"assert_equivariant: {place} has shape {tuple(a.shape)} and {tuple(b.shape)}")
        if not a.numel():
            return
        a, b = a.detach(), b.detach()
        residual = (a.double() - b.double()).abs()
        error = residual.max().item()
        self.scale = max(self.scale, b.abs().max().item())
        if error != error or error > self.error:
            self.error, self.element, self.residual = error, element, residual
            index = torch.unravel_index(residual.nan_to_num(torch.inf).argmax(), residual.shape)
            self.place = f"{place}[{', '.join(str(int(i)) for i in index)}]"

    def failed(self, tolerance: float) -> bool:
        return not self.error <= tolerance * max(1.0, self.scale)


def _compare_gradients(worst, moved, expected, wrt, n_inputs, k, generator) -> None:
    a, b = torch.zeros(()), torch.zeros(())
    for name, y in expected.items():
        if y.requires_grad or moved[name].requires_grad:
            v = torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y)
            a = a.to(y) + (v * moved[name]).sum()
            b = b.to(y) + (v * y).sum()
    if not (a.requires_grad and b.requires_grad):
        raise ValueError(
            "assert_equivariant: the output has no derivative; pass training=True if the model detaches it in eval(), "
            "or gradient=False to test values only"
        )
    grads = zip(
        torch.autograd.grad(a, wrt, allow_unused=True),
        torch.autograd.grad(b, wrt, allow_unused=True),
    )
    for i, (da, db) in enumerate(grads):
        if da is None and db is None:
            continue
        da = torch.zeros_like(wrt[i]) if da is None else da
        db = torch.zeros_like(wrt[i]) if db is None else db
        worst.see(da, db, k, f"d/d input {i}" if i < n_inputs else f"d/d parameter {i - n_inputs}")


def _declared(model: Any, name: str) -> Any:
    action = getattr(model, name, None)
    if action is None:
        raise ValueError(f"assert_equivariant: {_name(model)} declares no {name}; pass {name}=...")
    return action


def _name(model: Any) -> str:
    return getattr(model, "__name__", type(model).__name__)


def _dtype(model: Any, data: Any) -> torch.dtype:
    module = module_of(model)
    found = [p.dtype for p in module.parameters() if p.is_floating_point()] if module is not None else []
    if not found and data is not None:
        found = [t.dtype for t in named_tensors(data).values() if t.is_floating_point()]
    return found[0] if found else torch.float64


def _inputs(actions, data, several, dtype, generator) -> tuple:
    if data is None:
        for action in actions:
            if not isinstance(action, Rep):
                raise ValueError(f"assert_equivariant: cannot make random inputs for {action}; pass data=...")
        return tuple(action.randn(4, generator=generator, dtype=dtype) for action in actions)
    if isinstance(data, list):
        return (
            tuple(a.collate([s[i] for s in data]) for i, a in enumerate(actions))
            if several
            else (actions[0].collate(data),)
        )
    return tuple(data) if several else (data,)


def _leaves(inputs: tuple) -> tuple[tuple, list[Tensor]]:
    """Inputs whose floating tensors are fresh leaves, and those leaves."""
    leaves: list[Tensor] = []

    def leaf(t: Tensor) -> Tensor:
        if not t.is_floating_point():
            return t
        leaves.append(t.detach().clone().requires_grad_())
        return leaves[-1]

    return tuple(map_tensors(leaf, part) for part in inputs), leaves


def _train(model: Any, inputs: tuple, steps: int, generator: torch.Generator) -> None:
    module = module_of(model)
    parameters = [p for p in module.parameters() if p.requires_grad] if module is not None else []
    if not parameters:
        return
    module.train()
    optimiser = torch.optim.Adam(parameters, lr=1e-2)
    targets = {
        name: torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y)
        for name, y in named_tensors(model(*inputs)).items()
    }
    for _ in range(steps):
        optimiser.zero_grad()
        outputs = named_tensors(model(*inputs))
        loss = sum((y - targets[name]).square().mean() for name, y in outputs.items() if y.requires_grad)
        loss.backward()
        optimiser.step()


def _mode(model: Any, training: bool):
    return torch.enable_grad() if training else evaluating(model)


def _show(rep: Any) -> str:
    return ", ".join(map(repr, rep)) if isinstance(rep, (tuple, list)) else repr(rep)


def _terms(rep_out: Action, residual: Tensor | None) -> str:
    """Which terms of a representation carry the error."""
    if not isinstance(rep_out, Rep) or residual is None or len(rep_out.terms) < 2:
        return ""
    blocks = rep_out.split(residual)
    parts = [f"{W} {b.max().item():.1e}" for (W, _), b in zip(rep_out.terms, blocks) if b.numel()]
    return "\n  error per term of rep_out: " + ", ".join(parts)
