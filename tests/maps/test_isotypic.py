"""Layers between sums of irreps: the solver's maps, mixed irrep by irrep; convolutions where features are regular."""

import numpy as np
import pytest
import torch

from grids import seeded
from intertwine import maps, nn
from intertwine.groups import SO, SU, A, Cyclic, Dihedral, O, PermutationGroup, S, U
from intertwine.maps.isotypic import MixIrreps, complex_basis

QUATERNIONS = PermutationGroup("(0 1 2 3)(4 5 6 7), (0 4 2 6)(1 7 3 5)")
PAIRS = {
    "real": lambda: (Dihedral(6).regular, Dihedral(6).V ** 2),
    "complex, one copy": lambda: (Cyclic(8).regular, Cyclic(8).regular),
    "complex, copies": lambda: (Cyclic(4).V ** 2, Cyclic(4).regular),
    "complex, many": lambda: (Cyclic(3).V ** 3, Cyclic(3).V ** 2),  # 81 maps: beyond one matrix for the weights
    "unnamed": lambda: (A(4).V ** 2, A(4).V),
    "continuous": lambda: (SO(2).V ** 3, SO(2).irrep(1) + SO(2).irrep(3)),
    "quaternions": lambda: (QUATERNIONS.V, QUATERNIONS.V),
    "quaternions, copies": lambda: (SU(2).V ** 3, SU(2).V),
    "unitary": lambda: (U(2).V ** 2, U(2).V ** 2),
    "permutations": lambda: (S(4).V ** 2, S(4).V),
    "space": lambda: (O(3).V ** 3, O(3).V),
}
pairs = pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS.keys())


def mixed(kernel, c_in: int, c_out: int) -> MixIrreps:
    """The plan by irreps, whatever a dense one would cost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("intertwine.maps.isotypic.MOST_DENSE", 0)
        plan = kernel.plan(c_in, c_out)
    assert isinstance(plan, MixIrreps)
    return plan


@pairs
def test_it_finds_what_the_solver_finds(make):
    pair = make()
    space, judge = (maps.between(*pair, method=method) for method in ("schur", "solver"))
    assert space.dim == judge.dim > 0
    weight = torch.randn(space.dim, generator=seeded(), dtype=torch.float64)
    M = space.matrix(weight)
    assert (judge.matrix(judge.project(M)) - M).abs().max() < 1e-10
    assert (space.project(M) - weight).abs().max() < 1e-10


@pytest.mark.parametrize("channels", [(1, 1), (3, 2)], ids=str)
@pairs
def test_mixing_is_the_basis(make, channels):
    """Values, gradients and both counts of operations of the plan by irreps, against the basis written out."""
    space = maps.between(*make(), method="schur")
    (c_in, c_out), generator = channels, seeded()
    for block in space.blocks:
        kernel = block.kernel
        plan = mixed(kernel, c_in, c_out)
        constants = [torch.from_numpy(c) for c in plan.constants]
        w = torch.randn(kernel.N, c_in, c_out, generator=generator, dtype=torch.float64, requires_grad=True)
        x = torch.randn(2, 3, kernel.dim_in, c_in, generator=generator, dtype=torch.float64, requires_grad=True)
        B = torch.from_numpy(kernel.dense())
        y, wanted = plan.run(x, w, constants), torch.einsum("nij,...jc,ncd->...id", B, x, w)
        assert (y - wanted).abs().max() < 1e-11
        v = torch.randn(y.shape, generator=generator, dtype=torch.float64)
        for a, b in zip(torch.autograd.grad(y, (x, w), v), torch.autograd.grad(wanted, (x, w), v)):
            assert (a - b).abs().max() < 1e-10
        assert plan.run(x[:0], w, constants).shape == (0, 3, kernel.dim_out, c_out)
        turned = kernel.transpose
        assert turned.labels == kernel.labels
        assert (torch.from_numpy(turned.dense()) - B.mT).abs().max() < 1e-12
        assert np.abs(kernel.squares() - (kernel.dense() ** 2).sum((1, 2))).max() < 1e-12
        assert np.abs(kernel.row_norms() - np.sqrt((kernel.dense() ** 2).sum(2).max(1))).max() < 1e-12
        assert np.abs(kernel.row_sums() - np.abs(kernel.dense()).sum(2).max(1)).max() < 1e-12


def test_regular_features_of_a_rotation_are_convolved(generator):
    """All circular convolutions with a kernel as long as the circle, and nothing else."""
    n, c_in, c_out = 8, 3, 2
    group = Cyclic(n)
    space = maps.between(c_in * group.regular, c_out * group.regular)
    assert [block.route for block in space.blocks] == ["schur (irreps)"]
    assert space.dim == n * c_in * c_out
    kernel = torch.randn(c_out, c_in, n, generator=generator, dtype=torch.float64)
    x = torch.randn(5, c_in, n, generator=generator, dtype=torch.float64)
    wrapped = torch.nn.functional.pad(x, (0, n - 1), mode="circular")
    wanted = torch.nn.functional.conv1d(wrapped, kernel)  # y[i] = sum_j k[j - i] x[j]
    units = torch.eye(c_in * n, dtype=torch.float64).view(-1, c_in, n)
    M = torch.nn.functional.conv1d(torch.nn.functional.pad(units, (0, n - 1), mode="circular"), kernel)
    M = M.mT.reshape(n * c_in, -1).view(c_in, n, -1).transpose(0, 1).reshape(n * c_in, -1).T  # components first
    y = space.apply(x.mT.reshape(5, -1), space.project(M))
    assert (y - wanted.mT.reshape(5, -1)).abs().max() < 1e-6


@pytest.mark.parametrize("group", [Dihedral(5), S(3), A(4)], ids=str)
def test_regular_features_are_convolved(group, generator):
    """y(g) = sum_h k(h^-1 g) x(h) for any group: all maps, to the solver's count."""
    n = group.order
    space = maps.between(group.regular, group.regular, method="schur")
    assert space.dim == n
    g = group.elements()
    h = group.index(group.compose(group.inverse(g)[:, None], g)) if not isinstance(g, tuple) else None
    k = torch.randn(n, generator=generator, dtype=torch.float64)
    M = k[h].T  # h^-1 g at row g, column h
    assert (space.matrix(space.project(M)) - M).abs().max() < 1e-10


