"""Whether a group that permutes the points of a span keeps its edges, and which weights it makes equal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..groups import Group
from ..reps import Rep
from .orbits import by_first_appearance
from .span_edges import Edges


def images(group: Group, action, size: int) -> np.ndarray:
    """Where each generator sends each of `size` points, int64 [generators, size], from a permutation Rep or as given.

    Raises ValueError where it is no permutation of these points.
    """
    generators = group.generators()
    (count,) = group.batch_shape(generators)
    if isinstance(action, Rep):
        if action.group != group:
            raise ValueError(f"actions: the representation {action!r} belongs to {action.group}, the group is {group}")
        moved = action.permutation(generators).numpy() if count else np.zeros((0, action.dim), np.int64)
    else:
        moved = np.asarray(action)
    if moved.shape != (count, size) or (np.sort(moved, -1) != np.arange(size)).any():
        raise ValueError(
            f"actions: {group} has {count} generators and the span {size} points there: give a permutation Rep of "
            f"dimension {size}, or permutations of shape [{count}, {size}]; got shape {list(moved.shape)}"
        )
    return moved


@dataclass(frozen=True, eq=False)
class Moves:
    """A group that moves the points at both ends of edges (no two alike): by its generators, [generators, points]."""

    edges: Edges
    sources: np.ndarray
    targets: np.ndarray

    def keep_edges(self) -> bool:
        """Whether every generator sends every edge to one with the same weight and measure."""
        e = self.edges
        for p, q in zip(self.sources, self.targets):
            order = np.lexsort((p[e.source], q[e.target], e.weight))
            moved = p[e.source][order], q[e.target][order], e.weight[order], e.measure[order]
            if not all(
                np.allclose(a, b, rtol=1e-12, atol=1e-12)
                for a, b in zip(moved, (e.source, e.target, e.weight, e.measure))
            ):
                return False
        return True

    def weight_classes(self, name: str) -> np.ndarray:
        """A number for each weight, equal where some element sends an edge of one to an edge of the other."""
        e = self.edges
        pair = e.target * e.num_in + e.source
        order = pair.argsort()
        if len(np.unique(pair)) < len(pair):
            raise ValueError(f"tied: {name} has several edges between the same points: which weight goes to which?")
        links = [e.weight]
        for p, q in zip(self.sources, self.targets):
            image = q[e.target] * e.num_in + p[e.source]
            found = order[np.searchsorted(pair[order], image).clip(max=len(pair) - 1)] if len(pair) else order
            if (pair[found] != image).any():
                raise ValueError(f"tied: the group moves an edge of {name} to a pair of points that it does not join")
            if not np.allclose(e.measure[found], e.measure):
                raise ValueError(f"tied: the group moves an edge of {name} to one of another measure")
            links.append(e.weight[found])
        ends = np.tile(e.weight, len(links)), np.concatenate(links)
        joined = coo_array((np.ones(len(ends[0])), ends), shape=(e.num_weights, e.num_weights))
        return by_first_appearance(connected_components(joined, directed=False)[1])


def pair_images(sources: np.ndarray, targets: np.ndarray) -> Sequence[np.ndarray]:
    """Where each generator sends the pair (i, j), numbered j X + i."""
    return [(q[:, None] * len(p) + p).reshape(-1) for p, q in zip(sources, targets)]
