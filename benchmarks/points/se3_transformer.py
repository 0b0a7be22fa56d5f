"""The kernel of an SE(3)-Transformer layer against e3nn's fully connected tensor product with weights on every edge."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.harness import Table, arguments, by_column, finish, peer, start
from intertwine.nn import TensorFieldKernel
from intertwine.so3 import EdgeFrame, spherical_harmonics

COLUMNS = ["forward", "forward + backward"]


class Ours(nn.Module):
    """Frames, radial networks, kernel, back."""

    def __init__(self, kernel: TensorFieldKernel):
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor, direction: Tensor, source: Tensor) -> Tensor:
        """Messages of the edges."""
        kernel = self.kernel
        frame = EdgeFrame.from_vectors(direction, kernel.source.lmax)
        y = frame.into(kernel.source.rows(x).index_select(0, source))
        r = direction.norm(dim=1, keepdim=True)
        return kernel.target.flat(frame.out_of(kernel(y, kernel.weights(r))))


class E3NN(nn.Module):
    """Harmonics up to twice the degree, radial networks of the same shape, and the tensor product."""

    def __init__(self, o3: object, kernel: TensorFieldKernel):
        super().__init__()
        degree, channels = kernel.source.lmax, kernel.source.widest
        irreps = "+".join(f"{channels}x{l}e" for l in range(degree + 1))
        Y = "+".join(f"1x{l}e" for l in range(2 * degree + 1))
        self.kernel, self.degree = kernel, degree
        self.product = o3.FullyConnectedTensorProduct(irreps, Y, irreps, shared_weights=False, internal_weights=False)
        self.last = nn.Parameter(torch.randn(kernel.matrices[-1].shape[2], self.product.weight_numel) / 6)

    def forward(self, x: Tensor, direction: Tensor, source: Tensor) -> Tensor:
        """Messages of the edges."""
        h = direction.norm(dim=1, keepdim=True).expand(len(self.kernel.pairs), len(direction), 1)
        for A, b, gain, offset in zip(*(getattr(self.kernel, n) for n in ("matrices", "shifts", "gains", "offsets"))):
            h = torch.relu(nn.functional.layer_norm(torch.baddbmm(b, h, A), A.shape[-1:]) * gain + offset)
        Y = spherical_harmonics(direction, 2 * self.degree)
        return self.product(x.index_select(0, source), Y, h[0] @ self.last)


def passes(layer: nn.Module, x: Tensor, direction: Tensor, source: Tensor) -> dict[str, Callable[[], object]]:
    """Forward alone, and with the derivatives by features, directions and all weights."""

    def forward() -> None:
        with torch.no_grad():
            layer(x, direction, source)

    def both() -> None:
        leaves = [x.detach().requires_grad_(), direction.detach().requires_grad_()]
        out = layer(*leaves, source)
        torch.autograd.grad(out.square().sum(), [*leaves, *layer.parameters()], allow_unused=True)

    return dict(zip(COLUMNS, (forward, both)))


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--edges", type=int, default=90 * 128)
    parser.add_argument("--degrees", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--channels", type=int, default=4)
    options = parser.parse_args()
    start(options)
    table = Table(f"kernel of an SE(3)-Transformer, E = {options.edges}, C = {options.channels}, float32", COLUMNS)
    table.head()
    generator = torch.Generator().manual_seed(0)
    o3 = peer("e3nn.o3")
    for degree in options.degrees:
        rep = "+".join(f"{options.channels}x{l}" for l in range(degree + 1))
        kernel = TensorFieldKernel(rep, rep, generator=generator)
        x = torch.randn(max(1, options.edges // 9), kernel.source.rep.dim, generator=generator)
        direction = torch.randn(options.edges, 3, generator=generator)
        source = torch.randint(len(x), (options.edges,), generator=generator)
        layers = {"intertwine": Ours(kernel)}
        if o3 is not None:
            layers["e3nn"] = E3NN(o3, kernel)
        steps = {name: passes(layer, x, direction, source) for name, layer in layers.items()}
        timings = by_column(steps, COLUMNS, options.repeats)
        table.add(f"L = {degree}", timings)
    finish(options, [table])


if __name__ == "__main__":
    main()
