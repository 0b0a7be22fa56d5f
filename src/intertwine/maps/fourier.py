"""The Fourier basis of functions on a finite group: matrix entries of its real irreps, each independent one once."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..groups import Cyclic, Dihedral, Group
from ..reps import irrep_labels

MOST_ELEMENTS = 1000  # a basis is a dense matrix of this size, found by an eigendecomposition


@dataclass(frozen=True, eq=False)
class RealIrrep:
    """An irreducible real representation by its matrices [|G|, d, d], in the order of `elements()`.

    label: that of `group.irrep` where there are labels; otherwise one number, counting by dimension, then by character,
    the trivial one 0. endo: 1, 2 or 4 independent maps commute with it. units: those but the identity,
    [endo - 1, d, d], antisymmetric with square -1.
    """

    label: tuple[int, ...]
    matrices: np.ndarray
    units: np.ndarray

    @property
    def dim(self) -> int:
        """d."""
        return self.matrices.shape[1]

    @property
    def endo(self) -> int:
        """1 for real, 2 for complex, 4 for quaternionic type."""
        return len(self.units) + 1

    @property
    def copies(self) -> int:
        """How often it occurs in the regular representation: d / endo."""
        return self.dim // self.endo

    @property
    def character(self) -> np.ndarray:
        """The traces, [|G|]."""
        return self.matrices.trace(axis1=1, axis2=2)

    def frame(self, vectors: np.ndarray, count: int) -> np.ndarray:
        """The first `count` vectors [d, count] of a Gram-Schmidt sweep over columns that leave out what the units
        reach from those before: then their coefficients ρ(g)v are orthogonal functions."""
        chosen, taken = [], np.zeros((self.dim, 0))
        for v in vectors.T:
            if len(chosen) == count:
                break
            for _ in range(2):  # twice: once leaves rounding behind
                v = v - taken @ (taken.T @ v)
            size = np.linalg.norm(v)
            if size > 1e-6:
                chosen.append(v / size)
                taken = np.column_stack([taken, v / size, *(unit @ v / size for unit in self.units)])
        return np.array(chosen).reshape(count, self.dim).T

    def coefficients(self, frame: np.ndarray) -> np.ndarray:
        """Functions g -> √(d/|G|) (ρ(g)v)_i for each v of a frame [d, m], orthonormal: [|G|, m d], v outermost."""
        N, d, _ = self.matrices.shape
        values = np.einsum("gij,jm->gmi", self.matrices, frame)
        return np.sqrt(d / N) * values.reshape(N, -1)


def multiplication(group: Group) -> np.ndarray:
    """Position of gh for the elements at positions g and h, int64 [|G|, |G|]. Raises ValueError for large groups."""
    if group.order is None or group.order > MOST_ELEMENTS:
        raise ValueError(
            f"{group} has order {group.order or 'infinity'}: its Fourier basis is for {MOST_ELEMENTS} at most"
        )
    elements = group.elements()
    table = group.index(group.compose(group.reshape(elements, -1, 1), elements))
    return table.numpy()


@lru_cache(maxsize=64)
def real_irreps(group: Group) -> tuple[RealIrrep, ...]:
    """All irreducible real representations of a finite group; Cyclic(n) and Dihedral(n) by their formulas.

    Of any other group from the regular representation: a random symmetric matrix that commutes with it has them as its
    eigenspaces, with probability one (the draw is fixed).
    """
    if isinstance(group, Cyclic | Dihedral):
        found = []
        for label in irrep_labels(group):
            factor = group.irrep(*label).terms[0][0].factors[0]
            matrices = factor.matrix(group.elements()).numpy()
            found.append(RealIrrep(label, matrices, factor.endomorphisms().numpy()[1:]))
        return tuple(found)
    return _from_regular(group)


def _from_regular(group: Group) -> tuple[RealIrrep, ...]:
    table = multiplication(group)
    inverse = (table == 0).argmax(1)
    draw = np.random.default_rng(0).standard_normal(len(table))
    draw = draw + draw[inverse]
    values, vectors = np.linalg.eigh(draw[table[inverse]])  # entry (h, k) is the draw at h^-1 k
    spaces = np.split(vectors, np.flatnonzero(np.diff(values) > 1e-8 * np.abs(values).max()) + 1, axis=1)
    found: list[np.ndarray] = []
    for space in spaces:
        Q = _settled(space)
        matrices = np.einsum("ghi,hj->gij", Q[table], Q)
        character = matrices.trace(axis1=1, axis2=2)
        if all(np.abs(character - old.trace(axis1=1, axis2=2)).max() > 1e-6 for old in found):
            found.append(matrices)
    found.sort(key=lambda M: (M.shape[1], *(-M.trace(axis1=1, axis2=2)).round(6)))
    irreps = tuple(RealIrrep((i,), M, _units(M)) for i, M in enumerate(found))
    total = sum(rho.dim * rho.copies for rho in irreps)
    if total != group.order:
        raise ArithmeticError(f"the irreps found of {group} fill {total} of {group.order} dimensions")
    return irreps


def _settled(space: np.ndarray) -> np.ndarray:
    """An orthonormal basis of a column space that depends on the space alone, by Gram-Schmidt on the unit vectors."""
    columns: list[np.ndarray] = []
    for row in space:  # the projection of a unit vector, in coordinates of `space`
        rest = row - sum((c * (c @ row) for c in columns), np.zeros(len(row)))
        if np.linalg.norm(rest) > 1e-3 * np.linalg.norm(space[0]):
            columns.append(rest / np.linalg.norm(rest))
    return space @ np.array(columns).T


def _units(matrices: np.ndarray) -> np.ndarray:
    """Antisymmetric maps of square -1 that commute with an irrep, [0 | 1 | 3, d, d], averaged from fixed draws."""
    d = matrices.shape[1]
    character = matrices.trace(axis1=1, axis2=2)
    count = round(float((character**2).mean())) - 1
    random, units = np.random.default_rng(1), []
    while len(units) < count:
        draw = random.standard_normal((d, d))
        J = np.einsum("gij,jk,glk->il", matrices, draw - draw.T, matrices) / len(matrices)
        for unit in units:
            J = J - unit * (unit * J).sum() / d
        units.append(J * np.sqrt(d / (J**2).sum()))
    return np.array(units).reshape(count, d, d)


@lru_cache(maxsize=64)
def fourier_basis(group: Group) -> tuple[np.ndarray, tuple[tuple[tuple[int, ...], int, int], ...]]:
    """Columns √(d/|G|) ρ(g)_ij over real irreps, float64 [|G|, |G|], orthonormal; and a label (irrep, i, j) of each.

    Of an irrep of complex type with d = 2 only the first column j = 0 is independent, as everywhere: j counts a frame
    that the endomorphisms do not link. Rows in the order of `elements()`. Raises ValueError above 1000 elements.
    Source: arXiv:2504.17258, section 3.
    """
    multiplication(group)
    columns, labels = [], []
    for rho in real_irreps(group):
        columns.append(rho.coefficients(rho.frame(np.eye(rho.dim), rho.copies)))
        labels += [(rho.label, i, j) for j in range(rho.copies) for i in range(rho.dim)]
    F = np.concatenate(columns, 1)
    F.flags.writeable = False
    return F, tuple(labels)


def mean_shift(group: Group) -> np.ndarray:
    """The mean over generators s of the shifts f(g) -> f(gs) and f(g) -> f(g s^-1), float64 [|G|, |G|], symmetric.

    1 - <f, L f> says how rough a function is along the Cayley graph. Without generators: the identity.
    """
    generators = group.generators()
    (count,) = group.batch_shape(generators)
    table = multiplication(group)
    if not count:
        return np.eye(len(table))
    L = sum(np.eye(len(table))[table[:, s]] for s in group.index(generators).tolist())
    return (L + L.T) / (2 * count)
