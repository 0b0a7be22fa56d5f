"""Frobenius reciprocity as a rule: the maps that the solver finds, from a problem smaller by the index."""

import pytest
import torch

from grids import seeded
from intertwine import maps
from intertwine.groups import SO, Cyclic, Dihedral, Lorentz, O, S, embedding
from intertwine.maps.frobenius import BlockByBlock
from intertwine.reps import Induced, Product, Rep


def several() -> Rep:
    """A sum with channels, induced as one factor."""
    return Rep(S(4), [(Product((Induced(2 * S(3).V + S(3).det, embedding(S(3), S(4))),)), 2)])


PLANE = Cyclic(3).irrep(1).induce(Dihedral(6))
SPACES = {
    "from induced": lambda: (4 * PLANE, 3 * Dihedral(6).irrep(1, 1) + Dihedral(6).V),
    "to induced": lambda: (3 * Dihedral(6).irrep(1, 1) + Dihedral(6).V, 4 * PLANE),
    "between induced": lambda: (16 * PLANE, 16 * Cyclic(3).regular.induce(Dihedral(6))),
    "infinite": lambda: (16 * SO(3).V.induce(O(3)), 16 * O(3).V ** 2 + SO(3).V.induce(O(3))),
    "not compact": lambda: (
        2 * Lorentz(1, 2, "restricted").V.dual.induce(Lorentz(1, 2)),
        Lorentz(1, 2).V + Lorentz(1, 2).V.dual,
    ),
    "a sum, from": lambda: (several(), S(4).V + S(4).det),
    "a sum, to": lambda: (S(4).V + S(4).det, several()),
}
spaces = pytest.mark.parametrize("make", SPACES.values(), ids=SPACES.keys())


@spaces
def test_it_finds_what_the_solver_finds(make):
    rep_in, rep_out = make()
    space, judge = (maps.between(rep_in, rep_out, method=method) for method in ("frobenius", "solver"))
    assert space.dim == judge.dim > 0
    assert all(block.route.startswith("frobenius (") for block in space.blocks)
    weight = torch.randn(space.dim, generator=seeded(), dtype=torch.float64)
    M = space.matrix(weight)
    assert (judge.matrix(judge.project(M)) - M).abs().max() < 1e-10
    x = rep_in.randn(3, generator=seeded(1), dtype=torch.float64)
    assert (space.apply(x, weight) - x @ M.T).abs().max() < 1e-11
    assert space.apply(x[:0], weight).shape == (0, rep_out.dim)
    turned = space.transpose
    assert torch.allclose(turned.matrix(space.transpose_weight(weight)), M.T, rtol=0, atol=1e-12)


@spaces
def test_gradients_commute_with_the_group(make):
    rep_in, rep_out = make()
    space, group = maps.between(rep_in, rep_out, method="frobenius"), rep_in.group
    weight = torch.randn(space.dim, generator=seeded(), dtype=torch.float64)
    x = rep_in.randn(4, generator=seeded(1), dtype=torch.float64).requires_grad_()
    v = rep_out.randn(4, generator=seeded(2), dtype=torch.float64)
    g = group.sample(4, generator=seeded(3))
    (here,) = torch.autograd.grad((space.apply(x, weight) * v).sum(), x)
    moved = rep_in.act(g, x)
    (there,) = torch.autograd.grad((space.apply(moved, weight) * rep_out.dual.act(g, v)).sum(), moved)
    expected = rep_in.dual.act(g, here)
    assert (there - expected).abs().max() < 1e-10 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("gather", [True, False])
def test_many_channels_go_block_by_block(gather):
    """The subgroup's own fast way, here the Fourier transform, is taken in every block."""
    pair = Cyclic(8).regular.induce(Dihedral(8)), Dihedral(8).regular
    kernel = maps.between(*(pair if gather else pair[::-1]), method="frobenius").blocks[0].kernel
    plan = kernel.plan(64, 64)
    assert isinstance(plan, BlockByBlock)
    weight = torch.randn(kernel.N, 64, 64, generator=seeded(), dtype=torch.float64)
    x = torch.randn(5, 16, 64, generator=seeded(1), dtype=torch.float64)
    y = plan.run(x, weight, [torch.from_numpy(c) for c in plan.constants])
    wanted = torch.einsum("nij,bjc,ncd->bid", torch.from_numpy(kernel.dense()), x, weight)
    assert (y - wanted).abs().max() < 1e-10


def test_permutations_are_left_to_orbits():
    block = maps.between(S(3).V.induce(S(4)), S(4).V ** 2).blocks[0]
    assert block.route == "solver (orbits)"
    assert maps.between(S(3).V.induce(S(4)), S(4).V ** 2, method="frobenius").dim == block.N == 10


def test_where_nothing_is_induced_it_does_not_serve():
    with pytest.raises(ValueError, match=r"method 'frobenius' does not serve V -> V of S\(4\)"):
        maps.between(S(4).V, S(4).V, method="frobenius")
