"""Whether two graphs in space are the same one, moved: an exact search."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .geometric_frames import GROUPS, frames
from .geometric_graph import GeometricGraph, Points, points

TOL = 1e-6


class Congruence(NamedTuple):
    """Node k of the first graph is node order[k] of the second, and g turns the first, t shifts it, onto the second."""

    order: Int[Tensor, " n"]
    g: Float[Tensor, "d d"]
    t: Float[Tensor, " d"]


def congruent(a: GeometricGraph, b: GeometricGraph, *, group: str = "O", tol: float = TOL) -> Congruence | None:
    """A motion and a renumbering that make one graph the other, with all it carries; None if there is none.

    group: "O" (with reflections) or "SO". tol: distance below which two positions are equal, in their unit. The search
    tries one frame of a against all of b: fast unless many nodes share a place. Raises ValueError for graphs of
    different dimension, AmbiguousTolerance where tol lies among the distances.
    """
    if group not in GROUPS:
        raise ValueError(f"congruent: group must be one of {GROUPS}, got {group!r}")
    x, y = points(a, "congruent"), points(b, "congruent")
    if x.pos.shape[1] != y.pos.shape[1]:
        raise ValueError(f"congruent: the graphs are in R^{x.pos.shape[1]} and R^{y.pos.shape[1]}")
    same = [p.shape == q.shape for p, q in ((x.pos, y.pos), (x.scalars, y.scalars), (x.vectors, y.vectors))]
    if not all(same) or len(x.sender) != len(y.sender):
        return None
    middle = [p.pos.mean(0) if len(p.pos) else np.zeros(p.pos.shape[1]) for p in (x, y)]
    (start, *_), there = (frames(_everything(p, m), group, tol) for p, m in zip((x, y), middle))
    for frame in there:
        if (np.abs(frame).sum(1) > 0).sum() != (np.abs(start).sum(1) > 0).sum():
            return None
        g = _turn(start, frame, group)
        order = _matching(x, y, g, middle, tol)
        if order is not None:
            return Congruence(torch.from_numpy(order), torch.from_numpy(g), torch.from_numpy(middle[1] - g @ middle[0]))
    return None


def _everything(p: Points, middle: np.ndarray) -> np.ndarray:
    return np.concatenate([p.pos - middle, p.vectors.reshape(-1, p.pos.shape[1])])


def _turn(start: np.ndarray, frame: np.ndarray, group: str) -> np.ndarray:
    """The orthogonal matrix that takes one frame to the other, with determinant 1 for SO where a free axis is left."""
    g = _completed(frame).T @ _completed(start)
    if group == "SO" and np.linalg.det(g) < 0 and not frame[-1].any():
        last = _completed(frame)[-1]
        g = g - 2 * np.outer(last, last) @ g
    return g


def _completed(frame: np.ndarray) -> np.ndarray:
    rank = int((np.abs(frame).sum(1) > 0).sum())
    beyond = np.linalg.svd(frame[:rank])[2][rank:] if rank else np.eye(len(frame))
    return np.concatenate([frame[:rank], beyond])


def _matching(x: Points, y: Points, g: np.ndarray, middle: list[np.ndarray], tol: float) -> np.ndarray | None:
    """A renumbering under which the turned graph is the other, by backtracking over the nodes that fit one by one."""
    apart = np.abs((x.pos - middle[0]) @ g.T - (y.pos - middle[1])[:, None]).max(-1).T
    fits = apart <= tol
    for own, other in (
        (x.scalars, y.scalars),
        ((x.vectors @ g.T).reshape(len(x.pos), -1), y.vectors.reshape(len(y.pos), -1)),
    ):
        if own.shape[1]:
            fits &= np.abs(own[:, None] - other[None]).max(-1) <= tol
    first, second = _adjacency(x), _adjacency(y)

    def extended(order: list[int]) -> Iterator[list[int]]:
        k = len(order)
        if k == len(x.pos):
            yield order
            return
        for v in np.flatnonzero(fits[k]):
            grown = [*order, int(v)]
            if (
                v not in order
                and np.array_equal(first[k, : k + 1], second[v, grown])
                and np.array_equal(first[: k + 1, k], second[grown, v])
            ):
                yield from extended(grown)

    found = next(extended([]), None)
    return None if found is None else np.array(found, dtype=np.int64)


def _adjacency(p: Points) -> np.ndarray:
    table = np.zeros((len(p.pos), len(p.pos)), dtype=np.int64)
    np.add.at(table, (p.receiver, p.sender), 1)
    return table
