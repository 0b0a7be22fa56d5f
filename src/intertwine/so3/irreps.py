"""Irreducible representations of O(3) and SO(3) by name: `Irreps("8x0e + 4x1o")` is a Rep with the usual notation."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..groups import SO, Embedding, Group, O
from ..reps import Irrep as IrrepFactor
from ..reps import Product, Rep
from .wigner import check_degree, generators, wigner_D

_TOKEN = re.compile(r"\s*(?:(?P<count>\d+)\s*x\s*)?(?P<degree>\d+)?(?P<parity>[eo])?\s*")


@dataclass(frozen=True, eq=False, repr=False)
class Irrep(IrrepFactor):
    """Degree l of O(3) with parity p (+1 even, -1 odd), printed `1o`; with p = None of SO(3), printed `1`.

    Basis: orders -l..l about the y axis, degree 1 is (x, y, z). An element of determinant -1 acts as p·Dˡ(-R).
    Raises ValueError for a degree below 0 or a parity that is not 1, -1 or None.
    """

    l: int
    p: int | None = None

    is_orthogonal: ClassVar[bool] = True

    def __post_init__(self):
        check_degree("Irrep", self.l)
        if self.p not in (1, -1, None):
            raise ValueError(f"Irrep: parity must be 1 (even), -1 (odd) or None (SO(3)), got {self.p!r}")

    def __str__(self) -> str:
        return f"{self.l}{ {1: 'e', -1: 'o', None: ''}[self.p] }"

    @property
    def group(self) -> Group:
        """O(3), or SO(3) where there is no parity."""
        return SO(3) if self.p is None else O(3)

    @property
    def dim(self) -> int:
        """2l + 1."""
        return 2 * self.l + 1

    @property
    def is_trivial(self) -> bool:
        """Whether it is the invariant 0e (or 0)."""
        return self.l == 0 and self.p != -1

    @property
    def is_permutation(self) -> bool:
        """The invariant fixes its one coordinate."""
        return self.is_trivial

    @property
    def is_signed_permutation(self) -> bool:
        """Degree 0 at most changes sign."""
        return self.l == 0

    def permutation(self, g: Tensor) -> Tensor:
        """The identity, for the invariant."""
        if not self.is_trivial:
            return super().permutation(g)
        return torch.zeros(*g.shape[:-2], 1, dtype=torch.int64, device=g.device)

    @property
    def natural(self) -> bool:
        """Whether spherical harmonics are of this kind: parity (-1)^l, or no parity."""
        return self.p in (None, (-1) ** self.l)

    def matrix(self, g: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """D(g), [..., 2l+1, 2l+1]."""
        D = wigner_D(self.l, g)
        if not self.natural:
            D = D * torch.linalg.det(g).sign()[..., None, None]
        return D.to(dtype)

    def algebra(self, X: Tensor) -> Tensor:
        """The matrix of an antisymmetric X [..., 3, 3]."""
        omega = torch.stack([X[..., 2, 1], X[..., 0, 2], X[..., 1, 0]], -1)
        return torch.einsum("...k,kij->...ij", omega, torch.tensor(generators(self.l), dtype=X.dtype, device=X.device))

    def restricted_to(self, embed: Embedding) -> "Irrep | None":
        """The irrep of SO(3) of the same degree."""
        rotations = self.p is not None and embed.source == SO(3) and embed.keeps_V
        return Irrep(self.l) if rotations else None

    def __mul__(self, other: "Irrep") -> list["Irrep"]:
        """The irreps of the tensor product, degrees |l1-l2|..l1+l2, each once. Mixing groups raises TypeError."""
        if not isinstance(other, Irrep):
            return NotImplemented
        one_group([self, other])
        p = None if self.p is None else self.p * other.p
        return [Irrep(l, p) for l in range(abs(self.l - other.l), self.l + other.l + 1)]

    @property
    def _order(self) -> tuple[int, int]:
        return self.l, self.p or 0

    def __lt__(self, other: "Irrep") -> bool:
        return self._order < other._order


@O.defines("_spatial_irreps")
def _by_degree(group: O) -> Iterator[Irrep]:
    parities = (None,) if group == SO(3) else (1, -1)
    return (Irrep(l, p) for l in count() for p in parities)


def one_group(irreps: Iterable[Irrep]) -> Group:
    """The group that all irreps belong to, O(3) for none. Raises TypeError when O(3) and SO(3) are mixed."""
    first: Irrep | None = None
    for irrep in irreps:
        if first is not None and (irrep.p is None) != (first.p is None):
            raise TypeError(
                f"Irreps: {first} belongs to {first.group} and {irrep} to {irrep.group}; "
                "write every parity (1o) or none (1)"
            )
        first = first or irrep
    return O(3) if first is None else first.group


class Irreps(Rep):
    """A sum of irreps of O(3) or SO(3), as in e3nn: `Irreps("8x0e + 4x1o")`, `Irreps("8x0 + 4x1")`.

    Also from pairs `[(8, "0e"), (4, Irrep(1, -1))]`, or an `Irrep`. A feature is flat; the block `c x l` is a
    contiguous `[2l+1, c]`, components first (e3nn keeps `[c, 2l+1]`). The order of terms is kept; those with 0
    channels are dropped. Raises ValueError pointing at the character that does not parse, TypeError when parities are
    written on some terms only.
    """

    def __init__(self, irreps: "str | Irrep | Irreps | Sequence[tuple[int, Irrep | str]]" = ""):
        if isinstance(irreps, Irreps):
            blocks, group = irreps.blocks, irreps.group
        else:
            blocks = _blocks(irreps)
            group = one_group(irrep for irrep, _ in blocks)
        super().__init__(group, [(Product((irrep,)), c) for irrep, c in blocks])

    @classmethod
    def spherical(cls, lmax: int, channels: int = 1, parity: int | None = -1) -> "Irreps":
        """Degrees 0..lmax with equal channels; parity -1: (-1)^l as spherical harmonics, 1: all even, None: SO(3)."""
        check_degree("Irreps.spherical: lmax", lmax)
        return cls([(channels, Irrep(l, None if parity is None else parity**l)) for l in range(lmax + 1)])

    def _with(self, group: Group, terms: Sequence[tuple[Product, int]]) -> Rep:
        if all(len(W.factors) == 1 and isinstance(W.factors[0], Irrep) for W, _ in terms):
            out = Irreps.__new__(Irreps)
            Rep.__init__(out, group, terms)
            return out
        return Rep(group, terms)

    def __str__(self) -> str:
        return " + ".join(f"{c}x{irrep}" for irrep, c in self.blocks)

    @property
    def blocks(self) -> tuple[tuple[Irrep, int], ...]:
        """The terms as (irrep, channels)."""
        return tuple((W.factors[0], c) for W, c in self.terms)

    @property
    def lmax(self) -> int:
        """The highest degree. Raises ValueError when there is no term."""
        if not self.terms:
            raise ValueError("Irreps: the empty sum has no highest degree")
        return max(irrep.l for irrep, _ in self.blocks)

    def count(self, irrep: Irrep | str) -> int:
        """Channels of one irrep, over all terms."""
        wanted = as_irrep(irrep)
        return sum(c for irrep, c in self.blocks if irrep == wanted)

    def sort(self) -> tuple["Irreps", Tensor]:
        """Terms by degree, odd before even (0o, 0e, 1o, 1e, ...; stable, as e3nn), with x_new = x[..., perm]."""
        order = sorted(range(len(self.terms)), key=lambda i: self.blocks[i][0]._order)
        entries = self.split(torch.arange(self.dim))
        perm = torch.cat([torch.zeros(0, dtype=torch.int64), *(entries[i].reshape(-1) for i in order)])
        return self._with(self.group, [self.terms[i] for i in order]), perm

    def simplify(self) -> tuple["Irreps", Tensor]:
        """Join equal neighbouring terms, with x_new = x[..., perm]: channels are the last axis, so entries do move."""
        entries = self.split(torch.arange(self.dim))
        joined: list[tuple[Product, list[Tensor]]] = []
        for (W, _), block in zip(self.terms, entries):
            if joined and joined[-1][0] == W:
                joined[-1][1].append(block)
            else:
                joined.append((W, [block]))
        blocks = [torch.cat(parts, -1) for _, parts in joined]
        perm = torch.cat([torch.zeros(0, dtype=torch.int64), *(block.reshape(-1) for block in blocks)])
        return self._with(self.group, [(W, block.shape[-1]) for (W, _), block in zip(joined, blocks)]), perm


def as_irrep(irrep: Irrep | str) -> Irrep:
    """One irrep from itself or its name: `as_irrep("1o")`. Raises ValueError for anything else."""
    if isinstance(irrep, Irrep):
        return irrep
    blocks = _parse(irrep)
    if len(blocks) != 1 or blocks[0][1] != 1:
        raise ValueError(f"Irrep: expected the name of one irrep, such as 1o, got {irrep!r}")
    return blocks[0][0]


def _blocks(irreps) -> list[tuple[Irrep, int]]:
    if isinstance(irreps, str):
        return _parse(irreps)
    if isinstance(irreps, Irrep):
        return [(irreps, 1)]
    if isinstance(irreps, Rep):
        raise TypeError(f"Irreps: {irreps!r} is not written in irreps of O(3) or SO(3)")
    blocks = []
    for pair in irreps:
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], int | np.integer):
            raise ValueError(f"Irreps: expected pairs (channels, irrep), got {pair!r}")
        blocks.append((as_irrep(pair[1]), int(pair[0])))
    return blocks


def _parse(text: str) -> list[tuple[Irrep, int]]:
    if not text.strip():
        return []
    blocks, start = [], 0
    while True:
        match = _TOKEN.match(text, start)
        end = match.end()
        if match["degree"] is None:
            stop = match.start("parity") if match["parity"] else end
            wanted = "a degree after the x" if match["count"] else "a term such as 8x0e or 1o"
            raise _pointed(text, stop, wanted)
        p = {"e": 1, "o": -1, None: None}[match["parity"]]
        blocks.append((Irrep(int(match["degree"]), p), int(match["count"] or 1)))
        if end == len(text):
            return blocks
        if text[end] != "+":
            raise _pointed(text, end, "e, o, + or the end" if match["parity"] is None else "+ or the end")
        start = end + 1


def _pointed(text: str, position: int, wanted: str) -> ValueError:
    return ValueError(f"Irreps: expected {wanted} at character {position + 1}:\n  {text}\n  {' ' * position}^")
