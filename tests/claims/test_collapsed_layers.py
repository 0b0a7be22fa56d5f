"""The category of diagrams (arXiv:2304.14144): stacked layers without nonlinearity are one layer, exactly."""

import pytest
import torch

from claims.claim import Claim, Numbers
from intertwine import maps
from intertwine.groups import O, S, Sp


def experiment(*, seed: int, n: int) -> Numbers:
    """Two layers V² → V² of S(n), O(n) and Sp(n), applied in turn and as one, by the structure constants."""
    generator = torch.Generator().manual_seed(seed)
    numbers: Numbers = {}
    for group in (S(n), O(n), Sp(n)):
        space = maps.between(group.V**2, group.V**2)
        first, second = torch.randn(2, space.dim, generator=generator, dtype=torch.float64)
        collapsed = space.compose(space)
        both = collapsed.weight(second, first)
        x = space.rep_in.randn(50, generator=generator, dtype=torch.float64)
        one_by_one = space.apply(space.apply(x, first), second)
        name = type(group).__name__
        numbers[f"{name} difference"] = (
            (collapsed.map.apply(x, both) - one_by_one).abs().max() / one_by_one.abs().max()
        ).item()
        numbers[f"{name} weights"] = collapsed.map.dim
    return numbers


def holds(numbers: Numbers) -> bool:
    """Equal to rounding."""
    return all(value < 1e-12 for name, value in numbers.items() if name.endswith("difference"))


def ours(numbers: Numbers) -> str:
    groups = [name.removesuffix(" weights") for name in numbers if name.endswith("weights")]
    return "; ".join(
        f"{group}: {numbers[f'{group} weights']} weights instead of {2 * numbers[f'{group} weights']}, "
        f"relative difference {numbers[f'{group} difference']:.0e}"
        for group in groups
    )


CLAIM = Claim(
    name="collapsed_layers",
    system="Category of diagrams",
    symbol="intertwine.maps.diagrams.compose",
    arxiv="2304.14144",
    statement="two stacked layers V² → V² equal one layer whose weights follow from composing diagrams",
    theirs="functor theorem (theory, no number)",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"n": 4},
    full={"n": 6},
)


@pytest.mark.claim
def test_two_layers_are_one():
    numbers, _ = CLAIM.run(CLAIM.short)
    assert CLAIM.holds(numbers), numbers
    assert [numbers[f"{name} weights"] for name in ("S", "O", "Sp")] == [15, 3, 3]


def test_the_rule_can_fail():
    assert not holds({"S difference": 1e-3, "S weights": 15})
