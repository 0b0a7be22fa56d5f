"""Depth-wise edge convolution (the message of NequIP): products with per-edge weights, summed onto receivers."""

import argparse
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.harness import Table, arguments, by_column, finish, peak_memory, peer, start
from intertwine.so3 import EdgeConv, Irreps

Conv = Callable[[Tensor, Tensor, Tensor], Tensor]


class Setting:
    """One graph and one EdgeConv; every peer gets the same numbers in its own layout, converted outside the clock."""

    def __init__(self, lmax: int, channels: int, edges: int, dtype: torch.dtype, generator: torch.Generator):
        self.lmax, self.channels, self.edges, self.dtype = lmax, channels, edges, dtype
        self.irreps = Irreps.spherical(lmax, channels)
        self.conv = EdgeConv(self.irreps, lmax, Irreps.spherical(lmax))
        self.nodes = max(1, edges // 12)
        self.dst = torch.randint(self.nodes, (edges,), generator=generator).sort().values
        self.src = torch.randint(self.nodes, (edges,), generator=generator)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=dtype)

        self.x, self.Y = draw(self.nodes, self.irreps.dim), draw(edges, (lmax + 1) ** 2)
        self.w = draw(edges, *self.conv.weight_shape)

    def ours(self) -> tuple[Conv, tuple[Tensor, ...]]:
        """EdgeConv on flat features."""
        return lambda x, Y, w: self.conv(x, Y, w, self.src, self.dst, self.nodes), (self.x, self.Y, self.w)

    def e3nn(self) -> tuple[Conv, tuple[Tensor, ...]] | None:
        """e3nn's TensorProduct with gather before it and index_add after it."""
        if not peer("e3nn"):
            return None
        o3 = peer("e3nn.o3")
        parity = {l: "e" if l % 2 == 0 else "o" for l in range(self.lmax + 1)}
        one = "+".join(f"{self.channels}x{l}{parity[l]}" for l in range(self.lmax + 1))
        edge = "+".join(f"1x{l}{parity[l]}" for l in range(self.lmax + 1))
        out = "+".join(f"{self.channels}x{irrep}" for _, _, irrep in self.conv.paths)
        instructions = [(i, l2, k, "uvu", True) for k, (i, l2, _) in enumerate(self.conv.paths)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            product = o3.TensorProduct(one, edge, out, instructions, shared_weights=False, internal_weights=False).to(
                self.dtype
            )

        def run(x: Tensor, Y: Tensor, w: Tensor) -> Tensor:
            message = product(x.index_select(0, self.src), Y, w)
            return message.new_zeros(self.nodes, message.shape[1]).index_add(0, self.dst, message)

        x = torch.cat([block.mT.flatten(1) for block in self.irreps.split(self.x)], 1)  # [2l+1, c] -> [c, 2l+1]
        return run, (x, self.Y, self.w.flatten(1))

    def e3nn_to_ours(self, y: Tensor) -> Tensor:
        """The output of `e3nn`, a block [c, 2l+1] for each path, in our layout."""
        sizes = [self.channels * irrep.dim for _, _, irrep in self.conv.paths]
        parts: dict[str, list[Tensor]] = {}
        for (_, _, irrep), block in zip(self.conv.paths, y.split(sizes, 1)):
            parts.setdefault(str(irrep), []).append(block.unflatten(1, (self.channels, irrep.dim)).mT)
        return self.conv.rep_out.join([torch.cat(parts[str(irrep)], -1) for irrep, _ in self.conv.rep_out.blocks])

    def cuequivariance(self) -> tuple[Conv, tuple[Tensor, ...]] | None:
        """cuequivariance's channel-wise product, its own gather and scatter, layout ir_mul."""
        cuet, cue = peer("cuequivariance_torch"), peer("cuequivariance")
        if cuet is None or cue is None:
            return None
        names = [f"{l}{'e' if l % 2 == 0 else 'o'}" for l in range(self.lmax + 1)]
        one = cue.Irreps("O3", "+".join(f"{self.channels}x{name}" for name in names))
        edge, keep = cue.Irreps("O3", "+".join(names)), [cue.O3(l, (-1) ** l) for l in range(self.lmax + 1)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            product = cuet.ChannelWiseTensorProduct(
                one,
                edge,
                keep,
                layout=cue.ir_mul,
                shared_weights=False,
                internal_weights=False,
                dtype=self.dtype,
                method=None if torch.cuda.is_available() else "naive",
            )

        def run(x: Tensor, Y: Tensor, w: Tensor) -> Tensor:
            message = product(x.index_select(0, self.src), Y, w)
            return message.new_zeros(self.nodes, message.shape[1]).index_add(0, self.dst, message)

        return run, (self.x, self.Y, self.w.flatten(1))


def passes(run: Conv, inputs: tuple[Tensor, ...]) -> dict[str, Callable[[], object]]:
    """Forward; forward and backward by everything; and the training step on a gradient (double backward)."""
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    with torch.no_grad():
        h = torch.ones_like(run(*inputs))

    def forward() -> None:
        with torch.no_grad():
            run(*inputs)

    def backward() -> None:
        torch.autograd.grad(run(*leaves), leaves, h)

    def double() -> None:
        first = torch.autograd.grad(run(*leaves), leaves, h, create_graph=True)
        torch.autograd.grad(sum(g.square().sum() for g in first), leaves)

    return {"forward": forward, "forward + backward": backward, "double backward": double}


def compiled(candidates: dict[str, tuple[Conv, tuple[Tensor, ...]]]) -> dict[str, tuple[Conv, tuple[Tensor, ...]]]:
    """The same, through torch.compile; one that does not compile is left out by name."""
    found = {}
    for name, (run, inputs) in candidates.items():
        torch.compiler.reset()
        fast = torch.compile(run)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for call in list(passes(fast, inputs).values())[:2]:
                    call()
        except Exception as failure:  # whatever a compiler raises
            print(f"left out: {name} compiled ({type(failure).__name__})")
            continue
        found[f"{name} compiled"] = fast, inputs
    return found


def memory(options: argparse.Namespace) -> None:
    """Print the memory that each pass of one candidate needs on top of its inputs; run it once for each candidate."""
    name, lmax, dtype = options.memory, options.degrees[0], getattr(torch, options.dtype)
    find = {"intertwine": "ours"}.get(name, name)
    small, setting = (
        Setting(lmax, options.channels, edges, dtype, torch.Generator().manual_seed(0)) for edges in (50, options.edges)
    )
    for call in passes(*getattr(small, find)()).values():
        call()  # what is built once is not counted
    for column, call in passes(*getattr(setting, find)()).items():
        print(f"{name}, L = {lmax}, E = {options.edges}, C = {options.channels}: {column} {peak_memory(call):.0f} MiB")


def main() -> None:
    """Print the table for each degree."""
    parser = arguments(__doc__)
    parser.add_argument("--degrees", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--edges", type=int, default=1000)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--peers", nargs="*", default=["e3nn", "cuequivariance"])
    parser.add_argument("--compile", action="store_true", help="compiled forms of ours and e3nn's too")
    parser.add_argument(
        "--memory", metavar="NAME", help="instead of times, the peak memory of one candidate (ours: intertwine)"
    )
    options = parser.parse_args()
    start(options)
    if options.memory:
        return memory(options)
    columns = ["forward", "forward + backward"] + ["double backward"] * (not options.compile)
    table = Table(f"uvu edge convolution, E = {options.edges}, C = {options.channels}, {options.dtype}", columns)
    table.head()
    generator = torch.Generator().manual_seed(0)
    for lmax in options.degrees:
        setting = Setting(lmax, options.channels, options.edges, getattr(torch, options.dtype), generator)
        candidates = {"intertwine": setting.ours()}
        candidates |= {name: made for name in options.peers if (made := getattr(setting, name)())}
        if options.compile:  # a compiled function has no second derivative
            candidates |= compiled({name: candidates[name] for name in ("intertwine", "e3nn") if name in candidates})
        error = {}
        with torch.no_grad():
            reference = candidates["intertwine"][0](*candidates["intertwine"][1])
            if "e3nn" in candidates:
                run, inputs = candidates["e3nn"]
                error["e3nn"] = (setting.e3nn_to_ours(run(*inputs)) - reference).abs().max().item()
        steps = {name: passes(*made) for name, made in candidates.items()}
        timings = by_column(steps, columns, options.repeats)
        table.add(f"L = {lmax}, {len(setting.conv.paths)} paths", timings, error)
    if len(options.degrees) > 1:
        print(table.growth(options.degrees))
    finish(options, [table])


if __name__ == "__main__":
    main()
