"""The depth-wise edge convolution of degrees 0 and 1 in ordinary operations: no matrix for an edge, a few products.

Differentiable to every order; at these degrees calls cost as much as arithmetic, and these are the fewest.
"""

from collections.abc import Callable
from math import sqrt

import torch
from torch import Tensor

from .paths import EdgePlan

_BYTES = 1 << 22  # of messages: up to here on the CPU; beyond, chunks that fit the cache are faster; measured
Product = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # of x [E, 2l1+1, c], 1 and y of Y, w [E, 1, c]


def _dot(x: Tensor, one: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return (x * (y * (1 / sqrt(3)))).sum(1, keepdim=True) * w


def _cross(x: Tensor, one: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return torch.linalg.cross(x, (y * sqrt(0.5)).expand_as(x), dim=1) * w


# (l1, l2, l3) -> √(2l3+1) Σ C_ijk x_i Y_j w
_PRODUCTS: dict[tuple[int, int, int], Product] = {
    (0, 0, 0): lambda x, one, y, w: (x * one) * w,
    (0, 1, 1): lambda x, one, y, w: (x * w) * y,
    (1, 0, 1): lambda x, one, y, w: (x * one) * w,
    (1, 1, 0): _dot,
    (1, 1, 1): _cross,
}


def by_vectors(plan: EdgePlan, Y: Tensor) -> bool:
    """Whether all degrees are below two and the graph is small enough."""
    if plan.most > 1 or Y.device.type != "cpu":
        return False
    return len(Y) * plan.dim_out * Y.element_size() <= _BYTES


def vector_messages(plan: EdgePlan, x: Tensor, Y: Tensor, w: Tensor, src: Tensor, dst: Tensor, n: int) -> Tensor:
    """The sum over edges, [n, dim_out]; w [E, weights] in the order of the paths."""
    sender = x.index_select(0, src)
    blocks, start = [], 0
    for irrep, c in plan.rep_in.blocks:
        blocks.append(sender.narrow(1, start, irrep.dim * c).unflatten(1, (irrep.dim, c)))
        start += irrep.dim * c
    one, y = Y.narrow(1, 0, 1).unsqueeze(2), Y.narrow(1, 1, Y.shape[1] - 1).unsqueeze(2)
    found: dict = {}
    for (i, l2, irrep), part in zip(plan.paths, w.unsqueeze(1).split(plan.path_channels, 2)):
        product = _PRODUCTS[plan.rep_in.blocks[i][0].l, l2, irrep.l]
        found.setdefault(irrep, []).append(product(blocks[i], one, y, part))
    rows = [
        (parts[0] if len(parts) == 1 else torch.cat(parts, 2)).flatten(1)
        for parts in (found[irrep] for irrep, _ in plan.rep_out.blocks)
    ]
    message = torch.cat(rows, 1) if len(rows) > 1 else rows[0]
    return message.new_zeros(n, plan.dim_out).index_add(0, dst, message)
