"""Any smooth function of a few tensors that turns with them: invariants through a network, times covariants."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..groups import Group
from ..maps import TensorAction, TensorType, tensor_covariants, tensor_invariants
from ..maps.constants import Constants
from ..maps.tensor_network import flattened, planned
from ..maps.tensor_types import BUILT_IN, constant
from ..reps import Nested
from .activation import second_moment_constant


class EquivariantFunction(nn.Module):
    """f(inputs) = Σ_α φ_α(invariants) C_α(inputs), φ a multilayer perceptron, C_α the covariants of the output's kind.

    inputs: the kind of each tensor by name; output: the kind of the result. degree: of the invariants and covariants,
    as for `maps.tensor_invariants`. hidden: widths of the perceptron (SiLU), which reads asinh of the invariants, so
    that those of high degree do not drown the others. group: O(3) by default, or SO(3). All networks are computed
    together, each common part once. generator: draws the weights.
    Raises ValueError when there is no covariant, when an input occurs in none of the networks, and as
    `maps.tensor_invariants` does. Source: arXiv:2508.12596.
    """

    def __init__(
        self,
        inputs: Mapping[str, TensorType],
        output: TensorType,
        degree: int | Mapping[str, int] = 4,
        hidden: Sequence[int] = (64, 64),
        *,
        group: Group | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.inputs, self.output = dict(inputs), output
        self.invariants = tuple(tensor_invariants(inputs, degree, group))
        self.covariants = tuple(tensor_covariants(inputs, output, degree, group))
        if not self.covariants:
            raise ValueError(
                f"EquivariantFunction: the only function from {self.inputs} to {output} under {group or 'O(3)'} up to "
                f"degree {degree} is zero; raise the degree, or mind the parities"
            )
        networks = self.invariants + self.covariants
        self._plan, self._steps = planned(networks)
        if idle := sorted(self.inputs.keys() - {name for network in networks for name, _ in network.types}):
            raise ValueError(f"EquivariantFunction: up to degree {degree} the inputs {idle} do not matter; raise it")
        self.rep_in = Nested({name: TensorAction(kind, group) for name, kind in self.inputs.items()})
        self.rep_out = TensorAction(output, group)
        self.hidden = tuple(hidden)
        widths = (len(self.invariants), *self.hidden, len(self.covariants))
        if len(self.invariants):
            self.weights = nn.ParameterList(torch.empty(b, a) for a, b in pairwise(widths))
        else:
            self.weights = nn.ParameterList()  # nothing to read: the coefficients are numbers
        self.biases = nn.ParameterList(torch.empty(b) for b in (widths[1:] if self.weights else widths[-1:]))
        lifts = {name: kind.lift for name, kind in self.inputs.items() if kind.lift is not None}
        self._lifted = tuple(lifts)
        self._lowers = output.lower is not None
        arrays = [*(constant(name) for name in BUILT_IN), *lifts.values()]
        self._constants = Constants([*arrays, output.lower] if self._lowers else arrays)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights anew, each layer to keep a variance of one; biases start at zero."""
        for k, weight in enumerate(self.weights):
            gain = 1.0 if k == 0 else second_moment_constant(nn.functional.silu)
            device = "cpu" if generator is None else generator.device
            draw = torch.randn(weight.shape, generator=generator, dtype=torch.float64, device=device)
            weight.copy_(draw * gain / math.sqrt(weight.shape[1]))
        for bias in self.biases:
            bias.zero_()

    def forward(self, inputs: Mapping[str, Float[Tensor, "..."]]) -> Float[Tensor, "..."]:
        """Tensors [*batch, *kind.shape] by name to the result [*batch, *output.shape]. ValueError on wrong shapes."""
        batch, flat = flattened(inputs, self.inputs)
        values = self._values(flat)
        count = len(self.invariants)
        coefficients = self._coefficients(values[:count], batch.numel(), flat)
        covariants = torch.stack([value.expand(batch.numel(), -1) for value in values[count:]], -2)
        out = (coefficients[:, None] @ covariants).squeeze(-2)
        if self._lowers:
            out = out @ self._constants.tensors()[-1]
        return out.reshape(*batch, *self.output.shape)

    def _values(self, flat: dict[str, Tensor]) -> list[Tensor]:
        constants = self._constants.tensors()
        leaves = {name: constants[k][None] for k, name in enumerate(BUILT_IN)}
        lifts = dict(zip(self._lifted, constants[len(BUILT_IN) :]))
        for name, x in flat.items():
            leaves[name] = x @ lifts[name].mT if name in lifts else x
        return self._plan.run(leaves.__getitem__, self._steps)

    def _coefficients(self, invariants: list[Tensor], batch: int, flat: dict[str, Tensor]) -> Tensor:
        if not self.weights:
            return self.biases[0].expand(batch, -1)
        x = torch.asinh(torch.cat(invariants, -1))
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            x = nn.functional.linear(nn.functional.silu(x) if k else x, weight, bias)
        return x

    def extra_repr(self) -> str:
        """Inputs, output and the numbers of networks."""
        kinds = ", ".join(f"{name}: {kind}" for name, kind in self.inputs.items())
        return f"{kinds} -> {self.output}, invariants={len(self.invariants)}, covariants={len(self.covariants)}"
