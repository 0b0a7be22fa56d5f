"""What a frame is computed from: the points and vectors of each sample, read from any data by its Action."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..groups import Group, O
from ..groups.matrix import E
from ..reps import Action, Invariant, Nested, Points, Rep, Rows, Tensors, Vectors


@dataclass
class Cloud:
    """Points of each sample, float64, already centred where the group has translations, and vectors beside them.

    A point of weight 0 is not there. `shift` is the centre that was taken off, None where the group has no
    translations. `kinds` numbers the sources of the vectors, from 1; a vector is compared in units of its kind's size.
    `eps` is the relative rounding of the data as it came.
    """

    points: Float[Tensor, "batch n d"]
    weight: Float[Tensor, "batch n"]
    vectors: Float[Tensor, "batch m d"]
    kinds: Int[Tensor, " m"]
    shift: Float[Tensor, "batch d"] | None
    eps: float


Weights = Callable[[Any], Float[Tensor, "batch n"]]


class CloudReader:
    """Reads a `Cloud` from data that `rep_in` moves: `Points` (and `Vectors`, `Rows`, V in a Rep), alone or `Nested`.

    Graph objects are read by their `pos` and `batch`. weights: a function of the data to one weight per point, 0 for
    padding. Raises ValueError for an Action without points or vectors.
    """

    def __init__(self, group: Group, rep_in: Action, weights: Weights | None = None):
        self.group, self.rep_in, self.weights = group, rep_in, weights
        self.reads = not isinstance(rep_in, (Nested, Rep, Points, Vectors, Rows, Tensors, Invariant))
        if not self.reads and not _speaks(rep_in):
            raise ValueError(
                f"a frame of {group} is computed from points or vectors, and {rep_in!r} has none; give an Action with "
                "Points, Vectors or V in it, or another source of elements"
            )
        self.all_count = weights is None and not self.reads  # every point with the same weight
        self.has_tensors = _moves_more(rep_in)  # data that a frame of points and vectors does not see

    def __call__(self, x: Any) -> Cloud:
        points, weight, vectors = self._read(x)
        eps = torch.finfo(points.dtype).eps
        points, weight = points.double(), weight.to(points.device, torch.float64)
        shift = None
        if isinstance(self.group, E):
            if self.all_count:
                shift = points.sum(1) / max(points.shape[1], 1)
            else:
                total = _total(weight[..., None], self.weights is not None).clamp_min(1e-300)
                shift = _total(weight[..., None] * points, self.weights is not None) / total
            points = points - shift[:, None]
        kinds = torch.zeros(0, dtype=torch.int64, device=points.device)
        together = points.new_zeros(len(points), 0, self.group.n)
        if vectors:
            kinds = torch.cat([torch.full((v.shape[1],), k, device=points.device) for k, v in enumerate(vectors, 1)])
            together = torch.cat([v.double() for v in vectors], 1)
        return Cloud(points, weight, together, kinds, shift, eps)

    def _read(self, x: Any) -> tuple[Tensor, Tensor, list[Tensor]]:
        if self.reads:
            points, weight = _from_graph(x, self.group.n, self.rep_in)
            vectors: list[Tensor] = []
        else:
            found, vectors = _collect(self.rep_in, x, self.group.n)
            if not found and not isinstance(self.group, E):  # directions alone make the frame
                found, vectors = vectors, []
            if len(found) == 1:
                (points,) = found
            else:
                points = torch.cat(found, 1) if found else vectors[0].new_zeros(len(vectors[0]), 0, self.group.n)
            weight = torch.ones(points.shape[:2], dtype=torch.float64, device=points.device)
        if self.weights is not None:
            given = self.weights(x)
            if given.shape != weight.shape:
                raise ValueError(f"weights(x) has shape {tuple(given.shape)}, the points need {tuple(weight.shape)}")
            weight = given
        return points, weight, vectors

    def covariance(self, cloud: Cloud) -> Float[Tensor, "batch d d"]:
        """Σ_p m_p x_p x_pᵀ of centred points."""
        if self.all_count:
            return cloud.points.mT @ cloud.points
        weighted = cloud.weight[..., None] * cloud.points
        if self.weights is None:
            return weighted.mT @ cloud.points
        return _total(weighted[..., :, None] * cloud.points[..., None, :], True)


def _total(x: Tensor, ordered: bool) -> Tensor:
    """Sum over axis 1; ordered: one after the other, so that zeros appended as padding change no bit of it."""
    if not x.shape[1]:
        return x.sum(1)
    return x.cumsum(1)[:, -1] if ordered else x.sum(1)


def tensor_rank(action: Action) -> int | None:
    """The highest number of vector axes in what the Action moves: 0 invariant, 1 vectors; None where not known."""
    if isinstance(action, Nested):
        ranks = [tensor_rank(part) for part in action.parts.values()]
        return None if None in ranks else max(ranks)
    if isinstance(action, Invariant):
        return 0
    if isinstance(action, (Points, Vectors, Rows)):
        return 1
    if isinstance(action, Tensors):
        return action.rank
    if isinstance(action, Rep):
        return max((sum(getattr(f, "l", _degree(f)) for f in W.factors) for W, _ in action.terms), default=0)
    return None


def _degree(factor: Any) -> int:
    return 0 if getattr(factor, "is_trivial", False) else 1


def _is_vector(action: Rep, W: Any) -> bool:
    """Whether a term transforms as V: V itself, or degree 1 (odd under O(3))."""
    if len(W.factors) != 1:
        return False
    factor = W.factors[0]
    degree, parity = getattr(factor, "l", None), getattr(factor, "p", None)
    odd = type(action.group) is not O or parity == -1
    return factor in {f for V, _ in action.group.V.terms for f in V.factors} or (degree == 1 and odd)


def _speaks(action: Action) -> bool:
    if isinstance(action, Nested):
        return any(_speaks(part) for part in action.parts.values())
    if isinstance(action, Rep):
        return isinstance(action.group, O) and any(_is_vector(action, W) for W, _ in action.terms)
    return isinstance(action, (Points, Vectors, Rows))


def _moves_more(action: Action) -> bool:
    """Whether the data has parts that move and that `_collect` does not read."""
    if isinstance(action, Nested):
        return any(_moves_more(part) for part in action.parts.values())
    if isinstance(action, Rep):
        return any(not _is_vector(action, W) for W, _ in action.terms if W.factors)
    return not isinstance(action, (Points, Vectors, Rows, Invariant))


def _collect(action: Action, x: Any, d: int) -> tuple[list[Tensor], list[Tensor]]:
    """Points and vectors, each [batch, count, d]."""
    if isinstance(action, Nested):
        values = dict(enumerate(x)) if action.is_tuple else x
        found = [_collect(part, values[key], d) for key, part in action.parts.items()]
        return [p for points, _ in found for p in points], [v for _, vectors in found for v in vectors]
    if isinstance(action, Rep):
        blocks = zip(action.terms, action.split(x))
        return [], [b.mT.flatten(1, -2) if b.ndim > 2 else b for (W, _), b in blocks if _is_vector(action, W)]
    if not isinstance(action, (Points, Vectors, Rows)):
        return [], []
    if x.ndim < 2 or x.shape[-1] != d or not x.is_floating_point():
        raise ValueError(f"{action!r}: needs real data [batch, ..., {d}], got {x.dtype} {tuple(x.shape)}")
    flat = x[:, None] if x.ndim == 2 else x.flatten(1, -2)
    return ([flat], []) if isinstance(action, Points) else ([], [flat])


def _from_graph(x: Any, d: int, action: Action) -> tuple[Tensor, Tensor]:
    """Positions of the atoms of a batch of graphs, padded, [graphs, most atoms, d], and 1 for atoms that are there."""
    pos = x.get("pos") if isinstance(x, Mapping) else getattr(x, "pos", None)
    batch = x.get("batch") if isinstance(x, Mapping) else getattr(x, "batch", None)
    if pos is None or pos.ndim != 2 or pos.shape[-1] != d:
        raise ValueError(
            f"{action!r}: a frame needs points, and the data ({type(x).__name__}) has no `pos` [atoms, {d}]; use "
            "Points inside Nested, or another source of elements"
        )
    if batch is None:
        batch = torch.zeros(len(pos), dtype=torch.int64, device=pos.device)
    graphs = getattr(x, "num_graphs", None) or (int(batch.max()) + 1 if len(batch) else 0)
    counts = torch.bincount(batch, minlength=graphs)
    place = torch.arange(len(pos), device=pos.device) - (counts.cumsum(0) - counts)[batch]
    n = int(counts.max()) if len(counts) else 0
    points = pos.new_zeros(graphs, n, d).index_put((batch, place), pos)
    return points, pos.new_zeros(graphs, n).index_put((batch, place), pos.new_ones(len(pos)))
