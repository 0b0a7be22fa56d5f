"""Decompositions of GL⁺(n), SL(n) and affine groups: coordinates for every element, where exp does not reach all.

The polar decomposition g = exp(X) R, with X symmetric and R a rotation, is unique and smooth, and both factors have a
logarithm; an element such as −diag(2, ½) has no real one. Lie Group Decompositions for Equivariant Neural Networks,
arXiv:2310.11366, section 3.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .group import Group
from .matrix import SO, E
from .matrix_log import log_rotation, polar_parts
from .noncompact import SL, GLPlus


def polar(g: Float[Tensor, "*batch n n"]) -> tuple[Float[Tensor, "*batch n n"], Float[Tensor, "*batch n n"]]:
    """(P, R) with g = P R, P symmetric and positive, R a rotation: unique, and smooth in g.

    Raises ValueError unless det g > 0. arXiv:2310.11366, section 3.1.
    """
    X, R = polar_log(g)
    return torch.linalg.matrix_exp(X), R


def polar_log(g: Float[Tensor, "*batch n n"]) -> tuple[Float[Tensor, "*batch n n"], Float[Tensor, "*batch n n"]]:
    """(X, R) with g = exp(X) R: X = ½ log(g gᵀ) symmetric, R a rotation. Derivatives up to order two are exact.

    Raises ValueError unless det g > 0.
    """
    check("polar_log", g)
    return polar_parts(g)


def iwasawa(
    g: Float[Tensor, "*batch n n"],
) -> tuple[Float[Tensor, "*batch n n"], Float[Tensor, "*batch n n"], Float[Tensor, "*batch n n"]]:
    """(K, A, N) with g = K A N: a rotation, a positive diagonal, an upper triangle with ones on its diagonal.

    Raises ValueError unless det g > 0.
    """
    check("iwasawa", g)
    K, T = torch.linalg.qr(g)
    diagonal = T.diagonal(dim1=-2, dim2=-1)
    sign = diagonal.sign()
    return K * sign[..., None, :], torch.diag_embed(diagonal.abs()), T / diagonal[..., :, None]


def cartan(
    g: Float[Tensor, "*batch n n"],
) -> tuple[Float[Tensor, "*batch n n"], Float[Tensor, "*batch n"], Float[Tensor, "*batch n n"]]:
    """(K1, a, K2) with g = K1 exp(diag(a)) K2: rotations, and the logarithms of the singular values, descending.

    K1 and K2 are not unique, so derivatives exist only where the singular values differ; use `polar_log` for them.
    Raises ValueError unless det g > 0.
    """
    check("cartan", g)
    U, s, Vh = torch.linalg.svd(g)
    # det U = det V = −1 is mended by turning the same axis in both.
    flip = torch.ones_like(s)
    flip[..., -1] = torch.linalg.det(U).sign()
    return U * flip[..., None, :], s.log(), flip[..., :, None] * Vh


def coordinates(g: Float[Tensor, "*batch m m"], group: Group | None = None) -> Float[Tensor, "*batch dim"]:
    """Coordinates ξ⁻¹(g) = (X, Y) of g = exp(X) exp(Y), X symmetric, Y antisymmetric with angles in (−π, π].

    `group`: GLPlus(n) (the default, n² numbers), SL(n) (n² − 1) or SO(n); for Affine(n) and SE(n) the translation comes
    first. Numbers in the orthonormal basis E_ii, (E_ij + E_ji)/√2, (E_ji − E_ij)/√2; for SL(n) the diagonal has trace
    zero. In the plane the last number is √2 θ. Derivatives up to order two are exact and finite, also at the identity,
    at equal singular values and at angle π. Raises ValueError for an element outside the group.
    arXiv:2310.11366, section 3.
    """
    group = group or GLPlus(g.shape[-1])
    check("coordinates", g, group)
    if isinstance(group, E):
        return torch.cat([group.translation_part(g), coordinates(group.linear_part(g), group.linear)], -1)
    X, R = polar_parts(g)
    return vee(X, log_rotation(R), *(torch.from_numpy(basis.copy()).to(g) for basis in bases(group)))


def from_coordinates(v: Float[Tensor, "*batch dim"], group: Group | None = None) -> Float[Tensor, "*batch m m"]:
    """The element ξ(v) = exp(X) exp(Y) with the given coordinates; see `coordinates`.

    Raises ValueError unless v holds as many numbers as the group has dimensions.
    """
    group = group or GLPlus(math.isqrt(v.shape[-1]))
    symmetric, antisymmetric = (torch.from_numpy(basis.copy()).to(v) for basis in bases(group))
    shift = group.n if isinstance(group, E) else 0
    lengths = [shift, len(symmetric), len(antisymmetric)]
    if v.shape[-1] != sum(lengths):
        raise ValueError(f"from_coordinates: {group} has {sum(lengths)} coordinates, got {tuple(v.shape)}")
    translation, x, y = v.split(lengths, -1)
    X, Y = torch.einsum("...d,dij->...ij", x, symmetric), torch.einsum("...d,dij->...ij", y, antisymmetric)
    g = torch.linalg.matrix_exp(X) @ torch.linalg.matrix_exp(Y)
    return group.element(g, translation) if shift else g


def vee(X: Tensor, Y: Tensor, symmetric: Tensor, antisymmetric: Tensor) -> Tensor:
    """The numbers of a symmetric and an antisymmetric matrix in orthonormal bases [d, n, n]."""
    parts = ((X, symmetric), (Y, antisymmetric))
    return torch.cat([torch.einsum("...ij,dij->...d", M, basis) for M, basis in parts], -1)


@lru_cache(maxsize=32)
def bases(group: Group) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal bases of the symmetric and the antisymmetric linear maps in the Lie algebra, float64 [d, n, n]."""
    linear = linear_group(group)
    n, (i, j) = linear.n, np.triu_indices(linear.n, 1)
    diagonal = np.eye(n)
    if isinstance(linear, SL):  # (1, .., 1, −k, 0, ..) for k = 1 .. n−1
        rows = [[1.0] * k + [-float(k)] + [0.0] * (n - k - 1) for k in range(1, n)]
        diagonal = np.array(rows).reshape(n - 1, n)
        diagonal /= np.linalg.norm(diagonal, axis=1, keepdims=True)
    upper = np.zeros((len(i), n, n))
    upper[range(len(i)), i, j] = math.sqrt(0.5)
    lower = upper.swapaxes(1, 2)
    symmetric = np.concatenate([diagonal[:, :, None] * np.eye(n), upper + lower])
    return symmetric[: 0 if isinstance(linear, SO) else None], lower - upper


def linear_group(group: Group) -> Group:
    """The group of linear parts. Raises ValueError unless this file has coordinates for the group."""
    linear = group.linear if isinstance(group, E) else group
    if type(linear) not in (GLPlus, SL, SO):
        raise ValueError(f"{group} has no polar coordinates here; give GLPlus(n), SL(n), SO(n), Affine(n) or SE(n)")
    return linear


def check(name: str, g: Tensor, group: Group | None = None) -> None:
    """Raise ValueError unless g are square matrices of positive determinant, and inside the group where it is given."""
    if g.ndim < 2 or g.shape[-1] != g.shape[-2] or not g.is_floating_point():
        raise ValueError(f"{name}: needs real square matrices [..., n, n], got {g.dtype} {tuple(g.shape)}")
    if not bool((torch.linalg.det(g.detach()) > 0).all()):
        raise ValueError(f"{name}: an element has no positive determinant; GLPlus({g.shape[-1]}) does not hold it")
    if group is not None:
        linear_group(group)
        if not group.contains(g.detach(), 1e-6 if g.dtype == torch.float64 else 1e-3):
            raise ValueError(f"{name}: an element {tuple(g.shape)} does not belong to {group}")
