"""Cartesian tensors as irreps and back: any index symmetry, by an orthogonal change of basis found once."""

from functools import cached_property, lru_cache
from math import sqrt

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from ..groups import SO, Group, O
from .irreps import Irrep, Irreps
from .wigner import check_degree, clebsch_gordan, generators

LARGEST = 2000  # independent components; the change of basis is a dense matrix of this size
TURNED = (2, 0, 1)  # x, y, z ordered as y < z < x: the polar axis first, and ε positive


@lru_cache(maxsize=32)
def P(l: int) -> Float[np.ndarray, "*three m"]:
    """The isometry [3, ..., 3, 2l+1] between degree l and symmetric traceless tensors of rank l: t = P x, x = Pᵀ t.

    PᵀP = 1, and PPᵀ is the projector onto symmetric traceless tensors. Signs are those of the harmonics: Pᵀ(r ⊗ .. ⊗ r)
    is a positive multiple of Y_l(r); P(1) is the identity. Float64, cached, read-only.
    Raises ValueError for a degree below 0. Source: arXiv:2508.12596.
    """
    check_degree("P", l)
    if l == 0:
        return _frozen(np.ones(1))
    if l == 1:
        return _frozen(np.eye(3))
    climb = clebsch_gordan(l - 1, 1, l) * sqrt(2 * l + 1)  # degree l is the top of (l-1) ⊗ 1
    return _frozen(np.tensordot(P(l - 1), climb, 1))


