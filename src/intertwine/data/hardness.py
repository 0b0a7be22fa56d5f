"""Symmetric targets that gradient descent cannot learn, though small networks hold them: stress tests.

Both families look like coin flips to anything that averages over samples. `DegreeParity` is a parity hidden behind a
graph's degrees; `HermiteGon` is a wave around an unknown plane that no polynomial of low degree correlates with.
Source: arXiv:2401.01869.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .. import maps
from ..groups import Group
from ..groups import S as Permutations
from ..groups.group import listable
from ..nn import Linear
from ..reps import Rep


@dataclass(frozen=True)
class DegreeParity:
    """Whether the number of vertices whose degree is in S, plus b, is odd; on graphs of n vertices, each edge a coin.

    An order-1 network of width O(n) computes it (`solution`); learning it takes exponentially many statistical queries
    in a power of n. S and its complement must both hold a degree within two standard deviations of (n - 1)/2, or the
    count is nearly constant and the target is easy. Raises ValueError otherwise.
    Source: arXiv:2401.01869, section 3.
    """

    n: int
    S: tuple[int, ...]
    b: int = 0
    rep_in: Rep = field(init=False, repr=False, compare=False)  # adjacency matrices
    rep_out: Rep = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        if not isinstance(self.S, Iterable) or not all(isinstance(i, int) and 0 <= i < self.n for i in self.S):
            raise ValueError(f"DegreeParity: S must hold degrees of {self.n} vertices, 0..{self.n - 1}, got {self.S!r}")
        if self.b not in (0, 1):
            raise ValueError(f"DegreeParity: b must be 0 or 1, got {self.b!r}")
        central = {i for i in range(self.n) if abs(i - (self.n - 1) / 2) <= math.sqrt(self.n - 1)}
        if not central & set(self.S) or not central - set(self.S):
            raise ValueError(
                f"DegreeParity: most degrees of {self.n} vertices are in {min(central)}..{max(central)}; S and its "
                f"complement must both hold some of these, S is {tuple(self.S)}"
            )
        group = Permutations(self.n)
        object.__setattr__(self, "S", tuple(sorted(set(self.S))))
        object.__setattr__(self, "rep_in", group.V**2)
        object.__setattr__(self, "rep_out", group.trivial)

    def __call__(self, x: Float[Tensor, "*batch n_squared"]) -> Int[Tensor, "*batch"]:
        """The label, 0 or 1, of flat adjacency matrices. Raises ValueError for another size."""
        self.rep_in.check(x)
        degrees = x.unflatten(-1, (self.n, self.n)).sum(-1).round().long()
        chosen = torch.isin(degrees, torch.tensor(self.S, device=x.device))
        return (chosen.sum(-1) + self.b) % 2

    def sample(self, k: int, *, generator: torch.Generator) -> tuple[Float[Tensor, "k n_squared"], Int[Tensor, " k"]]:
        """k graphs, edges present with probability ½, as flat adjacency matrices, and their labels."""
        coins = torch.rand(k, self.n, self.n, generator=generator, device=generator.device)
        upper = (coins < 0.5).triu(1).float()
        x = (upper + upper.mT).flatten(1)
        return x, self(x)

    def balance(self, k: int = 10_000, *, generator: torch.Generator) -> float:
        """The fraction of ones among k samples."""
        return self.sample(k, generator=generator)[1].double().mean().item()

    def solution(self) -> nn.Sequential:
        """A network that computes the label exactly: degrees, hats on S summed over vertices, a zigzag of the count.

        Layers V² → (n + 2) V → n + 1 → 1 with ReLUs between, float32; its output is the label as a number.
        """
        V, one, n = self.rep_in.group.V, self.rep_out, self.n
        degrees = Linear(V**2, (n + 2) * V, normalize="none")
        counts = Linear((n + 2) * V, (n + 1) * one, normalize="none")
        zigzag = Linear((n + 1) * one, one, normalize="none")
        rows = torch.eye(n, dtype=torch.float64).repeat_interleave(n, 1)  # the sum of each row
        steps = torch.arange(-1, n + 1)
        hats = sum((steps == i - 1).float() - 2 * (steps == i).float() + (steps == i + 1).float() for i in self.S)
        turns = torch.tensor([1.0, *(2.0 * (-1) ** u for u in range(1, n + 1))])  # relu(c) - 2 relu(c - 1) + 2 ...
        with torch.no_grad():
            row_sum = maps.between(V**2, V).project(rows).float()
            degrees.weight.copy_(row_sum[:, None].expand(-1, n + 2).flatten())
            degrees.bias.copy_(-steps)
            counts.weight.copy_(hats[:, None].expand(-1, n + 1).flatten())
            counts.bias.copy_(-torch.arange(n + 1))
            zigzag.weight.copy_(turns * (1 - 2 * self.b))
            zigzag.bias.fill_(self.b)
        return nn.Sequential(degrees, nn.ReLU(), counts, nn.ReLU(), zigzag)


class HermiteGon:
    """f(x) = Σ_j (-1)^j relu(u_1 cos(πj/k) + u_2 sin(πj/k)), j = 1..2k, with u = xP in an unknown plane P of R^d.

    A turn of the plane by π/k flips its sign, so for normal x it is orthogonal to every polynomial of degree below k,
    and takes d^Ω(k) correlational queries to find. generator: draws the plane, `plane` is [d, 2] with orthonormal
    columns, float64. A sum over the vertices of a graph is `gon(features).sum(-1)`; `FrameAveraged` averages it.
    Raises ValueError for d < 2, k < 1, and odd k from 3 on, where f vanishes.
    Source: arXiv:2401.01869, section 4.
    """

    def __init__(self, d: int, k: int, *, generator: torch.Generator):
        if d < 2:
            raise ValueError(f"HermiteGon: a plane needs d of at least 2, got {d}")
        if k < 1:
            raise ValueError(f"HermiteGon: k must be at least 1, got {k}")
        if k % 2 and k > 1:
            raise ValueError(f"HermiteGon: for odd k = {k} the terms cancel and f is zero; give an even k")
        self.d, self.k = d, k
        draw = torch.randn(d, 2, generator=generator, dtype=torch.float64, device=generator.device)
        self.plane = torch.linalg.qr(draw).Q

    def __repr__(self) -> str:
        return f"HermiteGon(d={self.d}, k={self.k})"

    def __call__(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """f of each sample. Raises ValueError for another size."""
        if x.shape[-1:] != (self.d,):
            raise ValueError(f"{self!r} takes vectors of size {self.d}, got {tuple(x.shape)}")
        j = torch.arange(1, 2 * self.k + 1, dtype=torch.float64)
        directions = torch.stack([(torch.pi * j / self.k).cos(), (torch.pi * j / self.k).sin()])
        waves = (x @ (self.plane @ directions).to(x)).relu()
        return waves @ ((-1.0) ** j).to(x)

    def sample(self, k: int, *, generator: torch.Generator, dtype=torch.float32) -> tuple[Tensor, Tensor]:
        """k standard normal vectors [k, d] and their values [k]."""
        x = torch.randn(k, self.d, generator=generator, dtype=dtype, device=generator.device)
        return x, self(x)


class FrameAveraged:
    """The mean of a function over all elements of a finite group: the invariant version of a target.

    base: takes [..., rep.dim]; rep: how the elements act, the defining representation if not given.
    Raises ValueError for an infinite or huge group, and for a rep of another group.
    Source: arXiv:2401.01869, section 4 (there also for infinite groups with finite frames).
    """

    def __init__(self, base: Callable[[Tensor], Tensor], group: Group, rep: Rep | None = None):
        listable(group)
        self.base, self.group = base, group
        self.rep_in, self.rep_out = group.V if rep is None else rep, group.trivial
        if self.rep_in.group != group:
            raise ValueError(f"FrameAveraged: rep belongs to {self.rep_in.group}, the group is {group}")
        dim = self.rep_in.dim
        if getattr(base, "d", dim) != dim:
            raise ValueError(f"FrameAveraged: {base!r} takes vectors of size {base.d}, {self.rep_in!r} has {dim}")

    def __call__(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """The mean over the orbit of each sample."""
        g = self.group.elements()
        orbit = self.rep_in.act(self.group.to(g, x.device, x.dtype), x.expand(self.group.order, *x.shape))
        return self.base(orbit).mean(0)
