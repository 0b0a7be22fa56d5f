"""Which points are neighbours: complete graphs, points within a radius, nearest points; edges run (source, target)."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor


def full_graph(
    nodes: int, batch: Int[Tensor, " nodes"] | None = None, *, loops: bool = False, device: torch.device | str = "cpu"
) -> Int[Tensor, "2 edges"]:
    """All ordered pairs of nodes of the same graph, sorted by target; with `loops` also each node with itself.

    batch: the graph of each node; None: one graph. Raises ValueError for a batch of another length.
    """
    if batch is None:
        every = torch.arange(nodes, device=device)
        source, target = every.repeat(nodes), every.repeat_interleave(nodes)
        if not loops:  # pair t, s of n nodes stands at t n + s: leave out every (n + 1)th
            kept = torch.arange(max(nodes * (nodes - 1), 0), device=device)
            kept = kept + kept // max(nodes, 1) + 1
            source, target = source[kept], target[kept]
        return torch.stack([source, target])
    if batch.shape != (nodes,):
        raise ValueError(f"full_graph: {nodes} nodes, but batch has shape {tuple(batch.shape)}")
    target, source = (batch[:, None] == batch).nonzero(as_tuple=True)
    edges = torch.stack([source, target])
    return edges if loops else edges[:, source != target]


def radius_graph(
    pos: Float[Tensor, "nodes d"], radius: float, batch: Int[Tensor, " nodes"] | None = None, *, loops: bool = False
) -> Int[Tensor, "2 edges"]:
    """Ordered pairs of nodes of the same graph at a distance of at most `radius`, sorted by target, then source.

    Found on the CPU by a k-d tree. Raises ValueError for a radius that is not positive.
    """
    if not radius > 0:
        raise ValueError(f"radius_graph: radius must be positive, got {radius}")
    points = _apart(pos, batch, radius)
    if len(points) == 0:
        return torch.empty(2, 0, dtype=torch.int64, device=pos.device)
    near = cKDTree(points).query_ball_point(points, radius, return_sorted=True)
    return _edges(near, loops, pos)


def knn_graph(
    pos: Float[Tensor, "nodes d"], k: int, batch: Int[Tensor, " nodes"] | None = None, *, loops: bool = False
) -> Int[Tensor, "2 edges"]:
    """To each node its `k` nearest of the same graph, and all that are as near as the last of them.

    Points at equal distance (to a millionth) are all kept, so that a graph does not depend on the order of its nodes
    nor on how rounding breaks ties after a rotation. A graph of k nodes or fewer is complete. Found on the CPU.
    Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"knn_graph: k must be at least 1, got {k}")
    own = pos.detach().double().cpu().numpy()
    extent = (float(np.ptp(own, axis=0).max()) if len(own) else 0.0) or 1.0
    points = _apart(pos, batch, 2 * own.shape[1] * extent)
    if len(points) == 0:
        return torch.empty(2, 0, dtype=torch.int64, device=pos.device)
    tree = cKDTree(points)
    distance = np.atleast_2d(tree.query(points, k + 1)[0])
    inside = np.where(np.isfinite(distance) & (distance <= own.shape[1] * extent), distance, 0)
    near = tree.query_ball_point(points, inside.max(1) * (1 + 1e-6), return_sorted=True)
    return _edges(near, loops, pos)


def _apart(pos: Tensor, batch: Tensor | None, reach: float) -> np.ndarray:
    """Positions with one more axis along which graphs are further from each other than `reach`."""
    if batch is not None and batch.shape != pos.shape[:1]:
        raise ValueError(f"{len(pos)} nodes, but batch has shape {tuple(batch.shape)}: one graph number a node")
    graph = np.zeros(len(pos)) if batch is None else batch.detach().cpu().numpy()
    return np.concatenate([pos.detach().double().cpu().numpy(), 2 * reach * graph[:, None]], 1)


def _edges(near: np.ndarray, loops: bool, pos: Tensor) -> Tensor:
    target = np.repeat(np.arange(len(near)), [len(found) for found in near])
    source = np.concatenate([np.asarray(found, dtype=np.int64) for found in near])
    kept = slice(None) if loops else source != target
    return torch.from_numpy(np.stack([source[kept], target[kept]])).to(pos.device)


def nearest_edges(
    distance: Float[Tensor, " edges"], target: Int[Tensor, " edges"], nodes: int, k: int, *, tie: float = 1e-4
) -> Bool[Tensor, " edges"]:
    """Which edges come from the `k` nearest sources of their target, or from one no more than `tie` farther.

    A node may be among the nearest of another but not the other way round. Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"nearest_edges: k must be at least 1, got {k}")
    distance = distance.detach()
    by_distance = torch.argsort(distance, stable=True)
    order = by_distance[torch.argsort(target[by_distance], stable=True)]
    degree = target.new_zeros(nodes).index_add(0, target, torch.ones_like(target))
    # Where a target has k edges or fewer, the last of them is kept too.
    last = torch.cumsum(degree, 0) - degree + degree.clamp(max=k) - 1
    reach = distance[order[last.clamp(min=0)]] if len(order) else distance.new_zeros(nodes)
    return distance <= reach[target] + tie
