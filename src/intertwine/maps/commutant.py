"""Matrices that commute with a representation of a finite or compact group: any matrix, averaged over the group.

A small group, or one with a chain of subgroups, is averaged exactly. Any other by a product of means over three Haar
samples each: every mean shrinks what is not invariant by 1/sqrt(3), so some sixty of them reach rounding. (One mean
over all those samples would be wrong in the second digit.)
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from math import prod

import numpy as np
import torch

from ..groups.group import Element
from ..reps import Rep
from .average import transversals
from .constraints import act, elements

MOST_EXACT = 128  # conjugations of an exact average; a product of means takes about twice as many
SAMPLES = 3  # for each mean: fewest conjugations in all, as ln(k)/k is largest at e
AT_ONCE = 60  # samples drawn together
ROUNDS = 500
CHUNK = 64  # axes are moved together while their dimension stays below

Move = Callable[[np.ndarray], np.ndarray]  # one element of the group on every row of an array [..., dim]


class Orthogonal:
    """A representation without multiplicities, in coordinates where it is orthogonal: L^T x.

    L is triangular, None where the representation is orthogonal as it stands. `generator` draws group elements; what is
    computed with them does not depend on it beyond rounding. Raises ArithmeticError where samples do not mix.
    """

    def __init__(self, rep: Rep, generator: torch.Generator):
        self.rep, self.generator = rep, generator
        self.L = None if rep.is_orthogonal else self._form()

    def _form(self) -> np.ndarray | None:
        S, one = np.eye(self.rep.dim), np.eye(self.rep.dim)
        for turn in range(ROUNDS):
            M = self.rep.matrix(self.rep.group.sample(SAMPLES, generator=self.generator)).numpy()
            before, S = S, (M.swapaxes(-1, -2) @ S @ M).mean(0)
            if turn == 0 and np.abs(M @ M.swapaxes(-1, -2) - one).max(initial=0.0) < 1e-9:
                return None
            if np.abs(S - before).max() <= 1e-14 * np.abs(S).max():
                return np.linalg.cholesky(S)
        raise ArithmeticError(f"{ROUNDS} means of {SAMPLES} samples of {self.rep.group} do not settle")

    def moves(self, g: Element) -> Iterator[Move]:
        """The elements of a batch, one by one."""
        rep = self.rep
        (count,) = rep.group.batch_shape(g)
        if rep.is_permutation:
            for images in rep.permutation(g).numpy():
                source = images.argsort()
                yield lambda X, source=source: X[..., source]
        elif self.L is not None:
            for M in rep.matrix(g).numpy():
                turned = np.linalg.solve(self.L, M.T @ self.L)  # the transpose of L^T M L^-T
                yield lambda X, turned=turned: X @ turned
        else:
            found = {factor: elements(factor, g) for W, _ in rep.terms for factor in W.factors}
            chunks = [_chunks([found[factor] for factor in W.factors], count) for W, _ in rep.terms]
            for k in range(count):
                terms = [[M[k] for M in chunk] for chunk in chunks]
                yield lambda X, terms=terms: _by_term(X, terms)

    def average(self, X: np.ndarray) -> np.ndarray:
        """The mean over the group of g X g^T for matrices X [..., dim, dim]."""
        chain = transversals(self.rep.group) if self.rep.group.is_finite else None
        if chain is not None and sum(self.rep.group.batch_shape(coset)[0] for coset in chain) <= MOST_EXACT:
            for coset in chain:
                X = _mean(self.moves(coset), X)
            return X
        small = 1e-14 * max(1.0, np.abs(X).max(initial=0.0))
        for _ in range(ROUNDS * SAMPLES // AT_ONCE):
            moves = self.moves(self.rep.group.sample(AT_ONCE, generator=self.generator))
            for _ in range(AT_ONCE // SAMPLES):
                before, X = X, _mean(islice(moves, SAMPLES), X)
                if np.abs(X - before).max(initial=0.0) <= small:
                    return X
        raise ArithmeticError(f"{ROUNDS} means of {SAMPLES} samples of {self.rep.group} do not settle")

    def characters(self, g: Element, F: np.ndarray) -> np.ndarray:
        """The traces of elements g on subspaces with orthonormal bases F [count, dim, d]: float64 [elements, count]."""
        rows = F.swapaxes(-1, -2)
        return np.array([(move(rows) * rows).sum((-1, -2)) for move in self.moves(g)])

    def blocks(self, g: Element, F: np.ndarray) -> np.ndarray:
        """The matrices of elements g on the subspace with orthonormal basis F [dim, d]: float64 [elements, d, d]."""
        return np.array([F.T @ move(F.T).T for move in self.moves(g)]).reshape(-1, F.shape[1], F.shape[1])


def _mean(moves: Iterable[Move], X: np.ndarray) -> np.ndarray:
    total, count = np.zeros_like(X), 0
    for move in moves:
        total += move(move(X).swapaxes(-1, -2)).swapaxes(-1, -2)
        count += 1
    return total / count


def _chunks(factors: list[np.ndarray], count: int) -> list[np.ndarray]:
    """Kronecker products of neighbouring matrices [count, d, d], each of at most `CHUNK` rows."""
    merged = [np.ones((count, 1, 1))]
    for M in factors:
        rows = merged[-1].shape[1] * M.shape[1]
        if rows <= CHUNK:
            merged[-1] = np.einsum("kij,klm->kiljm", merged[-1], M).reshape(count, rows, rows)
        else:
            merged.append(M)
    return merged


def _by_term(X: np.ndarray, terms: list[list[np.ndarray]]) -> np.ndarray:
    """Matrices for the axes of every term on the rows of X."""
    columns = np.ascontiguousarray(X.reshape(-1, X.shape[-1]).T)
    moved, start = [], 0
    for matrices in terms:
        stop = start + prod(len(M) for M in matrices)
        moved.append(act(matrices, columns[start:stop]))
        start = stop
    return np.concatenate(moved).T.reshape(X.shape)
