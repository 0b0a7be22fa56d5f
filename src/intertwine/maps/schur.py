"""Schur's lemma: between irreps the only maps are the endomorphisms, so a layer mixes channels and nothing else."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..groups import Group
from ..reps import Factor, Irrep, Product
from ..reps.pullback import Pulled
from .kernel import Kernel, Plan, mix_channels


@dataclass(frozen=True)
class ChannelMixing(Plan):
    """y = sum_n (E_n x) w_n with E_0 the identity. Constant: E_1.. as [N - 1, dim, dim], absent for real type."""

    def run(self, x: Tensor, w: Tensor, constants: list[Tensor]) -> Tensor:
        if constants:
            x = torch.cat([x, *(E @ x for E in constants[0].unbind(0))], -1)
        return mix_channels(x, w.flatten(0, 1))


@dataclass(frozen=True, eq=False)
class SchurKernel(Kernel):
    """The endomorphisms of one irrep, [N, dim, dim], N = 1, 2 or 4, the identity first."""

    endomorphisms: np.ndarray
    route: str = "schur"

    @property
    def dim_in(self) -> int:
        return self.endomorphisms.shape[2]

    @property
    def dim_out(self) -> int:
        return self.endomorphisms.shape[1]

    @property
    def labels(self) -> tuple[str, ...]:
        N = len(self.endomorphisms)  # more than four in products of irreps that are no irreps themselves
        return ("1", "i", "j", "k")[:N] if N <= 4 else tuple(f"e{k}" for k in range(N))

    def dense(self) -> np.ndarray:
        return self.endomorphisms

    def plan(self, c_in: int, c_out: int) -> Plan:
        N, d = self.endomorphisms.shape[:2]
        flops = 2 * N * d * c_in * c_out + 2 * (N - 1) * d * d * c_in
        return ChannelMixing((self.endomorphisms[1:],) if N > 1 else (), flops)

    @property
    def transpose(self) -> "SchurKernel":
        return SchurKernel(self.endomorphisms.transpose(0, 2, 1))


def simplified(term: Product) -> Product:
    """A term without its trivial factors: the trivial irrep and the empty product are the same representation."""
    factors = tuple(f for f in term.factors if not trivial(f))
    return term if len(factors) == len(term.factors) else Product(factors)


def trivial(factor: Factor) -> bool:
    """Whether a factor is the trivial irrep, of the group or of a member of it."""
    factor = factor.base if isinstance(factor, Pulled) else factor
    return isinstance(factor, Irrep) and factor.is_trivial


def endomorphisms(term: Product) -> np.ndarray | None:
    """All maps from a term to itself, [N, dim, dim], the identity first, where Schur's lemma gives them: for one irrep,
    none, or a product of irreps of different members of a product of groups. None elsewhere."""
    if len(term.factors) == 1 and isinstance(term.factors[0], Irrep):
        return term.factors[0].endomorphisms().numpy()
    if not all(isinstance(factor, Pulled) and isinstance(factor.base, Irrep) for factor in term.factors):
        return None
    if len({factor.index for factor in term.factors}) < len(term.factors):
        return None
    found = np.ones((1, 1, 1))
    for factor in term.factors:
        found = np.array([np.kron(a, b) for a in found for b in factor.base.endomorphisms().numpy()])
    return found


def kernel(group: Group, U: Product, W: Product) -> SchurKernel | None:
    """Hom(U, W) of two simplified terms that are irreps; None where one of them is not."""
    here = endomorphisms(W)
    if here is None or endomorphisms(U) is None:
        return None
    if U == W:
        return SchurKernel(here)
    return None if set(U.factors) == set(W.factors) else SchurKernel(np.zeros((0, W.dim, U.dim)))
