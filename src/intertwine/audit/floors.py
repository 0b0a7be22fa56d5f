"""What a perfect model would show: the noise of the number format, of the Action, and of the model's own repeats."""

from collections.abc import Callable

import torch
from torch.nn.modules import dropout

from ..groups.group import Element
from .choose import Choice
from .orbit import Orbit, Outputs
from .tree import module_of, named_tensors
from .verdict import NoiseFloor


def measure_floor(low: Orbit, high: Orbit, picked: Choice, both: bool) -> dict[str, NoiseFloor]:
    """Noise floors per output: `low` and `high` are the float32 and float64 orbits (the same one when not `both`)."""
    n = len(low.samples)
    base = low.base()
    dtype = _distance(base, high.base()) if both else dict.fromkeys(base.compared)
    again = _distance(high.base(), high.run(range(n)))
    order = list(reversed(range(n)))
    batching = _distance(high.base(), high.run(order, chunk=max(1, high.chunk // 2)).take(order))
    back, round_trip = there_and_back(high, lambda which: one_each(picked, which))
    action = _distance(high.base(), back)
    return {
        name: NoiseFloor(dtype[name], action[name], round_trip, again[name], batching[name]) for name in base.compared
    }


def noise_cause(orbit: Orbit) -> str:
    """Why two calls of a model in eval() differ, as far as it can be seen from outside."""

    def seeded() -> Outputs:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return orbit.run(range(min(8, len(orbit.samples))))

    if any(_distance(seeded(), seeded()).values()):
        return "the noise is not drawn from the random generator of torch on the CPU"
    module = module_of(orbit.fn)
    parts = () if module is None else module.named_modules()
    on = [name for name, part in parts if part.training and isinstance(part, dropout._DropoutNd)]
    if on:
        return f"the model draws random numbers: dropout is on in {', '.join(on[:3])}, although eval() was called"
    return "the model draws random numbers in every call, such as dropout that eval() does not switch off"


def _distance(a: Outputs, b: Outputs) -> dict[str, float]:
    """RMS over samples, those without a value left out."""
    return {
        name: square[square.isfinite()].mean().sqrt().item() if square.isfinite().any() else 0.0
        for name, square in a.minus(b).mean_square().items()
    }


def there_and_back(orbit: Orbit, element: Callable[[list[int]], Element]) -> tuple[Outputs, float]:
    """f after moving each input by g and back by g⁻¹, and how far the input itself came, relative to its size.

    element: the elements for a list of samples, one each.
    """
    group, n = orbit.group, len(orbit.samples)
    parts, moved, length = [], 0.0, 0.0
    for start in range(0, n, orbit.chunk):
        which = list(range(start, min(n, start + orbit.chunk)))
        g = element(which)
        x = orbit.samples.take(which)
        back = orbit.rep_in(group.inverse(g), orbit.rep_in(g, x))
        parts.append(orbit._outputs(orbit.call(back, len(which)), which))
        for name, t in named_tensors(x).items():
            if t.is_floating_point():
                moved += (named_tensors(back)[name].double() - t.double()).square().nan_to_num().sum().item()
                length += t.double().square().nan_to_num().sum().item()
    return Outputs.join(parts), (moved / length) ** 0.5 if length else 0.0


def one_each(picked: Choice, which: list[int]) -> Element:
    """One element per sample: the sample's own first draw, or the shared ones in turn."""
    if picked.shared is not None:
        return picked.group.take(picked.shared, torch.tensor([i % picked.n_elements for i in which]))
    return picked.group.take(picked.own, torch.tensor([i * picked.n_elements for i in which]))
