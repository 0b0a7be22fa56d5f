"""Evaluate any callable on labelled group elements, in chunks, whatever its inputs and outputs are made of."""

import copy
import hashlib
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..groups.group import Element
from ..reps import Action
from .tree import cast, evaluating, map_tensors, module_of, named_tensors, to_tensors


class Samples:
    """The inputs of an audit, one by one or as batches: a tensor, a sequence of samples, or a loader of batches.

    Labels are ignored: of a pair (input, label) only the input is kept. `index[i]` is the place of sample i in `data`.
    """

    def __init__(self, data: Any, rep_in: Action):
        self.rep_in = rep_in
        self._keeps_tuples = getattr(rep_in, "is_tuple", False)
        if isinstance(data, Tensor):
            self.data: Any = data
        elif isinstance(data, (Mapping, tuple)):
            self.data = rep_in.uncollate(data)
        elif isinstance(data, Sequence) or (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
            self.data = [self._input(data[i]) for i in range(len(data))]
        elif hasattr(data, "__iter__"):
            self.data = [sample for batch in data for sample in rep_in.uncollate(self._input(batch))]
        else:
            raise TypeError(
                f"audit: data must be a tensor, a sequence of samples or a loader, got {type(data).__name__}"
            )
        self.index = list(range(len(self.data)))
        if not self.index:
            raise ValueError("audit: the data holds no samples")

    def _input(self, item: Any) -> Any:
        return item[0] if isinstance(item, (tuple, list)) and len(item) == 2 and not self._keeps_tuples else item

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Any:
        return self.data[self.index[i]]

    def subset(self, n: int, generator: torch.Generator) -> "Samples":
        """n samples at random, in their order in the data; all of them when there are no more than n."""
        if n < 1:
            raise ValueError(f"audit: n_samples must be at least 1, got {n}")
        chosen = copy.copy(self)
        if n < len(self):
            picked = torch.randperm(len(self), generator=generator)[:n].sort().values.tolist()
            chosen.index = [self.index[i] for i in picked]
        return chosen

    def cast(self, dtype: torch.dtype) -> "Samples":
        """The same samples with floating tensors in another dtype."""
        other = copy.copy(self)
        other.data = cast(self.data, dtype)
        return other

    def take(self, which: Sequence[int]) -> Any:
        """The batch of these samples, repetitions allowed."""
        places = [self.index[i] for i in which]
        return (
            self.data[places] if isinstance(self.data, Tensor) else self.rep_in.collate([self.data[i] for i in places])
        )

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change when a sample changes."""
        digest = hashlib.sha256()
        for i in range(len(self)):
            for name, t in named_tensors(self[i]).items():
                digest.update(f"{name}{tuple(t.shape)}{t.dtype}".encode())
                digest.update(t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Outputs:
    """Outputs of several evaluations: a structure of tensors joined along axis 0, and the rows of each evaluation.

    `rows` maps the path of a tensor to the number of rows per evaluation; None means one row each.
    """

    tree: Any
    rows: dict[str, list[int] | None]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The joined tensors by path."""
        return named_tensors(self.tree)

    def __len__(self) -> int:
        name, rows = next(iter(self.rows.items()))
        return len(self.tensors[name]) if rows is None else len(rows)

    def owner(self, name: str) -> Tensor:
        """For each row of a tensor, the evaluation it belongs to."""
        rows = self.rows[name]
        if rows is None:
            return torch.arange(len(self.tensors[name]))
        return torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(rows))

    @property
    def compared(self) -> list[str]:
        """Paths of what an error is measured on: floating outputs; integers (labels) only where nothing floats.

        An output may carry bookkeeping, such as the graph of each atom, which counts places in a batch.
        """
        floating = [name for name, t in self.tensors.items() if t.is_floating_point()]
        return floating or list(self.rows)

    @property
    def uniform(self) -> bool:
        """Whether every tensor has one row per evaluation."""
        return all(rows is None for rows in self.rows.values())

    def split(self, name: str) -> list[Tensor]:
        """One tensor, taken apart into evaluations [rows, *rest]."""
        tensor, rows = self.tensors[name], self.rows[name]
        return list(tensor.split(1 if rows is None else rows))

    def one(self, i: int) -> Any:
        """Evaluation i alone, as the output for a batch of one."""
        return self.take([i]).tree

    def take(self, which: Sequence[int]) -> "Outputs":
        """Some evaluations, repetitions allowed."""
        places = torch.as_tensor(list(which), dtype=torch.int64)
        index, rows = {}, {}
        for name, sizes in self.rows.items():
            index[name], rows[name] = places, None
            if sizes is not None:
                size = torch.tensor(sizes)
                start = size.cumsum(0) - size
                index[name] = torch.cat([torch.arange(start[i], start[i] + size[i]) for i in places])
                rows[name] = size[places].tolist()
        names = iter(self.rows)

        def pick(t: Tensor) -> Tensor:
            return t[index[next(names)].to(t.device)]

        return Outputs(map_tensors(pick, self.tree), rows)

    @staticmethod
    def join(parts: Sequence["Outputs"]) -> "Outputs":
        """Concatenate."""
        tensors = {name: torch.cat([part.tensors[name] for part in parts]) for name in parts[0].rows}
        rows = {
            name: None
            if all(part.rows[name] is None for part in parts)
            else [size for part in parts for size in part.rows[name] or [1] * len(part.tensors[name])]
            for name in parts[0].rows
        }
        values = iter(tensors.values())
        return Outputs(map_tensors(lambda _: next(values), parts[0].tree), rows)

    def mean_square(self) -> dict[str, Float[Tensor, " evaluations"]]:
        """Mean square over the entries of each evaluation, float64 on the CPU; an empty output counts as zero."""
        out = {}
        for name in self.compared:
            tensor, rows = self.tensors[name], self.rows[name]
            flat = tensor.detach().double().flatten(1) if tensor.ndim > 1 else tensor.detach().double()[:, None]
            per_row = flat.square().mean(1).cpu() if flat.shape[1] else flat.new_zeros(len(flat)).cpu()
            if rows is not None:
                total = torch.zeros(len(rows), dtype=torch.float64).index_add_(0, self.owner(name), per_row)
                per_row = total / torch.tensor(rows).clamp_min(1)
            out[name] = per_row
        return out

    def minus(self, other: "Outputs") -> "Outputs":
        """Entry by entry difference of what is compared, in float64. Raises ValueError where shapes differ."""
        if self.rows.keys() != other.rows.keys():
            raise ValueError(f"audit: fn returns {list(self.rows)} for inputs and {list(other.rows)} for moved inputs")
        for name in self.compared:
            a, b = self.tensors[name].shape, other.tensors[name].shape
            if a != b:
                raise ValueError(
                    f"audit: the output{f' {name!r}' if name else ''} changes its shape when inputs move: "
                    f"ρ_out(g) f(x) is {tuple(a)}, f(ρ_in(g) x) is {tuple(b)}"
                )
        theirs, names, compared = iter(other.tensors.values()), iter(self.rows), set(self.compared)

        def subtract(t: Tensor) -> Tensor:
            u = next(theirs)
            return t.double() - u.to(t.device).double() if next(names) in compared else t

        return replace(self, tree=map_tensors(subtract, self.tree))


