"""Audited inputs and outputs are tensors, dicts, tuples or graphs: what audits do with all of them."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from ..reps.containers import map_tensors as map_tensors
from ..reps.containers import named_tensors as named_tensors


def to_tensors(x: Any) -> Any:
    """The same structure with NumPy arrays and numbers turned into tensors."""
    if isinstance(x, (np.ndarray, np.generic)):
        return torch.as_tensor(np.asarray(x))
    if isinstance(x, Mapping):
        return {key: to_tensors(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)) and not hasattr(x, "_fields"):
        return type(x)(to_tensors(value) for value in x)
    return x


def cast(x: Any, dtype: torch.dtype) -> Any:
    """Floating tensors in another dtype, everything else as it is; NumPy arrays too."""
    if isinstance(x, np.ndarray) and np.issubdtype(x.dtype, np.floating):
        return x.astype(torch.empty(0, dtype=dtype).numpy().dtype)
    return map_tensors(lambda t: t.to(dtype) if t.is_floating_point() else t, x)


def module_of(fn: Callable) -> torch.nn.Module | None:
    """The torch module behind a callable: itself, or the owner of a bound method."""
    owner = fn if isinstance(fn, torch.nn.Module) else getattr(fn, "__self__", None)
    return owner if isinstance(owner, torch.nn.Module) else None


@contextlib.contextmanager
def evaluating(fn: Callable) -> Iterator[None]:
    """Run a module in eval() mode and give every submodule its own mode back."""
    module = module_of(fn)
    modes = {} if module is None else {child: child.training for child in module.modules()}
    if module is not None:
        with torch.no_grad():  # escnn builds its filters here; with a graph behind them nobody could copy the model
            module.eval()
    try:
        yield
    finally:
        for child, mode in modes.items():
            child.training = mode
