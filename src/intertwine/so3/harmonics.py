"""Real spherical harmonics of any degree, in one fused pass, differentiable as often as needed, finite at the origin.

Degree l is the part of degree l of (degree l-1) ⊗ r: no trigonometry, no singular direction. The derivative of a solid
harmonic of degree l is a constant combination of those of degree l-1, so backward is one matrix product with the values
already computed.
"""

from functools import lru_cache
from math import pi, sqrt

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..maps.constants import known_to_compilers
from ..maps.own_derivatives import quick
from .wigner import _frozen, check_degree, clebsch_gordan

NORMALIZATIONS = ("component", "norm", "integral")
_PLAIN_LMAX = 2  # up to here a custom derivative costs more than it saves
_DENSE_LMAX = 10  # up to here the derivative is one matrix for all degrees, above it one for each


def spherical_harmonics(
    r: Float[Tensor, "*batch 3"], lmax: int, normalize: bool = True, normalization: str = "component"
) -> Float[Tensor, "*batch ({lmax}+1)**2"]:
    """Real spherical harmonics of degrees 0..lmax of vectors (x, y, z); row l² + l + m holds order m of degree l.

    Polar axis y, degree 1 is (x, y, z): e3nn's convention. `normalize=False` gives the solid harmonics, polynomials of
    degree l in r (Å^l for r in Å). `normalization`: on unit vectors Σ_m Y² is 2l+1 ("component"), 1 ("norm") or
    (2l+1)/4π ("integral", orthonormal on the sphere). At r = 0 the normalised form is (1, 0, 0, ...) with gradient 0.
    Raises ValueError for lmax < 0, an unknown normalization, or a last dimension other than 3.
    """
    check_degree("spherical_harmonics: lmax", lmax)
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"spherical_harmonics: normalization {normalization!r} is not one of {NORMALIZATIONS}")
    if r.shape[-1] != 3:
        raise ValueError(f"spherical_harmonics: vectors have a last dimension of 3, got shape {tuple(r.shape)}")
    u = unit(r) if normalize else r
    if torch.compiler.is_compiling() or lmax <= _PLAIN_LMAX:
        return _plain(u, lmax, normalization)
    return _Solid.apply(u.reshape(-1, 3), lmax, normalization).reshape(*r.shape[:-1], (lmax + 1) ** 2)


