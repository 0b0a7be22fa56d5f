"""One bundle convolution of Ponita against one depth-wise convolution of spherical features of degree 2."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.harness import Table, Timing, arguments, compare, finish, start
from intertwine.models.points import FiberBundleConv
from intertwine.so3 import EdgeConv, Irreps

COLUMNS = ["forward", "forward + backward"]


class Setting:
    """The same graph and channels for both. Each layer makes its own kernel from a basis of `basis` functions.

    The basis itself, which all layers of a network share, is given: of the edge and the direction for ours, of the
    edge alone for the peer, with the harmonics.
    """

    def __init__(self, channels: int, basis: int, edges: int, directions: int, generator: torch.Generator):
        self.channels, self.basis, self.edges, self.directions = channels, basis, edges, directions
        self.generator, self.nodes = generator, max(1, edges // 12)
        self.dst = torch.randint(self.nodes, (edges,), generator=generator).sort().values
        self.src = torch.randint(self.nodes, (edges,), generator=generator)

    def draw(self, *shape: int) -> Tensor:
        """Normal numbers."""
        return torch.randn(*shape, generator=self.generator)

    def ours(self) -> tuple[Callable[..., Tensor], list[Tensor]]:
        """FiberBundleConv: [nodes, directions, channels]."""
        conv = FiberBundleConv(self.channels, self.basis, generator=self.generator).eval()
        edge_index = torch.stack([self.src, self.dst])
        names = ("kernel.weight", "fiber_kernel.weight")
        inputs = [self.draw(self.nodes, self.directions, self.channels)]
        inputs += [self.draw(self.edges, self.directions, self.basis), self.draw(*[self.directions] * 2, self.basis)]

        def run(x: Tensor, basis: Tensor, fiber: Tensor, *weights: Tensor) -> Tensor:
            return torch.func.functional_call(conv, dict(zip(names, weights)), (x, edge_index, basis, fiber))

        return run, [*inputs, *(conv.get_parameter(name).detach() for name in names)]

    def edge_conv(self, lmax: int = 2) -> tuple[Callable[..., Tensor], list[Tensor]]:
        """EdgeConv: nine components of degrees 0 to 2."""
        irreps = Irreps.spherical(lmax, self.channels)
        conv = EdgeConv(irreps, lmax, Irreps.spherical(lmax))
        weights = torch.Size(conv.weight_shape).numel()

        def run(x: Tensor, Y: Tensor, basis: Tensor, weight: Tensor) -> Tensor:
            w = (basis @ weight).unflatten(1, conv.weight_shape)
            return conv(x, Y, w, self.src, self.dst, self.nodes)

        harmonics = self.draw(self.edges, (lmax + 1) ** 2)
        return run, [
            *(self.draw(self.nodes, irreps.dim), harmonics),
            *(self.draw(self.edges, self.basis), self.draw(self.basis, weights) / self.basis**0.5),
        ]


def passes(run: Callable[..., Tensor], inputs: list[Tensor]) -> dict[str, Callable[[], object]]:
    """What is timed; gradients go to features, bases and weights alike."""
    leaves = [x.requires_grad_() for x in inputs]

    def forward() -> Tensor:
        with torch.no_grad():
            return run(*leaves)

    return {"forward": forward, "forward + backward": lambda: torch.autograd.grad(run(*leaves).sum(), leaves)}


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--basis", type=int, default=64)
    parser.add_argument("--edges", type=int, default=10_000)
    parser.add_argument("--directions", type=int, default=16)
    options = parser.parse_args()
    start(options)
    size = f"E = {options.edges}, {options.directions} directions against degree 2, {options.basis} functions"
    table = Table(f"one layer, {size}", COLUMNS)
    table.head()
    for channels in options.channels:
        generator = torch.Generator().manual_seed(0)
        setting = Setting(channels, options.basis, options.edges, options.directions, generator)
        steps = {"intertwine": passes(*setting.ours()), "EdgeConv": passes(*setting.edge_conv())}
        timings: dict[str, dict[str, Timing]] = {
            column: compare({name: made[column] for name, made in steps.items()}, repeats=options.repeats)
            for column in COLUMNS
        }
        table.add(f"C = {channels}", timings)
    finish(options, [table])


if __name__ == "__main__":
    main()
