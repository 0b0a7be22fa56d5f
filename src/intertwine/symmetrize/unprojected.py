"""What no projection makes equivariant: activations of single entries, on components that the group turns."""

import warnings
from collections.abc import Collection, Mapping

from torch import nn

from ..nn.pointwise import admissible
from ..reps import Rep

Layers = Mapping[str, tuple[Rep, Rep]]  # by the path of a linear layer, from what to what it maps
POINTWISE = (  # torch.nn's activations that look at one entry at a time
    *(nn.ReLU, nn.RReLU, nn.LeakyReLU, nn.PReLU, nn.ReLU6, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.LogSigmoid, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Tanh, nn.Tanhshrink, nn.Threshold),
    *(nn.Hardshrink, nn.Softshrink, nn.Softplus, nn.Softsign),
)


def warn_of_pointwise(model: nn.Module, symmetries: Mapping[str, Layers], declared: Collection[str]) -> None:
    """Warn once of each activation module that does not commute with a symmetry on what it may see.

    That is what the layer before it gives, in an `nn.Sequential`; elsewhere any layer's output. declared: paths of
    activations to leave out. Functions that a forward calls by itself are not seen.
    """
    before = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Sequential):
            names = [f"{path}.{name}" if path else name for name, _ in module.named_children()]
            before |= dict(zip(names[1:], names))
    for path, module in model.named_modules():
        if isinstance(module, POINTWISE) and path not in declared:
            _warn(path, module, before.get(path), symmetries)


def _warn(path: str, module: nn.Module, before: str | None, symmetries: Mapping[str, Layers]) -> None:
    for name, layers in symmetries.items():
        seen = [layers[before]] if before in layers else layers.values()
        for _, rep in seen:
            verdict = admissible(rep, module)
            if not verdict.ok:
                warnings.warn(
                    f"SoftEquivariance: with {path!r} the model does not keep {name!r} even where all its layers do: "
                    f"{verdict.reason}. If it sees nothing of that kind, say so: pointwise=[{path!r}]",
                    stacklevel=4,
                )
                return