def unit(r: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """r / |r|, and 0 with all derivatives 0 where r is 0 (or |r|² underflows)."""
    return over_length(r, (r * r).sum(-1, keepdim=True))


def over_length(r: Tensor, square: Tensor) -> Tensor:
    """`unit` where |r|² is known."""
    return r / square.masked_fill(square < torch.finfo(r.dtype).tiny, torch.inf).sqrt()


def _scale(l: int, normalization: str) -> float:
    """Square root of Σ_m Y² on unit vectors."""
    return {"component": sqrt(2 * l + 1), "norm": 1.0, "integral": sqrt((2 * l + 1) / (4 * pi))}[normalization]


@lru_cache(maxsize=256)
def _climb(l: int, normalization: str) -> np.ndarray:
    """U [2l+1, (2l-1)·3] with Y_l = U (Y_(l-1) ⊗ r): the part of degree l of the product, rescaled."""
    C = clebsch_gordan(l - 1, 1, l)
    # at r = e_y only order 0 is not zero, which fixes the factor
    factor = _scale(l, normalization) / _scale(l - 1, normalization) / C[l - 1, 1, l]
    return _frozen(np.ascontiguousarray(C.reshape(-1, 2 * l + 1).T * factor))


@lru_cache(maxsize=256)
def _derivative(l: int, normalization: str) -> np.ndarray:
    """D [2l+1, 3, 2l-1] with ∂Y_lm/∂r_k = Σ_m' D[m, k, m'] Y_(l-1)m'."""
    C = clebsch_gordan(l - 1, 1, l)
    # as above, with Euler's relation r·∇Y_l = l Y_l
    factor = l * _scale(l, normalization) / _scale(l - 1, normalization) / C[l - 1, 1, l]
    return _frozen(np.ascontiguousarray(C.transpose(2, 1, 0) * factor))


@lru_cache(maxsize=64)
def _derivative_spans(lmax: int, normalization: str) -> tuple[tuple[int, int, int, np.ndarray], ...]:
    """Rows of Y, of the degrees below, and the matrix [rows, 3·columns] between them, in few large pieces."""
    pieces = [(1, lmax)] if lmax <= _DENSE_LMAX else [(l, l) for l in range(1, lmax + 1)]
    spans = []
    for low, high in pieces:
        first, columns = low * low, high * high - (low - 1) ** 2
        D = np.zeros(((high + 1) ** 2 - first, 3, columns))
        for l in range(low, high + 1):
            row, column = l * l - first, (l - 1) ** 2 - (low - 1) ** 2
            D[row : row + 2 * l + 1, :, column : column + 2 * l - 1] = _derivative(l, normalization)
        spans.append((first, (low - 1) ** 2, columns, _frozen(D.reshape(len(D), -1))))
    return tuple(spans)


def _constant(x: np.ndarray, like: Tensor) -> Tensor:
    return torch.tensor(x, dtype=like.dtype, device=like.device)


class _Solid(torch.autograd.Function):
    """Solid harmonics of [N, 3]; the saved output is differentiable itself, so every order of derivative follows."""

    generate_vmap_rule = True

    @staticmethod
    @quick
    def forward(r: Tensor, lmax: int, normalization: str) -> Tensor:
        rows = r.T.contiguous()
        blocks = [torch.full_like(rows[:1], _scale(0, normalization))]  # each [2l+1, N]: long rows, fast products
        for l in range(1, lmax + 1):
            pairs = (blocks[-1][:, None] * rows).flatten(0, 1)
            blocks.append(_constant(_climb(l, normalization), r) @ pairs)
        return torch.cat([block.T for block in blocks], 1)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, ctx.lmax, ctx.normalization = inputs
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (Y,) = ctx.saved_tensors
        total = Y.new_zeros(len(Y), 3) if ctx.lmax == 0 else None
        for row, column, columns, D in _derivative_spans(ctx.lmax, ctx.normalization):
            rows = len(D)
            turned = (grad[:, row : row + rows] @ _constant(D, Y)).unflatten(1, (3, columns))
            part = (turned * Y[:, None, column : column + columns]).sum(-1)
            total = part if total is None else total + part
        return total, None, None

    @staticmethod
    def jvp(ctx, tangent: Tensor, *_):
        (Y,) = ctx.saved_tensors
        parts = [torch.zeros_like(Y[:, :1])]
        for _, column, columns, D in _derivative_spans(ctx.lmax, ctx.normalization):
            pairs = (tangent[:, :, None] * Y[:, None, column : column + columns]).flatten(1)
            parts.append(pairs @ _constant(D, Y).T)
        return torch.cat(parts, 1)


@known_to_compilers
def _climb_rows(l: int, normalization: str) -> tuple[tuple[float, ...], ...]:
    """`_climb` as numbers, which a compiler takes as a constant."""
    return tuple(map(tuple, _climb(l, normalization).tolist()))


def _plain(r: Tensor, lmax: int, normalization: str) -> Tensor:
    """The same recursion in ordinary operations, for a compiler and for low degrees.

    (torch 2.13 compiles a custom autograd function inside `torch.func.grad` to wrong second derivatives, silently.)
    """
    blocks = [torch.full_like(r[..., :1], _scale(0, normalization))]
    if lmax >= 1:
        blocks.append(r * _scale(1, normalization))
    for l in range(2, lmax + 1):
        pairs = (blocks[-1].unsqueeze(-1) * r.unsqueeze(-2)).flatten(-2)
        blocks.append(pairs @ torch.tensor(_climb_rows(l, normalization), dtype=r.dtype, device=r.device).T)
    return torch.cat(blocks, -1)