class Orbit:
    """f on orbits: `base()` is f(x_i); `pairs(i, g)` yields ρ_out(g) f(x_i) and f(ρ_in(g) x_i), chunk by chunk.

    fn gets batches as `rep_in.collate` makes them. A tensor that fn returns has one row per sample, or several rows per
    sample (atoms of a molecule) joined along axis 0 in the order of the samples.
    """

    def __init__(self, fn: Callable, rep_in: Action, rep_out: Action, samples: Samples, *, chunk: int = 256):
        if rep_in.group != rep_out.group:
            raise ValueError(f"audit: rep_in belongs to {rep_in.group}, rep_out to {rep_out.group}")
        if chunk < 1:
            raise ValueError(f"audit: chunk must be at least 1, got {chunk}")
        self.fn, self.rep_in, self.rep_out, self.samples, self.chunk = fn, rep_in, rep_out, samples, chunk
        self.group = rep_out.group
        self.calls = self.evaluations = 0
        self._base: Outputs | None = None

    def call(self, batch: Any, size: int) -> Any:
        """fn on one batch, its tensors detached; gradients stay on: forces are derivatives inside the forward."""
        self.calls += 1
        self.evaluations += size
        with torch.enable_grad():
            y = map_tensors(torch.Tensor.detach, to_tensors(self.fn(batch)))
        for name, t in named_tensors(y).items():
            if t.ndim == 0:
                raise ValueError(
                    f"audit: fn returns a single number{f' for {name!r}' if name else ''} for a batch of {size} "
                    "samples; it must return one entry (or row) per sample"
                )
        return y

    def base(self) -> Outputs:
        """f(x_i) for every sample, computed once."""
        if self._base is None:
            self._base = self.run(range(len(self.samples)))
        return self._base

    def run(self, which: Sequence[int], *, chunk: int | None = None) -> Outputs:
        """f(x_i) for these samples, computed now."""
        chunk = chunk or self.chunk
        parts = []
        for start in range(0, len(which), chunk):
            part = list(which[start : start + chunk])
            parts.append(self._outputs(self.call(self.samples.take(part), len(part)), part))
        return Outputs.join(parts)

    def _outputs(self, y: Any, which: Sequence[int]) -> Outputs:
        rows: dict[str, list[int] | None] = {}
        alone: list[dict[str, Tensor]] | None = None
        for name, t in named_tensors(y).items():
            if len(t) == len(which):
                rows[name] = None
                continue
            if self._base is not None and name not in self._base.rows:
                raise ValueError(
                    f"audit: fn returns {name!r} for some inputs only; before it was {list(self._base.rows)}"
                )
            if self._base is not None and self._base.rows[name] is not None:
                rows[name] = [self._base.rows[name][i] for i in which]
            else:
                alone = alone or [named_tensors(self.call(self.samples.take([i]), 1)) for i in which]
                rows[name] = [len(single[name]) for single in alone]
            if sum(rows[name]) != len(t):
                raise ValueError(
                    f"audit: fn returns {len(t)} rows{f' for {name!r}' if name else ''} for a batch of {len(which)} "
                    f"samples, but {sum(rows[name])} when they come one by one"
                )
        return Outputs(y, rows)

    def moved(self, which: Sequence[int], g: Element) -> Iterator[tuple[slice, Element, Outputs]]:
        """For each chunk of pairs (sample which[p], element p of g): their slice, elements, and f(ρ_in(g) x)."""
        self.base()  # learns the rows of each sample
        for start in range(0, len(which), self.chunk):
            part = list(which[start : start + self.chunk])
            piece = slice(start, start + len(part))
            g_part = self.group.take(g, piece)
            yield piece, g_part, self._outputs(self.call(self.rep_in(g_part, self.samples.take(part)), len(part)), part)

    def pairs(self, which: Sequence[int], g: Element) -> Iterator[tuple[slice, Outputs, Outputs]]:
        """For each chunk of pairs (sample which[p], element p of g): their slice, ρ_out(g) f(x), and f(ρ_in(g) x)."""
        for piece, g_part, outputs in self.moved(which, g):
            yield piece, self.act(g_part, self.base().take(which[piece])), outputs

    def act(self, g: Element, outputs: Outputs, action: Action | None = None) -> Outputs:
        """ρ_out, or another Action, with one element for each evaluation."""
        action = action or self.rep_out
        if outputs.uniform:
            return replace(outputs, tree=action(g, outputs.tree))
        single = [action(self.group.take(g, i), outputs.one(i)) for i in range(len(outputs))]
        names = list(outputs.rows)
        joined = iter([torch.cat([named_tensors(y)[name] for y in single]) for name in names])
        return replace(outputs, tree=map_tensors(lambda _: next(joined), outputs.tree))


def in_dtype(fn: Callable, dtype: torch.dtype) -> Callable:
    """fn computing in `dtype`: itself when it has no parameters or has them in dtype, else a converted deep copy."""
    module = module_of(fn)
    if module is None or {p.dtype for p in module.parameters() if p.is_floating_point()} <= {dtype}:
        return fn
    other = copy.deepcopy(module).to(dtype)
    return other if fn is module else types.MethodType(fn.__func__, other)


def pair_error(fn: Callable, rep_in: Action, rep_out: Action, sample: Any, g: Element) -> dict[str, float]:
    """RMS of ρ_out(g) f(x) − f(ρ_in(g) x) for one sample and one element, per output: what an audit lists as worst."""
    samples = Samples([sample], rep_in)
    group = rep_out.group
    with evaluating(fn):
        orbit = Orbit(fn, rep_in, rep_out, samples)
        (_, expected, moved), *_ = orbit.pairs([0], group.take(g, None))
    return {name: value.sqrt().item() for name, value in expected.minus(moved).mean_square().items()}
