"""Pairings: spanning sets and bases of the equivariant maps of O, SO, Sp, Lorentz, GL, SL and U on tensors."""

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from math import comb, prod

from ...groups import SL, SO, GLPlus, Group, Lorentz, O, Sp, U
from .category import Diagram
from .tableaux import shapes, tableaux


def matchings(points: Sequence[int]) -> Iterator[tuple[tuple[int, int], ...]]:
    """All ways to pair up points, the first one with each of the others in turn."""
    if not points:
        yield ()
    elif len(points) % 2 == 0:
        first, *rest = points
        for i, partner in enumerate(rest):
            for pairs in matchings(rest[:i] + rest[i + 1 :]):
                yield ((first, partner), *pairs)


def pairings(l: int, k: int, kind: str = "brauer") -> Iterator[Diagram]:
    """All (l+k-1)!! perfect pairings: they span the maps of O(n), and with kind "symplectic" of Sp(n).

    Source: arXiv:2212.08630, theorems 6.5 and 6.6.
    """
    for pairs in matchings(range(l + k)):
        yield Diagram(l, k, pairs, kind)


def free_vertex(l: int, k: int, n: int) -> Iterator[Diagram]:
    """All pairings but for n free points tied to a head: with the pairings they span the maps of SO(n).

    Source: arXiv:2212.08630, theorem 6.7.
    """
    m = l + k
    if m < n or (m - n) % 2:
        return
    for free in itertools.combinations(range(m), n):
        for pairs in matchings([p for p in range(m) if p not in free]):
            blocks = tuple(sorted([*pairs, *((p,) for p in free)]))
            yield Diagram(l, k, blocks, "brauer+free", tuple(i for i, b in enumerate(blocks) if len(b) == 1))


def oriented(out_dual: Sequence[bool], in_dual: Sequence[bool]) -> Iterator[Diagram]:
    """Pairings for GL(n): each pair joins V to V* within a row, and like to like between the rows.

    out_dual, in_dual: whether each output and input index is a covector. Source: Brauer 1937; arXiv:2304.14144.
    """
    l, k = len(out_dual), len(in_dual)
    contravariant, covariant = orientation(out_dual, in_dual)
    if len(covariant) == len(contravariant):
        for partners in itertools.permutations(contravariant):
            yield Diagram(l, k, tuple(zip(covariant, partners)), "oriented")


def orientation(out_dual: Sequence[bool], in_dual: Sequence[bool]) -> tuple[list[int], list[int]]:
    """The points whose index is a vector's in the invariant tensor that a map is, and those with a covector's."""
    lower = [*out_dual, *(not dual for dual in in_dual)]
    return [p for p, dual in enumerate(lower) if not dual], [p for p, dual in enumerate(lower) if dual]


def determinants(out_dual: Sequence[bool], in_dual: Sequence[bool], n: int) -> Iterator[Diagram]:
    """For SL(n): as many blocks of n points of the more frequent type as it takes to pair up the rest, as `oriented`.

    A starred block is the sign of its values. None where the difference is no multiple of n, and where it is zero
    (a product of a determinant of vectors and one of covectors is a sum of pairings). Source: Weyl 1939, II.6.
    """
    l, k = len(out_dual), len(in_dual)
    few, many = sorted(orientation(out_dual, in_dual), key=len)
    count, rest = divmod(len(many) - len(few), n)
    if rest or not count:
        return
    for tied in itertools.combinations(many, count * n):
        left = [p for p in many if p not in tied]
        for groups in equal_parts(tied, n):
            for partners in itertools.permutations(left):
                pairs = [tuple(sorted(pair)) for pair in zip(few, partners)]
                blocks = tuple(sorted([*groups, *pairs]))
                yield Diagram(l, k, blocks, "determinant", tuple(i for i, b in enumerate(blocks) if b in groups))


