"""Rotations of space in the forms people hold them: matrices, quaternions, axis and angle, y-x-y Euler angles."""

import torch
from jaxtyping import Float
from torch import Tensor


def random_rotation(
    *batch: int, generator: torch.Generator, dtype: torch.dtype = torch.float64, device="cpu"
) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices drawn uniformly (Haar): a Gaussian 4-vector, normalised, is a uniform unit quaternion."""
    q = torch.randn(*batch, 4, generator=generator, dtype=torch.float64, device=generator.device)
    return quaternion_to_matrix(q).to(device, dtype)


def quaternion_to_matrix(q: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of a quaternion (w, x, y, z); any non-zero length, q and -q give the same matrix."""
    w, x, y, z = (q / torch.linalg.vector_norm(q, dim=-1, keepdim=True)).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def matrix_to_quaternion(R: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion (w, x, y, z), w >= 0, of a rotation matrix; accurate at every angle, half turns included.

    Row i of the symmetric matrix 4 q qᵀ, read off from R, is 4 q_i q: the row of the largest q_i is divided.
    """
    m = [[R[..., i, j] for j in range(3)] for i in range(3)]
    ww, xx = 1 + m[0][0] + m[1][1] + m[2][2], 1 + m[0][0] - m[1][1] - m[2][2]
    yy, zz = 1 - m[0][0] + m[1][1] - m[2][2], 1 - m[0][0] - m[1][1] + m[2][2]
    wx, wy, wz = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    xy, xz, yz = m[1][0] + m[0][1], m[2][0] + m[0][2], m[2][1] + m[1][2]
    rows = [[ww, wx, wy, wz], [wx, xx, xy, xz], [wy, xy, yy, yz], [wz, xz, yz, zz]]
    outer = torch.stack([torch.stack(row, -1) for row in rows], -2)
    largest = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None].expand(*outer.shape[:-2], 1, 4)
    q = outer.gather(-2, largest).squeeze(-2)
    q = q / torch.linalg.vector_norm(q, dim=-1, keepdim=True)
    return torch.where(q[..., :1] < 0, -q, q)


def axis_angle_to_matrix(
    axis: Float[Tensor, "*batch 3"], angle: Float[Tensor, "*batch"] | float
) -> Float[Tensor, "*batch 3 3"]:
    """Rotation by `angle` (radians, right-handed) about `axis`, which need not have length one."""
    axis = axis / torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    angle = torch.as_tensor(angle, dtype=axis.dtype, device=axis.device).expand(axis.shape[:-1])
    return quaternion_to_matrix(torch.cat([(angle / 2).cos()[..., None], (angle / 2).sin()[..., None] * axis], -1))


def matrix_to_axis_angle(
    R: Float[Tensor, "*batch 3 3"],
) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch"]]:
    """Unit axis and angle in [0, pi] of a rotation matrix; the axis of the identity is y."""
    q = matrix_to_quaternion(R)
    length = torch.linalg.vector_norm(q[..., 1:], dim=-1)
    angle = 2 * torch.atan2(length, q[..., 0])
    still = (length == 0)[..., None]
    pole = torch.tensor([0.0, 1.0, 0.0], dtype=R.dtype, device=R.device)
    return torch.where(still, pole, q[..., 1:] / torch.where(still, 1.0, length[..., None])), angle


def angles_to_matrix(
    alpha: Float[Tensor, "*#batch"], beta: Float[Tensor, "*#batch"], gamma: Float[Tensor, "*#batch"]
) -> Float[Tensor, "... 3 3"]:
    """R = R_y(alpha) R_x(beta) R_y(gamma), radians: e3nn's Euler angles, y being the polar axis."""
    alpha, beta, gamma = torch.broadcast_tensors(alpha, beta, gamma)
    return _about_y(alpha) @ _about_x(beta) @ _about_y(gamma)


def matrix_to_angles(
    R: Float[Tensor, "*batch 3 3"],
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """The angles (alpha, beta, gamma) of `angles_to_matrix`, beta in [0, pi]; at the poles alpha is 0."""
    x, y, z = R[..., :, 1].unbind(-1)
    rho = torch.hypot(x, z)
    polar = rho < 4 * torch.finfo(R.dtype).eps
    alpha = torch.where(polar, 0.0, torch.atan2(x, z))
    beta = torch.atan2(rho, y)
    rest = (_about_y(alpha) @ _about_x(beta)).mT @ R  # a turn about y, whatever alpha was chosen
    return alpha, beta, torch.atan2(rest[..., 0, 2], rest[..., 0, 0])


def _about_y(angle: Tensor) -> Tensor:
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([c, zero, s, zero, one, zero, -s, zero, c], -1).unflatten(-1, (3, 3))


def _about_x(angle: Tensor) -> Tensor:
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([one, zero, zero, zero, c, -s, zero, s, c], -1).unflatten(-1, (3, 3))


def geodesic_distance(R: Float[Tensor, "*#batch 3 3"], S: Float[Tensor, "*#batch 3 3"]) -> Float[Tensor, "..."]:
    """The angle in [0, pi] of the rotation from R to S (radians), accurate near 0 and near pi."""
    T = R.mT @ S
    twist = torch.stack([T[..., 2, 1] - T[..., 1, 2], T[..., 0, 2] - T[..., 2, 0], T[..., 1, 0] - T[..., 0, 1]], -1)
    return torch.atan2(torch.linalg.vector_norm(twist, dim=-1), T.diagonal(dim1=-2, dim2=-1).sum(-1) - 1)


def procrustes(
    x: Float[Tensor, "*batch points 3"],
    y: Float[Tensor, "*batch points 3"],
    weights: Float[Tensor, "*batch points"] | None = None,
) -> tuple[Float[Tensor, "*batch 3 3"], Float[Tensor, "*batch 3"]]:
    """The rotation R and shift t that bring x onto y: least squares of w |R x + t - y|² (Kabsch, 1976).

    Proper rotations only. Raises ValueError when the shapes of x and y differ.
    """
    if x.shape != y.shape:
        raise ValueError(f"procrustes: x has shape {tuple(x.shape)}, y has {tuple(y.shape)}; pair the points first")
    w = torch.ones_like(x[..., 0]) if weights is None else weights
    w = (w / w.sum(-1, keepdim=True))[..., None]
    x_mean, y_mean = (w * x).sum(-2), (w * y).sum(-2)
    U, _, Vh = torch.linalg.svd((w * (y - y_mean[..., None, :])).mT @ (x - x_mean[..., None, :]))
    sign = torch.linalg.det(U @ Vh)
    flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], -1)
    R = (U * flip[..., None, :]) @ Vh
    return R, y_mean - (R @ x_mean[..., None]).squeeze(-1)
