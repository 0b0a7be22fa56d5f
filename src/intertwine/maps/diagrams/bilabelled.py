"""Bilabelled graphs: the diagrams of the symmetry of one fixed graph; they compose, tensor and transpose."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ...groups import Automorphism

MOST_ENTRIES = 2**26  # of any tensor made while a graph is contracted
EXACT = 2**53  # whole numbers up to here are exact in float64


@dataclass(frozen=True, init=False)
class Bilabelled:
    """A finite graph H with vertices chosen as l outputs and k inputs, repeats allowed: a map for every graph G.

    graph: edges (i, j) or (i, j, relation), and (i,) for a vertex alone; or a networkx graph. Relation r of the edge
    is the r-th edge label of G in ascending order, then its node labels, as loops (0, the edges, for a plain graph).
    The map counts homomorphisms: entry [I, J] is the number of maps of vertices H -> G that keep edges and send out to
    I and inp to J. `A @ B` composes (the inputs of A are glued to the outputs of B; parallel edges are one edge),
    `A | B` is the tensor product, `A.T` the transpose; the map of the result is that of the maps.
    Vertices are renumbered: out, then inp, then the others in order. Source: arXiv:2307.07810, section 4.
    """

    vertices: int
    edges: tuple[tuple[int, int, int], ...]
    out: tuple[int, ...]
    inp: tuple[int, ...]

    def __init__(self, graph: Iterable[Sequence[int]], out: Sequence[int], inp: Sequence[int]):
        if hasattr(graph, "is_multigraph"):
            parts = [*((v,) for v in graph.nodes), *graph.edges()]
        else:
            parts = [tuple(part) for part in graph]
        wrong = [part for part in parts if not 1 <= len(part) <= 3 or (len(part) == 3 and not _is_count(part[2]))]
        if wrong:
            raise ValueError(f"Bilabelled: {wrong[0]} is no edge (i, j), (i, j, relation), nor a vertex (i,)")
        own = sorted({v for part in parts for v in part[:2]})
        place = {v: i for i, v in enumerate(dict.fromkeys((*out, *inp, *own)))}
        edges = {(place[p[0]], place[p[1]], p[2] if len(p) == 3 else 0) for p in parts if len(p) > 1}
        object.__setattr__(self, "vertices", len(place))
        object.__setattr__(self, "edges", tuple(sorted(edges)))
        object.__setattr__(self, "out", tuple(place[v] for v in out))
        object.__setattr__(self, "inp", tuple(place[v] for v in inp))

    @property
    def l(self) -> int:  # noqa: E743
        """Number of outputs."""
        return len(self.out)

    @property
    def k(self) -> int:
        """Number of inputs."""
        return len(self.inp)

    @property
    def internal(self) -> int:
        """Number of vertices that are neither output nor input: they are summed."""
        return self.vertices - len({*self.out, *self.inp})

    @property
    def T(self) -> "Bilabelled":
        """The transpose: outputs and inputs exchanged."""
        return Bilabelled(self._parts(), self.inp, self.out)

    def __matmul__(self, other: "Bilabelled") -> "Bilabelled":
        if not isinstance(other, Bilabelled):
            return NotImplemented
        if self.k != other.l:
            raise ValueError(f"compose: {self} has {self.k} inputs, but {other} has {other.l} outputs")
        moved = other._parts(self.vertices)
        glued = list(range(self.vertices + other.vertices))

        def find(v: int) -> int:
            while glued[v] != v:
                v = glued[v]
            return v

        for a, b in zip(self.inp, other.out):
            glued[find(b + self.vertices)] = find(a)
        parts = [(*map(find, part[:2]), *part[2:]) for part in (*self._parts(), *moved)]
        return Bilabelled(parts, [find(v) for v in self.out], [find(v + self.vertices) for v in other.inp])

    def __or__(self, other: "Bilabelled") -> "Bilabelled":
        if not isinstance(other, Bilabelled):
            return NotImplemented
        out = (*self.out, *(v + self.vertices for v in other.out))
        inp = (*self.inp, *(v + self.vertices for v in other.inp))
        return Bilabelled((*self._parts(), *other._parts(self.vertices)), out, inp)

    def _parts(self, start: int = 0) -> list[tuple[int, ...]]:
        alone = [(v + start,) for v in range(self.vertices)]
        return [*alone, *((i + start, j + start, r) for i, j, r in self.edges)]

    def __str__(self) -> str:
        sides = " | ".join(",".join(map(str, side)) for side in (self.out, self.inp))
        edges = [f"{i}-{j}" + (f":{r}" if r else "") for i, j, r in self.edges]
        met = {*self.out, *self.inp, *(v for i, j, _ in self.edges for v in (i, j))}
        return " ".join([f"graph {sides}", *edges, *(str(v) for v in range(self.vertices) if v not in met)])


def _is_count(value) -> bool:
    return isinstance(value, int) and value >= 0


def relations(G: Automorphism) -> list[np.ndarray]:
    """What the edges of H stand for: for each edge label of G, ascending, its pairs [n, n], then the vertices of each
    node label on the diagonal, where there are several; bool."""
    A, marks = G.adjacency.numpy(), G.node_labels.numpy()
    labels, kinds = np.unique(A[A != 0]), np.unique(marks)
    return [label == A for label in labels] + [np.diag(marks == kind) for kind in kinds if len(kinds) > 1]


def homomorphism_matrix(H: Bilabelled, G: Automorphism) -> np.ndarray:
    """The map of H on the graph G, int64 [n^l, n^k]: entry [I, J] counts the homomorphisms with out -> I, inp -> J.

    Vertices that are neither are summed one by one, those with few neighbours first. Raises ValueError where H names a
    relation that G does not have, or where a tensor on the way would be huge. Source: arXiv:2307.07810, definition 4.5.
    """
    known = relations(G)
    wrong = [edge for edge in H.edges if edge[2] >= len(known)]
    if wrong and not (known == [] and wrong[0][2] == 0):
        raise ValueError(f"homomorphism_matrix: {H} has an edge of relation {wrong[0][2]}, {G} only {len(known)}")
    return counts(H, known, G.n).reshape(G.n**H.l, G.n**H.k)


def counts(H: Bilabelled, known: list[np.ndarray], n: int) -> np.ndarray:
    """The same as a tensor of l + k axes, from the relations of G."""
    if n**H.internal > EXACT:
        raise ValueError(f"homomorphism_matrix: {H} sums {H.internal} vertices over {n}: too many to count exactly")
    known = known or [np.zeros((n, n), dtype=bool)]
    factors = []
    for i, j, r in H.edges:
        R = known[r].astype(np.float64)
        factors.append((R.diagonal(), [i]) if i == j else (R, [i, j]))
    shown = list(dict.fromkeys((*H.out, *H.inp)))
    left = [v for v in range(H.vertices) if v not in shown]
    scale = 1.0
    while left:
        neighbours = {v: {u for _, axes in factors if v in axes for u in axes} - {v} for v in left}
        v = min(left, key=lambda v: (len(neighbours[v]), v))
        left.remove(v)
        here, factors = [f for f in factors if v in f[1]], [f for f in factors if v not in f[1]]
        if here:
            factors.append(_product(here, sorted(neighbours[v]), n, H))
        else:
            scale *= n
    tensor, _ = _product([(np.full((), scale), []), *((np.ones(n), [v]) for v in shown), *factors], shown, n, H)
    full = np.zeros((n,) * (H.l + H.k))
    grid = dict(zip(shown, np.indices(tensor.shape, sparse=True)))
    full[tuple(grid[v] for v in (*H.out, *H.inp))] = tensor
    return full.astype(np.int64)


def _product(factors: list, axes: list[int], n: int, H: Bilabelled) -> tuple[np.ndarray, list[int]]:
    """The product of tensors with named axes, summed over all axes but the given ones."""
    if n ** len(axes) > MOST_ENTRIES:
        raise ValueError(f"homomorphism_matrix: {H} needs a tensor of {n}^{len(axes)} entries; use a sparser graph")
    operands = [item for array, names in factors for item in (array, names)]
    return np.einsum(*operands, axes, optimize=len(factors) > 2), axes
