import itertools
import math

import pytest
import torch

from intertwine.groups import SE, E
from intertwine.models.points import pair_invariants
from intertwine.so3 import random_rotation

SPACES = ["Rn", "R2xS1", "R3xS2", "SE3"]
COUNTS = {"Rn": (1, 1), "R2xS1": (3, 4), "R3xS2": (3, 5), "SE3": (12, 12)}


def pairs(space: str, count: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Positions of receivers and senders, then directions or frames where the space has them."""
    n = 2 if space == "R2xS1" else 3
    pos = torch.randn(2, count, n, generator=generator, dtype=torch.float64)
    if space == "Rn":
        return (*pos,)
    if space == "SE3":
        return (*pos, *random_rotation(2, count, generator=generator))
    o = torch.randn(2, count, n, generator=generator, dtype=torch.float64)
    return (*pos, *(o / o.norm(dim=-1, keepdim=True)))


def moved(g: torch.Tensor, data: tuple[torch.Tensor, ...], space: str) -> tuple[torch.Tensor, ...]:
    """Positions move, directions turn, and so do the axes of frames (columns)."""
    R, shift = g[:-1, :-1], g[:-1, -1]
    turned = (R @ frame for frame in data[2:]) if space == "SE3" else (o @ R.T for o in data[2:])
    return (*(p @ R.T + shift for p in data[:2]), *turned)


@pytest.mark.parametrize("space, complete", [*itertools.product(SPACES, [False, True]), ("R3xS2", "E")])
def test_motions_leave_the_numbers_alone(space, complete, generator):
    data = pairs(space, 50, generator)
    n = data[0].shape[-1]
    before = pair_invariants(*data, space=space, complete=complete)
    assert before.shape == (50, COUNTS[space][bool(complete)])
    reflections = space == "Rn" or (space == "R3xS2" and complete is not True)
    group = E(n) if reflections else SE(n)
    for g in group.sample(8, generator=generator):
        after = pair_invariants(*moved(g, data, space), space=space, complete=complete)
        assert (before - after).abs().max() < 1e-12 * (1 + before.abs().max())


@pytest.mark.parametrize("space", ["R2xS1", "R3xS2"])
def test_a_reflection_changes_the_sign_that_it_should(space, generator):
    data = pairs(space, 50, generator)
    n = data[0].shape[-1]
    g = torch.eye(n + 1, dtype=torch.float64)
    g[0, 0] = -1
    before, after = (pair_invariants(*x, space=space, complete=True) for x in (data, moved(g, data, space)))
    signs = torch.tensor([1, -1, 1, -1] if n == 2 else [1, 1, 1, 1, -1])
    assert (after - signs * before).abs().max() < 1e-12


def test_the_published_numbers_of_space_leave_pairs_together_and_the_complete_ones_do_not():
    azimuth = torch.tensor([0.0, math.pi / 2, math.pi], dtype=torch.float64)
    one = torch.ones_like(azimuth)
    o_j = torch.stack([math.sin(1) * azimuth.cos(), math.sin(1) * azimuth.sin(), math.cos(1) * one], -1)
    p_i, o_i = torch.zeros(3, 3).double(), torch.tensor([0.0, 0.0, 1.0]).double()
    p_j = torch.tensor([1.0, 0.0, 0.5]).double()
    published = pair_invariants(p_i, p_j, o_i, o_j, space="R3xS2")
    assert (published - torch.tensor([0.5, 1.0, 0.5403]).double()).abs().max() < 1e-4
    complete = pair_invariants(p_i, p_j, o_i, o_j, space="R3xS2", complete=True)
    assert (complete[:, 3] - torch.tensor([1.1116, 0.2702, -0.5713]).double()).abs().max() < 1e-4
    assert torch.pdist(complete).min() > 0.5


def test_complete_numbers_of_random_pairs_give_the_pair_back(generator):
    """From the five numbers: Δ = (b, 0, a) and o_j in the frame of o_i, up to a rotation about o_i."""
    data = pairs("R3xS2", 100, generator)
    a, b, c, d, volume = pair_invariants(*data, space="R3xS2", complete=True).unbind(-1)
    o = torch.stack([(d - a * c) / b, volume / b, c], -1)  # o·Δ = b o_x + a o_z, det(e_z, Δ, o) = b o_y
    assert (o.norm(dim=-1) - 1).abs().max() < 1e-10
    zero = torch.zeros_like(a)
    rebuilt = (torch.zeros(100, 3).double(), torch.stack([b, zero, a], -1), torch.eye(3).double()[2], o)
    assert (
        pair_invariants(*rebuilt, space="R3xS2", complete=True) - torch.stack([a, b, c, d, volume], -1)
    ).abs().max() < 1e-9


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("space", SPACES)
def test_leading_axes_broadcast(space, complete, generator):
    p_i, p_j, *ori = pairs(space, 4, generator)
    ori = [ori[0][:, None], ori[1]] if ori else []
    grid = pair_invariants(p_i[:, None], p_j, *ori, space=space, complete=complete)
    assert grid.shape[:2] == (4, 4)
    one = [x[0] for x in pairs(space, 4, generator.manual_seed(0))]
    assert torch.equal(grid[0, 0], pair_invariants(*one, space=space, complete=complete))


@pytest.mark.parametrize("space", SPACES)
def test_coincident_points_have_finite_derivatives_of_both_orders(space, generator):
    p_i, p_j, *ori = pairs(space, 6, generator)
    p_j = torch.cat([p_i[:3], p_j[3:]]).requires_grad_()
    if space == "R3xS2":  # and points that lie along the direction
        ori[0] = torch.cat([ori[0][:5], ((p_j - p_i) / (p_j - p_i).norm(dim=-1, keepdim=True))[5:].detach()])
    values = pair_invariants(p_i, p_j, *ori, space=space, complete=True)
    (slope,) = torch.autograd.grad(values.square().sum() + values.sum(), p_j, create_graph=True)
    (curve,) = torch.autograd.grad(slope.square().sum(), p_j)
    assert slope.isfinite().all() and curve.isfinite().all() and curve.abs().max() < 1e4


def test_bad_input_is_named(generator):
    data = pairs("R3xS2", 2, generator)
    with pytest.raises(ValueError, match="space must be one of"):
        pair_invariants(*data, space="R4")
    with pytest.raises(ValueError, match="complete='E'"):
        pair_invariants(*pairs("R2xS1", 2, generator), space="R2xS1", complete="E")
    with pytest.raises(ValueError, match="ori_i None"):
        pair_invariants(*data[:2], space="R3xS2")
    with pytest.raises(ValueError, match=r"space 'SE3' needs positions \[.., 3\] and directions \[.., 3, 3\]"):
        pair_invariants(*data, space="SE3")
