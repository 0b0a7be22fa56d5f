"""Weyl's integral formula for reductive groups: a class function need only be averaged over a maximal torus.

A tensor representation of SL, GL, Sp or Lorentz has the invariants of its complexification, hence of a compact group
with the same weights; so one formula serves all of them. A component hG0 that is not connected to the identity is
averaged over the torus that commutes with h, with the density |det(1 - Ad(ht))| on the rest of the Lie algebra.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..groups import SL, SO, SU, GLPlus, Group, Lorentz, O, Sp, U
from ..reps import Factor
from ..reps.factor import Adjoint, Defining, Determinant, Dual

MOST_NODES = 2_000_000
ALGEBRAIC = (Defining, Dual, Adjoint, Determinant)


@dataclass(frozen=True)
class Component:
    """A connected component hG0: an element h [n, n] (None for the identity) and the torus that commutes with it.

    Each torus direction is a Lie algebra element X and a unit (1 or -i) such that unit * X has integer eigenvalues.
    """

    element: torch.Tensor | None
    directions: list[tuple[torch.Tensor, complex]]


def components(group: Group) -> list[Component] | None:
    """The components of a group, up to those with the same algebraic closure; None where no torus is written down."""
    n = group.dim_V
    if isinstance(group, SL | GLPlus):  # SL first: it is a kind of GLPlus
        units = torch.diag_embed(torch.eye(n, dtype=torch.float64))
        if isinstance(group, SL):
            units = units[:-1] - units[-1:]
        return [Component(None, [(unit, 1) for unit in units])]
    if isinstance(group, U):
        J = group.complex_structure()
        phases = torch.stack([J * _mask(n, (i,), (i + group.n,)) for i in range(group.n)])
        if isinstance(group, SU):
            phases = phases[:-1] - phases[-1:]
        return [Component(None, [(X, -1j) for X in phases])]
    if isinstance(group, Sp):
        pairs = torch.diag_embed(torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(n // 2)).reshape(n, n)
        chosen = [pairs * _mask(n, (2 * i, 2 * i + 1)) for i in range(n // 2)]
        return [Component(None, [(X, 1) for X in chosen])]
    if not isinstance(group, O | Lorentz):
        return None
    form = group.form() if isinstance(group, Lorentz) else torch.eye(n, dtype=torch.float64)
    connected = isinstance(group, SO) or (isinstance(group, Lorentz) and group.component in ("proper", "restricted"))
    found = [Component(None, _planes(form, n))]
    if not connected:
        reflection = torch.eye(n, dtype=torch.float64)
        reflection[-1, -1] = -1
        found.append(Component(reflection, _planes(form, n - 1)))
    return found


def _mask(n: int, axes: tuple[int, ...], others: tuple[int, ...] | None = None) -> torch.Tensor:
    """1 at (axis, other) and (other, axis); without others, at the diagonal of each axis."""
    mask = torch.zeros(n, n, dtype=torch.float64)
    others = axes if others is None else others
    mask[list(axes), list(others)] = mask[list(others), list(axes)] = 1
    return mask


def _planes(form: torch.Tensor, axes: int) -> list[tuple[torch.Tensor, complex]]:
    """Rotations or boosts in the planes (0, 1), (2, 3), ... of the first `axes` axes."""
    directions = []
    for i in range(0, axes - 1, 2):
        X = torch.zeros_like(form)
        X[i, i + 1], X[i + 1, i] = 1, -1
        X = form @ X
        directions.append((X, -1j if form[i, i] == form[i + 1, i + 1] else 1))
    return directions


def weights(factor: Factor, component: Component) -> tuple[np.ndarray, np.ndarray] | None:
    """Joint eigenvalues of a factor: of the torus, integers [dim, rank], and of the element h, complex [dim].

    None where they are not integers, as for spinors.
    """
    dim = factor.dim
    h = np.eye(dim) if component.element is None else factor.matrix(component.element).numpy()
    torus = [unit * factor.algebra(X).numpy() for X, unit in component.directions]
    # a generic combination of commuting matrices has their joint eigenvectors
    generic = h * 0.7310585 + sum((M * (1.4142136 ** (i + 3) + 0.1) for i, M in enumerate(torus)), np.zeros((dim, dim)))
    vectors = np.linalg.eig(generic)[1]
    inverse = np.linalg.inv(vectors)
    values = [np.diagonal(inverse @ M @ vectors) for M in (*torus, h)]
    mu = np.array(values[:-1]).reshape(len(torus), dim).T
    whole = np.round(mu.real)
    if np.abs(mu - whole).max(initial=0.0) > 1e-6:
        return None
    return whole, values[-1]


def weyl_integral(group: Group, factors: tuple[Factor, ...]) -> float | None:
    """The mean of the character of a tensor product over the group; None where no torus is known or it is too large."""
    found = components(group)
    if found is None or (isinstance(group, Lorentz | SL | GLPlus | Sp) and not all(map(_algebraic, factors))):
        return None
    means = []
    for component in found:
        spectra = [weights(factor, component) for factor in factors]
        roots = _roots(group, component)
        if any(spectrum is None for spectrum in (*spectra, roots)):
            return None
        means.append(_torus_mean(spectra, roots, len(component.directions)))
    return None if None in means else float(np.mean(means))


def _algebraic(factor: Factor) -> bool:
    """Whether a representation of a non-compact group is known to extend to the complex group."""
    return isinstance(factor, ALGEBRAIC) and (not isinstance(factor, Dual) or _algebraic(factor.base))


def _roots(group: Group, component: Component) -> tuple[np.ndarray, np.ndarray] | None:
    """The weights of the Lie algebra without those of the torus itself."""
    rank = len(component.directions)
    if group.lie_algebra().shape[0] == 0:
        return np.zeros((0, rank)), np.zeros(0)
    found = weights(Adjoint(group), component)
    if found is None:
        return None
    mu, s = found
    still = (np.abs(mu).sum(1) == 0) & (np.abs(s - 1) < 1e-6)
    return mu[~still], s[~still]


def _torus_mean(
    spectra: list[tuple[np.ndarray, np.ndarray]], roots: tuple[np.ndarray, np.ndarray], rank: int
) -> float | None:
    """Average the product of characters with Weyl's density, by a rule that is exact for trigonometric polynomials."""
    if rank == 0:
        return float(np.prod([s.sum() for _, s in spectra]).real)
    degree = np.sum([np.abs(mu).max(0, initial=0) for mu, _ in spectra], 0) + np.abs(roots[0]).sum(0)
    nodes = degree.astype(int) + 1
    if np.prod(nodes, dtype=float) > MOST_NODES:
        return None
    axes = np.meshgrid(*[2 * np.pi * np.arange(k) / k for k in nodes], indexing="ij")
    theta = np.stack([axis.reshape(-1) for axis in axes], 1)
    density = np.ones(len(theta), dtype=complex)
    for mu, s in zip(*roots):
        density *= 1 - s * np.exp(1j * (theta @ mu))
    character = np.ones(len(theta), dtype=complex)
    for mu, s in spectra:
        kinds, index = np.unique(mu, axis=0, return_inverse=True)
        multiplicity = np.bincount(index.reshape(-1), s.real, len(kinds)) + 1j * np.bincount(
            index.reshape(-1), s.imag, len(kinds)
        )
        character *= np.exp(1j * (theta @ kinds.T)) @ multiplicity
    return float(((density * character).sum() / density.sum()).real)
