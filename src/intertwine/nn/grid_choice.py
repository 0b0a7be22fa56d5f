"""How far a function on a grid is from commuting with rotations, measured, and the smallest grid near enough."""

import copy
import math
from functools import lru_cache

import torch
from torch import nn

from ..so3 import S2Grid, SO3Grid
from .law import Function, name_of
from .signals import Signal


def exact(fn: Function) -> Function:
    """The function as it acts on float64 numbers of the CPU; a module is copied."""
    return copy.deepcopy(fn).to("cpu", torch.float64) if isinstance(fn, nn.Module) else fn


@torch.no_grad()
def grid_error(signal: Signal, fn: Function, grid: S2Grid | SO3Grid, channels: int = 1) -> float:
    """The largest entry of f(g x) - g f(x) over the largest of f(x), f being fn on the grid.

    In float64, for random features of unit variance, each turned by its own rotation; the same ones at every call.
    """
    fn, generator = exact(fn), torch.Generator().manual_seed(0)
    with torch.device("cpu"):  # whatever the default is
        to, back = (torch.tensor(matrix) for matrix in signal.matrices(grid))
        x = torch.randn(signal.samples, to.shape[1], channels, generator=generator, dtype=torch.float64)
        turn = signal.turn(generator)
        expected = turn(back @ fn(to @ x))
        error, scale = back @ fn(to @ turn(x)) - expected, expected.abs().max().item()
    return error.abs().max().item() / scale if scale > 0 else 0.0


def chosen(
    name: str, signal: Signal, fn: Function, grid: str, channels: int = 1, margin: float = 1.0
) -> S2Grid | SO3Grid:
    """The first of the signal's grids whose error is below the number in "exact:1e-4", `margin` times below it.

    Raises ValueError for another text, and where no grid is good enough.
    """
    head, _, tail = grid.partition(":") if isinstance(grid, str) else ("", "", "")
    try:
        tol = float(tail)
    except ValueError:
        tol = math.nan
    if head != "exact" or not tol > 0:
        raise ValueError(
            f'{name}: grid must be an {signal.grid_type.__name__}, or "exact:" and an error, such as "exact:1e-4", '
            f"got {grid!r}"
        )
    search = _search.__wrapped__ if isinstance(fn, nn.Module) else _search  # a module's function may change
    found, error = search(signal, fn, tol / margin, channels)
    if error >= tol:
        raise ValueError(
            f"{name}: no grid up to {len(found)} points brings the rotation error of {name_of(fn)} below {tol:g} "
            f"({error:.1g} is the best); allow a larger error, or take a smoother function (silu, tanh)"
        )
    return found


@lru_cache(maxsize=64)
def _search(signal: Signal, fn: Function, tol: float, channels: int) -> tuple[S2Grid | SO3Grid, float]:
    """The grid and its error; the largest where none is good enough. Errors fall: first in strides, then one by one."""
    grids = list(signal.grids())
    stride = math.isqrt(len(grids))
    start = 0
    for last in range(0, len(grids) + stride, stride):
        last = min(last, len(grids) - 1)
        if grid_error(signal, fn, grids[last], channels) < tol:
            break
        start = last + 1
    for grid in grids[start : last + 1] or grids[-1:]:
        error = grid_error(signal, fn, grid, channels)
        if error < tol:
            break
    return grid, error
