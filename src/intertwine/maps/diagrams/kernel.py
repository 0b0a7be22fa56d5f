"""Diagrams as a rule of `maps.between`: the basis of one block, and its norms by counting."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import factorial, perm, prod

import numpy as np

from ...groups import Group, S
from ...reps import Product
from ..dense import DenseKernel
from ..kernel import Kernel, Plan
from . import bases
from .bases import Term
from .category import Diagram
from .functor import functor
from .fuse import AllAtOnce, Transposed, musical
from .partition import to_orbit
from .unitary import Turned

FEW_ENTRIES = 2**14  # a basis with at most so many numbers is applied faster as matrices (measured on CPUs)


@dataclass(frozen=True, eq=False)
class DiagramKernel(Kernel):
    """The maps from the term U to the term W, one for each diagram; `spans` counts the diagrams before reduction.

    flipped: the transposed matrices, from W to U. mix: the basis is mix @ diagrams, for the orbit basis. whole: the
    dimension of the space where these maps are a part of it only, else 0.
    """

    group: Group
    W: Term
    U: Term
    diagrams: tuple[Diagram, ...]
    spans: int
    flipped: bool = False
    mix: np.ndarray | None = None
    whole: int = 0

    @classmethod
    def scalars(cls, group: Group) -> "DiagramKernel":
        """The map from invariants to invariants."""
        one = Term((), False)
        return cls(group, one, one, (Diagram(0, 0, ()),), 1)

    @property
    def dim_in(self) -> int:
        """Entries of one channel of the input block."""
        return self.group.dim_V ** (self.W if self.flipped else self.U).order

    @property
    def dim_out(self) -> int:
        """Entries of one channel of the output block."""
        return self.group.dim_V ** (self.U if self.flipped else self.W).order

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(f"{'orbit ' if self.mix is not None else ''}{d}" for d in self.diagrams)

    @property
    def route(self) -> str:
        """How the maps were found, for `Map.explain`."""
        kinds = " and ".join(dict.fromkeys(d.kind for d in self.diagrams))
        left_out = f", {self.spans} reduced to a basis" if self.spans > self.N else ""
        left_out = f", {self.N} of the {self.whole} there are" if self.whole else left_out
        how = {"alone": ", each block on its own", "matrices": ", applied as dense matrices"}.get(self.way, "")
        return f"{kinds or 'no'} diagrams{left_out}{', summed to orbits' if self.mix is not None else ''}{how}"

    @property
    def way(self) -> str:
        """How the maps are applied: "together" with all other diagrams of a layer, "alone", or as "matrices"."""
        kinds = {d.kind for d in self.diagrams}
        if "unitary" in kinds:
            return "alone" if self.N * self.dim_in * self.dim_out > FEW_ENTRIES else "matrices"
        return "matrices" if "determinant" in kinds and any(len(d.head) > 1 for d in self.diagrams) else "together"

    def dense(self) -> np.ndarray:
        n = self.group.dim_V
        out = np.empty((self.N, n**self.W.order, n**self.U.order))
        for matrix, d in zip(out, self.diagrams):
            matrix[:] = functor(d, self.group)
        if (lowered := musical(self.group, self.W, lower=True)) is not None:
            index, sign = lowered
            out = sign[:, None] * out[:, index]
        if (raised := musical(self.group, self.U, lower=False)) is not None:
            index, sign = raised
            out[:, :, index] = out * sign
        if self.mix is not None:
            out = np.tensordot(self.mix.astype(np.float64), out, 1)
        return np.ascontiguousarray(out.transpose(0, 2, 1)) if self.flipped else out

    def plan(self, c_in: int, c_out: int) -> Plan:
        if self.way == "alone":
            return Turned.of(self, c_in, c_out)
        if self.way == "matrices":
            return DenseKernel(self.dense(), self.labels, self.route).plan(c_in, c_out)
        if self.flipped:
            return Transposed.of(self, c_in, c_out)
        return AllAtOnce.of(self, c_in, c_out)

    @property
    def transpose(self) -> "DiagramKernel":
        return replace(self, flipped=not self.flipped)

    def squares(self) -> np.ndarray:
        n = self.group.dim_V
        count = _square if self.mix is None else _orbit_size
        return np.array([count(d, n) for d in self.diagrams], dtype=np.float64)

    def row_sums(self) -> np.ndarray:
        """Entries are 0 and ±1, so these are the squared row norms."""
        n = self.group.dim_V
        count = _row if self.mix is None else _orbit_row
        return np.array([count(d.T if self.flipped else d, n) for d in self.diagrams], dtype=np.float64)

    def row_norms(self) -> np.ndarray:
        return np.sqrt(self.row_sums())


def _square(d: Diagram, n: int) -> int:
    """Nonzero entries of a diagram's matrix."""
    if d.kind == "determinant":
        return factorial(n) ** len(d.head) * n ** (len(d.blocks) - len(d.head))
    if not d.head or d.kind == "unitary":
        return n ** len(d.blocks)
    return factorial(n) * n ** (len(d.blocks) - sum(i >= 0 for i in d.head))


def _row(d: Diagram, n: int) -> int:
    """Nonzero entries of the fullest row."""
    if d.kind == "determinant":
        free = sum(block[0] >= d.l for i, block in enumerate(d.blocks) if i not in d.head)
        return n**free * prod(factorial(sum(p >= d.l for p in d.blocks[i])) for i in d.head)
    if not d.head or d.kind == "unitary":
        return n ** len(d.bottom_only)
    tied = {i for i in d.head if i >= 0}
    on_top = sum(d.blocks[i][0] < d.l for i in tied)
    loose = sum(block[0] >= d.l for i, block in enumerate(d.blocks) if i not in tied)
    return factorial(n - on_top) * n**loose


def _orbit_size(d: Diagram, n: int) -> int:
    """Index tuples that are equal exactly where the diagram says so."""
    return perm(n, len(d.blocks))


def _orbit_row(d: Diagram, n: int) -> int:
    """Ways to complete the output indices of such a tuple."""
    below = len(d.bottom_only)
    return perm(n - len(d.blocks) + below, below)


@lru_cache(maxsize=256)
def kernel(group: Group, U: Product, W: Product, basis: str = "independent") -> DiagramKernel | None:
    """Hom(U, W) for tensor powers of V, V* and det of a group with diagrams; None for anything else.

    basis: "independent"; "spanning" for all diagrams of the theorem, dependent or not; "orbit" for S(n), the indicators
    of the orbits of index tuples. Raises ValueError for absurd orders.
    """
    source, target = bases.term(group, U), bases.term(group, W)
    if source is None or target is None or not (U.factors or W.factors):
        return None
    group = bases.served_as(group)
    if basis == "orbit" and (type(group) is not S or source.odd or target.odd):
        return None
    found = bases.diagrams(group, target, source, basis == "spanning")
    spans = sum(bases.counts(group, target, source))
    mix = to_orbit(group.dim_V, target.order, source.order) if basis == "orbit" else None
    return DiagramKernel(group, target, source, found, spans, mix=mix)


def dimension(group: Group, U: Product, W: Product) -> int | None:
    """dim Hom(U, W) by formula, None where the diagrams do not apply."""
    source, target = bases.term(group, U), bases.term(group, W)
    return None if source is None or target is None else bases.dimension(group, target, source)
