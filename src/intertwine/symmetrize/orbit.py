"""How far a matrix is from a group, by what left multiplication leaves alone, and the way back to the group."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..groups import SL, SO, Group, Lorentz, O, S, Sp, U

STRETCH = 1e-300  # determinants below this are zero


def orbit_invariants(group: Group) -> Callable[[Float[Tensor, "*batch n n"]], Float[Tensor, "*batch q"]]:
    """Numbers P(M) with P(gM) = P(M) for g in the group, that are those of the identity only where M is in the group.

    O(n): MᵀM. SO(n): MᵀM and det M. Lorentz(p, q): MᵀηM, with det M for "proper" and "restricted"; they do not tell
    the direction of time, see `in_component`. Sp(n): MᵀωM. U(n): MᵀM and MᵀJM. SL(n): det M. S(n), for permutation
    matrices: Σ(row sum - 1)², Σ(column sum - 1)², ΣM²(1 - M)².
    Raises ValueError for any other group. Source: arXiv:2311.07143.
    """
    if type(group) is S:
        return _of_permutations
    if type(group) is SL:
        return lambda m: torch.linalg.det(m)[..., None]
    kept = list(zip(forms(group), skew(group)))
    with_det = isinstance(group, SO) or (isinstance(group, Lorentz) and group.component in ("proper", "restricted"))

    def invariants(m: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch q"]:
        found = [gram(m, *form) for form in kept]
        return torch.cat([*found, torch.linalg.det(m)[..., None]] if with_det else found, -1)

    return invariants


def orbit_distance(m: Float[Tensor, "*batch n n"], group: Group, p: Literal[1, 2] = 1) -> Float[Tensor, "*batch"]:
    """Σ|P(M) - P(1)|ᵖ over `orbit_invariants`: 0 where M is in the group, the same for M and gM, smooth for p = 2.

    Raises ValueError for another p or group.
    """
    if p not in (1, 2):
        raise ValueError(f"orbit_distance: p must be 1 or 2, got {p!r}")
    invariants = orbit_invariants(group)
    gap = invariants(m) - invariants(torch.eye(m.shape[-1], dtype=m.dtype, device=m.device))
    return gap.abs().sum(-1) if p == 1 else gap.square().sum(-1)


def forms(group: Group) -> list[Float[Tensor, "n n"]]:
    """The bilinear forms J with gᵀJg = J that make up the group, float64. Raises ValueError for other groups."""
    if type(group) in (O, SO):
        return [torch.eye(group.n, dtype=torch.float64)]
    if type(group) in (Lorentz, Sp):
        return [group.form()]
    if type(group) is U:
        return [torch.eye(group.dim_V, dtype=torch.float64), group.complex_structure()]
    raise ValueError(
        f"no invariants are known that tell {group} from other matrices; there are those of O(n), SO(n), "
        "Lorentz(p, q), Sp(n), U(n), and for distances SL(n) and S(n)"
    )


def skew(group: Group) -> list[bool]:
    """Which of the `forms` are antisymmetric."""
    return {Sp: [True], U: [False, True]}.get(type(group), [False])


def gram(
    x: Float[Tensor, "*batch n k"], form: Float[Tensor, "n n"], antisymmetric: bool
) -> Float[Tensor, "*batch pairs"]:
    """The entries xᵢᵀJxⱼ, i ≤ j, of columns; i < j for an antisymmetric form."""
    i, j = torch.triu_indices(x.shape[-1], x.shape[-1], int(antisymmetric), device=x.device)
    return (x.mT @ form.to(x) @ x)[..., i, j]


def in_component(m: Float[Tensor, "*batch n n"], group: Group) -> Bool[Tensor, "*batch"]:
    """Whether the determinants that tell the components of SO(n) and Lorentz(p, q) have the signs of the group."""
    minus, plus = _signs(m, group)
    return ~(minus | plus)


def retract(
    m: Float[Tensor, "*batch n n"], group: Group, steps: int = 12, tol: float = 1e-12
) -> tuple[Float[Tensor, "*batch n n"], Bool[Tensor, "*batch"]]:
    """The element of the group that Newton's M ← (M + J⁻¹M⁻ᵀJ)/2 reaches from M, and whether it did.

    It commutes with left multiplication by the group and converges quadratically; for O(n) the limit is the polar
    factor. The wrong component is left by reflecting an axis, also on the right. M that does not come to within
    tol·(1 + size²) (float32: 1e-5) of the group in `steps` is given back, its gradient too; M need not be finite.
    Raises ValueError for groups that keep no form, but for SL(n): M is divided by the root of its determinant.
    """
    tol = max(tol, 100 * torch.finfo(m.dtype).eps) if m.dtype != torch.float64 else tol
    walk = _rescaled if type(group) is SL else _newton
    with torch.no_grad():
        reached = walk(m.detach(), group, steps)
        size = reached.square().sum((-1, -2))
        if type(group) is SL:
            off = (torch.linalg.det(torch.where(torch.isfinite(reached), reached, 0)) - 1).abs()
        else:
            off = torch.stack([(reached.mT @ J.to(m) @ reached - J.to(m)).abs().amax((-1, -2)) for J in forms(group)])
            off = off.amax(0)
        arrived = torch.isfinite(size) & (off <= tol * (1 + size))
    safe = torch.where(arrived[..., None, None], m, torch.eye(m.shape[-1], dtype=m.dtype, device=m.device))
    g = walk(safe, group, steps)
    minus, plus = _signs(g, group)
    for wrong, axis in ((plus, 0), (minus, -1)):
        flip = torch.ones(m.shape[-1], dtype=m.dtype, device=m.device)
        flip[axis] = -1
        g = torch.where(wrong[..., None, None], g * flip, g)
    return torch.where(arrived[..., None, None], g, m), arrived


def _newton(m: Tensor, group: Group, steps: int) -> Tensor:
    J = forms(group)[0].to(m)
    if type(group) is U:  # the part that commutes with i, first
        i = group.complex_structure().to(m)
        m = (m - i @ m @ i) / 2
    back = torch.linalg.inv(J)
    m = m * torch.linalg.det(m).abs().pow(-1 / m.shape[-1])[..., None, None]
    for _ in range(steps):
        m = (m + back @ torch.linalg.inv_ex(m).inverse.mT @ J) / 2
    return m


def _rescaled(m: Tensor, group: Group, steps: int) -> Tensor:
    """M divided by the n-th root of its determinant, where there is one."""
    det, n = torch.linalg.det(m), m.shape[-1]
    root = det.abs().clamp_min(STRETCH).pow(1 / n) * det.sign() ** (n % 2)
    return m / torch.where(det == 0, torch.inf, root)[..., None, None]


def _signs(m: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """Whether the last, and whether the first axis is to be reflected to come into the component of the group."""
    none = torch.zeros(m.shape[:-2], dtype=torch.bool, device=m.device)
    with torch.no_grad():
        if isinstance(group, SO):
            return torch.linalg.det(m) < 0, none
        if not isinstance(group, Lorentz) or group.component == "full":
            return none, none
        plus = torch.linalg.det(m[..., : group.p, : group.p]) < 0
        minus = torch.linalg.det(m[..., group.p :, group.p :]) < 0
        if group.component == "proper":
            return plus != minus, none
        return (minus if group.component == "restricted" else none), plus


def _of_permutations(m: Tensor) -> Tensor:
    rows, columns = (m.sum(-1) - 1).square().sum(-1), (m.sum(-2) - 1).square().sum(-1)
    return torch.stack([rows, columns, (m * (1 - m)).square().sum((-1, -2))], -1)
