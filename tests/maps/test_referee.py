"""Closed forms against the numerical solver and against characters: dimension and span, group by group, n from 1 up."""

import itertools

import numpy as np
import pytest
import torch

from intertwine import maps
from intertwine.groups import GL, SL, SO, SU, A, GLPlus, Lorentz, MatrixGroup, O, S, Sp, U
from intertwine.maps import solver
from intertwine.maps.characters import count_invariants
from intertwine.maps.diagrams import kernel
from intertwine.reps import Product

PAIRS = [(0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (2, 2), (1, 3), (0, 4), (2, 3), (1, 4), (3, 3), (0, 5), (2, 4)]
MOST = 800  # components of V^(k+l)


def cases():
    """(group, k, l, whether the input is dual), each space once; its components number n^(k+l)."""
    sizes = {S: range(1, 7), A: range(1, 7), O: range(1, 7), SO: range(1, 7), Sp: (2, 4, 6)}
    groups = [kind(n) for kind, ns in sizes.items() for n in ns]
    groups += [Lorentz(1, 1), Lorentz(1, 2, "orthochronous"), Lorentz(2, 1, "proper"), Lorentz(1, 3, "restricted")]
    for group, (k, l) in itertools.product(groups, PAIRS):
        if group.dim_V ** (k + l) <= MOST:
            yield group, k, l, False
    for group, (k, l) in itertools.product([U(1), U(2), U(3)], PAIRS):
        if group.dim_V ** (k + l) <= MOST and (k + l) % 2 == 0:
            yield group, k, l, False
    linear = [kind(n) for kind, ns in {GL: (1, 2, 3), GLPlus: (1, 2, 3), SL: (1, 2, 3, 4)}.items() for n in ns]
    for group, (k, l), dual in itertools.product(linear, PAIRS, (False, True)):
        if group.dim_V ** (k + l) <= MOST:
            yield group, k, l, dual


CASES = list(cases())


def test_there_are_enough_cases():
    assert len(set(CASES)) == len(CASES) >= 150
    assert {group.dim_V for group, *_ in CASES} >= {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize("group", list(dict.fromkeys(case[0] for case in CASES)), ids=str)
def test_closed_form_characters_and_solver_agree(group):
    for _, k, l, dual in (case for case in CASES if case[0] == group):
        V = group.V.dual if dual else group.V
        U_, W = (V**k).terms[0][0], (group.V**l).terms[0][0]
        closed, basis = kernel.kernel(group, U_, W), solver.solve(group, W * U_.dual)
        where = f"{U_} -> {W}"
        assert closed.N == kernel.dimension(group, U_, W) == basis.dim, where
        assert count_invariants(group, (W * U_.dual).factors) == closed.N, where
        if closed.N:
            B = closed.dense().reshape(closed.N, -1).T
            assert np.linalg.matrix_rank(B) == closed.N, where
            Q = basis.Q
            assert np.abs(Q @ (Q.T @ B) - B).max() < 1e-9, where


# Appendix T of the specification, what other tables of the tests leave out: invariants of V^m, m = 0, 1, ...
ROWS = {
    U(1): (1, 0, 2, 0, 6),
    U(2): (1, 0, 2, 0, 12),
    SU(2): (1, 0, 4, 0, 32),
    SU(3): (1, 0, 2, 2),
    O(4): (1, 0, 1, 0, 3, 0, 15, 0, 105),
    SO(4): (1, 0, 1, 0, 4, 0, 25, 0, 196),
    SO(5): (1, 0, 1, 0, 3, 1, 15, 15, 105),
    Sp(4): (1, 0, 1, 0, 3, 0, 14, 0, 84),
    Lorentz(1, 3): (1, 0, 1, 0, 3),
    Lorentz(1, 3, "restricted"): (1, 0, 1, 0, 4),
}


@pytest.mark.parametrize("group", ROWS, ids=str)
def test_rows_of_the_appendix(group):
    V = group.V.terms[0][0].factors
    for m, dim in enumerate(ROWS[group]):
        assert maps.dimension(group.trivial, group.V**m) == dim
        assert count_invariants(group, V * m) == dim
        if group.dim_V**m <= 800:
            assert solver.solve(group, Product(V * m)).dim == dim


def turns(*matrices) -> torch.Tensor:
    return torch.tensor(matrices, dtype=torch.float64)


HALVES = turns([[-1, 0, 0], [0, -1, 0], [0, 0, 1]], [[1, 0, 0], [0, -1, 0], [0, 0, -1]])
THIRD = turns([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
QUARTER = turns([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
POINT_GROUPS = {
    "tetrahedral": (torch.cat([HALVES, THIRD]), (0, 1, 2, 7, 20, 61)),
    "octahedral": (torch.cat([QUARTER, THIRD]), (0, 1, 1, 4, 10, 31)),
    "with inversion": (torch.cat([QUARTER, THIRD, -torch.eye(3).double()[None]]), (0, 1, 0, 4, 0, 31)),
}


@pytest.mark.parametrize("name", POINT_GROUPS)
def test_point_groups_given_by_generators(name):
    generators, row = POINT_GROUPS[name]
    group = MatrixGroup(generators=generators)
    V = group.V.terms[0][0].factors
    assert [solver.solve(group, Product(V * m)).dim for m in range(1, 7)] == list(row)
