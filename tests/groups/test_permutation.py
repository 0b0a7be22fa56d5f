"""Permutation groups from generators: sizes and members against another program and against lists, and their names."""

import copy
import math
import pickle
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2
from sympy.combinatorics import Permutation
from sympy.combinatorics import PermutationGroup as Referee

from conftest import TOL
from grids import seeded
from intertwine import maps, nn
from intertwine.groups import A, Automorphism, Cyclic, Dihedral, O, PermutationGroup, S, embedding
from intertwine.groups.chain import is_even
from intertwine.groups.finite import parity
from intertwine.maps.average import transversals
from intertwine.reps import Factor, Product, Rep, parse_group

MATHIEU = (
    "(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22)(23), (2 16 9 6 8)(3 12 13 18 4)(7 17 10 11 22)"
    "(14 19 21 20 15), (0 23)(1 22)(2 11)(3 15)(4 17)(5 9)(6 19)(7 13)(8 20)(10 16)(12 21)(14 18)"
)
RUBIK_CORNERS = "(0 1 2 3), (0 4 5 1), (1 5 6 2), (2 6 7 3), (3 7 4 0), (4 7 6 5)"


@st.composite
def generators(draw, most: int = 7):
    """A few permutations, also sparse ones, of a few points."""
    n = draw(st.integers(1, most))
    rows = []
    for _ in range(draw(st.integers(0, 3))):
        moved = draw(st.lists(st.integers(0, n - 1), unique=True, max_size=n))
        image = list(range(n))
        for a, b in zip(moved, moved[1:] + moved[:1]):
            image[a] = b
        rows.append(image)
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, n)


@given(generators())
def test_order_elements_and_members_are_those_of_the_generated_group(images):
    group, n = PermutationGroup(images), images.shape[1]
    assert group.order == (Referee([Permutation(g) for g in images.tolist()]).order() if len(images) else 1)
    elements, everything = group.elements(), S(n).elements()
    inside = group.contains_each(everything)
    assert torch.equal(everything[inside], elements)  # in lexicographic order, the identity first
    assert torch.equal(group.index(elements), torch.arange(group.order))
    assert group.contains(images)
    assert PermutationGroup(group.generators()) == group
    assert len(group.generators()) < n
    assert group.is_abelian == all(torch.equal(g[h], h[g]) for g in elements[:40] for h in elements[-40:])


@given(generators(6), st.integers(0, 2**31))
def test_equal_groups_are_equal_however_they_are_generated(images, seed):
    group = PermutationGroup(images)
    other = PermutationGroup(group.sample(12, generator=seeded(seed)))
    assert (other == group) == (other.order == group.order)
    assert other != group or (hash(other) == hash(group) and str(other) == str(group))
    assert parse_group(str(group)) == group


@pytest.mark.parametrize(
    "text, order",
    [
        (MATHIEU, 244823040),
        (RUBIK_CORNERS, math.factorial(8)),
        ("(0 1 2 3 4 5 6), (1 2)(3 6)", 168),  # PSL(3, 2)
        ("(0 1)(2 3), (0 2)(1 3)(6)", 4),
        ("(3)", 1),
        ("(0 1)(2 3)(4 5), (0 2 4)(1 3 5), (0 1)", 24),
    ],
)
def test_known_orders(text, order):
    assert PermutationGroup(text).order == order


def wreath(a: int, b: int) -> torch.Tensor:
    """Generators of S(a) wr S(b) on a*b points."""
    points = torch.arange(a * b)
    swap, turn, exchange = points.clone(), points.clone(), points.clone()
    swap[:2] = torch.tensor([1, 0])
    turn[:a] = points[:a].roll(-1)
    exchange[: 2 * a] = points[: 2 * a].roll(-a)
    return torch.stack([swap, turn, exchange, points.roll(-a)])


def test_large_groups_are_fast_and_never_listed():
    start = time.process_time()
    assert PermutationGroup(S(30).generators()).order == math.factorial(30)
    assert PermutationGroup(A(30).generators()).order == math.factorial(30) // 2
    assert PermutationGroup(wreath(5, 6)).order == math.factorial(5) ** 6 * math.factorial(6)
    assert time.process_time() - start < 3
    group = PermutationGroup(A(30).generators())
    assert parity(group.sample(50, generator=seeded())).min() == 1
    assert group.contains(A(30).sample(9, generator=seeded()))
    assert not group.contains_each(S(30).generators()[:1])[0]  # a transposition
    with pytest.raises(ValueError, match="elements\\(\\) lists at most 1000000"):
        group.elements()
    with pytest.raises(ValueError, match="elements\\(\\) lists at most 1000000"):
        group.index(group.identity())


def test_transversals_are_a_unique_factorisation():
    group = PermutationGroup("(0 1)(2 3), (0 2)(4 5)")
    chain = group.transversals()
    assert math.prod(map(len, chain)) == group.order
    for level in chain:
        assert torch.equal(level[0], group.identity())
    products = group.identity(1)
    for level in chain:
        products = group.compose(products[:, None], level).flatten(0, 1)
    assert torch.equal(products[group.index(products).argsort()], group.elements())
    again = transversals(group)
    assert [len(level) for level in again] == [len(level) for level in chain][::-1]


@pytest.mark.parametrize(
    "group",
    [PermutationGroup(A(4).generators()), PermutationGroup("(0 1 2 3 4), (1 4)(2 3)"), Automorphism("0-1 1-2 2-3 3-0")],
    ids=str,
)
def test_samples_are_uniform(group):
    counts = group.index(group.sample(200 * group.order, generator=seeded())).bincount(minlength=group.order)
    statistic = float(((counts - 200) ** 2 / 200).sum())
    assert chi2.ppf(0.0005, group.order - 1) <= statistic <= chi2.ppf(0.9995, group.order - 1)


