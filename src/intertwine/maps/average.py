"""Invariants of a finite group that does not permute components: random probes, averaged exactly over the group.

The average over a group is a product of averages over coset representatives along a chain of subgroups, so S(n) takes
n(n-1)/2 actions instead of n!.
"""

import numpy as np
import torch
from scipy.linalg import qr

from ..groups import A, Group, PermutationGroup, S
from ..groups.group import Element
from ..reps import Factor
from .casimir import NullSpace
from .constraints import act, elements

MOST_ELEMENTS = 2000  # list a group without a chain up to this order; above, its generators' null space is cheaper


def transversals(group: Group) -> list[Element] | None:
    """Coset representatives along a chain of subgroups, the smallest subgroup first; None where none is known."""
    if isinstance(group, S | A):
        return [_carriers(group, j) for j in range(2 if isinstance(group, A) else 1, group.n)]
    if isinstance(group, PermutationGroup):
        return list(reversed(group.transversals()))
    if group.is_finite and group.order <= MOST_ELEMENTS:
        return [group.elements()]
    return None


def _carriers(group: S | A, last: int) -> torch.Tensor:
    """Permutations of the points 0..last that carry `last` to each of them: transpositions, or 3-cycles in A(n)."""
    carriers = [group.identity().clone()]
    for i in range(last):
        p = group.identity().clone()
        if isinstance(group, A):
            third = 0 if i else 1
            p[[last, i, third]] = torch.tensor([i, third, last])
        else:
            p[[last, i]] = torch.tensor([i, last])
        carriers.append(p)
    return torch.stack(carriers)


def average(
    group: Group, factors: tuple[Factor, ...], expected: int | None, rng: np.random.Generator, budget: int
) -> NullSpace | None:
    """The range of the Reynolds operator on a tensor product; None where the group is too large to list."""
    chain = transversals(group)
    if chain is None:
        return None
    steps = [[elements(factor, coset) for factor in factors] for coset in chain]
    N = int(np.prod([factor.dim for factor in factors], dtype=np.int64))

    def project(X: np.ndarray) -> np.ndarray:
        for matrices in steps:
            X = sum(act([M[k] for M in matrices], X) for k in range(len(matrices[0]))) / len(matrices[0])
        return X

    probes = 16 if expected is None else expected + 10
    while True:
        probes = min(probes, N)
        if 6 * N * probes * 8 > budget:
            raise MemoryError(probes)
        Q, R, _ = qr(project(rng.standard_normal((N, probes))), mode="economic", pivoting=True)
        sizes = np.abs(np.diag(R))
        rank = int((sizes > 1e-6).sum())
        if rank < probes or probes == N:
            break
        probes *= 2
    gap = float(sizes[rank:].max(initial=0.0) / sizes[:rank].min(initial=1.0))
    Q = np.linalg.qr(project(Q[:, :rank]))[0] if rank else Q[:, :0]
    return NullSpace(Q, "average", gap)
