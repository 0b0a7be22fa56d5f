"""An equivariant product is one number for each path (block, block -> block): here these numbers are read off."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .irreps import Irreps
from .wigner import _frozen, clebsch_gordan


def path_coefficients(
    product: Callable[[Tensor, Tensor], Tensor], irreps1: Irreps, irreps2: Irreps, irreps_out: Irreps
) -> Float[Tensor, "blocks1 blocks2 blocks_out"]:
    """t with product(x, y)_k = Σ t C_ijk x_i y_j for blocks of one channel; 0 where no path is.

    product: flat features [n, dim1] and [n, dim2] in float64 -> [n, dim_out], bilinear.
    Raises ValueError for blocks of several channels, or a product that no such numbers give: it is not equivariant.
    """
    sides = irreps1, irreps2, irreps_out
    for irreps in sides:
        if any(c != 1 for _, c in irreps.blocks):
            raise ValueError(f"path_coefficients: one channel in each block is needed, got {irreps}")
    (n1, n2, n3), (x, y, probe, allowed) = (len(irreps.blocks) for irreps in sides), _probes(*sides)
    out = product(x, y)  # a sample for each pair of blocks
    found, rest = [], []
    for k, z in enumerate(irreps_out.split(out)):
        z, expected = z.squeeze(-1).unflatten(0, (n1, n2)), probe[k]
        norm = expected.square().sum(-1)
        t = torch.where(allowed[k], (z * expected).sum(-1) / torch.where(allowed[k], norm, 1.0), 0.0)
        found.append(t)
        rest.append((z - t[..., None] * expected).detach().abs().amax() if n1 * n2 else z.new_zeros(()))
    if n3 and torch.stack(rest).max() > 1e-9 * max(1.0, out.detach().abs().max().item()):
        raise ValueError(f"path_coefficients: the product {irreps1} ⊗ {irreps2} -> {irreps_out} is not equivariant")
    return torch.stack(found, -1)


def unit_scale(
    product: Callable[[Tensor, Tensor], Tensor], irreps1: Irreps, irreps2: Irreps, irreps_out: Irreps
) -> Float[np.ndarray, " blocks_out"]:
    """Factors of the blocks of the output that give unit variance, where independent inputs have it; 1 for zero."""
    t = path_coefficients(product, irreps1, irreps2, irreps_out).detach().square().sum((0, 1)).numpy()
    variance = t / np.array([irrep.dim for irrep, _ in irreps_out.blocks])
    return 1 / np.sqrt(np.where(variance < 1e-20, 1, variance))


def _probes(irreps1: Irreps, irreps2: Irreps, irreps_out: Irreps) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Inputs that are zero but for one pair of blocks, C x y for every output block, and whether there is a path."""
    parts1, parts2 = (_numbers(irreps.dim, seed) for seed, irreps in ((1, irreps1), (2, irreps2)))
    pieces = [irreps.split(torch.tensor(numbers)) for irreps, numbers in ((irreps1, parts1), (irreps2, parts2))]
    x, y = (_alone(irreps, torch.tensor(numbers)) for irreps, numbers in ((irreps1, parts1), (irreps2, parts2)))
    n1, n2 = len(x), len(y)
    probe, allowed = [], []
    for irrep, _ in irreps_out.blocks:
        values, there = torch.zeros(n1, n2, irrep.dim, dtype=torch.float64), torch.zeros(n1, n2, dtype=torch.bool)
        for i, (a, _) in enumerate(irreps1.blocks):
            for j, (b, _) in enumerate(irreps2.blocks):
                if irrep in a * b:
                    C = torch.tensor(clebsch_gordan(a.l, b.l, irrep.l))
                    values[i, j] = torch.einsum("ijk,i,j->k", C, pieces[0][i][:, 0], pieces[1][j][:, 0])
                    there[i, j] = True
        probe.append(values)
        allowed.append(there)
    return x.repeat_interleave(n2, 0), y.repeat(n1, 1), probe, allowed


@lru_cache(maxsize=32)
def _numbers(count: int, seed: int) -> np.ndarray:
    """Any numbers without a pattern; the answer does not depend on them."""
    return _frozen(np.random.default_rng(seed).standard_normal(count))


def _alone(irreps: Irreps, x: Tensor) -> Float[Tensor, "blocks dim"]:
    """Row b keeps block b of x and is zero elsewhere."""
    sizes = [irrep.dim for irrep, _ in irreps.blocks]
    block = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes, dtype=torch.int64))
    return torch.where(block == torch.arange(len(sizes))[:, None], x, 0.0)
