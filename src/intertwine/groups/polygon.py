"""The symmetries of a polygon: cyclic and dihedral groups, on their vertices."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .finite import PermutingGroup
from .group import listable, positive


@dataclass(frozen=True, eq=False, repr=False)
class Cyclic(PermutingGroup):
    """Rotations of an n-gon. Elements: int64 [...], k meaning r^k, listed 0..n-1; V is R^n, r moves vertex i to i+1."""

    n: int
    element_ndim: ClassVar[int] = 0

    def __post_init__(self):
        positive("Cyclic", self.n)

    def __str__(self) -> str:
        return f"Cyclic({self.n})"

    @property
    def dim_V(self) -> int:
        return self.n

    @property
    def order(self) -> int:
        return self.n

    @property
    def is_abelian(self) -> bool:
        return True

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Tensor:
        """Uniform elements."""
        return torch.randint(self.n, (k,), generator=generator, device=generator.device).to(device)

    def generators(self) -> Tensor:
        """The rotation by one vertex."""
        return torch.ones(1 if self.n > 1 else 0, dtype=torch.int64)

    def _elements(self) -> Tensor:
        return torch.arange(self.n)

    def identity(self, *batch: int) -> Tensor:
        return torch.zeros(batch, dtype=torch.int64)

    def permutation(self, g: Tensor) -> Tensor:
        return (torch.arange(self.n, device=g.device) + g[..., None]) % self.n

    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        return (g + h) % self.n

    def inverse(self, g: Tensor) -> Tensor:
        return (-g) % self.n

    def index(self, g: Tensor) -> Tensor:
        """k."""
        listable(self)
        return g

    def contains_each(self, g: Tensor, tol: float = 1e-6) -> Tensor:
        return (g >= 0) & (g < self.n) & (not g.is_floating_point())


@dataclass(frozen=True, eq=False, repr=False)
class Dihedral(PermutingGroup):
    """Rotations and reflections of an n-gon, 2n elements.

    Elements: int64 [..., 2] = (j, k) meaning r^k f^j, listed rotations first; V is R^n with r: i -> i+1, f: i -> -i.
    """

    n: int
    element_ndim: ClassVar[int] = 1

    def __post_init__(self):
        positive("Dihedral", self.n)

    def __str__(self) -> str:
        return f"Dihedral({self.n})"

    @property
    def dim_V(self) -> int:
        return self.n

    @property
    def order(self) -> int:
        return 2 * self.n

    @property
    def is_abelian(self) -> bool:
        return self.n <= 2

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Tensor:
        """Uniform elements."""
        index = torch.randint(2 * self.n, (k,), generator=generator, device=generator.device).to(device)
        return torch.stack([index // self.n, index % self.n], -1)

    def generators(self) -> Tensor:
        """The rotation by one vertex and the reflection f."""
        rotation = torch.tensor([[0, 1]] if self.n > 1 else []).reshape(-1, 2).long()
        return torch.cat([rotation, torch.tensor([[1, 0]])])

    def _elements(self) -> Tensor:
        return torch.cartesian_prod(torch.arange(2), torch.arange(self.n)).reshape(-1, 2)

    def identity(self, *batch: int) -> Tensor:
        return torch.zeros(*batch, 2, dtype=torch.int64)

    def permutation(self, g: Tensor) -> Tensor:
        j, k = g[..., :1], g[..., 1:]
        return (k + (1 - 2 * j) * torch.arange(self.n, device=g.device)) % self.n

    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        g, h = torch.broadcast_tensors(g, h)
        j = (g[..., 0] + h[..., 0]) % 2
        k = (g[..., 1] + (1 - 2 * g[..., 0]) * h[..., 1]) % self.n
        return torch.stack([j, k], -1)

    def inverse(self, g: Tensor) -> Tensor:
        j, k = g.unbind(-1)
        return torch.stack([j, (torch.where(j == 1, k, -k)) % self.n], -1)

    def index(self, g: Tensor) -> Tensor:
        """j n + k."""
        listable(self)
        return g[..., 0] * self.n + g[..., 1]

    def contains_each(self, g: Tensor, tol: float = 1e-6) -> Tensor:
        if g.shape[-1:] != (2,) or g.is_floating_point():
            return torch.zeros((), dtype=torch.bool)
        j, k = g.unbind(-1)
        return (j >= 0) & (j < 2) & (k >= 0) & (k < self.n)
