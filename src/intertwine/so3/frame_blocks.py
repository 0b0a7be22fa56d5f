"""The matrices of edge frames: D(R_y(α) R_x(β)) of all degrees at once, by the waves of both angles."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..maps.constants import known_to_compilers
from .wigner import _climb, _frozen

CACHED = 1 << 16  # numbers in one chunk of matrices on the CPU; measured
DIRECT = 3  # up to this degree one product for both angles is worth its zeros; measured


@lru_cache(maxsize=32)
def wave_table(lmax: int, mmax: int) -> np.ndarray:
    """T [2 lmax + 1, (2 lmax + 1) · width]: d(β) of all degrees is (cos kβ, k = 0..lmax; sin kβ, k = 1..lmax) times T.

    One matrix holds all degrees: rows are orders -lmax..lmax, columns degree by degree the orders 0, +1, -1, +2, .. up
    to min(l, mmax); rows of orders above the degree of a column are zero. d(β) is a trigonometric polynomial of degree
    l, so its values at 2 lmax + 1 angles fix it.
    """
    count = 2 * lmax + 1
    beta = 2 * np.pi * np.arange(count) / count
    zero, c, s = np.zeros(count), np.cos(beta), np.sin(beta)
    R = np.moveaxis(np.array([[zero + 1, zero, zero], [zero, c, -s], [zero, s, c]]), 2, 0)
    d, start, values = np.ones((count, 1, 1)), 0, np.zeros((count, count, _width(lmax, mmax)))
    for l in range(lmax + 1):
        if l > 0:  # the part of degree l of d ⊗ R
            climb = np.array(_climb(l))
            d = climb @ np.einsum("bij,bkl->bikjl", d, R).reshape(count, 6 * l - 3, 6 * l - 3) @ climb.T
        orders = column_orders(min(l, mmax))
        values[:, lmax - l : lmax + l + 1, start : start + len(orders)] = d[:, :, [l + m for m in orders]]
        start += len(orders)
    angles = np.outer(np.arange(lmax + 1), beta)
    inverse = np.concatenate([np.cos(angles), np.sin(angles[1:])]) * (2 / count)
    inverse[0] /= 2
    found = inverse @ values.reshape(count, -1)
    found[np.abs(found) < 1e-14] = 0
    return _frozen(found)


def _width(lmax: int, mmax: int) -> int:
    return sum(2 * min(l, mmax) + 1 for l in range(lmax + 1))


def column_orders(mmax: int) -> list[int]:
    """The orders of the columns of a block: 0, +1, -1, +2, -2, .."""
    return [0, *(sign * m for m in range(1, mmax + 1) for sign in (1, -1))]


@known_to_compilers
def _numbers(lmax: int, mmax: int) -> tuple:
    """`wave_table` as numbers, which a compiler takes as a constant."""
    return tuple(map(tuple, wave_table(lmax, mmax).tolist()))


def _table_tensor(lmax: int, mmax: int, like: Tensor) -> Tensor:
    table = _numbers(lmax, mmax) if torch.compiler.is_compiling() else wave_table(lmax, mmax)
    return torch.tensor(table, dtype=like.dtype, device=like.device)


def _angles(direction: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """cos β, sin β, cos α, sin α of unit vectors."""
    x, y, z = direction.unbind(1)
    tiny = torch.finfo(z.dtype).tiny
    z = z.masked_fill(z.abs() < tiny, tiny)  # so α = 0 at the poles
    rho = torch.hypot(x, z)
    return y, rho, z / rho, x / rho


def waves(direction: Tensor, lmax: int) -> tuple[Tensor, Tensor]:
    """(cos kβ, k = 0..lmax; sin kβ, k = 1..lmax) of each direction, [2 lmax + 1, E], and the same of α."""
    cos_b, sin_b, cos_a, sin_a = _angles(direction)
    c, s = torch.stack([cos_b, cos_a]), torch.stack([sin_b, sin_a])
    cosines, sines = [torch.ones_like(c), c], [s]
    for _ in range(lmax - 1):
        last = cosines[-1]
        cosines.append(torch.addcmul(last * c, sines[-1], s, value=-1))
        sines.append(torch.addcmul(sines[-1] * c, last, s))
    polar, azimuthal = torch.stack([*cosines[: lmax + 1], *sines[:lmax]]).unbind(1)
    return polar, azimuthal


@lru_cache(maxsize=32)
def product_table(lmax: int, mmax: int) -> np.ndarray:
    """The entries of all blocks, one block after the other, by the products of `_powers`: [(2 lmax + 1)², entries]."""
    count = 2 * lmax + 1
    whole, tables, start = wave_table(lmax, mmax).reshape(count, count, -1), [], 0
    for l in range(lmax + 1):
        stop = start + 2 * min(l, mmax) + 1
        polar, both = whole[:, lmax - l : lmax + l + 1, start:stop], np.zeros((count, count, 2 * l + 1, stop - start))
        for m in range(-l, l + 1):  # row m ← cos(mα) row m - sin(mα) row -m
            both[:, abs(m), l + m] = polar[:, l + m]
            if m:
                both[:, lmax + abs(m), l + m] = -np.sign(m) * polar[:, l - m]
        tables.append(both.reshape(count * count, -1))
        start = stop
    by_powers = _waves_by_powers(lmax)
    return _frozen(np.kron(by_powers, by_powers).T @ np.concatenate(tables, 1))


def _waves_by_powers(lmax: int) -> np.ndarray:
    """cos kθ, k = 0..lmax, and sin kθ, k = 1..lmax, by 1 and c^k, s c^(k-1), k = 1..lmax: Chebyshev polynomials."""
    found = np.zeros((2 * lmax + 1, 2 * lmax + 1))
    for k in range(lmax + 1):
        even = np.polynomial.chebyshev.cheb2poly([0] * k + [1])
        found[k, [0, *range(1, 2 * k, 2)]] = even
        if k:  # sin kθ = s U_(k-1)(c), and U_(k-1) = T_k' / k
            found[lmax + k, 2 : 2 * k + 1 : 2] = np.polynomial.polynomial.polyder(even) / k
    return found


def _powers(direction: Tensor, lmax: int) -> tuple[Tensor, Tensor]:
    """1 and c^k, s c^(k-1), k = 1..lmax, of β and of α, [2 lmax + 1, E]; for low degrees: fewer calls than `waves`."""
    cos_b, sin_b, cos_a, sin_a = _angles(direction)
    last = torch.stack([cos_b, cos_a, sin_b, sin_a]).view(2, 2, -1)  # cosines and sines of both
    c, made = last[0], [torch.ones_like(last[:1]), last]
    for _ in range(lmax - 1):
        last = c * last
        made.append(last)
    polar, azimuthal = torch.cat(made[: lmax + 1]).unbind(1)
    return polar, azimuthal


def by_products(direction: Tensor, lmax: int, table: np.ndarray) -> Float[Tensor, "edges entries"]:
    """The products of the powers of both angles times a table: all entries in one matrix product."""
    polar, azimuthal = _powers(direction, lmax)
    constant = torch.tensor(table, dtype=direction.dtype, device=direction.device)
    edges, size = len(direction), max(64, CACHED // sum(table.shape))
    if direction.device.type != "cpu" or edges <= size:
        return (polar.unsqueeze(1) * azimuthal).flatten(0, 1).T @ constant
    out = direction.new_empty(edges, table.shape[1])
    for start in range(0, edges, size):
        part = slice(start, start + size)
        torch.mm((polar[:, None, part] * azimuthal[:, part]).flatten(0, 1).T, constant, out=out[part])
    return out


def _axes(direction: Tensor) -> Float[Tensor, "edges 10"]:
    """D of degrees 0 and 1 in all orders: the columns of degree 1 are the direction and two axes across it."""
    cos_b, sin_b, cos_a, sin_a = _angles(direction)
    x, y, z = direction.unbind(1)
    one, zero = torch.ones_like(y), torch.zeros_like(y)
    rows = [one, x, sin_a * cos_b, cos_a, y, sin_b.neg(), zero, z, cos_a * cos_b, sin_a.neg()]
    return torch.stack(rows, 1)


@torch.no_grad()
def frame_blocks(direction: Tensor, lmax: int, mmax: int, roll: Tensor | None = None) -> tuple[Tensor, ...]:
    """D of R_y(α) R_x(β), which takes y to each direction, [E, 2l+1, columns] for every degree, views of one tensor;
    columns as in `wave_table`. roll: angles γ, for R_y(α) R_x(β) R_y(γ)."""
    if lmax <= DIRECT and roll is None and not torch.compiler.is_compiling():
        by_axes = lmax == mmax == 1
        flat = _axes(direction) if by_axes else by_products(direction, lmax, product_table(lmax, mmax))
        return _views(flat, lmax, mmax)
    whole = _turned_rows(direction, lmax, mmax)
    if roll is not None:
        whole = _rolled(whole, roll, lmax, mmax)
    blocks, start = [], 0
    for l in range(lmax + 1):
        stop = start + 2 * min(l, mmax) + 1
        blocks.append(whole[:, lmax - l : lmax + l + 1, start:stop])
        start = stop
    return tuple(blocks)


def _views(flat: Tensor, lmax: int, mmax: int) -> tuple[Tensor, ...]:
    """Blocks in one row for each edge, as matrices."""
    edges, width = flat.shape
    views, start = [], 0
    for l in range(lmax + 1):
        rows, columns = 2 * l + 1, 2 * min(l, mmax) + 1
        views.append(flat.as_strided((edges, rows, columns), (width, columns, 1), start))
        start += rows * columns
    return tuple(views)


def _turned_rows(direction: Tensor, lmax: int, mmax: int) -> Tensor:
    """All degrees in one tensor: d(β), then rows m and -m turned by α."""
    polar, azimuthal = waves(direction, lmax)
    rho, table = direction.select(1, 1), _table_tensor(lmax, mmax, direction)
    cosines, sines = azimuthal[: lmax + 1], azimuthal[lmax + 1 :]
    turns = torch.cat([cosines[1:].flip(0), cosines]).T[..., None]  # of rows -lmax..lmax
    swaps = torch.cat([sines.flip(0).neg(), torch.zeros_like(rho)[None], sines]).T[..., None]
    mirror = torch.arange(2 * lmax, -1, -1, device=rho.device)
    edges, rows, size = rho.shape[0], 2 * lmax + 1, max(64, CACHED // table.shape[1])
    whole = rho.new_empty(edges, rows, table.shape[1] // rows)
    if torch.compiler.is_compiling() or rho.device.type != "cpu":
        size, parts = edges, (0,)  # no loop over a size, which a tracer would fix
    else:
        parts = range(0, edges, size)
    for start in parts:
        part = slice(start, start + size)
        d = (polar.T[part] @ table).unflatten(1, (rows, -1))
        # row m ← cos(mα) row m - sin(mα) row -m
        mirrored = d.index_select(1, mirror).mul_(swaps[part])
        torch.sub(d.mul_(turns[part]), mirrored, out=whole[part])
    return whole


def _rolled(whole: Tensor, roll: Tensor, lmax: int, mmax: int) -> Tensor:
    """Column m ← cos(mγ) column m + sin(mγ) column -m."""
    orders = [column_orders(min(l, mmax)) for l in range(lmax + 1)]
    starts = [sum(map(len, orders[:l])) for l in range(lmax + 1)]
    partner = torch.tensor([s + of_l.index(-m) for s, of_l in zip(starts, orders) for m in of_l], device=roll.device)
    angles = roll[:, None] * torch.tensor([m for of_l in orders for m in of_l], device=roll.device)
    return whole * angles.cos()[:, None] + whole.index_select(2, partner) * angles.sin()[:, None]
