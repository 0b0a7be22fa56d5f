"""Affine maps of space: what moves, turns, scales and shears points."""

import torch
from torch import Tensor

from .matrix import E
from .noncompact import GLPlus


class Affine(E):
    """Affine maps of R^n that keep orientation: x -> Ax + t, det A > 0. Elements: homogeneous [..., n+1, n+1].

    V is the homogeneous R^(n+1); `linear_part` is the homomorphism to `linear`, which is GLPlus(n).
    """

    def __str__(self) -> str:
        return f"Affine({self.n})"

    @property
    def linear(self) -> GLPlus:
        """The group of linear parts."""
        return GLPlus(self.n)

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Tensor:
        """A linear part as GLPlus samples it and a translation from N(0, 1); not Haar."""
        return super().sample(k, generator=generator, dtype=dtype, device=device)

    def lie_algebra(self) -> Tensor:
        """The units E_ij, lexicographic, then translations."""
        return super().lie_algebra()

    def inverse(self, g: Tensor) -> Tensor:
        linear = torch.linalg.inv(self.linear_part(g))
        return self.element(linear, -(linear @ self.translation_part(g)[..., None])[..., 0])
