"""Per-species energy shifts and one scale, so that a model learns what bonds do and not what atoms weigh."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .errors import DataWarning
from .species import atomic_numbers, symbol


@dataclass(frozen=True)
class ShiftScale:
    """E = sum over atoms of shift[z] + scale[z] * output: shifts and scales in float64, one per species.

    species: atomic numbers, ascending; shift: eV; scale: eV; method: how the shifts were found; rank: of the matrix of
    compositions (equal to the number of species when the data fix every shift).
    """

    species: tuple[int, ...]
    shift: Float[np.ndarray, " species"]
    scale: Float[np.ndarray, " species"]
    method: str
    rank: int

    def energy(self, z: Int[np.ndarray, " n"]) -> float:
        """Sum of the shifts of these atoms, eV. Raises ValueError for a species without a shift."""
        position = {number: i for i, number in enumerate(self.species)}
        missing = sorted({int(number) for number in z} - set(self.species))
        if missing:
            raise ValueError(
                f"ShiftScale: no shift for {', '.join(map(symbol, missing))}, only for "
                f"{', '.join(map(symbol, self.species))}"
            )
        return float(sum(self.shift[position[int(number)]] for number in z))

    def to_dict(self) -> dict:
        """Plain numbers and strings, for a JSON file; `from_dict` takes it back."""
        return {
            "species": list(self.species),
            "shift": self.shift.tolist(),
            "scale": self.scale.tolist(),
            "method": self.method,
            "rank": self.rank,
        }

    @staticmethod
    def from_dict(values: Mapping) -> "ShiftScale":
        """The ShiftScale that `to_dict` wrote."""
        shift, scale = (np.array(values[name], dtype=np.float64) for name in ("shift", "scale"))
        return ShiftScale(tuple(values["species"]), shift, scale, values["method"], values["rank"])

    def __str__(self) -> str:
        rows = [
            f"  {symbol(z):2s} shift {e:16.6f} eV  scale {s:.6g} eV"
            for z, e, s in zip(self.species, self.shift, self.scale)
        ]
        return "\n".join([f"shifts by {self.method}, rank {self.rank} of {len(self.species)} species", *rows])


def composition(
    z: Sequence[Int[np.ndarray, " n"]], species: Sequence[int] | None = None
) -> tuple[Float[np.ndarray, "frames species"], tuple[int, ...]]:
    """Counts of every species in every structure, and the species (ascending unless given)."""
    arrays = [np.asarray(numbers) for numbers in z]
    if species is None:
        species = sorted({int(number) for numbers in arrays for number in np.unique(numbers)})
    counts = np.array([[(numbers == s).sum() for s in species] for numbers in arrays], dtype=np.float64)
    return counts.reshape(len(arrays), len(species)), tuple(species)


def least_squares(
    counts: Float[np.ndarray, "frames species"], energy: Float[np.ndarray, " frames"]
) -> tuple[Float[np.ndarray, " species"], int]:
    """Shifts e minimising |A e - E|, regularised toward the mean energy per atom; and the rank of A.

    e = m + pinv(A)(E - A m) with m = mean(E / n): directions that the compositions leave open keep m, so one
    composition gives every species the same shift.
    """
    mean = np.full(counts.shape[1], np.mean(energy / counts.sum(1)))
    # The default rcond would call rounding a direction and return shifts of 1e10 eV.
    solution = mean + np.linalg.pinv(counts, rcond=1e-10) @ (energy - counts @ mean)
    return solution, int(np.linalg.matrix_rank(counts, tol=1e-10 * np.linalg.norm(counts, 2)))


def fit_shift_scale(
    dataset: Iterable,
    species: Iterable[str | int] | None = None,
    *,
    shift: str | Mapping[str | int, float] = "auto",
    scale: str | float | None = "forces",
    per_species: bool = False,
) -> ShiftScale:
    """Fit the shifts and the scale of a training set; compute in float64, whatever the graphs' dtype.

    shift: "isolated", energies of the isolated atoms (`dataset.isolated`); a mapping symbol -> eV; "lstsq", least
    squares on compositions, regularised toward the mean energy per atom; "mean", that mean for every species; "auto",
    isolated where every species has one, else lstsq, with a DataWarning when the compositions do not fix all shifts.
    scale: "forces", RMS over all force components (`per_species`: over each species' own); "energy", standard
    deviation of (E - shifts) / atoms; a number; None, 1.
    species: default, the elements of the set. Raises ValueError when a shift cannot be had, naming the species.
    """
    graphs = list(dataset)
    found = sorted({int(z) for graph in graphs for z in graph.z})
    numbers = atomic_numbers(species if species is not None else found)
    missing = sorted(set(found) - set(numbers))
    if missing:
        raise ValueError(
            f"fit_shift_scale: the set holds {', '.join(map(symbol, missing))}, species are "
            f"{', '.join(map(symbol, numbers))}"
        )
    labelled = [graph for graph in graphs if graph.has_energy]
    counts, _ = composition([graph.z.cpu().numpy() for graph in labelled], numbers)
    energy = np.array([float(graph.energy) for graph in labelled])
    shifts, method, rank = _shifts(numbers, counts, energy, shift, dict(getattr(dataset, "isolated", {})))
    scales = np.broadcast_to(_scale(graphs, numbers, counts, energy, shifts, scale, per_species), len(numbers)).copy()
    return ShiftScale(numbers, shifts, scales, method, rank)


def _shifts(numbers, counts, energy, shift, isolated) -> tuple[np.ndarray, str, int]:
    rank = int(np.linalg.matrix_rank(counts)) if len(counts) else 0
    names = ", ".join(map(symbol, numbers))
    if isinstance(shift, Mapping):
        given = {atomic_numbers([key])[0]: float(value) for key, value in shift.items()}
        return _from_atoms(numbers, given, f"the mapping (it has {len(given)} entries)"), "mapping", rank
    if shift not in ("auto", "isolated", "lstsq", "mean"):
        raise ValueError(f"fit_shift_scale: shift must be auto, isolated, lstsq, mean or a mapping, got {shift!r}")
    if shift == "isolated" or (shift == "auto" and set(numbers) <= set(isolated)):
        return _from_atoms(numbers, isolated, "the isolated atoms of the file"), "isolated", rank
    if not len(counts):
        raise ValueError(f"fit_shift_scale: no structure has an energy, so {shift} shifts of {names} cannot be fitted")
    if shift == "mean":
        return np.full(len(numbers), np.mean(energy / counts.sum(1))), "mean", rank
    solution, rank = least_squares(counts, energy)
    if rank < len(numbers):
        warnings.warn(
            f"the compositions fix only {rank} of {len(numbers)} energy shifts ({names}); the rest follow the mean "
            "energy per atom: fine for these molecules, but energies of other compositions mean nothing. Add "
            "isolated-atom frames to fix them",
            DataWarning,
            stacklevel=3,
        )
    return solution, "lstsq", rank


def _from_atoms(numbers, energies: Mapping[int, float], source: str) -> np.ndarray:
    missing = [symbol(z) for z in numbers if z not in energies]
    if missing:
        raise ValueError(f"fit_shift_scale: no energy for {', '.join(missing)} in {source}; use shift='lstsq'")
    return np.array([energies[z] for z in numbers], dtype=np.float64)


def _scale(graphs, numbers, counts, energy, shifts, scale, per_species) -> np.ndarray | float:
    if scale is None:
        return 1.0
    if not isinstance(scale, str):
        if not (np.isfinite(scale) and scale > 0):
            raise ValueError(f"fit_shift_scale: scale must be positive, got {scale}")
        return float(scale)
    if scale not in ("forces", "energy"):
        raise ValueError(f"fit_shift_scale: scale must be forces, energy, a number or None, got {scale!r}")
    if scale == "energy":
        values = (energy - counts @ shifts) / counts.sum(1) if len(counts) else np.zeros(0)
        return _or_one(float(values.std()) if len(values) > 1 else 0.0, "energies do not vary")
    with_forces = [graph for graph in graphs if graph.has_forces]
    if sum(len(graph.z) for graph in with_forces) < 3:
        return _or_one(0.0, "fewer than 3 atoms have forces")
    forces = np.concatenate([graph.forces.double().cpu().numpy() for graph in with_forces])
    rms = _or_one(float(np.sqrt(np.mean(forces**2))), "all forces are zero")
    if not per_species:
        return rms
    z = np.concatenate([graph.z.cpu().numpy() for graph in with_forces])
    own = [np.sqrt(np.mean(forces[z == number] ** 2)) if (z == number).any() else 0.0 for number in numbers]
    return np.array([value if value > 0 else rms for value in own])


def _or_one(value: float, why: str) -> float:
    if value > 0:
        return value
    warnings.warn(f"no scale can be fitted ({why}); it is set to 1 eV", DataWarning, stacklevel=4)
    return 1.0