@pytest.mark.parametrize("text, sizes", [("(0 1 2 3), (0 2)", [1, 1, 2, 2, 2]), ("(0 1 2), (1 2 3)", [1, 3, 4, 4])])
def test_conjugacy_classes(text, sizes):
    assert sorted(map(len, PermutationGroup(text).conjugacy_classes())) == sizes


def test_subgroups_are_checked():
    group = PermutationGroup("(0 1 2 3), (0 2)")
    half = group.subgroup(torch.tensor([[1, 2, 3, 0]]))
    assert half.order == 4 and half == PermutationGroup("(0 1 2 3)")
    with pytest.raises(ValueError, match=r"subgroup: .* are not all elements of PermutationGroup"):
        group.subgroup(torch.tensor([[1, 0, 2, 3]]))


def test_embeddings_are_found_by_membership():
    five = PermutationGroup("(0 1 2 3 4), (1 4)(2 3)")
    V = S(5).V
    assert V.restrict(five) == five.V
    assert five.V.restrict(Cyclic(5)) == Cyclic(5).V and five.V.restrict(Dihedral(5)) == Dihedral(5).V
    assert five.V.induce(S(5)).dim == 5 * 12
    assert embedding(five, Automorphism("0-1 1-2 2-3 3-4 4-0")).keeps_V
    assert (O(5).V ** 2).restrict(five) == five.V**2
    g = five.sample(4, generator=seeded())
    assert torch.equal(embedding(five, O(5))(g), five.matrix(g))
    assert torch.equal(embedding(PermutationGroup("(0 1)"), S(3))(torch.tensor([1, 0])), torch.tensor([1, 0, 2]))
    with pytest.raises(ValueError, match="no standard embedding"):
        embedding(five, PermutationGroup("(0 1 2 3 4)"))


class Standard(Factor):
    """Vectors of R^n whose entries sum to zero, in an orthonormal basis: no permutation of coordinates."""

    is_orthogonal = True

    def __init__(self, group):
        self.group = group

    dim = property(lambda self: self.group.n - 1)

    def matrix(self, g, dtype=torch.float64):
        n = self.group.n
        Q = torch.linalg.qr(torch.cat([torch.ones(n, 1), torch.eye(n)[:, 1:]], 1).double())[0][:, 1:]
        return (Q.T @ self.group.matrix(g) @ Q).to(dtype)

    def __str__(self):
        return "standard"


def test_the_average_over_a_large_group_goes_along_its_chain():
    """Order 20160: listed it would be 20160 actions for each probe, along the chain they are 28."""
    group = PermutationGroup(A(8).generators())
    assert sum(map(len, transversals(group))) < 40
    standard = Rep(group, [(Product((Standard(group),)), 1)])
    assert maps.between(standard, standard).blocks[0].route == "solver (average)"
    layer = nn.Linear(2 * standard**2 + group.V, standard + group.det, generator=seeded()).double()
    assert layer.weight.numel() == 2 * 1 + 1 + 2 + 1  # standard^2 holds standard once and the invariants once
    x = layer.rep_in.randn(5, generator=seeded(), dtype=torch.float64)
    for g in group.sample(4, generator=seeded(1)):
        gap = layer(layer.rep_in.act(g, x)) - layer.rep_out.act(g, layer(x))
        assert gap.abs().max() < TOL[torch.float64]


def test_copies_and_names_do_not_depend_on_the_process():
    group = PermutationGroup(MATHIEU)
    assert copy.deepcopy(group) == group == pickle.loads(pickle.dumps(group))
    assert str(group) == "PermutationGroup(24 points, #d8a7b4ea96cf4291)"
    assert str(PermutationGroup("(0 1 2 3)(5), (1 3)")) == "PermutationGroup('(0 1)(2 3), (1 3)(5)')"


def test_an_even_permutation_has_determinant_one():
    for image in S(4).elements():
        assert is_even(image.numpy()) == (parity(image) > 0)


@pytest.mark.parametrize(
    "given_, message",
    [
        (torch.tensor([0, 1]), r"shape \(2,\), they must be \[r, n\]"),
        (torch.zeros(1, 0, dtype=torch.int64), "n at least 1"),
        (torch.tensor([[0, 0, 1]]), r"generator 0 is \[0, 0, 1\], no permutation of 0..2"),
        (torch.tensor([[0, 1], [1, 2]]), r"generator 1 is \[1, 2\], no permutation of 0..1"),
        (torch.eye(3), "int64, got torch.float32"),
        ("(0 1)(1 2)", "must be disjoint"),
        ("0 1", "not made of cycles"),
        ("", "not made of cycles"),
        ("(0 1", "not made of cycles"),
        ("()", "not made of cycles"),
    ],
    ids=repr,
)
def test_bad_generators_are_refused(given_, message):
    with pytest.raises(ValueError, match=message):
        PermutationGroup(given_)


def test_wrong_elements_are_no_members():
    group = PermutationGroup("(0 1 2)")
    assert not group.contains(torch.tensor([0, 1, 2, 3]))
    assert not group.contains(torch.tensor([0.0, 1.0, 2.0]))
    assert group.contains_each(torch.tensor([[0, 1, 2], [1, 0, 2], [0, 0, 0], [5, 1, 2], [1, 2, 0]])).tolist() == [
        *(True, False, False, False, True)
    ]
    assert group.generators().dtype == torch.int64 and np.array_equal(group.generators(), [[1, 2, 0]])
