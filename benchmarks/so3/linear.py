"""The linear layer between irreps: degrees 0..L, C channels to C, no bias."""

import warnings

import torch
from torch import Tensor

from benchmarks.harness import Table, arguments, by_column, finish, peer, start
from benchmarks.so3.uvu import Conv, passes
from intertwine import nn
from intertwine.so3 import Irreps

COLUMNS = ["forward", "forward + backward"]


class Setting:
    """One feature; each peer gets it in its own layout, with the same weights."""

    def __init__(self, lmax: int, channels: int, nodes: int, dtype: torch.dtype):
        generator = torch.Generator().manual_seed(0)
        self.irreps, self.channels, self.dtype = Irreps.spherical(lmax, channels), channels, dtype
        self.x = torch.randn(nodes, self.irreps.dim, generator=generator, dtype=dtype)
        self.layer = nn.Linear(self.irreps, self.irreps, bias=False, generator=generator).to(dtype)

    def intertwine(self) -> tuple[Conv, tuple[Tensor, ...]]:
        """nn.Linear: its map, with the weights given from outside, as the peers take them."""
        return self.layer.map.apply, (self.x, self.layer.weight)

    def e3nn(self) -> tuple[Conv, tuple[Tensor, ...]] | None:
        """o3.Linear."""
        if not peer("e3nn"):
            return None
        text = str(self.irreps)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layer = peer("e3nn.o3").Linear(text, text, internal_weights=False).to(self.dtype)
        x = torch.cat([block.mT.flatten(1) for block in self.irreps.split(self.x)], 1)
        return layer, (x, self.layer.weight * self.channels**0.5)

    def cuequivariance(self) -> tuple[Conv, tuple[Tensor, ...]] | None:
        """cuequivariance's Linear, layout ir_mul."""
        cuet, cue = peer("cuequivariance_torch"), peer("cuequivariance")
        if cuet is None or cue is None:
            return None
        irreps = cue.Irreps("O3", str(self.irreps))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layer = cuet.Linear(
                irreps,
                irreps,
                layout=cue.ir_mul,
                internal_weights=False,
                shared_weights=True,
                dtype=self.dtype,
                method=None if torch.cuda.is_available() else "naive",
            )
        return lambda x, w: layer(x, w[None]), (self.x, self.layer.weight * self.channels**0.5)


def main() -> None:
    """Print the table for each degree."""
    parser = arguments(__doc__)
    parser.add_argument("--degrees", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--peers", nargs="*", default=["e3nn", "cuequivariance"])
    options = parser.parse_args()
    start(options)
    table = Table(f"linear layer, B = {options.nodes}, C = {options.channels}, {options.dtype}", COLUMNS)
    table.head()
    for lmax in options.degrees:
        setting = Setting(lmax, options.channels, options.nodes, getattr(torch, options.dtype))
        made = {"intertwine": setting.intertwine()}
        made |= {name: found for name in options.peers if (found := getattr(setting, name)())}
        own = made["intertwine"][0](*made["intertwine"][1]).detach()
        error = {}
        for name in set(made) - {"intertwine"}:
            y = made[name][0](*made[name][1]).detach()
            if name == "e3nn":
                sizes = [c * irrep.dim for irrep, c in setting.irreps.blocks]
                parts = zip(setting.irreps.blocks, y.split(sizes, 1))
                y = setting.irreps.join([part.unflatten(1, (c, irrep.dim)).mT for (irrep, c), part in parts])
            error[name] = (y - own).abs().max().item()
        steps = {name: passes(*found) for name, found in made.items()}
        timings = by_column(steps, COLUMNS, options.repeats)
        table.add(f"L = {lmax}", timings, error)
    if len(options.degrees) > 1:
        print(table.growth(options.degrees))
    finish(options, [table])


if __name__ == "__main__":
    main()
