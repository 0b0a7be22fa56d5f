"""Schur's lemma where both sides are sums of irreps: into the irreps, mix the channels of equal ones, and back.

For the regular representation of a cyclic group the way in is the Fourier transform, and the layer is a circular
convolution. A complex multiplication takes three real ones (Gauss), so an irrep of complex type costs what three of
real type and half its dimension do.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy.linalg import block_diag
from torch import Tensor

from ..groups import Group, O
from ..groups import U as Unitary
from ..reps import Product, known_irreps
from .decomposition import LARGEST, Part, together
from .dense import DenseKernel
from .kernel import Kernel, Plan

LARGEST_AUTOMATIC = 256  # components of a term that is decomposed without being asked
MOST_DENSE = 2**22  # numbers in a basis that may be applied as one array
OUTSIDE = 4  # time of one operation outside the large products, in units of one inside (measured on CPUs)


FEW = 64  # maps of a pool whose weights are brought into place by one matrix: few numbers, so that calls are what costs
GAUSS = ((1, 0), (1, 1), (-1, 1))  # a product with a + ib takes those with a, a + b and b - a


@dataclass(frozen=True)
class Pool:
    """Irreps mixed in one batched product of `count` matrices, on `rows` components of each (complex ones for complex
    type): every output copy, of m_out, is a sum over `width` input copies, those turned by endomorphisms among them.

    Their weights are `size` from `start` on. A matrix makes those of the product from each of `groups` equal parts of
    them; groups is 0 where they are the same.
    """

    start: int
    size: int
    groups: int
    count: int
    rows: int
    width: int
    m_out: int

    def flops(self, c_in: int, c_out: int) -> int:
        """Operations of the mixing."""
        return 2 * self.count * self.rows * self.width * c_in * self.m_out * c_out

    def weights(self, w: Tensor, matrix: Tensor | None) -> Tensor:
        """[count, width c_in, m_out c_out] of weights [.., c_in, c_out]."""
        c_in, c_out = w.shape[1:]
        if self.size < len(w):
            w = w.narrow(0, self.start, self.size)
        if matrix is not None:
            w = matrix @ (w.flatten(1) if self.groups == 1 else w.reshape(self.groups, -1, c_in * c_out))
        w = w.reshape(self.count, self.width, self.m_out, c_in, c_out).transpose(2, 3)
        return w.reshape(self.count, self.width * c_in, self.m_out * c_out)


@dataclass(frozen=True)
class MixIrreps(Plan):
    """Constants: the way in of every pool [count rows width, dim_in], then the way out of every pool [dim_out, count
    rows m_out], then the matrix for the weights of every pool that needs one."""

    pools: tuple[Pool, ...]

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        lead, (dim_in, c_in), c_out = x.shape[:-2], x.shape[-2:], w.shape[-1]
        ways, back = constants[: len(self.pools)], constants[len(self.pools) : 2 * len(self.pools)]
        matrices = iter(constants[2 * len(self.pools) :])
        dim_out = back[0].shape[0]
        # components first, so that the ways in and out are products of large matrices too
        flat = x.reshape(-1, dim_in, c_in).transpose(0, 1)
        batch = flat.shape[1]
        flat = flat.reshape(dim_in, batch * c_in)
        parts = []
        for p, way in zip(self.pools, ways):
            z = (way @ flat).view(p.count, p.rows, p.width, batch, c_in).transpose(2, 3)
            W = p.weights(w, next(matrices) if p.groups else None)
            z = torch.bmm(z.reshape(p.count, p.rows * batch, p.width * c_in), W)
            z = z.view(p.count * p.rows, batch, p.m_out, c_out).transpose(1, 2)
            parts.append(z.reshape(p.count * p.rows * p.m_out, batch * c_out))
        y = back[0] @ parts[0]
        for way, part in zip(back[1:], parts[1:]):
            y = torch.addmm(y, way, part)
        return y.view(dim_out, batch, c_out).transpose(0, 1).reshape(*lead, dim_out, c_out)


@dataclass(frozen=True, eq=False)
class IsotypicKernel(Kernel):
    """Hom(U, W) of two sums of irreps: for each irrep in both, copy a in U, copy b in W and endomorphism E of the irrep
    the map (b) E (a)^T, in this order. The copies are orthonormal; the maps are orthogonal, with a squared norm of
    dim_out, so that between regular features (their rows all have norm 1) `nn.Linear` has nothing to scale.

    parts: what both sides have in common, irreps of one kind next to each other.
    """

    parts: tuple[Part, ...]
    dim_in: int
    dim_out: int
    route: str = "schur (irreps)"

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(
            f"{part.label}:{a}>{b}:{e}"
            for part in self.parts
            for a in range(len(part.copies[0]))
            for b in range(len(part.copies[-1]))
            for e in "1ijk"[: len(part.endomorphisms)]
        )

    def _each(self) -> Iterator[np.ndarray]:
        """The maps of each part, [n, dim_out, dim_in]."""
        for part in self.parts:
            F, G = part.copies[0], part.copies[-1]
            B = np.einsum("bik,ekl,ajl->abeij", G, part.endomorphisms, F, optimize=True)
            yield self._size(part) * B.reshape(-1, self.dim_out, self.dim_in)

    def _size(self, part: Part) -> float:
        return (self.dim_out / part.dim) ** 0.5

    def dense(self) -> np.ndarray:
        found = list(self._each())
        return np.concatenate(found) if found else np.zeros((0, self.dim_out, self.dim_in))

    def plan(self, c_in: int, c_out: int) -> Plan:
        pooled: dict[tuple[int, ...], list[Part]] = {}
        for part in self.parts:
            pooled.setdefault(kind(part)[: 3 if self.N <= FEW else 4], []).append(part)
        pools, ways, backs, matrices, start = [], [], [], [], 0
        for (rows, width, m_out, *_), members in pooled.items():
            there, back = ([way[side] for way in map(both_ways, members)] for side in (0, 1))
            ways.append(np.concatenate(there).reshape(-1, self.dim_in))
            back = [self._size(part) * way for part, way in zip(members, back)]
            backs.append(np.concatenate(back).reshape(-1, self.dim_out).T.copy())
            made = [weight_matrix(part) for part in members]
            size, groups = sum(M.shape[1] for M in made), 0
            if any(len(part.endomorphisms) > 1 for part in members):
                groups = 1 if self.N <= FEW else len(members)
                matrices.append(block_diag(*made) if groups == 1 else made[0])
            pools.append(Pool(start, size, groups, sum(map(len, there)), rows, width, m_out))
            start += size
        outside = sum(2 * c_in * way.size for way in ways) + sum(2 * c_out * way.size for way in backs)
        inside = sum(pool.flops(c_in, c_out) for pool in pools)
        if self.N * self.dim_in * self.dim_out <= MOST_DENSE:
            dense = DenseKernel(self.dense(), self.labels, self.route).plan(c_in, c_out)
            if dense.flops <= OUTSIDE * outside + inside:
                return dense
        return MixIrreps((*ways, *backs, *matrices), outside + inside, tuple(pools))

    @cached_property
    def transpose(self) -> DenseKernel:
        return DenseKernel(self.dense().transpose(0, 2, 1), self.labels, self.route)

    def squares(self) -> np.ndarray:
        return np.concatenate([np.zeros(0), *((B**2).sum((1, 2)) for B in self._each())])

    def row_norms(self) -> np.ndarray:
        return np.concatenate([np.zeros(0), *(np.sqrt((B**2).sum(2).max(1)) for B in self._each())])

    def row_sums(self) -> np.ndarray:
        return np.concatenate([np.zeros(0), *(np.abs(B).sum(2).max(1) for B in self._each())])


def kind(part: Part) -> tuple[int, int, int, int]:
    """What decides how a part is mixed: rows, width and m_out of its pool, and its endomorphisms."""
    endos, (m_in, m_out) = len(part.endomorphisms), (len(part.copies[0]), len(part.copies[-1]))
    return (part.dim // 2, m_in, m_out, 2) if endos == 2 else (part.dim, m_in * endos, m_out, endos)


def both_ways(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Into the irrep, turned by every endomorphism, and back: [1, d, m_in endos, dim_in] and [1, d, m_out, dim_out].

    For complex type [3, d/2, m_in, dim_in] and [3, d/2, m_out, dim_out]: (x + iy)(a + ib) has real part s - y (a + b)
    and imaginary part s + x (b - a) with s = (x + y) a.
    """
    F, G = part.copies[0], part.copies[-1]
    if len(part.endomorphisms) != 2:
        there = np.einsum("eij,adj->iaed", part.endomorphisms, F)
        return there.reshape(1, part.dim, -1, F.shape[1]), G.transpose(2, 0, 1)[None]
    T = complex_basis(part.endomorphisms[1])
    half = part.dim // 2
    (x, y), (re, im) = (np.split((M @ T).transpose(2, 0, 1), [half]) for M in (F, G))
    return np.stack([x + y, y, x]), np.stack([re + im, -re, im])


