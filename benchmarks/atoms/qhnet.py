"""The layers of QHNet against a NequIP layer of equal irreps, on all ordered pairs of the same molecules.

There is no peer on a registry; a NequIP layer, with the networks that give its weights, is what a reader knows.
"""

from collections.abc import Callable

import torch
from ase.build import molecule
from torch import Tensor, nn

from benchmarks.harness import Table, arguments, by_column, finish, start
from intertwine.models.atoms.nequip import Interaction
from intertwine.models.atoms.qhnet_layers import NodeLayer, PairLayer, SelfLayer
from intertwine.nn import full_graph
from intertwine.nn.radial_networks import RadialNetworks
from intertwine.so3 import Irreps, spherical_harmonics

COLUMNS = ["forward", "forward + backward"]


class NequIPLayer(nn.Module):
    """One layer with its own radial network."""

    def __init__(self, rep: Irreps, degree: int, n_radial: int, generator: torch.Generator):
        super().__init__()
        self.layer = Interaction(rep, degree, rep, 1, 8.0, generator)
        self.radial = RadialNetworks([n_radial, 64, 64], [self.layer.conv.weight_shape], generator)

    def forward(self, h: Tensor, Y: Tensor, basis: Tensor, pairs: Tensor) -> Tensor:
        """New features of the atoms."""
        species = torch.zeros(len(h), dtype=torch.int64)
        return self.layer(h, species, Y, self.radial(basis)[0], *pairs)


def passes(call: Callable[[Tensor], Tensor], layer: nn.Module, h: Tensor) -> dict[str, Callable[[], object]]:
    """Forward alone, and with the derivatives by h and all weights."""

    def forward() -> None:
        with torch.no_grad():
            call(h)

    def both() -> None:
        leaf = h.detach().requires_grad_()
        torch.autograd.grad(call(leaf).square().sum(), [leaf, *layer.parameters()])

    return dict(zip(COLUMNS, (forward, both)))


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--degrees", type=int, nargs="+", default=[2, 4, 4])
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 32, 128])
    parser.add_argument("--molecules", type=int, default=2)
    options = parser.parse_args()
    start(options)
    table = Table(f"{options.molecules} ethanols, all 72 ordered pairs each, float32", COLUMNS, ours="NequIP layer")
    table.head()
    generator = torch.Generator().manual_seed(0)
    pos = torch.tensor(molecule("CH3CH2OH").positions, dtype=torch.float32).repeat(options.molecules, 1)
    atoms = torch.arange(options.molecules).repeat_interleave(len(pos) // options.molecules)
    pairs = full_graph(len(pos), atoms)
    basis = torch.rand(pairs.shape[1], 32, generator=generator)
    for degree, channels in zip(options.degrees, options.channels):
        rep = Irreps.spherical(degree, channels, None)
        Y = spherical_harmonics(pos[pairs[0]] - pos[pairs[1]], degree)
        h = rep.randn(len(pos), generator=generator, dtype=torch.float32)
        known = NequIPLayer(rep, degree, 32, generator)
        node = NodeLayer(rep, rep, degree, 32, 32, True, generator)
        pair, own = PairLayer(rep, rep, 32, 32, generator), SelfLayer(rep, rep, generator)
        steps = {
            "NequIP layer": passes(lambda x, f=known, Y=Y: f(x, Y, basis, pairs), known, h),
            "messages": passes(lambda x, f=node, Y=Y: f(x, Y, basis, pairs), node, h),
            "pairs": passes(lambda x, f=pair: f(x, basis, pairs), pair, h),
            "atoms with themselves": passes(own, own, h),
        }
        table.add(f"L = {degree}, C = {channels}", by_column(steps, COLUMNS, options.repeats))
    finish(options, [table])


if __name__ == "__main__":
    main()
