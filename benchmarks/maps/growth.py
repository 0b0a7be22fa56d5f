"""How a layer of diagrams grows: time in n as a fitted exponent, memory of a large graph, time to build a layer."""

import math
import time
import weakref
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.harness import arguments, start
from intertwine import maps, nn
from intertwine.groups import Group, O, S
from intertwine.maps.diagrams import bases, kernel

GROWTH = [  # group, order, channels, batch, sizes
    (S, 2, 16, 8, [40, 56, 80, 112, 160]),
    (S, 3, 16, 4, [12, 16, 20, 24, 30]),
    (O, 2, 16, 8, [40, 56, 80, 112, 160]),
    (O, 3, 16, 4, [12, 16, 20, 24, 30]),
]
LARGE = 200  # n of the graph whose memory is measured
BUILT = [(S(10), 2, 2), (S(10), 3, 2), (S(5), 3, 2), (S(10), 3, 3), (S(10), 4, 4), (O(3), 3, 3)]  # group, k, l


def fastest(call: Callable[[], object], repeats: int) -> float:
    """Least process time of a call, in milliseconds, after two calls that do not count."""
    times = []
    for turn in range(repeats + 2):
        began = time.process_time()
        call()
        if turn >= 2:
            times.append(1e3 * (time.process_time() - began))
    return min(times)


def step(group: Group, order: int, channels: int, batch: int, generator: torch.Generator) -> Callable[[], object]:
    """Forward and backward of one layer."""
    rep = channels * group.V**order
    layer = nn.Linear(rep, rep, generator=generator)
    x = rep.randn(batch, generator=generator).requires_grad_()
    v = rep.randn(batch, generator=generator)
    return lambda: torch.autograd.grad(layer(x), (x, layer.weight), v)


def exponent(sizes: list[int], times: list[float]) -> float:
    """Slope of log time against log n, by least squares."""
    xs, ys = [math.log(n) for n in sizes], [math.log(t) for t in times]
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / sum((x - mx) ** 2 for x in xs)


class Peak(TorchDispatchMode):
    """The most bytes of tensors alive at once, inputs that are touched included."""

    def __init__(self):
        super().__init__()
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, f, types, args=(), kwargs=None):
        out = f(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and (storage := tensor.untyped_storage())._cdata not in self.alive:
                self.alive[storage._cdata] = storage.nbytes()
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._free, storage._cdata)
        return out

    def _free(self, key: int) -> None:
        self.now -= self.alive.pop(key, 0)


def main() -> None:
    """Print growth, memory and build times."""
    options = arguments(__doc__).parse_args()
    start(options)
    generator = torch.Generator().manual_seed(0)
    print("\n| layer, forward + backward | n | ms | exponent |\n|---|---|---|---|")
    for make, order, channels, batch, sizes in GROWTH:
        times = [fastest(step(make(n), order, channels, batch, generator), options.repeats) for n in sizes]
        name = f"{make.__name__}(n), {order} to {order}, {channels} channels, batch {batch}"
        shown = ", ".join(f"{t:.1f}" for t in times)
        print(f"| {name} | {', '.join(map(str, sizes))} | {shown} | {exponent(sizes, times):.2f} |", flush=True)

    rep = 16 * S(LARGE).V ** 2
    layer, x = nn.Linear(rep, rep, generator=generator), rep.randn(1, generator=generator).requires_grad_()
    with Peak() as inference, torch.no_grad():
        layer(x)
    with Peak() as training:
        layer(x).square().sum().backward()
    print(f"\nS({LARGE}), order 2 to 2, 16 channels, batch 1: most memory at once, input included, over the input:")
    print(f"forward {inference.peak / x.nbytes:.2f}, forward + backward {training.peak / x.nbytes:.2f}")

    print("\n| built from nothing | basis maps | ms |\n|---|---|---|")
    for group, k, l in BUILT:
        for cached in (kernel.kernel, bases.diagrams):
            cached.cache_clear()
        began = time.process_time()
        space = maps.between(group.V**k, group.V**l)
        print(f"| {group}, {k} to {l} | {space.dim} | {1e3 * (time.process_time() - began):.0f} |", flush=True)


if __name__ == "__main__":
    main()
