"""The SO(2) edge convolution of degrees 0 and 1, which needs no frame: along the edge and across it are dot and cross.

In the frame of the direction r, a vector x has r·x of order 0 and x - r(r·x) of order ±1, which I turns by r × x. So
a message is [a + r·b, r c + r(r·d) + e + r × f], where a .. f are matrices of channels times the sender's feature: one
small matrix for each edge, a polynomial of its direction. All of it is ordinary operations, differentiable to every
order and open to compilers.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..maps.constants import known_to_compilers
from .so2_plan import SO2Plan
from .wigner import _frozen


def vector_sum(
    plan: SO2Plan,
    x: Tensor,
    direction: Tensor,
    bias: Tensor | None,
    scale: Tensor | None,
    src: Tensor,
    dst: Tensor,
    weights: Sequence[Tensor],
    n: int,
) -> Tensor:
    """Σ_{edges src → dst} D W(s ∘ Dᵀ x_src) for degrees up to 1, [n, components, channels]."""
    width = plan.widths(0)[1]
    along, bias = weights[0][:, :width], None if bias is None else bias[:width]
    if scale is None:
        # Matrices of channels commute with the choice of senders, which are fewer than edges.
        rows, parts = _of_senders(plan, x, along, bias, weights[1:])
        rows = rows.index_select(0, src)
    else:
        rows, parts = _of_edges(plan, x.index_select(0, src), direction, along, bias, scale, weights[1:])
    coupling = _coupling(parts, plan.lmax_out, direction)
    message = torch.bmm(coupling, rows.unflatten(1, (coupling.shape[2], plan.channels_out)))
    return message.new_zeros(n, *message.shape[1:]).index_add(0, dst, message)


def _of_senders(
    plan: SO2Plan, x: Tensor, along: Tensor, bias: Tensor | None, across: Sequence[Tensor]
) -> tuple[Tensor, str]:
    """The parts a .. f of every node, flat, and which of them there are."""
    scalars, vectors = along[: plan.channels_in], along[plan.channels_in :]
    if plan.mmax:
        # x - r(r·x) times R is e - r(r·e): the second half is one more share of d.
        real = across[0][:, : plan.channels_out]
        first, second = vectors.split(plan.channels_out, 1)
        vectors = torch.cat([first, second - real, across[0]], 1)
    found = [x[:, 0] @ scalars if bias is None else torch.addmm(bias, x[:, 0], scalars)]
    parts = "ac"[: plan.lmax_out + 1]
    if plan.lmax_in:
        turned = (x[:, 1:] @ vectors).unflatten(2, (-1, plan.channels_out))
        found.append(turned.transpose(1, 2).flatten(1))
        parts += "bdef"[: turned.shape[2]]
    return torch.cat(found, 1), parts


def _of_edges(
    plan: SO2Plan,
    x: Tensor,
    direction: Tensor,
    along: Tensor,
    bias: Tensor | None,
    scale: Tensor,
    across: Sequence[Tensor],
) -> tuple[Tensor, str]:
    """The same of every edge, whose factors come before the matrices: what is along r is in a and c already."""
    r, inside, width = direction.unsqueeze(-1), x, plan.widths(0)[0]
    if plan.lmax_in:
        inside = torch.cat([x[:, :1], (r * x[:, 1:]).sum(1, keepdim=True)], 1)
    flat = inside.flatten(1) * scale[:, :width]
    found, parts = [flat @ along if bias is None else torch.addmm(bias, flat, along)], "ac"[: plan.lmax_out + 1]
    if plan.mmax:
        turned = ((x[:, 1:] - r * inside[:, 1:]) * scale[:, None, width:]) @ across[0]
        turned = turned.unflatten(2, (-1, plan.channels_out)).transpose(1, 2)
        found.append(turned.flatten(1))
        parts += "ef"[: turned.shape[1]]
    return torch.cat(found, 1), parts


def _coupling(parts: str, lmax_out: int, direction: Tensor) -> Tensor:
    """From the parts to the message, a matrix for each edge."""
    table = _numbers(parts, lmax_out) if torch.compiler.is_compiling() else _table(parts, lmax_out)
    table = torch.tensor(table, dtype=direction.dtype, device=direction.device)
    squares = (direction.unsqueeze(2) * direction.unsqueeze(1)).flatten(1)
    flat = torch.addmm(table[0], torch.cat([direction, squares], 1), table[1:])
    return flat.unflatten(1, ((lmax_out + 1) ** 2, -1))


@lru_cache(maxsize=32)
def _table(parts: str, lmax_out: int) -> np.ndarray:
    """The matrix of `_coupling` as coefficients of 1, r_i and r_i r_j: [13, its entries]."""
    identity, columns = np.eye(3), []
    for part in parts:
        block = np.zeros((13, 4, 1 if part in "ac" else 3))
        if part == "a":
            block[0, 0] = 1
        elif part == "b":
            block[1:4, 0] = identity
        elif part == "c":
            block[1:4, 1:, 0] = identity
        elif part == "d":
            block[4:, 1:] = np.eye(9).reshape(9, 3, 3)
        elif part == "e":
            block[0, 1:] = identity
        elif part == "f":
            for i in range(3):
                block[1 + i, 1:] = np.cross(identity[i], identity).T
        columns.append(block)
    table = np.concatenate(columns, 2)[:, : (lmax_out + 1) ** 2]
    return _frozen(table.reshape(13, -1).copy())


@known_to_compilers
def _numbers(parts: str, lmax_out: int) -> tuple:
    return tuple(map(tuple, _table(parts, lmax_out).tolist()))
