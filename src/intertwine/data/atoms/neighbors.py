"""Neighbour lists of open, mixed and periodic boxes: every local model of atoms starts from these edges.

The edge (source j, target i, shift S) is r_ij = pos[j] + S @ cell - pos[i], from the receiving atom to its neighbour.
"""

import importlib.util
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...extras import require

MAX_EDGES = 50_000_000
_TIE = 1e-4  # Å: neighbours this close to the k-th count as equally near


def neighbor_list(
    pos: Float[Tensor, "n 3"],
    cell: Float[Tensor, "3 3"],
    pbc: Bool[Tensor, "3"],
    cutoff: float,
    *,
    max_neighbors: int | None = None,
    max_edges: int = MAX_EDGES,
    engine: str = "auto",
) -> tuple[Int[Tensor, "2 edges"], Float[Tensor, "edges 3"]]:
    """All pairs closer than `cutoff` (Å, strictly), both directions, sorted by (target, source, shift).

    pos: Å, need not be wrapped; cell: rows are lattice vectors, zero rows allowed along open directions.
    Returns `edge_index` = (source, target) and the integer image shifts as floats of pos's dtype. An atom and its own
    image are a pair, an atom and itself are not. `max_neighbors=k` keeps, for every atom, its k nearest and all within
    1e-4 Å of the k-th; an edge stays when either end keeps it, so the list stays symmetric.
    engine: "vesin", "ase" (slow), or "auto": vesin where it is installed.
    Raises ValueError for cutoff <= 0, non-finite input, a periodic direction without a cell vector, and for more than
    `max_edges` expected edges (before anything is built).
    """
    points, box, periodic = _as_numpy(pos, cell, pbc)
    _check(points, box, periodic, cutoff, max_neighbors, max_edges)
    if not periodic.any():
        box = np.zeros((3, 3))
    if engine not in ("auto", "vesin", "ase"):
        raise ValueError(f"neighbor_list: engine must be auto, vesin or ase, got {engine!r}")
    search = _vesin if engine == "vesin" or (engine == "auto" and _has_vesin()) else _ase
    if len(points) == 0:
        target, source, shift = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3), np.int64)
    else:
        target, source, shift = search(points, box, periodic, float(cutoff))
    if max_neighbors is not None:
        distance = np.linalg.norm(points[source] + shift @ box - points[target], axis=1)
        kept = _nearest(target, source, distance, len(points), max_neighbors)
        target, source, shift = target[kept], source[kept], shift[kept]
    order = _order(target, source, shift, len(points))
    edge_index = torch.from_numpy(np.stack([source[order], target[order]])).to(pos.device)
    return edge_index, torch.from_numpy(shift[order]).to(device=pos.device, dtype=pos.dtype)


def batch_neighbor_list(
    pos: Float[Tensor, "n 3"],
    cell: Float[Tensor, "graphs 3 3"],
    pbc: Bool[Tensor, "graphs 3"],
    batch: Int[Tensor, " n"],
    cutoff: float,
    *,
    max_neighbors: int | None = None,
) -> tuple[Int[Tensor, "2 edges"], Float[Tensor, "edges 3"]]:
    """`neighbor_list` of every graph of a batch, in the batch's atom numbering; `batch` must be sorted.

    Raises ValueError as `neighbor_list` does, and when `batch` is not sorted.
    """
    if batch.numel() > 1 and bool((batch[1:] < batch[:-1]).any()):
        raise ValueError("batch_neighbor_list: batch must be sorted (atoms of one graph stand together)")
    counts = torch.bincount(batch, minlength=len(cell)).tolist()
    edges, shifts, start = [], [], 0
    for g, count in enumerate(counts):
        index, shift = neighbor_list(pos[start : start + count], cell[g], pbc[g], cutoff, max_neighbors=max_neighbors)
        edges.append(index + start)
        shifts.append(shift)
        start += count
    return torch.cat(edges, 1), torch.cat(shifts)


