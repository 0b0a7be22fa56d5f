"""Chemical elements by symbol or number, and which of them a model is allowed to meet."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ...extras import require
from .errors import DataError, Defect

_HIGHEST_NUMBER = 118


def atomic_numbers(species: Iterable[str | int]) -> tuple[int, ...]:
    """Atomic numbers of symbols or numbers, sorted, each once. Raises ValueError for what is no element."""
    known = require("ase.data", "atoms").atomic_numbers
    numbers = set()
    for entry in species:
        z = known.get(entry, 0) if isinstance(entry, str) else int(entry)
        if not 0 < z < 119:
            raise ValueError(f"{entry!r} is not a chemical element; give symbols such as 'C' or atomic numbers")
        numbers.add(z)
    return tuple(sorted(numbers))


def symbol(z: int) -> str:
    """Chemical symbol of an atomic number."""
    return require("ase.data", "atoms").chemical_symbols[int(z)]


def species_table(species: Sequence[str]) -> Int[Tensor, "119"]:
    """Where each atomic number stands in `species`, -1 for those that do not; read it with `look_up`."""
    table = torch.full((_HIGHEST_NUMBER + 1,), -1, dtype=torch.int64)
    for i, name in enumerate(species):
        table[atomic_numbers([name])[0]] = i
    return table


def look_up(table: Int[Tensor, "119"], z: Int[Tensor, " atoms"], species: Sequence[str]) -> Int[Tensor, " atoms"]:
    """Position of each atomic number in `species`; raises ValueError naming both sets for one that is not there."""
    index = table[z]
    if z.numel() and bool((index < 0).any()):
        found = sorted({symbol(int(n)) for n in z.unique()})
        raise ValueError(f"Potential: the structure holds {', '.join(found)}; this model knows {', '.join(species)}")
    return index


def check_species(graphs: Iterable, species: Iterable[str | int]) -> None:
    """Raise DataError naming both sets when a graph holds an element that is not in `species`."""
    allowed = atomic_numbers(species)
    for i, graph in enumerate(graphs):
        for defect in species_defects(graph.z.cpu().numpy(), allowed):
            raise DataError(defect.problem, frame=int(graph.frame) if int(graph.frame) >= 0 else i, fix=defect.fix)


def species_defects(z: np.ndarray, allowed: tuple[int, ...] | None) -> list[Defect]:
    """The first atom without an element, or with one outside `allowed`."""
    for atom, number in enumerate(z.tolist()):
        if not 0 < number < 119:
            return [Defect("unknown species", f"atom {atom} has no element (X)", "give every atom an element")]
        if allowed is not None and number not in allowed:
            here, names = (", ".join(map(symbol, numbers)) for numbers in (sorted(set(z.tolist())), allowed))
            problem = f"atom {atom} is {symbol(number)}: the structure has {here}, the model knows {names}"
            return [Defect("unknown species", problem, "train with this element, or leave the structure out")]
    return []
