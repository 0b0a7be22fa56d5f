"""Logarithms of positive and of rotation matrices, with derivatives of first and second order at every matrix.

The derivative of an eigendecomposition is infinite where eigenvalues meet; that of the logarithm is not. So the values
come from decompositions that are not differentiated, and the derivatives from the equation exp(log A) = A.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import schur
from torch import Tensor


def polar_values(g: Float[Tensor, "*batch n n"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(U, x, X, R) of g = exp(X) R with X = U diag(x) Uᵀ symmetric, R a rotation; without derivatives, det g > 0."""
    U, s, Vh = torch.linalg.svd(g.detach())
    x = s.log()
    return U, x, (U * x[..., None, :]) @ U.mT, U @ Vh


def polar_parts(g: Float[Tensor, "*batch n n"]) -> tuple[Tensor, Tensor]:
    """(X, R) of g = exp(X) R, X symmetric, R a rotation, as functions of g; det g > 0."""
    U, x, X, R = polar_values(g)
    gap = x[..., :, None] - x[..., None, :]
    # The divided differences of exp(2x): smooth where eigenvalues meet.
    slope = 2 * torch.exp(x[..., :, None] + x[..., None, :]) * sinhc(gap)
    X = _follow(X, g @ g.mT, lambda X: torch.linalg.matrix_exp(2 * X), U, 1 / slope)
    return X, R + _change(torch.linalg.matrix_exp(-X) @ g)


def log_rotation(R: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """The antisymmetric Y with exp(Y) = R and angles in (−π, π]; for n > 2 the values are computed on the CPU.

    Where two angles are both π the logarithm jumps in some directions: there its derivative along them is set to zero.
    """
    n = R.shape[-1]
    if n == 1:
        return torch.zeros_like(R)
    if n == 2:
        angle = torch.atan2(R[..., 1, 0] - R[..., 0, 1], R[..., 0, 0] + R[..., 1, 1])
        angle = torch.where(angle <= -math.pi, angle + 2 * math.pi, angle)
        zero = torch.zeros_like(angle)
        return torch.stack([zero, -angle, angle, zero], -1).reshape(R.shape)
    matrices = R.detach().double().cpu().reshape(-1, n, n).numpy()
    Y = torch.from_numpy(np.stack([_rotation_log(matrix) for matrix in matrices] or [np.zeros((0, n, n))]))
    Y = Y.to(R).reshape(R.shape)
    angle, W = torch.linalg.eigh(1j * Y)  # Y = −i W diag(angle) W†
    half = (angle[..., :, None] - angle[..., None, :]) / 2
    middle = (angle[..., :, None] + angle[..., None, :]) / 2
    slope = torch.polar(torch.sinc(half / math.pi), torch.zeros_like(half)) * torch.exp(-1j * middle)
    flat = slope.abs() < math.sqrt(torch.finfo(R.dtype).eps)
    inverse = torch.where(flat, 0, 1 / torch.where(flat, 1, slope))
    return _follow(Y, R, torch.linalg.matrix_exp, W, inverse)


def sinhc(x: Tensor) -> Tensor:
    """sinh(x) / x, one at zero; for values, not for derivatives."""
    small = x.abs() < 1e-4
    safe = torch.where(small, 1, x)
    return torch.where(small, 1 + x**2 / 6, torch.sinh(safe) / safe)


def _change(x: Tensor) -> Tensor:
    """Zero, with the derivatives of x."""
    return x - x.detach()


def _follow(log: Tensor, A: Tensor, exp: Callable[[Tensor], Tensor], U: Tensor, inverse: Tensor) -> Tensor:
    """`log`, a value with exp(log) = A, as a function of A: two chord steps make derivatives exact up to order two.

    U, inverse: eigenvectors of log, and the reciprocal divided differences of exp there.
    """

    def solve(M: Tensor) -> Tensor:
        """The inverse of the derivative of exp at log."""
        out = U @ ((U.mH @ M.to(U.dtype) @ U) * inverse) @ U.mH
        return out.real if out.is_complex() else out

    first = log + solve(_change(A))
    return first + solve(_change(A) - _change(exp(first)))


def _rotation_log(R: np.ndarray) -> np.ndarray:
    """One logarithm, by the real Schur form: blocks of rotations, ones, and an even number of minus ones."""
    T, Q = schur(R)
    n, Y, turned, i = len(T), np.zeros_like(T), [], 0
    while i < n:
        if i + 1 < n and T[i + 1, i] != 0:
            angle = math.atan2(T[i + 1, i] - T[i, i + 1], T[i, i] + T[i + 1, i + 1])
            Y[i + 1, i], Y[i, i + 1] = angle, -angle
            i += 2
        else:
            if T[i, i] < 0:
                turned.append(i)
            i += 1
    for a, b in zip(turned[::2], turned[1::2]):
        Y[b, a], Y[a, b] = math.pi, -math.pi
    return Q @ Y @ Q.T
