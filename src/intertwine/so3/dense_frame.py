"""All degrees of an edge frame in one matrix for each edge: for small graphs, made once and shared by all layers."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .edge_frame import EdgeFrame
from .frame_blocks import DIRECT, by_products, product_table
from .so2_plan import dense_places
from .wigner import _frozen

_BYTES = 1 << 24  # up to here, on the CPU, matrices of all edges are kept; beyond, convolutions make them by chunks
Dense = Float[Tensor, "edges components columns"]


def dense_frame(frame: EdgeFrame, lmax: int, mmax: int) -> Dense | None:
    """D of degrees 0..lmax, block-diagonal, columns sorted by order as in `SO2Plan`; None where they are too large."""
    direction = frame.direction
    _, rows, columns = dense_places(lmax, mmax)
    if direction.device.type != "cpu" or len(direction) * rows * columns * direction.element_size() > _BYTES:
        return None
    if (lmax, mmax) not in frame.dense:
        direct = lmax <= DIRECT and frame.unmade
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
    """The same from both angles."""
    _, rows, columns = dense_places(lmax, mmax)
    return by_products(direction.detach(), lmax, _table(lmax, mmax)).view(len(direction), rows, columns)


@lru_cache(maxsize=8)
def _table(lmax: int, mmax: int) -> np.ndarray:
    """The entries by the products of powers, [(2 lmax + 1)², components · columns]."""
    places, rows, columns = dense_places(lmax, mmax)
    entries = product_table(lmax, mmax)
    found = np.zeros((len(entries), rows * columns))
    found[:, places] = entries
    return _frozen(found)
