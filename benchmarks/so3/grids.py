"""Functions on grids of the sphere and of SO(3): to the grid and back, and activations, against e3nn's."""

import argparse
import warnings

import torch
from torch import Tensor
from torch.nn.functional import silu

from benchmarks.harness import Table, arguments, compare, finish, peak_memory, peer, start
from benchmarks.so3.uvu import Conv, passes
from intertwine import nn
from intertwine.so3 import Irreps, S2Grid, SO3Grid, wigner_irreps

COLUMNS = {
    "transform": ["forward", "forward + backward"],  # linear: no second derivative
    "activation": ["forward", "forward + backward", "double backward"],
    "so3": ["forward", "forward + backward", "double backward"],
}


class Setting:
    """Features of degrees 0..L, and grids of one exactness for all: e3nn's sphere takes twice the rows for it.

    what: "transform", to the smallest grid that is exact for degree L and back; "activation", SiLU on a grid that is
    exact for products, 3 L; "so3", SiLU on the grid of SO(3) that is exact for degree 2 L. Channels are the last axis
    for us, the middle one for e3nn.
    """

    def __init__(self, what: str, lmax: int, channels: int, nodes: int, dtype: torch.dtype):
        self.what, self.lmax, self.channels, self.dtype = what, lmax, channels, dtype
        rows = sum((2 * l + 1) ** (2 if what == "so3" else 1) for l in range(lmax + 1))
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(nodes, rows, channels, generator=generator, dtype=dtype)
        self.exactness = {"transform": 2, "activation": 3, "so3": 4}[what] * lmax

    def intertwine(self) -> tuple[Conv, tuple[Tensor, ...]]:
        """S2Grid, S2Activation, SO3Activation."""
        if self.what == "transform":
            grid = S2Grid.exact(self.lmax)
            return lambda x: grid.from_grid(grid.to_grid(x), self.lmax), (self.x,)
        if self.what == "activation":
            rep, grid = Irreps.spherical(self.lmax, self.channels), S2Grid.exact(self.exactness, order=1)
            layer = nn.S2Activation(rep, silu, grid)
        else:
            rep, grid = wigner_irreps(self.lmax, self.channels), SO3Grid.product(self.exactness // 2)
            layer = nn.SO3Activation(rep, silu, grid)
        return layer.to(self.dtype), (self.x.flatten(1),)

    def e3nn(self) -> tuple[Conv, tuple[Tensor, ...]] | None:
        """ToS2Grid and FromS2Grid, S2Activation, SO3Activation."""
        if not peer("e3nn"):
            return None
        x = self.x.mT.contiguous()
        size = 2 * (self.exactness // 2 + 1), self.exactness + 1  # an even number of rows; exact for rows - 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.what == "transform":
                o3 = peer("e3nn.o3")
                to, back = (o3.ToS2Grid(self.lmax, size), o3.FromS2Grid(size, self.lmax))
                to, back = to.to(self.dtype), back.to(self.dtype)
                return lambda x: back(to(x)), (x,)
            layers = peer("e3nn.nn")
            if self.what == "activation":
                irreps = str(Irreps.spherical(self.lmax)).replace(" ", "")
                return layers.S2Activation(irreps, silu, size).to(self.dtype), (x,)
            # resolution r: 2 r values of β and 4 r of α and γ, exact for degree 2 r - 1
            return layers.SO3Activation(self.lmax, self.lmax, silu, self.exactness // 2 + 1).to(self.dtype), (x,)


def memory(options: argparse.Namespace) -> None:
    """Print the memory of each pass of one candidate on top of its inputs; run it once for each candidate."""
    what, lmax = options.what[0], options.degrees[0]
    small, setting = (
        Setting(what, lmax, options.channels, nodes, getattr(torch, options.dtype)) for nodes in (2, options.nodes)
    )
    warm = passes(*getattr(small, options.memory)())
    for column in COLUMNS[what]:
        warm[column]()
    steps = passes(*getattr(setting, options.memory)())
    for column, call in ((column, steps[column]) for column in COLUMNS[what]):
        print(f"{options.memory}, {what}, L = {lmax}: {column} {peak_memory(call):.0f} MiB")


def main() -> None:
    """Print a table for each kind, with a row for each degree."""
    parser = arguments(__doc__)
    parser.add_argument("--what", nargs="+", default=["transform", "activation", "so3"])
    parser.add_argument("--degrees", type=int, nargs="+", default=[1, 2, 3, 4, 6, 8])
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--memory", metavar="NAME", help="instead of times, the peak memory of one candidate")
    options = parser.parse_args()
    start(options)
    if options.memory:
        return memory(options)
    tables = []
    for what in options.what:
        tables.append(Table(f"{what}, {options.nodes} nodes, C = {options.channels}, {options.dtype}", COLUMNS[what]))
        tables[-1].head()
        for lmax in options.degrees:
            if what == "so3" and lmax > 2:
                continue  # e3nn's grid of exactness 12 takes seconds
            setting = Setting(what, lmax, options.channels, options.nodes, getattr(torch, options.dtype))
            candidates = {"intertwine": setting.intertwine()}
            candidates |= {name: made for name in ("e3nn",) if (made := getattr(setting, name)())}
            error = {}
            if "e3nn" in candidates and what == "transform":
                y, z = (run(*x) for run, x in candidates.values())
                error["e3nn"] = (y - z.mT).abs().max().item()
            steps = {name: passes(*made) for name, made in candidates.items()}
            timings = {
                column: compare({name: made[column] for name, made in steps.items()}, repeats=options.repeats)
                for column in COLUMNS[what]
            }
            tables[-1].add(f"L = {lmax}", timings, error)
    finish(options, tables)


if __name__ == "__main__":
    main()
