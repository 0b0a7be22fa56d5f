"""n vectors as a rotation, the same way wherever they point: Gram-Schmidt, or the nearest rotation."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def polar(
    M: Float[Tensor, "*batch n n"], special: bool, eps: float = 1e-8
) -> tuple[Float[Tensor, "*batch n n"], Bool[Tensor, "*batch"]]:
    """The rotation (special) or orthogonal matrix nearest to M, and where it is not determined.

    With singular values s, the smallest with the sign of det M if special, it is not where s_i + s_j ≤ eps·(the
    largest) for some i ≠ j: the matrix is then one of the nearest, and has no gradient in that plane. Right to two
    derivatives, finite everywhere. Non-finite M give the identity.
    """
    with torch.no_grad():
        there = torch.isfinite(M).all(-1).all(-1)[..., None, None]
        identity = torch.eye(M.shape[-1], dtype=M.dtype, device=M.device)
        U, s, Wh = torch.linalg.svd(torch.where(there, M, identity))
        if special:
            sign = torch.linalg.det(U) * torch.linalg.det(Wh)
            turn = torch.cat([torch.ones_like(s[..., 1:]), sign[..., None]], -1)
            U, s = U * turn[..., None, :], s * turn
        R = U @ Wh
        pairs = s[..., :, None] + s[..., None, :]
        largest = s.abs().amax(-1)[..., None, None]
        clear = (pairs > eps * largest) & there
        stiffness = torch.where(clear, 1 / torch.where(clear, pairs, 1), 0)
        closed = ~clear & ~torch.eye(M.shape[-1], dtype=torch.bool, device=M.device)
        if not special:  # a vanishing singular value leaves a sign open
            closed = closed | (s.amin(-1)[..., None, None] <= eps * largest)
        undetermined = closed.any(-1).any(-1) | ~there[..., 0, 0]
    M = torch.where(there, M, identity)
    # The derivative of an SVD divides by s_i - s_j, that of R only by s_i + s_j. Each step below changes no value, and
    # makes one more derivative of the condition "RᵀM is symmetric" right.
    for _ in range(2):
        skew = Wh @ (R.mT @ M) @ Wh.mT
        half = Wh.mT @ ((skew - skew.mT) * stiffness) @ Wh / 2
        R = R @ torch.linalg.solve(identity - half, identity + half)
    return R, undetermined


def gram_schmidt(
    M: Float[Tensor, "*batch n n"], special: bool, eps: float = 1e-8
) -> tuple[Float[Tensor, "*batch n n"], Bool[Tensor, "*batch"]]:
    """The columns of M made orthonormal one after the other, and where a column depended on those before it.

    special: the last column is not read but completes a rotation. A column that depends on the earlier ones, to
    eps·(the norm of M), is replaced by the axis that is most independent of them, without gradient.
    """
    n = M.shape[-1]
    there = torch.isfinite(M).all(-1).all(-1)
    M = torch.where(there[..., None, None], M, 0)
    size = M.detach().square().sum((-1, -2)).sqrt()
    columns: list[Tensor] = []
    dependent = ~there
    for i in range(n - special):
        v = _without(M[..., i], columns)
        small = v.detach().square().sum(-1).sqrt() <= eps * size
        dependent = dependent | small
        v = torch.where(small[..., None], _spare(columns, M), v)
        v = _without(v / v.square().sum(-1, keepdim=True).sqrt(), columns)
        columns.append(v / v.square().sum(-1, keepdim=True).sqrt())
    if special:
        identity = torch.eye(n, dtype=M.dtype, device=M.device).expand(M.shape)
        columns.append(
            torch.stack([torch.linalg.det(torch.stack([*columns, identity[..., i]], -1)) for i in range(n)], -1)
        )
    return torch.stack(columns, -1), dependent


def _without(v: Tensor, columns: list[Tensor]) -> Tensor:
    """v less its parts along orthonormal columns."""
    for c in columns:
        v = v - (c * v).sum(-1, keepdim=True) * c
    return v


def _spare(columns: list[Tensor], M: Tensor) -> Tensor:
    """The axis that has the smallest part along orthonormal columns."""
    along = torch.stack([c.detach().square() for c in columns], -1).sum(-1) if columns else torch.zeros_like(M[..., 0])
    axis = torch.nn.functional.one_hot(along.argmin(-1), M.shape[-1]).to(M)
    return _without(axis, [c.detach() for c in columns])
