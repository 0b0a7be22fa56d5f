"""Shells of every element as the engines have them, and as representations of rotations."""

import numpy as np
import pytest
import torch

from intertwine.data.atoms import Basis

WATER, ETHANOL = [8, 1, 1], [6, 6, 8, *[1] * 6]
MALONALDEHYDE, URACIL = [6] * 3 + [8] * 2 + [1] * 4, [6] * 4 + [7] * 2 + [8] * 2 + [1] * 4
ACAC = [6] * 5 + [8] * 2 + [1] * 8


def test_published_sizes():
    large = Basis.def2_svp(["H", "C", "N", "O"])
    sizes = [large.irreps(numbers).dim for numbers in ([1], [6], [7], [8], WATER, ETHANOL, MALONALDEHYDE, URACIL)]
    assert sizes == [5, 14, 14, 14, 24, 72, 90, 132]
    small = Basis.gfn2(["H", "C", "O", "S"])
    assert [small.irreps(numbers).dim for numbers in ([1], [16], WATER, ETHANOL, ACAC)] == [1, 9, 6, 18, 36]
    assert small.shells == {1: (0,), 6: (0, 1), 8: (0, 1), 16: (0, 1, 2)}


def test_gfn2_is_what_tblite_has():
    interface = pytest.importorskip("tblite.interface")
    for z, shells in Basis.gfn2(range(1, 87)).shells.items():
        quiet = {"color": False, "logger": lambda message: None}
        engine = interface.Calculator("GFN2-xTB", np.array([z]), np.zeros((1, 3)), **quiet)
        assert tuple(engine.get("angular-momenta").tolist()) == shells, z


def test_def2_svp_is_what_pyscf_has():
    gto = pytest.importorskip("pyscf.gto")
    for z, shells in Basis.def2_svp(range(1, 19)).shells.items():
        atom = gto.M(atom=[(z, (0, 0, 0))], basis="def2-svp", spin=z % 2, verbose=0)
        degrees = [l for k in range(atom.nbas) for l in [int(atom.bas_angular(k))] * int(atom.bas_nctr(k))]
        assert tuple(degrees) == shells, z


def test_the_widest_shape_holds_every_element():
    basis = Basis({"H": [0, 0, 1], "Fe": [2, 0, 1], "S": [0, 1, 2, 1]})
    assert str(basis.widest) == "2x0e + 2x1o + 1x2e"
    for z in basis.elements:
        where = basis.positions(z)
        assert len(set(where.tolist())) == len(where) == basis.irreps([z]).dim
    # Each shell keeps its own channel: components are first in a term, channels last.
    assert basis.positions(16).tolist() == [0, 2, 4, 6, 8, 9, 10, 11, 12, 3, 5, 7]
    assert basis.positions(26).tolist() == [8, 9, 10, 11, 12, 0, 2, 4, 6]


def test_orbitals_turn_alike_in_both_layouts(generator):
    basis = Basis({"H": [0, 0, 1], "Fe": [2, 0, 1], "S": [0, 1, 2, 1]})
    g = basis.widest.group.sample(1, generator=generator)[0]
    wide = basis.widest.matrix(g)
    for z in basis.elements:
        where = torch.from_numpy(basis.positions(z))
        torch.testing.assert_close(wide[where[:, None], where], basis.irreps([z]).matrix(g))


def test_equal_bases_are_one():
    a, b = Basis({"O": [0, 1], "H": [0]}), Basis({1: (0,), 8: (0, 1)})
    assert a == b
    assert hash(a) == hash(b)
    assert a != Basis({"O": [1, 0], "H": [0]})
    assert a.elements == (1, 8)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Basis({}), "no element"),
        (lambda: Basis({"Xq": [0]}), "'Xq' is not a chemical element"),
        (lambda: Basis({"H": [0], 1: [0]}), "H is given twice"),
        (lambda: Basis({"H": []}), "H needs shells"),
        (lambda: Basis({"H": [-1]}), "H needs shells"),
        (lambda: Basis.gfn2(["U"]), "ends at Rn"),
        (lambda: Basis.def2_svp(["Fe"]), "only H to Ar"),
        (lambda: Basis.gfn2(["H", "O"]).irreps([1, 6]), "no shells for C; it knows H, O"),
        (lambda: Basis.gfn2(["H"]).positions(8), "no shells for O"),
    ],
    ids=("empty", "no element", "twice", "no shells", "degree", "heavy", "far", "missing", "positions"),
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()
