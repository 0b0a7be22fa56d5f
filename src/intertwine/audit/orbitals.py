"""Pairs of points up to a group: which inputs of a layer reach an output point by the same weight."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..groups import Group, S
from ..maps.orbits import orbits, product_images
from ..reps import Product, Rep
from ..reps.factor import Defining

MAX_PAIRS = 2**27  # pairs of points that are labelled in one piece


@dataclass(frozen=True)
class Points:
    """The points of one term of a permutation representation; for S(n) on V^k these are the k-tuples of 0..n-1."""

    group: Group
    term: Product

    @property
    def order(self) -> int | None:
        """k where the term is V^k of S(n): there equality of indices says everything, and no group is searched."""
        tuples = type(self.group) is S and all(type(factor) is Defining for factor in self.term.factors)
        return len(self.term.factors) if tuples else None

    @property
    def count(self) -> int:
        """Number of points."""
        return self.term.dim

    def images(self) -> list[np.ndarray]:
        """Where each generator sends each point."""
        generators = self.group.generators()
        return [
            product_images(self.group, self.term.factors, generators, k)[0]
            for k in range(self.group.batch_shape(generators)[0])
        ]

    def indices(self) -> np.ndarray:
        """The tuples, int64 [points, k]."""
        return np.indices(self.term.shape).reshape(len(self.term.shape), self.count).T

    def orbits(self) -> np.ndarray:
        """A number for the orbit of each point, int64 [points]."""
        if self.order is None:
            return orbits(self.images(), self.count)
        return _equalities(self.indices())


def points(rep: Rep) -> list[Points]:
    """The points of every term. Raises ValueError for an infinite group, or one that does not permute entries."""
    if not rep.group.is_finite:
        raise ValueError(f"separation: {rep.group} is infinite; this audit is for finite groups")
    if not rep.is_permutation:
        raise ValueError(
            f"separation: hidden features must permute their entries, and {rep!r} does not; "
            "only there does a point-wise activation commute with every element (nn.admissible)"
        )
    return [Points(rep.group, W) for W, _ in rep.terms]


class Orbitals:
    """The orbits of pairs (output point, input point) between two terms: one for each equivariant map between them.

    Numbers are arbitrary, but the same in every row; `numbered` gives those of `maps.between(..., method="solver")`.
    """

    def __init__(self, source: Points, target: Points):
        self.source, self.target = source, target
        self.by_equality = source.order is not None and target.order is not None
        if self.by_equality:
            k, l = source.order, target.order
            self.bound = (l + 1) ** k << (k * (k - 1) // 2)
            self._places = _equalities(source.indices())  # which of the input's own indices agree
        else:
            self._labels = self._search()
            self.bound = int(self._labels.max(initial=-1)) + 1

    def rows(self, start: int, stop: int) -> np.ndarray:
        """The orbit of (j, i) for output points start..stop-1 and every input point i, int64 [rows, points]."""
        if not self.by_equality:
            return self._labels[start:stop]
        ins, outs = self.source.indices(), self.target.indices()[start:stop]
        code = np.broadcast_to(self._places, (len(outs), len(ins)))
        for column in ins.T:  # the first output index that each input index agrees with, or none
            place = np.full((len(outs), len(ins)), outs.shape[1])
            for p in reversed(range(outs.shape[1])):
                place[outs[:, p, None] == column] = p
            code = code * (outs.shape[1] + 1) + place
        return code

    def numbered(self) -> np.ndarray:
        """Orbits numbered by first appearance, row by row, int64 [output points, input points]."""
        return self._search() if self.by_equality else self._labels

    def _search(self) -> np.ndarray:
        pairs = self.source.count * self.target.count
        if pairs > MAX_PAIRS:
            raise ValueError(
                f"separation: {self.target.term} and {self.source.term} of {self.source.group} have {pairs} pairs of "
                f"points, more than {MAX_PAIRS}; lower the orders"
            )
        moves = [
            (there[:, None] * self.source.count + here).reshape(-1)
            for there, here in zip(self.target.images(), self.source.images())
        ]
        return orbits(moves, pairs).reshape(self.target.count, self.source.count)


def _equalities(indices: np.ndarray) -> np.ndarray:
    """Which indices of each tuple agree, as bits, int64 [tuples]."""
    code = np.zeros(len(indices), dtype=np.int64)
    for p, q in combinations(range(indices.shape[1]), 2):
        code = 2 * code + (indices[:, p] == indices[:, q])
    return code
