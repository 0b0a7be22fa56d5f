"""Distances from groups of matrices, the way onto them, and models made symmetric with a matrix near the group."""

import pytest
import torch
from torch import nn

from intertwine.audit import assert_equivariant
from intertwine.groups import SL, SO, Lorentz, O, S, Sp, U
from intertwine.groups.noncompact import GL
from intertwine.reps import Invariant, Points, Vectors
from intertwine.symmetrize import (
    OrbitCanonicalize,
    OrbitSource,
    ScalarGenerator,
    in_component,
    orbit_distance,
    orbit_invariants,
    retract,
)
from symmetrize.models import FlatMLP

LORENTZ = [Lorentz(1, 3), *(Lorentz(1, 3, c) for c in ("proper", "orthochronous", "restricted"))]
WITH_FORM = [O(3), SO(2), SO(3), *LORENTZ, Lorentz(2, 1), Sp(4), U(2)]
GROUPS = [*WITH_FORM, SL(3), SL(2)]


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def elements(group, k: int) -> torch.Tensor:
    return group.sample(k, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_the_distance_is_zero_on_the_group_and_constant_on_orbits(group):
    g, m = elements(group, 100), randn(100, group.dim_V, group.dim_V)
    for p in (1, 2):
        assert orbit_distance(g, group, p).max() < 1e-12
        near, far = orbit_distance(m, group, p), orbit_distance(g @ m, group, p)
        torch.testing.assert_close(near, far, atol=0, rtol=1e-9)
        assert near.min() > 0


def test_permutations_and_what_no_form_tells_apart():
    p = S(4).matrix(elements(S(4), 20))
    assert orbit_distance(p, S(4)).max() == 0 and orbit_distance(p / 2, S(4)).min() > 0.1
    half = torch.full((4, 4), 0.25, dtype=torch.float64)  # row sums alone would let this pass
    assert orbit_distance(half, S(4)) > 0.1
    mirror = torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
    assert orbit_distance(mirror, SO(2)) > 1 and orbit_distance(mirror, O(2)) == 0
    time = torch.diag(torch.tensor([-1.0, 1, 1, 1], dtype=torch.float64))  # time reversal with a reflection below
    both = torch.diag(torch.tensor([-1.0, -1, 1, 1], dtype=torch.float64))
    assert [bool(in_component(time, group)) for group in LORENTZ] == [True, False, False, False]
    assert [bool(in_component(both, group)) for group in LORENTZ] == [True, True, False, False]
    assert orbit_distance(both, LORENTZ[3]) == 0 < orbit_distance(time, LORENTZ[3])


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("p", [1, 2])
def test_the_distance_has_finite_gradients(group, p):
    eye = torch.eye(group.dim_V, dtype=torch.float64)
    for m in (eye, 0 * eye, eye + 0.1 * randn(group.dim_V, group.dim_V)):
        m = m.clone().requires_grad_()
        (slope,) = torch.autograd.grad(orbit_distance(m, group, p), m)
        assert torch.isfinite(slope).all()


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_the_way_onto_the_group(group):
    n = group.dim_V
    near = torch.eye(n, dtype=torch.float64) + 0.15 * randn(50, n, n, seed=2)
    near[25:, :, 0] *= -1  # another component, for some groups
    g, arrived = retract(near, group)
    assert arrived[:25].all() if group in (SL(2), Sp(4)) else arrived.all()  # of determinant 1
    assert group.contains(g[arrived], 1e-10)
    assert in_component(g[arrived], group).all()
    h = elements(group, 50)
    moved, again = retract(h @ near, group)
    assert torch.equal(arrived, again)
    torch.testing.assert_close(moved[arrived], (h @ g)[arrived], atol=1e-11, rtol=1e-11)
    m = near[:1].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda m: retract(m, group)[0], m)


def test_onto_the_orthogonal_group_is_the_polar_factor():
    m = randn(20, 3, 3)
    left, _, right = torch.linalg.svd(m)
    g, arrived = retract(m, O(3), steps=20)
    assert arrived.all()
    torch.testing.assert_close(g, left @ right, atol=1e-12, rtol=0)


def test_matrices_too_far_away_are_given_back():
    m = randn(200, 4, 4)
    m[0], m[1] = 0, float("nan")
    m.requires_grad_()
    g, arrived = retract(m, Lorentz(1, 3))
    assert 0.4 < arrived.double().mean() < 0.9 and not arrived[:2].any()
    assert torch.equal(g[2:][~arrived[2:]], m[2:][~arrived[2:]])
    g[arrived].square().sum().backward()
    assert torch.isfinite(m.grad).all()
    single, there = retract(torch.eye(4) + 0.1 * randn(5, 4, 4).float(), Lorentz(1, 3))
    assert there.all() and single.dtype == torch.float32


def generator_of(rep, **options) -> ScalarGenerator:
    return ScalarGenerator(rep, width=16, generator=torch.Generator().manual_seed(0), **options).double()


CASES = {str(group): (4 * group.V + 2 * group.trivial, group) for group in WITH_FORM}


