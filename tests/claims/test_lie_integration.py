"""Invariant integrals over GL⁺(n), SL(n) and affine groups (arXiv:2310.11366), and convolutions made of them."""

import pytest
import torch
from scipy.linalg import logm

from claims.claim import Claim, Numbers
from haar_proposals import affine, proposals, translation_error
from intertwine.groups import SL, Affine, GLPlus, coordinates, from_coordinates, haar_weight, sample_invariant
from lie_images import errors, slope

DECOMPOSITIONS = ("polar", "iwasawa", "cartan")
SHARES = {0.1**0.5: 0.044, 0.5: 0.069, 1.0: 0.133}  # of SL(2), for each deviation: without a real logarithm

MOVE = torch.tensor([[0.5, 0.0], [1.0, 2.0]], dtype=torch.float64)  # far enough that polar coordinates feel it


def density(g: torch.Tensor, decomposition: str) -> torch.Tensor:
    """The Haar density at g in the coordinates of a decomposition: what a naive integral leaves out."""
    if decomposition == "iwasawa":
        return haar_weight(torch.linalg.qr(g)[1].diagonal(dim1=-2, dim2=-1).abs(), "iwasawa")
    a = torch.linalg.svdvals(g).log()
    return haar_weight(2 * a if decomposition == "polar" else a, decomposition)


def translations(samples: int, generator: torch.Generator) -> Numbers:
    """By how many standard errors integrals change when a function is moved, with the Haar density and without."""
    numbers: Numbers = {}
    for group in (GLPlus(2), SL(2), SL(3)):
        h = MOVE if group.n == 2 else group.sample(1, generator=generator)[0]
        for decomposition in DECOMPOSITIONS:
            g, weight = proposals(group, samples, decomposition, generator)
            numbers[f"{group} {decomposition}"] = translation_error(g, weight, h)[0]
            if group.n == 2:
                naive = weight / density(g, decomposition)
                numbers[f"{group} {decomposition} without density"] = translation_error(g, naive, h)[0]
    g, weight = affine(samples, generator)
    h = Affine(2).element(1.3 * SL(2).sample(1, generator=generator)[0], torch.tensor([0.3, -0.2]).double())
    numbers["Affine(2)"] = translation_error(g, weight, h)[0]
    numbers["Affine(2) without density"] = translation_error(g, weight * torch.linalg.det(g), h)[0]
    return numbers


def logarithms(samples: int, generator: torch.Generator) -> Numbers:
    """Elements that exp does not reach: how many there are, and that the polar coordinates reach them."""
    numbers: Numbers = {}
    for sigma, share in SHARES.items():
        g = sample_invariant(SL(2), samples, sigma, generator=generator).g
        # Two different negative eigenvalues.
        without = g[g.diagonal(dim1=-2, dim2=-1).sum(-1) < -2]
        found = len(without) / samples
        numbers[f"share without logarithm, sigma {sigma:.2f}"] = found
        numbers[f"its distance from the expected, sigma {sigma:.2f}"] = abs(found - share)
    back = from_coordinates(coordinates(without, SL(2)), SL(2))
    gap = (back - without).abs().amax((-1, -2)) / torch.linalg.matrix_norm(without)
    numbers["coordinates and back"] = gap.max().item()
    theirs = [abs(logm(one.numpy()).imag).max() for one in without[:50]]
    numbers["least imaginary part of scipy's logarithm"] = min(theirs)
    return numbers


def experiment(*, seed: int, samples: int, counts: list[int], trials: int) -> Numbers:
    generator = torch.Generator().manual_seed(seed)
    numbers = translations(samples, generator) | logarithms(samples, generator)
    found = errors(tuple(counts), trials, generator)
    numbers |= {f"error with {count} samples": error for count, error in zip(counts, found)}
    return numbers | {"slope": slope(tuple(counts), found)}


def holds(numbers: Numbers) -> bool:
    """Integrals move by less than 4 standard errors, and by more without the density; errors fall like N^(−1/2)."""
    moved = {name: value for name, value in numbers.items() if "(" in name}
    return (
        all((value > 4) == name.endswith("without density") for name, value in moved.items())
        and all(value < 3e-3 for name, value in numbers.items() if name.startswith("its distance"))
        and numbers["coordinates and back"] < 1e-12
        and numbers["least imaginary part of scipy's logarithm"] > 0.1
        and -0.65 <= numbers["slope"] <= -0.35
    )


def ours(numbers: Numbers) -> str:
    moved = {name: value for name, value in numbers.items() if "(" in name}
    kept = max(value for name, value in moved.items() if not name.endswith("without density"))
    naive = min(value for name, value in moved.items() if name.endswith("without density"))
    shares = [100 * value for name, value in numbers.items() if name.startswith("share")]
    sizes = [value for name, value in numbers.items() if name.startswith("error with")]
    return (
        f"moved integrals differ by {kept:.1f} standard errors at most, without the density by {naive:.0f} at least; "
        f"{', '.join(f'{share:.1f}' for share in shares)} % of elements of SL(2) have no real logarithm (deviation "
        f"0.32, 0.5, 1), coordinates and back {numbers['coordinates and back']:.0e}; error of lift, convolution and "
        f"projection {sizes[0]:.2f} to {sizes[-1]:.3f}, exponent {numbers['slope']:.2f}"
    )


CLAIM = Claim(
    name="lie_integration",
    system="Lie group decompositions",
    symbol="intertwine.groups.sample_invariant",
    arxiv="2310.11366",
    statement="every element of GL⁺(n) and SL(n) has polar coordinates, also without a real logarithm; Haar densities "
    "of three decompositions make integrals invariant; the equivariance error of convolutions over sampled SL(2) falls "
    "like one over the root of the number of samples",
    theirs="theorem on the decompositions, Monte Carlo convolutions (theory, no number)",
    experiment=experiment,
    holds=holds,
    ours=ours,
    short={"samples": 50_000, "counts": [4, 16, 64], "trials": 40},
    full={"samples": 1_000_000, "counts": [4, 8, 16, 32, 64, 128, 256], "trials": 200},
)


@pytest.mark.claim
def test_moved_integrals_agree_and_errors_fall():
    numbers, _ = CLAIM.run(CLAIM.short)
    assert holds(numbers), numbers


def test_the_rule_can_fail():
    fine: Numbers = {"SL(2) polar": 1.0, "SL(2) polar without density": 9.0, "its distance from the expected": 0.001}
    fine |= {"coordinates and back": 1e-15, "least imaginary part of scipy's logarithm": 3.1, "slope": -0.5}
    assert holds(fine)
    wrong = {"SL(2) polar": 5.0, "SL(2) polar without density": 2.0, "its distance from the expected": 0.02}
    wrong |= {"coordinates and back": 1e-9, "least imaginary part of scipy's logarithm": 0.0, "slope": -0.2}
    assert not any(holds(fine | {name: value}) for name, value in wrong.items())