def equal_parts(points: Sequence[int], size: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """All ways to part points into groups of a size, the group of the first point first."""
    if not points:
        yield ()
        return
    first, *rest = points
    for others in itertools.combinations(rest, size - 1):
        for groups in equal_parts([p for p in rest if p not in others], size):
            yield ((first, *others), *groups)


def decorated(l: int, k: int) -> Iterator[Diagram]:
    """All pairings, each pair plain or with the complex structure: they span the maps of U(n) on R^(2n).

    Over the complex numbers a pair joins a vector to a conjugate one, and there are two ways to choose which is which.
    """
    for pairs in matchings(range(l + k)):
        for starred in itertools.product((False, True), repeat=len(pairs)):
            yield Diagram(l, k, pairs, "unitary", tuple(i for i, star in enumerate(starred) if star))


# --- which of them are independent


def involution_word(diagram: Diagram) -> list[int]:
    """The partner of each point, points in order."""
    word = [0] * (diagram.l + diagram.k)
    for a, b in diagram.blocks:
        word[a], word[b] = b, a
    return word


def longest_increasing(word: Sequence[int]) -> int:
    """Length of the longest strictly increasing subsequence."""
    tails: list[int] = []
    for value in word:
        at = bisect_left(tails, value)
        tails[at : at + 1] = [value]
    return len(tails)


def is_standard(diagram: Diagram, n: int) -> bool:
    """Whether a pairing belongs to the canonical basis for R^n: its word has no long monotone subsequence.

    O(n): no strictly increasing one longer than n; Sp(n): no strictly decreasing one longer than n (the determinants
    and Pfaffians that vanish on R^n rewrite any other pairing).
    """
    word = involution_word(diagram)
    return longest_increasing(word if diagram.kind == "brauer" else [-p for p in word]) <= n


def is_standard_oriented(diagram: Diagram, out_dual: Sequence[bool], in_dual: Sequence[bool], n: int) -> bool:
    """Whether a diagram of `oriented` is in the canonical basis for R^n: as a permutation of its vector indices, listed
    by their covectors, it has no decreasing subsequence longer than n."""
    partner = dict(diagram.blocks) | {b: a for a, b in diagram.blocks}
    _, covectors = orientation(out_dual, in_dual)
    return longest_increasing([-partner[p] for p in covectors]) <= n


def dimension(group: Group, l: int, k: int) -> int:
    """dim Hom(V^k, V^l) for O(n), SO(n), Sp(n), Lorentz, GL(n), GLPlus(n), SL(n) and U(n), by counting tableaux.

    Raises ValueError for other groups. Sources: arXiv:2212.08630; Weyl's branching of tensor powers.
    """
    n, m = group.dim_V, l + k
    if isinstance(group, GLPlus) and not isinstance(group, SL):
        return general_linear_dimension(n, k) if k == l else 0
    if isinstance(group, SL):
        return special_linear_dimension(n, l, k)
    if isinstance(group, Sp):
        return symplectic_dimension(n, m)
    if type(group) is U:
        return unitary_dimension(group.n, m)
    if not isinstance(group, O | Lorentz):
        raise ValueError(f"dimension: {group} has no pairing diagrams; use maps.dimension")
    return pairing_dimension(n, m) + (head_dimension(n, m) if keeps_orientation(group) else 0)


def symplectic_dimension(n: int, m: int) -> int:
    """Rank of the pairings of m points on R^n with a symplectic form: tableaux with even columns, at most n rows."""
    paired = (mu for mu in shapes(m, n) if all(mu[i : i + 2] == mu[i : i + 1] * 2 for i in range(0, len(mu), 2)))
    return sum(map(tableaux, paired))


def keeps_orientation(group: Group) -> bool:
    """Whether the determinant is 1 on the whole group, so that heads are equivariant."""
    if isinstance(group, Lorentz):
        return group.component in ("proper", "restricted")
    return isinstance(group, SO | Sp | SL | U)


def pairing_dimension(n: int, m: int) -> int:
    """Rank of the pairings of m points on R^n: tableaux with even rows, at most n of them."""
    return sum(tableaux(mu) for mu in shapes(m, n) if not any(row % 2 for row in mu))


def head_dimension(n: int, m: int) -> int:
    """Rank of the diagrams with n free points on R^n: tableaux with exactly n rows, all odd."""
    return sum(tableaux(mu) for mu in shapes(m, n) if len(mu) == n and all(row % 2 for row in mu))


def matching_count(m: int) -> int:
    """Number of perfect pairings of m points, (m-1)!!."""
    return prod(range(m - 1, 0, -2)) if m % 2 == 0 else 0


def head_count(n: int, m: int) -> int:
    """Number of diagrams with n free points among m."""
    return comb(m, n) * matching_count(m - n) if m >= n else 0


def unitary_dimension(n: int, m: int) -> int:
    """Rank of the decorated pairings of m points on C^n: half of the points are conjugate, in any way."""
    return comb(m, m // 2) * general_linear_dimension(n, m // 2) if m % 2 == 0 else 0


def general_linear_dimension(n: int, pairs: int) -> int:
    """Rank of the permutations of `pairs` vector-covector pairs on R^n."""
    return sum(tableaux(shape) ** 2 for shape in shapes(pairs, n))


def special_linear_dimension(n: int, l: int, k: int) -> int:
    """dim Hom_SL(n)(V^k, V^l): the shapes of the two sides agree up to full columns of n boxes."""
    short, long = min(l, k), max(l, k)
    if (long - short) % n:
        return 0
    s = (long - short) // n
    total = 0
    for shape in shapes(short, n):
        padded = (*shape, *(0,) * (n - len(shape)))
        total += tableaux(shape) * tableaux(tuple(row + s for row in padded if row + s))
    return total
