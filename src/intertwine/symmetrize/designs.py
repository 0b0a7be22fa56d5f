"""Finite sets of rotations whose averages of low-rank tensors equal those over all rotations."""

import functools
import itertools
import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def rotation_design(q: int, degree: int, *, reflections: bool) -> Float[Tensor, "size q q"]:
    """Elements of SO(q), or O(q), that average tensors of rank <= degree exactly, float64.

    q = 2: degree + 1 equal steps. q = 3: the rotations of the tetrahedron (12, degree 2), cube (24, 3) or icosahedron
    (60, 5). q >= 4: cyclic shifts of the axes with signs (q·2^(q-1), degree 3). Raises ValueError beyond these degrees.
    """
    return torch.from_numpy(_design(q, degree, reflections).copy())


@functools.lru_cache(maxsize=64)
def _design(q: int, degree: int, reflections: bool) -> np.ndarray:
    most = {1: degree, 2: degree, 3: 5}.get(q, 3)
    if degree > most:
        raise ValueError(
            f"no finite set of rotations of {q} dimensions is known here that averages tensors of rank {degree} "
            f"exactly (at most {most})"
        )
    if q == 1:
        rotations = np.ones((1, 1, 1))
    elif q == 2:
        angles = 2 * np.pi * np.arange(degree + 1) / (degree + 1)
        c, s = np.cos(angles), np.sin(angles)
        rotations = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)
    elif q == 3 and degree > 3:
        rotations = _icosahedral()
    else:
        orders = itertools.permutations(range(q)) if q == 3 and degree > 2 else _shifts(q)
        matrices = [
            np.eye(q)[list(order)] * signs for order in orders for signs in itertools.product((1.0, -1.0), repeat=q)
        ]
        rotations = np.stack([m for m in matrices if np.linalg.det(m) > 0])
    if not reflections:
        return rotations
    mirror = np.eye(q)
    mirror[-1, -1] = -1
    return np.concatenate([rotations, rotations @ mirror])


def _shifts(q: int) -> list[list[int]]:
    return [[(i + k) % q for i in range(q)] for k in range(q)]


def _icosahedral() -> np.ndarray:
    """The 60 rotations of the icosahedron, all products of one of five turns and one of three."""
    golden = (1 + math.sqrt(5)) / 2
    found = [_turn(np.array([0.0, 1.0, golden]), 2 * np.pi / 5), _turn(np.ones(3), 2 * np.pi / 3)]
    generators, new = list(found), list(found)
    while new:
        products = [a @ g for a in new for g in generators]
        new = []
        for p in products:
            if all(np.abs(p - f).max() > 1e-6 for f in found):
                found.append(p)
                new.append(p)
    return np.stack(found)


def _turn(axis: np.ndarray, angle: float) -> np.ndarray:
    u = axis / np.linalg.norm(axis)
    cross = np.array([[0, -u[2], u[1]], [u[2], 0, -u[0]], [-u[1], u[0], 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
