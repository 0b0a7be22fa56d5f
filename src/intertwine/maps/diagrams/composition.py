"""Multiply diagrams: stack two, join the middle row, count what closes up; the answer is a sum with exact numbers."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .category import FAMILY, SPARE, STARRED, Diagram, sign_of

HEADED_KIND = {family: kind for kind, family in FAMILY.items()}
Polynomial = tuple[int, ...]  # integer coefficients of 1, n, n², ..


@dataclass(frozen=True)
class FormalSum:
    """A sum of diagrams with coefficients that are polynomials in n: `terms[d] = (c0, c1, ..)` means c0 + c1 n + ...

    Supports `+`, `-`, integer multiples, composition `a @ b` and the tensor product `a | b`; `at(n)` gives numbers.
    """

    terms: Mapping[Diagram, Polynomial]

    def __post_init__(self):
        kept = {d: p for d, c in self.terms.items() if (p := _trim(c))}
        object.__setattr__(self, "terms", MappingProxyType(kept))

    @staticmethod
    def of(thing: "Diagram | FormalSum") -> "FormalSum":
        """A diagram as a sum of one term."""
        return thing if isinstance(thing, FormalSum) else FormalSum({thing: (1,)})

    def at(self, n: int) -> dict[Diagram, int]:
        """The coefficients for one n, zeros left out."""
        values = {d: sum(c * n**i for i, c in enumerate(poly)) for d, poly in self.terms.items()}
        return {d: value for d, value in values.items() if value}

    def __add__(self, other: "FormalSum | Diagram") -> "FormalSum":
        return _collect([*self.terms.items(), *FormalSum.of(other).terms.items()])

    def __sub__(self, other: "FormalSum | Diagram") -> "FormalSum":
        return self + (-1) * FormalSum.of(other)

    def __rmul__(self, factor: int) -> "FormalSum":
        return FormalSum({d: tuple(factor * c for c in poly) for d, poly in self.terms.items()})

    def __matmul__(self, other: "FormalSum | Diagram") -> "FormalSum":
        return self._bilinear(other, compose)

    def __or__(self, other: "FormalSum | Diagram") -> "FormalSum":
        return self._bilinear(other, lambda a, b: FormalSum.of(a | b))

    def _bilinear(self, other, product) -> "FormalSum":
        return _collect(
            (d, _multiply(_multiply(p, q), r))
            for a, p in self.terms.items()
            for b, q in FormalSum.of(other).terms.items()
            for d, r in product(a, b).terms.items()
        )

    def __str__(self) -> str:
        return " + ".join(f"({_show(poly)}) [{d}]" for d, poly in self.terms.items()) or "0"


def _show(poly: Polynomial) -> str:
    powers = [f"{c}" if i == 0 else f"{c}·n^{i}" for i, c in enumerate(poly) if c]
    return " + ".join(powers)


def _trim(poly: Iterable[int]) -> Polynomial:
    poly = list(poly)
    while poly and poly[-1] == 0:
        poly.pop()
    return tuple(poly)


def _multiply(p: Polynomial, q: Polynomial) -> Polynomial:
    out = [0] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            out[i + j] += a * b
    return tuple(out)


def _collect(items: Iterable[tuple[Diagram, Polynomial]]) -> FormalSum:
    total: dict[Diagram, Polynomial] = {}
    for d, poly in items:
        old = total.get(d, ())
        size = max(len(old), len(poly))
        total[d] = tuple(sum(x) for x in zip(_pad(old, size), _pad(poly, size)))
    return FormalSum(total)


def _pad(poly: Polynomial, size: int) -> Polynomial:
    return poly + (0,) * (size - len(poly))


class _Glue:
    """Union-find over the points of both rows and the middle."""

    def __init__(self, parent: list[int]):
        self.parent = parent

    def find(self, i: int) -> int:
        while self.parent[i] != i:
            i = self.parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        self.parent[self.find(i)] = self.find(j)


def compose(first: Diagram, second: Diagram, *, det_form: int = 1) -> FormalSum:
    """The product `first ∘ second` (`first @ second`): first [l, m] on top of second [m, k].

    Parts that touch neither end give a factor n each (-n or n for Sp); two heads multiply to a signed sum over the n!
    ways to join their legs, times `det_form`, the determinant of the metric (-1 for Lorentz groups with odd q).
    Raises ValueError where the middle rows differ. Source: arXiv:2304.14144, section 4.
    """
    if first.family != second.family:
        raise ValueError(f"compose: {first.kind} and {second.kind} are different categories")
    if first.kind in STARRED:
        raise ValueError(f"compose: {first.kind} diagrams do not compose here; multiply their matrices (`functor`)")
    if first.k != second.l:
        raise ValueError(f"compose: {first} has {first.k} inputs, but {second} has {second.l} outputs")
    if first.head and second.head and len(first.head) != len(second.head):
        raise ValueError(f"compose: heads with {len(first.head)} and {len(second.head)} legs belong to different n")
    # points: outputs 0..l-1, inputs l..l+k-1, then the middle, then one for each summed leg
    l, m, k = first.l, first.k, second.k
    upper = [p if p < l else p + k for p in range(l + m)]
    lower = [p + l + k if p < m else p - m + l for p in range(m + k)]
    glue = _Glue(list(range(l + k + m)))
    for diagram, names in ((first, upper), (second, lower)):
        for block in diagram.blocks:
            for a, b in itertools.pairwise(block):
                glue.join(names[a], names[b])
    heads = []
    for diagram, names in ((first, upper), (second, lower)):
        legs = []
        for i in diagram.head:
            if i == SPARE:
                glue.parent.append(len(glue.parent))
            legs.append(len(glue.parent) - 1 if i == SPARE else names[diagram.blocks[i][0]])
        heads.append(legs)
    sign = _symplectic_sign(first, second, upper, lower) if first.kind == "symplectic" else 1
    if not (first.head and second.head):
        return _collect(_one_head(glue, heads[0] or heads[1], l, k, first.family, sign))
    found = []
    for order in itertools.permutations(range(len(heads[0]))):
        joined = _Glue(list(glue.parent))
        for i, j in enumerate(order):
            joined.join(heads[0][i], heads[1][j])
        found += _one_head(joined, [], l, k, first.family, det_form * sign_of(order), n=len(order))
    return _collect(found)


def _one_head(glue: _Glue, legs: list[int], l: int, k: int, family: str, sign: int, n: int | None = None):
    """Read the blocks off a stack of two diagrams with at most one head left: at most one diagram, with its factor."""
    parts: dict[int, list[int]] = {}
    for point in range(len(glue.parent)):
        parts.setdefault(glue.find(point), []).append(point)
    blocks = {root: tuple(p for p in part if p < l + k) for root, part in parts.items()}
    tied = [glue.find(leg) for leg in legs]
    summed = [root for root in tied if not blocks[root]]
    if len(set(tied)) < len(tied) or len(summed) > 1:
        return []  # the sign of a repeated index, or of two indices that are both summed, is zero
    closed = sum(not block for block in blocks.values()) - len(summed)
    order = sorted((block, root) for root, block in blocks.items() if block)
    rank = {root: i for i, (_, root) in enumerate(order)}
    rank.update(dict.fromkeys(summed, len(rank)))
    sign *= sign_of(rank[root] for root in tied)
    head = tuple(sorted(rank[root] for root in tied if blocks[root])) + (SPARE,) * len(summed)
    n = len(legs) or n
    factor = (sign * n**closed,) if n else (0,) * closed + (sign,)
    kind = HEADED_KIND[family] if head else family
    return [(Diagram(l, k, tuple(block for block, _ in order), kind, head), factor)]


def _symplectic_sign(first: Diagram, second: Diagram, upper: list[int], lower: list[int]) -> int:
    """(-1) to the number of arcs walked from right to left when every path is followed from its left or top end."""
    l, k = first.l, second.k
    partner: dict[tuple[int, bool], int] = {}  # (point, walking in `first`?) -> the other end of its pair
    for names, blocks, upstairs in ((upper, first.blocks, True), (lower, second.blocks, False)):
        for a, b in blocks:
            partner[names[a], upstairs], partner[names[b], upstairs] = names[b], names[a]
    sign, seen = 1, set()
    outer, middle = range(l + k), range(l + k, l + k + first.k)
    for start in itertools.chain(outer, middle):
        if start in seen:
            continue
        point, upstairs = start, start < l or start >= l + k
        while True:
            seen.add(point)
            other = partner[point, upstairs]
            if point >= l + k and other >= l + k and other < point:
                sign = -sign
            seen.add(other)
            point, upstairs = other, not upstairs
            if other < l + k or other == start:
                break
    return sign
