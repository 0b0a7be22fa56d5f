"""A basis of the maps between tensor powers over Automorphism(graph): orbits of index tuples, or bilabelled graphs."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from torch import Tensor

from ...groups import Automorphism, Group
from ...reps import Product
from ...reps.factor import Defining
from .. import solver
from ..kernel import Kernel, Plan
from ..sharing import OrbitKernel
from .bilabelled import Bilabelled, counts, relations
from .independence import PRIME
from .partition import restricted_growth

MAX_GRAPHS = 2000
ROUTE = "bilabelled graphs"


@dataclass(frozen=True, eq=False)
class SpanningSet:
    """A basis of Hom(V^k, V^l): `graphs`, or none where the orbits of index tuples are the basis.

    label: int64 [n^l, n^k], the orbit of every entry. coordinates: int64 [N, orbits], the map of every graph as a sum
    of indicators of orbits. tried, rank: how many graphs were evaluated, and the dimension they reach.
    """

    basis: str
    graphs: tuple[Bilabelled, ...]
    label: np.ndarray
    coordinates: np.ndarray
    tried: int
    rank: int

    @property
    def orbits(self) -> int:
        """The dimension of the space."""
        return int(self.label.max()) + 1

    def matrices(self) -> np.ndarray:
        """The basis as int64 [orbits, n^l, n^k]."""
        if self.graphs:
            return self.coordinates[:, self.label]
        return (self.label == np.arange(self.orbits)[:, None, None]).astype(np.int64)

    def explain(self) -> str:
        """Which basis this is, and why."""
        if self.basis == "graphs":
            return f"{ROUTE}: {self.orbits} independent among the first {self.tried}"
        if self.tried:
            return f"{ROUTE}, summed to orbits: the first {self.tried} graphs reach rank {self.rank} of {self.orbits}"
        return f"{ROUTE}, summed to orbits"


def spanning_set(
    G: Automorphism, l: int, k: int, basis: str = "graphs", *, max_graphs: int = MAX_GRAPHS
) -> SpanningSet:
    """A basis of the maps from V^k to V^l that commute with the automorphisms of a graph.

    basis: "graphs" enumerates bilabelled graphs by internal vertices, then edges, and keeps those that raise the exact
    rank (modulo 2^31 - 1) until it is the number of orbits; after `max_graphs`, or where there are more orbits than
    that, it falls back to "orbit", the indicators of the orbits of index tuples, and `explain()` says so. Raises
    ValueError for negative orders or another basis.
    Source: arXiv:2307.07810, theorem 5.2; arXiv:1910.06958, theorem 8.4.
    """
    if l < 0 or k < 0:
        raise ValueError(f"spanning_set: orders must not be negative, got l={l}, k={k}")
    if basis not in ("graphs", "orbit"):
        raise ValueError(f"spanning_set: basis must be 'graphs' or 'orbit', got {basis!r}")
    V = Defining(G)
    return _span(G, _orbits(G, Product((V,) * k), Product((V,) * l)), l, k, basis, max_graphs)


def _orbits(G: Automorphism, U: Product, W: Product, **options) -> OrbitKernel:
    found = solver.hom(G, U, W, **options)
    return replace(found, route=f"{ROUTE}, summed to orbits")


def _span(G: Automorphism, inner: OrbitKernel, l: int, k: int, basis: str, max_graphs: int) -> SpanningSet:
    orbits, label = inner.N, inner.label
    tried, kept, rows = 0, [], []
    if basis == "graphs" and orbits <= max_graphs:
        _, first = np.unique(label, return_index=True)
        known, echelon = relations(G), _Echelon(orbits)
        for H in itertools.islice(graphs(l, k, known, G.n), max_graphs):
            tried += 1
            values = counts(H, known, G.n).reshape(-1)[first]
            if echelon.raised_by(values):
                kept.append(H)
                rows.append(values)
            if len(kept) == orbits:
                return SpanningSet("graphs", tuple(kept), label, np.array(rows), tried, orbits)
    return SpanningSet("orbit", (), label, np.zeros((0, orbits), np.int64), tried, len(kept))


def graphs(l: int, k: int, known: list[np.ndarray], n: int) -> Iterator[Bilabelled]:
    """All bilabelled graphs that may matter, by internal vertices, then edges; each once, up to their internal names.

    Parts without an output or input only scale a map, and edges that no vertex of G has (loops) make it zero: left out.
    """
    anywhere = [r for r, R in enumerate(known) if R.sum() > R.diagonal().sum()]
    loops = [r for r, R in enumerate(known) if R.diagonal().any()]
    symmetric = [np.array_equal(R, R.T) for R in known]
    patterns = list(restricted_growth(l + k, min(n, l + k)))
    patterns = [list(pattern) for pattern in patterns]
    for internal in itertools.count():
        if internal and not (anywhere and l + k):
            return
        slots = []
        for pattern in patterns:
            size = max(pattern, default=-1) + 1 + internal
            pairs = [
                (i, j, r)
                for i, j in itertools.product(range(size), repeat=2)
                for r in (loops if i == j else anywhere)
                if i <= j or not symmetric[r]
            ]
            slots.append((pattern, size, pairs))
        for edges in range(max(len(pairs) for _, _, pairs in slots) + 1):
            for pattern, size, pairs in slots:
                for chosen in itertools.combinations(pairs, edges):
                    if _hangs_together(size, internal, chosen) and _is_first(size, internal, chosen, symmetric):
                        yield Bilabelled(chosen, pattern[:l], pattern[l:])


def _hangs_together(size: int, internal: int, edges: tuple) -> bool:
    """Whether every internal vertex is joined to a labelled one."""
    reached = set(range(size - internal))
    for _ in range(internal):
        reached |= {v for i, j, _ in edges for v in (i, j) if i in reached or j in reached}
    return len(reached) == size


def _is_first(size: int, internal: int, edges: tuple, symmetric: list[bool]) -> bool:
    """Whether no renaming of the internal vertices makes the sorted list of edges smaller."""
    start = size - internal
    for names in itertools.islice(itertools.permutations(range(start, size)), 1, None):
        name = [*range(start), *names]
        turned = [(name[i], name[j], r) for i, j, r in edges]
        if sorted((j, i, r) if symmetric[r] and j < i else (i, j, r) for i, j, r in turned) < list(edges):
            return False
    return True


class _Echelon:
    """Independent rows modulo 2^31 - 1, in reduced echelon form."""

    def __init__(self, columns: int):
        self.rows = np.zeros((0, columns), dtype=np.int64)
        self.pivots: list[int] = []

    def raised_by(self, values: np.ndarray) -> bool:
        """Add a row; whether it is independent of those before."""
        row = values % PRIME
        row = (row - (row[self.pivots, None] * self.rows % PRIME).sum(0)) % PRIME
        if not row.any():
            return False
        pivot = int((row != 0).argmax())
        row = row * pow(int(row[pivot]), -1, PRIME) % PRIME
        self.rows = (self.rows - self.rows[:, pivot, None] * row % PRIME) % PRIME
        self.rows = np.concatenate([self.rows, row[None]])
        self.pivots.append(pivot)
        return True


@dataclass(frozen=True)
class MixedWeights(Plan):
    """Weights of graphs as weights of orbits, then the plan of the orbits."""

    orbits: Plan

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        mix, *rest = constants
        return self.orbits.run(x, (mix @ w.flatten(1)).unflatten(1, w.shape[1:]), rest)


@dataclass(frozen=True, eq=False)
class GraphKernel(Kernel):
    """The maps of bilabelled graphs, each a sum of orbits: B_n = sum_o mix[n, o] A_o."""

    orbits: OrbitKernel
    mix: np.ndarray
    labels: tuple[str, ...]
    route: str

    @property
    def dim_in(self) -> int:
        return self.orbits.dim_in

    @property
    def dim_out(self) -> int:
        return self.orbits.dim_out

    def dense(self) -> np.ndarray:
        return self.mix[:, self.orbits.label]

    def plan(self, c_in: int, c_out: int) -> Plan:
        inner = self.orbits.plan(c_in, c_out)
        flops = inner.flops + 2 * self.mix.size * c_in * c_out
        return MixedWeights((np.ascontiguousarray(self.mix.T), *inner.constants), flops, inner)

    @property
    def transpose(self) -> "GraphKernel":
        return GraphKernel(self.orbits.transpose, self.mix, self.labels, self.route)

    def squares(self) -> np.ndarray:
        return self.mix**2 @ self.orbits.squares()


def kernel(group: Group, U: Product, W: Product, basis: str, **options) -> Kernel | None:
    """Hom(U, W) for tensor powers of V of Automorphism(graph), None for anything else; options as in `solver.solve`.

    basis: "graphs" for bilabelled graphs, where few are enough; anything else for orbits of index tuples. Raises
    ValueError where graphs are asked for and a factor is not V.
    """
    if not isinstance(group, Automorphism):
        return None
    if not all(isinstance(f, Defining) for f in (*U.factors, *W.factors)):
        if basis == "graphs":
            raise ValueError(f"between: basis 'graphs' is for tensor powers of V, got {U} -> {W} of {group}")
        return None
    inner = _orbits(group, U, W, **options)
    return _of_graphs(group, U, W, inner) if basis == "graphs" else inner


def _of_graphs(group: Automorphism, U: Product, W: Product, inner: OrbitKernel) -> Kernel:
    kept, coordinates, told = _searched(group, len(U.factors), len(W.factors))
    if not kept:
        return replace(inner, route=told)
    return GraphKernel(inner, coordinates.astype(np.float64), kept, told)


@lru_cache(maxsize=64)
def _searched(group: Automorphism, k: int, l: int) -> tuple[tuple[str, ...], np.ndarray, str]:
    found = spanning_set(group, l, k)
    return tuple(map(str, found.graphs)), found.coordinates, found.explain()
