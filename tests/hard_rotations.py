"""Rotations that formulas trip over, and a hypothesis strategy for all others."""

import math

import torch
from hypothesis import strategies as st

from intertwine import so3

_numbers = st.floats(-1, 1, allow_subnormal=False)
quaternions = st.tuples(_numbers, _numbers, _numbers, _numbers).filter(lambda q: sum(x * x for x in q) > 1e-3)


def rotation(q) -> torch.Tensor:
    return so3.quaternion_to_matrix(torch.tensor(q, dtype=torch.float64))


def about(axis: list[float], angle: float) -> torch.Tensor:
    return so3.axis_angle_to_matrix(torch.tensor(axis, dtype=torch.float64), angle)


HARD = [
    torch.eye(3, dtype=torch.float64),
    *(about(axis, math.pi) for axis in ([1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [1.0, 1, 0], [1.0, -2, 3])),
    *(about([0.0, 1, 0], angle) for angle in (1e-9, 0.3, math.pi - 1e-9)),  # R e_y = e_y
    *(about([0.0, 1, 0], angle) @ about([1.0, 0, 0], math.pi) for angle in (0.0, 0.3)),  # R e_y = -e_y
    about([1.0, 0, 0], 1e-13),
    about([0.0, 0, 1], math.pi - 1e-13),
]
