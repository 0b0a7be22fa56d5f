"""The numerical solver alone: time and residual of large tensor powers, and what a general solver of today takes."""

import time

from benchmarks.harness import arguments, start
from intertwine import maps
from intertwine.groups import SO, SU, Group, S, Sp, U
from intertwine.maps import solver, store
from intertwine.reps import Product

POWERS = [(SO(3), 7), (SO(3), 8), (SO(3), 9), (S(6), 7), (SU(2), 6), (SU(3), 5), (U(2), 6)]
EMLP = {(S(5), 3, 2): 12.0, (Sp(4), 3, 2): 24.0}  # seconds on two cores; names Sp(4) Sp(2) (arXiv:2104.09459)


def power(group: Group, m: int) -> Product:
    """V ⊗ .. ⊗ V, m times."""
    return Product(group.V.terms[0][0].factors * m)


def main() -> None:
    """Print both tables."""
    options = arguments(__doc__).parse_args()
    start(options)
    print("| invariants of | components | found | seconds | residual | method |\n|---|---|---|---|---|---|")
    for group, m in POWERS:
        store.memory.cache_clear()
        began = time.process_time()
        basis = solver.solve(group, power(group, m))
        seconds = time.process_time() - began
        size = power(group, m).dim
        print(f"| V^{m} of {group} | {size} | {basis.dim} | {seconds:.2g} | {basis.residual:.0e} | {basis.method} |")
    print('\n| layer, `method="solver"` | maps | seconds | EMLP | ratio |\n|---|---|---|---|---|')
    for (group, k, l), theirs in EMLP.items():
        store.memory.cache_clear()
        began = time.process_time()
        space = maps.between(group.V**k, group.V**l, method="solver", allow_zero=True)
        seconds = time.process_time() - began
        print(f"| {group}, {k} to {l} | {space.dim} | {seconds:.2g} | {theirs:g} | {theirs / seconds:.0f} |")


if __name__ == "__main__":
    main()
