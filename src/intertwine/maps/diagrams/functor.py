"""The functor from diagrams to tensors: the dense matrix of one diagram, exact integers, for tests and small bases."""

import itertools
from functools import lru_cache

import numpy as np

from ...groups import Group, Lorentz, Sp
from .category import SPARE, Diagram


def functor(diagram: Diagram, group: Group) -> np.ndarray:
    """The matrix of a diagram, int64 [n^l, n^k] with n = group.dim_V; rows and columns in row-major order of indices.

    Pairs carry the group's form: η or ω below, its inverse above, δ through. A head carries the sign ε of its legs'
    values, top legs first (with η on each top leg for Lorentz). Strict monoidal: F(a @ b) = F(a) F(b) and
    F(a | b) = F(a) ⊗ F(b). Raises ValueError if the head has another number of legs than n.
    Sources: arXiv:2212.08648, eq. 12; 2212.08630, eq. 15; 2301.10152.
    """
    n, m = group.dim_V, diagram.l + diagram.k
    if diagram.head and len(diagram.head) != n:
        raise ValueError(f"functor: {diagram} has a head with {len(diagram.head)} legs, {group} acts on R^{n}")
    below, above = forms(group)

    def axis(values: np.ndarray, *points: int) -> np.ndarray:
        shape = [1] * m
        for point in points:
            shape[point] = n
        return values.reshape(shape)

    delta = np.eye(n, dtype=np.int64)
    out = np.ones((n,) * m, dtype=np.int64)
    for block in diagram.blocks:
        for a, b in itertools.pairwise(block):
            form = delta
            if not diagram.is_partition and b < diagram.l:
                form = above
            elif not diagram.is_partition and a >= diagram.l:
                form = below
            out = out * axis(form, a, b)
    if diagram.head:
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
