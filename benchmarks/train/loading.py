"""How fast one core hands out structures: from extended XYZ, from LMDB, with neighbours, as batches; and who waits."""

import tempfile
import warnings
from pathlib import Path

import numpy as np
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from benchmarks.harness import arguments, compare, start
from intertwine.data.atoms import AtomicDataset, Checks, pack, read, write
from intertwine.train.batches import Packed
from intertwine.train.order import Balanced, Order


def labelled(kind: str, count: int) -> AtomicDataset:
    """Rattled copies of one structure with labels of zero."""
    rng = np.random.default_rng(0)
    start = molecule("CH3CH2OCH3") if kind == "molecule" else bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (2, 2, 1)
    images = []
    for _ in range(count):
        atoms = start.copy()
        atoms.positions += 0.05 * rng.standard_normal(atoms.positions.shape)
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((len(atoms), 3)))
        images.append(atoms)
    return AtomicDataset.from_ase(images, checks=Checks(energy_sigmas=None))


def rates(kind: str, repeats: int) -> None:
    """Print structures and atoms a second, by processor time."""
    count = 200
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole, text, packed = labelled(kind, count), Path(name) / "set.extxyz", Path(name) / "set.lmdb"
        write(text, whole)
        pack(whole, packed)
        alone, connected = read(packed), read(packed, cutoff=5.0)
        batches = Packed(connected)
        order = np.arange(count).reshape(-1, 20)
        times = compare(
            {
                "extended XYZ, checked": lambda: read(text),
                "LMDB": lambda: [alone[i] for i in range(count)],
                "LMDB, neighbours within 5 Å": lambda: [connected[i] for i in range(count)],
                "LMDB, batches of 20 with neighbours": lambda: [batches.batch(rows) for rows in order],
            },
            repeats=repeats,
            warmup=1,
        )
        atoms = int(whole.natoms[0])
        edges, size = connected[0].edge_index.shape[1], packed.stat().st_size / count
        print(f"\n{kind}: {atoms} atoms, {edges} edges, {size:.0f} bytes each")
        for label, timing in times.items():
            rate = 1000 * count / timing.minimum
            print(f"{label:<40}{rate:10,.0f} structures/s {rate * atoms:12,.0f} atoms/s")


def waiting() -> None:
    """Print how much larger than the mean the largest batch of a step is, for 64 processes and a mixed set."""
    rng = np.random.default_rng(0)
    sizes = rng.lognormal(np.log(40), 0.7, 1_000_000).astype(int).clip(1, 400)
    made = {
        "counted": Order(len(sizes), int(2000 / sizes.mean()), shuffle=True),
        "bounded": Balanced([(sizes, 2000)]),
    }
    print("\na million structures, 64 processes, about 2,000 atoms in a batch")
    for name, order in made.items():
        order.world = lambda: (0, 64)
        loads = np.array([[sizes[share].sum() for share in union] for union in order.unions()[:-1]])
        wait = (loads.max(1) / loads.mean(1)).mean()
        print(f"{name}: largest {loads.max():,}, mean {loads.mean():,.0f}, largest of a step {wait:.3f} × mean")


def main() -> None:
    """All tables."""
    options = arguments(__doc__).parse_args()
    start(options)
    for kind in ("molecule", "crystal"):
        rates(kind, options.repeats)
    waiting()


if __name__ == "__main__":
    main()
