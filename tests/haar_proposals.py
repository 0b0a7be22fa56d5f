"""Elements of GL⁺(n) and SL(n) drawn in the coordinates of each decomposition, and integrals that their weights fit."""

import math

import torch
from torch import Tensor

from intertwine.groups import SL, Affine, Group, haar_weight, sample_invariant
from intertwine.groups.matrix import haar_special_orthogonal


def proposals(group: Group, k: int, decomposition: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(g, w): elements of GLPlus(n) or SL(n), drawn in the coordinates of one decomposition, and their Haar weights.

    The integral of f is the mean of w f(g), up to a factor that depends on the decomposition alone.
    """
    if decomposition == "polar":
        g, _, log_weight = sample_invariant(group, k, 1.0, generator=generator)
        return g, log_weight.exp()
    n, sigma = group.n, 0.7
    options = {"generator": generator, "dtype": torch.float64}
    K = haar_special_orthogonal(k, n, generator)
    # Coordinates of a diagonal, orthonormal; SL(n) leaves out their sum.
    axes = torch.linalg.qr(torch.ones(n, n, dtype=torch.float64).tril())[0].mT
    axes = axes[1:] if isinstance(group, SL) else axes
    v = sigma * torch.randn(k, len(axes), **options)
    a = v @ axes
    q = (-(v**2).sum(-1) / (2 * sigma**2)).exp()
    if decomposition == "cartan":
        g = K @ torch.diag_embed(a.exp()) @ haar_special_orthogonal(k, n, generator)
        return g, haar_weight(a, "cartan") / q
    i, j = torch.triu_indices(n, n, 1)
    # Cauchy: along N the integrands below decay like exp(−2|u|), too slowly for a normal proposal.
    u = (math.pi * (torch.rand(k, len(i), **options) - 0.5)).tan()
    N = torch.eye(n, dtype=torch.float64).repeat(k, 1, 1)
    N[:, i, j] = u
    q = q / (1 + u**2).prod(-1)
    return K @ torch.diag_embed(a.exp()) @ N, haar_weight(a.exp(), "iwasawa") / q


def bump(g: Tensor) -> Tensor:
    """A function on the group with no symmetry that decays faster than any proposal; for homogeneous matrices too."""
    n = g.shape[-1]
    centre = torch.eye(n, dtype=g.dtype) + torch.linspace(-0.3, 0.4, n * n, dtype=g.dtype).reshape(n, n)
    # The inverse makes it decay where the determinant goes to zero.
    return torch.exp(-((g - centre) ** 2).sum((-1, -2)) - 0.5 * (torch.linalg.inv(g) ** 2).sum((-1, -2)))


def translation_error(g: Tensor, weight: Tensor, h: Tensor) -> tuple[float, float]:
    """How far the integral of f(hg) is from that of f(g), in its standard errors; and relative to the integral."""
    here, there = weight * bump(g), weight * bump(h @ g)
    difference = there - here
    error = difference.std() / math.sqrt(len(g))
    return float(difference.mean().abs() / error), float(difference.mean().abs() / here.mean())


def affine(k: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Elements of Affine(2) and their left Haar weights."""
    g, _, log_weight = sample_invariant(Affine(2), k, 1.0, generator=generator)
    return g, log_weight.exp()
