"""Maps of a wreath product from V to V: what one part does to itself, and what it tells all others.

A map commutes with G wr S(m) exactly when every diagonal block is the same map of G, and every other block the same
product of an invariant to be read and an invariant to be written.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..groups import Group, Wreath
from ..reps import Product
from ..reps.factor import Defining, Dual
from .kernel import Kernel, Plan


@dataclass(frozen=True)
class PartByPart(Plan):
    """The map of G on every part, then the sum of what the other parts say.

    Constants: those of the map of G, then what is read [K, dim_in] and what is written [K, dim_out] of one part.
    """

    m: int
    own: Plan
    maps: int  # of G

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        x = x.unflatten(-2, (self.m, x.shape[-2] // self.m))
        y = self.own.run(x, w[: self.maps], constants[: len(self.own.constants)])
        if len(w) > self.maps:
            read, write = constants[len(self.own.constants) :]
            said = read @ x
            heard = said.sum(-3, keepdim=True) - said
            y = y + write.mT @ torch.einsum("...kc,kco->...ko", heard, w[self.maps :])
        return y.flatten(-3, -2)


@dataclass(frozen=True, eq=False)
class WreathKernel(Kernel):
    """Block matrices of m x m parts: a basis map of G on the diagonal, or write_k read_k^T off it."""

    m: int
    own: Kernel
    read: np.ndarray  # [K, dim_in of a part]
    write: np.ndarray  # [K, dim_out of a part]
    names: tuple[str, ...]  # [K]

    @property
    def route(self) -> str:
        """How the maps were found, for `Map.explain`."""
        return f"parts of a wreath product, each by {self.own.route}"

    @property
    def dim_in(self) -> int:
        """Entries of one channel of the input block."""
        return self.m * self.own.dim_in

    @property
    def dim_out(self) -> int:
        """Entries of one channel of the output block."""
        return self.m * self.own.dim_out

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return (*(f"same {label}" for label in self.own.labels), *(f"other {name}" for name in self.names))

    def dense(self) -> np.ndarray:
        one = np.eye(self.m)
        others = np.einsum("ki,kj->kij", self.write, self.read)
        return np.array([np.kron(one, B) for B in self.own.dense()] + [np.kron(1 - one, B) for B in others]).reshape(
            self.N, self.dim_out, self.dim_in
        )

    def plan(self, c_in: int, c_out: int) -> Plan:
        own = self.own.plan(c_in, c_out)
        K, (d_in, d_out) = len(self.read), (self.own.dim_in, self.own.dim_out)
        flops = self.m * (own.flops + 2 * K * (d_in * c_in + c_in * c_out + d_out * c_out))
        constants = (*own.constants, self.read, self.write) if K else own.constants
        return PartByPart(constants, flops, self.m, own, self.own.N)

    @property
    def transpose(self) -> "WreathKernel":
        return WreathKernel(self.m, self.own.transpose, self.write, self.read, self.names)


def kernel(
    group: Group, U: Product, W: Product, member_kernel: Callable[[Group, Product, Product], Kernel]
) -> WreathKernel | None:
    """Hom(U, W) of a wreath product where both are V or its dual; None for any other group or term."""
    if not isinstance(group, Wreath):
        return None
    parts = [_of_a_part(group, term) for term in (U, W)]
    if None in parts:
        return None
    u, w = parts
    own, nothing = member_kernel(group.G, u, w), Product()
    read, write = member_kernel(group.G, u, nothing), member_kernel(group.G, nothing, w)
    pairs = [(a, b) for a in range(write.N) for b in range(read.N)] if group.m > 1 else []
    places = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return WreathKernel(
        group.m,
        own,
        read.dense()[places[:, 1], 0],
        write.dense()[places[:, 0], :, 0],
        tuple(f"{write.labels[a]} x {read.labels[b]}" for a, b in pairs),
    )


def _of_a_part(group: Wreath, term: Product) -> Product | None:
    """The term of G on one part, where the term of the wreath product is V or V'."""
    if len(term.factors) != 1:
        return None
    (factor,) = term.factors
    base = factor.base if isinstance(factor, Dual) else factor
    if not isinstance(base, Defining):
        return None
    ((own, _),) = group.G.V.terms
    return own if base is factor else own.dual
