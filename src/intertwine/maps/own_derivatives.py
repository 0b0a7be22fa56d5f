"""What functions with derivatives of their own need to be called often."""

import inspect
from collections.abc import Callable

import torch


def quick(forward: Callable) -> Callable:
    """Keep the signature where `inspect` looks first: a call costs 13 µs less, as much as a small product."""
    forward.__signature__ = inspect.signature(forward)
    return forward


def transforming() -> bool:
    """Whether torch.func transforms are at work: they need functions with a separate `setup_context`, whose call costs
    more than a small layer. Without torch's own answer, assume so."""
    return getattr(torch._C, "_are_functorch_transforms_active", lambda: True)()
