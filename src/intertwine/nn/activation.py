"""Nonlinearities that commute with a group: on scalars entry by entry, on everything else through lengths."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..reps import Product, Rep
from .law import Function, Law, name_of, works_in_place
from .pointwise import admissible


def second_moment_constant(fn: Function) -> float:
    """The number c for which c·fn(z) has second moment 1, z standard normal: 1.6765 for SiLU, √2 for ReLU.

    By Gauss-Legendre quadrature on panels of width ¼ (exact across kinks at multiples of ¼), to about 1e-12 for smooth
    functions; e3nn's constants come from random samples and differ in the third digit. Raises ValueError where fn
    vanishes or is not finite.
    """
    nodes, weights = np.polynomial.legendre.leggauss(16)
    left = np.arange(-12, 12, 0.25)
    z = torch.tensor((left[:, None] + (nodes + 1) / 8).ravel(), device="cpu")  # whatever the default is
    panels = torch.tensor(np.tile(weights / 8, len(left)), device="cpu")
    density = panels * torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    with torch.no_grad():
        moment = (density * fn(z).double().square()).sum().item()
    if not moment > 0 or not math.isfinite(moment):
        raise ValueError(
            f"second_moment_constant: {name_of(fn)} has second moment {moment} under a normal distribution"
        )
    return moment**-0.5


def is_invariant(W: Product) -> bool:
    """Whether a term is one component that no group element changes."""
    return W.dim == 1 and all(factor.is_permutation or getattr(factor, "is_trivial", False) for factor in W.factors)


def is_scalar(W: Product) -> bool:
    """Whether a term is one component that group elements at most change the sign of."""
    return W.dim == 1 and all(factor.is_signed_permutation for factor in W.factors)


class Activation(nn.Module):
    """fn of every entry, after a proof that it commutes with the group: `nn.admissible` says when, and raises if not.

    fn: any function of single entries, or a module with parameters. law: what to take for granted about fn instead of
    telling it from values (`nn.law`). allow_type_change: also functions whose output transforms in another way, such
    as |x| of entries that change sign; `rep_out` is what it gives.
    Raises ValueError naming the function, its law, the term, its group, the reason and what to use instead.
    Source: arXiv:2401.09235.
    """

    def __init__(self, rep: Rep, fn: Function, *, law: Law | None = None, allow_type_change: bool = False):
        super().__init__()
        verdict = admissible(rep, fn, law=law, allow_type_change=allow_type_change)
        if not verdict.ok:
            raise ValueError(f"Activation: {verdict.reason}")
        self.rep_in, self.rep_out = rep, verdict.rep_out
        self.fn = fn
        self.copies = works_in_place(fn)  # the caller's x may be a view of something that is needed

    def extra_repr(self) -> str:
        """Representation and function."""
        change = "" if self.rep_in == self.rep_out else f" -> {self.rep_out}"
        return f"{self.rep_in}{change}, {name_of(self.fn)}"

    def forward(self, x: Float[Tensor, "*batch dim_in"]) -> Float[Tensor, "*batch dim_out"]:
        """fn(x); x itself is never overwritten. Raises ValueError on a wrong trailing dimension."""
        self.rep_in.check(x)
        return self.fn(x.clone() if self.copies else x)


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
        return f"{self.rep_in} -> {self.rep_out}, " + ", ".join("-" if f is None else name_of(f) for f in self.acts)

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
        raise ValueError(f"ScalarActivation: {name_of(fn)} acts on entries, but {W} in {rep} is no scalar; use a Gate")
    verdict = admissible(rep._with(rep.group, [(W, 1)]), fn, allow_type_change=True)
    if not verdict.ok:
        raise ValueError(
            f"ScalarActivation: {name_of(fn)} is neither even nor odd, but {W} in {rep} changes sign under the group; "
            "give an odd function (tanh) or an even one (abs) for this term"
        )
    return verdict.rep_out.terms[0][0]


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
        return f"{self.rep_in}, {name_of(self.fn)}"

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
