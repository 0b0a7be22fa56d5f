"""Stiffness of lattices by the network against beam theory, by the number of joints."""

import torch

from benchmarks.harness import Table, arguments, by_column, finish, start
from intertwine.data.atoms import Lattices, collate_lattices, homogenize, random_lattice
from intertwine.models.atoms import LatticeElasticityNet


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--joints", type=int, nargs="+", default=[3, 8, 32, 64])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--channels", type=int, default=32)
    options = parser.parse_args()
    start(options)
    columns = ["one lattice", f"{options.batch} lattices"]
    table = Table(f"Stiffness of random lattices, {options.channels} channels, float32", columns)
    table.head()
    generator = torch.Generator().manual_seed(0)
    model = LatticeElasticityNet(channels=options.channels, generator=generator).eval()
    for joints in options.joints:
        made = [random_lattice(joints, generator=generator) for _ in range(options.batch)]
        calls = {"intertwine": {}, "beams": {}}
        for column, lattices in zip(columns, (made[0], collate_lattices(made))):
            single = Lattices(*(part.float() if part.is_floating_point() else part for part in lattices))
            calls["intertwine"][column] = torch.no_grad()(lambda x=single: model(x))
            calls["beams"][column] = lambda x=lattices: homogenize(x)
        struts = made[0].bars.shape[1]
        table.add(f"{joints} joints, {struts} struts", by_column(calls, columns, options.repeats))
    finish(options, [table])


if __name__ == "__main__":
    main()
