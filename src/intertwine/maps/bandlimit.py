"""Which functions on a group a subgroup can hold: the band, its projector, and the way back from the subgroup."""

import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from ..groups import Embedding, Group, embedding
from ..groups.cayley import positions
from .fourier import RealIrrep, fourier_basis, mean_shift, multiplication, real_irreps

KEEPS = ("equivariant", "equivariant-full", "paper")
FRAMES = 200  # random frames, of which the best conditioned one is kept
WORST = 1e6  # a condition number above this is a band that the subgroup does not hold


@dataclass(frozen=True, eq=False)
class Bandlimit:
    """A space of functions on a group G that their values on a subgroup H determine.

    embed: H in G. basis: orthonormal, [|G|, dim]. projector: P, [|G|, |G|], onto the band: the anti-aliasing filter.
    upsample: U, [|G|, |H|], from values on H to the function of the band: U restricted(P f) = P f. restriction:
    positions of H in G, [|H|]. commutator: the largest entry of L P - P L over the left translations L of the
    generators, 0 where the filter is equivariant. condition: of the restriction to H on the band. kept: for "paper" the
    coefficients used, (irrep, i, j); otherwise (irrep, m), m functions times its dimension of each irrep.
    Arrays are float64, in the order of `elements()`.
    """

    embed: Embedding
    basis: np.ndarray
    projector: np.ndarray
    upsample: np.ndarray
    restriction: np.ndarray
    commutator: float
    condition: float
    kept: tuple

    @property
    def dim(self) -> int:
        """Dimension of the band, |H| at most."""
        return self.basis.shape[1]


def bandlimit(group: Group, subgroup: Group | Embedding, *, keep: str = "equivariant") -> Bandlimit:
    """The band of functions on a finite group that is kept when they are sampled on a subgroup.

    subgroup: an Embedding, as `groups.subsample` gives, or a group with a standard embedding.
    keep: "equivariant": the largest space of matrix entries that is closed under left translation and that the subgroup
    holds, of those irreps that are as smooth as what "paper" uses; among equals the smoothest. "equivariant-full": of
    all irreps. "paper": every Fourier function of H is interpolated by the smoothest combination on G, a linear program
    for each; this band is not closed under translation where H needs a part of an irrep of G, and then a warning names
    the commutator.
    Raises ValueError for an unknown `keep`, an embedding in another group, an infinite or too large group.
    Source: arXiv:2504.17258, equations 8 to 12 ("paper"); the equivariant bands are chosen here by characters.
    """
    if keep not in KEEPS:
        raise ValueError(f"bandlimit: keep must be one of {KEEPS}, got {keep!r}")
    if not (isinstance(subgroup, Embedding) and subgroup.target == group):
        if isinstance(subgroup, Embedding):
            raise ValueError(f"bandlimit: the group is {group}, the embedding is {subgroup}")
        subgroup = embedding(subgroup, group)
    found = _bandlimit(subgroup, keep)
    if keep == "paper" and found.commutator > 1e-9:
        warnings.warn(
            f"bandlimit: the band of {subgroup} is not closed under translation, filter and group commute up to "
            f'{found.commutator:.3g} only; keep="equivariant" commutes',
            stacklevel=2,
        )
    return found


@lru_cache(maxsize=32)
def _bandlimit(embed: Embedding, keep: str) -> Bandlimit:
    where = positions(embed)
    if len(np.unique(where)) < len(where):
        raise ValueError(f"bandlimit: {embed} sends several elements to one, so the image is not {embed.source}")
    M = _interpolation(embed)
    if keep == "paper":
        F, labels = fourier_basis(embed.target)
        basis = np.linalg.qr(F @ M)[0]
        used = np.abs(M).max(1) > 1e-9
        return _finished(embed, basis, tuple(label for label, u in zip(labels, used) if u))
    irreps = real_irreps(embed.target)
    roughest = np.inf
    if keep == "equivariant":
        roughest = _roughness(embed.target)[np.abs(M).max(1) > 1e-9].max() + 1e-9
    counts = _counts(embed, irreps, roughest)
    basis = _best_frames(irreps, counts, where)
    return _finished(embed, basis, tuple((rho.label, m) for rho, m in zip(irreps, counts) if m))


