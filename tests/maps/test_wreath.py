"""Layers on parts that may change places: the closed form against the solver, and against what it says."""

import numpy as np
import pytest
import torch

from intertwine import maps, nn
from intertwine.audit import assert_equivariant
from intertwine.groups import GL, SO, Cyclic, O, Power, S, Sp, Wreath
from intertwine.maps import solver

GROUPS = [Wreath(S(3), 2), Wreath(S(2), 3), Wreath(Cyclic(3), 2), Wreath(O(2), 2), Wreath(SO(2), 3), Wreath(Sp(2), 2)]
GROUPS += [Wreath(S(2) * O(2), 2), Wreath(S(3), 1), Wreath(GL(2), 2), Wreath(O(1), 4)]


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_the_closed_form_spans_what_the_solver_finds(group, generator):
    V = group.V
    for U, W in {(V, V), (V.dual, V), (V.dual, V.dual)}:
        space = maps.between(2 * U, 3 * W, allow_zero=True)
        solved = solver.hom(group, U.terms[0][0], W.terms[0][0]).dense()
        assert maps.dimension(U, W) * 6 == space.dim == 6 * len(solved)
        if not space.dim:
            continue
        (block,) = space.blocks
        ours = block.kernel.dense()
        assert block.route.startswith("parts of a wreath product")
        both = np.vstack([ours.reshape(len(ours), -1), solved.reshape(len(ours), -1)])
        assert np.linalg.matrix_rank(both, tol=1e-8) == len(ours)
        x = space.rep_in.randn(4, generator=generator, dtype=torch.float64)
        w = torch.randn(space.dim, generator=generator, dtype=torch.float64)
        assert torch.allclose(space.apply(x, w), x @ space.matrix(w).T, atol=1e-12)
        back = space.transpose
        y = back.rep_in.randn(4, generator=generator, dtype=torch.float64)
        assert torch.allclose(back.apply(y, space.transpose_weight(w)), y @ space.matrix(w), atol=1e-12)


def test_one_copy_for_the_same_part_and_one_product_for_the_others():
    """Hom(V, V) is Hom_G(V, V) and Inv(V) x Inv(V'): S(3) has 2 + 1, O(2) has 1 + 0, one part has no others."""
    counts = {Wreath(S(3), 4): 3, Wreath(O(2), 4): 1, Wreath(SO(2), 2): 2, Wreath(S(3), 1): 2}
    assert {group: maps.dimension(group.V, group.V) for group in counts} == counts
    labels = maps.between(Wreath(S(3), 2).V, Wreath(S(3), 2).V).blocks[0].labels
    assert labels == ("same partition 1-1'", "same partition 1 1'", "other partition 1 x partition 1'")


def test_higher_powers_are_solved():
    V = Wreath(O(2), 2).V
    space = maps.between(V**2, V**2)
    assert space.blocks[0].route.startswith("solver")
    with_products = maps.between(Power(O(2), 2).V, Power(O(2), 2).V)  # V ⊗ V of two members
    assert with_products.dim == 1


@pytest.mark.parametrize("group", [Wreath(S(3), 2), Wreath(SO(2), 2)], ids=str)
def test_layers_are_equivariant(group, generator):
    layer = nn.Linear(2 * group.V + group.trivial, 3 * group.V, generator=generator).double()
    assert_equivariant(layer, elements=6, atol=1e-10, generator=generator)
