"""Copies of a batch as one larger batch, and the weighted sum of the outputs: the two ends of a symmetrized call."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..reps import Action, Invariant, Nested
from ..reps.containers import map_tensors, named_tensors


def batch_size(action: Action, x: Any) -> int:
    """Number of samples in a batch. Raises ValueError where parts of it disagree."""
    if isinstance(x, Tensor):
        if x.ndim == 0:
            raise ValueError(f"{action!r}: the data is a single number; axis 0 must count samples")
        return len(x)
    if isinstance(action, Nested):
        parts = dict(enumerate(x)) if action.is_tuple else dict(x)
        if parts.keys() != action.parts.keys():
            raise ValueError(f"Nested: the data has keys {list(parts)}, the Action names {list(action.parts)}")
        sizes = {key: batch_size(part, parts[key]) for key, part in action.parts.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"Nested: the parts hold different numbers of samples: {sizes}")
        return next(iter(sizes.values()))
    if isinstance(x, (list, tuple)):
        return len(x)
    graphs = getattr(x, "num_graphs", None)
    return graphs if isinstance(graphs, int) else len(action.uncollate(x))


def repeat(action: Action, x: Any, copies: int) -> Any:
    """The batch `copies` times after itself: sample b of copy k is in place k·B + b."""
    if copies == 1:
        return x
    if isinstance(x, Tensor):
        return x.repeat(copies, *[1] * (x.ndim - 1))
    if isinstance(action, Nested):
        values = enumerate(x) if action.is_tuple else x.items()
        out = {key: repeat(action.parts[key], value, copies) for key, value in values}
        if not action.is_tuple:
            return out
        return type(x)(*out.values()) if hasattr(x, "_fields") else tuple(out.values())
    if isinstance(action, Invariant) and isinstance(x, (list, tuple)):
        return type(x)(x * copies)
    return action.collate(action.uncollate(x) * copies)


def is_separable(action: Action, x: Any) -> bool:
    """Whether all parts of a batch are tensors with one row per sample, so that samples can be picked."""
    if isinstance(action, Nested):
        values = enumerate(x) if action.is_tuple else x.items()
        return owner_of(x) is None and all(is_separable(action.parts[key], value) for key, value in values)
    return isinstance(x, Tensor)


def pick(x: Any, samples: Int[Tensor, " rows"]) -> Any:
    """A separable batch with these samples, in this order."""
    return map_tensors(lambda t: t.index_select(0, samples.to(t.device)), x)


def repeat_arguments(
    args: tuple, kwargs: Mapping[str, Any], copies: int, invariant: Collection[int | str]
) -> tuple[list, dict]:
    """Further arguments of the model: tensors are repeated, but those named in `invariant` come once, as given."""

    def one(name: int | str, value: Any) -> Any:
        if name in invariant:
            return value
        return map_tensors(lambda t: t.repeat(copies, *[1] * (t.ndim - 1)) if t.ndim else t, value)

    return [one(i, a) for i, a in enumerate(args)], {name: one(name, a) for name, a in kwargs.items()}


def unfold(y: Any, copies: int, calls: str) -> Any:
    """Outputs for repeated batches with the copies on an axis of their own: tensors [copies, rows, ...].

    Raises ValueError for an output that does not have the same number of rows for each copy.
    """
    if not named_tensors(y):
        raise ValueError(f"{calls}: the model returns a {type(y).__name__} that holds no tensor")

    def split(t: Tensor) -> Tensor:
        if t.ndim == 0 or len(t) % copies:
            raise ValueError(
                f"{calls}: the model returns shape {tuple(t.shape)} for {copies} copies of the batch; axis 0 must "
                "count samples (or atoms, in the order of the samples)"
            )
        return t.unflatten(0, (copies, len(t) // copies))

    return map_tensors(split, y)


def weighted_sum(y: Any, weight: Float[Tensor, "copies batch"], owner: Tensor | None) -> Any:
    """Σ_k w_kb y_kb of tensors [copies, rows, ...]; `owner` is the sample of each row where rows are not samples.

    What does not float (labels, the graph of each atom) is taken from the first copy.
    """

    def total(t: Tensor) -> Tensor:
        if not (t.is_floating_point() or t.is_complex()):
            return t[0]
        w = weight.to(t.device, t.dtype)
        if t.shape[1] != w.shape[1]:
            if owner is None or len(owner) != t.shape[1]:
                raise ValueError(
                    f"the model returns {t.shape[1]} rows for {w.shape[1]} samples, and the data does not say which "
                    "row belongs to which sample (an attribute or key `batch`)"
                )
            w = w[:, owner.to(t.device)]
        return (w.reshape(*w.shape, *[1] * (t.ndim - 2)) * t).sum(0)

    return map_tensors(total, y)


def scattered_sum(
    parts: list[Any], weight: Float[Tensor, " rows"], sample: Int[Tensor, " rows"], first: Bool[Tensor, " rows"], B: int
) -> Any:
    """Σ w y over the rows of each of B samples, of outputs that come in parts; `first` marks one row per sample.

    What does not float is taken from the first rows.
    """
    columns = iter(list(zip(*(named_tensors(part).values() for part in parts))))

    def total(_: Tensor) -> Tensor:
        t = torch.cat(next(columns))
        if len(t) != len(weight):
            raise ValueError(f"the model returns {len(t)} rows for {len(weight)} samples; axis 0 must count samples")
        if not (t.is_floating_point() or t.is_complex()):
            return t[first.to(t.device)]
        w = weight.to(t.device, t.dtype).reshape(-1, *[1] * (t.ndim - 1))
        return t.new_zeros(B, *t.shape[1:]).index_add(0, sample.to(t.device), w * t)

    return map_tensors(total, parts[0])


def add(a: Any, b: Any) -> Any:
    """Sum of two structures of tensors; what does not float is kept from the first."""
    values = iter(named_tensors(b).values())

    def plus(t: Tensor) -> Tensor:
        u = next(values)
        return t + u if t.is_floating_point() or t.is_complex() else t

    return map_tensors(plus, a)


def device_of(x: Any) -> torch.device:
    """Where the data lives."""
    return next((t.device for t in named_tensors(x).values()), torch.device("cpu"))


def owner_of(x: Any) -> Tensor | None:
    """The sample of each atom, where a graph object or a dict says it under `batch`."""
    owner = x.get("batch") if isinstance(x, Mapping) else getattr(x, "batch", None)
    return owner if isinstance(owner, Tensor) and not torch.is_floating_point(owner) else None
