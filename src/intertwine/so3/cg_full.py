"""Fully connected Clebsch-Gordan products: each channel u of x with each v of y into every w.

Only the end of a path is large, weights [u, v, w] on pairs of channels. So the small things come first: coefficients
and y make a matrix for each sample, which acts on all channels of x at once, and the weights meet all samples in one
matrix product. Where a factor is a scalar, the weights may meet it first: the components of the other stay out of it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..maps.constants import Constants
from .cg_channels import LEAST_SAMPLES
from .couplings import Path, Piece
from .irreps import Irreps
from .wigner import clebsch_gordan

CHUNK = 1 << 22  # numbers that meet the weights in one chunk of samples on the CPU; measured
FULL_CHANNELS, FULL_DEGREE = 8, 2  # with fewer channels, above this degree, products of pairs are faster; measured


@dataclass(frozen=True)
class Term:
    """One path between pieces i1 and i2 into block i3, with u, v, w channels.

    way: "dot" into a scalar; "outer" with a scalar; "x first" or "y first" where shared weights meet that scalar before
    the other factor; "table" with the coefficients.
    """

    path: int
    i1: int
    i2: int
    i3: int
    way: str
    factor: float = 1.0  # what is left of the coefficients without a table


class FullProduct(nn.Module):
    """Σ over paths of scale Σ_{ijuv} w_uvw C_ijk x_iu y_jv, for flat features; weights flat, path after path.

    The factor with more channels is x in here, whichever it is outside.
    """

    def __init__(
        self,
        irreps1: Irreps,
        irreps2: Irreps,
        rep_out: Irreps,
        paths: tuple[Path, ...],
        pieces1: tuple[Piece, ...],
        pieces2: tuple[Piece, ...],
    ):
        super().__init__()
        sides, pieces = (irreps1, irreps2, rep_out), (pieces1, pieces2)
        channels = [sum(stop - first for _, first, stop in own) for own in pieces]
        self.exchanged = channels[0] < channels[1]
        if self.exchanged:
            sides, pieces = (sides[1], sides[0], sides[2]), pieces[::-1]
            paths = tuple(path._replace(i1=path.i2, i2=path.i1) for path in paths)
        self.sides, self.pieces, self.dim = sides, pieces, rep_out.dim
        of_factors = ([side.blocks[i][0].l for i, _, _ in own] for side, own in zip(sides, pieces))
        self.degrees = (*of_factors, [irrep.l for irrep, _ in rep_out.blocks])
        self.channels = tuple([stop - first for _, first, stop in own] for own in pieces)
        self.terms = tuple(self._term(n, path) for n, path in enumerate(paths))
        inside = [(u, v, rep_out.blocks[t.i3][1]) for t, u, v in self._sizes()]
        self.path_shapes = tuple((v, u, w) if self.exchanged else (u, v, w) for u, v, w in inside)
        self.by_table: dict[tuple[int, int], list[Term]] = {}
        for term in self.terms:
            if term.way == "table":
                self.by_table.setdefault((term.i1, term.i3), []).append(term)
        # for each piece of y the coefficients of its paths side by side, [components of y, Σ (2 l3 + 1)(2 l1 + 1)]
        self.columns: dict[int, list[Term]] = {}
        for terms in self.by_table.values():
            for term in terms:
                self.columns.setdefault(term.i2, []).append(term)
        tables = [
            np.concatenate([paths[t.path].scale * self._coefficients(t) for t in terms], 1)
            for terms in self.columns.values()
        ]
        self._tables = Constants(tables, any_dtype=True)
        factors = [np.full(c1 * c2 * sides[2].blocks[t.i3][1], t.factor) for t, c1, c2 in self._sizes()]
        self._factors = Constants([np.concatenate(factors)], any_dtype=True)

    def _sizes(self) -> list[tuple[Term, int, int]]:
        return [(t, self.channels[0][t.i1], self.channels[1][t.i2]) for t in self.terms]

    def _dims(self, term: Term) -> tuple[int, int, int]:
        return tuple(2 * degrees[i] + 1 for degrees, i in zip(self.degrees, (term.i1, term.i2, term.i3)))

    def _coefficients(self, term: Term) -> np.ndarray:
        l1, l2, l3 = (degrees[i] for degrees, i in zip(self.degrees, (term.i1, term.i2, term.i3)))
        C = clebsch_gordan(l2, l1, l3).transpose(1, 0, 2) if self.exchanged else clebsch_gordan(l1, l2, l3)
        return C.transpose(1, 2, 0).reshape(2 * l2 + 1, -1)

    def _term(self, n: int, path: Path) -> Term:
        where = (path.i1, path.i2, path.i3)
        l1, l2, l3 = (degrees[i] for degrees, i in zip(self.degrees, where))
        if 0 not in (l1, l2, l3):
            return Term(n, *where, "table")
        u, v, w = self.channels[0][path.i1], self.channels[1][path.i2], self.sides[2].blocks[path.i3][1]
        if l3 == 0:
            way = "dot"
        elif l1 == 0:
            way = "x first" if w <= (2 * l2 + 1) * u else "outer"
        else:
            way = "y first" if w <= (2 * l1 + 1) * v else "outer"
        return Term(n, *where, way, path.scale * float(clebsch_gordan(l1, l2, l3).flat[0]))

    def cost(self) -> tuple[float, float, int]:
        """Operations and bytes of float32 between them, for one sample; calls of the library."""
        flops = numbers = 0.0
        for term, u, v in self._sizes():
            d1, d2, d3 = self._dims(term)
            w = self.sides[2].blocks[term.i3][1]
            if term.way == "table":
                flops += 2 * d1 * d2 * d3 * v + 2 * d1 * d3 * u * v + 2 * d3 * u * v * w
                numbers += 2 * d1 * d3 * v + 2 * d3 * u * v + d3 * w
            elif term.way in ("dot", "outer"):
                flops += 2 * d1 * d2 * u * v + 2 * d3 * u * v * w
                numbers += 2 * d3 * u * v + d3 * w
            else:
                other = v if term.way == "x first" else u
                flops += 2 * u * v * w + 2 * d3 * other * w
                numbers += 2 * other * w + d3 * w
        return flops, 4 * numbers, 4 * len(self.terms)

    def widest(self) -> int:
        """The most numbers of one sample that are kept at once: all matrices, and what one of them makes."""
        widths, matrices = {}, 0
        for term, u, v in self._sizes():
            d1, _, d3 = self._dims(term)
            widths[term.i1, term.i3] = widths.get((term.i1, term.i3), 0) + d3 * u * v
            matrices += d1 * d3 * v if term.way == "table" else 0
        return max(widths.values()) + matrices

    def forward(self, x1: Tensor, x2: Tensor, weight: Tensor) -> Tensor:
        """The product, [*batch, dim_out]; weight [.., numbers] or [numbers]."""
        x1, x2 = (x2, x1) if self.exchanged else (x1, x2)
        batch = torch.broadcast_shapes(*(a.shape[:-1] for a in (x1, x2, weight)))
        samples = math.prod(batch)
        weight = weight.flatten() if math.prod(weight.shape[:-1]) == 1 else weight  # of all samples
        given = (x1, x2) if weight.ndim == 1 else (x1, x2, weight)
        given = [a.expand(*batch, -1).reshape(samples, a.shape[-1]) for a in given]
        size = max(LEAST_SAMPLES, CHUNK // self.widest())
        whole = torch.compiler.is_compiling() or x1.device.type != "cpu" or samples <= size
        parts = [given] if whole else zip(*(a.split(size) for a in given))
        made = [self._flat(x, y, own[0] if own else weight) for x, y, *own in parts]
        return (made[0] if len(made) == 1 else torch.cat(made)).view(*batch, self.dim)

    def _flat(self, x1: Tensor, x2: Tensor, weight: Tensor) -> Tensor:
        xs, ys = (
            [side.split(x)[i].narrow(-1, first, stop - first) for i, first, stop in own]
            for side, own, x in zip(self.sides, self.pieces, (x1, x2))
        )
        shared, samples = weight.ndim == 1, x1.shape[0]
        if shared:  # no more than a factor for each; otherwise it goes to the features, which are smaller
            weight = weight * self._factors(weight)[0]
        weights = self._split(weight)
        out: list[Tensor | None] = [None] * len(self.sides[2].blocks)

        def add(k: int, made: Tensor, w: Tensor) -> None:
            """made [samples, components, v·u] times w [.., v·u, w]"""
            if not shared and torch.compiler.is_compiling():  # fused, where small products for each sample are slow
                sums = (made.unsqueeze(3) * w.unsqueeze(1)).sum(2)
                out[k] = sums if out[k] is None else out[k] + sums
                return
            if not shared:
                out[k] = torch.bmm(made, w) if out[k] is None else torch.baddbmm(out[k], made, w)
                return
            rows = made.flatten(0, 1)
            flat = rows @ w if out[k] is None else torch.addmm(out[k].flatten(0, 1), rows, w)
            out[k] = flat.view(samples, made.shape[1], w.shape[1])

        for i3, made, numbers in self._by_tables(xs, ys):
            add(i3, made, torch.cat([_rows(weights[n]) for n in numbers], -2))
        for term in self.terms:
            x, y, w = xs[term.i1], ys[term.i2], weights[term.path]
            if term.way == "dot":
                made = (x * y).sum(1, keepdim=True) if y.shape[2] == 1 else torch.bmm(y.mT, x).flatten(1).unsqueeze(1)
            elif term.way == "outer" or (term.way != "table" and not shared):
                made = (y.unsqueeze(3) * x.unsqueeze(2)).flatten(2)
            else:
                continue
            add(term.i3, made if shared else made * term.factor, _rows(w))
        if shared:
            self._scalars_first(xs, ys, weights, out)
        blocks = zip(out, self.sides[2].blocks)
        return torch.cat([x1.new_zeros(samples, k.dim * c) if o is None else o.flatten(1) for o, (k, c) in blocks], 1)

    def _split(self, weight: Tensor) -> list[Tensor]:
        """The weights of each path, [.., u, v, w]."""
        parts = weight.split([math.prod(shape) for shape in self.path_shapes], -1)
        found = [part.unflatten(-1, shape) for part, shape in zip(parts, self.path_shapes)]
        return [w.transpose(-3, -2) for w in found] if self.exchanged else found

    def _by_tables(self, xs: list[Tensor], ys: list[Tensor]) -> Iterator[tuple[int, Tensor, list[int]]]:
        """Block of the product, [samples, 2 l3 + 1, v·u of all paths from one piece of x], and their numbers."""
        matrices = {}
        for (i2, terms), table in zip(self.columns.items(), self._tables(xs[0])):
            y = ys[i2]
            made = (y.mT.reshape(-1, y.shape[1]) @ table).view(y.shape[0], y.shape[2], table.shape[1])
            shapes = [self._dims(t) for t in terms]
            for t, part, (d1, _, d3) in zip(terms, made.split([d1 * d3 for d1, _, d3 in shapes], 2), shapes):
                matrices[t.path] = part.unflatten(2, (d3, d1)).transpose(1, 2)  # [samples, 2 l3 + 1, v, 2 l1 + 1]
        for (i1, i3), terms in self.by_table.items():
            parts = [matrices[t.path] for t in terms]
            matrix = (torch.cat(parts, 2) if len(parts) > 1 else parts[0]).flatten(1, 2)
            made = torch.bmm(matrix, xs[i1])
            components = parts[0].shape[1]
            made = made.view(made.shape[0], components, made.shape[1] // components * made.shape[2])
            yield i3, made, [t.path for t in terms]

    def _scalars_first(
        self, xs: list[Tensor], ys: list[Tensor], weights: list[Tensor], out: list[Tensor | None]
    ) -> None:
        """Weights meet a scalar; the matrix of each sample that they make acts on the channels of the other factor."""
        for term in self.terms:
            x, y, w, old = xs[term.i1], ys[term.i2], weights[term.path], out[term.i3]
            if term.way == "x first":
                scalar, other = x[:, 0], y
            elif term.way == "y first":
                scalar, other, w = y[:, 0], x, w.transpose(0, 1)
            else:
                continue
            matrix = (scalar @ w.flatten(1)).unflatten(1, w.shape[1:])
            if other.shape[2] == 1:
                out[term.i3] = other * matrix if old is None else torch.addcmul(old, other, matrix)
            else:
                out[term.i3] = torch.bmm(other, matrix) if old is None else torch.baddbmm(old, other, matrix)


def _rows(w: Tensor) -> Tensor:
    """[.., u, v, w] -> [.., v·u, w]"""
    return w.transpose(-3, -2).flatten(-3, -2)
