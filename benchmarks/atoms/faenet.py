"""FAENet bare, with one frame and with all, beside the SchNet of torch_geometric on the same edges."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.harness import Table, arguments, by_column, finish, peer, start
from intertwine.models.atoms import FAENet

COLUMNS = ["forward", "forward + backward"]


class Batch:
    """Random molecules: atoms in boxes of their own, edges up to the cutoff."""

    def __init__(self, molecules: int, atoms: int, cutoff: float, generator: torch.Generator):
        self.cutoff = cutoff
        self.pos = 1.6 * atoms ** (1 / 3) * torch.rand(molecules * atoms, 3, generator=generator)
        self.graph = torch.arange(molecules).repeat_interleave(atoms)
        self.species = torch.randint(4, (len(self.pos),), generator=generator)
        near = (torch.cdist(self.pos, self.pos) < cutoff) & (self.graph[:, None] == self.graph)
        near.fill_diagonal_(False)
        target, source = near.nonzero().T
        self.edge_index = torch.stack([source, target])
        self.vectors = self.pos[source] - self.pos[target]


def ours(batch: Batch, frames: str | None, width: int, layers: int) -> tuple[Callable[[], Tensor], list[Tensor]]:
    """Energies of atoms and the weights; frames None, "stochastic" (one drawn), "all"."""
    network = FAENet(
        ("H", "C", "N", "O"),
        cutoff=batch.cutoff,
        frames=frames,
        hidden=width,
        filters=width,
        layers=layers,
        n_gaussian=50,
        period_group=8,
        generator=torch.Generator().manual_seed(0),
    )
    data = batch.species, batch.vectors, batch.edge_index, batch.graph
    return lambda: network(*data), list(network.parameters())


def schnet(batch: Batch, width: int, layers: int) -> tuple[Callable[[], Tensor], list[Tensor]] | None:
    """torch_geometric's, given the edges."""
    models = peer("torch_geometric.nn")
    if models is None:
        return None
    lengths = batch.vectors.norm(dim=1)
    network = models.SchNet(
        width, width, layers, 50, batch.cutoff, interaction_graph=lambda pos, graph: (batch.edge_index, lengths)
    )
    numbers = torch.tensor([1, 6, 7, 8])[batch.species]
    return lambda: network(numbers, batch.pos, batch.graph), list(network.parameters())


def passes(run: Callable[[], Tensor], weights: list[Tensor]) -> dict[str, Callable[[], object]]:
    """What is timed."""

    def forward() -> Tensor:
        with torch.no_grad():
            return run()

    def backward() -> object:
        return torch.autograd.grad(run().sum(), weights, allow_unused=True)

    return {"forward": forward, "forward + backward": backward}


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--molecules", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--atoms", type=int, default=20)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    options = parser.parse_args()
    start(options)
    table = Table(f"{options.layers} layers of {options.width}, {options.atoms} atoms each", COLUMNS, ours="one frame")
    table.head()
    for molecules in options.molecules:
        batch = Batch(molecules, options.atoms, 5.0, torch.Generator().manual_seed(0))
        made = {
            "one frame": ours(batch, "stochastic", options.width, options.layers),
            "bare": ours(batch, None, options.width, options.layers),
            "all frames": ours(batch, "all", options.width, options.layers),
            "SchNet": schnet(batch, options.width, options.layers),
        }
        steps = {name: passes(*pair) for name, pair in made.items() if pair}
        row = f"{molecules} molecules, {batch.edge_index.shape[1]} edges"
        table.add(row, by_column(steps, COLUMNS, options.repeats))
    finish(options, [table])


if __name__ == "__main__":
    main()
