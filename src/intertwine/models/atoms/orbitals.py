"""What a Hamiltonian is predicted for: orbital energies and orbitals, and how far they are from the true ones."""

import warnings
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...data.atoms.blocks import Blocks

DEPENDENT = 1e-8  # eigenvalues of the overlap below this are dropped: such orbitals are combinations of the others
DEGENERATE = 1e-5  # Hartree; levels nearer than this are compared by the space they span


class Orbitals(NamedTuple):
    """Energies, ascending (Hartree), and coefficients of the orbitals, one in each column, Cᵀ S C = 1."""

    energies: Float[Tensor, " m"]
    coefficients: Float[Tensor, "nao m"]


def orbital_energies(H: Float[Tensor, "nao nao"], S: Float[Tensor, "nao nao"]) -> Orbitals:
    """Solve H C = S C diag(ε) by canonical orthogonalisation; H and S are taken as symmetric.

    Directions in which S has an eigenvalue below 1e-8 are dropped, with a warning: m is then below nao.
    The derivative is that of `torch.linalg.eigh`: infinite where two energies are equal.
    Raises ValueError for shapes that differ and for an S without positive eigenvalues.
    """
    if H.shape != S.shape or H.ndim != 2 or H.shape[0] != H.shape[1]:
        raise ValueError(f"orbital_energies: H has shape {tuple(H.shape)}, S {tuple(S.shape)}; expected [nao, nao]")
    s, U = torch.linalg.eigh((S + S.mT) / 2)
    keep = s > DEPENDENT
    if not bool(keep.any()):
        raise ValueError("orbital_energies: the overlap S has no positive eigenvalue")
    if not bool(keep.all()):
        warnings.warn(
            f"orbital_energies: the overlap is near-singular, {int((~keep).sum())} of {len(s)} directions are dropped "
            f"(smallest eigenvalue {float(s[0]):.1e})",
            stacklevel=2,
        )
    X = U[:, keep] * s[keep].rsqrt()
    energies, C = torch.linalg.eigh(X.mT @ ((H + H.mT) / 2) @ X)
    return Orbitals(energies, X @ C)


def orbital_metrics(
    H: Float[Tensor, "nao nao"], H_ref: Float[Tensor, "nao nao"], S: Float[Tensor, "nao nao"], n_electrons: int
) -> dict[str, float]:
    """Errors of a predicted Hamiltonian of a closed-shell molecule, n_electrons in the lowest orbitals.

    mae_h: mean absolute difference of all entries; mae_eps: of the energies of occupied orbitals; mae_gap: of the gap
    between the highest occupied and the lowest empty one (all Hartree; nan without an empty one); psi_cosine: mean
    overlap of occupied orbitals with the true ones, 0 to 1, whatever their signs: degenerate levels count by the
    space they span. Raises ValueError for an odd number of electrons, or more than the orbitals hold.
    """
    if H.shape != H_ref.shape:
        raise ValueError(f"orbital_metrics: H has shape {tuple(H.shape)}, H_ref {tuple(H_ref.shape)}")
    own, true = orbital_energies(H, S), orbital_energies(H_ref, S)
    occupied = n_electrons // 2
    if n_electrons % 2 or not 0 < occupied <= len(true.energies):
        raise ValueError(
            f"orbital_metrics: {n_electrons} electrons; expected an even number, 2 to {2 * len(true.energies)}"
        )
    gap = [o.energies[occupied] - o.energies[occupied - 1] for o in (own, true) if occupied < len(o.energies)]
    return {
        "mae_h": float((H - H_ref).abs().mean()),
        "mae_eps": float((own.energies - true.energies)[:occupied].abs().mean()),
        "psi_cosine": _alike(own, true, S, occupied),
        "mae_gap": float((gap[0] - gap[1]).abs()) if gap else float("nan"),
    }


def _alike(own: Orbitals, true: Orbitals, S: Tensor, occupied: int) -> float:
    """Mean over occupied true levels of the part of them that lies in the predicted orbitals of the same rank.

    A level that is degenerate with empty ones is compared with all of them: which of them is filled is arbitrary.
    """
    overlap = (true.coefficients.mT @ S @ own.coefficients).square()
    total, start = 0.0, 0
    while start < occupied:
        stop = start + 1
        while stop < len(true.energies) and true.energies[stop] - true.energies[stop - 1] < DEGENERATE:
            stop += 1
        each = overlap[start:stop, start:stop].sum() / (stop - start)
        total += float(each.clamp(max=1.0).sqrt()) * (min(stop, occupied) - start)
        start = stop
    return total / occupied


class BlockLoss(nn.Module):
    """Mean |ΔH| + mean ΔH² over the entries that exist (Hartree), as in arXiv:2306.04922."""

    def forward(self, predicted: Blocks, target: Blocks, mask: Blocks) -> Float[Tensor, ""]:
        """One number. mask: `BlockLayout.mask`."""
        difference = torch.cat([(a - b)[m] for a, b, m in zip(predicted, target, mask)])
        return difference.abs().mean() + difference.square().mean()
