"""Linear layers on tensors: all diagrams at once against the dense matrix and hand-written layers."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.harness import Table, arguments, compare, finish, start
from benchmarks.maps import peers
from intertwine import maps
from intertwine.groups import Group, O, S

DENSE_ENTRIES = 5e7  # a dense matrix above this is left out
GRAPHS = (10, 20, 30, 50, 100)  # n of order 2 to 2
TRIPLES = (6, 9, 12)  # n of order 3 to 3
SPACES = ((3, 1), (3, 8), (3, 64), (6, 8), (9, 8))  # n and batch of O(n), order 3 to 3


class Setting:
    """One layer c·V^k → c·V^l and the same numbers for every peer."""

    def __init__(self, group: Group, k: int, l: int, channels: int, batch: int, generator: torch.Generator):
        V = group.V
        self.group, self.k, self.l, self.channels, self.batch = group, k, l, channels, batch
        self.space = maps.between(channels * V**k, channels * V**l)
        self.x = self.space.rep_in.randn(batch, generator=generator)
        self.w = torch.randn(self.space.dim, generator=generator) / self.space.dim**0.5

    def ours(self):
        """`Map.apply` on flat features."""
        return self.space.apply, self.x, self.w, lambda y: y

    def dense(self):
        """The matrix made of the basis at every step; None where it would be huge."""
        if self.space.rep_in.dim * self.space.rep_out.dim > DENSE_ENTRIES:
            return None
        return peers.dense(self.space, torch.float32), self.x, self._blocks(), lambda y: y

    def one_by_one(self):
        """One contraction for each diagram."""
        return peers.one_by_one(self.space), self.x, self._blocks(), lambda y: y

    def fifteen(self):
        """The hand-written graph layer; only order 2 of S(n)."""
        return self._fifteen(peers.stacked)

    def fifteen_as_product(self):
        """The hand-written graph layer with its einsum as a matrix product."""
        return self._fifteen(peers.stacked_as_product)

    def _fifteen(self, run):
        if not isinstance(self.group, S) or (self.k, self.l) != (2, 2):
            return None
        n, c = self.group.dim_V, self.channels
        x = self.x.view(self.batch, n, n, c).permute(0, 3, 1, 2).contiguous()
        w = self._blocks()[peers.fifteen_in_our_order()].permute(1, 2, 0).contiguous()
        return run, x, w, lambda y: y.permute(0, 2, 3, 1).flatten(1)

    def _blocks(self) -> Tensor:
        return self.w.view(-1, self.channels, self.channels)


def passes(run: Callable, x: Tensor, w: Tensor) -> dict[str, Callable[[], object]]:
    """Forward, and forward with backward by features and weights."""
    leaves = [t.detach().clone().requires_grad_() for t in (x, w)]
    with torch.no_grad():
        v = torch.randn_like(run(x, w))

    def forward() -> None:
        with torch.no_grad():
            run(x, w)

    def both() -> None:
        torch.autograd.grad(run(*leaves), leaves, v)

    return {"forward": forward, "forward + backward": both}


def row(table: Table, label: str, setting: Setting, names: list[str], repeats: int) -> None:
    """Time ours and the named peers, and compare their outputs."""
    made = {"intertwine": setting.ours()} | {name: found for name in names if (found := getattr(setting, name)())}
    with torch.no_grad():
        outputs = {name: back(run(x, w)) for name, (run, x, w, back) in made.items()}
    error = {
        name: (y - outputs["intertwine"]).abs().max().item() for name, y in outputs.items() if name != "intertwine"
    }
    steps = {name: passes(run, x, w) for name, (run, x, w, _) in made.items()}
    columns = ["forward", "forward + backward"]
    timings = {
        column: compare({name: step[column] for name, step in steps.items()}, repeats=repeats) for column in columns
    }
    table.add(label, timings, error)


def main() -> None:
    """Print three tables."""
    parser = arguments(__doc__)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    start(options)
    generator = torch.Generator().manual_seed(0)
    columns, c, batch = ["forward", "forward + backward"], options.channels, options.batch
    peers_of_graphs = ["fifteen", "fifteen_as_product", "dense", "one_by_one"]
    tables = [Table(f"S(n), order 2 to 2, {c} to {c} channels, batch {batch}", columns)]
    tables[-1].head()
    for n in GRAPHS:
        row(tables[-1], f"n = {n}", Setting(S(n), 2, 2, c, batch, generator), peers_of_graphs, options.repeats)
    tables.append(Table("S(n), order 3 to 3, 16 to 16 channels, batch 1", columns))
    tables[-1].head()
    for n in TRIPLES:
        row(tables[-1], f"n = {n}", Setting(S(n), 3, 3, 16, 1, generator), ["dense", "one_by_one"], options.repeats)
    tables.append(Table("O(n), order 3 to 3, 32 to 32 channels", columns))
    tables[-1].head()
    for n, batch in SPACES:
        setting = Setting(O(n), 3, 3, 32, batch, generator)
        row(tables[-1], f"n = {n}, batch {batch}", setting, ["dense"], options.repeats)
    finish(options, tables)


if __name__ == "__main__":
    main()
