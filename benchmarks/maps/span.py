"""Spans against torch's own layers: the convolution route, and gathering on a graph."""

import argparse
from collections.abc import Callable

import torch
from torch.nn import functional as F

from benchmarks.harness import Table, Timing, arguments, compare, finish, peer, start
from intertwine import nn
from intertwine.groups import Cyclic
from intertwine.maps import Span

IMAGES = [(32, 16, 1, 1), (32, 64, 1, 1), (56, 64, 2, 1), (32, 64, 1, 64)]  # size, channels, stride, groups
TIED = [(8, 16), (32, 16)]  # size, channels
GRAPHS = [(1000, 16), (1000, 64), (10000, 32)]  # nodes, channels

Case = tuple[str, dict[str, dict[str, Timing]], dict[str, float]]


def timed(calls: dict[str, Callable], inputs: dict[str, tuple], repeats: int) -> dict[str, dict[str, Timing]]:
    """Forward, and forward with backward to the named inputs."""
    cotangent = {name: torch.ones_like(call()) for name, call in calls.items()}

    def trained(name: str) -> Callable[[], object]:
        return lambda: torch.autograd.grad(calls[name](), inputs[name], cotangent[name])

    both = {"forward": calls, "forward + backward": {name: trained(name) for name in calls}}
    return {column: compare(candidates, repeats=repeats) for column, candidates in both.items()}


def convolution(size: int, channels: int, stride: int, groups: int, repeats: int, generator: torch.Generator) -> Case:
    """A 3x3 convolution of channels-last images; torch gets its own layout, and its own module."""
    c = channels // groups
    span = Span.conv((size, size), 3, padding=1, stride=stride, groups=groups)
    layer = nn.SpanLinear(span, c, c, generator=generator)
    conv = torch.nn.Conv2d(channels, channels, 3, stride, 1, groups=groups)
    with torch.no_grad():
        conv.weight.copy_(layer.weight.reshape(3, 3, groups, c, c).permute(2, 4, 3, 0, 1).flatten(0, 1))
        conv.bias.zero_()
    image = torch.randn(8, channels, size, size, generator=generator)
    x = image.flatten(2).mT.reshape(8, -1, c).contiguous().requires_grad_()
    image.requires_grad_()
    y = conv(image)
    gap = layer(x).reshape(8, -1, channels).mT.reshape(y.shape) - y
    calls = {"intertwine": lambda: layer(x), "conv2d": lambda: conv(image)}
    timings = timed(calls, {"intertwine": (x, layer.weight), "conv2d": (image, conv.weight)}, repeats)
    return (
        f"{size}², {channels} channels, stride {stride}, {groups} groups",
        timings,
        {"conv2d": gap.abs().max().item()},
    )


def graph(nodes: int, channels: int, repeats: int, generator: torch.Generator, geometric) -> Case:
    """A graph convolution on a random graph; torch_geometric with its normalization cached, as ours is."""
    edges = torch.unique(torch.randint(nodes, (2, 8 * nodes), generator=generator), dim=1)
    layer = nn.SpanLinear(Span.graph(edges, nodes, self_loops=True, normalize=True), channels, channels)
    conv = geometric.GCNConv(channels, channels, cached=True)
    with torch.no_grad():
        conv.lin.weight.copy_(layer.weight[0].T)
    x = torch.randn(nodes, channels, generator=generator, requires_grad=True)
    calls = {"intertwine": lambda: layer(x), "GCNConv": lambda: conv(x, edges)}
    timings = timed(calls, {"intertwine": (x, layer.weight), "GCNConv": (x, conv.lin.weight)}, repeats)
    gap = (layer(x) - conv(x, edges)).abs().max().item()
    return f"{nodes} nodes, {edges.shape[1]} edges, {channels} channels", timings, {"GCNConv": gap}


def tied(size: int, channels: int, repeats: int, generator: torch.Generator) -> Case:
    """A kernel tied by a reflection costs what the plain kernel costs."""
    mirror = torch.arange(size * size).reshape(size, size).flip(1).reshape(1, -1)
    span = Span.conv((size, size), 3, padding=1).tied(Cyclic(2), (mirror, mirror))
    layer = nn.SpanLinear(span, channels, channels, bias=False, generator=generator)
    kernel = layer.weight.detach()[[0, 1, 0, 2, 3, 2, 4, 5, 4]].permute(2, 1, 0).reshape(channels, channels, 3, 3)
    kernel = kernel.contiguous().requires_grad_()
    image = torch.randn(8, channels, size, size, generator=generator)
    x = image.flatten(2).mT.contiguous().requires_grad_()
    image.requires_grad_()
    calls = {"intertwine": lambda: layer(x), "conv2d": lambda: F.conv2d(image, kernel, padding=1)}
    timings = timed(calls, {"intertwine": (x, layer.weight), "conv2d": (image, kernel)}, repeats)
    gap = layer(x).mT.reshape(image.shape) - F.conv2d(image, kernel, padding=1)
    return f"tied by a reflection, {size}², {channels} channels", timings, {"conv2d": gap.abs().max().item()}


def tables(options: argparse.Namespace) -> list[Table]:
    """Convolutions, then graphs where torch_geometric is installed."""
    generator = torch.Generator().manual_seed(0)
    columns = ("forward", "forward + backward")
    images, graphs = Table("convolutions, batch 8", columns), Table("graph convolutions", columns)
    images.head()
    for sizes in IMAGES:
        images.add(*convolution(*sizes, options.repeats, generator))
    for sizes in TIED:
        images.add(*tied(*sizes, options.repeats, generator))
    if geometric := peer("torch_geometric.nn"):
        graphs.head()
        for sizes in GRAPHS:
            graphs.add(*graph(*sizes, options.repeats, generator, geometric))
    return [images, graphs]


def main() -> None:
    """Print the tables."""
    options = arguments(__doc__).parse_args()
    start(options)
    finish(options, tables(options))


if __name__ == "__main__":
    main()
