"""Frames of the symmetric group: all orderings that agree with a sorting of the nodes by a key that moves along."""

import functools
import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..groups import Group, S
from ..reps import Action, Invariant, Nested, Permute, Rep
from .average import Elements, ElementSource, refuse_export

Key = Callable[[Any], Float[Tensor, "batch n columns"]]


class SortFrame(ElementSource):
    """All orderings of n things that sort their keys lexicographically; tied things come in every order.

    key="laplacian" reads the data by its Action: features of nodes (`Permute` with one axis, V in a Rep) are columns of
    the key, and a matrix A between nodes (two axes, V*V) adds for each eigenspace of its Laplacian the length of each
    node's part in it. Or a function of the data to keys [batch, n, columns] that moves along with the nodes. Values
    within tol·(largest) of a neighbour count as tied. P4: 4 orderings, C6: 720, a star of five nodes: 24.
    More than max_size orderings: on_large="sample" draws max_size of them, in expectation, flagged in
    `info["sampled"]` with one warning; "error" raises ValueError and makes the guarantee exact.
    Source: arXiv:2110.03336.
    """

    work = "O(n³): eigenvectors of the Laplacian; O(n log n) without one"

    def __init__(
        self,
        group: Group,
        *,
        key: Literal["laplacian"] | Key = "laplacian",
        tol: float = 1e-6,
        max_size: int = 24,
        on_large: Literal["sample", "error"] = "sample",
    ):
        super().__init__()
        if type(group) is not S:
            raise ValueError(f"SortFrame: {group} is not S(n); any ordering of the nodes must be an element")
        if key != "laplacian" and not callable(key):
            raise ValueError(f"SortFrame: key must be 'laplacian' or a function of the data, got {key!r}")
        if on_large not in ("sample", "error"):
            raise ValueError(f"SortFrame: on_large must be 'sample' or 'error', got {on_large!r}")
        if not isinstance(max_size, int) or max_size < 1:
            raise ValueError(f"SortFrame: max_size must be an integer of at least 1, got {max_size!r}")
        self.group, self.key, self.tol, self.max_size, self.on_large = group, key, tol, max_size, on_large
        self.guarantee = "in expectation" if on_large == "sample" else "exact"
        self._warned = False

    @property
    def calls(self) -> tuple[float, int]:
        """One ordering per sample unless nodes are tied, at most `max_size`."""
        return 1.0, self.max_size

    def bind(self, rep_in: Action, rep_out: Action) -> None:
        """Read nodes and matrices by rep_in. Raises ValueError where it has none."""
        super().bind(rep_in, rep_out)
        if self.key == "laplacian" and not _readable(rep_in):
            raise ValueError(f"SortFrame: {rep_in!r} has no nodes to sort; give an Action with Permute, or key=")

    def forward(self, x: Any, *, generator: torch.Generator | None = None) -> Elements:
        """All orderings of each sample, with equal weights."""
        refuse_export("SortFrame", "export the model inside, and sort before it")
        if self.key == "laplacian":
            columns = torch.cat(_columns(self.rep_in, x, self.tol), -1)
        else:
            columns = self.key(x).detach()
        if columns.ndim != 3 or columns.shape[1] != self.group.n:
            raise ValueError(
                f"SortFrame: keys have shape {tuple(columns.shape)}, must be [batch, {self.group.n}, columns]"
            )
        classes = _classes(columns, self.tol)
        order = classes.argsort(dim=1, stable=True)
        ranks = classes.gather(1, order).cpu().numpy()
        rows, large = [], []
        for b, row in enumerate(ranks):
            sizes = tuple(np.unique(row, return_counts=True)[1].tolist())
            count = math.prod(math.factorial(m) for m in sizes)
            large.append(count > self.max_size)
            if large[-1] and self.on_large == "error":
                raise ValueError(
                    f"SortFrame: sample {b} has {count} orderings, more than max_size={self.max_size}; raise it, give "
                    "a key with fewer ties, or use on_large='sample'"
                )
            rows.append(_drawn(sizes, self.max_size, generator) if large[-1] else torch.from_numpy(_orders(sizes)))
        self._say(large)
        K = max((len(r) for r in rows), default=1)
        index = order.new_zeros(len(rows), K, self.group.n)
        mask = torch.zeros(len(rows), K, dtype=torch.bool, device=order.device)
        for b, r in enumerate(rows):
            index[b, : len(r)] = r.to(order.device)
            index[b, len(r) :] = index[b, 0]
            mask[b, : len(r)] = True
        g = order[:, None].expand(-1, K, -1).gather(-1, index)
        return Elements.uniform(g, mask, {"sampled": torch.tensor(large, dtype=torch.bool, device=order.device)})

    def _say(self, large: Sequence[bool]) -> None:
        if any(large) and not self._warned:
            self._warned = True
            warnings.warn(
                f"SortFrame: {sum(large)} of {len(large)} samples have more than {self.max_size} orderings, of which "
                f"{self.max_size} are drawn: invariance holds in expectation there. This is said once; "
                "`info['sampled']` tells each time",
                stacklevel=2,
            )

    def extra_repr(self) -> str:
        """The group, and what happens to large frames."""
        return f"{self.group}, max_size={self.max_size}, on_large={self.on_large!r}"