class CartesianTensor:
    """Tensors with the index symmetry of a formula, such as "ijkl=jikl=klij", and the irreps that they hold.

    Each index is a vector. Every `=` names a permutation of the indices that keeps the tensor, or with a minus turns
    its sign ("ij=-ji"). pseudo: the tensor changes sign under inversion once more than its indices do (the Levi-Civita
    symbol, the magnetic field). group: O(3) by default, or SO(3) for irreps without parities.

    `irreps` is what it decomposes into, by degree; `basis` [irreps.dim, 3, ..., 3] is orthonormal, its rows in the
    layout of `irreps`; `components` lists the multi-indices of the independent components, lexicographic (21 for
    elasticity). Where a degree occurs once its basis is unique up to sign; the sign makes the component along y
    positive, as in the harmonics, and gives "ij=-ji" the right-handed axial vector. Where it occurs several times, the
    copies are orthonormal in a fixed order.
    Raises ValueError for a formula that does not parse, that only the zero tensor satisfies, or of over 2000
    components.
    """

    def __init__(self, formula: str, *, pseudo: bool = False, group: Group | None = None):
        group = group or O(3)
        if group not in (O(3), SO(3)):
            raise ValueError(f"CartesianTensor: tensors of space turn under O(3) or SO(3), not {group}")
        self.formula, self.pseudo, self.group = formula, bool(pseudo), group
        self.rank = len(parse(formula)[0])
        basis, self.components, self._rows = decompose(formula)
        self._degrees = {l: rows.shape[-1] for l, rows in basis}
        p = None if group == SO(3) else (-1) ** (self.rank + self.pseudo)
        self.irreps = Irreps([(count, Irrep(l, p)) for l, count in self._degrees.items()])
        self._change = np.concatenate([rows.transpose(1, 2, 0).reshape(-1, rows.shape[0]) for _, rows in basis])
        self._sizes = np.sqrt(np.bincount(self._rows.row, minlength=len(self.components)).astype(float))

    def __repr__(self) -> str:
        kind = ", pseudo" if self.pseudo else ""
        return f"CartesianTensor({self.formula}{kind}: {self.irreps})"

    @cached_property
    def basis(self) -> Float[np.ndarray, "dim *three"]:
        """One tensor for each entry of the irreps, orthonormal, float64."""
        full = (self._rows.tocsr().T @ self._change.T).T.reshape(-1, *[3] * self.rank)
        return _frozen(np.ascontiguousarray(full))

    def to_irreps(self, t: Float[Tensor, "*batch_and_indices"]) -> Float[Tensor, "*batch dim"]:
        """The irreps of tensors [*batch, 3, ..., 3], of their part with this symmetry. ValueError on the shape."""
        flat = self._flat(t)
        return flat @ _like(self.basis.reshape(self.irreps.dim, -1), t).mT

    def from_irreps(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch_and_indices"]:
        """The tensors [*batch, 3, ..., 3] with these irreps; lengths are kept. Raises ValueError on the last axis."""
        self.irreps.check(x)
        t = x @ _like(self.basis.reshape(self.irreps.dim, -1), x)
        return t.reshape(*x.shape[:-1], *[3] * self.rank)

    def pack(self, t: Float[Tensor, "*batch_and_indices"]) -> Float[Tensor, "*batch dim"]:
        """The independent components, in the order of `components`, of tensors that have the symmetry."""
        index = [np.ravel_multi_index(c, (3,) * self.rank) if c else 0 for c in self.components]
        return self._flat(t)[..., index]

    def unpack(self, c: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch_and_indices"]:
        """The whole tensors [*batch, 3, ..., 3] from their independent components."""
        self.irreps.check(c)
        full = _like(self._rows.toarray() * self._sizes[:, None], c)
        return (c @ full).reshape(*c.shape[:-1], *[3] * self.rank)

    def irreps_from_packed(self, c: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """`to_irreps(unpack(c))` as one small matrix."""
        self.irreps.check(c)
        return c @ _like(self._change * self._sizes, c).mT

    def packed_from_irreps(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """`pack(from_irreps(x))` as one small matrix."""
        self.irreps.check(x)
        return x @ _like(self._change / self._sizes, x)

    def _flat(self, t: Tensor) -> Tensor:
        tail = (3,) * self.rank
        if t.ndim < self.rank or tuple(t.shape[t.ndim - self.rank :]) != tail:
            raise ValueError(f"{self}: the last {self.rank} axes must be 3, the data has shape {tuple(t.shape)}")
        return t.reshape(*t.shape[: t.ndim - self.rank], 3**self.rank)


def parse(formula: str) -> tuple[str, list[tuple[tuple[int, ...], int]]]:
    """The letters of the first term, and each other term as (place of its letters in the first, sign)."""
    first, *rest = formula.replace(" ", "").split("=")
    if not all(letter.isalpha() for letter in first) or len(set(first)) != len(first):
        raise ValueError(f"CartesianTensor: {formula!r}: the first term {first!r} must be different letters")
    terms = []
    for term in rest:
        letters = term.removeprefix("-")
        if sorted(letters) != sorted(first):
            raise ValueError(f"CartesianTensor: {formula!r}: {term!r} is no reordering of the letters of {first!r}")
        terms.append((tuple(first.index(letter) for letter in letters), -1 if term != letters else 1))
    return first, terms


@lru_cache(maxsize=64)
def decompose(formula: str) -> tuple[list[tuple[int, np.ndarray]], tuple[tuple[int, ...], ...], sparse.coo_array]:
    """Degrees with their bases [components, 2l+1, multiplicity], the independent components, and the orthonormal rows
    [components, 3^rank] that these are.

    Orbits of multi-indices under the permutations give the rows; the Casimir operator, on them, the degrees; its part
    that turns about y fixes gives order 0, and the generators climb from there.
    """
    letters, terms = parse(formula)
    rank = len(letters)
    rows, components, turned = orbits(rank, terms)
    if not components:
        raise ValueError(f"CartesianTensor: only the zero tensor has the symmetry {formula!r} in three dimensions")
    if len(components) > LARGEST:
        raise ValueError(
            f"CartesianTensor: {formula!r} has {len(components)} independent components, more than {LARGEST}; the "
            "change of basis is a dense matrix. Split the tensor, or give more symmetry"
        )
    G = [rows @ sum_over_legs(g, rank) @ rows.T for g in generators(1)]
    G = [g.toarray() for g in G]
    values, vectors = np.linalg.eigh(-sum(g @ g for g in G))
    found = np.rint((np.sqrt(1 + 4 * np.abs(values)) - 1) / 2).astype(int)
    blocks = []
    for l in sorted(set(found.tolist())):
        space = vectors[:, found == l]
        blocks.append((l, climb(l, canonical(fixed(space, G[1]), turned), G)))
    return blocks, components, rows.tocoo()


def orbits(rank: int, terms) -> tuple[sparse.csr_array, tuple[tuple[int, ...], ...], list[tuple[int, int]]]:
    """Orthonormal rows, one for each orbit of multi-indices that its signs do not cancel; the least multi-index of
    each; and the orbits ordered by their least multi-index in the order y < z < x, each with its sign there."""
    size = 3**rank
    index = np.arange(size).reshape((3,) * rank)
    ends = [(np.arange(2 * size), np.arange(2 * size))]
    for places, sign in terms:
        image = index.transpose(np.argsort(places)).ravel()
        swapped = np.concatenate([image, image + size] if sign == 1 else [image + size, image])
        ends.append((np.arange(2 * size), swapped))
    source, target = (np.concatenate(side) for side in zip(*ends))
    graph = sparse.coo_array((np.ones(len(source)), (source, target)), (2 * size, 2 * size))
    _, label = sparse.csgraph.connected_components(graph, directed=False)
    plus, minus = label[:size], label[size:]
    alive = np.flatnonzero(plus != minus)
    least, row = np.unique(np.minimum(plus, minus)[alive], return_inverse=True)
    first = np.full(len(least), size)
    np.minimum.at(first, row, alive)
    order = np.argsort(first)
    row, first = np.argsort(order)[row], first[order]
    sign = np.where(plus[alive] == plus[first[row]], 1.0, -1.0)
    counts = np.bincount(row, minlength=len(first))
    rows = sparse.csr_array((sign / np.sqrt(counts[row]), (row, alive)), (len(first), size))
    digits = np.stack(np.unravel_index(alive, (3,) * rank), -1) if rank else np.zeros((1, 0), dtype=int)
    key = np.array(TURNED)[digits] @ 3 ** np.arange(rank)[::-1] if rank else np.zeros(1, dtype=int)
    turned, seen = [], set()
    for k in np.argsort(key):
        if row[k] not in seen:
            seen.add(row[k])
            turned.append((int(row[k]), int(sign[k])))
    components = tuple(tuple(map(int, np.unravel_index(i, (3,) * rank))) if rank else () for i in first)
    return rows, components, turned


def sum_over_legs(g: np.ndarray, rank: int) -> sparse.csr_array:
    """A matrix of the Lie algebra on each index of a tensor in turn, summed: [3^rank, 3^rank]."""
    total = sparse.csr_array((3**rank, 3**rank))
    for leg in range(rank):
        before, after = sparse.eye_array(3**leg), sparse.eye_array(3 ** (rank - leg - 1))
        total = total + sparse.kron(sparse.kron(before, sparse.csr_array(g)), after, format="csr")
    return total


def fixed(space: np.ndarray, G_y: np.ndarray) -> np.ndarray:
    """Orthonormal columns of `space` that turns about y leave alone: order 0, one for each copy of the degree."""
    turn = G_y @ space
    squares, vectors = np.linalg.eigh(turn.T @ turn)  # of the orders
    return space @ vectors[:, squares < 0.25]


def canonical(columns: np.ndarray, turned: list[tuple[int, int]]) -> np.ndarray:
    """The same span in a basis that does not depend on how it was found: the projected axes in turn, made orthonormal,
    each with a positive entry where it was found."""
    basis = np.zeros((len(columns), 0))
    for axis, sign in turned:
        if basis.shape[1] == columns.shape[1]:
            break
        v = columns @ columns[axis] * sign
        for _ in range(2):  # twice is enough for full precision
            v = v - basis @ (basis.T @ v)
        if (length := np.linalg.norm(v)) > 1e-6:
            basis = np.column_stack([basis, v / length])
    return basis


def climb(l: int, zero: np.ndarray, G: list[np.ndarray]) -> np.ndarray:
    """All orders -l..l of a degree from its order 0, [components, copies] -> [components, 2l+1, copies]."""
    g = generators(l)
    T = np.zeros((zero.shape[0], 2 * l + 1, zero.shape[1]))
    T[:, l] = zero
    for m in range(1, l + 1):
        for to in (m, -m):
            axis = 2 if to == -1 else 0  # turns about x keep the sign of the order; from 0 to -1 leads a turn about z
            start = to - 1 if to > 0 else to + 1
            step = G[axis] @ T[:, l + start] - np.einsum("m,cmk->ck", g[axis][:, l + start], T)
            T[:, l + to] = step / g[axis][l + to, l + start]
    return T


def _like(constant: np.ndarray, t: Tensor) -> Tensor:
    return torch.tensor(constant, dtype=t.dtype, device=t.device)


def _frozen(x: np.ndarray) -> np.ndarray:
    x.setflags(write=False)
    return x
