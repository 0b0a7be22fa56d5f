"""Constraints that no Casimir operator knows: discrete generators, translations, random elements of a sampled group.

Each is imposed inside what the ones before it left over. Where nothing is known that shrinks the space first, and it is
large, all of them act together as one positive operator, whose null space a polynomial filter finds.
"""

from dataclasses import dataclass

import numpy as np

from .casimir import NullSpace
from .constraints import Constraints, act, derive

DIRECT = 1500  # up to this size the constraints are decomposed as they are, above they are squared and filtered


def restrict(given: Constraints, found: NullSpace) -> NullSpace:
    """Impose the generators that the Casimir operator left out, one by one, inside the subspace that it left over."""
    Q, gap, imposed = found.Q, found.gap, False
    steps = []
    if len(given.reductive) < len(given.algebra[0]):
        steps += [(derive, [A[a] for A in given.algebra]) for a in range(len(given.algebra[0]))]
    steps += [(_move, [h[k] for h in given.discrete]) for k in range(len(given.discrete[0]))]
    for apply, matrices in steps:
        if Q.shape[1] == 0:
            break
        _, sizes, turn = np.linalg.svd(np.linalg.qr(apply(matrices, Q), mode="r"))
        sizes = np.concatenate([sizes, np.zeros(Q.shape[1] - len(sizes))])
        small = sizes < 1e-7 * max(1.0, sizes[0])
        gap = max(gap, float(sizes[small].max(initial=0.0) / sizes[~small].min(initial=1.0)))
        Q, imposed = Q @ turn[small].T, True
    return NullSpace(Q, f"{found.method} + generators" if imposed else found.method, gap)


def _move(matrices: list[np.ndarray], X: np.ndarray) -> np.ndarray:
    return act(matrices, X) - X


@dataclass(frozen=True, eq=False)
class Together:
    """The sum of K^T K over all constraints K, as an operator on columns [N, r]: never a matrix unless asked for.

    `top` is a bound on its largest eigenvalue.
    """

    given: Constraints

    @property
    def shape(self) -> tuple[int, int]:
        """(N, N)."""
        return self.given.N, self.given.N

    @property
    def top(self) -> float:
        """A bound from the norms of the factors."""
        total = 0.0
        for k in range(len(self.given.discrete[0])):
            total += (1 + np.prod([np.linalg.norm(h[k], 2) for h in self.given.discrete])) ** 2
        for a in range(len(self.given.algebra[0])):
            total += sum(np.linalg.norm(A[a], 2) for A in self.given.algebra) ** 2
        return float(total)

    def __matmul__(self, X: np.ndarray) -> np.ndarray:
        X, flat = (X[:, None], True) if X.ndim == 1 else (X, False)
        total = np.zeros_like(X)
        for k in range(len(self.given.discrete[0])):
            Y = _move([h[k] for h in self.given.discrete], X)
            total += _move([h[k].T for h in self.given.discrete], Y)
        for a in range(len(self.given.algebra[0])):
            Y = derive([A[a] for A in self.given.algebra], X)
            total += derive([A[a].T for A in self.given.algebra], Y)
        return total[:, 0] if flat else total

    def toarray(self) -> np.ndarray:
        """The matrix [N, N]."""
        return self @ np.eye(self.given.N)
