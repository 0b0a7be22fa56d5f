"""Partition diagrams (arXiv:2212.08648): every permutation-equivariant layer, learnt from a handful of samples."""

import pytest
import torch

from claims.claim import Claim, Numbers
from intertwine import maps
from intertwine.groups import S
from intertwine.maps.characters import count_invariants
from intertwine.maps.diagrams import partition


def experiment(*, seed: int, n: int, samples: int, points: int) -> Numbers:
    """Learn a random S(n)-equivariant map from graphs to graphs by least squares, with its basis and without; and count
    dimensions for n up to `points` and as many points, by formula, walks, characters and the numerical solver."""
    generator = torch.Generator().manual_seed(seed)
    V = S(n).V
    space = maps.between(V**2, V**2)
    basis = space.basis()
    M = space.matrix(torch.randn(space.dim, generator=generator, dtype=torch.float64))
    x, tested = (space.rep_in.randn(count, generator=generator, dtype=torch.float64) for count in (samples, 200))
    wanted, variance = tested @ M.T, (tested @ M.T).var().item()
    features = torch.einsum("bij,sj->sib", basis, x).flatten(0, 1)
    weight = torch.linalg.lstsq(features, (x @ M.T).reshape(-1, 1)).solution[:, 0]
    free = torch.linalg.lstsq(x, x @ M.T, driver="gelsd").solution  # the smallest matrix that fits
    agree = disagree_with_bell = 0
    bell = (1, 1, 2, 5, 15, 52, 203, 877, 4140)
    for size in range(1, points + 1):
        for m in range(points + 1):
            count = partition.dimension(size, m, 0)
            ways = {
                count,
                partition.dimension_by_walks(size, m, 0),
                count_invariants(S(size), (S(size).V.terms[0][0]).factors * m),
            }
            if size**m <= 800:
                ways.add(maps.between(S(size).V ** 0, S(size).V ** m, method="solver" if m else "auto").dim)
            agree += len(ways) == 1
            disagree_with_bell += count != bell[m]
    return {
        "test error of the layer": ((tested @ space.matrix(weight).T - wanted) ** 2).mean().item() / variance,
        "test error of a dense layer": ((tested @ free - wanted) ** 2).mean().item() / variance,
        "weights of the layer": space.dim,
        "weights of a dense layer": M.numel(),
        "dimensions that agree": agree,
        "dimensions counted": points * (points + 1),
        "of them not a Bell number": disagree_with_bell,
    }


def holds(numbers: Numbers) -> bool:
    """Exact against hopeless; all four counts equal; Bell numbers wrong for small n."""
    fitted = numbers["test error of the layer"] < 1e-10 and numbers["test error of a dense layer"] > 0.1
    counted = numbers["dimensions that agree"] == numbers["dimensions counted"]
    return fitted and counted and numbers["of them not a Bell number"] > 0


def ours(numbers: Numbers) -> str:
    return (
        f"relative test error {numbers['test error of the layer']:.0e} with {numbers['weights of the layer']} weights, "
        f"{numbers['test error of a dense layer']:.2f} with {numbers['weights of a dense layer']}; "
        f"{numbers['dimensions that agree']} of {numbers['dimensions counted']} dimensions agree by every count, "
        f"{numbers['of them not a Bell number']} of them are not the Bell number"
    )


CLAIM = Claim(
    name="partition_layers",
    system="Partition diagrams",
    symbol="intertwine.maps.diagrams.partitions",
    arxiv="2212.08648",
    statement=(
        "set partitions into at most n blocks are a basis of the S(n)-equivariant maps, fewer than the Bell number for "
        "small n; a layer with that basis learns from 20 graphs what a dense layer cannot"
    ),
    theirs="theorem 5.4 (theory, no number)",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"n": 5, "samples": 20, "points": 4},
    full={"n": 6, "samples": 20, "points": 6},
)


@pytest.mark.claim
def test_a_basis_learns_from_few_graphs():
    numbers, _ = CLAIM.run(CLAIM.short)
    assert CLAIM.holds(numbers), numbers


def test_the_rule_can_fail():
    numbers, _ = CLAIM.run({"n": 3, "samples": 20, "points": 2})  # 9 unknown components: 20 samples are plenty
    assert not CLAIM.holds(numbers)
