"""Hard targets: deterministic, symmetric, as hard as stated, and held exactly by a network."""

import pytest
import torch

from grids import seeded
from intertwine.audit import assert_equivariant
from intertwine.data.hardness import DegreeParity, FrameAveraged, HermiteGon
from intertwine.groups import Cyclic, Dihedral, O, S


@pytest.mark.parametrize(("n", "chosen"), [(4, (1, 2)), (6, (1, 2)), (11, (3, 4, 6)), (20, (7, 8, 10, 11))])
@pytest.mark.parametrize("b", [0, 1])
def test_a_network_computes_degree_parity(n, chosen, b):
    target = DegreeParity(n, chosen, b)
    x, y = target.sample(500, generator=seeded())
    network = target.solution()
    assert torch.equal(network(x)[:, 0].round().long(), y)
    assert (network(x)[:, 0] - y).abs().max() < 1e-3
    assert 0.3 < y.double().mean() < 0.7


def test_degree_parity_is_what_it_says():
    path = torch.zeros(5, 5)
    for i in range(4):
        path[i, i + 1] = path[i + 1, i] = 1  # degrees 1 2 2 2 1
    assert DegreeParity(5, (1, 3)).rep_in == S(5).V ** 2
    values = [(chosen, b, DegreeParity(5, chosen, b)(path.flatten()).item()) for chosen in ((2,), (1,)) for b in (0, 1)]
    assert values == [((2,), 0, 1), ((2,), 1, 0), ((1,), 0, 0), ((1,), 1, 1)]


def test_degree_parity_is_invariant_and_repeats():
    target = DegreeParity(8, (2, 3))
    x, y = target.sample(64, generator=seeded())
    again, _ = target.sample(64, generator=seeded())
    assert torch.equal(x, again)
    assert torch.equal(target(target.rep_in.act(S(8).sample(64, generator=seeded(1)), x)), y)
    matrices = x.unflatten(1, (8, 8))
    assert torch.equal(matrices, matrices.mT)
    assert not matrices.diagonal(dim1=1, dim2=2).any()
    assert abs(x.mean() - 0.5 * 7 / 8) < 0.03
    assert target.sample(0, generator=seeded())[1].shape == (0,)
    assert abs(target.balance(generator=seeded()) - 0.5) < 0.05


def test_the_solution_is_equivariant():
    solution = DegreeParity(6, (1, 2)).solution().double()
    assert_equivariant(solution, rep_in=S(6).V ** 2, rep_out=S(6).trivial)


def test_easy_sets_are_refused():
    with pytest.raises(ValueError, match=r"most degrees of 15 vertices are in 4..10; .* S is \(0, 1\)"):
        DegreeParity(15, (0, 1))
    with pytest.raises(ValueError, match="must both hold some"):
        DegreeParity(15, tuple(range(2, 14)))
    with pytest.raises(ValueError, match=r"degrees of 4 vertices, 0..3, got \(1, 4\)"):
        DegreeParity(4, (1, 4))
    with pytest.raises(ValueError, match="b must be 0 or 1"):
        DegreeParity(4, (1,), 2)
    with pytest.raises(ValueError, match="has dimension 16"):
        DegreeParity(4, (1,))(torch.zeros(9))


# --- the gon


def turned(gon, x, angle):
    """x turned in the plane of the gon."""
    angle = torch.tensor(angle, dtype=torch.float64)
    R = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    return x + x @ gon.plane @ (R.T - torch.eye(2)) @ gon.plane.T


@pytest.mark.parametrize("k", [1, 2, 4, 6, 8])
def test_a_turn_flips_the_sign(k):
    gon = HermiteGon(7, k, generator=seeded())
    x = torch.randn(200, 7, generator=seeded(1), dtype=torch.float64)
    assert (gon(turned(gon, x, torch.pi / k)) + gon(x)).abs().max() < 1e-12
    assert gon(x).abs().max() > 0.1
    assert (gon.plane.T @ gon.plane - torch.eye(2)).abs().max() < 1e-12


@pytest.mark.parametrize(("k", "square"), [(4, 0.117), (6, 0.048), (8, 0.027)])
def test_size_and_no_correlation_with_low_degrees(k, square):
    gon = HermiteGon(5, k, generator=seeded())
    x, y = gon.sample(200_000, generator=seeded(1), dtype=torch.float64)
    angle = torch.arange(4000, dtype=torch.float64) * torch.pi / 2000
    exact = 2 * gon(torch.stack([angle.cos(), angle.sin()], 1) @ gon.plane.T).square().mean()  # E r² = 2
    assert abs(exact - square) < 1e-3
    assert abs(y.square().mean() - exact) < 4.5 * y.square().std() / len(y) ** 0.5
    u = x @ gon.plane
    for power in range(k):  # monomials u_1^a u_2^b of degree below k, normalised
        for a in range(power + 1):
            p = u[:, 0] ** a * u[:, 1] ** (power - a)
            product = p * y
            assert product.mean().abs() < 4.5 * product.std() / len(x) ** 0.5, (a, power - a)
    z = torch.complex(u[:, 0], u[:, 1]) ** k  # of degree k there is one
    product = z.real * y
    assert product.mean().abs() > 10 * product.std() / len(x) ** 0.5


def test_gon_errors_and_repetition():
    for k in (3, 5):
        with pytest.raises(ValueError, match="the terms cancel and f is zero"):
            HermiteGon(4, k, generator=seeded())
    with pytest.raises(ValueError, match="d of at least 2"):
        HermiteGon(1, 4, generator=seeded())
    with pytest.raises(ValueError, match="k must be at least 1"):
        HermiteGon(4, 0, generator=seeded())
    with pytest.raises(ValueError, match="takes vectors of size 4"):
        HermiteGon(4, 2, generator=seeded())(torch.zeros(3))
    one, two = (HermiteGon(4, 2, generator=seeded()) for _ in range(2))
    assert torch.equal(one.plane, two.plane)
    assert one.sample(3, generator=seeded())[0].dtype == torch.float32


@pytest.mark.parametrize("group", [Cyclic(5), Dihedral(5), S(4)], ids=str)
def test_averages_are_invariant(group):
    rep = group.V
    target = FrameAveraged(HermiteGon(rep.dim, 4, generator=seeded()), group)
    x = torch.randn(9, rep.dim, generator=seeded(1), dtype=torch.float64)
    g = group.sample(9, generator=seeded(2))
    assert (target(rep.act(g, x)) - target(x)).abs().max() < 1e-12
    assert (target.base(rep.act(g, x)) - target.base(x)).abs().max() > 0.1
    assert target(x).std() > 0.01
    assert target(x[0]).shape == ()


def test_average_errors():
    gon = HermiteGon(5, 4, generator=seeded())
    with pytest.raises(ValueError, match=r"takes vectors of size 5, V of Cyclic\(4\) has 4"):
        FrameAveraged(gon, Cyclic(4))
    with pytest.raises(ValueError, match="infinite"):
        FrameAveraged(gon, O(5))
    with pytest.raises(ValueError, match=r"rep belongs to S\(5\), the group is Cyclic\(5\)"):
        FrameAveraged(gon, Cyclic(5), S(5).V)
