"""Finite groups of permutations, and the group with one element."""

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .group import Group, listable, positive


class PermutingGroup(Group):
    """A finite group whose elements permute the coordinates of V."""

    is_finite: ClassVar[bool] = True
    is_compact: ClassVar[bool] = True
    is_permutation: ClassVar[bool] = True
    is_orthogonal: ClassVar[bool] = True

    def permutation(self, g: Tensor) -> Tensor:
        """The image of each coordinate of V, int64 [..., n]."""
        raise NotImplementedError

    def matrix(self, g: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """The permutation matrix with e_i -> e_p(i)."""
        return permutation_matrix(self.permutation(g), dtype)


def permutation_matrix(p: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """Matrix [..., n, n] with M e_i = e_{p[i]} of a permutation int64 [..., n]."""
    return torch.nn.functional.one_hot(p, p.shape[-1]).transpose(-1, -2).to(dtype)


def parity(p: Tensor) -> Tensor:
    """Sign (+1 or -1, int64) of permutations int64 [..., n], by counting inversions."""
    n = p.shape[-1]
    i, j = torch.triu_indices(n, n, 1, device=p.device)
    inversions = (p[..., i] > p[..., j]).sum(-1)
    return 1 - 2 * (inversions % 2)


class ListedImages(PermutingGroup):
    """A group whose elements are lists of images: int64 [..., n], p[i] the image of i."""

    n: int
    element_ndim: ClassVar[int] = 1

    @property
    def dim_V(self) -> int:
        return self.n

    def identity(self, *batch: int) -> Tensor:
        return torch.arange(self.n).expand(*batch, self.n)

    def permutation(self, g: Tensor) -> Tensor:
        return g

    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        g, h = torch.broadcast_tensors(g, h)
        return g.gather(-1, h)

    def inverse(self, g: Tensor) -> Tensor:
        return g.argsort(-1)


@dataclass(frozen=True, eq=False, repr=False)
class S(ListedImages):
    """All permutations of n things. Elements: int64 [..., n], p[i] the image of i; listed in lexicographic order."""

    n: int

    def __post_init__(self):
        positive(type(self).__name__, self.n)

    def __str__(self) -> str:
        return f"S({self.n})"

    @property
    def order(self) -> int:
        return math.factorial(self.n)

    @property
    def is_abelian(self) -> bool:
        return self.n <= 2

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Tensor:
        """Uniform permutations."""
        # float64: in float32 large sets would meet equal draws, and their order would not be uniform
        draws = torch.rand(k, self.n, generator=generator, dtype=torch.float64, device=generator.device)
        return draws.argsort(-1).to(device)

    def generators(self) -> Tensor:
        """The transposition (0 1) and the cycle (0 1 ... n-1)."""
        swap = torch.arange(self.n)
        if self.n < 2:
            return swap.new_zeros(0, self.n)
        swap[:2] = torch.tensor([1, 0])
        cycle = (torch.arange(self.n) + 1) % self.n
        return torch.stack([swap, cycle])

    def _elements(self) -> Tensor:
        return torch.tensor(list(itertools.permutations(range(self.n)))).reshape(-1, self.n)

    def index(self, g: Tensor) -> Tensor:
        """The lexicographic rank, from the number of smaller images to the right of each."""
        listable(self)
        weights = [math.factorial(self.n - 1 - i) for i in range(self.n)]
        smaller = (g[..., None, :] < g[..., :, None]).triu(1).sum(-1)
        return (smaller * torch.tensor(weights, device=g.device)).sum(-1)

    def contains_each(self, g: Tensor, tol: float = 1e-6) -> Tensor:
        if g.shape[-1:] != (self.n,) or g.is_floating_point():
            return torch.zeros((), dtype=torch.bool)
        return (g.sort(-1).values == torch.arange(self.n, device=g.device)).all(-1)


class A(S):
    """The even permutations of n things. Elements as in S(n); listed in lexicographic order."""

    def __str__(self) -> str:
        return f"A({self.n})"

    @property
    def order(self) -> int:
        return max(1, math.factorial(self.n) // 2)

    @property
    def is_abelian(self) -> bool:
        return self.n <= 3

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Tensor:
        """Uniform even permutations: the first two images swap where a uniform permutation is odd."""
        p = super().sample(k, generator=generator)
        if self.n >= 2:
            odd = parity(p) < 0
            p[odd, :2] = p[odd, :2].flip(-1)
        return p.to(device)

    def generators(self) -> Tensor:
        """The 3-cycles (0 1 i)."""
        cycles = torch.arange(self.n).repeat(max(0, self.n - 2), 1)
        for row, i in enumerate(range(2, self.n)):
            cycles[row, [0, 1, i]] = torch.tensor([1, i, 0])
        return cycles

    def _elements(self) -> Tensor:
        p = super()._elements()
        return p[parity(p) > 0]

    def index(self, g: Tensor) -> Tensor:
        """Half the rank among all permutations: there, one of every two neighbours is even."""
        return super().index(g) // min(self.n, 2)

    def contains_each(self, g: Tensor, tol: float = 1e-6) -> Tensor:
        return super().contains_each(g, tol) & (parity(g) > 0)


@dataclass(frozen=True, eq=False, repr=False)
class Trivial(PermutingGroup):
    """The group with one element, acting on R^n as the identity. Elements: int64 [...], all zero."""

    n: int = 1
    element_ndim: ClassVar[int] = 0

    def __post_init__(self):
        positive("Trivial", self.n)

    def __str__(self) -> str:
        return "Trivial()" if self.n == 1 else f"Trivial({self.n})"

    @property
    def dim_V(self) -> int:
        return self.n

    @property
    def order(self) -> int:
        return 1

    @property
    def is_abelian(self) -> bool:
        return True

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Tensor:
        """k copies of the identity."""
        return torch.zeros(k, dtype=torch.int64, device=device)

    def generators(self) -> Tensor:
        """None are needed."""
        return torch.zeros(0, dtype=torch.int64)

    def _elements(self) -> Tensor:
        return torch.zeros(1, dtype=torch.int64)

    def index(self, g: Tensor) -> Tensor:
        """0."""
        return g

    def identity(self, *batch: int) -> Tensor:
        return torch.zeros(batch, dtype=torch.int64)

    def permutation(self, g: Tensor) -> Tensor:
        return torch.arange(self.n, device=g.device).expand(*g.shape, self.n)

    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        return g + h

    def inverse(self, g: Tensor) -> Tensor:
        return g

    def contains_each(self, g: Tensor, tol: float = 1e-6) -> Tensor:
        return (g == 0) & (not g.is_floating_point())
