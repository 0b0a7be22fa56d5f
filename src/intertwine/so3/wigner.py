"""How degree-l features turn: Clebsch-Gordan tensors, generators and Wigner matrices, built from exact integers.

Conventions (those of e3nn): polar axis y, orders m = -l..l, degree 1 is (x, y, z) and D¹(R) = R. Constants are
float64 NumPy, cached and read-only.
"""

from functools import lru_cache
from math import comb, factorial, sqrt

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..maps.constants import known_to_compilers
from ..reps import Rep
from .rotations import angles_to_matrix


def check_degree(name: str, *degrees: int) -> None:
    """Raise ValueError unless every degree is an integer of at least 0."""
    for l in degrees:
        if isinstance(l, bool) or not isinstance(l, int) or l < 0:
            raise ValueError(f"{name}: a degree must be an integer of at least 0, got {l!r}")


def _frozen(x: np.ndarray) -> np.ndarray:
    x.setflags(write=False)
    return x


@lru_cache(maxsize=64)
def _real_to_complex(l: int) -> tuple[np.ndarray, np.ndarray]:
    """Entries (±1, ±i) and column scales (1, 1/√2) of the unitary q, complex = q real; orders run -l..l both ways.

    Kept apart, because 1/√2 squared is not ½ in floating point.
    """
    q = np.zeros((2 * l + 1, 2 * l + 1), dtype=np.complex128)
    q[l, l] = 1
    for m in range(1, l + 1):
        q[l - m, l + m], q[l - m, l - m] = 1, -1j
        q[l + m, l + m], q[l + m, l - m] = (-1) ** m, 1j * (-1) ** m
    return q * (1, -1j, -1, 1j)[l % 4], (np.arange(-l, l + 1) != 0).astype(int)


@lru_cache(maxsize=64, typed=True)
def generators(l: int) -> np.ndarray:
    """Generators G_x, G_y, G_z of degree l, [3, 2l+1, 2l+1]: d/dθ D(exp(θ e_k)) at 0.

    Real, antisymmetric, [G_x, G_y] = G_z. Raises ValueError for a degree below 0.
    """
    check_degree("generators", l)
    m = np.arange(-l, l)
    up = np.diag([sqrt(l * (l + 1) - int(k) * (int(k) + 1)) for k in m], -1).astype(np.complex128)
    jx, jy, jz = (up + up.T) / 2, (up - up.T) / 2j, np.diag(np.arange(-l, l + 1)).astype(np.complex128)
    q, halved = _real_to_complex(l)
    q = q / np.sqrt(2.0) ** halved
    # the complex basis is quantised along our y; complex order m turns by e^{imα} there
    return _frozen(np.stack([(q.conj().T @ (1j * j) @ q).real for j in (-jy, jz, jx)]) + 0.0)


def _su2(l1: int, m1: int, l2: int, m2: int, l3: int) -> float:
    """<l1 m1 l2 m2 | l3 m1+m2> by Racah's formula in integers: one rounding, in the last division and root."""
    m3, a, b, c = m1 + m2, l1 + l2 - l3, l1 + l3 - l2, l2 + l3 - l1
    total = sum(
        (-1) ** k * comb(a, k) * comb(b, l1 - m1 - k) * comb(c, l2 + m2 - k)
        for k in range(max(0, l1 - m1 - b, l2 + m2 - c), min(a, l1 - m1, l2 + m2) + 1)
    )
    above = (2 * l3 + 1) * total * total
    for l, m in ((l1, m1), (l2, m2), (l3, m3)):
        above *= factorial(l - m) * factorial(l + m)
    below = factorial(l1 + l2 + l3 + 1) * factorial(a) * factorial(b) * factorial(c)
    return (1 if total > 0 else -1) * sqrt(above / below)


