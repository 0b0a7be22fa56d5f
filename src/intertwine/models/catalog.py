"""The list of what there is: a saved potential names its network, and only names on this list are built from a file."""

import inspect
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One model: its name, where it lives, what it is for and the paper it comes from."""

    name: str
    module: str
    task: str
    summary: str
    source: str = ""

    def load(self) -> type:
        """Import the class."""
        return getattr(import_module(self.module), self.name)


ENTRIES = (
    Entry(
        "NequIP",
        "intertwine.models.atoms.nequip",
        "atoms: energies, forces, stress",
        "E(3)-equivariant message passing; accurate from few hundred structures",
        "arXiv:2101.03164",
    ),
    Entry(
        "MACE",
        "intertwine.models.atoms.mace",
        "atoms: energies, forces, stress",
        "many-body messages by the symmetric contraction; two layers suffice",
        "arXiv:2206.07697",
    ),
    Entry(
        "EquiformerV2",
        "intertwine.models.atoms.equiformer_v2",
        "atoms: energies, direct forces",
        "transformer for high degrees and large data; rotations only, direct forces (--model.forces direct)",
        "arXiv:2306.12059",
    ),
    Entry(
        "Facet",
        "intertwine.models.atoms.facet",
        "atoms: energies, forces, stress",
        "messages weighted by splines of the distance, nodes mixed on a sphere: fewer weights, faster steps",
        "arXiv:2509.08418",
    ),
    Entry(
        "FAENet",
        "intertwine.models.atoms.faenet",
        "atoms: energies, forces, stress",
        "plain message passing, made symmetric by frames: one drawn in training, all in evaluation",
        "arXiv:2305.05577",
    ),
    Entry(
        "Cartesian",
        "intertwine.models.atoms.cartesian",
        "atoms: energies, forces, stress",
        "plain message passing on Cartesian edge vectors: not rotation equivariant, the control of comparisons",
    ),
    Entry(
        "Pair",
        "intertwine.models.atoms.pair",
        "atoms: energies, forces, stress",
        "a linear pair potential: the smallest thing that trains, for tests and first steps",
    ),
)
# Models that are no potentials: listed, but built in Python only.
OTHERS = (
    Entry(
        "QHNet",
        "intertwine.models.atoms.qhnet",
        "molecules: Hamiltonian matrices",
        "Fock matrices block by block, and with them orbital energies and charges",
        "arXiv:2306.04922",
    ),
    Entry(
        "LatticeElasticityNet",
        "intertwine.models.atoms.elasticity",
        "strut lattices: stiffness",
        "fourth-order tensors, symmetric and with positive energy by construction",
        "arXiv:2401.16914",
    ),
    Entry(
        "TransformedClassifier",
        "intertwine.models.images.equivariant_transformer",
        "images: a pose found before they are classified",
        "any network behind stages that undo rotation, scale, shear, aspect or perspective of unknown amount",
        "arXiv:1901.11399",
    ),
)
# Arguments that the data decide, not the user.
_FROM_DATA = ("self", "species", "cutoff", "avg_num_neighbors", "generator")


def entry(name: str) -> Entry:
    """The entry of a model; raises ValueError listing the names that exist."""
    for candidate in ENTRIES:
        if candidate.name.lower() == name.lower():
            return candidate
    if other := next((e for e in OTHERS if e.name.lower() == name.lower()), None):
        raise ValueError(f"{other.name} is no potential ({other.task}); import it from {other.module}")
    raise ValueError(f"there is no model {name!r}; there are: {', '.join(e.name for e in ENTRIES)}")


def options(name: str) -> dict[str, Any]:
    """Keyword arguments a user may set on a network, with their defaults."""
    parameters = inspect.signature(entry(name).load()).parameters
    return {key: p.default for key, p in parameters.items() if key not in _FROM_DATA}


def check(name: str, given: dict[str, Any]) -> None:
    """Raise ValueError if the network or one of the options does not exist."""
    known = options(name)
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"{entry(name).name} has no option {', '.join(unknown)}; it has: {', '.join(known)}")


def build(name: str, **arguments: Any) -> Any:
    """Build a network by name; raises ValueError for an unknown name or option."""
    check(name, {key: value for key, value in arguments.items() if key not in _FROM_DATA})
    return entry(name).load()(**arguments)


def potential(config: dict[str, Any]) -> Any:
    """Build an untrained `Potential` again from `Potential.config`."""
    from .atoms.potential import Potential

    network = build(config["backbone"], species=config["species"], cutoff=config["cutoff"], **config["options"])
    rest = {key: value for key, value in config.items() if key not in ("backbone", "options", "species", "cutoff")}
    return Potential(network, config["species"], config["cutoff"], **rest)
