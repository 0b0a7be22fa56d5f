"""Stiffness of a periodic strut lattice by beam theory: the labels that networks for lattices learn from."""

from math import pi

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...so3.stiffness import mandel_basis
from .lattices import Lattices

_RANK = 1e-12  # of the stiffness between joints, relative; below it a motion is taken to cost nothing


def homogenize(
    lattices: Lattices, *, E: float = 1.0, nu: float = 0.3, joints: str = "rigid"
) -> Float[Tensor, "lattices 6 6"]:
    """The elastic stiffness of each lattice as a Mandel matrix (`so3.from_mandel`), float64, in the unit of E.

    E: Young's modulus of the solid; nu: its Poisson number, which counts in twisting. joints: "rigid", struts are
    Euler-Bernoulli beams of circular section clamped to each other; "pinned", bars that carry load along their axes
    only, where some strains may cost nothing. A macroscopic strain is put on the cell and the joints move until the
    energy is least. Shear of the struts and the volume of the joints are neglected: for slender struts.
    Raises ValueError for E <= 0, nu outside (-1, 0.5], other joints, struts without length and flat cells.
    """
    if joints not in ("rigid", "pinned"):
        raise ValueError(f"homogenize: joints must be 'rigid' or 'pinned', got {joints!r}")
    if not (E > 0 and -1 < nu <= 0.5):
        raise ValueError(f"homogenize: E must be positive and nu between -1 and 0.5, got {E=} {nu=}")
    found = [E * _stiffness(one, nu, joints == "rigid") for one in lattices.split()]
    return torch.from_numpy(np.stack(found))


def _stiffness(one: Lattices, nu: float, rigid: bool) -> Float[np.ndarray, "6 6"]:
    """Of one lattice, for E = 1. Everything is a quadratic form in (displacements, rotations, strain)."""
    r, radius = one.vectors.double().numpy(), one.radius.double().numpy()
    volume = float(one.volume.double())
    length = np.linalg.norm(r, axis=1)
    if not (length > 0).all() or not volume > 0:
        raise ValueError(f"homogenize: struts from {length.min():.3g} long in a cell of volume {volume:.3g}; both > 0")
    scale = float(length.mean())  # rotations count as displacements of this arm: lengths of any unit are treated alike
    n, area = r / length[:, None], pi * radius**2
    joints, bars = len(one.pos), len(r)
    width = (6 if rigid else 3) * joints
    start, end = one.bars.numpy()

    stretch = np.zeros((bars, 3, width + 6))  # displacement of the end from the start
    each, axes = np.arange(bars)[:, None], np.arange(3)
    np.add.at(stretch, (each, axes, 3 * end[:, None] + axes), 1.0)
    np.add.at(stretch, (each, axes, 3 * start[:, None] + axes), -1.0)
    stretch[:, :, width:] = np.einsum("kij,bj->bik", mandel_basis(), r)
    form = _form(np.einsum("bi,bid->bd", n, stretch)[:, None], area / length)
    if rigid:
        inertia = area * radius**2 / 4  # of bending; twisting has twice that, and the modulus 1 / 2(1 + nu)
        turns = [np.zeros((bars, 3, width + 6)) for _ in range(2)]
        for turn, joint in zip(turns, (start, end)):
            turn[each, axes, 3 * joints + 3 * joint[:, None] + axes] = 1 / scale
        twist = np.einsum("bi,bid->bd", n, turns[1] - turns[0])[:, None]
        form += _form(twist, inertia / (1 + nu) / length)
        across = np.eye(3) - n[:, :, None] * n[:, None]
        chord = np.cross(n[:, None], stretch.swapaxes(1, 2)).swapaxes(1, 2) / length[:, None, None]
        first, second = (across @ turn - chord for turn in turns)  # rotations of the ends against the chord
        # (EI/L) (4a² + 4ab + 4b²) / 2 = (EI/L) (3 (a + b)² + (a - b)²) / 2
        form += _form(first + second, 3 * inertia / length) + _form(first - second, inertia / length)

    K, F, W = form[:width, :width], form[:width, width:], form[width:, width:]
    x = np.linalg.lstsq(K, -F, rcond=_RANK)[0]
    C = (W + F.T @ x + x.T @ F + x.T @ K @ x) / volume  # least energy: an error of x counts squared only
    return (C + C.T) / 2


def _form(deformation: Float[np.ndarray, "bars parts unknowns"], stiffness: Float[np.ndarray, " bars"]) -> np.ndarray:
    """Σ over struts of stiffness · deformationᵀ deformation."""
    rows = (deformation * np.sqrt(stiffness)[:, None, None]).reshape(-1, deformation.shape[-1])
    return rows.T @ rows
