"""Where a file keeps its labels: one name per label, looked up in ASE's calculator, info and arrays alike."""

from dataclasses import dataclass

import numpy as np

from .errors import DataError
from .units import Units


@dataclass(frozen=True)
class Keys:
    """The names under which a file stores its labels; None means "not there".

    Every name is looked for among the calculator results, `atoms.info` and `atoms.arrays`, in this order: ASE moves
    `energy`, `forces` and `stress` into a calculator but leaves `REF_energy` or `virial` where they stand.
    energy: eV; forces: eV/Å; stress: eV/Å³ in ASE's sign, 6 numbers (xx, yy, zz, yz, xz, xy) or 9;
    virial: eV, -volume times stress, used where there is no stress; charge: total charge, e; weight: of the frame.
    """

    energy: str | None = "energy"
    forces: str | None = "forces"
    stress: str | None = "stress"
    virial: str | None = None
    config_type: str | None = "config_type"
    charge: str | None = None
    weight: str | None = "weight"


DEFAULT_KEYS = Keys()


@dataclass(frozen=True)
class Labels:
    """The labels of one structure, as float64 NumPy; None where the structure has none."""

    energy: float | None
    forces: np.ndarray | None
    stress: np.ndarray | None
    weight: float
    config_type: str
    charge: float | None


def find(atoms, key: str | None):
    """The value of `key` in an ase.Atoms, or None."""
    if key is None:
        return None
    for place in (atoms.calc.results if atoms.calc is not None else {}, atoms.info, atoms.arrays):
        if key in place and place[key] is not None:
            return place[key]
    return None


def available(atoms) -> str:
    """The keys that are there, by place, for error messages."""
    places = {
        "calculator": sorted(atoms.calc.results) if atoms.calc is not None else [],
        "info": sorted(map(str, atoms.info)),
        "arrays": sorted(set(atoms.arrays) - {"numbers", "positions"}),
    }
    return "; ".join(f"{place}: {', '.join(names) or 'none'}" for place, names in places.items())


def labels(atoms, keys: Keys, units: Units | None = None) -> Labels:
    """Read the labels of an ase.Atoms under the names in `keys`, in eV and Å; `units` are those of the atoms.

    Raises DataError when a label is not a number, or has the wrong number of entries.
    """
    scale = (units or Units()).factors()
    energy = _scalar(atoms, keys.energy, "energy")
    forces = find(atoms, keys.forces)
    if forces is not None:
        forces = _numbers(forces, keys.forces, "forces")
        if forces.shape != (len(atoms), 3):
            raise DataError(
                f"forces under {keys.forces!r} have shape {forces.shape}, the structure has {len(atoms)} atoms",
                fix=f"expected shape ({len(atoms)}, 3)",
            )
    weight, config = _scalar(atoms, keys.weight, "weight"), find(atoms, keys.config_type)
    if weight is not None and weight < 0:
        raise DataError(f"the weight under {keys.weight!r} is {weight}", fix="weights must not be negative")
    return Labels(
        energy=None if energy is None else energy * scale["energy"],
        forces=None if forces is None else forces * scale["forces"],
        stress=_stress(atoms, keys, scale),
        weight=1.0 if weight is None else weight,
        config_type="default" if config is None else str(config),
        charge=_scalar(atoms, keys.charge, "charge"),
    )


def _numbers(value, key: str, label: str) -> np.ndarray:
    try:
        return np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"the {label} under {key!r} is {str(value)[:40]!r}, not a number", fix="name another key in Keys"
        ) from None


def _scalar(atoms, key: str | None, label: str) -> float | None:
    value = find(atoms, key)
    if value is None:
        return None
    value = _numbers(value, key, label)
    if value.size != 1:
        raise DataError(f"the {label} under {key!r} has shape {value.shape}", fix="expected one number per structure")
    return float(value.reshape(()))


def _stress(atoms, keys: Keys, scale: dict[str, float]) -> np.ndarray | None:
    """Stress [3, 3] in ASE's sign; None without a box that is periodic in all directions."""
    for key, label in ((keys.stress, "stress"), (keys.virial, "virial")):
        value = find(atoms, key)
        if value is None or not atoms.pbc.all():
            continue
        value = _numbers(value, key, label)
        if value.size == 6:
            value = value.reshape(6)[[0, 5, 4, 5, 1, 3, 4, 3, 2]]
        if value.size != 9:
            raise DataError(f"the {label} under {key!r} has {value.size} numbers", fix="expected 6 (Voigt) or 9")
        value = value.reshape(3, 3)
        if np.abs(value - value.T).max() > 1e-3 * max(np.abs(value).max(), 1e-6):
            raise DataError(f"the {label} under {key!r} is not symmetric", fix="6 numbers are xx, yy, zz, yz, xz, xy")
        value = (value + value.T) / 2
        if label == "stress":
            return value * scale["stress"]
        return -value * scale["energy"] / max(atoms.cell.volume * scale["length"] ** 3, 1e-300)
    return None
