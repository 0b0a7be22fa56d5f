"""Features read as functions on the sphere or on SO(3): which they are, and what carries them to a grid and back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..so3 import Irrep, Irreps, S2Grid, SO3Grid, random_rotation, spherical_harmonics, wigner_irreps
from ..so3.so3_grid import wigner_basis
from ..so3.wigner import wigner_blocks
from .law import Function, law, name_of


@dataclass(frozen=True)
class SphereSignal:
    """Functions on the sphere of degrees 0..lmax, coefficients of variance 1 giving values of variance 1."""

    lmax: int

    grid_type: ClassVar[type] = S2Grid
    samples: ClassVar[int] = 128  # random features on which errors are measured

    @classmethod
    def of(cls, name: str, irreps: Irreps) -> "tuple[SphereSignal, int]":
        """The signal and its channels. Raises ValueError for features that are no function on the sphere."""
        first, second = ([irrep.p for irrep, _ in irreps.blocks] + [None] * 2)[:2]
        turn = None if first is None else first * (second or 1)  # of coefficients, degree by degree, under inversion
        fits = bool(irreps.blocks) and all(
            irrep == Irrep(l, None if first is None else first * turn**l) for l, (irrep, _) in enumerate(irreps.blocks)
        )
        if not fits or len({c for _, c in irreps.blocks}) > 1:
            raise ValueError(
                f"{name}: '{irreps}' is no function on the sphere: degrees 0..L in order, with equal channels, of "
                "parities (-1)^l, all even, or none, such as Irreps.spherical(2, 16)"
            )
        return cls(irreps.lmax), irreps.blocks[0][1]

    def matrices(self, grid: S2Grid) -> tuple[np.ndarray, np.ndarray]:
        """To the grid, and back on degrees 0..lmax."""
        scale = sphere_scale(self.lmax)
        with torch.device("cpu"):
            basis = spherical_harmonics(grid.points, self.lmax, normalization="integral").numpy()
            weights = grid.weights.numpy()
        return basis * scale, (basis * weights[:, None] / scale).T

    def grids(self) -> Iterator[S2Grid]:
        """Gauss-Legendre grids, smallest first, from the one that is exact for the function itself."""
        return (S2Grid.exact(degree, order=1) for degree in range(2 * self.lmax, 12 * self.lmax + 30))

    def turn(self, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        """A rotation for each sample, of [samples, components, channels]."""
        blocks = wigner_blocks(self.lmax, random_rotation(self.samples, generator=generator))
        return lambda x: torch.cat([D @ x[:, l * l : (l + 1) ** 2] for l, D in enumerate(blocks)], 1)


@dataclass(frozen=True)
class FrameSignal:
    """Functions on the sphere about an edge: degrees 0..lmax, orders up to mmax, rows sorted by order as `Orders` are.

    Degrees above mmax are scaled up for the orders they lack (arXiv:2306.12059); only turns about the edge count.
    """

    lmax: int
    mmax: int

    grid_type: ClassVar[type] = S2Grid
    samples: ClassVar[int] = 128

    @property
    def sizes(self) -> list[int]:
        """Rows of order 0, of ±1, of ±2, ..."""
        return [self.lmax + 1, *(2 * (self.lmax + 1 - m) for m in range(1, self.mmax + 1))]

    def matrices(self, grid: S2Grid) -> tuple[np.ndarray, np.ndarray]:
        """To the grid, and back on the same degrees and orders."""
        signed = [(0, 0), *((m, sign) for m in range(1, self.mmax + 1) for sign in (1, -1))]
        degrees, orders = np.array([(l, sign * m) for m, sign in signed for l in range(m, self.lmax + 1)]).T
        rows = degrees * degrees + degrees + orders
        lacking = np.sqrt(np.maximum(1, (2 * degrees + 1) / (2 * self.mmax + 1)))
        to, back = SphereSignal(self.lmax).matrices(grid)
        return to[:, rows] * lacking, back[rows] * lacking[:, None]

    def grids(self) -> Iterator[S2Grid]:
        """More and more α, and as many β as squares need: the rows of a grid turn into themselves."""
        n_beta = 3 * self.lmax // 2 + 1
        return (S2Grid.gauss_legendre(n_beta, n) for n in range(2 * self.mmax + 1, 12 * self.mmax + 31))

    def turn(self, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        """A turn about the edge for each sample, of [samples, rows, channels]."""
        angle = 2 * torch.pi * torch.rand(self.samples, 1, 1, generator=generator, dtype=torch.float64)

        def turned(x: Tensor) -> Tensor:
            zero, *pairs = x.split(self.sizes, 1)
            out = [zero]
            for m, pair in enumerate(pairs, 1):
                plus, minus = pair.chunk(2, 1)
                c, s = torch.cos(m * angle), torch.sin(m * angle)
                out += [c * plus - s * minus, s * plus + c * minus]
            return torch.cat(out, 1)

        return turned


@dataclass(frozen=True)
class RotationSignal:
    """Functions on SO(3) of degrees 0..lmax, coefficients of variance 1 giving values of variance 1."""

    lmax: int

    grid_type: ClassVar[type] = SO3Grid
    samples: ClassVar[int] = 16

    @classmethod
    def of(cls, name: str, irreps: Irreps) -> "tuple[RotationSignal, int]":
        """The signal and its channels. Raises ValueError for features that are no function on SO(3)."""
        first, channels = irreps.blocks[0] if irreps.blocks else (Irrep(0), 0)
        if irreps != wigner_irreps(max(0, len(irreps.blocks) - 1), channels, first.p) or not channels:
            raise ValueError(
                f"{name}: '{irreps}' is no function on SO(3): degrees 0..L in order, degree l in (2l+1)·channels "
                "channels, of one parity or none, such as so3.wigner_irreps(2, 8)"
            )
        return cls(irreps.lmax), channels

    def matrices(self, grid: SO3Grid) -> tuple[np.ndarray, np.ndarray]:
        """To the grid, and back on degrees 0..lmax."""
        with torch.device("cpu"):
            basis, weights = wigner_basis(grid, self.lmax), grid.weights.numpy()
        scale = basis.shape[1] ** -0.5
        return basis * scale, (basis * weights[:, None]).T / scale

    def grids(self) -> Iterator[SO3Grid]:
        """Product grids, smallest first, from the one that is exact for the function itself."""
        return (SO3Grid.product(degree) for degree in range(self.lmax, 3 * self.lmax + 8))

    def turn(self, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        """A rotation from the left for each sample, of [samples, components, channels]."""
        blocks = wigner_blocks(self.lmax, random_rotation(self.samples, generator=generator))
        sizes = [(2 * l + 1) ** 2 for l in range(self.lmax + 1)]
        return lambda x: torch.cat(
            [(D @ part.reshape(len(D), D.shape[1], -1)).view_as(part) for D, part in zip(blocks, x.split(sizes, 1))], 1
        )


Signal = SphereSignal | FrameSignal | RotationSignal


def sphere_scale(lmax: int) -> np.ndarray:
    """Factors of orthonormal coefficients, one each: then all degrees have one variance, and values have variance 1."""
    degrees = np.repeat(np.arange(lmax + 1), 2 * np.arange(lmax + 1) + 1)
    return np.sqrt(4 * np.pi / ((2 * degrees + 1) * (lmax + 1)))


def after(name: str, irreps: Irreps, fn: Function) -> Irreps:
    """What a function of values makes of pseudoscalar functions; others stay. Raises ValueError if it breaks parity."""
    if irreps.blocks[0][0].p != -1:
        return irreps
    parity = law(fn).parity
    if parity is None:
        raise ValueError(
            f"{name}: {name_of(fn)} is neither even nor odd, but the values of {irreps} change sign under reflections; "
            "give an odd function (tanh) or an even one (abs)"
        )
    return irreps if parity == -1 else Irreps([(c, Irrep(irrep.l, -irrep.p)) for irrep, c in irreps.blocks])
