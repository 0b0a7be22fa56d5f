"""Directions spread evenly over a circle or a sphere, for networks that keep one value for each of them."""

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from .grid import S2Grid
from .wigner import _frozen

SOLIDS = {4: "tetrahedron", 6: "octahedron", 8: "cube", 12: "icosahedron", 20: "dodecahedron"}


def orientation_grid(
    n: int, k: int, *, kind: Literal["repulsion", "fibonacci", "platonic"] = "repulsion", seed: int = 0
) -> Float[Tensor, "k n"]:
    """k unit vectors of R^n, n = 2 or 3, float64, the same in every process.

    In the plane every kind is the regular polygon that begins at (1, 0). In space: "repulsion" minimises the Coulomb
    energy Σ 1/|o - o'| from a start drawn with `seed`; "fibonacci" is a spiral around y; "platonic" are the corners of
    the tetrahedron (k = 4), octahedron (6), cube (8), icosahedron (12) or dodecahedron (20), which the rotations of
    the solid permute. Raises ValueError for another n, k < 1, or a solid that does not exist.
    """
    if n not in (2, 3) or k < 1 or kind not in ("repulsion", "fibonacci", "platonic"):
        raise ValueError(
            f"orientation_grid: n must be 2 or 3, k at least 1 and kind 'repulsion', 'fibonacci' or 'platonic', got "
            f"n={n}, k={k}, {kind!r}"
        )
    if n == 2:
        angle = 2 * np.pi * np.arange(k) / k
        return torch.from_numpy(np.stack([np.cos(angle), np.sin(angle)], 1))
    if kind == "fibonacci":
        return S2Grid.fibonacci(k).points
    if kind == "platonic" and k not in SOLIDS:
        named = ", ".join(f"{name} {corners}" for corners, name in SOLIDS.items())
        raise ValueError(f"orientation_grid: no platonic solid has {k} corners; there are: {named}")
    return torch.tensor(_solid(k) if kind == "platonic" else _repelled(k, seed))


@lru_cache(maxsize=8)
def _solid(k: int) -> np.ndarray:
    phi = (1 + 5**0.5) / 2
    signs = np.array([(a, b, c) for a in (1, -1) for b in (1, -1) for c in (1, -1)], dtype=float)

    def cyclic(a: float, b: float, c: float) -> np.ndarray:
        """Cyclic permutations of (±a, ±b, ±c), each once."""
        turned = [np.roll([a, b, c], shift) * sign for shift in range(3) for sign in signs]
        return np.unique(np.array(turned) + 0.0, axis=0)

    points = {
        4: lambda: signs[signs.prod(1) > 0],
        6: lambda: cyclic(1, 0, 0),
        8: lambda: signs,
        12: lambda: cyclic(0, 1, phi),
        20: lambda: np.concatenate([signs, cyclic(0, 1 / phi, phi)]),
    }[k]()
    return _frozen(points / np.linalg.norm(points, axis=1, keepdims=True))


@lru_cache(maxsize=64)
def _repelled(k: int, seed: int) -> np.ndarray:
    start = np.random.default_rng(seed).standard_normal((k, 3))
    if k == 1:
        return _frozen(start / np.linalg.norm(start))
    first, second = np.triu_indices(k, 1)

    def energy(flat: np.ndarray) -> tuple[float, np.ndarray]:
        x = flat.reshape(k, 3)
        length = np.linalg.norm(x, axis=1, keepdims=True)
        o = x / length
        apart = o[first] - o[second]
        distance = np.linalg.norm(apart, axis=1)
        pull = apart / distance[:, None] ** 3
        slope = np.zeros_like(o)
        np.add.at(slope, first, -pull)
        np.add.at(slope, second, pull)
        slope -= (slope * o).sum(1, keepdims=True) * o  # the length of x does not count
        return (1 / distance).sum(), (slope / length).ravel()

    found = minimize(
        energy, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "gtol": 1e-12, "ftol": 0}
    )
    x = found.x.reshape(k, 3)
    return _frozen(x / np.linalg.norm(x, axis=1, keepdims=True))
