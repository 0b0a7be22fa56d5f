"""Colours: what every network of an architecture can know about a point of its hidden features, layer by layer."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .. import maps
from ..reps import Rep
from .orbitals import Orbitals, Points, points

CHUNK = 2**22  # keys sorted at a time

Chosen = Sequence[int] | None  # indices of the basis maps that a layer may use; None for all


def first_layer(x: Tensor, rep_in: Rep, hidden: Rep, tol: float, chosen: Chosen = None) -> tuple[np.ndarray, float]:
    """Points of the first hidden layer by the values of all equivariant functionals at them: int64 [samples, points].

    Values closer than tol, relative to the largest, are equal, and so are those that a chain of such steps joins. Also
    gives the smallest step that counted as a difference, relative to the largest value; infinite where there is none.
    """
    places, allowed = points(hidden), _Allowed(chosen)
    found = [_functionals(x, rep_in, place, allowed) for place in places]
    allowed.check(rep_in, hidden)
    scale = max(float(np.abs(values).max(initial=0.0)) for values in found) or 1.0
    names: dict[bytes, int] = {}
    columns, gap = [], np.inf
    for number, (place, values) in enumerate(zip(places, found)):
        keys, smallest = _clusters(values.reshape(len(x) * place.count, values.shape[-1]), tol * scale)
        own = np.tile(place.orbits(), len(x))  # the bias tells orbits apart
        keys = np.column_stack([np.full_like(own, number), own, keys])
        columns.append(_named(keys, names).reshape(len(x), place.count))
        gap = min(gap, smallest / scale)
    return np.concatenate(columns, 1), gap


def next_layer(colours: np.ndarray, source: Rep, target: Rep, chosen: Chosen = None) -> np.ndarray:
    """Points of the next layer by the multiset of colours that each orbit of pairs brings: int64 [samples, points]."""
    sources, allowed = points(source), _Allowed(chosen)
    parts = np.split(colours, np.cumsum([place.count for place in sources])[:-1], axis=1)
    names: dict[bytes, int] = {}
    columns = []
    for number, place in enumerate(points(target)):
        joints = [allowed.of(Orbitals(here, place)) for here in sources]
        columns.append(_gathered(parts, joints, place, number, names))
    allowed.check(source, target)
    return np.concatenate(columns, 1)


def classes(colours: np.ndarray) -> np.ndarray:
    """A number for the multiset of colours of each sample, int64 [samples]: what an invariant read-out can know."""
    return _named(np.sort(colours, axis=1), {})


class _Allowed:
    """The chosen basis maps of a layer, counted over all pairs of terms."""

    def __init__(self, chosen: Chosen):
        self.chosen = None if chosen is None else np.array(sorted(set(chosen)), dtype=np.int64)
        self.met = 0

    def of(self, joint: Orbitals) -> "Orbitals | _Restricted":
        """The orbits of pairs between two terms, less those whose maps are not chosen."""
        if self.chosen is None:
            return joint
        labels = joint.numbered()
        kept = np.where(np.isin(labels + self.met, self.chosen), labels, -1)
        self.met += int(labels.max(initial=-1)) + 1
        return _Restricted(kept)

    def check(self, source: Rep, target: Rep) -> None:
        """Raise ValueError for a choice that is not there."""
        if self.chosen is not None and len(self.chosen) and not 0 <= self.chosen[0] <= self.chosen[-1] < self.met:
            raise ValueError(
                f"separation: between {source} and {target} of {source.group} there are the basis maps "
                f"0..{self.met - 1}, got {self.chosen.tolist()}"
            )


class _Restricted:
    """Labels with -1 where no map reaches."""

    def __init__(self, labels: np.ndarray):
        self.labels, self.bound = labels, int(labels.max(initial=-1)) + 1

    def rows(self, start: int, stop: int) -> np.ndarray:
        return self.labels[start:stop]


def _functionals(x: Tensor, rep_in: Rep, place: Points, allowed: _Allowed) -> np.ndarray:
    """All equivariant functionals of x at the points of a term, float64 [samples, points, functionals]."""
    target = Rep(place.group, [(place.term, 1)])
    if allowed.chosen is not None:
        method = "solver" if rep_in.is_permutation else "auto"
        found = [np.zeros((len(x), place.count, 0))]
        for (W, c), block in zip(rep_in.terms, rep_in.split(x)):
            basis = maps.between(Rep(rep_in.group, [(W, 1)]), target, method=method, allow_zero=True).basis()
            kept = [k for k in range(len(basis)) if k + allowed.met in allowed.chosen]
            allowed.met += len(basis)
            flat = block.reshape(len(x), W.dim, c)
            found.append(torch.einsum("nji,bic->bjnc", basis[kept], flat).flatten(2).numpy())
        return np.concatenate(found, 2)
    blocks = maps.between(rep_in, target, allow_zero=True).blocks
    count = sum(block.N * block.c_in for block in blocks)
    if not count:
        return np.zeros((len(x), place.count, 0))
    space, start, weights = maps.between(rep_in, count * target), 0, []
    for block in space.blocks:  # one output channel for each basis map and input channel
        size = block.N * block.c_in
        weights.append(torch.eye(count, dtype=x.dtype)[start : start + size].flatten())
        start += size
    return space.apply(x, torch.cat(weights)).unflatten(-1, (place.count, count)).numpy()


def _clusters(values: np.ndarray, tol: float) -> tuple[np.ndarray, float]:
    """Each column's numbers as ranks of clusters, and the smallest step between clusters, infinite for none."""
    order = values.argsort(0, kind="stable")
    steps = np.diff(np.take_along_axis(values, order, 0), axis=0)
    ranks = np.concatenate([np.zeros((min(1, len(values)), values.shape[1]), dtype=np.int64), (steps > tol).cumsum(0)])
    keys = np.empty_like(ranks)
    np.put_along_axis(keys, order, ranks, 0)
    return keys, float(steps[steps > tol].min(initial=np.inf))


