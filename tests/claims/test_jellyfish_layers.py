"""Jellyfish (arXiv:2301.10152): what layers of even permutations can express beyond layers of all permutations."""

import pytest
import torch

from claims.claim import Claim, Numbers
from intertwine import maps
from intertwine.groups import A, S


def experiment(*, seed: int, n: int, samples: int) -> Numbers:
    """Least squares of an A(n)-equivariant map V² → V, half partitions and half jellyfish, by layers of A(n), S(n)."""
    generator = torch.Generator().manual_seed(seed)
    even, every = (maps.between(group.V**2, group.V) for group in (A(n), S(n)))
    basis, plain = even.basis(), every.dim
    parts = []
    for maps_ in (basis[:plain], basis[plain:]):
        part = torch.tensordot(torch.randn(len(maps_), generator=generator, dtype=torch.float64), maps_, 1)
        parts.append(part / part.norm())
    M = sum(parts)
    x = even.rep_in.randn(samples, generator=generator, dtype=torch.float64)
    y = x @ M.T
    left = {}
    for name, space in (("A", even), ("S", every)):
        features = torch.einsum("bij,sj->sib", space.basis(), x).flatten(0, 1)
        found = torch.linalg.lstsq(features, y.reshape(-1, 1)).solution
        left[name] = ((features @ found - y.reshape(-1, 1)) ** 2).sum().item() / (y**2).sum().item()
    return {
        "left over by A(n)": left["A"],
        "left over by S(n)": left["S"],
        "weights of A(n)": even.dim,
        "weights of S(n)": every.dim,
        "weights of a dense layer": n**3,
    }


def holds(numbers: Numbers) -> bool:
    """Nothing is left over by the right group, about half of the energy by the larger one."""
    return numbers["left over by A(n)"] < 1e-20 and 0.35 < numbers["left over by S(n)"] < 0.65


def ours(numbers: Numbers) -> str:
    return (
        f"energy left over: {numbers['left over by A(n)']:.0e} with the {numbers['weights of A(n)']} maps of A(n), "
        f"{numbers['left over by S(n)']:.2f} with the {numbers['weights of S(n)']} of S(n)"
    )


CLAIM = Claim(
    name="jellyfish_layers",
    system="Jellyfish",
    symbol="intertwine.maps.diagrams",
    arxiv="2301.10152",
    statement="the layers of A(n) are those of S(n) and the jellyfish, and a target with both needs both",
    theirs="theorem on the basis (theory, no number)",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"n": 4, "samples": 200},
    full={"n": 4, "samples": 2000},
)


@pytest.mark.claim
def test_even_permutations_need_jellyfish():
    numbers, _ = CLAIM.run(CLAIM.short)
    assert CLAIM.holds(numbers), numbers
    assert (numbers["weights of A(n)"], numbers["weights of S(n)"]) == (6, 5)


def test_the_rule_can_fail():
    assert not holds({"left over by A(n)": 0.0, "left over by S(n)": 0.0})
    assert not holds({"left over by A(n)": 0.1, "left over by S(n)": 0.5})
