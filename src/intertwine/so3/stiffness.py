"""Tensors C_ijkl of elasticity as 6 x 6 matrices: Mandel's form, which turns by orthogonal matrices, and Voigt's.

Pairs of indices in the order 11, 22, 33, 23, 13, 12.
"""

from functools import lru_cache
from math import sqrt

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..groups import SE, SO, E, Group, O
from ..groups.group import Element
from ..reps import Action
from ..reps.action import check_batch
from .wigner import _frozen

_FIRST, _SECOND = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)
_PAIR = ((0, 5, 4), (5, 1, 3), (4, 3, 2))


@lru_cache(maxsize=1)
def mandel_basis() -> Float[np.ndarray, "6 3 3"]:
    """Orthonormal symmetric matrices: e1 e1, e2 e2, e3 e3, and (e2 e3 + e3 e2)/√2, ..; float64, cached, read-only."""
    basis = np.zeros((6, 3, 3))
    for k, (i, j) in enumerate(zip(_FIRST, _SECOND)):
        basis[k, i, j] = basis[k, j, i] = 1.0 if i == j else 1 / sqrt(2)
    return _frozen(basis)


def to_mandel(C: Float[Tensor, "*batch 3 3 3 3"]) -> Float[Tensor, "*batch 6 6"]:
    """Mandel's matrix of C_ijkl, its factors 1, √2 and 2: products and eigenvalues are those of the tensor.

    C = C_jikl = C_ijlk is trusted. Raises ValueError on the shape.
    """
    return to_voigt(C) * _factors(C)


def from_mandel(M: Float[Tensor, "*batch 6 6"]) -> Float[Tensor, "*batch 3 3 3 3"]:
    """The tensor C_ijkl of Mandel's matrix. Raises ValueError on the shape."""
    return from_voigt(M) / from_voigt(_factors(M))


def to_voigt(C: Float[Tensor, "*batch 3 3 3 3"]) -> Float[Tensor, "*batch 6 6"]:
    """Voigt's matrix of a stiffness, the entries of C_ijkl as they are; it multiplies strains with shears doubled.

    It turns by matrices that are not orthogonal, so its eigenvalues change with the frame: compute with Mandel's.
    Raises ValueError on the shape.
    """
    if C.shape[-4:] != (3, 3, 3, 3):
        raise ValueError(f"stiffness: a tensor of fourth order has shape [..., 3, 3, 3, 3], got {tuple(C.shape)}")
    rows = C[..., _FIRST, _SECOND, :, :]
    return rows[..., _FIRST, _SECOND]


def from_voigt(V: Float[Tensor, "*batch 6 6"]) -> Float[Tensor, "*batch 3 3 3 3"]:
    """The tensor C_ijkl of a stiffness in Voigt's form. Raises ValueError on the shape."""
    if V.shape[-2:] != (6, 6):
        raise ValueError(f"stiffness: its matrix has shape [..., 6, 6], got {tuple(V.shape)}")
    pair = torch.tensor(_PAIR, device=V.device)
    return V[..., pair[:, :, None, None], pair]


def directional_modulus(
    C: Float[Tensor, "*batch 3 3 3 3"], n: Float[Tensor, "directions 3"]
) -> Float[Tensor, "*batch directions"]:
    """C_ijkl n_i n_j n_k n_l: the stiffness against a stretch along n alone, for unit vectors n."""
    return torch.einsum("...ijkl,pi,pj,pk,pl->...p", C, n, n, n, n)


class Mandel(Action):
    """Mandel matrices, Float[Tensor, "*batch 6 6"]: M -> Q M Qᵀ with the orthogonal 6 x 6 matrix Q of a rotation.

    group: O(3), SO(3), E(3) or SE(3); inversion and translations do nothing. Raises ValueError for another group.
    """

    def __init__(self, group: Group):
        if group not in (O(3), SO(3), E(3), SE(3)):
            raise ValueError(f"Mandel: tensors of space turn under O(3), SO(3), E(3) or SE(3), not {group}")
        self.group = group

    def act(self, g: Element, x: Float[Tensor, "*batch 6 6"]) -> Float[Tensor, "*batch 6 6"]:
        """Turn every matrix. Raises ValueError on a wrong shape or batch."""
        if x.shape[-2:] != (6, 6):
            raise ValueError(f"{self}: the last two axes must be 6, the data has shape {tuple(x.shape)}")
        check_batch(self, g.shape[:-2], x.shape[:-2])
        R = self.group.linear_part(g) if isinstance(self.group, E) else g
        Q = self.matrix(R.to(x.device, x.dtype))
        Q = Q.reshape(*Q.shape[:-2], *[1] * (x.ndim - Q.ndim), 6, 6)
        return Q @ x @ Q.mT

    @staticmethod
    def matrix(g: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6 6"]:
        """The orthogonal matrix by which symmetric matrices turn, in the basis of `mandel_basis`."""
        basis = torch.tensor(mandel_basis(), dtype=g.dtype, device=g.device)
        return torch.einsum("aij,...ik,...jl,bkl->...ab", basis, g, g, basis)


def _factors(like: Tensor) -> Tensor:
    root = like.new_tensor([1.0, 1.0, 1.0, sqrt(2), sqrt(2), sqrt(2)])
    return root[:, None] * root
