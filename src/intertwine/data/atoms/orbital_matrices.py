"""Fock and overlap matrices of molecules from real electronic structure, GFN2-xTB or DFT, in one order of orbitals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int

from ...extras import require
from ...so3 import wigner_D
from .basis import Basis
from .generate import _check_open
from .graph import AtomicGraph
from .xtb import METHOD, XTB, SCFError

# Degrees whose orbitals an engine lists as (x, y, z); it lists all others from m = -l to l around the z axis.
CARTESIAN = {"tblite": (), "pyscf": (1,)}


@dataclass(frozen=True)
class OrbitalMatrices:
    """One molecule: Fock matrix F and overlap matrix S, so that F C = S C diag(ε), in Hartree.

    numbers; positions (Å); both matrices [nao, nao], float64, orbitals atom after atom and shell after shell as in
    `basis`, each shell in the order of `so3.spherical_harmonics`; electrons that the basis describes; method.
    """

    numbers: Int[np.ndarray, " n"]
    positions: Float[np.ndarray, "n 3"]
    hamiltonian: Float[np.ndarray, "nao nao"]
    overlap: Float[np.ndarray, "nao nao"]
    electrons: int
    basis: Basis
    method: str

    @property
    def degrees(self) -> list[int]:
        """The degree of every shell of the molecule, in order."""
        return [l for z in self.numbers.tolist() for l in self.basis.shells[z]]

    def graph(self) -> AtomicGraph:
        """Positions and elements as a graph without edges, float64."""
        return AtomicGraph(torch.tensor(self.positions), torch.tensor(self.numbers))


def xtb_matrices(images: Iterable, *, accuracy: float = 0.01) -> list[OrbitalMatrices]:
    """GFN2-xTB Fock and overlap matrices of open ase.Atoms, neutral: F = S C diag(ε) Cᵀ S of the converged orbitals.

    Under a millisecond for a small molecule. Raises SCFError naming the image, ValueError for a periodic one.
    """
    found, engine = [], None
    for i, image in enumerate(images):
        _check_open(image)
        if engine is None or not np.array_equal(engine.numbers, image.numbers):
            engine, basis = XTB(image.numbers, accuracy=accuracy), Basis.gfn2(image.numbers.tolist())
        try:
            F, S, electrons = engine.matrices(image.positions)
        except (SCFError, ValueError) as problem:
            raise SCFError(f"image {i}: {problem}") from problem
        Q = engine_axes("tblite", [l for z in image.numbers for l in basis.shells[int(z)]])
        numbers, positions = image.numbers.astype(np.int64), image.positions.copy()
        found.append(OrbitalMatrices(numbers, positions, _turned(F, Q), _turned(S, Q), electrons, basis, METHOD))
    return found


def dft_matrices(images: Iterable, *, xc: str = "pbe", basis: str = "def2-svp", grid: int = 3) -> list[OrbitalMatrices]:
    """Kohn-Sham matrices of closed-shell, neutral, open ase.Atoms by PySCF, all electrons; each starts from the last.

    xc: PySCF's name of a functional, "hf" for Hartree-Fock; basis: PySCF's name; grid: its level of the quadrature of
    the functional, 0 to 9. The grid does not turn with the molecule, so that F turns only to the quadrature's accuracy
    (Hartree-Fock: exactly). Half a second for water in def2-SVP. Raises SCFError naming the image that does not
    converge, ValueError for a periodic one or an odd number of electrons.
    """
    gto, scf, dft = (require(f"pyscf.{name}", "dft") for name in ("gto", "scf", "dft"))
    found, last = [], None
    for i, image in enumerate(images):
        _check_open(image)
        electrons = int(image.numbers.sum())
        if electrons % 2:
            raise ValueError(f"dft_matrices: image {i} has {electrons} electrons; closed shells only, an even number")
        atoms = list(zip(image.numbers.tolist(), image.positions.tolist()))
        molecule = gto.M(atom=atoms, basis=basis, unit="Angstrom", verbose=0)
        solver = scf.RHF(molecule) if xc == "hf" else dft.RKS(molecule, xc=xc)
        if xc != "hf":
            solver.grids.level = grid
        solver.conv_tol = 1e-11
        same = last is not None and np.array_equal(last[0], image.numbers)
        solver.kernel(dm0=last[1] if same else None)
        if not solver.converged:
            raise SCFError(f"image {i}: PySCF does not converge with {xc}/{basis}; is the geometry sound?")
        last = image.numbers, solver.make_rdm1()
        shells = [[] for _ in image.numbers]
        for k in range(molecule.nbas):
            shells[molecule.bas_atom(k)] += [int(molecule.bas_angular(k))] * int(molecule.bas_nctr(k))
        own = Basis({int(z): degrees for z, degrees in zip(image.numbers, shells)})
        Q = engine_axes("pyscf", [l for degrees in shells for l in degrees])
        F, S = _turned(solver.get_fock(), Q), _turned(molecule.intor("int1e_ovlp"), Q)
        numbers, positions = image.numbers.astype(np.int64), image.positions.copy()
        found.append(OrbitalMatrices(numbers, positions, F, S, electrons, own, f"{xc}/{basis}"))
    return found


def mean_blocks(matrices: Sequence[OrbitalMatrices]) -> dict[int, list[list[float]]]:
    """For each element the mean diagonal block of molecules, its invariant part alone: the `shift` of a QHNet.

    A block between shells of equal degree becomes its mean trace times the unit matrix, any other becomes zero.
    Raises ValueError for no molecules, and for bases in which an element has different shells.
    """
    if not matrices:
        raise ValueError("mean_blocks: no molecules")
    found: dict[int, list[np.ndarray]] = {}
    shells: dict[int, tuple[int, ...]] = {}
    for one in matrices:
        start = 0
        for z in one.numbers.tolist():
            own = one.basis.shells[z]
            if shells.setdefault(z, own) != own:
                raise ValueError(f"mean_blocks: element {z} has shells {list(own)} here and {list(shells[z])} before")
            size = sum(2 * l + 1 for l in own)
            found.setdefault(z, []).append(one.hamiltonian[start : start + size, start : start + size])
            start += size
    return {z: invariant_part(np.mean(blocks, 0), shells[z]).tolist() for z, blocks in sorted(found.items())}


def invariant_part(block: Float[np.ndarray, "n n"], degrees: Sequence[int]) -> Float[np.ndarray, "n n"]:
    """What rotations leave of a block of one atom: mean traces times unit matrices, between shells of equal degree."""
    out = np.zeros_like(block)
    starts = np.cumsum([0, *(2 * l + 1 for l in degrees)])
    for l1, a in zip(degrees, starts):
        for l2, b in zip(degrees, starts):
            if l1 == l2:
                dim = 2 * l1 + 1
                out[a : a + dim, b : b + dim] = np.trace(block[a : a + dim, b : b + dim]) / dim * np.eye(dim)
    return out


def engine_axes(engine: str, degrees: Sequence[int]) -> Float[np.ndarray, "nao nao"]:
    """The orthogonal matrix Q with A_engine = Q A Qᵀ, for orbitals of shells of these degrees; A is in our order.

    engine: "tblite" or "pyscf". Coefficients of orbitals go back as Q C, so that a predicted matrix starts an SCF.
    Raises ValueError for another engine.
    """
    if engine not in CARTESIAN:
        raise ValueError(
            f"engine_axes: the order of orbitals of {engine!r} is not known; known: {', '.join(CARTESIAN)}"
        )
    Q = np.zeros((sum(2 * l + 1 for l in degrees),) * 2)
    start = 0
    for l in map(int, degrees):
        stop = start + 2 * l + 1
        Q[start:stop, start:stop] = np.eye(2 * l + 1) if l in CARTESIAN[engine] else _axes(l)
        start = stop
    return Q


def _turned(A: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Qᵀ A Q, symmetric to the last bit."""
    A = Q.T @ A @ Q
    return (A + A.T) / 2


@lru_cache(maxsize=16)
def _axes(l: int) -> np.ndarray:
    """Harmonics around z from ours, which run around y: those of the turned point (y, z, x)."""
    turn = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    return wigner_D(l, turn).numpy()
