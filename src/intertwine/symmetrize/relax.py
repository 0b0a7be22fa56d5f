"""From layers that are equivariant by construction to dense ones that start there and may leave (arXiv:2306.00356)."""

import copy
from collections.abc import Callable

import torch
from torch import nn

from ..groups import Group
from ..nn import Linear
from ..reps import Rep


class SoftLinear(nn.Linear):
    """A dense layer that knows from which Rep to which it maps; nothing in it is equivariant by itself.

    generator: draws the weights, uniform within ±1/√dim as PyTorch's own. Raises ValueError where the Reps belong to
    different groups.
    """

    def __init__(self, rep_in: Rep, rep_out: Rep, *, bias: bool = True, generator: torch.Generator | None = None):
        if rep_in.group != rep_out.group:
            raise ValueError(f"SoftLinear: rep_in belongs to {rep_in.group}, rep_out to {rep_out.group}")
        super().__init__(rep_in.dim, rep_out.dim, bias=bias, device="meta")
        self.to_empty(device=torch.get_default_device())
        self.rep_in, self.rep_out = rep_in, rep_out
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw weights and bias anew."""
        for parameter in self.parameters():
            parameter.uniform_(-1, 1, generator=generator).mul_(max(self.in_features, 1) ** -0.5)


@torch.no_grad()
def relax(model: nn.Module) -> nn.Module:
    """A copy of a model in which every `nn.Linear` of this package is a `SoftLinear` that does the same.

    Products, gates and norms stay as they are, so the model is equivariant where its dense layers are. Every layer gets
    a bias for every component, zero where symmetry asks for it. Raises ValueError for a model without such layers.
    """
    model = copy.deepcopy(model)
    found = [path for path, module in model.named_modules(remove_duplicate=False) if isinstance(module, Linear)]
    if not found:
        raise ValueError(f"relax: {type(model).__name__} has no layer of type intertwine.nn.Linear")
    dense: dict[Linear, SoftLinear] = {}  # a layer that is used twice stays one
    for path in found:
        layer = model.get_submodule(path)
        if layer not in dense:
            dense[layer] = _dense(layer)
        if not path:
            return dense[layer]
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, dense[layer])
    return model


def soft_layers(
    model: nn.Module, group: Group | None = None, embed: Callable | None = None
) -> dict[str, tuple[Rep, Rep]]:
    """The Reps of every `SoftLinear` by its path, as `SoftEquivariance` takes them; restricted to a subgroup if given.

    embed: an element of the larger group from one of `group`, as in `Rep.restrict`; for matrices of the same size
    `lambda g: g`. Raises ValueError for a model without such layers.
    """
    found = {path: layer for path, layer in model.named_modules() if isinstance(layer, SoftLinear)}
    if not found:
        raise ValueError(f"soft_layers: {type(model).__name__} has no SoftLinear; relax(model) makes them")
    if group is None:
        return {path: (layer.rep_in, layer.rep_out) for path, layer in found.items()}
    return {
        path: (layer.rep_in.restrict(group, embed), layer.rep_out.restrict(group, embed))
        for path, layer in found.items()
    }


def _dense(layer: Linear) -> SoftLinear:
    made = SoftLinear(layer.rep_in, layer.rep_out, generator=torch.Generator()).to(layer.weight)
    made.weight.copy_(layer.matrix())
    made.bias.copy_(layer(layer.weight.new_zeros(layer.rep_in.dim)))
    return made.train(layer.training)
