"""The coupling tensors of a symmetric contraction written out in full: to look at, and to check the fast way."""

from itertools import accumulate, permutations
from math import factorial, sqrt

import numpy as np
from jaxtyping import Float

from .contraction_plan import contraction_plan
from .irreps import Irrep, Irreps, as_irrep
from .symmetric_power import Coupling, all_couplings, monomials, multiplicities, sizes_of, symmetric_bases
from .wigner import clebsch_gordan


def coupling_tensors(
    irreps_in: Irreps | str, irrep_out: Irrep | str, degree: int, *, symmetric: bool = True
) -> Float[np.ndarray, "paths components *variables"]:
    """U with (U_η · A ⊗ … ⊗ A)_m = Σ_ij.. U[η, m, i, j, ..] A_i A_j .., one for each weight of `SymmetricContraction`.

    `degree` factors of one channel of irreps_in, in float64. symmetric: unchanged under exchange of i, j, .. and
    orthogonal, with Σ U_η² = (2l+1)/degree!; else a chain of Clebsch-Gordan couplings each, left to right, with
    Σ U_η² = 2l+1, of which many give the same function or none. Grows as dim^degree: for small cases.
    Raises ValueError for a degree below 1.
    """
    if degree < 1:
        raise ValueError(f"coupling_tensors: degree must be at least 1, got {degree}")
    inputs, out = tuple(irrep for irrep, _ in Irreps(irreps_in).blocks), as_irrep(irrep_out)
    sizes = sizes_of(inputs)
    shape = (out.dim, *[sum(sizes)] * degree)
    if not symmetric:
        chains = [_chain(one, inputs) for one in all_couplings(inputs, out, degree)]
        return np.stack(chains) if chains else np.zeros((0, *shape))
    kept = symmetric_bases(inputs, (out,), degree)[-1].get(out, [])
    tensors = np.zeros((len(kept), *shape))
    for U, one in zip(tensors, kept):
        entries = one.values * multiplicities(sizes, one.content) / factorial(degree)
        for order in permutations(range(degree)):
            U[:, *monomials(sizes, one.content)[:, order].T] = entries
    if not kept:
        return tensors
    mix = contraction_plan(inputs, (out,), degree, True).outputs[0].mix[-len(kept) :, -len(kept) :]
    return np.tensordot(mix.T, tensors, 1)


def _chain(one: Coupling, inputs: tuple[Irrep, ...]) -> np.ndarray:
    starts = [0, *accumulate(sizes_of(inputs))]
    here = slice(starts[one.last], starts[one.last + 1])
    grown = np.zeros((one.irrep.dim, *[starts[-1]] * one.degree))
    if one.before is None:
        grown[:, here] = np.eye(one.irrep.dim)
    else:
        C = sqrt(one.irrep.dim) * clebsch_gordan(one.before.irrep.l, inputs[one.last].l, one.irrep.l)
        grown[..., here] = np.einsum("a...,abm->m...b", _chain(one.before, inputs), C)
    return grown
