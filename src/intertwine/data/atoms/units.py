"""Units other than eV and Å are converted where the user names them."""

from dataclasses import dataclass

from ...extras import require

_ENERGY = ("eV", "meV", "hartree", "rydberg", "kcal/mol", "kJ/mol")
_LENGTH = ("angstrom", "bohr", "nm")


@dataclass(frozen=True)
class Units:
    """The units of a file; everything is converted to eV, Å, eV/Å, eV/Å³ while reading.

    energy: eV, meV, hartree, rydberg, kcal/mol or kJ/mol. length: of positions and cell, angstrom, bohr or nm.
    forces: such as "hartree/bohr"; None means energy/length. stress: such as "hartree/bohr^3", or "GPa"; None means
    energy/length^3. A virial has the unit of energy. Raises ValueError for a unit that is not known.
    """

    energy: str = "eV"
    length: str = "angstrom"
    forces: str | None = None
    stress: str | None = None

    def __post_init__(self):
        self.factors()

    def factors(self) -> dict[str, float]:
        """What to multiply by, for "energy", "length", "forces" and "stress"."""
        energy, length = _size(self.energy, _ENERGY), _size(self.length, _LENGTH)
        forces = _compound(self.forces, 1) if self.forces else energy / length
        if self.stress == "GPa":
            stress = require("ase.units", "atoms").GPa
        else:
            stress = _compound(self.stress, 3) if self.stress else energy / length**3
        return {"energy": energy, "length": length, "forces": forces, "stress": stress}


def _size(name: str, known: tuple[str, ...]) -> float:
    """One of a unit in eV or Å."""
    units = require("ase.units", "atoms")
    sizes = {
        **{"eV": 1.0, "meV": 1e-3, "hartree": units.Hartree, "rydberg": units.Rydberg},
        **{"kcal/mol": units.kcal / units.mol, "kJ/mol": units.kJ / units.mol},
        **{"angstrom": 1.0, "bohr": units.Bohr, "nm": 10.0},
    }
    if name not in known:
        raise ValueError(f"Units: {name!r} is not known here; there are {', '.join(known)}")
    return sizes[name]


def _compound(name: str, power: int) -> float:
    """Energy per length to a power, such as "kcal/mol/angstrom" or "hartree/bohr^3"."""
    energy, _, length = name.rpartition("/")
    if power > 1:
        length = length.removesuffix(f"^{power}") if length.endswith(f"^{power}") else f"{length} without ^{power}"
    return _size(energy, _ENERGY) / _size(length, _LENGTH) ** power
