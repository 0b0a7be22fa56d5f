"""The invariants of any tensor product of any group, found numerically: the rule for what has no closed form, and the
judge of every closed form.

In the spirit of EMLP (arXiv:2104.09459), with a different algorithm: orbits where the group only permutes, an exact
average over a finite group, the spectrum of the Casimir operator for Lie groups. The answer is the whole space or an
error, it is checked against sampled elements, and it comes in a basis that depends on the space alone.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ..groups import Group
from ..reps import Factor, Irrep, Product
from . import isotypic, store
from .average import average
from .casimir import NullSpace, gram, null_space
from .characters import count_invariants
from .constraints import act, complete, constraints, elements
from .dense import DenseKernel
from .echelon import orthonormal, readable
from .impose import DIRECT, Together, restrict
from .kernel import Kernel
from .orbits import by_first_appearance, orbits, product_images, signed_orbits
from .sharing import OrbitKernel

MAX_DIM = 2_000_000
MAX_BYTES = 4 * 2**30
TOL = 1e-9
LARGEST_SIDE = 3000
SAMPLES = 5
ECHELON = ", echelon form"


class SolverError(RuntimeError):
    """The solver found a space that it cannot vouch for."""


@dataclass(frozen=True, eq=False)
class Basis:
    """A basis of the invariants of a tensor product with axes `shape`, as vectors over its components, row-major.

    For permutations: `label` int64 [N] names the basis vector that each component belongs to (-1: none) and `sign` its
    value there (None: all +1). Otherwise `vectors`, float64 [N, r]: orthonormal, or in reduced echelon form where asked
    for. `residual` is the largest |g·Q - Q| / |g| over sampled elements, 0 where the basis is exact.
    """

    shape: tuple[int, ...]
    method: str
    residual: float
    vectors: np.ndarray | None = None
    label: np.ndarray | None = None
    sign: np.ndarray | None = None

    @property
    def exact(self) -> bool:
        """Whether the entries carry no rounding."""
        return self.label is not None

    @cached_property
    def dim(self) -> int:
        """Number of basis vectors."""
        return self.vectors.shape[1] if self.label is None else int(self.label.max(initial=-1)) + 1

    @property
    def Q(self) -> np.ndarray:
        """Orthonormal columns [N, dim]."""
        if self.label is None:
            return np.linalg.qr(self.vectors)[0] if self.method.endswith(ECHELON) else self.vectors
        Q = (self.label[:, None] == np.arange(self.dim)).astype(np.float64)
        Q = Q if self.sign is None else Q * self.sign[:, None]
        return Q / np.sqrt((Q * Q).sum(0))

    def transposed(self, axes: list[int]) -> "Basis":
        """The same invariants with the axes in another order; orbits are numbered anew by first appearance."""
        if axes == sorted(axes):
            return self
        shape = tuple(self.shape[axis] for axis in axes)

        def move(array: np.ndarray | None) -> np.ndarray | None:
            if array is None:
                return None
            tail = array.shape[1:]
            turned = array.reshape(*self.shape, *tail).transpose(*axes, *range(len(axes), len(axes) + len(tail)))
            return turned.reshape(array.shape)

        if self.label is None:
            return Basis(shape, self.method, self.residual, vectors=move(self.vectors))
        label, sign = move(self.label), move(self.sign)
        label = by_first_appearance(label, label >= 0)
        if sign is not None:  # a vector is +1 where it first appears
            alive = np.flatnonzero(label >= 0)
            _, first = np.unique(label[alive], return_index=True)
            sign = np.where(label >= 0, sign * sign[alive[first]][label], 0) if len(alive) else sign
        return Basis(shape, self.method, self.residual, label=label, sign=sign)


def solve(
    group: Group,
    term: Product,
    *,
    tol: float = TOL,
    max_dim: int = MAX_DIM,
    cache: Path | None = None,
    rational: bool = False,
    generator: torch.Generator | None = None,
) -> Basis:
    """A basis of the invariants {v : g·v = v} of a term, always the whole space.

    The axes are sorted before solving, so that V*V', V'*V and every map between the same axes are solved once. Bases
    are kept in memory, and as safetensors in the folder `cache` where one is given. `generator` draws the probes and
    the elements of the check (a fixed seed otherwise); the basis does not depend on it beyond rounding.
    rational: the reduced echelon basis instead of an orthonormal one: sparse, in fractions where they fit, which are
    checked again.
    Raises ValueError above `max_dim` components, SolverError when the result fails its check.
    """
    kept = [(axis, f) for axis, f in enumerate(term.factors) if not (isinstance(f, Irrep) and f.is_trivial)]
    order = sorted(kept, key=lambda pair: str(pair[1]))
    factors = tuple(f for _, f in order)
    components = Product(factors).dim
    if components > max_dim:
        raise ValueError(
            f"no closed form for {term} of {group}; the solver would need N={components}, max_dim is {max_dim}. "
            "Use lower tensor powers, split the representation into smaller terms, or raise max_dim "
            f"(one basis vector would take {components * 8 / 2**20:.0f} MiB)"
        )
    key = f"2|{group}|{'|'.join(map(str, factors))}|{tol}"
    basis = _remembered(key, cache)
    if basis is None:
        basis = _solve(group, factors, tol, generator)
        arrays = {k: getattr(basis, k) for k in ("vectors", "label", "sign") if getattr(basis, k) is not None}
        facts = np.array([basis.residual, *basis.shape])
        method = np.frombuffer(basis.method.encode(), dtype=np.uint8).copy()
        arrays |= {"facts": facts, "method": method}
        store.memory().put(key, arrays)
        if cache is not None:
            store.save(cache, key, arrays)
    where = {axis: place for place, (axis, _) in enumerate(order)}
    back = basis.transposed([where[axis] for axis, _ in kept])
    if rational and back.label is None:
        back = _echelon(group, term.factors, back, tol)
    return Basis(term.shape, back.method, back.residual, back.vectors, back.label, back.sign)


def _echelon(group: Group, factors: tuple[Factor, ...], basis: Basis, tol: float) -> Basis:
    E = readable(basis.vectors)
    residual = check(group, factors, E, torch.Generator().manual_seed(1))
    if residual > 10 * tol * max(1.0, np.abs(E).max(initial=0.0)):
        what = f"the invariants of {Product(factors)} of {group}"
        raise SolverError(f"{what}: in echelon form the residual is {residual:.1e}, orthonormal {basis.residual:.1e}")
    return Basis(basis.shape, basis.method + ECHELON, residual, vectors=E)


def _remembered(key: str, cache: Path | None) -> Basis | None:
    arrays = store.memory().get(key)
    if arrays is None and cache is not None:
        arrays = store.load(cache, key)
        if arrays is not None:
            store.memory().put(key, arrays)
    if arrays is None:
        return None
    residual, *shape = arrays["facts"]
    parts = {name: arrays.get(name) for name in ("vectors", "label", "sign")}
    return Basis(tuple(int(d) for d in shape), arrays["method"].tobytes().decode(), float(residual), **parts)


def _solve(group: Group, factors: tuple[Factor, ...], tol: float, generator: torch.Generator | None) -> Basis:
    shape = tuple(factor.dim for factor in factors)
    N = int(np.prod(shape, dtype=np.int64))
    # a connected group acts trivially on what it can only permute, so the discrete generators decide
    if all(factor.is_signed_permutation for factor in factors):
        generators = group.generators()
        moves = [product_images(group, factors, generators, i) for i in range(group.batch_shape(generators)[0])]
        images = [image for image, _ in moves]
        if all(sign is None for _, sign in moves):
            return Basis(shape, "orbits", 0.0, label=orbits(images, N))
        signs = [np.ones(N, dtype=np.int64) if sign is None else sign for _, sign in moves]
        label, sign = signed_orbits(images, signs, N)
        return Basis(shape, "signed orbits", 0.0, label=label, sign=sign)
    generator = generator or torch.Generator().manual_seed(0)
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    what = f"the invariants of {Product(factors)} of {group}"
    expected = count_invariants(group, factors)
    try:
        found = _numerical(group, factors, expected, rng)
    except MemoryError as error:
        probes = error.args[0]
        raise ValueError(
            f"{what}: the solver would need {probes} vectors of N={N} components, "
            f"{6 * N * probes * 8 / 2**30:.1f} GiB (the limit is {MAX_BYTES / 2**30:.0f}). "
            "Use lower tensor powers, or split the representation into smaller terms"
        ) from None
    except ArithmeticError as error:
        raise SolverError(f"{what}: {error}") from None
    residual = check(group, factors, found.Q, generator)
    if residual > 10 * tol or found.gap > 1e-4:
        raise SolverError(f"{what}: residual {residual:.1e} (at most {10 * tol:.0e}), gap ratio {found.gap:.1e}")
    if expected is not None and found.Q.shape[1] != expected:
        raise SolverError(f"{what}: found {found.Q.shape[1]} of them, characters count {expected}")
    return Basis(shape, found.method, residual, vectors=orthonormal(found.Q))


def _numerical(group: Group, factors: tuple[Factor, ...], expected: int | None, rng: np.random.Generator) -> NullSpace:
    if group.is_finite:
        found = average(group, factors, expected, rng, MAX_BYTES)
        if found is not None:
            return found
    given = constraints(group, factors)
    rows = given.reductive
    everything = len(rows) == len(given.algebra[0]) and len(given.discrete[0]) == 0
    start = [np.einsum("ab,bij->aij", rows, A) for A in given.algebra]
    if any(A.any() for A in start):
        found = null_space(gram(start), expected=expected if everything else None, rng=rng, budget=MAX_BYTES)
    elif given.N <= DIRECT:
        found = NullSpace(np.eye(given.N), "direct", 0.0)
    else:  # nothing is known that makes the space small
        together = Together(given)
        found = null_space(together, expected=expected, rng=rng, budget=MAX_BYTES, top=together.top)
    return found if everything else restrict(given, found)


def check(group: Group, factors: tuple[Factor, ...], Q: np.ndarray, generator: torch.Generator) -> float:
    """The largest |g·Q - Q| / |g| over sampled elements and generators, for orthonormal columns Q."""
    if Q.shape[1] == 0:
        return 0.0
    worst = 0.0
    generators = group.generators()
    for g in (group.sample(SAMPLES, generator=generator), generators):
        matrices = [elements(factor, g) for factor in factors]
        for k in range(group.batch_shape(g)[0]):
            moved = act([M[k] for M in matrices], Q)
            size = np.prod([np.linalg.norm(M[k], 2) for M in matrices])
            worst = max(worst, float(np.abs(moved - Q).max() / size))
    return worst


def hom(group: Group, U: Product, W: Product, **options) -> Kernel:
    """A basis of Hom(U, W), the invariants of W⊗U*, for two terms of a group; options as in `solve`.

    Where these are too many components, but each side has at most 3000 and the group is finite or compact, both sides
    are written as sums of irreps instead.
    """
    if U.dim * W.dim > options.get("max_dim", MAX_DIM) and max(U.dim, W.dim) <= LARGEST_SIDE:
        found = isotypic.kernel(group, U, W, asked=True)
        if found is not None:
            return replace(found, route="solver (irreps of both sides)")
    basis = solve(group, W * U.dual, **options)
    if basis.label is None:
        vectors = basis.vectors.T.reshape(-1, W.dim, U.dim)
        caveat = "" if complete(group) else "; complete for the listed generators"
        return DenseKernel(vectors, tuple(f"q{i}" for i in range(len(vectors))), f"solver ({basis.method}{caveat})")
    label = basis.label.reshape(W.dim, U.dim)
    sign = None if basis.sign is None else basis.sign.reshape(W.dim, U.dim)
    return OrbitKernel(label, sign, _names(basis, W, U), f"solver ({basis.method})")


def _names(basis: Basis, W: Product, U: Product) -> tuple[str, ...]:
    """Each orbit is named by its first entry, as output index | input index."""
    alive = np.flatnonzero(basis.label >= 0)
    _, first = np.unique(basis.label[alive], return_index=True)
    rows, columns = np.divmod(alive[first], max(U.dim, 1))

    def text(index: int, shape: tuple[int, ...]) -> str:
        return ",".join(str(int(i)) for i in np.unravel_index(index, shape)) if shape else ""

    return tuple(f"{text(i, W.shape)}|{text(j, U.shape)}" for i, j in zip(rows, columns))