def weight_matrix(part: Part) -> np.ndarray:
    """The weights of the product for one part, (product, input copy, output copy), from those of the basis maps."""
    endos, m_in, m_out = len(part.endomorphisms), len(part.copies[0]), len(part.copies[-1])
    a, b, e = np.eye(m_in), np.eye(m_out), np.eye(endos)
    if endos == 2:
        return np.einsum("ke,ax,by->kabxye", GAUSS, a, b).reshape(-1, m_in * m_out * endos)
    return np.einsum("ax,fe,by->afbxye", a, e, b).reshape(-1, m_in * m_out * endos)


def complex_basis(J: np.ndarray) -> np.ndarray:
    """Orthonormal columns u_1, .., u_h, J u_1, .., J u_h for an orthogonal J of square -1."""
    left, found = np.eye(len(J)), []
    while len(found) < len(J) // 2:
        u = left[:, np.abs(left).sum(0).argmax()]
        u = u / np.linalg.norm(u)
        found.append(u)
        for v in (u, J @ u):
            left = left - np.outer(v, v @ left)
    return np.array([*found, *(J @ u for u in found)]).T


def kernel(group: Group, U: Product, W: Product, *, asked: bool) -> IsotypicKernel | None:
    """Hom(U, W) of two terms by decomposing both.

    asked: for every finite or compact group. Otherwise where irreps have labels, and for SO, O, SU and U, in terms of
    moderate size: elsewhere orbits or the product of members serve as well, and are exact.
    """
    if not all(factor.is_orthogonal for factor in (*U.factors, *W.factors)):
        return None
    if asked:
        if not (group.is_finite or group.is_compact) or U.dim + W.dim > LARGEST:
            return None
    else:
        known = known_irreps(group) is not None or isinstance(group, O | Unitary)
        if not known or max(U.dim, W.dim) > LARGEST_AUTOMATIC:
            return None
    return IsotypicKernel(tuple(sorted(shared(group, U, W), key=kind)), U.dim, W.dim)


def shared(group: Group, U: Product, W: Product) -> list[Part]:
    """The irreps that two terms have in common, with the copies in U and those in W."""
    alone = [together(group, (term,))[0] for term in (U, W)]
    if all(part.term is not None for parts in alone for part in parts):
        there = {part.label: part.copies[0] for part in alone[1]}
        return [replace(p, copies=(p.copies[0], there[p.label])) for p in alone[0] if p.label in there]
    # without a basis of their own for every irrep, both must be seen at once
    both = together(group, tuple(dict.fromkeys((U, W))))[0]
    return [replace(p, copies=(p.copies[0], p.copies[-1])) for p in both if len(p.copies[0]) and len(p.copies[-1])]