def _gathered(parts, joints, place: Points, number: int, names: dict[bytes, int]) -> np.ndarray:
    """New colours of the points of one term."""
    samples, colours = len(parts[0]), 1 + max(int(part.max(initial=-1)) for part in parts)
    width = sum(part.shape[1] for part in parts)
    wide = max(joint.bound for joint in joints) * colours >= 2**31
    dtype = np.int64 if wide else np.int32
    own, out = place.orbits(), np.empty((samples, place.count), dtype=np.int64)
    rows = max(1, min(place.count, CHUNK // width))
    many = max(1, CHUNK // (width * rows))
    for top in range(0, place.count, rows):
        bottom = min(top + rows, place.count)
        labels = [joint.rows(top, bottom) for joint in joints]
        for first in range(0, samples, many):
            last = min(first + many, samples)
            keys = np.empty((last - first, bottom - top, width + 2), dtype=dtype)
            keys[..., 0], keys[..., 1], start = number, own[top:bottom], 2
            for label, part in zip(labels, parts):
                stop = start + part.shape[1]
                joined = np.where(label < 0, -1, label * colours + part[first:last, None])
                keys[..., start:stop] = np.sort(joined.astype(dtype, copy=False), axis=-1)
                start = stop
            out[first:last, top:bottom] = _named(keys.reshape(-1, width + 2), names).reshape(last - first, -1)
    return out


def _named(rows: np.ndarray, names: dict[bytes, int]) -> np.ndarray:
    """A number for each row, equal where rows are; `names` remembers them."""
    data, size = np.ascontiguousarray(rows).tobytes(), rows.shape[1] * rows.itemsize
    found = [names.setdefault(data[k * size : (k + 1) * size], len(names)) for k in range(len(rows))]
    return np.array(found, dtype=np.int64)
