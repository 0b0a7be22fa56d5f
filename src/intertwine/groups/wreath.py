"""Wreath products: m alike parts, each with a symmetry of its own, that may also change places."""

import math
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from .finite import S
from .group import Element, Group, listable
from .matrix import LinearGroup
from .product import DirectProduct, product


def Power(G: Group, m: int) -> DirectProduct:
    """G * ... * G, m times: m parts that move independently and keep their places. Raises ValueError unless m >= 1."""
    _count("Power", G, m)
    return product(*[G] * m)


@dataclass(frozen=True, eq=False, repr=False)
class Wreath(Group):
    """G wr S(m), order |G|^m m!: m copies of G and the permutations of the copies.

    Elements: (g, p), g a stack [..., m] of elements of G, p int64 [..., m]; first p moves the parts, then g moves each.
    V is R^m ⊗ V_G: part p[i] of the result is g[p[i]] times part i. Finite ones are listed with p running fastest.
    Elements of the Lie algebra are matrices on V.
    """

    G: Group
    m: int

    def __post_init__(self):
        _count("Wreath", self.G, self.m)

    def __str__(self) -> str:
        return f"Wreath({self.G}, {self.m})"

    @property
    def places(self) -> S:
        """The group that permutes the parts, S(m)."""
        return S(self.m)

    @property
    def is_finite(self) -> bool:
        return self.G.is_finite

    @property
    def is_compact(self) -> bool:
        return self.G.is_compact

    @property
    def is_permutation(self) -> bool:
        return self.G.is_permutation

    @property
    def is_orthogonal(self) -> bool:
        return self.G.is_orthogonal

    @property
    def is_connected(self) -> bool:
        return self.G.is_connected if self.m == 1 else False

    @property
    def is_abelian(self) -> bool:
        return self.G.is_abelian if self.m == 1 else self.m == 2 and self.G.order == 1

    @property
    def dim_V(self) -> int:
        return self.m * self.G.dim_V

    @property
    def order(self) -> int | None:
        return self.G.order**self.m * math.factorial(self.m) if self.is_finite else None

    def sample(self, k, *, generator, dtype=torch.float64, device="cpu") -> Element:
        """Independent samples of every part, as G samples them, and a uniform permutation."""
        g = self.G.sample(k * self.m, generator=generator, dtype=dtype, device=device)
        return self.G.reshape(g, k, self.m), self.places.sample(k, generator=generator, device=device)

    def generators(self) -> Element:
        """Those of G on the first part, then those of S(m)."""
        own, moves = self.G.generators(), self.places.generators()
        count = self.G.batch_shape(own)[0]
        parts = self._padded(own, self.G.identity(count, self.m - 1))
        rest = self.G.identity(len(moves), self.m)
        stay = self.places.identity(count)
        return _cat(parts, rest), torch.cat([stay, moves])

    def _padded(self, first: Element, rest: Element) -> Element:
        """Elements [k] of G on the first part and elements [k, m - 1] on the others, as a stack [k, m]."""
        count = self.G.batch_shape(first)[0]
        return _map(lambda a, b: torch.cat([a, b], 1), self.G.reshape(first, count, 1), rest)

    def lie_algebra(self) -> Tensor:
        """That of G on the first part, then on the second, ...: matrices on V, [m D, n, n]."""
        own, d = self.G.algebra_matrix(self.G.lie_algebra()), self.G.dim_V
        algebra = torch.zeros(self.m, len(own), self.dim_V, self.dim_V, dtype=torch.float64)
        for i in range(self.m):
            algebra[i, :, i * d : (i + 1) * d, i * d : (i + 1) * d] = own
        return algebra.flatten(0, 1)

    def exp(self, X: Tensor) -> Element:
        """The elements exp(X) of Lie algebra elements X [..., n, n]; the parts keep their places.

        Raises ValueError where the elements of G are not its matrices.
        """
        if not isinstance(self.G, LinearGroup):
            raise ValueError(f"exp: elements of {self.G} are not matrices, so those of {self} are not read off X")
        blocks = torch.linalg.matrix_exp(X).unflatten(-1, (self.m, -1)).unflatten(-3, (self.m, -1))
        return blocks.diagonal(dim1=-4, dim2=-2).movedim(-1, -3), self.places.identity(*X.shape[:-2]).to(X.device)

    def _elements(self) -> Element:
        grid = torch.cartesian_prod(*[torch.arange(self.G.order)] * self.m, torch.arange(math.factorial(self.m)))
        grid = grid.reshape(-1, self.m + 1)
        return self.G.take(self.G.elements(), grid[:, :-1]), self.places.elements()[grid[:, -1]]

    def index(self, g: Element) -> Tensor:
        """The first part's position changes slowest, that of the permutation fastest."""
        listable(self)
        digits = self.G.index(g[0])
        position = torch.zeros_like(digits[..., 0])
        for digit in digits.unbind(-1):
            position = position * self.G.order + digit
        return position * math.factorial(self.m) + self.places.index(g[1])

    def identity(self, *batch: int) -> Element:
        return self.G.identity(*batch, self.m), self.places.identity(*batch)

    def _moved(self, h: Element, p: Tensor) -> Element:
        """The stack whose part p[i] is part i of h."""
        source = self.places.inverse(p)
        axis = source.ndim - 1

        def move(x: Tensor) -> Tensor:
            tail = x.ndim - len(self.G.batch_shape(h))
            x = x.expand(*source.shape, *x.shape[x.ndim - tail :])
            index = source.reshape(*source.shape, *[1] * tail).expand(x.shape)
            return x.gather(axis, index)

        return _map(move, h)

    def compose(self, g: Element, h: Element) -> Element:
        (a, p), (b, q) = g, h
        p, q = torch.broadcast_tensors(p, q)
        return self.G.compose(a, self._moved(b, p)), self.places.compose(p, q)

    def inverse(self, g: Element) -> Element:
        back = self.places.inverse(g[1])
        return self._moved(self.G.inverse(g[0]), back), back

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Tensor:
        """A block matrix with the matrix of part p[i] at (p[i], i)."""
        blocks = self.G.matrix(g[0], dtype)
        place = torch.nn.functional.one_hot(g[1], self.m).mT.to(blocks)
        return torch.einsum("...ji,...jab->...jaib", place, blocks).flatten(-2).flatten(-3, -2)

    def permutation(self, g: Element) -> Tensor:
        """The image of each coordinate of V, int64 [..., n]; for a G that permutes."""
        own = self.G.permutation(g[0])
        image = own.gather(-2, g[1][..., None].expand(own.shape)) + self.G.dim_V * g[1][..., None]
        return image.flatten(-2)

    def contains_each(self, g: Element, tol: float = 1e-6) -> Tensor:
        if len(g) != 2 or self.G.batch_shape(g[0])[-1:] != (self.m,):
            return torch.zeros((), dtype=torch.bool)
        return self.G.contains_each(g[0], tol).all(-1) & self.places.contains_each(g[1])

    def batch_shape(self, g: Element) -> torch.Size:
        return g[1].shape[:-1]

    def take(self, g: Element, index) -> Element:
        return self.G.take(g[0], index), g[1][index]

    def reshape(self, g: Element, *batch: int) -> Element:
        return self.G.reshape(g[0], *batch, self.m), g[1].reshape(*batch, self.m)

    def device_of(self, g: Element) -> torch.device:
        return (g if isinstance(g, Tensor) else g[1]).device  # a Lie algebra element is one tensor

    def to(self, g: Element, device=None, dtype: torch.dtype | None = None) -> Element:
        return self.G.to(g[0], device, dtype), g[1].to(device=device)


def _count(name: str, G: Group, m: int) -> None:
    if not isinstance(G, Group):
        raise TypeError(f"{name}: the first argument must be a group such as O(3), got {G!r}")
    if not isinstance(m, int) or isinstance(m, bool) or m < 1:
        raise ValueError(f"{name}: the number of copies of {G} must be an integer of at least 1, got {m!r}")


def _map(function, *elements: Element) -> Element:
    """A function of tensors on elements, which may be tuples of tensors, of tuples, ..."""
    if isinstance(elements[0], tuple):
        return tuple(_map(function, *members) for members in zip(*elements))
    return function(*elements)


def _cat(*elements: Element) -> Element:
    return reduce(lambda a, b: _map(lambda x, y: torch.cat([x, y]), a, b), elements)
