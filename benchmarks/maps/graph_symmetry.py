"""A layer for data on one fixed graph: the maps of its symmetry against a dense layer and polynomials of the graph."""

from collections.abc import Callable

import networkx as nx
import torch
from torch import Tensor

from benchmarks.harness import Table, arguments, compare, finish, peer, start
from intertwine import maps, nn
from intertwine.groups import Automorphism

GRAPHS = {
    "dodecahedron": nx.dodecahedral_graph(),
    "cycle of 60": nx.cycle_graph(60),
    "torus 8 x 8": nx.grid_2d_graph(8, 8, periodic=True),
    "grid 10 x 10": nx.grid_2d_graph(10, 10),
}


def forward(layer: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    """One call without gradients."""

    def call():
        with torch.no_grad():
            return layer(x)

    return call


def training(layer: torch.nn.Module, x: Tensor) -> Callable[[], object]:
    """Forward and backward."""
    x, parameters = x.clone().requires_grad_(), [*layer.parameters()]
    return lambda: torch.autograd.grad(layer(x).square().sum(), (x, *parameters))


MOST_POWERS = 40  # where the symmetry allows more maps, polynomials are no peer


class Polynomial(torch.nn.Module):
    """Chebyshev polynomials of the graph's Laplacian: a few of the maps that keep its symmetry."""

    def __init__(self, conv: torch.nn.Module, graph: nx.Graph, channels: int):
        super().__init__()
        edges = torch.tensor([*nx.convert_node_labels_to_integers(graph).edges]).T
        self.register_buffer("edges", torch.cat([edges, edges.flip(0)], 1))
        self.conv, self.shape = conv, (len(graph), channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.unflatten(-1, self.shape), self.edges).flatten(-2)


def compared(name: str, channels: int, batch: int, repeats: int, geometric) -> tuple[str, dict, dict[str, float]]:
    """One row: the layer of the graph's symmetry, the dense layer with the same matrix, and polynomials."""
    generator = torch.Generator().manual_seed(0)
    graph = GRAPHS[name]
    rep = channels * Automorphism(graph).V
    ours = nn.Linear(rep, rep, bias=False, generator=generator)
    x = rep.randn(batch, generator=generator)
    dense = torch.nn.Linear(rep.dim, rep.dim, bias=False)
    with torch.no_grad():
        dense.weight.copy_(ours.matrix())
        error = {"dense": float((ours(x) - dense(x)).abs().max())}
    count = maps.dimension(rep.group.V, rep.group.V)
    layers = {"intertwine": ours, "dense": dense}
    if geometric is not None and count <= MOST_POWERS:
        conv = geometric.ChebConv(channels, channels, K=count, bias=False)
        layers[f"ChebConv, K = {count}"] = Polynomial(conv, graph, channels)
    timings = {
        column: compare({k: step(layer, x) for k, layer in layers.items()}, repeats=repeats)
        for column, step in (("forward", forward), ("forward + backward", training))
    }
    return f"{name}, {len(graph)} vertices, {count} maps", timings, error


def main() -> None:
    """Print a table for each number of channels: V → V, the same on both sides."""
    parser = arguments(__doc__)
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--graphs", nargs="+", choices=GRAPHS, default=list(GRAPHS))
    options = parser.parse_args()
    start(options)
    geometric = peer("torch_geometric.nn")
    tables = []
    for channels in options.channels:
        title = f"V → V, {channels} to {channels} channels, batch {options.batch}"
        tables.append(Table(title, ["forward", "forward + backward"]))
        tables[-1].head()
        for name in options.graphs:
            tables[-1].add(*compared(name, channels, options.batch, options.repeats, geometric))
    finish(options, tables)


if __name__ == "__main__":
    main()
