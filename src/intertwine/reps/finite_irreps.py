"""The irreducible representations of rotations and reflections in the plane: Cyclic, Dihedral, SO(2) and O(2).

Labels and signs are those of arXiv:1911.08251. Angle of r in Cyclic(n), Dihedral(n): 2 pi / n; F = diag(1, -1).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import chain, count
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..groups import SO, Cyclic, Dihedral, Embedding, Group, O
from ..groups.group import Element
from .irrep import Irrep
from .product import Product
from .rep import Rep


@dataclass(frozen=True, eq=False, repr=False)
class PlanarIrrep(Irrep):
    """The irrep of frequency k: rotations turn it by k times their angle.

    Without reflections (Cyclic, SO(2)): label (k,). k = 0 and, in Cyclic(n), k = n/2 have dimension 1; the others have
    dimension 2 and complex type, r -> R(k angle). With reflections (Dihedral, O(2)): label (j, k), all of real type.
    (0, 0) is trivial, (1, 0) is f -> -1, (1, k) is r -> R(k angle), f -> F; in Dihedral(n), n even, (0, n/2) and
    (1, n/2) have dimension 1, r -> -1, f -> 1 or -1.
    """

    group: Group
    label: tuple[int, ...]
    is_orthogonal: ClassVar[bool] = True

    def __post_init__(self):
        known = irrep_labels(self.group) if self.group.is_finite else None
        reflects = isinstance(self.group, Dihedral) or self.group == O(2)
        form = "irrep(j, k)" if reflects else "irrep(k)"
        if not all(isinstance(number, int) for number in self.label) or len(self.label) != 1 + reflects:
            raise ValueError(f"{self.group}: irreps are named {form}, got {self.label}")
        if known is not None and self.label not in known:
            names = ", ".join(f"irrep{_text(label)}" for label in known)
            raise ValueError(f"{self.group} has no {self}; it has {names}")
        if known is None and (self.k < 0 or self.j not in (0, 1) or (reflects and self.j == 0 and self.k > 0)):
            labels = "(0, 0), (1, 0) and (1, k), k > 0" if reflects else "k >= 0"
            raise ValueError(f"{self.group} has no {self}; it has {form} for {labels}")

    def __str__(self) -> str:
        return f"irrep{_text(self.label)}"

    @property
    def j(self) -> int:
        """1 where a reflection counts, 0 elsewhere."""
        return self.label[0] if len(self.label) == 2 else 0

    @property
    def k(self) -> int:
        """The frequency."""
        return self.label[-1]

    @property
    def dim(self) -> int:
        return 1 if self.k == 0 or (self.group.is_finite and 2 * self.k == self.group.n) else 2

    @property
    def is_trivial(self) -> bool:
        return self.j == self.k == 0

    @property
    def is_permutation(self) -> bool:
        return self.is_trivial

    @property
    def is_signed_permutation(self) -> bool:
        return self.dim == 1

    def permutation(self, g: Element) -> Int[Tensor, "... 1"]:
        if not self.is_trivial:
            return super().permutation(g)
        return torch.zeros(*self.group.batch_shape(g), 1, dtype=torch.int64, device=self.group.device_of(g))

    def endomorphisms(self) -> Float[Tensor, "endo dim dim"]:
        """The identity and, for complex type, the quarter turn J = [[0, -1], [1, 0]]."""
        one = super().endomorphisms()
        return torch.cat([one, _quarter_turn()[None]]) if len(self.label) == 1 and self.dim == 2 else one

    def _turn(self, g: Element) -> tuple[Tensor, Tensor, Tensor]:
        """Cosine and sine of k times the angle of g's rotation, and its sign, -1 for a reflection."""
        if not self.group.is_finite:
            M = self.group.matrix(g)
            z = torch.complex(M[..., 0, 0].contiguous(), M[..., 1, 0].contiguous()) ** self.k
            return z.real, z.imag, torch.linalg.det(M).sign()
        flips, turns = g.unbind(-1) if isinstance(self.group, Dihedral) else (torch.zeros_like(g), g)
        angle = 2 * torch.pi * (self.k * turns % self.group.n).double() / self.group.n
        return angle.cos(), angle.sin(), (1 - 2 * flips).double()

    def matrix(self, g: Element, dtype: torch.dtype = torch.float64) -> Float[Tensor, "... dim dim"]:
        c, s, sign = self._turn(g)
        if self.dim == 1:
            return (c * sign**self.j)[..., None, None].to(dtype)
        return torch.stack([torch.stack([c, -s * sign], -1), torch.stack([s, c * sign], -1)], -2).to(dtype)

    def algebra(self, X: Element) -> Float[Tensor, "... dim dim"]:
        if self.group.is_finite or self.dim == 1:
            return X.new_zeros(*self.group.algebra_batch_shape(X), self.dim, self.dim)
        return self.k * X[..., 1:, :1] * _quarter_turn().to(X)

    def restricted_to(self, embed: Embedding) -> Irrep | None:
        """The irrep of the rotations alone with the same frequency."""
        reflects, group = len(self.label) == 2, embed.source
        rotations = (isinstance(group, Cyclic) and self.group == Dihedral(group.n)) or (
            group == SO(2) and self.group == O(2)
        )
        return PlanarIrrep(group, (self.k,)) if reflects and rotations and not embed.name else None


def _quarter_turn() -> Tensor:
    return torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)


def _text(label: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, label))})"


def irrep_labels(group: Group) -> tuple[tuple[int, ...], ...]:
    """Labels of all irreducible real representations of Cyclic(n) or Dihedral(n), in the order j, then k.

    Raises ValueError for another group.
    """
    if isinstance(group, Cyclic):
        return tuple((k,) for k in range(group.n // 2 + 1))
    if isinstance(group, Dihedral):
        middle = [group.n // 2] if group.n % 2 == 0 else []
        planes = range(1, (group.n + 1) // 2)
        return tuple((j, k) for j in (0, 1) for k in [0, *(planes if j else []), *middle])
    raise ValueError(f"{group}: the irreps that can be listed are those of Cyclic(n) and Dihedral(n)")


@Cyclic.defines("irrep")
@Dihedral.defines("irrep")
def _finite_irrep(group: Cyclic | Dihedral, *label: int) -> Rep:
    return Rep(group, [(Product((PlanarIrrep(group, label),)), 1)])


@O.defines("irrep")
def _orthogonal_irrep(group: O, *label: int) -> Rep:
    if group.n != 2:
        raise ValueError(f"{group}: irreps have labels for n = 2 here; those of O(3) and SO(3) are so3.Irreps")
    return Rep(group, [(Product((PlanarIrrep(group, label),)), 1)])


@Group.defines("_irreps")
def _none(group: Group) -> None:
    return None


@Cyclic.defines("_irreps")
@Dihedral.defines("_irreps")
def _listed(group: Cyclic | Dihedral) -> Iterator[Irrep]:
    return (PlanarIrrep(group, label) for label in irrep_labels(group))


@O.defines("_irreps")
def _without_end(group: O) -> Iterator[Irrep] | None:
    if group.n == 3:
        # those of space are defined to the right of this package, and labels may not depend on what is imported
        import_module("intertwine.so3")
        return group.named("_spatial_irreps")
    if group.n != 2:
        return None
    rotations = [(0,)] if group == SO(2) else [(0, 0), (1, 0)]
    turning = ((k,) if group == SO(2) else (1, k) for k in count(1))
    return (PlanarIrrep(group, label) for label in chain(rotations, turning))
