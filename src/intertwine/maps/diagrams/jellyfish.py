"""Jellyfish: maps that even permutations keep and odd ones negate, which A_n-equivariant layers add to partitions."""

from collections.abc import Iterator

from . import partition
from .category import SPARE, Diagram, sign_of
from .composition import FormalSum
from .tableaux import stirling


def jellyfish(l: int, k: int, n: int) -> Iterator[Diagram]:
    """One diagram for each set partition into n or n-1 blocks, all tied to an n-legged head (a last leg is summed).

    A basis of the sign-equivariant maps V^k → V^l of S(n), n >= 2; empty when l + k < n - 1 (arXiv:2301.10152).
    """
    for d in partition.partitions(l, k, n):
        if (missing := n - len(d.blocks)) <= 1 <= n - 1:
            yield Diagram(l, k, d.blocks, "jellyfish", (*range(len(d.blocks)), *[SPARE] * missing))


def head_dimension(n: int, m: int) -> int:
    """Number of jellyfish on m points: S(m, n) + S(m, n-1), none for n = 1, where no permutation is odd."""
    return stirling(m, n) + stirling(m, n - 1) if n > 1 else 0


def dimension(n: int, l: int, k: int) -> int:
    """dim Hom_A(n)(V^k, V^l)."""
    return partition.dimension(n, l, k) + head_dimension(n, l + k)


def normal_form(diagram: Diagram) -> FormalSum:
    """A jellyfish with loose blocks as a sum of those of `jellyfish`: a loose block takes the value of one leg."""
    n = len(diagram.head)
    tied = {i for i in diagram.head if i != SPARE}
    loose = [i for i in range(len(diagram.blocks)) if i not in tied]
    if not loose:
        return FormalSum.of(diagram)
    total = FormalSum({})
    block = diagram.blocks[loose[0]]
    legs = [diagram.blocks[i] if i != SPARE else () for i in diagram.head]
    rest = [diagram.blocks[i] for i in loose[1:]]
    for at in range(n):
        merged = [tuple(sorted((*leg, *block))) if i == at else leg for i, leg in enumerate(legs)]
        total = total + _with_sign(diagram, merged, rest)
    out = FormalSum({})
    for d, (c,) in total.terms.items():
        out = out + c * normal_form(d)
    return out


def _with_sign(like: Diagram, legs: list[tuple[int, ...]], rest: list[tuple[int, ...]]) -> FormalSum:
    """The diagram whose head ends at `legs` in this order (an empty leg is summed), with the sign of sorting them."""
    blocks = sorted([*(leg for leg in legs if leg), *rest])
    rank = [blocks.index(leg) if leg else len(blocks) for leg in legs]
    head = tuple(sorted(r for r in rank if r < len(blocks))) + (SPARE,) * (not all(legs))
    return sign_of(rank) * FormalSum.of(Diagram(like.l, like.k, tuple(blocks), "jellyfish", head))
