"""One layer of messages with radial weights by splines, by Bessel functions, and by a network of the distance."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.harness import Table, arguments, by_column, finish, start
from intertwine.models.atoms.message_weights import LinearWeights, NetworkWeights
from intertwine.nn import ExpSwitch
from intertwine.so3 import EdgeConv, Irreps

COLUMNS = ["forward", "forward + backward", "double backward"]


def layer(
    kind: str, lmax: int, channels: int, generator: torch.Generator
) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """A function of features, harmonics and distances (in units of the cutoff), and its weights."""
    irreps = Irreps.spherical(lmax, channels)
    conv, envelope = EdgeConv(irreps, lmax, irreps), ExpSwitch(1.0)
    shapes = [conv.weight_shape]
    if kind == "network":
        radial: torch.nn.Module = NetworkWeights((64, 64), 8, shapes, generator=generator)
    else:
        radial = LinearWeights("spline" if kind == "spline" else "bessel_linear", 12 if kind == "spline" else 8, shapes)

    def run(x: Tensor, Y: Tensor, r: Tensor, src: Tensor, dst: Tensor) -> Tensor:
        u = envelope(r)
        Y = Y * u[:, None] if radial.linear else Y
        return conv(x, Y, radial(r, u)[0], src, dst)

    return run, list(radial.parameters())


def passes(run: Callable[..., Tensor], weights: list[Tensor], inputs: list[Tensor]) -> dict[str, Callable[[], object]]:
    """What is timed; the last is a step of training on forces: the gradient by r, and that of its square by weights."""
    x, Y, r, src, dst = inputs
    r = r.clone().requires_grad_()

    def forward() -> Tensor:
        with torch.no_grad():
            return run(x, Y, r, src, dst)

    def double() -> object:
        (slope,) = torch.autograd.grad(run(x, Y, r, src, dst).square().sum(), r, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), weights, allow_unused=True)

    def backward() -> object:
        return torch.autograd.grad(run(x, Y, r, src, dst).square().sum(), [r, *weights])

    return {"forward": forward, "forward + backward": backward, "double backward": double}


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--degrees", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--edges", type=int, default=10_000)
    options = parser.parse_args()
    start(options)
    table = Table(f"messages of a layer, E = {options.edges}, C = {options.channels}", COLUMNS, ours="Bessel")
    table.head()
    for lmax in options.degrees:
        generator = torch.Generator().manual_seed(0)
        nodes = max(1, options.edges // 20)
        inputs = [
            torch.randn(nodes, Irreps.spherical(lmax, options.channels).dim, generator=generator),
            torch.randn(options.edges, (lmax + 1) ** 2, generator=generator),
            0.2 + 0.8 * torch.rand(options.edges, generator=generator),
            torch.randint(nodes, (options.edges,), generator=generator),
            torch.randint(nodes, (options.edges,), generator=generator).sort().values,
        ]
        made = {kind: layer(kind, lmax, options.channels, generator) for kind in ("Bessel", "spline", "network")}
        steps = {kind: passes(*pair, inputs) for kind, pair in made.items()}
        table.add(f"L = {lmax}", by_column(steps, COLUMNS, options.repeats))
        counts = ", ".join(f"{kind} {sum(w.numel() for w in weights):,}" for kind, (_, weights) in made.items())
        print(f"radial weights: {counts}")
    finish(options, [table])


if __name__ == "__main__":
    main()
