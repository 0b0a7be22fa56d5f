"""All invariants and covariants of a few tensors up to a degree: enumerate networks, keep what is independent."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice, product

import numpy as np

from ..groups import SO, Group, O
from .contraction import Contraction, Exact, Leg
from .diagrams.independence import PRIME, pivots
from .tensor_network import TensorNetwork
from .tensor_types import BUILT_IN, EPSILON, TensorType, constant, invariant_count, random_points

LARGEST = 1500  # invariants of one multi-degree: the elimination is cubic in it
OUTPUT = "∂"  # the auxiliary input that a covariant is the derivative by
Degree = tuple[int, ...]
Types = tuple[tuple[str, TensorType], ...]
Graph = tuple[tuple[str, ...], tuple[tuple[Leg, Leg], ...]]


def tensor_invariants(
    inputs: Mapping[str, TensorType], degree: int | Mapping[str, int], group: Group | None = None
) -> list[TensorNetwork]:
    """Networks that generate all polynomial invariants of some tensors: none is a polynomial in those before it.

    degree: the largest total degree, or the largest degree in each input. group: O(3) by default, or SO(3), which adds
    those with one ε. Ordered by degree; every one is a single connected network, unless it is the product of two
    pseudoscalars. The count is exact: random points modulo 2^31 - 1, against the dimension from characters.
    The list is a generating set up to that degree, so a higher degree may add to it.
    Raises ValueError for another group, a degree below 0, an unknown name, a name taken by δ and ε, or where one degree
    has more than 1500 independent invariants. Source: arXiv:2508.12596.
    """
    types, bounds, total = _asked(inputs, degree)
    return [_network(types, g.graph) for g in search(types, bounds, total, _rotations_only(group)).generators if g.kept]


def tensor_covariants(
    inputs: Mapping[str, TensorType],
    output: TensorType,
    degree: int | Mapping[str, int],
    group: Group | None = None,
) -> list[TensorNetwork]:
    """Networks that generate all polynomial equivariant maps to `output`: every one is Σ (invariant) · (covariant).

    Found as the invariants that are linear in an auxiliary tensor of the output's kind, derived by it. None is a sum of
    invariants times those before it. degree counts the inputs; the rest as for `tensor_invariants`.
    """
    types, bounds, total = _asked(inputs, degree)
    types, bounds = (*types, (OUTPUT, output)), (*bounds, 1)
    found = search(types, bounds, None if total is None else total + 1, _rotations_only(group)).generators
    networks = []
    for g in found:
        if g.kept and g.degree[-1] == 1:
            ((_, network),) = _network(types, g.graph).diff(OUTPUT).terms
            networks.append(network)
    return networks


def tensor_invariant_basis(
    inputs: Mapping[str, TensorType], degree: int | Mapping[str, int], group: Group | None = None
) -> list[TensorNetwork]:
    """A basis of the invariants of exactly this degree (total, or in each input); products are networks too.

    Their number is the dimension of the invariants in the symmetric power. Errors as for `tensor_invariants`.
    """
    types, bounds, total = _asked(inputs, degree)
    found = search(types, bounds, total, _rotations_only(group))
    wanted = [d for d in found.bases if (sum(d) == total if total is not None else d == bounds)]
    return [_network(types, found.joined(members)) for d in wanted for members, _ in found.bases[d] if found.even(d)]


def _asked(inputs: Mapping[str, TensorType], degree: int | Mapping[str, int]) -> tuple[Types, Degree, int | None]:
    if taken := sorted(inputs.keys() & (BUILT_IN.keys() | {OUTPUT})):
        raise ValueError(f"tensor_invariants: the names {taken} are taken; call the inputs otherwise")
    if isinstance(degree, Mapping):
        if unknown := sorted(degree.keys() - inputs.keys()):
            raise ValueError(f"tensor_invariants: degrees for {unknown}, but the inputs are {sorted(inputs)}")
        bounds, total = tuple(degree.get(name, 0) for name in inputs), None
    else:
        bounds, total = (degree,) * len(inputs), degree
    if any(isinstance(d, bool) or not isinstance(d, int) or d < 0 for d in bounds):
        raise ValueError(f"tensor_invariants: degrees must be integers of at least 0, got {degree!r}")
    return tuple(inputs.items()), bounds, total


def _rotations_only(group: Group | None) -> bool:
    if group not in (None, O(3), SO(3)):
        raise ValueError(f"tensor_invariants: tensors of space turn under O(3) or SO(3), not {group}")
    return group == SO(3)


def _network(types: Types, graph: Graph) -> TensorNetwork:
    nodes, edges = graph
    return TensorNetwork(nodes, edges, (), types)


@dataclass(frozen=True, eq=False)
class Generator:
    """One generator: its degree in each input, its network, its values at the points; kept: invariant of the group."""

    degree: Degree
    graph: Graph
    values: np.ndarray
    kept: bool = True


@dataclass(eq=False)
class Found:
    """The generators of a ring of invariants up to a degree, and a basis of products for each degree."""

    types: Types
    rotations_only: bool
    generators: list[Generator] = field(default_factory=list)
    bases: dict[Degree, list[tuple[tuple[int, ...], np.ndarray]]] = field(default_factory=dict)

    def even(self, degree: Degree) -> bool:
        """Whether the group keeps invariants of this degree: parities multiply to +1, or there are rotations only."""
        return self.rotations_only or sum(d for d, (_, kind) in zip(degree, self.types) if kind.parity == -1) % 2 == 0

    def joined(self, members: tuple[int, ...]) -> Graph:
        """The product of generators as one network."""
        return join([self.generators[k].graph for k in members])

    def products(self, degree: Degree) -> list[tuple[tuple[int, ...], np.ndarray]]:
        """Every generator times the bases of lower degrees, each product once."""
        out: dict[tuple[int, ...], np.ndarray] = {}
        for k, g in enumerate(self.generators):
            rest = tuple(a - b for a, b in zip(degree, g.degree))
            for members, values in self.bases.get(rest, []):
                together = tuple(sorted((*members, k)))
                if together not in out:
                    out[together] = values * g.values % PRIME
        return list(out.items())


def join(graphs: list[Graph]) -> Graph:
    """Networks side by side."""
    nodes: list[str] = []
    edges: list[tuple[Leg, Leg]] = []
    for names, ties in graphs:
        start = len(nodes)
        nodes += names
        edges += [((a + start, i), (b + start, j)) for (a, i), (b, j) in ties]
    return tuple(nodes), tuple(edges)


@lru_cache(maxsize=128)
def search(types: Types, bounds: Degree, total: int | None, rotations_only: bool) -> Found:
    """Generators of the invariants, degree by degree: products of what is there first, then connected networks until
    the dimension that characters give is reached."""
    degrees = [d for d in product(*(range(b + 1) for b in bounds)) if any(d) and (total is None or sum(d) <= total)]
    degrees.sort(key=lambda d: (sum(d), [-x for x in d]))
    found = Found(types, rotations_only)
    pseudo = not rotations_only and any(kind.parity != (-1) ** kind.rank for _, kind in types)
    sizes = {}
    for d in degrees:
        if found.even(d) or pseudo:
            sizes[d] = invariant_count([(kind, count) for count, (_, kind) in zip(d, types)])
            if sizes[d] > LARGEST:
                raise ValueError(
                    f"tensor_invariants: {sizes[d]} independent invariants of degree "
                    f"{dict(zip(dict(types), d))}, more than {LARGEST}; ask for a lower degree, or for fewer inputs"
                )
    samples = max(sizes.values(), default=0) + 8
    rng = np.random.default_rng(0)
    leaves = {name: random_points(kind, samples, rng) for name, kind in types}
    leaves |= {name: constant(name).astype(np.int64)[None] % PRIME for name in BUILT_IN}
    plan = Contraction(dict(types))
    exact = Exact(plan, leaves)
    found.bases[(0,) * len(types)] = [((), np.ones(samples, dtype=np.int64))]
    for d, size in sizes.items():
        if size:
            _complete(found, d, size, plan, exact)
    return _without_pseudoscalars(found, sizes) if pseudo else found


def _complete(found: Found, degree: Degree, size: int, plan: Contraction, exact: Exact) -> None:
    """Find the basis of one degree: products, then new connected networks, a few more at a time."""
    candidates = found.products(degree)
    chosen = [candidates[k] for k in _independent([values for _, values in candidates], size)]
    more, take = connected(found.types, degree), 8
    while len(chosen) < size:
        fresh = []
        for graph in islice(more, take):
            values = exact(plan.add(*graph))[:, 0]
            fresh.append((graph, np.broadcast_to(values, chosen[0][1].shape if chosen else values.shape)))
        if not fresh:
            raise RuntimeError(f"tensor_invariants: {len(chosen)} of {size} invariants of degree {degree} found")
        columns = [values for _, values in chosen] + [values for _, values in fresh]
        for k in _independent(columns, size)[len(chosen) :]:
            graph, values = fresh[k - len(columns) + len(fresh)]
            chosen.append(((len(found.generators),), values))
            found.generators.append(Generator(degree, graph, values, found.even(degree)))
        take *= 2
    found.bases[degree] = chosen


def _independent(columns: list[np.ndarray], size: int) -> list[int]:
    return pivots(np.stack(columns, -1)[: size + 8]) if columns else []


def _without_pseudoscalars(found: Found, sizes: dict[Degree, int]) -> Found:
    """The invariants of O(3) among those of SO(3): even generators, and products of two odd ones where needed."""
    out = Found(found.types, False)
    zero = (0,) * len(found.types)
    out.bases[zero] = found.bases[zero]
    odd = [g for g in found.generators if not g.kept]
    for degree, size in sizes.items():
        if not (size and found.even(degree)):
            continue
        candidates = out.products(degree)
        chosen = [candidates[k] for k in _independent([values for _, values in candidates], size)]
        fresh = [g for g in found.generators if g.kept and g.degree == degree]
        for k, a in enumerate(odd):
            for b in odd[k:]:
                if tuple(x + y for x, y in zip(a.degree, b.degree)) == degree:
                    fresh.append(Generator(degree, join([a.graph, b.graph]), a.values * b.values % PRIME))
        columns = [values for _, values in chosen] + [g.values for g in fresh]
        for k in _independent(columns, size)[len(chosen) :]:
            g = fresh[k - len(columns) + len(fresh)]
            chosen.append(((len(out.generators),), g.values))
            out.generators.append(g)
        out.bases[degree] = chosen
    return out


def connected(types: Types, degree: Degree) -> Iterator[Graph]:
    """Connected networks with given numbers of each tensor, and one ε where the number of indices is odd.

    Indices are tied one after the other, first to tensors that are there already. Indices of a symmetric tensor are
    used in one order only, two of a traceless one are never tied, nor two of ε to one symmetric tensor. The same
    network may come more than once.
    """
    kinds = dict(types) | BUILT_IN
    left = {name: count for (name, _), count in zip(types, degree) if count}
    if sum(kinds[name].rank * count for name, count in left.items()) % 2:
        left[EPSILON] = 1
    alike = {name: kinds[name].symmetric or name == EPSILON for name in left}
    nodes: list[str] = []
    free: list[list[int]] = []
    edges: list[tuple[Leg, Leg]] = []

    def partners(i: int, least: int) -> Iterator[tuple[int, int]]:
        """Legs that the first free leg of node i may be tied to; a node that is not there yet is `len(nodes)`."""
        name = nodes[i]
        if name != EPSILON and not kinds[name].traceless:
            for leg in free[i][1 : 2 if alike[name] else None]:
                yield i, leg
        for j in range(max(i + 1, least), len(nodes)):
            if free[j]:
                for leg in free[j][: 1 if alike[nodes[j]] else None]:
                    yield j, leg

    def tie(i: int, j: int, leg: int, least: int) -> Iterator[Graph]:
        mine = free[i].pop(0)
        place = free[j].index(leg)
        free[j].pop(place)
        edges.append(((i, mine), (j, leg)))
        yield from extend(i, least)
        edges.pop()
        free[j].insert(place, leg)
        free[i].insert(0, mine)

    def extend(last: int, least: int) -> Iterator[Graph]:
        """`least`: node `last` is tied on to nodes from here on; symmetric ones are tied in order."""
        i = next((k for k, legs in enumerate(free) if legs), None)
        if i is None:
            if not any(left.values()):
                yield tuple(nodes), tuple(edges)
            return
        least = least if i == last else 0
        for j, leg in list(partners(i, least)):
            turning = EPSILON in (nodes[i], nodes[j]) and alike[nodes[i]] and alike[nodes[j]]
            if turning and any({a[0], b[0]} == {i, j} for a, b in edges):
                continue
            yield from tie(i, j, leg, j if alike[nodes[i]] and j != i else 0)
        for name in [name for name, count in left.items() if count]:
            left[name] -= 1
            nodes.append(name)
            free.append(list(range(kinds[name].rank)))
            for leg in free[-1][: 1 if alike[name] else None]:
                yield from tie(i, len(nodes) - 1, leg, len(nodes) - 1 if alike[nodes[i]] else 0)
            nodes.pop()
            free.pop()
            left[name] += 1

    first = max(left, key=lambda name: (name == OUTPUT, name == EPSILON, -list(left).index(name)))
    left[first] -= 1
    nodes.append(first)
    free.append(list(range(kinds[first].rank)))
    yield from extend(0, 0)