class VerletList:
    """A neighbour list that is rebuilt only when an atom has moved more than skin / 2 since the last build.

    cutoff, skin: Å, skin >= 0. `update` gives exactly what a fresh list gives, edge for edge: pairs between cutoff and
    cutoff + skin are remembered but not returned. Of a batch only the graphs where an atom has moved so far, or whose
    box has changed, are done again. `rebuilds` counts the updates that built anything.
    """

    def __init__(self, cutoff: float, skin: float = 0.5):
        if not cutoff > 0:
            raise ValueError(f"VerletList: cutoff must be positive (Å), got {cutoff}")
        if not skin >= 0:
            raise ValueError(f"VerletList: skin must not be negative (Å), got {skin}")
        self.cutoff, self.skin, self.rebuilds = float(cutoff), float(skin), 0
        self._built: tuple[Tensor, Tensor, Tensor, Tensor] | None = None
        self._edges: tuple[Tensor, Tensor] | None = None
        self._image: Tensor | None = None  # shift @ cell of each edge, Å

    def update(
        self,
        pos: Float[Tensor, "n 3"],
        cell: Float[Tensor, "graphs 3 3"],
        pbc: Bool[Tensor, "graphs 3"],
        batch: Int[Tensor, " n"] | None = None,
    ) -> tuple[Int[Tensor, "2 edges"], Float[Tensor, "edges 3"]]:
        """Edges of these positions; `batch=None` means one graph, whose cell may be [3, 3] and pbc [3]."""
        pos = pos.detach()
        cell, pbc = cell.detach().reshape(-1, 3, 3), pbc.reshape(-1, 3)
        batch = torch.zeros(len(pos), dtype=torch.int64, device=pos.device) if batch is None else batch
        stale = self._stale(pos, cell, pbc, batch)
        if bool(stale.any()):
            self._build(stale, pos, cell, pbc, batch)
            index, shift = self._edges
            # Boxes do not change between builds, so neither does where the images are.
            self._image = torch.einsum("ea,eab->eb", shift.double(), cell.double()[batch[index[1]]])
            self.rebuilds += 1
        edge_index, shift = self._edges
        source, target = edge_index
        points = pos.double()  # as in neighbor_list: float32 rounding must not decide which pairs are in
        vector = points.index_select(0, source) - points.index_select(0, target) + self._image
        near = (vector.square().sum(1) < self.cutoff**2).nonzero().squeeze(1)
        return edge_index.index_select(1, near), shift.index_select(0, near).to(pos.dtype)

    def _stale(self, pos: Tensor, cell: Tensor, pbc: Tensor, batch: Tensor) -> Bool[Tensor, " graphs"]:
        """Graphs that must be done again; all of them when the batch is another one."""
        every = torch.ones(len(cell), dtype=torch.bool, device=cell.device)
        if self._built is None:
            return every
        now = (pos, cell, pbc, batch)
        if any((a.shape, a.dtype, a.device) != (b.shape, b.dtype, b.device) for a, b in zip(now, self._built)):
            return every
        old_pos, old_cell, old_pbc, old_batch = self._built
        # Written so that NaN counts as moved and reaches the check of the rebuild.
        moved = ~((pos - old_pos).square().sum(1) <= (self.skin / 2) ** 2)
        other = (cell != old_cell).flatten(1).any(1) | (pbc != old_pbc).any(1)
        restless = torch.zeros(len(cell), dtype=torch.int64, device=batch.device).index_add(0, batch, moved.long()) > 0
        return other | restless | (batch != old_batch).any()

    def _build(self, stale: Tensor, pos: Tensor, cell: Tensor, pbc: Tensor, batch: Tensor) -> None:
        reach = self.cutoff + self.skin
        if bool(stale.all()):
            self._edges = batch_neighbor_list(pos, cell, pbc, batch, reach)
            self._built = (pos.clone(), cell.clone(), pbc.clone(), batch.clone())
            return
        atoms = stale[batch].nonzero().flatten()
        number = torch.cumsum(stale, 0) - 1
        index, shift = batch_neighbor_list(pos[atoms], cell[stale], pbc[stale], number[batch[atoms]], reach)
        kept = ~stale[batch[self._edges[0][1]]]
        index, shift = torch.cat([self._edges[0][:, kept], atoms[index]], 1), torch.cat([self._edges[1][kept], shift])
        order = torch.argsort(batch[index[1]], stable=True)  # graph by graph; within one the order is right already
        self._edges = index[:, order], shift[order]
        old_pos, old_cell, old_pbc, old_batch = self._built
        old_pos, old_cell, old_pbc = old_pos.clone(), old_cell.clone(), old_pbc.clone()
        old_pos[atoms], old_cell[stale], old_pbc[stale] = pos[atoms], cell[stale], pbc[stale]
        self._built = (old_pos, old_cell, old_pbc, old_batch)


