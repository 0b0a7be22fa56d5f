"""Invariant integrals over groups without an invariant probability: Haar densities and weighted samples."""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .decomposition import bases
from .group import Group
from .matrix import E, haar_special_orthogonal


class Samples(NamedTuple):
    """Weighted elements: the mean of exp(log_weight) f(g) estimates the integral of f over the group."""

    g: Float[Tensor, "samples n n"]
    g_inv: Float[Tensor, "samples n n"]
    log_weight: Float[Tensor, " samples"]


def haar_weight(
    values: Float[Tensor, "*batch n"], decomposition: Literal["polar", "iwasawa", "cartan"] = "polar"
) -> Float[Tensor, " *batch"]:
    """Density of the Haar measure of GL⁺(n) and SL(n) in the coordinates of a decomposition (both are unimodular).

    polar: g gᵀ = exp(Z), `values` the eigenvalues z of Z; dμ = Π_{i<j} sinh((z_i − z_j)/2) / ((z_i − z_j)/2) dZ dR.
    iwasawa: g = K A N, `values` the diagonal of A; dμ = Π_{i<j} (a_i/a_j) dK Π da_i/a_i dN.
    cartan: g = K1 exp(diag a) K2, `values` a; dμ = Π_{i<j} |sinh(a_i − a_j)| dK1 da dK2.
    On R^n ⋊ G the left Haar measure is dx dμ(g) / |det g|. Raises ValueError for another decomposition.
    arXiv:2310.11366, section 3.2 and appendix D.
    """
    return log_haar_weight(values, decomposition).exp()


def log_haar_weight(values: Tensor, decomposition: str = "polar") -> Tensor:
    """The logarithm of `haar_weight`, which does not overflow."""
    n = values.shape[-1]
    i, j = torch.triu_indices(n, n, 1, device=values.device)
    first, second = values[..., i], values[..., j]
    match decomposition:
        case "polar":
            half = (first - second).abs() / 2
            terms = _log_sinh(half) - half.clamp_min(torch.finfo(half.dtype).tiny).log()
            terms = torch.where(half < 1e-4, half**2 / 6, terms)
        case "iwasawa":
            terms = first.log() - second.log()
        case "cartan":
            terms = _log_sinh((first - second).abs())
        case _:
            raise ValueError(f"haar_weight: decomposition must be polar, iwasawa or cartan, got {decomposition!r}")
    return terms.sum(-1)


def sample_invariant(
    group: Group,
    k: int,
    sigma: float = math.sqrt(0.1),
    *,
    rotations: Literal["haar", "equispaced"] = "haar",
    self_normalised: bool = False,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Samples:
    """k elements g = exp(Z/2) R with Z ~ N(0, σ²) and R Haar, and their weights in the (left) Haar integral.

    `group`: GLPlus(n), SL(n), SO(n); Affine(n) and SE(n) get a translation from N(0, 1) as well.
    `sigma`: standard deviation of Z in the orthonormal basis of `coordinates` (the paper gives the variance, 0.1).
    `rotations="equispaced"`: in the plane, the k angles 2πi/k for i = 0 .. k−1, a quadrature instead of a draw.
    `log_weight`: Haar density over proposal density. A group that is not compact has infinite volume: the variance is
    finite only for integrands that decay faster than the root of the proposal. `self_normalised=True` scales the
    weights to mean one (biased by O(1/k), less noisy).
    `generator`: torch's own of the device if None.
    Raises ValueError for another group, k < 1, sigma ≤ 0, or equispaced rotations outside the plane.
    arXiv:2310.11366, section 4.
    """
    symmetric, _ = bases(group)
    d, n, _ = symmetric.shape
    if k < 1 or not sigma > 0:
        raise ValueError(f"sample_invariant({group}): needs k ≥ 1 and sigma > 0, got k = {k} and sigma = {sigma}")
    at = torch.device(device) if generator is None else generator.device
    options = {"generator": generator, "dtype": torch.float64, "device": at}
    R = _rotations(rotations, n, k, options)
    v = sigma * torch.randn(k, d, **options)
    z, V = torch.linalg.eigh(torch.einsum("kd,dij->kij", v, torch.from_numpy(symmetric.copy()).to(at)))
    g = (V * (z / 2).exp()[:, None, :]) @ V.mT @ R
    g_inv = R.mT @ (V * (-z / 2).exp()[:, None, :]) @ V.mT
    # A rotation group has no Z: the proposal is the Haar probability itself.
    log_weight = (log_haar_weight(z) if d else z.sum(-1)) - _log_normal(v, sigma)
    if isinstance(group, E):
        t = torch.randn(k, n, **options)
        log_weight = log_weight - z.sum(-1) / 2 - _log_normal(t, 1.0)
        g, g_inv = group.element(g, t), group.element(g_inv, -(g_inv @ t[:, :, None])[:, :, 0])
    if self_normalised:
        log_weight = log_weight - log_weight.logsumexp(0) + math.log(k)
    return Samples(*(tensor.to(device, dtype) for tensor in (g, g_inv, log_weight)))


def _rotations(kind: str, n: int, k: int, options: dict) -> Tensor:
    """k rotations of R^n, Haar or equispaced."""
    if kind not in ("haar", "equispaced"):
        raise ValueError(f"sample_invariant: rotations must be 'haar' or 'equispaced', got {kind!r}")
    if n != 2:
        if kind == "equispaced":
            raise ValueError(f"sample_invariant: equispaced rotations exist in the plane, not for n = {n}; use 'haar'")
        return haar_special_orthogonal(k, n, options["generator"] or torch.default_generator).to(options["device"])
    if kind == "haar":
        turn = torch.rand(k, **options)
    else:
        turn = torch.arange(k, dtype=options["dtype"], device=options["device"]) / k
    c, s = (2 * math.pi * turn).cos(), (2 * math.pi * turn).sin()
    return torch.stack([c, -s, s, c], -1).reshape(k, 2, 2)


def _log_normal(v: Tensor, sigma: float) -> Tensor:
    """Log density of independent normal numbers along the last axis."""
    return -(v**2).sum(-1) / (2 * sigma**2) - v.shape[-1] / 2 * math.log(2 * math.pi * sigma**2)


def _log_sinh(x: Tensor) -> Tensor:
    """log sinh x for x ≥ 0."""
    return x + torch.log(-torch.expm1(-2 * x)) - math.log(2)
