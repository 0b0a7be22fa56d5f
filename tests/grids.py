"""The groups that every law is tested on, and how elements of any of them are compared."""

import torch

from intertwine.groups import (
    GL,
    SE,
    SL,
    SO,
    SU,
    A,
    Affine,
    Automorphism,
    Cyclic,
    Dihedral,
    E,
    GLPlus,
    Group,
    Lorentz,
    MatrixGroup,
    O,
    PermutationGroup,
    Power,
    S,
    Sp,
    Trivial,
    U,
    Wreath,
)
from intertwine.groups.product import parts

FINITE = [
    *(S(1), S(2), S(4), A(1), A(2), A(3), A(4), Cyclic(1), Cyclic(2), Cyclic(5), Cyclic(6)),
    *(Dihedral(1), Dihedral(2), Dihedral(3), Dihedral(6), Trivial(), Trivial(3), O(1), SO(1), SL(1)),
    *(S(3) * Cyclic(2), (Dihedral(2) * O(1)) * A(3)),
    *(SU(1), Wreath(Cyclic(2), 2), Wreath(O(1), 3), Wreath(S(3), 2), Wreath(Cyclic(2) * Cyclic(1), 2)),
    *(PermutationGroup("(2)"), PermutationGroup("(0 1 2)(3 4), (0 1)(5)"), PermutationGroup("(0 1 2 3), (0 2)")),
    *(Automorphism("0-1 1-2 2-3 3-0"), Automorphism("0>1 1>2 2>0 4") * S(2)),
]
LIE = [
    *(O(2), O(3), SO(2), SO(3), SO(4), Sp(2), Sp(4), SL(2), SL(3), GLPlus(1), GLPlus(2), E(1), E(3), SE(1), SE(2)),
    *(Lorentz(1, 3, component) for component in ("full", "proper", "orthochronous", "restricted")),
    *(Lorentz(1, 1), Lorentz(2, 1, "proper"), S(3) * SO(3), O(2) * Sp(2), (E(1) * Dihedral(3)) * SO(2)),
    *(GL(1), GL(2), U(1), U(2), SU(2), Affine(1), Affine(2), Power(SO(2), 2), Wreath(O(2), 2), Wreath(Sp(2), 2)),
    MatrixGroup(lie_algebra=SO(3).lie_algebra(), generators=-torch.eye(3)[None]),
]
GROUPS = FINITE + LIE


def seeded(seed: int = 0) -> torch.Generator:
    """A generator with a fixed seed."""
    return torch.Generator().manual_seed(seed)


def tensors(g) -> tuple[torch.Tensor, ...]:
    """The tensors an element is made of."""
    return tuple(x for part in g for x in tensors(part)) if isinstance(g, tuple) else (g,)


def distance(group: Group, a, b) -> float:
    """The largest difference between the entries of two batches of elements, which must have one shape."""
    assert group.batch_shape(a) == group.batch_shape(b)
    return max((float((x - y).abs().max()) if x.numel() else 0.0) for x, y in zip(tensors(a), tensors(b), strict=True))


def exp(group: Group, X):
    """The elements exp(X) of Lie algebra elements X, member by member; integers stay at the identity."""
    flows = [
        _flow(member, part) for member, part in zip(parts(group), X if isinstance(X, tuple) else (X,), strict=True)
    ]
    return tuple(flows) if isinstance(X, tuple) else flows[0]


def _flow(group: Group, X: torch.Tensor):
    if group.is_finite:
        return group.identity(len(X))
    return group.exp(X) if isinstance(group, Wreath) else torch.linalg.matrix_exp(X)
