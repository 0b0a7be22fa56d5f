"""The rotations that permute the corners of a platonic solid, found by trying where three corners may go."""

import torch

from intertwine.so3 import orientation_grid


def solid_rotations(corners: int) -> torch.Tensor:
    """All rotations, [count, 3, 3], float64."""
    o = orientation_grid(3, corners, kind="platonic")
    three = next([0, i, j] for i in range(corners) for j in range(i) if abs(torch.det(o[[0, i, j]])) > 1e-3)
    every = torch.cartesian_prod(*[torch.arange(corners)] * 3)
    R = o[every].mT @ torch.linalg.inv(o[three].T)
    R = R[(torch.det(R) - 1).abs() < 1e-9]
    R = R[(R @ R.mT - torch.eye(3)).abs().amax((1, 2)) < 1e-9]
    return R[torch.cdist(o @ R.mT, o.expand(len(R), corners, 3)).amin(-1).amax(-1) < 1e-6]
