"""Contractions of a small term as one constant matrix for each level: few numbers, so that calls are what costs."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .lattice import Lattice, Level, accumulation_dtype, axes_of, cast

MAX_COMPONENTS = 128  # of a term
MAX_ENTRIES = 2**14  # of all its matrices


@dataclass(frozen=True)
class Small:
    """A `Lattice` written out: `places` says where among the constants the matrix [n^axes·slots, n^order] of each level
    is. Same methods, same numbers."""

    lattice: Lattice
    places: dict[Level, int]

    @property
    def root(self) -> Level:
        """The level of the term itself."""
        return self.lattice.root

    @property
    def slots(self):
        """Which contraction is where in its stack."""
        return self.lattice.slots

    def entries(self) -> int:
        """Multiplications and additions of `down` for one channel."""
        n = self.lattice.n
        rows = sum(n ** axes_of(level) * len(self.slots[level]) for level in self.places)
        return 2 * rows * n ** sum(self.root[1:])

    def down(self, x: Tensor, constants: list[Tensor]) -> dict[Level, Tensor]:
        """All stacks of a term, as `Lattice.down`."""
        c, n, root = x.shape[-1], self.lattice.n, self.lattice.root
        stacks = {root: x}
        if not self.places:
            return stacks
        flat = cast(x.reshape(x.shape[0], n ** sum(root[1:]), c), accumulation_dtype(x.dtype))
        for level, place in self.places.items():
            M = cast(constants[place], flat.dtype)
            axes, slots = axes_of(level), len(self.lattice.slots[level])
            stacks[level] = (M @ flat).reshape(x.shape[0], *(n,) * axes, slots * c)
        return stacks

    def up(self, stacks: dict[Level, Tensor], c: int, constants: list[Tensor]) -> Tensor | None:
        """One term from stacks, as `Lattice.up`."""
        n, root = self.lattice.n, self.lattice.root
        y = stacks.get(root)
        size = n ** sum(root[1:])
        if y is not None:
            y = y.reshape(y.shape[0], size, c)
        for level, place in self.places.items():
            if level in stacks:
                stack = stacks[level]
                M = cast(constants[place], stack.dtype).mT
                z = stack.reshape(stack.shape[0], M.shape[1], c)
                y = M @ z if y is None else torch.baddbmm(y, M.expand(z.shape[0], *M.shape), z)
        return None if y is None else y.view(y.shape[0], *(n,) * sum(root[1:]), c)


def matrices(lattice: Lattice, constants: list[np.ndarray]) -> dict[Level, np.ndarray] | None:
    """The matrix of every level below the term itself, float64; None where they would be large, or axes are typed."""
    size = lattice.n ** sum(lattice.root[1:])
    rows = sum(lattice.n ** axes_of(level) * len(lattice.slots[level]) for level, _ in lattice.levels)
    if size > MAX_COMPONENTS or size * rows > MAX_ENTRIES or lattice.axes != tuple(range(len(lattice.axes))):
        return None
    units = torch.eye(size, dtype=torch.float64).view(size, *(lattice.n,) * len(lattice.axes), 1)
    stacks = lattice.down(units, [torch.from_numpy(array) for array in constants])
    return {level: stacks[level].reshape(size, -1).T.contiguous().numpy() for level, _ in lattice.levels}
