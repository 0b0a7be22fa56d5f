"""Coordinates of the plane in which a one-parameter group is a shift, so that a plain convolution respects it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

NAMES = (
    *("identity", "polar", "log-polar", "x-shear", "y-shear", "x-scale", "y-scale"),
    *("hyperbolic", "x-perspective", "y-perspective", "spherical"),
)
SHEETS = {"x-scale": 2, "y-scale": 2, "hyperbolic": 2, "x-perspective": 2, "y-perspective": 2}


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

    In them a transformation by t is a shift by t along one axis: "identity" (u, v), x + t along u and y + t along v;
    "polar" (u cos v, u sin v), rotations along v; "log-polar" (eᵘ cos v, eᵘ sin v), scalings by eᵗ along u, rotations
    along v; "x-shear" (uv, u), x + ty along v; "x-scale" (±eᵘ, v), eᵗx along u; "hyperbolic" (u eᵛ, ±u e⁻ᵛ),
    (eᵗx, e⁻ᵗy) along v; "x-perspective" (±1/u, ±tan v / u), (x, y)/(1 + tx) along u; "y-..." with x and y exchanged;
    "spherical" (cos u sin v, sin u)/(√2 - cos u cos v), a sphere at √2 radii that turns along v: a panning camera.
    size: (nv, nu) pixels. ± are two sheets of nv/2 rows each, the first with +; on the second sheet of a perspective u
    runs from -ulim[1] to -ulim[0]. An angle v takes nv values without the end point, which is the start. By default u
    of "log-polar" starts at -log nu, and "identity" gives the centres of nv × nu pixels.

    Use `torch.nn.functional.grid_sample(images, grid.expand(B, -1, -1, -1), align_corners=False)`: x to the right, y
    down, so that angles run clockwise as displayed. Equivariant as far as the shift stays inside the ranges, up to
    interpolation. Raises ValueError for an unknown name, odd nv with two sheets, or ranges that do not fit.
    Source: arXiv:1901.11399.
    """
    if name not in NAMES:
        raise ValueError(f"canonical_coordinates: name must be one of {NAMES}, got {name!r}")
    (nv, nu), sheets, backwards = size, SHEETS.get(name, 1), "perspective" in name
    if nv < sheets or nu < 1 or nv % sheets:
        raise ValueError(f"canonical_coordinates: {name!r} needs nv (even for two sheets) and nu ≥ 1, got {size}")
    usual = ranges(name, size)
    (first, last), (low, high) = ulim or usual[0], vlim or usual[1]
    if not (first <= last and low <= high) or (backwards and first <= 0):
        raise ValueError(
            f"canonical_coordinates: {name!r} needs ranges that ascend, and u > 0 for a perspective; got ulim "
            f"{(first, last)} and vlim {(low, high)}"
        )
    rows = nv // sheets
    u = torch.linspace(first, last, nu, dtype=torch.float64)
    v = torch.linspace(low, high, rows + ("polar" in name), dtype=torch.float64)[:rows, None]
    # Backwards on the second sheet, both sheets of a perspective shift the same way.
    found = [_plane(name, u.flip(0) if backwards and sign < 0 else u, v, sign) for sign in (1, -1)[:sheets]]
    return torch.cat(found).to(device, dtype)


def ranges(name: str, size: tuple[int, int]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The usual ranges of u and v on a grid of (nv, nu) pixels."""
    nv, nu = size
    match name.removeprefix("x-").removeprefix("y-"):
        case "identity":
            return (1 / nu - 1, 1 - 1 / nu), (1 / nv - 1, 1 - 1 / nv)
        case "polar":
            return (0.0, math.sqrt(2)), (-math.pi, math.pi)
        case "log-polar":
            return (-math.log(nu), math.log(2) / 2), (-math.pi, math.pi)
        case "shear":
            return (-1.0, 1.0), (-5.0, 5.0)
        case "scale":
            return (-math.log(10), 0.0), (-1.0, 1.0)
        case "spherical":
            return (-math.pi / 4, math.pi / 4), (-math.pi / 4, math.pi / 4)
        case "hyperbolic":
            return (-math.sqrt(0.5), math.sqrt(0.5)), (-math.log(6), math.log(6))
        case _:
            return (1.0, 7.0), (-0.99 * math.pi / 2, 0.99 * math.pi / 2)


def _plane(name: str, u: Tensor, v: Tensor, sign: int) -> Float[Tensor, "rows nu 2"]:
    """(x, y) on one sheet."""
    match name.removeprefix("x-").removeprefix("y-"):
        case "identity":
            x, y = u, v
        case "polar":
            x, y = u * v.cos(), u * v.sin()
        case "log-polar":
            x, y = u.exp() * v.cos(), u.exp() * v.sin()
        case "shear":
            x, y = u * v, u
        case "scale":
            x, y = sign * u.exp(), v
        case "spherical":
            far = math.sqrt(2) - u.cos() * v.cos()
            x, y = u.cos() * v.sin() / far, u.sin() / far
        case "hyperbolic":
            x, y = u * v.exp(), sign * u * (-v).exp()
        case _:
            x, y = sign / u, sign * v.tan() / u
    x, y = torch.broadcast_tensors(x, y)
    return torch.stack([y, x] if name.startswith("y-") else [x, y], -1)