def _readable(action: Action) -> bool:
    if isinstance(action, Nested):
        return any(_readable(part) for part in action.parts.values())
    if isinstance(action, Rep):
        return any(
            len(W.factors) in (1, 2) and W.shape == (action.group.dim_V,) * len(W.factors) for W, _ in action.terms
        )
    return isinstance(action, Permute) and len(action.axes) in (1, 2)


def _columns(action: Action, x: Any, tol: float) -> list[Float[Tensor, "batch n columns"]]:
    """Columns of the key from each part of the data."""
    if isinstance(action, Nested):
        values = dict(enumerate(x)) if action.is_tuple else x
        return [c for key, part in action.parts.items() for c in _columns(part, values[key], tol)]
    if isinstance(action, Invariant):
        return []
    if isinstance(action, Rep):
        n, found = action.group.dim_V, []
        for (W, _), block in zip(action.terms, action.split(x)):
            if W.shape == (n,):
                found.append(block.detach())
            elif W.shape == (n, n):
                found += [_spectral(A, tol) for A in block.detach().unbind(-1)]
        return found
    if not isinstance(action, Permute):
        return []
    x = x.detach()
    if len(action.axes) == 1:
        return [x.movedim(action.axes[0], 1).flatten(2) if x.ndim > 2 else x[..., None]]
    channels = x.movedim(action.axes, (1, 2)).flatten(3) if x.ndim > 3 else x[..., None]
    return [_spectral(A, tol) for A in channels.unbind(-1)]


def _spectral(A: Float[Tensor, "batch n n"], tol: float) -> Float[Tensor, "batch n n"]:
    """For each eigenvalue of the Laplacian, the length of each node's part in its eigenspace."""
    A = (A.double() + A.double().mT) / 2
    L = torch.diag_embed(A.sum(-1)) - A
    values, V = torch.linalg.eigh(L)
    gap = values.diff(dim=-1) > tol * values.abs().amax(-1, keepdim=True)
    space = torch.nn.functional.pad(gap.cumsum(-1), (1, 0))
    together = (space[:, :, None] == space[:, None, :]).to(V)
    return (V.square() @ together).clamp_min(0).sqrt()


def _classes(columns: Float[Tensor, "batch n columns"], tol: float) -> Int[Tensor, "batch n"]:
    """The place of each row in the lexicographic order of its batch entry; equal for ties."""
    columns = columns.double()
    code = torch.zeros(columns.shape[:2], dtype=torch.int64, device=columns.device)
    for column in columns.unbind(-1):
        scale = column.abs().amax(1, keepdim=True) if column.shape[1] else column
        code = _dense(code * (column.shape[1] + 1) + _dense(column, tol * scale))
    return code


def _dense(values: Tensor, tol: Tensor | int = 0) -> Int[Tensor, "batch n"]:
    """Numbers 0, 1, .. in the order of the values; neighbours within tol share one."""
    ordered, order = values.sort(1)
    steps = torch.nn.functional.pad((ordered.diff(dim=1) > tol).cumsum(1), (1, 0))
    return torch.empty_like(order).scatter_(1, order, steps)


@functools.lru_cache(maxsize=256)
def _orders(sizes: tuple[int, ...]) -> np.ndarray:
    """All orders of places in which each run of the given sizes is permuted within itself, [Π m!, n]."""
    start, runs = 0, []
    for m in sizes:
        runs.append([tuple(start + i for i in p) for p in itertools.permutations(range(m))])
        start += m
    return np.array([sum(choice, ()) for choice in itertools.product(*runs)], dtype=np.int64)


def _drawn(sizes: tuple[int, ...], count: int, generator: torch.Generator | None) -> Int[Tensor, "count n"]:
    """Uniform draws from `_orders(sizes)`, without listing them."""
    device = "cpu" if generator is None else generator.device
    start, runs = 0, []
    for m in sizes:
        runs.append(start + torch.rand(count, m, generator=generator, device=device).argsort(1).cpu())
        start += m
    return torch.cat(runs, 1)
