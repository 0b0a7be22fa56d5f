"""Labels given in any layout, laid out like the outputs they are compared with."""

from typing import Any

import torch
from torch import Tensor

from .orbit import Outputs
from .tree import map_tensors, named_tensors, to_tensors


def lay_out(targets: Any, base: Outputs) -> Outputs:
    """Targets as `base`, the outputs of all samples, is laid out.

    targets: a tensor or dict with one row per sample, or with the rows of `base` joined; or a list with a number, a
    tensor or a dict for each sample. Raises ValueError when their number is not that of the samples.
    """
    n = len(base)
    if isinstance(targets, (list, tuple)):
        if len(targets) != n:
            raise ValueError(f"nero: {len(targets)} targets for {n} samples")
        return _join([to_tensors(t) for t in targets], base)
    tree = to_tensors(targets)
    rows: dict[str, list[int] | None] = {}
    for name, t in named_tensors(tree).items():
        sizes = base.rows.get(name)
        if t.ndim and len(t) == n:
            rows[name] = None
        elif t.ndim and sizes is not None and sum(sizes) == len(t):
            rows[name] = sizes
        else:
            count = len(t) if t.ndim else 1
            raise ValueError(f"nero: {count} targets{f' for {name!r}' if name else ''} for {n} samples")
    if not rows:
        raise ValueError(f"nero: targets of type {type(targets).__name__} hold no tensor")
    return Outputs(tree, rows)


def _join(alone: list[Any], base: Outputs) -> Outputs:
    """Targets that come one by one: each as the output for that sample alone, or without its batch axis."""
    alone = [t if named_tensors(t) else torch.tensor(t) for t in alone]
    rows: dict[str, list[int] | None] = {}
    joined: dict[str, Tensor] = {}
    for name, first in named_tensors(alone[0]).items():
        parts = [named_tensors(t)[name] for t in alone]
        like = base.tensors.get(name)
        if first.ndim == 0 or (like is not None and first.ndim == like.ndim - 1):
            parts = [t[None] for t in parts]
        sizes = [len(t) for t in parts]
        rows[name] = None if set(sizes) == {1} else sizes
        joined[name] = torch.cat(parts)
    values = iter(joined.values())
    return Outputs(map_tensors(lambda _: next(values), alone[0]), rows)
