"""The functor from diagrams to tensors: the dense matrix of one diagram, exact integers, for tests and small bases."""

import itertools
from functools import lru_cache

import numpy as np

from ...groups import Group, Lorentz, Sp, U
from .category import HEADED, SPARE, Diagram


def functor(diagram: Diagram, group: Group) -> np.ndarray:
    """The matrix of a diagram, int64 [n^l, n^k] with n = group.dim_V; rows and columns in row-major order of indices.

    Pairs carry the group's form: η or ω below, its inverse above, δ through. A head carries the sign ε of its legs'
    values, top legs first (with η on each top leg for Lorentz). Strict monoidal: F(a @ b) = F(a) F(b) and
    F(a | b) = F(a) ⊗ F(b). A starred block of n points is the sign of its values, a starred pair the complex structure.
    Raises ValueError if the head has another number of legs than n, or a group has no complex structure.
    Sources: arXiv:2212.08648, eq. 12; 2212.08630, eq. 15; 2301.10152.
    """
    n, m = group.dim_V, diagram.l + diagram.k
    if diagram.kind in HEADED and len(diagram.head) != n:
        raise ValueError(f"functor: {diagram} has a head with {len(diagram.head)} legs, {group} acts on R^{n}")
    below, above = forms(group)
    starred = {i: complex_structure(group) for i in diagram.head} if diagram.kind == "unitary" else {}

    def axis(values: np.ndarray, *points: int) -> np.ndarray:
        shape = [1] * m
        for point in points:
            shape[point] = n
        return values.reshape(shape)

    delta = np.eye(n, dtype=np.int64)
    out = np.ones((n,) * m, dtype=np.int64)
    for i, block in enumerate(diagram.blocks):
        if diagram.kind == "determinant" and i in diagram.head:
            out = out * axis(_epsilon(n, block, group), *block)
            continue
        for a, b in itertools.pairwise(block):
            form = starred.get(i, delta)
            if not diagram.is_partition and i not in starred:
                form = above if b < diagram.l else below if a >= diagram.l else delta
            out = out * axis(form, a, b)
    if diagram.kind in HEADED:
        epsilon = levi_civita(n)
        if diagram.head[-1] == SPARE:
            epsilon = epsilon.sum(-1)
        points = [diagram.blocks[i][0] for i in diagram.head if i != SPARE]
        out = out * axis(epsilon, *points)
        for point in points:
            if not diagram.is_partition and point < diagram.l:
                out = out * axis(np.diagonal(above), point)
    return out.reshape(n**diagram.l, n**diagram.k)


def forms(group: Group) -> tuple[np.ndarray, np.ndarray]:
    """The form on pairs of inputs and its inverse on pairs of outputs, int64 [n, n]; the identity without a form."""
    if not isinstance(group, Sp | Lorentz):
        return (np.eye(group.dim_V, dtype=np.int64),) * 2
    below = group.form().numpy().astype(np.int64)
    return below, below if isinstance(group, Lorentz) else -below


def complex_structure(group: Group) -> np.ndarray:
    """J of U(n), int64 [2n, 2n]. Raises ValueError for any other group."""
    if not isinstance(group, U):
        raise ValueError(f"functor: a starred pair is the complex structure of U(n); {group} has none")
    return group.complex_structure().numpy().astype(np.int64)


def _epsilon(n: int, block: tuple[int, ...], group: Group) -> np.ndarray:
    if len(block) != n:
        raise ValueError(f"functor: the starred block {block} has {len(block)} points, {group} acts on R^{n}")
    return levi_civita(n)


@lru_cache(maxsize=16)
def levi_civita(n: int) -> np.ndarray:
    """The sign of a sequence of n indices, 0 where one repeats, int64 [n, .., n]."""
    if n == 0:
        return np.ones((), dtype=np.int64)
    smaller = levi_civita(n - 1)
    out = np.zeros((n,) * n, dtype=np.int64)
    for first in range(n):
        rest = [i for i in range(n) if i != first]
        out[np.ix_([first], *[rest] * (n - 1))] = (-1) ** first * smaller
    out.flags.writeable = False
    return out
