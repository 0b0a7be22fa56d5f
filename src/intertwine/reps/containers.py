"""Data that an Action moves is a tensor, a dict, a tuple or a graph: two functions that walk them all."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def map_tensors(fn: Callable[[Tensor], Tensor], x: Any) -> Any:
    """The same structure with `fn` applied to every tensor; graph objects are copied through their own `apply`."""
    if isinstance(x, Tensor):
        return fn(x)
    if isinstance(x, Mapping):
        return type(x)({key: map_tensors(fn, value) for key, value in x.items()})
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*(map_tensors(fn, value) for value in x))
    if isinstance(x, (list, tuple)):
        return type(x)(map_tensors(fn, value) for value in x)
    if hasattr(x, "apply") and hasattr(x, "to_dict"):
        return copy.copy(x).apply(fn)
    return x


def named_tensors(x: Any, name: str = "") -> dict[str, Tensor]:
    """Every tensor by its path, such as "forces" or "0.pos"; a bare tensor or array has the empty path."""
    if isinstance(x, Tensor):
        return {name: x}
    if isinstance(x, (np.ndarray, np.generic)):
        return {name: torch.as_tensor(np.asarray(x))}
    if not isinstance(x, Mapping) and hasattr(x, "to_dict"):
        x = x.to_dict()
    items = x.items() if isinstance(x, Mapping) else enumerate(x) if isinstance(x, (list, tuple)) else ()
    return {
        path: tensor
        for key, value in items
        for path, tensor in named_tensors(value, f"{name}.{key}" if name else str(key)).items()
    }
