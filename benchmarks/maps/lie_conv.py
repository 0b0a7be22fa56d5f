"""Convolutions over sampled Lie groups: against a plain conv2d of the same channel product, and the integral itself."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from benchmarks.harness import Table, arguments, compare, finish, start
from intertwine.groups import GLPlus, Samples, coordinates, sample_invariant
from intertwine.nn import LieConv

GROUP = GLPlus(2)
SIZES = ((8, 8, 6, 16), (32, 16, 6, 24), (8, 40, 10, 24), (1, 16, 6, 24))  # batch, channels, samples, pixels


def as_written(layer: LieConv, x: Tensor, samples: Samples) -> Tensor:
    """The definition, one pair of elements at a time: a kernel, a convolution, a sum."""
    centre = (2 * torch.arange(layer.kernel_size) + 1) / layer.kernel_size - 1
    pixels = torch.stack(torch.meshgrid(centre, centre, indexing="xy"), -1)
    images = []
    for g_inv in samples.g_inv:
        total = 0
        u = pixels @ g_inv.to(pixels).mT
        for i, (g, log_weight) in enumerate(zip(samples.g, samples.log_weight)):
            relative = coordinates(g_inv @ g, GROUP).to(u)
            v = torch.cat([u, relative.expand(*u.shape[:-1], -1)], -1)
            near = torch.sigmoid(2 * (1 - torch.linalg.vector_norm(v, dim=-1)))
            measure = log_weight.exp() / torch.linalg.det(g) / len(samples.g)
            kernel = layer.kernel(v) * (near * measure.to(near))[..., None]
            kernel = kernel.unflatten(-1, (layer.out_channels, layer.in_channels)).permute(2, 3, 0, 1)
            total = total + conv2d(x[:, :, i], kernel, padding=layer.padding)
        images.append(total)
    return torch.stack(images, 2)


def case(batch: int, channels: int, count: int, size: int, repeats: int, generator: torch.Generator):
    """One size: forward, and forward with backward to the input and all weights."""
    layer = LieConv(channels, channels, 5, GROUP, generator=generator)
    samples = sample_invariant(GROUP, count, rotations="equispaced", self_normalised=True, generator=generator)
    x = torch.randn(batch, channels, count, size, size, generator=generator, requires_grad=True)
    product = channels * count
    plain = nn.Conv2d(product, product, 5, padding=2, bias=False)
    calls = {
        "intertwine": lambda: layer(x, samples),
        "conv2d": lambda: plain(x.flatten(1, 2)),
        "as written": lambda: as_written(layer, x, samples),
    }
    weights = {"conv2d": [x, *plain.parameters()]}
    cotangents = {name: torch.ones_like(call()) for name, call in calls.items()}

    def trained(name: str):
        return lambda: torch.autograd.grad(calls[name](), weights.get(name, [x, *layer.parameters()]), cotangents[name])

    both = {"forward": calls, "forward + backward": {name: trained(name) for name in calls}}
    timings = {column: compare(candidates, repeats=repeats) for column, candidates in both.items()}
    gap = (calls["intertwine"]() - calls["as written"]()).abs().max().item()
    return f"{count} samples, {channels} channels, {size}², batch {batch}", timings, {"as written": gap}


def main() -> None:
    """Print the table."""
    options = arguments(__doc__).parse_args()
    start(options)
    table = Table("LieConv, GL⁺(2), 5 × 5", ("forward", "forward + backward"))
    table.head()
    generator = torch.Generator().manual_seed(0)
    for sizes in SIZES:
        table.add(*case(*sizes, options.repeats, generator))
    finish(options, [table])


if __name__ == "__main__":
    main()
