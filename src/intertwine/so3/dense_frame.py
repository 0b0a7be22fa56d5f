"""All degrees of an edge frame in one matrix for each edge: for small graphs, made once and shared by all layers."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .edge_frame import EdgeFrame
from .frame_blocks import column_orders, wave_table, waves
from .so2_plan import dense_places
from .wigner import _frozen

_BYTES = 1 << 24  # up to here, on the CPU, matrices of all edges are kept; beyond, convolutions make them by chunks
_DIRECT = 3  # up to this degree one product makes all entries, zeros among them, faster than they are put in places
Dense = Float[Tensor, "edges components columns"]


def dense_frame(frame: EdgeFrame, lmax: int, mmax: int) -> Dense | None:
    """D of degrees 0..lmax, block-diagonal, columns sorted by order as in `SO2Plan`; None where they are too large."""
    direction = frame.direction
    _, rows, columns = dense_places(lmax, mmax)
    if direction.device.type != "cpu" or len(direction) * rows * columns * direction.element_size() > _BYTES:
        return None
    if (lmax, mmax) not in frame.dense:
        direct = lmax <= _DIRECT and frame.unmade
        frame.dense[lmax, mmax] = _matrices(direction, lmax, mmax) if direct else placed(frame.blocks, lmax, mmax)
    return frame.dense[lmax, mmax]


def placed(blocks: Sequence[Tensor], lmax: int, mmax: int) -> Dense:
    """The same from the blocks of all degrees."""
    places, rows, columns = dense_places(lmax, mmax)
    entries = [D.narrow(2, 0, 2 * min(l, mmax) + 1).flatten(1) for l, D in enumerate(blocks[: lmax + 1])]
    flat = blocks[0].new_zeros(len(blocks[0]), rows * columns)
    places = torch.tensor(places, device=flat.device)
    return flat.index_copy(1, places, torch.cat(entries, 1)).unflatten(1, (rows, columns))


@torch.no_grad()
def _matrices(direction: Tensor, lmax: int, mmax: int) -> Dense:
    """The same from both angles: every entry is a sum of products of their waves."""
    _, rows, columns = dense_places(lmax, mmax)
    polar, azimuthal = waves(direction.detach(), lmax)
    table = torch.tensor(_products(lmax, mmax), dtype=direction.dtype)
    products = (polar.unsqueeze(2) * azimuthal.unsqueeze(1)).flatten(1)
    return torch.mm(products, table).view(len(direction), rows, columns)


@lru_cache(maxsize=8)
def _products(lmax: int, mmax: int) -> np.ndarray:
    """The entries by the products of waves, [(2 lmax + 1)², components · columns]."""
    places, rows, columns = dense_places(lmax, mmax)
    count = 2 * lmax + 1
    whole, dense = wave_table(lmax, mmax).reshape(count, count, -1), np.zeros((count, rows * columns))
    start, done = 0, 0
    for l in range(lmax + 1):
        width = len(column_orders(min(l, mmax)))
        block = whole[:, lmax - l : lmax + l + 1, start : start + width].reshape(count, -1)
        dense[:, places[done : done + block.shape[1]]] = block
        start, done = start + width, done + block.shape[1]
    dense = dense.reshape(count, rows, columns)
    found = np.zeros((count, count, rows, columns))
    for l in range(lmax + 1):
        for m in range(-l, l + 1):  # row m ← cos(mα) row m - sin(mα) row -m
            row, other = l * l + l + m, l * l + l - m
            found[:, abs(m), row] = dense[:, row]
            if m:
                found[:, lmax + abs(m), row] = -np.sign(m) * dense[:, other]
    return _frozen(found.reshape(count * count, -1))
