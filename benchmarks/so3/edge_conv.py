"""Edge convolution with full channel mixing: the SO(2) convolution against fully connected tensor products."""

import argparse
import warnings

import torch
from torch import Tensor

from benchmarks.harness import Table, arguments, by_column, finish, peak_memory, peer, start
from benchmarks.so3.uvu import Conv, compiled, passes
from intertwine.so3 import EdgeFrame, SO2EdgeConv, spherical_harmonics

COLUMNS = ["forward", "forward + backward", "double backward"]


class Setting:
    """One graph, features of degrees 0..L in C channels; frames and harmonics are made from the edges at every call.

    The peers couple with harmonics up to L, as is usual; ours always couples up to 2L, also products of odd parity.
    """

    def __init__(self, lmax: int, channels: int, edges: int, dtype: torch.dtype, generator: torch.Generator):
        self.lmax, self.channels, self.edges, self.dtype = lmax, channels, edges, dtype
        self.generator = generator
        self.nodes = max(1, edges // 12)
        self.dst = torch.randint(self.nodes, (edges,), generator=generator).sort().values
        self.src = torch.randint(self.nodes, (edges,), generator=generator)
        self.r = torch.randn(edges, 3, generator=generator, dtype=dtype)
        self.x = torch.randn(self.nodes, (lmax + 1) ** 2, channels, generator=generator, dtype=dtype)

    def ours(self, mmax: int | None = None) -> tuple[Conv, tuple[Tensor, ...]]:
        """SO2EdgeConv."""
        L, C = self.lmax, self.channels
        conv = SO2EdgeConv(L, L, C, C, mmax=mmax, generator=self.generator).to(self.dtype)
        weights = tuple(w.detach() for w in conv.parameters())
        names = [name for name, _ in conv.named_parameters()]

        def run(x: Tensor, r: Tensor, *weights: Tensor) -> Tensor:
            frame = EdgeFrame.from_vectors(r, L, mmax)
            return torch.func.functional_call(
                conv, dict(zip(names, weights)), (x, frame, self.src, self.dst, None, self.nodes)
            )

        return run, (self.x, self.r, *weights)

    def truncated(self) -> tuple[Conv, tuple[Tensor, ...]] | None:
        """SO2EdgeConv with orders up to 2."""
        return self.ours(2) if self.lmax > 2 else None

    def _kinds(self) -> list[str]:
        return [f"{l}{'e' if l % 2 == 0 else 'o'}" for l in range(self.lmax + 1)]

    def e3nn(self) -> tuple[Conv, tuple[Tensor, ...]] | None:
        """e3nn's FullyConnectedTensorProduct."""
        if not peer("e3nn"):
            return None
        o3 = peer("e3nn.o3")
        features = "+".join(f"{self.channels}x{kind}" for kind in self._kinds())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            product = o3.FullyConnectedTensorProduct(
                features, "+".join(self._kinds()), features, shared_weights=True, internal_weights=False
            ).to(self.dtype)
        return self._around(product, product.weight_numel, len(product.instructions))

    def cuequivariance(self) -> tuple[Conv, tuple[Tensor, ...]] | None:
        """cuequivariance's FullyConnectedTensorProduct."""
        cuet, cue = peer("cuequivariance_torch"), peer("cuequivariance")
        if cuet is None or cue is None:
            return None
        features = cue.Irreps("O3", "+".join(f"{self.channels}x{kind}" for kind in self._kinds()))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            product = cuet.FullyConnectedTensorProduct(
                features,
                cue.Irreps("O3", "+".join(self._kinds())),
                features,
                layout=cue.ir_mul,
                shared_weights=True,
                internal_weights=False,
                dtype=self.dtype,
                method=None if torch.cuda.is_available() else "naive",
            )
        return self._around(product, product.weight_numel, 0)

    def _around(self, product: torch.nn.Module, weights: int, paths: int) -> tuple[Conv, tuple[Tensor, ...]]:
        self.paths = paths or getattr(self, "paths", 0)
        w = torch.randn(weights, generator=self.generator, dtype=self.dtype)

        def run(x: Tensor, r: Tensor, w: Tensor) -> Tensor:
            Y = spherical_harmonics(r, self.lmax)
            message = product(x.index_select(0, self.src), Y, w if w.ndim == 1 and paths else w[None])
            return message.new_zeros(self.nodes, message.shape[1]).index_add(0, self.dst, message)

        return run, (self.x.flatten(1), self.r, w)


def memory(options: argparse.Namespace) -> None:
    """Print the memory of each pass of one candidate on top of its inputs; run it once for each candidate."""
    name, lmax, dtype = options.memory, options.degrees[0], getattr(torch, options.dtype)
    generator = torch.Generator().manual_seed(0)
    small, setting = (Setting(lmax, options.channels, edges, dtype, generator) for edges in (50, options.edges))
    find = {"intertwine": "ours"}.get(name, name)
    for call in passes(*getattr(small, find)()).values():
        call()
    for column, call in list(passes(*getattr(setting, find)()).items())[:2]:
        print(f"{name}, L = {lmax}, E = {options.edges}, C = {options.channels}: {column} {peak_memory(call):.0f} MiB")


def main() -> None:
    """Print the table for each degree."""
    parser = arguments(__doc__)
    parser.add_argument("--degrees", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--edges", type=int, default=1000)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--peers", nargs="*", default=["e3nn", "cuequivariance", "truncated"])
    parser.add_argument("--compile", action="store_true", help="compiled forms of ours and e3nn's too")
    parser.add_argument("--memory", metavar="NAME", help="instead of times, the peak memory of one candidate")
    options = parser.parse_args()
    start(options)
    if options.memory:
        return memory(options)
    title = f"edge convolution C to C, E = {options.edges}, C = {options.channels}, {options.dtype}"
    columns = COLUMNS[:2] if options.compile else COLUMNS
    table = Table(title + "; truncated: ours with orders up to 2", columns)
    table.head()
    for lmax in options.degrees:
        setting = Setting(
            lmax, options.channels, options.edges, getattr(torch, options.dtype), torch.Generator().manual_seed(0)
        )
        candidates = {"intertwine": setting.ours()}
        candidates |= {name: made for name in options.peers if (made := getattr(setting, name)())}
        if options.compile:
            candidates |= compiled({name: candidates[name] for name in ("intertwine", "e3nn") if name in candidates})
        steps = {name: passes(*made) for name, made in candidates.items()}
        timings = by_column(steps, columns, options.repeats)
        table.add(f"L = {lmax}", timings)
    if len(options.degrees) > 1:
        print(table.growth(options.degrees))
    finish(options, [table])


if __name__ == "__main__":
    main()
