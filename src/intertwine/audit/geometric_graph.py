"""A graph with positions, checked once, and the ways to move it."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


class GeometricGraph(NamedTuple):
    """Nodes in space: positions, edges (sender, receiver), and what the nodes carry.

    Vectors turn with the positions, scalars do not. Where edges go both ways list both.
    """

    pos: Float[Tensor, "n d"]
    edge_index: Int[Tensor, "2 edges"]
    scalars: Float[Tensor, "n a"] | None = None
    vectors: Float[Tensor, "n b d"] | None = None

    @property
    def n(self) -> int:
        """Number of nodes."""
        return len(self.pos)

    def moved(
        self,
        g: Float[Tensor, "d d"],
        t: Float[Tensor, " d"] | None = None,
        order: Int[Tensor, " n"] | None = None,
    ) -> "GeometricGraph":
        """Turned by g, shifted by t, renumbered: node k of the result is node order[k] of this graph."""
        pos = self.pos @ g.to(self.pos).T
        pos = pos if t is None else pos + t.to(pos)
        vectors = None if self.vectors is None else self.vectors @ g.to(self.pos).T
        if order is None:
            return GeometricGraph(pos, self.edge_index, self.scalars, vectors)
        scalars = None if self.scalars is None else self.scalars[order]
        vectors = None if vectors is None else vectors[order]
        return GeometricGraph(pos[order], order.argsort()[self.edge_index], scalars, vectors)


class Points(NamedTuple):
    """The same in float64 NumPy, with displacements x_ij = x_j - x_i along the edges j to i."""

    pos: np.ndarray
    sender: np.ndarray
    receiver: np.ndarray
    steps: np.ndarray
    scalars: np.ndarray
    vectors: np.ndarray


def points(graph: GeometricGraph, who: str) -> Points:
    """A checked graph. Raises ValueError, naming `who`, for shapes that do not fit and numbers not finite."""
    graph = GeometricGraph(*graph)
    pos = _array(graph.pos)
    if pos.ndim != 2 or not pos.shape[1]:
        raise ValueError(f"{who}: positions must have shape [n, d], got {tuple(pos.shape)}")
    n, d = pos.shape
    scalars = np.zeros((n, 0)) if graph.scalars is None else _array(graph.scalars)
    vectors = np.zeros((n, 0, d)) if graph.vectors is None else _array(graph.vectors)
    if scalars.ndim != 2 or len(scalars) != n:
        raise ValueError(f"{who}: {n} nodes need scalars of shape [{n}, a], got {tuple(scalars.shape)}")
    if vectors.ndim != 3 or len(vectors) != n or vectors.shape[2] != d:
        raise ValueError(f"{who}: {n} nodes in R^{d} need vectors of shape [{n}, b, {d}], got {tuple(vectors.shape)}")
    if not all(np.isfinite(a).all() for a in (pos, scalars, vectors)):
        raise ValueError(f"{who}: positions, scalars and vectors must be finite")
    edges = torch.as_tensor(graph.edge_index).cpu().numpy().astype(np.int64)
    if edges.ndim != 2 or len(edges) != 2:
        raise ValueError(f"{who}: edge_index must have shape [2, edges], got {tuple(edges.shape)}")
    if edges.size and not 0 <= edges.min() <= edges.max() < n:
        raise ValueError(f"{who}: edge_index names nodes {edges.min()}..{edges.max()}, but there are {n}")
    sender, receiver = edges
    return Points(pos, sender, receiver, pos[sender] - pos[receiver], scalars, vectors)


def _array(x: Tensor) -> np.ndarray:
    return torch.as_tensor(x).detach().cpu().numpy().astype(np.float64)