@pytest.mark.parametrize("name", CASES)
def test_exact_where_projected(name):
    rep, group = CASES[name]
    net = generator_of(rep)
    x = tame(net, rep, group)
    h, z = elements(group, 3), torch.zeros(3, 1)
    torch.testing.assert_close(net(rep.act(h, x), z), h @ net(x, z), atol=1e-10, rtol=1e-10)
    source = OrbitSource(net, group)
    model = OrbitCanonicalize(FlatMLP(rep.dim, group.dim_V), rep, group.V, source)
    loose = OrbitCanonicalize(model.model, rep, group.V, OrbitSource(net, group, project=False))
    assert loose.guarantee == "exact"  # between tensors, though its matrices are not in the group
    assert_equivariant(loose, data=x, elements=2)
    model.eval()
    found = source(x)
    assert not found.info["off_group"].any() and group.contains(found.g, 1e-9)
    assert assert_equivariant(model, data=x, elements=3).scale > 1e-3


def tame(net, rep, group) -> torch.Tensor:
    """Data whose matrices can be moved onto the group."""
    x = rep.randn(200, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    _, arrived = retract(net(x, torch.zeros(200, 1)), group)
    assert arrived.sum() > 3
    return x[arrived][:3]


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_data_for_which_no_element_is_found(batch):
    """Equal vectors leave directions open: φ stays equivariant, is finite, and says so."""
    group = Lorentz(1, 3)
    rep = 4 * group.V
    x = randn(batch, 4, 1).expand(-1, -1, 4).flatten(1)
    model = OrbitCanonicalize(FlatMLP(16, 4), rep, group.V, generator_of(rep)).eval()
    if not batch:
        assert model(x).shape == (0, 4)
        return
    with pytest.warns(UserWarning, match=f"matrices of {batch} of {batch} samples are too far"):
        y, info = model(x, return_info=True)
    assert info["off_group"].all() and torch.isfinite(y).all()
    assert_equivariant(model, data=x, elements=2)
    assert torch.isfinite(model(0 * x)).all()
    x[0] = float("nan")
    y, info = model(x, return_info=True)
    assert torch.isfinite(y[1:]).all()


def test_noise_and_averages():
    group = SO(3)
    rep = 3 * group.V
    source = OrbitSource(generator_of(rep, noise_dim=2), group, noise_dim=2, noise_scale=0.5, k=4, project=True)
    model = OrbitCanonicalize(FlatMLP(9, 2), rep, Invariant(), source)
    x = rep.randn(3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    h = elements(group, 3)
    assert model.guarantee == "in expectation" and model.cost.calls_per_sample == (4.0, 4)
    y, info = model(x, generator=torch.Generator().manual_seed(7), return_info=True)
    assert info["variance"].shape == y.shape and info["variance"].min() > 0
    again = model(rep.act(h, x), generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(again, y, atol=1e-10, rtol=0)  # the same noise
    assert not torch.equal(model(x, generator=torch.Generator().manual_seed(8)), y)


def test_training_brings_the_matrices_to_the_group():
    group = Lorentz(1, 3)
    rep = 4 * group.V
    model = OrbitCanonicalize(nn.Linear(16, 1), rep, Invariant(), generator_of(rep).float(), freeze_model=True)
    x = rep.randn(64, generator=torch.Generator().manual_seed(0))
    source, first = model.canonicalizer, None
    optimizer = torch.optim.Adam(source.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        out, info = model(x, return_info=True)
        loss = source.orbit_loss(info)
        first = loss.item() if first is None else first
        loss.backward()
        optimizer.step()
    assert out.dtype == torch.float32 and loss.item() < 0.5 * first
    assert torch.isfinite(info["excess"]).all() and all(p.grad is None for p in model.model.parameters())


def test_points_vectors_and_other_networks():
    group = O(3)
    x = randn(3, 5, 3)
    model = OrbitCanonicalize(FlatMLP(15, 3), Points(group), Vectors(group), generator_of(Points(group), count=5))
    assert assert_equivariant(model, data=x, elements=3).gradient < 1e-10

    class Ours(nn.Module):
        def forward(self, x, z):
            return x.unflatten(1, (2, 2))

    special = SL(2)
    rep = 2 * special.V
    free = OrbitCanonicalize(FlatMLP(4, 2), rep, special.V, OrbitSource(Ours(), special, noise_dim=0)).eval()
    assert free.guarantee == "approximate" and "project" in repr(free)
    data = torch.tensor([[1.0, 0.2, 0.1, 2.0], [1.0, 2.0, 2.0, 4.0], [1.0, 0.0, 0.0, -1.0]], dtype=torch.float64)
    assert_equivariant(free, data=data[:1], elements=3)
    with pytest.warns(UserWarning, match="2 of 3 samples are too far"):
        y, info = free(data, return_info=True)
    assert info["off_group"].tolist() == [False, True, True] and torch.isfinite(y).all()


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"no invariants are known that tell GL\(2\)"):
        orbit_invariants(GL(2))
    with pytest.raises(ValueError, match="p must be 1 or 2"):
        orbit_distance(torch.eye(3), O(3), 3)
    with pytest.raises(ValueError, match="are not matrices"):
        OrbitSource(nn.Identity(), S(3))
    with pytest.raises(ValueError, match="1 without noise"):
        OrbitSource(nn.Identity(), O(3), k=2)
    with pytest.raises(ValueError, match="project must be"):
        OrbitSource(nn.Identity(), O(3), project="train")
    with pytest.raises(ValueError, match="has no vectors"):
        ScalarGenerator(Points(O(3)))
    with pytest.raises(ValueError, match="needs a Rep with copies of V"):
        ScalarGenerator(Invariant(O(3)))
    plain = OrbitSource(FlatMLP(9, 3, 3), O(3))
    with pytest.raises(TypeError):
        OrbitCanonicalize(FlatMLP(9, 1), 3 * O(3).V, Invariant(), plain)(randn(2, 9))
