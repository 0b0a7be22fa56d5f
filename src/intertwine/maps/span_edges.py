"""The edges of a span as arrays: checked where they come in, merged where they agree, joined where two spans meet."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

MAX_EDGES = 100_000_000


@dataclass(frozen=True, eq=False)
class Edges:
    """The edges of a span, after its checks: three int64 [E] and a float64 [E] or None."""

    num_in: int
    num_out: int
    num_weights: int
    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    measure: np.ndarray | None

    @property
    def measures(self) -> np.ndarray:
        """The measure written out, float64 [E]."""
        return np.ones(len(self.source)) if self.measure is None else self.measure

    def merged(self) -> "Edges":
        """Sorted by weight, target, source; those that agree in all three are one, with the sum of measures."""
        key = (self.weight * self.num_out + self.target) * self.num_in + self.source
        _, first, which = np.unique(key, return_index=True, return_inverse=True)
        measure = np.bincount(which, self.measures, len(first))
        parts = self.source[first], self.target[first], self.weight[first], measure
        return Edges(self.num_in, self.num_out, self.num_weights, *parts)

    def after(self, first: "Edges") -> "Edges":
        """The pairs of an edge of `first` and one of these that meet; weights are pairs, the outermost of `first`."""
        by_target = first.target.argsort(kind="stable")
        begin, end = (np.searchsorted(first.target[by_target], self.source, side=side) for side in ("left", "right"))
        number = end - begin
        bounded("compose", int(number.sum()))
        b = np.repeat(np.arange(len(self.source)), number)
        a = by_target[np.arange(len(b)) - np.repeat(number.cumsum() - number, number) + begin[b]]
        weight = first.weight[a] * self.num_weights + self.weight[b]
        parts = first.source[a], self.target[b], weight, first.measures[a] * self.measures[b]
        return Edges(first.num_in, self.num_out, first.num_weights * self.num_weights, *parts)


def of_graph(edge_index, num_nodes: int, edge_type, self_loops: bool, normalize: bool) -> Edges:
    """The edges of a graph, as `Span.graph` says."""
    ends = as_array(edge_index)
    if ends.ndim != 2 or len(ends) != 2:
        raise ValueError(f"graph: edge_index must have shape [2, edges], got {ends.shape}")
    types = np.zeros(ends.shape[1], np.int64) if edge_type is None else as_array(edge_type)
    count = 1 if edge_type is None else int(types.max(initial=0)) + 1
    source, target = (as_index(name, row, num_nodes) for name, row in zip(("source", "target"), ends))
    if self_loops:
        nodes = np.arange(num_nodes)
        kept = source != target if edge_type is None else np.ones(len(source), bool)
        types = np.concatenate([types[kept], np.full(num_nodes, 0 if edge_type is None else count)])
        source, target = np.concatenate([source[kept], nodes]), np.concatenate([target[kept], nodes])
        count += edge_type is not None
    measure = None
    if normalize:
        degree = np.bincount(target, minlength=num_nodes)
        measure = 1 / np.sqrt(np.maximum(degree[source], 1) * degree[target])
    return Edges(num_nodes, num_nodes, count, source, target, types, measure)


def as_array(values) -> np.ndarray:
    """Numbers of any kind as an array."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def as_index(name: str, values, size: int) -> np.ndarray:
    """A read-only int64 copy of one axis, inside 0 .. size - 1."""
    index = as_array(values)
    if index.size == 0:
        index = index.astype(np.int64)
    if not np.issubdtype(index.dtype, np.integer):
        raise TypeError(f"Span: {name} must hold integers, got {index.dtype}")
    index = index.astype(np.int64)  # a copy
    if index.ndim != 1:
        raise ValueError(f"Span: {name} must have one axis, got shape {index.shape}")
    if index.size and (index.min() < 0 or index.max() >= size):
        raise ValueError(f"Span: {name} has index {index.min()} to {index.max()}, but the {name}s are 0 to {size - 1}")
    index.flags.writeable = False
    return index


def bounded(name: str, edges: int) -> None:
    """Raise ValueError where there would be too many edges."""
    if edges > MAX_EDGES:
        raise ValueError(
            f"{name}: the span would have {edges} edges, {24 * edges / 2**30:.0f} GiB of indices, above the bound of "
            f"{MAX_EDGES}; use fewer points, or fewer channel groups"
        )
