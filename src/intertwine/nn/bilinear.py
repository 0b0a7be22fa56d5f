"""Products of a feature with itself: what linear layers and gates cannot express, an angle between vectors for one."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..groups import Group, Lorentz, Sp
from ..maps.constants import Constants
from ..maps.diagrams.functor import forms
from ..maps.schur import simplified
from ..reps import Factor, Product, Rep
from ..reps.factor import Defining, Dual


@dataclass(frozen=True)
class Path:
    """Term `left` [above, met] times term `right` [met, below], summed over what meets, added to `out` [above, below].

    above, met, below: numbers of components. channels: of left, right and out. form: the signed permutation
    (index, sign) by which the group's form turns the met components of `right`, None for δ.
    """

    left: int
    right: int
    out: int
    above: int
    met: int
    below: int
    channels: tuple[int, int, int]
    form: tuple[np.ndarray, np.ndarray] | None

    @property
    def weights(self) -> int:
        """One number for each channel of left, right and out."""
        return math.prod(self.channels)

    @property
    def mixes_first(self) -> bool:
        """Whether it is cheaper to multiply the channels of `right` by the weights before it meets `left`."""
        _, b, c = self.channels
        return self.met * c * (b + self.above) < self.above * b * (self.met + c)

    def second_moment(self) -> float:
        """E z² in the mean over entries, z the sum of all products with signs, for standard normal entries.

        Two channels give `met`; a channel with itself is a quadratic form Q, with tr(Q)² + tr(QQ') + tr(QQ).
        """
        a, b, _ = self.channels
        if self.left != self.right:
            return self.met * a * b
        index, sign = self.form or (np.arange(self.met), np.ones(self.met))
        i, k, g = np.ogrid[: self.above, : self.below, : self.met]
        row, column = i * self.met + g, index[g] * self.below + k  # the entries of Q for every output (i, k)
        trace = (sign[g] * (row == column)).sum(-1)
        there, back = np.divmod(column, self.met)
        back_column = index[back] * self.below + k
        square = (sign[g] * sign[back] * ((there == i) & (back_column == row))).sum(-1)
        return self.met * a * b + a * float((trace**2 + square).mean())


class Bilinear(nn.Module):
    """z = Σ w · x_p x_q: the last j axes of a term of order p contracted with the first j of a term of order q <= p.

    From `rep` to `rep`, over all terms of order p + q - 2j and all j: inner products, a matrix times a vector or a
    matrix, a scalar times anything, outer products. Axes meet their duals, or themselves through the group's form (η of
    Lorentz groups, ω of Sp). Weights are [c_p', c_q, c_r] where c_p' = min(c_p, dim V^p): the first channels of x_p,
    since more of them are dependent. Terms that no product reaches are zero. For independent standard normal inputs
    every other term starts with second moment gain², in the mean over weights; all products into a term count equally.

    Raises ValueError where no product of terms of `rep` is a term of `rep`.
    Source: arXiv:2104.09459, section 5, where j = q; with j < q also V and V**2 generate all tensors.
    """

    def __init__(self, rep: Rep, *, gain: float = 1.0, generator: torch.Generator | None = None):
        super().__init__()
        self.rep_in = self.rep_out = rep
        self.paths = tuple(paths(rep))
        if not self.paths:
            raise ValueError(f"Bilinear: no product of two terms of {rep!r} is a term of it; add scalars, or V to V**2")
        self.gain = float(gain)
        self.weight = nn.Parameter(torch.empty(sum(path.weights for path in self.paths)))
        self.constants = Constants([array for path in self.paths for array in path.form or ()])
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights anew."""
        arriving = [path.out for path in self.paths]
        device = "cpu" if generator is None else generator.device
        for path, part in zip(self.paths, self.weight.split([path.weights for path in self.paths])):
            square = arriving.count(path.out) * path.second_moment()
            draw = torch.randn(part.shape, generator=generator, dtype=torch.float64, device=device)
            part.copy_(draw * self.gain / math.sqrt(square))

    def extra_repr(self) -> str:
        """Representation and number of products."""
        return f"{self.rep_in!r}, {len(self.paths)} products"

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """The products of x with itself. Raises ValueError on a wrong trailing dimension."""
        self.rep_in.check(x)
        terms, lead = self.rep_in.terms, x.shape[:-1]
        blocks = [
            part.reshape(*lead, W.dim, c) for part, (W, c) in zip(x.split([W.dim * c for W, c in terms], -1), terms)
        ]
        constants = iter(self.constants.tensors())
        out: list[Tensor | None] = [None] * len(terms)
        for path, w in zip(self.paths, self.weight.split([path.weights for path in self.paths])):
            a, b, c = path.channels
            y = blocks[path.right].reshape(*lead, path.met, path.below * b)
            if path.form is not None:
                y = y.index_select(-2, next(constants)) * next(constants)[:, None]
            y = y.view(*lead, path.met, path.below, b)
            left = blocks[path.left][..., :a]
            if path.mixes_first:
                mixed = (y @ w.view(a, b, c).transpose(0, 1).reshape(b, a * c)).view(*y.shape[:-1], a, c)
                mixed = mixed.transpose(-3, -2).reshape(*lead, path.met * a, path.below * c)
                z = left.reshape(*lead, path.above, path.met * a) @ mixed
            else:
                left = left.reshape(*lead, path.above, path.met, a).transpose(-1, -2)
                products = left @ y.reshape(*lead, 1, path.met, path.below * b)  # [..., above, a, below·b]
                products = products.view(*lead, path.above, a, path.below, b).transpose(-3, -2)
                z = products.reshape(*lead, path.above * path.below, a * b) @ w.view(a * b, c)
            z = z.reshape(*lead, path.above * path.below, c)
            out[path.out] = z if out[path.out] is None else out[path.out] + z
        flat = [
            x.new_zeros(*lead, W.dim * c) if z is None else z.reshape(*lead, W.dim * c) for z, (W, c) in zip(out, terms)
        ]
        return torch.cat(flat, -1)


def paths(rep: Rep) -> list[Path]:
    """All products of two terms that are a term; the last axes of the first, of no lower order, meet the second's."""
    terms = [(simplified(W).factors, c) for W, c in rep.terms]
    found = []
    for (i, (left, a)), (j, (right, b)) in itertools.product(enumerate(terms), repeat=2):
        for met in range(len(right), -1, -1) if len(right) <= len(left) else ():
            kept = len(left) - met
            form = _form(rep.group, left[kept:], right[:met])
            for k, (out, c) in enumerate(terms):
                if form is not None and out == left[:kept] + right[met:]:
                    sizes = [Product(part).dim for part in (left[:kept], right[:met], right[met:])]
                    channels = min(a, sizes[0] * sizes[1]), b, c
                    found.append(Path(i, j, k, *sizes, channels, None if _is_identity(*form) else form))
    return found


def _is_identity(index: np.ndarray, sign: np.ndarray) -> bool:
    return bool((index == np.arange(len(index))).all() and (sign == 1).all())


def _form(group: Group, left: tuple[Factor, ...], right: tuple[Factor, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """The signed permutation that turns axes of `right` before those of `left` meet them; None where they do not."""
    index, sign = np.zeros(1, dtype=np.int64), np.ones(1)
    for a, b in zip(left, right):
        M = _pairing(group, a, b)
        if M is None:
            return None
        there = np.abs(M).argmax(1)
        index = (index[:, None] * len(M) + there).reshape(-1)
        sign = (sign[:, None] * M[np.arange(len(M)), there]).reshape(-1)
    return index, sign


def _pairing(group: Group, a: Factor, b: Factor) -> np.ndarray | None:
    """The invariant form on two factors, x_a^T M x_b."""
    if a == b.dual:
        return np.eye(a.dim, dtype=np.int64)
    base = a.base if isinstance(a, Dual) else a
    if a != b or not isinstance(base, Defining) or not isinstance(group, Sp | Lorentz):
        return None
    below, above = forms(group)
    return below if a == base else above
