"""The matrix product where diagrams with equally many through blocks meet, summed over the bijections of those."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .lattice import inverse, permuted
from .layout import Meeting
from .small import MAX_COMPONENTS

# Stacks of permuted copies above this are made one at a time: on a CPU when they leave the cache (measured), elsewhere
# for the memory.
MAX_STACK_BYTES = {"cpu": 2**20, "other": 256 * 2**20}


@dataclass(frozen=True)
class MatrixProduct:
    """Y = Σ_p (X with axes in order p) W_p.

    Permuted copies are made on the narrower side, by one gather where components are few (`turn`: where among the
    constants its indices are, and those of the inverse orders), and one at a time where they would be large.
    """

    orders: tuple[tuple[int, ...], ...]
    back: tuple[tuple[int, ...], ...]
    turn: int | None
    max_stack_bytes: int | None

    @classmethod
    def of(cls, meeting: Meeting, n: int, arrays: list[np.ndarray], max_stack_bytes: int | None) -> "MatrixProduct":
        """The product of a meeting; appends its constants to `arrays`."""
        orders, size = meeting.orders, n**meeting.axes
        back = tuple(inverse(order) for order in orders)
        if size > MAX_COMPONENTS or len(orders) == 1:
            return cls(orders, back, None, max_stack_bytes)
        components = np.arange(size).reshape((n,) * meeting.axes)
        rest = range(len(orders[0]), meeting.axes)
        for chosen in (orders, back):
            turned = [components.transpose(*order, *rest).reshape(-1) for order in chosen]
            arrays.append(np.stack(turned, -1).reshape(-1))
        return cls(orders, back, len(arrays) - 2, max_stack_bytes)

    def forward(self, X: Tensor, W: Tensor, constants: list[Tensor], into: Tensor | None = None) -> Tensor:
        """Y [batch, n, .., n, B] of X [batch, n, .., n, A] and W [orders, A, B]; a large one is added to `into`."""
        sizes, orders = X.shape[:-1], self.orders
        rows, (P, A, B) = math.prod(sizes), W.shape
        if self.is_large(X):
            Y = None if into is None else into.view(rows, B)
            for order, w in zip(orders, W):
                term = permuted(X, order).reshape(rows, A)
                Y = term @ w if Y is None else Y.addmm_(term, w)
        elif A <= B or P == 1 or self.turn is not None:
            Y = self._stacked(X, orders, 0, constants) @ W.reshape(P * A, B)
        else:
            mixed = X.reshape(rows, A) @ W.transpose(0, 1).reshape(A, P * B)
            return _sum_permuted(mixed.view(*sizes, P, B), orders)
        return Y.view(*sizes, B)

    def backward(
        self,
        X: Tensor | None,
        G: Tensor,
        W: Tensor | None,
        constants: list[Tensor],
        into: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Gradients for X (if W is given) and for W as [A, P, B] (if X is given), from the output's G."""
        orders, back, sizes, B = self.orders, self.back, G.shape[:-1], G.shape[-1]
        rows, P = math.prod(sizes), len(orders)
        A = W.shape[1] if W is not None else X.shape[-1]
        Z = gW = None
        if self.is_large(G):
            parts = []
            Z = None if into is None else into.view(rows, A)
            for p, order in enumerate(back):
                g = permuted(G, order).reshape(rows, B)
                if W is not None:
                    Z = g @ W[p].T if Z is None else Z.addmm_(g, W[p].T)
                if X is not None:
                    parts.append(X.reshape(rows, A).T @ g)
            gW = torch.stack(parts, 1) if parts else None
        elif B <= 2 * A or P == 1 or self.turn is not None:
            stacked = self._stacked(G, back, 1, constants)
            if W is not None:
                Z = stacked @ W.transpose(1, 2).reshape(P * B, A)
            if X is not None:
                gW = (X.reshape(rows, A).T @ stacked).view(A, P, B)
        else:
            if W is not None:
                mixed = G.reshape(rows, B) @ W.permute(2, 0, 1).reshape(B, P * A)
                Z = _sum_permuted(mixed.view(*sizes, P, A), back)
            if X is not None:
                turned = self._stacked(X, orders, 0, constants)
                gW = (turned.T @ G.reshape(rows, B)).view(P, A, B).transpose(0, 1)
        return None if Z is None else Z.view(*sizes, A), gW

    def is_large(self, X: Tensor) -> bool:
        """Whether permuted copies of X are made one at a time."""
        if len(self.orders) == 1 or (self.turn is not None and self.max_stack_bytes is None):
            return False
        limit = self.max_stack_bytes
        if limit is None:
            limit = MAX_STACK_BYTES["cpu" if X.device.type == "cpu" else "other"]
        return len(self.orders) * X.numel() * X.element_size() > limit

    def _stacked(self, X: Tensor, orders, which: int, constants: list[Tensor]) -> Tensor:
        """All permuted copies side by side, [rows, orders·channels]: by one gather where components are few."""
        c = X.shape[-1]
        rows = math.prod(X.shape[:-1])
        if self.turn is not None:
            flat = X.reshape(X.shape[0], math.prod(X.shape[1:-1]), c)
            return flat.index_select(1, constants[self.turn + which]).view(rows, len(orders) * c)
        parts = [permuted(X, order) for order in orders]
        return (parts[0] if len(parts) == 1 else torch.cat(parts, -1)).reshape(rows, len(orders) * c)


def _sum_permuted(mixed: Tensor, orders) -> Tensor:
    """Σ_p of the slices mixed[.., p, :], each with its own order of axes."""
    slices = [permuted(mixed[..., p, :], order) for p, order in enumerate(orders)]
    total = slices[0] + slices[1]
    for part in slices[2:]:
        total += part
    return total
