"""Elements by symbol or number; an element that a model does not know is named with those it knows."""

import pytest
from ase import Atoms

from intertwine.data.atoms import DataError, atomic_numbers, check_species, from_ase
from intertwine.data.atoms.species import symbol


def test_symbols_and_numbers_become_sorted_numbers():
    assert atomic_numbers(["O", 1, "C", 8]) == (1, 6, 8)
    assert [symbol(z) for z in (1, 6, 118)] == ["H", "C", "Og"]


@pytest.mark.parametrize("entry", ["Xx", "X", 0, 119, "oxygen"])
def test_what_is_no_element_is_refused(entry):
    with pytest.raises(ValueError, match="not a chemical element"):
        atomic_numbers([entry])


def test_a_stranger_is_named_with_both_sets():
    graphs = [from_ase(Atoms(s, positions=[[0, 0, 0], [2, 0, 0]]), cutoff=None) for s in ("CO", "HCl")]
    check_species(graphs, ["H", "C", "O", "Cl"])
    with pytest.raises(DataError, match=r"frame 1: atom 1 is Cl: the structure has H, Cl, the model knows H, C, O"):
        check_species(graphs, ["H", "C", "O"])
