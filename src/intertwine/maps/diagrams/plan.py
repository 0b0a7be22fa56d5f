"""All diagrams of a layer at once: contract, one matrix product for each through-rank, permute, broadcast.

No tensor is larger than input or output times the bijections of one product, never n^(l+k). The functions here are
plain tensor code; `apply` gives them derivatives. Source: arXiv:2304.14165, section 4, shared over all diagrams.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .lattice import accumulation_dtype, cast
from .layout import Layout, Meeting
from .products import MatrixProduct


@dataclass(frozen=True)
class Book:
    """Where the weights of one block go: `cells` indexes the basis (N: no diagram) in the order of the products, `back`
    finds each basis map among the cells; positions among the plan's constants, -1 for no signs."""

    cells: int
    back: int
    signs: int
    padded: bool
    spans: tuple[tuple[int, int, int], ...]  # (meeting, start, stop) in cells


class LayerPlan:
    """How one layer is computed. Terms are [batch, components, channels], weights [N, c_in, c_out] for every block.

    `keys` lists the blocks (output term, input term) in the order of the weights. `arrays` are constants that whoever
    runs the plan passes back as tensors.
    """

    def __init__(
        self,
        layout: Layout,
        c_in: tuple[int, ...],
        c_out: tuple[int, ...],
        max_stack_bytes: int | None = None,
    ):
        self.layout, self.c_in, self.c_out = layout, c_in, c_out
        self.n = layout.calculus.n
        self.keys = tuple(layout.signs)
        self.meetings = layout.meetings
        self.arrays: list[np.ndarray] = list(layout.constants)
        self.books = tuple(self._book(key) for key in self.keys)
        self.products = tuple(
            MatrixProduct.of(meeting, self.n, self.arrays, max_stack_bytes) for meeting in self.meetings
        )

    def _book(self, key: tuple[int, int]) -> Book:
        found, spans, start = [], [], 0
        for index, meeting in enumerate(self.meetings):
            if key in meeting.cells:
                cells = meeting.cells[key].swapaxes(0, 1).reshape(-1)  # [order, input slot, output slot]
                found.append(cells)
                spans.append((index, start, start + len(cells)))
                start += len(cells)
        cells, signs = np.concatenate(found), self.layout.signs[key]
        back = np.argsort(cells, kind="stable")[: len(signs)]
        self.arrays += [cells, back]
        place = len(self.arrays) - 2
        signed = bool((signs != 1).any())
        if signed:
            self.arrays.append(signs[:, None, None])
        return Book(place, place + 1, len(self.arrays) - 1 if signed else -1, len(cells) > len(signs), tuple(spans))

    # --- weights

    def _by_meeting(self, weights: list[Tensor], constants: list[Tensor]) -> dict[tuple[int, tuple[int, int]], Tensor]:
        """Weights of every block in the order of the products, cut into one piece for each."""
        pieces = {}
        for key, book, w in zip(self.keys, self.books, weights):
            if book.signs >= 0:
                w = w * constants[book.signs].to(w.dtype)
            if book.padded:
                w = torch.cat([w, w.new_zeros(1, *w.shape[1:])])
            w = w.index_select(0, constants[book.cells])
            for meeting, start, stop in book.spans:
                pieces[meeting, key] = w[start:stop]
        return pieces

    def _matrix(self, index: int, pieces: dict) -> Tensor:
        """The weight matrix of a product, [orders, a·c_in, b·c_out]."""
        meeting, like = self.meetings[index], next(iter(pieces.values()))
        rows = []
        for i, a in meeting.ins:
            columns = []
            for o, b in meeting.outs:
                sizes = len(meeting.orders), a, b, self.c_in[i], self.c_out[o]
                w = pieces.get((index, (o, i)))
                w = like.new_zeros(sizes) if w is None else w.view(sizes)
                columns.append(w.transpose(2, 3).reshape(sizes[0], a * self.c_in[i], b * self.c_out[o]))
            rows.append(joined(columns, 2))
        return joined(rows, 1)

    def _unpack(self, grads: list[Tensor], constants: list[Tensor]) -> list[Tensor]:
        """Gradients of the weights from those of the product matrices [a·c_in, orders, b·c_out]."""
        out = []
        for (o, i), book in zip(self.keys, self.books):
            pieces = []
            for index, _, _ in book.spans:
                meeting = self.meetings[index]
                row, a = _place(meeting.ins, i, self.c_in)
                column, b = _place(meeting.outs, o, self.c_out)
                c_in, c_out = self.c_in[i], self.c_out[o]
                g = grads[index]
                if len(meeting.ins) > 1 or len(meeting.outs) > 1:
                    g = g[row : row + a * c_in, :, column : column + b * c_out]
                g = g.reshape(a, c_in, len(meeting.orders), b, c_out).permute(2, 0, 3, 1, 4)
                pieces.append(g.reshape(-1, c_in, c_out))
            g = joined(pieces, 0).index_select(0, constants[book.back])
            out.append(g * constants[book.signs].to(g.dtype) if book.signs >= 0 else g)
        return out

    # --- the layer and its derivative

    def forward(
        self, terms: list[Tensor], weights: list[Tensor], constants: list[Tensor], kept: list | None = None
    ) -> list[Tensor]:
        """Output terms [batch, components, c_out] of input terms and weights; `kept` takes what `backward` can use."""
        terms = self._shaped(terms, self.layout.ins)
        stacks = [lattice.down(x, constants) for lattice, x in zip(self.layout.ins, terms)]
        pieces = self._by_meeting(weights, constants)
        made: list[dict] = [{} for _ in self.c_out]
        for index, meeting in enumerate(self.meetings):
            X = self._gathered(meeting, meeting.ins, stacks, terms[0].dtype)
            W = self._matrix(index, pieces)
            if kept is not None:
                kept.append((X, W))
            into = self._begun(index, meeting.outs, self.layout.outs, X, made, self.c_out, constants)
            self._spread(meeting, meeting.outs, self.c_out, self.products[index].forward(X, W, constants, into), made)
        return self._up(self.layout.outs, made, self.c_out, terms[0], constants)

    def backward(
        self,
        terms: list[Tensor],
        weights: list[Tensor],
        grads: list[Tensor],
        constants: list[Tensor],
        need_terms: bool = True,
        need_weights: bool = True,
        kept: list | None = None,
    ) -> tuple[list[Tensor] | None, list[Tensor] | None]:
        """Gradients of <grads, forward(terms, weights)> for the terms and for the weights."""
        grads = self._shaped(grads, self.layout.outs)
        above = [lattice.down(g, constants) for lattice, g in zip(self.layout.outs, grads)]
        if kept is None:
            terms = self._shaped(terms, self.layout.ins) if need_weights else []
            below = [lattice.down(x, constants) for lattice, x in zip(self.layout.ins, terms)]
            pieces = self._by_meeting(weights, constants) if need_terms else {}
        made: list[dict] = [{} for _ in self.c_in]
        found = []
        for index, meeting in enumerate(self.meetings):
            G = self._gathered(meeting, meeting.outs, above, grads[0].dtype)
            if kept is None:
                X = self._gathered(meeting, meeting.ins, below, grads[0].dtype) if need_weights else None
                W = self._matrix(index, pieces) if need_terms else None
            else:
                X, W = (part if need else None for part, need in zip(kept[index], (need_weights, need_terms)))
            into = None
            if need_terms:
                into = self._begun(index, meeting.ins, self.layout.ins, G, made, self.c_in, constants)
            Z, gW = self.products[index].backward(X, G, W, constants, into)
            found.append(gW)
            if need_terms:
                self._spread(meeting, meeting.ins, self.c_in, Z, made)
        return (
            self._up(self.layout.ins, made, self.c_in, grads[0], constants) if need_terms else None,
            self._unpack(found, constants) if need_weights else None,
        )

    def _shaped(self, terms: list[Tensor], lattices) -> list[Tensor]:
        """Terms with an axis for every index, [batch, n, .., n, channels]."""
        axes = [(self.n,) * sum(lattice.root[1:]) for lattice in lattices]
        return [x.reshape(x.shape[0], *ns, x.shape[-1]) for ns, x in zip(axes, terms)]

    def _gathered(self, meeting: Meeting, sides, stacks: list[dict], dtype: torch.dtype) -> Tensor:
        return joined([cast(stacks[t][meeting.level], dtype) for t, _ in sides], -1)

    def _spread(self, meeting: Meeting, sides, channels, Y: Tensor, made: list[dict]) -> None:
        """Hand the columns of a product to the terms they belong to."""
        Y, start = cast(Y, accumulation_dtype(Y.dtype)), 0
        for t, slots in sides:
            width = slots * channels[t]
            made[t][meeting.level] = Y[..., start : start + width] if len(sides) > 1 else Y
            start += width

    def _begun(
        self, index: int, sides, lattices, X: Tensor, made: list[dict], channels, constants: list[Tensor]
    ) -> Tensor | None:
        """Where a large product is the last part of one term: what the term has so far, to be added to."""
        t, lattice = sides[0][0], lattices[sides[0][0]]
        last = len(sides) == 1 and self.meetings[index].level == lattice.root and made[t]
        if not last or not self.products[index].is_large(X) or accumulation_dtype(X.dtype) != X.dtype:
            return None
        so_far = lattice.up(made[t], channels[t], constants)
        made[t].clear()
        return so_far.contiguous()

    def _up(self, lattices, made: list[dict], channels, like: Tensor, constants: list[Tensor]) -> list[Tensor]:
        out = []
        for lattice, stacks, c in zip(lattices, made, channels):
            y = lattice.up(stacks, c, constants)
            size = like.shape[0], self.n ** sum(lattice.root[1:]), c
            out.append(like.new_zeros(size) if y is None else cast(y, like.dtype).contiguous().view(size))
        return out

    def flops(self) -> int:
        """Multiplications and additions for one sample: products, and one addition for each entry a contraction reads
        or a broadcast writes."""
        total = 0
        for meeting in self.meetings:
            rows = sum(slots * self.c_in[i] for i, slots in meeting.ins)
            columns = sum(slots * self.c_out[o] for o, slots in meeting.outs)
            total += 2 * self.n**meeting.axes * len(meeting.orders) * rows * columns
        for lattices, channels in ((self.layout.ins, self.c_in), (self.layout.outs, self.c_out)):
            for lattice, c in zip(lattices, channels):
                total += lattice.entries() * c
        return total


def joined(parts: list[Tensor], axis: int) -> Tensor:
    """Tensors side by side; one alone as it is."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, axis)


def _place(sides, term: int, channels) -> tuple[int, int]:
    """First column of a term in a product, and its slots."""
    start = 0
    for t, slots in sides:
        if t == term:
            return start, slots
        start += slots * channels[t]
    raise KeyError(term)
