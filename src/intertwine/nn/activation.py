"""Nonlinearities that commute with a group: on scalars entry by entry, on everything else through lengths."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..reps import Product, Rep
from ..so3 import Irrep, Irreps

Function = Callable[[Tensor], Tensor]


def second_moment_constant(fn: Function) -> float:
    """The number c for which c·fn(z) has second moment 1, z standard normal: 1.6765 for SiLU, √2 for ReLU.

    By Gauss-Legendre quadrature on panels of width ¼ (exact across kinks at multiples of ¼), to about 1e-12 for smooth
    functions; e3nn's constants come from random samples and differ in the third digit. Raises ValueError where fn
    vanishes or is not finite.
    """
    nodes, weights = np.polynomial.legendre.leggauss(16)
    left = np.arange(-12, 12, 0.25)
    z = torch.tensor((left[:, None] + (nodes + 1) / 8).ravel())
    density = torch.tensor(np.tile(weights / 8, len(left))) * torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    with torch.no_grad():
        moment = (density * fn(z).double().square()).sum().item()
    if not moment > 0 or not math.isfinite(moment):
        raise ValueError(f"second_moment_constant: {_name(fn)} has second moment {moment} under a normal distribution")
    return moment**-0.5


def parity_of(fn: Function) -> int | None:
    """1 for an even function, -1 for an odd one, None for neither, told from its values on [-8, 8]."""
    z = torch.linspace(0.01, 8, 257, dtype=torch.float64)
    with torch.no_grad():
        plus, minus = fn(z), fn(-z)
    scale = 1e-9 * (1 + plus.abs())
    if bool(((plus - minus).abs() < scale).all()):
        return 1
    return -1 if bool(((plus + minus).abs() < scale).all()) else None


def is_invariant(W: Product) -> bool:
    """Whether a term is one component that no group element changes."""
    return W.dim == 1 and all(factor.is_permutation or getattr(factor, "is_trivial", False) for factor in W.factors)


def is_scalar(W: Product) -> bool:
    """Whether a term is one component that group elements at most change the sign of."""
    return W.dim == 1 and all(factor.is_signed_permutation for factor in W.factors)


def invariants(rep: Rep, channels: int) -> Rep:
    """Channels that no element of the group of `rep` changes, written in the notation of `rep`."""
    if isinstance(rep, Irreps):
        return Irreps([(channels, Irrep(0, 1 if str(rep.group) == "O(3)" else None))])
    return channels * rep.group.trivial


def _name(fn: Function) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


class ScalarActivation(nn.Module):
    """A function of each entry of scalar terms, scaled to second moment 1 (`normalize`); None leaves a term as it is.

    act: one function for all scalar terms (other terms stay), or a sequence with one entry for each term. A term that
    changes sign under the group (0o, det) takes an odd function, or an even one that makes it invariant (0o → 0e).
    Raises ValueError for a function on such a term that is neither, on a term that is not scalar, or a wrong count.
    """

    def __init__(self, rep_in: Rep, act: Function | Sequence[Function | None], *, normalize: bool = True):
        super().__init__()
        self.rep_in = rep_in
        if callable(act):
            acts = [act if is_scalar(W) else None for W, _ in rep_in.terms]
        else:
            acts = list(act)
        if len(acts) != len(rep_in.terms):
            raise ValueError(f"ScalarActivation: {rep_in} has {len(rep_in.terms)} terms, got {len(acts)} functions")
        self.acts = tuple(acts)
        outs = [_after(W, fn, rep_in) for (W, _), fn in zip(rep_in.terms, acts)]
        self.rep_out = rep_in._with(rep_in.group, [(W, c) for W, (_, c) in zip(outs, rep_in.terms)])
        self.constants = tuple(1.0 if fn is None or not normalize else second_moment_constant(fn) for fn in acts)

    def extra_repr(self) -> str:
        """Terms and functions."""
        return f"{self.rep_in} -> {self.rep_out}, " + ", ".join("-" if f is None else _name(f) for f in self.acts)

    def forward(self, x: Float[Tensor, "*batch dim_in"]) -> Float[Tensor, "*batch dim_out"]:
        """The function of each scalar. Raises ValueError on a wrong trailing dimension."""
        self.rep_in.check(x)
        parts = x.split([W.dim * c for W, c in self.rep_in.terms], -1)
        return torch.cat([z if f is None else f(z) * k for z, f, k in zip(parts, self.acts, self.constants)], -1)


def _after(W: Product, fn: Function | None, rep: Rep) -> Product:
    """What a term becomes under a function of its entries."""
    if fn is None or is_invariant(W):
        return W
    if not is_scalar(W):
        raise ValueError(f"ScalarActivation: {_name(fn)} acts on entries, but {W} in {rep} is no scalar; use a Gate")
    parity = parity_of(fn)
    if parity is None:
        raise ValueError(
            f"ScalarActivation: {_name(fn)} is neither even nor odd, but {W} in {rep} changes sign under the group; "
            "give an odd function (tanh) or an even one (abs) for this term"
        )
    return W if parity == -1 else invariants(rep, 1).terms[0][0]


class NormActivation(nn.Module):
    """x f(|x| + b)/|x| for each term and channel, |x| = √(Σ x² + ε²) over the components: smooth, and 0 at x = 0.

    bias: learn b, one for each channel (0 at first). Any orthogonal representation. Raises ValueError for others.
    """

    def __init__(self, rep_in: Rep, fn: Function = torch.sigmoid, *, bias: bool = False, eps: float = 1e-6):
        super().__init__()
        if not rep_in.is_orthogonal:
            raise ValueError(f"NormActivation: lengths are not invariant under {rep_in!r}, which is not orthogonal")
        if not eps > 0:
            raise ValueError(f"NormActivation: eps must be positive, got {eps}")
        self.rep_in = self.rep_out = rep_in
        self.fn, self.eps = fn, eps
        self.bias = nn.Parameter(torch.zeros(sum(c for _, c in rep_in.terms))) if bias else None

    def extra_repr(self) -> str:
        """Representation and function."""
        return f"{self.rep_in}, {_name(self.fn)}"

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Each vector keeps its direction."""
        blocks, start = [], 0
        for (W, c), block in zip(self.rep_in.terms, self.rep_in.split(x)):
            axes = tuple(range(-1 - len(W.shape), -1))
            square = block.square().sum(axes, keepdim=True) if axes else block.square()
            length = torch.sqrt(square + self.eps**2)
            shifted = length if self.bias is None else length + self.bias[start : start + c]
            blocks.append(block * (self.fn(shifted) / length))
            start += c
        return self.rep_out.join(blocks)
