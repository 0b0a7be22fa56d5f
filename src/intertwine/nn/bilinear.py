"""Products of a feature with itself: what linear layers and gates cannot express, an angle between vectors for one."""

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
    """Term `left`, its first axes kept and its last contracted with all axes of term `right`, added to term `out`.

    form: the signed permutation (index, sign) by which the group's form turns `right`, None for δ.
    """

    left: int
    right: int
    out: int
    kept: int  # components of the axes of `left` that stay
    gone: int  # components of the axes that are contracted
    channels: tuple[int, int, int]
    form: tuple[np.ndarray, np.ndarray] | None

    @property
    def weights(self) -> int:
        """One number for each channel of left, right and out."""
        return math.prod(self.channels)

    @property
    def second_moment(self) -> float:
        """E z², z the sum of all products with weights ±1 of normal entries: a channel may meet itself in x^T F x."""
        a, b, _ = self.channels
        if self.left != self.right:
            return self.gone * a * b
        index, sign = self.form or (np.arange(self.gone), np.ones(self.gone))
        trace = sign[index == np.arange(self.gone)].sum()
        of_square = sign[index[index] == np.arange(self.gone)] @ sign[index][index[index] == np.arange(self.gone)]
        return self.gone * a * b + (trace**2 + of_square) * a


class Bilinear(nn.Module):
    """z = Σ w · (x_p contracted with x_q): the last q axes of every term of order p with a term of order q.

    From `rep` to `rep`, over all triples of terms of orders p = q + r, q and r; x_p x_q with q = 0 is a scalar times a
    tensor, with r = 0 an inner product. Axes meet their duals, or themselves through the group's form (η of Lorentz
    groups, ω of Sp). Weights are [c_p', c_q, c_r] where c_p' = min(c_p, dim V^p): the first channels of x_p, since more
    of them are dependent. Terms that no product reaches are zero. For independent standard normal inputs every other
    term starts with second moment gain², in the mean over weights; all products into a term count equally.

    Raises ValueError where no product of terms of `rep` is a term of `rep`.
    Source: arXiv:2104.09459, section 5 (the bilinear layer), with contractions of diagrams (arXiv:2212.08630).
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
            square = arriving.count(path.out) * path.second_moment
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
            y = blocks[path.right]
            if path.form is not None:
                y = y.index_select(-2, next(constants)) * next(constants)[:, None]
            left = blocks[path.left][..., :a].reshape(*lead, path.kept, path.gone, a)
            products = left.transpose(-1, -2) @ y.unsqueeze(-3)  # [..., kept, a, b]
            z = products.reshape(*lead, path.kept, a * b) @ w.view(a * b, c)
            out[path.out] = z if out[path.out] is None else out[path.out] + z
        flat = [
            x.new_zeros(*lead, W.dim * c) if z is None else z.reshape(*lead, W.dim * c) for z, (W, c) in zip(out, terms)
        ]
        return torch.cat(flat, -1)


def paths(rep: Rep) -> list[Path]:
    """All triples of terms of which the first contracts with the second to the third."""
    terms = [(simplified(W).factors, c) for W, c in rep.terms]
    found = []
    for i, (left, a) in enumerate(terms):
        for j, (right, b) in enumerate(terms):
            r = len(left) - len(right)
            if r < 0 or (form := _form(rep.group, left[r:], right)) is None:
                continue
            kept, gone = Product(left[:r]).dim, Product(right).dim
            for k, (out, c) in enumerate(terms):
                if out == left[:r]:
                    index, sign = form
                    plain = (index == np.arange(gone)).all() and (sign == 1).all()
                    channels = min(a, kept * gone), b, c
                    found.append(Path(i, j, k, kept, gone, channels, None if plain else form))
    return found


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