@lru_cache(maxsize=1024, typed=True)
def clebsch_gordan(l1: int, l2: int, l3: int) -> np.ndarray:
    """Real Clebsch-Gordan tensor [2l1+1, 2l2+1, 2l3+1] of Frobenius norm 1: the invariant of l1 ⊗ l2 ⊗ l3.

    Equals e3nn's `wigner_3j`, sign included: C[1,1,1] = ε/√6, C[1,1,0] = δ/√3. All zero where |l1-l2| <= l3 <= l1+l2
    fails. Float64, cached, read-only. Raises ValueError for a degree below 0.
    """
    check_degree("clebsch_gordan", l1, l2, l3)
    C = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        return _frozen(C)
    coupled = np.zeros(C.shape, dtype=np.complex128)
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            coupled[l1 + m1, l2 + m2, l3 + m1 + m2] = _su2(l1, m1, l2, m2, l3)
    (q1, h1), (q2, h2), (q3, h3) = (_real_to_complex(l) for l in (l1, l2, l3))
    C = np.einsum("mi,nj,pk,mnp->ijk", q1, q2, q3.conj(), coupled, optimize=True).real
    C[np.abs(C) < 1e-14] = 0  # zeros of the selection rules, hit only to rounding
    C *= 2.0 ** (-(h1[:, None, None] + h2[:, None] + h3) / 2)
    return _frozen(C / sqrt(2 * l3 + 1))  # its Frobenius norm: one column for each order of l3


@known_to_compilers
def _climb(l: int) -> tuple[tuple[float, ...], ...]:
    """Isometry [2l+1, (2l-1)·3] from degree (l-1) ⊗ 1 onto degree l, as numbers: a compiler takes it as a constant."""
    C = clebsch_gordan(l - 1, 1, l).reshape(-1, 2 * l + 1) * sqrt(2 * l + 1)
    return tuple(map(tuple, C.T.tolist()))


def wigner_blocks(lmax: int, R: Float[Tensor, "*batch 3 3"]) -> list[Tensor]:
    """D^0, ..., D^lmax of R, each [*batch, 2l+1, 2l+1]; see `wigner_D`."""
    check_degree("wigner_D", lmax)
    if R.shape[-2:] != (3, 3):
        raise ValueError(f"wigner_D: a rotation has shape [..., 3, 3], got {tuple(R.shape)}")
    blocks = [torch.ones_like(R[..., :1, :1])]
    for l in range(1, lmax + 1):
        if l == 1:
            blocks.append(R)
            continue
        climb = torch.tensor(_climb(l), dtype=R.dtype, device=R.device)
        D = blocks[-1]
        pairs = D[..., :, None, :, None] * R[..., None, :, None, :]
        pairs = pairs.reshape(*R.shape[:-2], 3 * (2 * l - 1), 3 * (2 * l - 1))
        blocks.append(climb @ pairs @ climb.mT)
    return blocks


def wigner_D(l: int | Rep, R: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch m m"]:
    """The matrix of degree l of a rotation: Y_l(R r) = D(R) Y_l(r), D(R S) = D(R) D(S), D¹(R) = R.

    Dˡ is built from Dˡ⁻¹ ⊗ R, a polynomial in the entries of R: no angle, no singular direction, differentiable. For
    an improper R it is what the harmonics do, parity (-1)ˡ; other parities through `Irreps.matrix`. R is not checked
    to be orthogonal. `l` may also be `Irreps`: then the block-diagonal matrix of the whole feature, [*batch, dim, dim].
    Raises ValueError for a degree below 0 or a wrong shape.
    """
    if isinstance(l, Rep):
        return l.matrix(R, R.dtype)
    return wigner_blocks(l, R)[-1]


def wigner_D_from_angles(
    l: int, alpha: Float[Tensor, "*#batch"], beta: Float[Tensor, "*#batch"], gamma: Float[Tensor, "*#batch"]
) -> Float[Tensor, "... m m"]:
    """`wigner_D` of R_y(alpha) R_x(beta) R_y(gamma), in radians."""
    return wigner_D(l, angles_to_matrix(alpha, beta, gamma))
