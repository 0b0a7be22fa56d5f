"""Two maps in turn are one map: the weights that composition gives, against products of matrices."""

import pytest
import torch

from intertwine import maps
from intertwine.groups import SO, A, Cyclic, GLPlus, Lorentz, O, S, Sp
from intertwine.maps import collapse
from intertwine.so3 import Irreps

GROUPS = [S(1), S(2), S(3), S(6), A(3), A(4), O(1), O(2), O(3), SO(2), SO(3), Sp(2), Sp(4), GLPlus(2), S(3) * SO(3)]
GROUPS += [Lorentz(1, 2), Lorentz(2, 1, "restricted"), Cyclic(4)]


def mixed(group):
    """Three representations of several terms; some diagrams depend on others, some have heads."""
    V, one = group.V, group.trivial
    if group == S(3) * SO(3):
        return 2 * V + one, V + 2 * one, 3 * V + one
    odd = V if isinstance(group, GLPlus) else V * group.det
    return 2 * V + V * V.dual + one + odd, V**2 + 3 * V + 2 * one, V * V.dual + 2 * one + V


def draw(space, generator):
    return torch.randn(space.dim, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_composition_is_the_product_of_matrices(group, generator):
    reps = mixed(group)
    inner, outer = maps.between(reps[0], reps[1]), maps.between(reps[1], reps[2])
    both = outer.compose(inner)
    w_outer, w_inner = draw(outer, generator), draw(inner, generator)
    M = outer.matrix(w_outer) @ inner.matrix(w_inner)
    w = both.weight(w_outer, w_inner)
    assert (both.map.matrix(w) - M).abs().max() < 1e-12 * M.abs().max()
    x = reps[0].randn(3, generator=generator, dtype=torch.float64)
    assert torch.allclose(both.map.apply(x, w), outer.apply(inner.apply(x, w_inner), w_outer), atol=1e-10)


@pytest.mark.parametrize("group", [S(3), A(3), O(2), SO(2), SO(3), Sp(2), Lorentz(1, 1, "restricted")], ids=str)
def test_diagrams_and_matrices_give_the_same_numbers(group):
    """Also where a product of basis diagrams is not in the basis, and for orders 3 and heads that meet."""
    V = group.V
    for k, m, l in [(2, 3, 1), (1, 3, 2), (3, 1, 2), (0, 2, 2), (2, 2, 0), (0, 3, 1), (0, 2, 0), (2, 0, 2)]:
        spaces = [maps.between(a, b, allow_zero=True) for a, b in ((V**m, V**l), (V**k, V**m), (V**k, V**l))]
        if not all(space.blocks for space in spaces):
            continue
        kernels = [space.blocks[0].kernel for space in spaces]
        tables = []
        for table in (collapse.structure_constants(*kernels), collapse._by_matrices(*kernels)):
            C = torch.zeros(kernels[0].N * kernels[1].N, kernels[2].N, dtype=torch.float64)
            pairs, places, numbers = map(torch.from_numpy, table)
            tables.append(C.index_put((pairs, places), numbers, accumulate=True))
        assert torch.allclose(*tables, atol=1e-9), (k, m, l)


@pytest.mark.parametrize("basis", ["spanning", "orbit", "orthonormal"])
def test_other_bases(basis, generator):
    V = S(3).V
    inner, outer = maps.between(2 * V, V**2, basis=basis), maps.between(V**2, V + V**2, basis=basis)
    both = outer.compose(inner)
    assert both.map.options.basis == basis
    w_outer, w_inner = draw(outer, generator), draw(inner, generator)
    M = outer.matrix(w_outer) @ inner.matrix(w_inner)
    assert torch.allclose(both.map.matrix(both.weight(w_outer, w_inner)), M, atol=1e-11)


def test_transposed_maps_and_irreps(generator):
    space = maps.between(O(3).V ** 2 + O(3).V, 2 * O(3).V ** 2)
    both = space.compose(space.transpose)
    w = draw(space, generator)
    M = space.matrix(w)
    assert torch.allclose(both.map.matrix(both.weight(w, space.transpose_weight(w))), M @ M.T, atol=1e-11)
    rep = Irreps("4x0e + 3x1o")
    space = maps.between(rep, rep)
    a, b = draw(space, generator), draw(space, generator)
    both = space.compose(space)
    assert torch.allclose(both.map.matrix(both.weight(a, b)), space.matrix(a) @ space.matrix(b), atol=1e-12)


def test_the_weight_is_differentiable(generator):
    V = S(3).V
    space = maps.between(V**2 + V, V**2 + V)
    both = space.compose(space)
    weights = [draw(space, generator).requires_grad_() for _ in range(2)]
    assert torch.autograd.gradcheck(both.weight, weights)


def test_the_cost_does_not_depend_on_n(generator):
    """Nothing of n² numbers is made for diagrams that are in the basis."""
    V = S(10**5).V
    space = maps.between(V**2, V**2)
    w = draw(space, generator)
    small = maps.between(S(6).V ** 2, S(6).V ** 2)
    (constants,) = [space.compose(space).weight(w, w)]
    loops = small.compose(small).weight(w, w)
    assert constants.isfinite().all()
    assert not torch.allclose(constants, loops)  # closed parts count n


def test_what_does_not_fit_is_refused():
    V = S(4).V
    with pytest.raises(ValueError, match=r"the inner map gives V\^2 of S\(4\), the outer takes 2\*V of S\(4\)"):
        maps.between(2 * V, V).compose(maps.between(V, V**2))
    with pytest.raises(ValueError, match="compose: the inner map gives"):
        maps.between(V, V).compose(maps.between(S(5).V, S(5).V))


def test_huge_matrices_are_refused():
    V = S(300).V
    space = maps.between(V, V**2, basis="orbit")
    with pytest.raises(ValueError, match="apply the two maps in turn"):
        maps.between(V**2, V**2, basis="orbit").compose(space)
