"""How far the weights of one layer are from the equivariant ones of several symmetries, at the cost of a copy or two.

A projection would be a matrix of (out·in)² numbers. It falls apart into one for each pair of a term in and a term out,
which does not know their channels: Q'Q with orthonormal rows Q [maps, dim_out·dim_in].
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..maps import Map
from ..maps.constants import Constants

RANK = 1e-10  # basis maps smaller than this share of the largest, once those before are taken off, add nothing


@dataclass(frozen=True)
class _Pair:
    """Term j out and term i in: the shape [W, c_out, U, c_in] of their weights, and whose maps do not fill it."""

    j: int
    i: int
    shape: tuple[int, int, int, int]
    counts: dict[str, int]  # rows of Q for each symmetry, in order; one that allows everything here is left out


class Projection(nn.Module):
    """The equivariant weights of a layer nearest to given ones, for several symmetries at once.

    spaces: the maps that each symmetry allows, between Reps of the same terms and channels. Orthogonal in the Frobenius
    product, for any Rep; for orthogonal ones it is the average over the group. State dict: nothing.
    """

    def __init__(self, spaces: Mapping[str, Map]):
        super().__init__()
        first = next(iter(spaces.values()))
        columns, rows = sizes(first)
        self._names = tuple(spaces)
        self._cuts = [[size * c for size, c in terms] for terms in (rows, columns)]
        self._pairs: list[_Pair] = []
        arrays = []
        for j, (W, c_out) in enumerate(rows):
            for i, (U, c_in) in enumerate(columns):
                own = {name: _orthonormal(space, j, i, W * U) for name, space in spaces.items()}
                own = {name: Q for name, Q in own.items() if len(Q) < W * U}
                if own:
                    counts = {name: len(Q) for name, Q in own.items()}
                    self._pairs.append(_Pair(j, i, (W, c_out, U, c_in), counts))
                    arrays.append(np.concatenate(list(own.values())))
        self._rows = Constants(arrays, any_dtype=True)

    def residual(self, name: str, M: Float[Tensor, "dim_out dim_in"]) -> list[Tensor]:
        """M − PM in pieces, one for each pair of terms where it is not zero for every M."""
        found = []
        for pair, Q, X in self._parts(M):
            if name in pair.counts:
                own = _of(name, pair, Q)
                found.append(X - own.mT @ (own @ X))
        return found

    def nearest(self, name: str, M: Float[Tensor, "dim_out dim_in"]) -> Float[Tensor, "dim_out dim_in"]:
        """PM."""
        pieces = [list(row.split(self._cuts[1], 1)) for row in M.split(self._cuts[0])]
        for pair, Q, X in self._parts(M):
            if name in pair.counts:
                own = _of(name, pair, Q)
                W, c_out, U, c_in = pair.shape
                part = (own.mT @ (own @ X)).view(W, U, c_out, c_in).transpose(1, 2)
                pieces[pair.j][pair.i] = part.reshape(W * c_out, U * c_in)
        return torch.cat([torch.cat(row, 1) for row in pieces])

    def pull(self, strengths: Mapping[str, float], M: Float[Tensor, "dim_out dim_in"]) -> Float[Tensor, ""]:
        """Σ strength·½‖M − PM‖², from ‖M‖² − ‖PM‖²: one product for all symmetries, good to rounding of ‖M‖²."""
        total = M.new_zeros(())
        for pair, Q, X in self._parts(M):
            roots = [strengths[name] ** 0.5 for name, count in pair.counts.items() for _ in range(count)]
            kept = ((Q * M.new_tensor(roots)[:, None]) @ X).flatten()
            total = total + sum(strengths[name] for name in pair.counts) * X.flatten().dot(X.flatten()) - kept.dot(kept)
        return total / 2

    def _parts(self, M: Tensor) -> Iterator[tuple[_Pair, Tensor, Tensor]]:
        """Every pair with its Q and its weights, [dim_out·dim_in, c_out·c_in]."""
        pieces = [row.split(self._cuts[1], 1) for row in M.split(self._cuts[0])]
        for pair, Q in zip(self._pairs, self._rows(M)):
            W, c_out, U, c_in = pair.shape
            X = pieces[pair.j][pair.i].reshape(W, c_out, U, c_in).transpose(1, 2)
            yield pair, Q, X.reshape(W * U, c_out * c_in)

    def extra_repr(self) -> str:
        """Whose."""
        return ", ".join(self._names)


def sizes(space: Map) -> tuple:
    """Components and channels of every term in and out: what the spaces of one `Projection` share."""
    return tuple(tuple((W.dim, c) for W, c in rep.terms) for rep in (space.rep_in, space.rep_out))


def _orthonormal(space: Map, j: int, i: int, size: int) -> Float[np.ndarray, "maps size"]:
    """Rows that span the maps from term i to term j."""
    for block in space.blocks:
        if (block.index_out, block.index_in) == (j, i):
            _, s, V = np.linalg.svd(np.asarray(block.kernel.dense()).reshape(block.N, size), full_matrices=False)
            return V[s > RANK * s[0]]
    return np.zeros((0, size))


def _of(name: str, pair: _Pair, Q: Tensor) -> Tensor:
    """The rows of one symmetry."""
    before = list(pair.counts)[: list(pair.counts).index(name)]
    start = sum(pair.counts[other] for other in before)
    return Q[start : start + pair.counts[name]]
