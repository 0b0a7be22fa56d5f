"""Numbers of paths, of dimensions, and which degrees interact: those of the theory, for every product."""

import numpy as np
import pytest
import torch

from intertwine.so3 import (
    FusedMatrixProduct,
    GauntTensorProduct,
    Irreps,
    TensorProduct,
    VectorSignalProduct,
    expressivity,
    interactability,
    table,
)
from intertwine.so3.expressivity import PRODUCTS
from intertwine.so3.path_space import path_coefficients

LMAX = [1, 2, 3]


def coupled(lmax: int, lmax_out: int, parity: int | None = None, **options) -> TensorProduct:
    sides = [Irreps.spherical(l, 1, parity) for l in (lmax, lmax, lmax_out)]
    return TensorProduct(*sides, mode="uuu", **options)


def triples(lmax: int, lmax_out: int, odd: bool = True) -> set:
    return {
        (a, None, b, None, c, None)
        for a, b, c in np.ndindex(lmax + 1, lmax + 1, lmax_out + 1)
        if abs(a - b) <= c <= a + b and (odd or (a + b + c) % 2 == 0)
    }


def without_parity(found: set) -> set:
    return {(a, None, b, None, c, None) for a, _, b, _, c, _ in found}


def test_numbers_of_paths():
    every = {
        (None, 2): [6, 19, 44, 85, 146, 231],
        (-1, 2): [5, 14, 30, 55, 91, 140],
        (None, 1): [5, 15, 34, 65, 111, 175],
        (-1, 1): [4, 11, 23, 42, 69, 106],
    }
    for (parity, factor), counts in every.items():
        assert [len(coupled(l, factor * l, parity).paths) for l in range(1, 7)] == counts


@pytest.mark.parametrize("lmax", LMAX)
@pytest.mark.parametrize("parity", [None, -1])
def test_clebsch_gordan_expresses_every_path(lmax, parity):
    product = coupled(lmax, 2 * lmax, parity)
    assert expressivity(product) == len(product.paths) == len(interactability(product))
    assert expressivity(coupled(lmax, lmax, parity, weights="shared", generator=torch.Generator())) == len(
        coupled(lmax, lmax, parity).paths
    )


@pytest.mark.parametrize("lmax", [1, 2, 3, 4])
@pytest.mark.parametrize("weights", ["separable", "none"])
def test_gaunt(lmax, weights):
    """Even l1 + l2 + l3, and as many dimensions as degrees, less the two scales that are counted thrice."""
    wide, narrow = (GauntTensorProduct(lmax, lmax, out, 1, weights=weights) for out in (2 * lmax, lmax))
    assert expressivity(wide) == 4 * lmax + 1 and expressivity(narrow) == 3 * lmax + 1
    assert without_parity(interactability(wide)) == triples(lmax, 2 * lmax, odd=False)
    assert all(p == (-1) ** l for t in interactability(wide) for l, p in zip(t[::2], t[1::2]))


@pytest.mark.parametrize("lmax", LMAX)
@pytest.mark.parametrize("inner", [None, "single"])
def test_matrix_products(lmax, inner):
    product = FusedMatrixProduct(lmax, lmax, 2 * lmax, 1, False, inner=inner)
    assert interactability(product) == triples(lmax, 2 * lmax)
    assert expressivity(product) == 4 * lmax + 1
    blocks = FusedMatrixProduct(lmax, lmax, 2 * lmax, 1, False, inner=inner, weights="block")
    assert expressivity(blocks) == (len(triples(lmax, 2 * lmax)) if inner is None else 4 * lmax + 1)


def test_matrix_product_keeps_parity():
    found = interactability(FusedMatrixProduct(1, 1, 2, 1))
    assert len(found) == 4 * 6 and all(p1 * p2 == p3 for _, p1, _, p2, _, p3 in found)


@pytest.mark.parametrize(("lmax", "cross", "dot", "scalar"), [(1, 6, 6, 6), (2, 19, 15, 17), (3, 34, 23, 27)])
def test_vector_signals(lmax, cross, dot, scalar):
    """Cross products couple all triples but 0 ⊗ 0 -> 0, for which the layer adds a plain product."""
    for kind, number in (("cross", cross), ("dot", dot), ("scalar", scalar)):
        product = VectorSignalProduct(lmax, lmax, 2 * lmax, 1, kind=kind)
        assert interactability(product) == triples(lmax, 2 * lmax)
        assert expressivity(product) == number
    plain = VectorSignalProduct(lmax, lmax, 2 * lmax, 1)
    plain.plain = None
    assert interactability(plain) == triples(lmax, 2 * lmax) - {(0, None) * 3}


def test_a_random_point_says_the_same_as_another():
    for make in (lambda: VectorSignalProduct(2, 2, 2, 1), lambda: GauntTensorProduct(2, 2, 2, 1)):
        assert len({expressivity(make(), seed=seed) for seed in range(3)}) == 1


@pytest.mark.parametrize(
    ("name", "simo", "siso"),
    [
        ("Clebsch-Gordan", [3, 5, 7], [1, 1, 1]),
        ("Clebsch-Gordan, natural parity", [2, 3, 4], [0, 1, 0]),  # L ⊗ L -> L has an even sum for even L only
        ("Gaunt, grid", [2, 3, 4], [0, 1, 0]),
        ("vector signals, cross", [3, 5, 7], [1, 1, 1]),
        ("matrices, one block", [3, 5, 7], [1, 1, 1]),
        ("Gaunt, grid, both parities", [8, 12, 16], [0, 4, 0]),
    ],
)
def test_one_degree_each(name, simo, siso):
    """One degree with one degree: where a product couples at all, it has a weight for each output."""
    for setting, expected in (("SIMO", simo), ("SISO", siso)):
        rows = [table([name], l, setting=setting, batch=2, channels=1, repeats=1).rows[0] for l in LMAX]
        assert [row.triples for row in rows] == expected
        if "both" not in name:  # kinds share the weights of their signals
            assert [row.expressivity for row in rows] == expected


def test_table():
    found = table(list(PRODUCTS)[:3], 1, batch=4, channels=2, repeats=1)
    assert [row.name for row in found.rows] == list(PRODUCTS)[:3]
    assert [(row.triples, row.expressivity) for row in found.rows] == [(6, 6), (5, 5), (5, 5)]
    assert str(found).count("\n") == 4
    with pytest.raises(ValueError, match="'magic' is not one of"):
        table(["magic"], 1)
    with pytest.raises(ValueError, match="setting 'SOSO' is not one of MIMO, SIMO, SISO"):
        table(["Gaunt, grid"], 1, setting="SOSO")


def test_errors():
    with pytest.raises(ValueError, match="one channel in each block is needed"):
        expressivity(GauntTensorProduct(1, 1, 1, 2))
    irreps = Irreps("0 + 1")
    with pytest.raises(ValueError, match="is not equivariant"):
        path_coefficients(lambda x, y: x * y, irreps, irreps, irreps)
