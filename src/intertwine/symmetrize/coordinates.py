"""Coordinates of the plane in which a one-parameter group is a shift, so that a plain convolution respects it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Plane = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class _Kind:
    """(u, v) -> (x, y) on one sheet (sign 1 or -1) and the usual ranges; None for the scale of one pixel."""

    plane: Callable[[Tensor, Tensor, int], Plane]
    u: tuple[float | None, float]
    v: tuple[float, float]
    sheets: int = 1
    periodic: bool = False  # v is an angle: its range has no end point
    turned: bool = False  # u runs backwards on the second sheet, so that both shift the same way


def _swapped(plane: Callable[[Tensor, Tensor, int], Plane]) -> Callable[[Tensor, Tensor, int], Plane]:
    """The same coordinates with x and y exchanged."""
    return lambda u, v, sign: plane(u, v, sign)[::-1]


def _shear(u: Tensor, v: Tensor, sign: int) -> Plane:
    return u * v, u


def _scale(u: Tensor, v: Tensor, sign: int) -> Plane:
    return sign * u.exp(), v


def _perspective(u: Tensor, v: Tensor, sign: int) -> Plane:
    return sign / u, sign * v.tan() / u


_UNIT, _LOG, _WIDE = (-1.0, 1.0), (-math.log(10), 0.0), (-0.99 * math.pi / 2, 0.99 * math.pi / 2)
_KINDS = {
    "polar": _Kind(
        lambda u, v, sign: (u * v.cos(), u * v.sin()), (0.0, math.sqrt(2)), (-math.pi, math.pi), periodic=True
    ),
    "log-polar": _Kind(
        lambda u, v, sign: (u.exp() * v.cos(), u.exp() * v.sin()),
        (None, math.log(2) / 2),
        (-math.pi, math.pi),
        periodic=True,
    ),
    "x-shear": _Kind(_shear, _UNIT, (-5.0, 5.0)),
    "y-shear": _Kind(_swapped(_shear), _UNIT, (-5.0, 5.0)),
    "x-scale": _Kind(_scale, _LOG, _UNIT, 2),
    "y-scale": _Kind(_swapped(_scale), _LOG, _UNIT, 2),
    "hyperbolic": _Kind(
        lambda u, v, sign: (u * v.exp(), sign * u * (-v).exp()),
        (-math.sqrt(0.5), math.sqrt(0.5)),
        (-math.log(6), math.log(6)),
        2,
    ),
    "x-perspective": _Kind(_perspective, (1.0, 7.0), _WIDE, 2, turned=True),
    "y-perspective": _Kind(_swapped(_perspective), (1.0, 7.0), _WIDE, 2, turned=True),
}


def canonical_coordinates(
    name: str,
    size: tuple[int, int],
    *,
    ulim: tuple[float, float] | None = None,
    vlim: tuple[float, float] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "nv nu 2"]:
    """Where to look for each pixel (v, u) of an image in canonical coordinates: (x, y), the image being [-1, 1]².

    In them a transformation by t is a shift by t along one axis: "polar" (u cos v, u sin v), rotations along v;
    "log-polar" (eᵘ cos v, eᵘ sin v), scalings by eᵗ along u, rotations along v; "x-shear" (uv, u), x + ty along v;
    "x-scale" (±eᵘ, v), eᵗx along u; "hyperbolic" (u eᵛ, ±u e⁻ᵛ), (eᵗx, e⁻ᵗy) along v; "x-perspective" (±1/u,
    ±tan v / u), (x, y)/(1 + tx) along u; "y-..." with x and y exchanged. size: (nv, nu) pixels. ± are two sheets of
    nv/2 rows each, the first with +; on the second sheet of a perspective u runs from -ulim[1] to -ulim[0]. An angle v
    takes nv values without the end point, which is the start. By default u of "log-polar" starts at -log nu.

    Use `torch.nn.functional.grid_sample(images, grid.expand(B, -1, -1, -1), align_corners=False)`: x to the right, y
    down, so that angles run clockwise as displayed. Equivariant as far as the shift stays inside the ranges, up to
    interpolation. Raises ValueError for an unknown name, odd nv with two sheets, or ranges that do not fit.
    Source: arXiv:1901.11399.
    """
    if name not in _KINDS:
        raise ValueError(f"canonical_coordinates: name must be one of {list(_KINDS)}, got {name!r}")
    kind, (nv, nu) = _KINDS[name], size
    if nv < kind.sheets or nu < 1 or nv % kind.sheets:
        raise ValueError(f"canonical_coordinates: {name!r} needs nv (even for two sheets) and nu ≥ 1, got {size}")
    first, last = ulim or (-math.log(nu) if kind.u[0] is None else kind.u[0], kind.u[1])
    low, high = vlim or kind.v
    if not (first <= last and low <= high) or (kind.turned and first <= 0):
        raise ValueError(
            f"canonical_coordinates: {name!r} needs ranges that ascend, and u > 0 for a perspective; got ulim "
            f"{(first, last)} and vlim {(low, high)}"
        )
    rows = nv // kind.sheets
    u = torch.linspace(first, last, nu, dtype=torch.float64)
    v = torch.linspace(low, high, rows + kind.periodic, dtype=torch.float64)[:rows, None]
    found = []
    for sign in (1, -1)[: kind.sheets]:
        along = u.flip(0) if kind.turned and sign < 0 else u
        x, y = kind.plane(*torch.broadcast_tensors(along, v), sign)
        found.append(torch.stack([x, y], -1))
    return torch.cat(found).to(device, dtype)