def _finished(embed: Embedding, basis: np.ndarray, kept: tuple) -> Bandlimit:
    group, where = embed.target, positions(embed)
    table = multiplication(group)
    P = basis @ basis.T
    U = basis @ np.linalg.pinv(basis[where])
    moved = [table[g] for g in group.index(group.generators()).tolist()]
    # (L f)(gh) = f(h): P commutes with L where P(gh, gk) = P(h, k)
    commutator = max((np.abs(P[np.ix_(move, move)] - P).max() for move in moved), default=0.0)
    condition = np.linalg.cond(basis[where])
    if not condition < WORST:
        raise ArithmeticError(
            f"bandlimit: no band of {embed} that its subgroup holds was found: condition {condition:.1e}"
        )
    for array in (basis, P, U, where):
        array.flags.writeable = False
    return Bandlimit(embed, basis, P, U, where, float(commutator), float(condition), kept)


def _roughness(group: Group) -> np.ndarray:
    """1 - <f, L f> of every Fourier function."""
    F, _ = fourier_basis(group)
    return 1 - np.einsum("gi,gi->i", F, mean_shift(group) @ F)


def _interpolation(embed: Embedding) -> np.ndarray:
    """M [|G|, |H|]: coefficients on G that agree on H with each Fourier function of H, the smoothest in sum."""
    F, F_H = fourier_basis(embed.target)[0], fourier_basis(embed.source)[0]
    costs = np.maximum(_roughness(embed.target), 0)
    agree = np.sqrt(len(F)) * F[positions(embed)]
    columns = []
    for f in np.sqrt(len(F_H)) * F_H.T:
        solved = linprog(np.tile(costs, 2), A_eq=np.hstack([agree, -agree]), b_eq=f, method="highs")
        if not solved.success:
            raise ArithmeticError(f"bandlimit: the linear program of {embed} has no solution: {solved.message}")
        plus, minus = np.split(solved.x, 2)
        columns.append(plus - minus)
    return np.array(columns).T


def _counts(embed: Embedding, irreps: tuple[RealIrrep, ...], roughest: float) -> list[int]:
    """m_ρ for each irrep: Σ m_ρ d_ρ as large as H can hold, then as smooth as can be, then the first in order."""
    where, small = positions(embed), real_irreps(embed.source)
    L = mean_shift(embed.target)[0]  # entry h: the weight of the shift by h
    dims = np.array([rho.dim for rho in irreps], dtype=float)
    rough = np.array([1 - (L @ rho.character) / rho.dim for rho in irreps])
    contained = np.array(
        [
            [round((rho.character[where] @ sigma.character) / len(where) / sigma.endo) for rho in irreps]
            for sigma in small
        ]
    )
    most = np.array([rho.copies if s <= roughest else 0 for rho, s in zip(irreps, rough)])
    fits = LinearConstraint(contained, ub=[sigma.copies for sigma in small])
    whole, bounds = np.ones(len(dims)), Bounds(0, most)
    largest = milp(-dims, constraints=fits, integrality=whole, bounds=bounds)
    full = LinearConstraint(dims[None], lb=-largest.fun - 0.5)
    order = 1e-6 * np.arange(len(dims))
    best = milp(dims * rough + order, constraints=[fits, full], integrality=whole, bounds=bounds)
    return best.x.round().astype(int).tolist()


def _best_frames(irreps: tuple[RealIrrep, ...], counts: list[int], where: np.ndarray) -> np.ndarray:
    """An orthonormal basis of ⊕ {g -> ρ(g)v, v in U_ρ}: where U_ρ is a part of its space, the best of random ones."""
    parts = [(rho, m) for rho, m in zip(irreps, counts) if m]
    random, best, lowest = np.random.default_rng(0), None, np.inf
    for _ in range(1 if all(m == rho.copies for rho, m in parts) else FRAMES):
        columns = []
        for rho, m in parts:
            vectors = np.eye(rho.dim) if m == rho.copies else random.standard_normal((rho.dim, rho.dim))
            columns.append(rho.coefficients(rho.frame(vectors, m)))
        basis = np.concatenate(columns, 1)
        condition = np.linalg.cond(basis[where])
        if best is None or condition < lowest:
            best, lowest = basis, condition
    return best
