"""Cartesian tensors as irreps, against e3nn; invariants of tensors computed together, one by one and by hand."""

import torch

from benchmarks.harness import Table, arguments, compare, finish, peer, start
from intertwine.maps import Cartesian, tensor_invariants
from intertwine.maps.tensor_network import evaluate
from intertwine.so3.cartesian import CartesianTensor, decompose

FORMULAS = ("ij=ji", "ijk=ikj", "ijkl=jikl=klij", "ijkl=jikl=jkli", "ijkl")
TENSORS = 1000  # converted at once
BATCHES = (1, 100, 10000)  # of pairs of matrices


def setup(formula: str) -> None:
    """The basis from nothing."""
    decompose.cache_clear()
    _ = CartesianTensor(formula).basis


def conversion(table: Table, formula: str, batch: int, repeats: int) -> None:
    """Find the change of basis, and apply it."""
    io = peer("e3nn.io")
    ours = CartesianTensor(formula)
    t = ours.from_irreps(ours.irreps.randn(batch, generator=torch.Generator().manual_seed(0)))
    first, second, error = {"intertwine": lambda: setup(formula)}, {"intertwine": lambda: ours.to_irreps(t)}, {}
    if io is not None:
        theirs = io.CartesianTensor(formula)
        products = theirs.reduced_tensor_products(t)
        first["e3nn"] = lambda: theirs.reduced_tensor_products(t)
        second["e3nn"] = lambda: theirs.from_cartesian(t, rtp=products)
        again = theirs.to_cartesian(theirs.from_cartesian(t, rtp=products), rtp=products)
        error["e3nn"] = (again - ours.from_irreps(ours.to_irreps(t))).abs().max().item()
    timings = {"setup": compare(first, repeats=7, warmup=1), "to irreps": compare(second, repeats=repeats)}
    table.add(formula, timings, error)


def by_hand(data: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """The invariants of two symmetric matrices, with the products shared as a person would."""
    C, M = data["C"], data["M"]
    CC, MM = C @ C, M @ M

    def trace(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).sum((-1, -2))

    single = [x.diagonal(dim1=-2, dim2=-1).sum(-1) for x in (C, M)]
    pairs = ((C, C), (C, M), (M, M), (CC, C), (CC, M), (C, MM), (MM, M), (CC, MM))
    return single + [trace(a, b) for a, b in pairs]


def invariants(table: Table, batch: int, repeats: int) -> None:
    """All ten generators for two symmetric matrices."""
    networks = tensor_invariants(dict.fromkeys("CM", Cartesian(2, symmetric=True)), 4)
    generator = torch.Generator().manual_seed(0)
    data = {name: (x := torch.randn(batch, 3, 3, generator=generator)) + x.mT for name in "CM"}
    ours, hand = evaluate(networks, data), by_hand(data)
    candidates = {
        "intertwine": lambda: evaluate(networks, data),
        "one by one": lambda: [network.evaluate(data) for network in networks],
        "by hand": lambda: by_hand(data),
    }
    difference = max((a - b).abs().max().item() for a, b in zip(ours, hand))
    table.add(f"batch {batch}", {"forward": compare(candidates, repeats=repeats)}, {"by hand": difference})


def main() -> None:
    """Print two tables."""
    options = arguments(__doc__).parse_args()
    start(options)
    tables = [Table(f"Cartesian tensors to irreps, {TENSORS} tensors", ["setup", "to irreps"])]
    tables[-1].head()
    for formula in FORMULAS:
        conversion(tables[-1], formula, TENSORS, options.repeats)
    tables.append(Table("The ten invariants of two symmetric matrices", ["forward"]))
    tables[-1].head()
    for batch in BATCHES:
        invariants(tables[-1], batch, options.repeats)
    finish(options, tables)


if __name__ == "__main__":
    main()
