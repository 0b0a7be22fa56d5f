"""Functions that make symmetric matrices positive semi-definite and turn with them: stiffnesses, covariances."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

LARGEST_NORM = 50.0  # exp of more leaves the range where float32 can be squared and differentiated


def _exp_half(M: Tensor) -> Tensor:
    square = M.square().sum((-1, -2), keepdim=True).clamp(min=LARGEST_NORM**2)  # a norm has no derivative at zero
    return torch.linalg.matrix_exp(0.5 * LARGEST_NORM * square.rsqrt() * M)


def _plus_one(M: Tensor, part: float) -> Tensor:
    return torch.eye(M.shape[-1], dtype=M.dtype, device=M.device) + part * M


ROOTS: dict[str, Callable[[Tensor], Tensor]] = {
    "square": lambda M: M,
    "fourth": lambda M: M @ M,
    "exp": _exp_half,
    "trunc_exp_2": lambda M: _plus_one(M, 0.5),
    "trunc_exp_4": lambda M: _plus_one(M, 0.25) @ _plus_one(M, 0.25),
}


class PositiveMatrix(nn.Module):
    """f(M) of symmetric matrices [..., n, n], positive semi-definite, with f(Q M Qᵀ) = Q f(M) Qᵀ for orthogonal Q.

    kind: "square" M², "fourth" M⁴, "exp" exp(M), "trunc_exp_2" (1 + M/2)², "trunc_exp_4" (1 + M/4)⁴. Each is the square
    of a symmetric matrix, so rounding alone can make an eigenvalue negative; the result is symmetric bit for bit, and
    derivatives exist where eigenvalues coincide. "exp" scales M down to Frobenius norm 50 where it is larger.
    Raises ValueError for another kind, and in forward for a matrix that is not square. Source: arXiv:2401.16914, eq. 5.
    """

    def __init__(self, kind: str = "square"):
        super().__init__()
        if kind not in ROOTS:
            raise ValueError(f"PositiveMatrix: kind must be one of {', '.join(ROOTS)}, got {kind!r}")
        self.kind = kind

    def extra_repr(self) -> str:
        """The function."""
        return self.kind

    def forward(self, M: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
        """f(M). M is trusted to be symmetric."""
        if M.ndim < 2 or M.shape[-1] != M.shape[-2]:
            raise ValueError(f"PositiveMatrix: square matrices [..., n, n] are needed, got shape {tuple(M.shape)}")
        root = ROOTS[self.kind](M)
        square = root @ root.mT
        return 0.5 * (square + square.mT)