def test_many_channels_go_by_irreps_and_few_by_the_basis():
    rep = Cyclic(8).regular
    assert isinstance(maps.between(rep, rep).blocks[0].kernel.plan(64, 64), MixIrreps)
    assert not isinstance(maps.between(rep, rep).blocks[0].kernel.plan(1, 1), MixIrreps)


def test_a_layer_commutes_in_both_precisions(generator):
    rep = 24 * Cyclic(8).regular
    layer = nn.Linear(rep, rep, generator=generator)
    assert isinstance(layer.map._steps[0][0], MixIrreps)
    for dtype, bound in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        layer = layer.to(dtype)
        g = rep.group.sample(6, generator=generator)
        x = rep.randn(6, generator=generator, dtype=dtype).requires_grad_()
        y = layer(x)
        moved = rep.act(g, y)
        assert (layer(rep.act(g, x)) - moved).abs().max() < bound * moved.abs().max()
        v = rep.randn(6, generator=generator, dtype=dtype)
        here = rep.act(g, torch.autograd.grad((y * v).sum(), x)[0])
        at = rep.act(g, x).detach().requires_grad_()
        there = torch.autograd.grad((layer(at) * rep.act(g, v)).sum(), at)[0]
        assert (there - here).abs().max() < bound * here.abs().max()


def test_it_traces_whole(generator):
    rep = 24 * Cyclic(8).regular
    layer = nn.Linear(rep, rep, generator=generator).double()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="eager")
    for batch in (2, 5):
        x = rep.randn(batch, generator=generator, dtype=torch.float64)
        assert torch.allclose(compiled(x), layer(x), atol=1e-12)


def test_the_columns_of_complex_coordinates(generator):
    Q, _ = np.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64).numpy())
    J = Q @ np.kron(np.eye(3), np.array([[0.0, -1.0], [1.0, 0.0]])) @ Q.T
    T = complex_basis(J)
    assert np.abs(T.T @ T - np.eye(6)).max() < 1e-12
    assert np.abs(J @ T[:, :3] - T[:, 3:]).max() < 1e-12
