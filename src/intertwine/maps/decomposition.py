"""Write a representation of a finite or compact group as a sum of irreps, when nothing but its matrices is known.

A symmetric matrix that commutes with the group has irreducible eigenspaces, unless two eigenvalues meet by accident.
Any other commuting matrix maps the eigenspaces into each other, to zero where they differ as representations and by an
isometry where they agree: that aligns them. Inside one it is a real, complex or quaternionic number: that is the type.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float

from ..groups import Group
from ..reps import Product, Rep
from .commutant import Orthogonal
from .echelon import pivots
from .families import SMALL, Family, families
from .labels import Names, testers
from .schur import endomorphisms

LARGEST = 2048  # components of one decomposition


@dataclass(frozen=True, eq=False)
class Part:
    """The copies of one irrep in some terms: `copies[t]` [m_t, W_t.dim, d] embeds m_t of them in term t, isometrically.

    endomorphisms: [1 | 2 | 4, d, d], orthogonal matrices that commute with the irrep, the identity first. term: the
    irrep itself where it has a label, in whose basis the copies then are.
    """

    label: str
    copies: tuple[np.ndarray, ...]
    endomorphisms: np.ndarray
    term: Product | None

    @property
    def dim(self) -> int:
        """Dimension of the irrep."""
        return self.endomorphisms.shape[1]


@dataclass(frozen=True, eq=False)
class Decomposition:
    """A Rep as a sum of irreps: Q^-1 rho(g) Q is block diagonal, for each label [dim, multiplicity] components first.

    Q^-1 x is thus a feature of `irreps`, where all of them have labels. Labels are those of `G.irrep` and `so3.Irreps`;
    partitions of n for S(n); characters, chi(dim, ...), for any other group. Q is orthogonal where the Rep is.
    """

    rep: Rep
    parts: tuple[Part, ...]
    L: np.ndarray | None  # Q = L^-T times orthonormal columns

    @property
    def labels(self) -> tuple[str, ...]:
        """The irreps that occur, each once."""
        return tuple(part.label for part in self.parts)

    @cached_property
    def multiplicities(self) -> tuple[int, ...]:
        """How often each occurs."""
        counts = [c for _, c in self.rep.terms]
        return tuple(sum(c * len(F) for c, F in zip(counts, part.copies)) for part in self.parts)

    @property
    def dims(self) -> tuple[int, ...]:
        """The dimension of each."""
        return tuple(part.dim for part in self.parts)

    @property
    def types(self) -> tuple[str, ...]:
        """R, C or H: one, two or four independent maps from the irrep to itself."""
        return tuple({1: "R", 2: "C", 4: "H"}[len(part.endomorphisms)] for part in self.parts)

    @property
    def commutant(self) -> int:
        """Dimension of the space of maps from the Rep to itself: the sum of type times multiplicity squared."""
        return sum(len(part.endomorphisms) * m**2 for part, m in zip(self.parts, self.multiplicities))

    @property
    def irreps(self) -> Rep:
        """The same as a sum of named irreps. Raises ValueError where one has no label that is a representation here."""
        unnamed = [part.label for part in self.parts if part.term is None]
        if unnamed:
            raise ValueError(f"{self.rep!r}: there is no representation named {', '.join(unnamed)}")
        return Rep(self.rep.group, [(part.term, m) for part, m in zip(self.parts, self.multiplicities)])

    @cached_property
    def Q(self) -> Float[np.ndarray, "dim dim"]:
        """The change of basis, float64: columns by label, then component, then copy (term, copy in it, channel)."""
        columns = [self._columns(part) for part in self.parts]
        Q = np.concatenate(columns, 1) if columns else np.zeros((0, 0))
        return Q if self.L is None else self._undo(Q)

    def _columns(self, part: Part) -> np.ndarray:
        blocks, start = [], 0
        for (W, c), F in zip(self.rep.terms, part.copies):
            out = np.zeros((self.rep.dim, part.dim, len(F), c))
            rows = out[start : start + W.dim * c].reshape(W.dim, c, part.dim, len(F), c)
            for channel in range(c):
                rows[:, channel, :, :, channel] = F.transpose(1, 2, 0)
            blocks.append(out.reshape(self.rep.dim, part.dim, -1))
            start += W.dim * c
        return np.concatenate(blocks, 2).reshape(self.rep.dim, -1)

    def _undo(self, Q: np.ndarray) -> np.ndarray:
        # L belongs to the terms without channels, one after the other, and is block diagonal
        blocks, start, first = [], 0, 0
        for W, c in self.rep.terms:
            rows = Q[start : start + W.dim * c].reshape(W.dim, -1)
            L = self.L[first : first + W.dim, first : first + W.dim]
            blocks.append(np.linalg.solve(L.T, rows).reshape(W.dim * c, -1))
            start, first = start + W.dim * c, first + W.dim
        return np.concatenate(blocks)

    def __str__(self) -> str:
        named = [f"{m}*{label}" if m > 1 else label for label, m in zip(self.labels, self.multiplicities)]
        return " + ".join(named) or "0"

    def __repr__(self) -> str:
        return f"Decomposition({self.rep!r} = {self})"


def decompose(rep: Rep) -> Decomposition:
    """Any Rep of a finite or compact group as a sum of irreps, found from its matrices alone.

    Exact to rounding and the same in every process. Raises ValueError for a group that is neither finite nor compact
    and for terms of more than 2048 components together, ArithmeticError where the group cannot be sampled evenly.
    """
    if not isinstance(rep, Rep):
        raise TypeError(f"decompose: give a Rep, such as S(5).V**2, got {rep!r}")
    if not (rep.group.is_finite or rep.group.is_compact):
        raise ValueError(f"decompose: {rep.group} is neither finite nor compact, so {rep} need not be a sum of irreps")
    kinds = tuple(dict.fromkeys(W for W, _ in rep.terms))
    if sum(W.dim for W in kinds) > LARGEST:
        raise ValueError(
            f"decompose: the terms of {rep!r} have {sum(W.dim for W in kinds)} components without multiplicities, at "
            f"most {LARGEST} can be decomposed at once; decompose them one by one"
        )
    parts, L = together(rep.group, kinds)
    spread = [kinds.index(W) for W, _ in rep.terms]
    return Decomposition(
        rep,
        tuple(Part(p.label, tuple(p.copies[k] for k in spread), p.endomorphisms, p.term) for p in parts),
        L if L is None else _spread(L, kinds, spread),
    )


def _spread(L: np.ndarray, kinds: tuple[Product, ...], order: list[int]) -> np.ndarray:
    starts = np.cumsum([0, *(W.dim for W in kinds)])
    rows = np.concatenate([np.arange(starts[k], starts[k + 1]) for k in order])
    first = np.cumsum([0, *(kinds[k].dim for k in order)])
    mask = np.zeros((len(rows), len(rows)))
    for a, b in pairwise(first):
        mask[a:b, a:b] = 1
    return L[np.ix_(rows, rows)] * mask


@lru_cache(maxsize=64)
def together(group: Group, terms: tuple[Product, ...]) -> tuple[tuple[Part, ...], np.ndarray | None]:
    """The irreps in some different terms, each in one basis for all of them; and L of `commutant.Orthogonal`."""
    rep = Rep(group, [(W, 1) for W in terms])
    generator = torch.Generator().manual_seed(0)
    if rep.dim == 0:
        return (), None
    space = Orthogonal(rep, generator)
    g = testers(group)
    names = Names(group, g)
    sizes = np.array([W.dim for W in terms])
    owner = np.repeat(np.arange(len(terms)), sizes)
    for attempt in range(4):
        X, Y, Z = space.average(np.random.default_rng(attempt).standard_normal((3, rep.dim, rep.dim)))
        X = np.where(owner[:, None] == owner, X + X.T, 0)  # eigenvectors lie in one term each
        kinds = families(X, Y, owner)
        if kinds is not None:
            break
    else:
        raise ArithmeticError(f"decompose: the eigenspaces of four commuting matrices of {rep!r} are not irreducible")
    found = [_part(space, names, g, family, Y, Z, owner, len(terms)) for family in kinds]
    found.sort(key=lambda pair: pair[0])
    return tuple(part for _, part in found), space.L


def _part(
    space: Orthogonal, names: Names, g, family: Family, Y: np.ndarray, Z: np.ndarray, owner: np.ndarray, terms: int
) -> tuple[tuple, Part]:
    """Name an irrep, bring it to the basis that its name has, and choose its copies."""
    first = family[0][1]
    d = first.shape[1]
    character = space.characters(g, first[None])[:, 0]
    known = names.term(d, character)
    if known is None:
        key, label = names.name(d, character)
        key, term, E = (1, *key), None, _endomorphisms(first, Y, Z)
    else:
        place, term = known
        turn, E = _align(space, term, first)
        family = [(t, F @ turn) for t, F in family]
        key, label = (0, place), str(term.factors[0]) if len(term.factors) == 1 else str(term)
    copies = []
    for t in range(terms):
        chosen = np.array([F[owner == t] for s, F in family if s == t]).reshape(-1, int((owner == t).sum()), d)
        copies.append(_chosen(chosen, E))
    return key, Part(label, tuple(copies), E, term)


def _endomorphisms(F: np.ndarray, Y: np.ndarray, Z: np.ndarray) -> np.ndarray:
    """The real, complex or quaternionic numbers of an irreducible subspace, [1 | 2 | 4, d, d]."""
    d = F.shape[1]
    found = [np.eye(d)]
    for M in (Y, Z):
        odd = F.T @ (M - M.T) @ F
        for other in found:
            odd = odd - (odd * other).sum() / d * other
        size = np.linalg.norm(odd) / np.sqrt(d)
        if size > SMALL:
            odd = odd / size
            row = np.flatnonzero(np.abs(odd[0]) > SMALL)[0]  # in a plane, a quarter turn that takes x to y
            found.append(odd * -np.sign(odd[0, row]))
    if len(found) == 3:
        found.append(found[1] @ found[2])
    return np.array(found)


def _align(space: Orthogonal, term: Product, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R with F R in the basis of a named irrep, and the endomorphisms of that."""
    group, d = space.rep.group, F.shape[1]
    rep = Rep(group, [(term, 1)])
    constraints = []
    for g in (group.sample(4, generator=torch.Generator().manual_seed(1)), group.generators()):
        here, there = space.blocks(g, F), rep.matrix(g).numpy()
        constraints += [np.kron(A, np.eye(d)) - np.kron(np.eye(d), B.T) for A, B in zip(here, there)]
    _, sizes, V = np.linalg.svd(np.concatenate(constraints))  # here R = R there
    null = V[sizes < SMALL].reshape(-1, d, d)
    R = null[0] / np.linalg.norm(null[0]) * np.sqrt(d)
    return R, endomorphisms(term)


def _chosen(F: np.ndarray, E: np.ndarray) -> np.ndarray:
    """Copies that depend on the space they span alone: of copies F [m, dim, d], combined by endomorphisms E.

    The first component of all copies and their turned ones spans a space; its part nearest to the first coordinate axis
    that it reaches is the first component of the first copy, and so on in what is left.
    """
    m, dim, d = F.shape
    if m == 0:
        return F
    turned = np.einsum("mik,ekl->meil", F, E)  # [m, e, dim, d]
    first = turned[..., 0].reshape(m * len(E), dim)
    left, copies = first.T, []
    for _ in range(m):
        p = pivots(left)[0]
        v = left @ left[p]
        v /= np.linalg.norm(v)
        copies.append(np.einsum("k,kid->id", first @ v, turned.reshape(-1, dim, d)))
        own = np.array([(copies[-1] @ e)[:, 0] for e in E]).T
        left = left - own @ (own.T @ left)
        U, sizes, _ = np.linalg.svd(left, full_matrices=False)
        left = U[:, sizes > 0.5]
    return np.array(copies)
