"""All diagrams of a layer at once: contract, one matrix product for each through-rank, permute, broadcast.

No tensor is larger than input or output times the bijections of one product, never n^(l+k). The functions here are
plain tensor code; `apply` gives them derivatives. Source: arXiv:2304.14165, section 4, shared over all diagrams.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .lattice import accumulation_dtype, inverse, permuted
from .layout import Layout, Meeting
from .small import MAX_COMPONENTS

# Stacks of permuted copies above this are made one at a time: on a CPU when they leave the cache (measured), elsewhere
# for the memory.
MAX_STACK_BYTES = {"cpu": 2**20, "other": 256 * 2**20}


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
    """How one layer is computed. Terms are [batch, n, .., n, channels], weights [N, c_in, c_out] for every block.

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
        self.max_stack_bytes = max_stack_bytes
        self.arrays: list[np.ndarray] = list(layout.constants)
        self.books = tuple(self._book(key) for key in self.keys)
        self.turns = tuple(self._turn(meeting) for meeting in self.meetings)

    def _turn(self, meeting: Meeting) -> int | None:
        """Where the indices are that permute axes in all orders of a product, and back; None where they are many."""
        size = self.n**meeting.axes
        if size > MAX_COMPONENTS or len(meeting.orders) == 1:
            return None
        components = np.arange(size).reshape((self.n,) * meeting.axes)
        rest = range(len(meeting.orders[0]), meeting.axes)
        for orders in (meeting.orders, [inverse(order) for order in meeting.orders]):
            turned = [components.transpose(*order, *rest).reshape(-1) for order in orders]
            self.arrays.append(np.stack(turned, -1).reshape(-1))
        return len(self.arrays) - 2

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
            rows.append(_joined(columns, 2))
        return _joined(rows, 1)

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
            g = _joined(pieces, 0).index_select(0, constants[book.back])
            out.append(g * constants[book.signs].to(g.dtype) if book.signs >= 0 else g)
        return out

    # --- the layer and its derivative

    def forward(
        self, terms: list[Tensor], weights: list[Tensor], constants: list[Tensor], kept: list | None = None
    ) -> list[Tensor]:
        """Output terms [batch, n, .., n, c_out] of input terms and weights; `kept` takes what `backward` can use."""
        stacks = [lattice.down(x, constants) for lattice, x in zip(self.layout.ins, terms)]
        pieces = self._by_meeting(weights, constants)
        made: list[dict] = [{} for _ in self.c_out]
        for index, meeting in enumerate(self.meetings):
            X = self._gathered(meeting, meeting.ins, stacks, terms[0].dtype)
            W = self._matrix(index, pieces)
            if kept is not None:
                kept.append((X, W))
            self._spread(meeting, meeting.outs, self.c_out, self._product(index, X, W, constants), made)
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
        above = [lattice.down(g, constants) for lattice, g in zip(self.layout.outs, grads)]
        if kept is None:
            below = [lattice.down(x, constants) for lattice, x in zip(self.layout.ins, terms)] if need_weights else []
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
            Z, gW = self._transposed(index, X, G, W, constants)
            found.append(gW)
            if need_terms:
                self._spread(meeting, meeting.ins, self.c_in, Z, made)
        return (
            self._up(self.layout.ins, made, self.c_in, grads[0], constants) if need_terms else None,
            self._unpack(found, constants) if need_weights else None,
        )

    def _gathered(self, meeting: Meeting, sides, stacks: list[dict], dtype: torch.dtype) -> Tensor:
        return _joined([_as(stacks[t][meeting.level], dtype) for t, _ in sides], -1)

    def _spread(self, meeting: Meeting, sides, channels, Y: Tensor, made: list[dict]) -> None:
        """Hand the columns of a product to the terms they belong to."""
        Y, start = _as(Y, accumulation_dtype(Y.dtype)), 0
        for t, slots in sides:
            width = slots * channels[t]
            made[t][meeting.level] = Y[..., start : start + width] if len(sides) > 1 else Y
            start += width

    def _up(self, lattices, made: list[dict], channels, like: Tensor, constants: list[Tensor]) -> list[Tensor]:
        out = []
        for lattice, stacks, c in zip(lattices, made, channels):
            y = lattice.up(stacks, c, constants)
            if y is None:
                y = like.new_zeros(like.shape[0], *(self.n,) * sum(lattice.root[1:]), c)
            out.append(_as(y, like.dtype).contiguous())
        return out

    # --- one product with its bijections, on whichever side is narrower

    def _product(self, index: int, X: Tensor, W: Tensor, constants: list[Tensor]) -> Tensor:
        """Σ over bijections of (X permuted) W."""
        sizes, orders = X.shape[:-1], self.meetings[index].orders
        rows, (P, A, B) = math.prod(sizes), W.shape
        if self._is_large(X, P):
            Y = None
            for order, w in zip(orders, W):
                term = permuted(X, order).reshape(rows, A)
                Y = term @ w if Y is None else Y.addmm_(term, w)
        elif A <= B or P == 1 or self.turns[index] is not None:
            Y = self._stacked(X, orders, self.turns[index], 0, constants) @ W.reshape(P * A, B)
        else:
            mixed = X.reshape(rows, A) @ W.transpose(0, 1).reshape(A, P * B)
            return _sum_permuted(mixed.view(*sizes, P, B), orders)
        return Y.view(*sizes, B)

    def _transposed(
        self, index: int, X: Tensor | None, G: Tensor, W: Tensor | None, constants: list[Tensor]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Gradients for X (if W is given) and for W as [A, P, B] (if X is given), from the output's G."""
        orders, sizes, B = self.meetings[index].orders, G.shape[:-1], G.shape[-1]
        rows, P = math.prod(sizes), len(orders)
        A = W.shape[1] if W is not None else X.shape[-1]
        back = [inverse(order) for order in orders]
        Z = gW = None
        if self._is_large(G, P):
            parts = []
            for p, order in enumerate(back):
                g = permuted(G, order).reshape(rows, B)
                if W is not None:
                    Z = g @ W[p].T if Z is None else Z.addmm_(g, W[p].T)
                if X is not None:
                    parts.append(X.reshape(rows, A).T @ g)
            gW = torch.stack(parts, 1) if parts else None
        elif B <= 2 * A or P == 1 or self.turns[index] is not None:
            stacked = self._stacked(G, back, self.turns[index], 1, constants)
            if W is not None:
                Z = stacked @ W.transpose(1, 2).reshape(P * B, A)
            if X is not None:
                gW = (X.reshape(rows, A).T @ stacked).view(A, P, B)
        else:
            if W is not None:
                mixed = G.reshape(rows, B) @ W.permute(2, 0, 1).reshape(B, P * A)
                Z = _sum_permuted(mixed.view(*sizes, P, A), back)
            if X is not None:
                turned = self._stacked(X, orders, self.turns[index], 0, constants)
                gW = (turned.T @ G.reshape(rows, B)).view(P, A, B).transpose(0, 1)
        return None if Z is None else Z.view(*sizes, A), gW

    def _is_large(self, X: Tensor, P: int) -> bool:
        limit = self.max_stack_bytes
        if limit is None:
            limit = MAX_STACK_BYTES["cpu" if X.device.type == "cpu" else "other"]
        return P > 1 and P * X.numel() * X.element_size() > limit

    def _stacked(self, X: Tensor, orders, turn: int | None, which: int, constants: list[Tensor]) -> Tensor:
        """All permuted copies side by side, [rows, orders·channels]: by one gather where components are few."""
        c = X.shape[-1]
        rows = math.prod(X.shape[:-1])
        if turn is not None:
            flat = X.reshape(X.shape[0], math.prod(X.shape[1:-1]), c)
            return flat.index_select(1, constants[turn + which]).view(rows, len(orders) * c)
        parts = [permuted(X, order) for order in orders]
        return (parts[0] if len(parts) == 1 else torch.cat(parts, -1)).reshape(rows, len(orders) * c)

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


def _as(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x if x.dtype == dtype else x.to(dtype)


def _joined(parts: list[Tensor], axis: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, axis)


def _sum_permuted(mixed: Tensor, orders) -> Tensor:
    """Σ_p of the slices mixed[.., p, :], each with its own order of axes."""
    slices = [permuted(mixed[..., p, :], order) for p, order in enumerate(orders)]
    total = slices[0] + slices[1]
    for part in slices[2:]:
        total += part
    return total


def _place(sides, term: int, channels) -> tuple[int, int]:
    """First column of a term in a product, and its slots."""
    start = 0
    for t, slots in sides:
        if t == term:
            return start, slots
        start += slots * channels[t]
    raise KeyError(term)