def _as_numpy(pos: Tensor, cell: Tensor, pbc: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    points = np.ascontiguousarray(torch.as_tensor(pos).detach().cpu().numpy(), dtype=np.float64)
    box = np.ascontiguousarray(torch.as_tensor(cell).detach().cpu().numpy(), dtype=np.float64)
    periodic = np.ascontiguousarray(torch.as_tensor(pbc).detach().cpu().numpy(), dtype=bool)
    for name, array, shape in (("pos", points, (len(points), 3)), ("cell", box, (3, 3)), ("pbc", periodic, (3,))):
        if array.shape != shape:
            raise ValueError(f"neighbor_list: {name} must have shape {shape}, got {array.shape}")
    return points, box, periodic


def _check(points, box, periodic, cutoff, max_neighbors, max_edges) -> None:
    if not (cutoff > 0 and np.isfinite(cutoff)):
        raise ValueError(f"neighbor_list: cutoff must be positive and finite (Å), got {cutoff}")
    if max_neighbors is not None and max_neighbors < 1:
        raise ValueError(f"neighbor_list: max_neighbors must be at least 1, got {max_neighbors}")
    if not np.isfinite(points).all():
        atom = int(np.flatnonzero(~np.isfinite(points).all(1))[0])
        raise ValueError(f"neighbor_list: atom {atom} stands at {points[atom].tolist()}; positions must be finite")
    if not np.isfinite(box).all():
        raise ValueError(f"neighbor_list: the cell {box.tolist()} is not finite")
    for axis in np.flatnonzero(periodic):
        if not box[axis].any():
            raise ValueError(f"neighbor_list: pbc is True along axis {axis}, but its cell vector is zero")
    all_pairs = len(points) * (len(points) - 1)
    if (periodic.any() or all_pairs > max_edges) and expected_edges(points, box, periodic, cutoff) > max_edges:
        count = expected_edges(points, box, periodic, cutoff)
        raise ValueError(
            f"neighbor_list: {len(points)} atoms with cutoff {cutoff} Å would make about {count:.1e} edges "
            f"(limit {max_edges:.1e}); use a smaller cutoff, or raise max_edges"
        )


def expected_edges(points: np.ndarray, box: np.ndarray, periodic: np.ndarray, cutoff: float) -> float:
    """Estimate of the number of directed edges from the mean density; no more than all pairs in an open box."""
    count = len(points)
    if not count:
        return 0.0
    rows = box[periodic]
    open_directions = np.linalg.svd(rows)[2][len(rows) :]  # orthonormal, across the periodic ones
    length = np.prod([max(float(np.ptp(points @ d)), 1.0) for d in open_directions])
    volume = max(float(np.sqrt(np.abs(np.linalg.det(rows @ rows.T))) * length), 1e-12)
    estimate = count * (count / volume) * 4 / 3 * np.pi * cutoff**3
    return estimate if periodic.any() else min(estimate, count * (count - 1))


@lru_cache(maxsize=1)
def _has_vesin() -> bool:
    return importlib.util.find_spec("vesin") is not None


def _vesin(points, box, periodic, cutoff):
    vesin = require("vesin", "atoms")
    finder = vesin.NeighborList(cutoff=cutoff, full_list=True)
    target, source, shift = finder.compute(points, box, periodic, quantities="ijS")
    return target.astype(np.int64), source.astype(np.int64), shift.astype(np.int64)


def _ase(points, box, periodic, cutoff):
    neighborlist = require("ase.neighborlist", "atoms")
    # ASE divides by the volume: complete an open direction's missing vector with one that crosses nothing.
    full = require("ase.cell", "atoms").Cell(box).complete().array
    target, source, shift = neighborlist.primitive_neighbor_list("ijS", periodic, full, points, cutoff)
    return target.astype(np.int64), source.astype(np.int64), shift.astype(np.int64)


def _nearest(target, source, distance, count: int, k: int) -> np.ndarray:
    """Mask of the edges that one of their two ends counts among its k nearest."""
    distance = distance.round(9)  # both directions of a pair must compare alike
    reach = np.full(count, np.inf)
    order = np.lexsort((distance, target))
    degree = np.bincount(target, minlength=count)
    start = np.cumsum(degree) - degree
    crowded = np.flatnonzero(degree > k)
    reach[crowded] = distance[order][start[crowded] + k - 1] + _TIE
    return (distance <= reach[target]) | (distance <= reach[source])


def _order(target, source, shift, count: int) -> np.ndarray:
    """The total order (target, source, shift): the same list on every machine, whatever the engine."""
    if not len(target):
        return np.zeros(0, np.int64)
    low = shift.min(0)
    width = [int(w) for w in shift.max(0) - low + 1]
    if count * count * width[0] * width[1] * width[2] >= 2**62:
        return np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], source, target))
    key = target * count + source
    for axis in range(3):
        key = key * width[axis] + (shift[:, axis] - low[axis])
    return np.argsort(key)
