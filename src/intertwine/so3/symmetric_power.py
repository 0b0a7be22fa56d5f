"""Homogeneous equivariant polynomials of one feature: what a power of A can give in one irrep, without repetition.

A coupling of ν equal factors only keeps its part that is symmetric under exchange of the factors, so a polynomial is
stored by its coefficients on monomials. The inner product is Fischer's, Σ_a c_a c'_a a!, which rotations keep.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import factorial, prod, sqrt

import numpy as np
from jaxtyping import Float, Int

from .irreps import Irrep
from .wigner import _frozen, clebsch_gordan

Inputs = tuple[Irrep, ...]
Content = tuple[int, ...]  # sorted input blocks


@dataclass(frozen=True, eq=False)
class Coupling:
    """Polynomials of one degree that turn as `irrep`: a coupling of lower degree (`before`) times input block `last`.

    content: the sorted input blocks that are its factors; values: [2l+1, monomials of this content].
    """

    irrep: Irrep
    content: Content
    before: "Coupling | None"
    last: int
    values: np.ndarray

    @property
    def degree(self) -> int:
        """How many factors."""
        return len(self.content)

    def intermediates(self) -> tuple[Irrep, ...]:
        """The irreps on the way: after one factor, after two, and so on."""
        return (*(self.before.intermediates() if self.before else ()), self.irrep)


@lru_cache(maxsize=2048)
def monomials(sizes: tuple[int, ...], content: Content) -> Int[np.ndarray, "monomials degree"]:
    """Sorted variables of every product of components of the blocks in `content`, in lexicographic order.

    sizes: components of every input block; variables are numbered through all of them.
    """
    starts = [0, *itertools.accumulate(sizes)]
    runs = [
        itertools.combinations_with_replacement(range(starts[block], starts[block + 1]), len(list(same)))
        for block, same in itertools.groupby(content)
    ]
    found = [list(itertools.chain(*parts)) for parts in itertools.product(*runs)]
    return _frozen(np.array(found, dtype=np.int64).reshape(-1, len(content)))


@lru_cache(maxsize=2048)
def _times(sizes: tuple[int, ...], content: Content, last: int) -> Int[np.ndarray, "monomials components"]:
    """Which monomial of `content` with `last` each monomial of `content` times each component of `last` is."""
    here, there = monomials(sizes, content), monomials(sizes, tuple(sorted((*content, last))))
    base = sum(sizes) ** np.arange(len(content), -1, -1)
    own = monomials(sizes, (last,))
    grown = np.concatenate([np.repeat(here, len(own), 0), np.tile(own, (len(here), 1))], 1)
    return _frozen(np.searchsorted(there @ base, np.sort(grown, 1) @ base).reshape(-1, len(own)))


@lru_cache(maxsize=2048)
def multiplicities(sizes: tuple[int, ...], content: Content) -> Float[np.ndarray, " monomials"]:
    """a! = Π a_i! of every monomial: its weight in the inner product."""
    counts = (
        [factorial(len(list(same))) for _, same in itertools.groupby(m)] for m in monomials(sizes, content).tolist()
    )
    return _frozen(np.array([prod(c) for c in counts], dtype=float))


def sizes_of(inputs: Inputs) -> tuple[int, ...]:
    """Components of every input block."""
    return tuple(irrep.dim for irrep in inputs)


def single(inputs: Inputs) -> list[Coupling]:
    """The input blocks themselves, degree 1."""
    return [Coupling(irrep, (i,), None, i, np.eye(irrep.dim)) for i, irrep in enumerate(inputs)]


def times(inputs: Inputs, before: Coupling, last: int, irrep: Irrep) -> Coupling:
    """`before` coupled with one more factor of input block `last` into `irrep`, scaled by √(2l+1)."""
    content, sizes = tuple(sorted((*before.content, last))), sizes_of(inputs)
    C = sqrt(irrep.dim) * clebsch_gordan(before.irrep.l, inputs[last].l, irrep.l)
    table = _times(sizes, before.content, last)
    values = np.zeros((irrep.dim, len(monomials(sizes, content))))
    for j in range(sizes[last]):  # for one variable no two monomials meet
        values[:, table[:, j]] += C[:, j].T @ before.values
    return Coupling(irrep, content, before, last, values)


def products(inputs: Inputs, lower: Sequence[Coupling], irrep: Irrep) -> Iterator[Coupling]:
    """Every coupling into `irrep` of one of `lower` with one more factor, low and few blocks first."""
    pairs = [(b, i) for b in lower for i in range(len(inputs)) if irrep in b.irrep * inputs[i]]
    for before, last in sorted(pairs, key=lambda pair: (pair[0].irrep.l, len(set(pair[0].content)))):
        yield times(inputs, before, last, irrep)


def gram(inputs: Inputs, couplings: Sequence[Coupling], others: Sequence[Coupling]) -> np.ndarray:
    """Inner products, [couplings, others], of polynomials of one irrep, divided by 2l+1; 0 for different contents."""
    found, sizes = np.zeros((len(couplings), len(others))), sizes_of(inputs)
    for i, a in enumerate(couplings):
        weighted = a.values * multiplicities(sizes, a.content) / a.irrep.dim
        for j, b in enumerate(others):
            if a.content == b.content:
                found[i, j] = np.vdot(weighted, b.values)
    return found


def independent(inputs: Inputs, candidates: Iterator[Coupling]) -> list[Coupling]:
    """The first of `candidates` that span all of them; a coupling that is antisymmetric somewhere is zero."""
    kept, spans = [], {}
    for one in candidates:
        # One component is enough, since by Schur's lemma the others say the same.
        rest = one.values[0] * np.sqrt(multiplicities(sizes_of(inputs), one.content))
        size = np.linalg.norm(rest)
        span = spans.setdefault(one.content, [])
        for _ in range(2):
            for v in span:
                rest = rest - (v @ rest) * v
        if np.linalg.norm(rest) > 1e-8 * max(size, 1.0):
            span.append(rest / np.linalg.norm(rest))
            kept.append(one)
    return kept


def symmetric_bases(inputs: Inputs, outputs: Inputs, degree: int) -> list[dict[Irrep, list[Coupling]]]:
    """For each degree 1..`degree` and irrep the independent couplings: all that can still lead to `outputs`."""
    reach, step = max(irrep.l for irrep in outputs), max(irrep.l for irrep in inputs)
    found: list[dict[Irrep, list[Coupling]]] = [{}]
    for one in single(inputs):
        found[0].setdefault(one.irrep, []).append(one)
    for n in range(2, degree + 1):
        lower = [c for some in found[-1].values() for c in some]
        irreps = {irrep for c in lower for b in inputs for irrep in c.irrep * b}
        limit = reach + (degree - n) * step
        irreps = {k for k in irreps if (k in outputs if n == degree else k.l <= limit)} | (set(outputs) & irreps)
        found.append({k: independent(inputs, products(inputs, lower, k)) for k in sorted(irreps)})
    return found


def all_couplings(inputs: Inputs, irrep: Irrep, degree: int) -> list[Coupling]:
    """Every way to couple `degree` factors, left to right, into `irrep`, repetitions and zeros included."""
    lower = single(inputs)
    reach = max(b.l for b in inputs)
    for n in range(2, degree):
        irreps = {k for c in lower for b in inputs for k in c.irrep * b if k.l <= irrep.l + (degree - n) * reach}
        lower = [c for k in sorted(irreps) for c in products(inputs, lower, k)]
    return list(products(inputs, lower, irrep)) if degree > 1 else [c for c in lower if c.irrep == irrep]
