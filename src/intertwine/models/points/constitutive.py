"""Material laws: the stress of a deformed solid, which turns with the solid whatever the network has learned."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...groups import Group
from ...maps import Cartesian, TensorType
from ...nn import EquivariantFunction

STRETCH = Cartesian(2, symmetric=True)


class Constitutive(nn.Module):
    """Second Piola-Kirchhoff stress S from the right Cauchy-Green tensor C = FᵀF and structural tensors.

    structural: kinds of the tensors that say how the material is made, given to `forward` after C: a ⊗ a for fibres
    along a is `Cartesian(2, symmetric=True)`. The invariants are those of the strain E = (C - 1)/2, which vanishes
    without deformation, and of the structural tensors. energy: S = ∂W/∂E = 2 ∂W/∂C of a learned energy density W of
    the invariants, so that no work is gained in a closed cycle; False: S = Σ φ(invariants) · covariants, any law.
    degree, hidden, group, generator: as in `nn.EquivariantFunction`. S has the units of W, an energy per volume of the
    undeformed solid.
    Raises as `nn.EquivariantFunction` does. Source: arXiv:2508.12596.
    """

    def __init__(
        self,
        structural: Sequence[TensorType] = (),
        energy: bool = True,
        *,
        degree: int = 4,
        hidden: Sequence[int] = (64, 64),
        group: Group | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.names = ("E", *(f"A{k + 1}" for k in range(len(structural))))
        inputs = dict(zip(self.names, (STRETCH, *structural)))
        self.has_energy = bool(energy)
        output = Cartesian(0) if energy else STRETCH
        self.function = EquivariantFunction(inputs, output, degree, hidden, group=group, generator=generator)
        self.rep_in = tuple(self.function.rep_in.parts.values())
        self.rep_out = self.rep_in[0]

    def forward(self, C: Float[Tensor, "*batch 3 3"], *structural: Float[Tensor, "..."]) -> Float[Tensor, "*batch 3 3"]:
        """The stress, symmetric. Raises ValueError on a wrong number of structural tensors or wrong shapes."""
        inputs = self._named(C, structural)
        if not self.has_energy:
            return self.function(inputs)
        slope = torch.func.grad(lambda E: self.function(inputs | {"E": E}).sum())(inputs["E"])
        return (slope + slope.mT) / 2  # the gradient among symmetric tensors

    def energy(self, C: Float[Tensor, "*batch 3 3"], *structural: Float[Tensor, "..."]) -> Float[Tensor, "*batch"]:
        """The energy density W, up to a constant. Raises ValueError for a law without energy."""
        if not self.has_energy:
            raise ValueError("Constitutive: built with energy=False, there is no energy; build it with energy=True")
        return self.function(self._named(C, structural))

    def _named(self, C: Tensor, structural: tuple[Tensor, ...]) -> dict[str, Tensor]:
        if len(structural) + 1 != len(self.names):
            raise ValueError(
                f"Constitutive: built for {len(self.names) - 1} structural tensors, forward got {len(structural)}"
            )
        strain = (C - torch.eye(3, dtype=C.dtype, device=C.device)) / 2
        return dict(zip(self.names, (strain, *structural)))
