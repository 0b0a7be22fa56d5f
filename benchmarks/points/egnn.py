"""An EGNN layer against the layer as it is usually written: features of both ends joined on every edge."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.harness import Table, arguments, by_column, finish, start
from intertwine.models.points import EGNNLayer

COLUMNS = ["forward", "forward + backward"]


class Textbook(nn.Module):
    """arXiv:2102.09844, eq. 3-6, with the weights of a layer of ours."""

    def __init__(self, layer: EGNNLayer):
        super().__init__()
        self.edge, self.node, self.coord = layer.edge, layer.node, layer.coord

    def forward(self, h: Tensor, x: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        """New h and x."""
        source, target = edge_index
        difference = x[target] - x[source]
        square = difference.square().sum(1, keepdim=True)
        m = self.edge(torch.cat([h[target], h[source], square], 1))
        shift = difference * self.coord(m)
        moved, count = self.gather(shift, target, len(x)), self.gather(torch.ones_like(shift), target, len(x))
        out = self.node(torch.cat([h, self.gather(m, target, len(h))], 1))
        return h + out, x + moved / count.clamp(min=1)

    @staticmethod
    def gather(rows: Tensor, target: Tensor, nodes: int) -> Tensor:
        """The sum of the rows of each target."""
        return rows.new_zeros(nodes, rows.shape[1]).scatter_add(0, target[:, None].expand_as(rows), rows)


def passes(layer: nn.Module, h: Tensor, x: Tensor, edge_index: Tensor) -> dict[str, Callable[[], object]]:
    """Forward alone, and with the derivatives by h, x and all weights."""

    def forward() -> None:
        with torch.no_grad():
            layer(h, x, edge_index)

    def both() -> None:
        leaves = [h.detach().requires_grad_(), x.detach().requires_grad_()]
        out = layer(*leaves, edge_index)
        torch.autograd.grad(out[0].sum() + out[1].sum(), [*leaves, *layer.parameters()])

    return dict(zip(COLUMNS, (forward, both)))


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--edges", type=int, nargs="+", default=[2000, 20_000, 200_000])
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--neighbours", type=int, default=20)
    options = parser.parse_args()
    start(options)
    table = Table(f"EGNN layer, C = {options.channels}, {options.neighbours} edges a node, float32", COLUMNS)
    table.head()
    generator = torch.Generator().manual_seed(0)
    for edges in options.edges:
        nodes = max(1, edges // options.neighbours)
        edge_index = torch.randint(nodes, (2, edges), generator=generator)
        edge_index = edge_index[:, edge_index[1].argsort()]
        h = torch.randn(nodes, options.channels, generator=generator)
        x = torch.randn(nodes, 3, generator=generator)
        ours = EGNNLayer(options.channels, generator=generator)
        layers = {"intertwine": ours, "textbook": Textbook(ours)}
        with torch.no_grad():
            (h1, x1), (h2, x2) = (layer(h, x, edge_index) for layer in layers.values())
        error = {"textbook": max((h1 - h2).abs().max().item(), (x1 - x2).abs().max().item())}
        steps = {name: passes(layer, h, x, edge_index) for name, layer in layers.items()}
        timings = by_column(steps, COLUMNS, options.repeats)
        table.add(f"E = {edges}", timings, error)
    finish(options, [table])


if __name__ == "__main__":
    main()
