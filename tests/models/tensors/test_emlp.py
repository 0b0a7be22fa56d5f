"""EMLP: equivariant for any group, by any rule that finds the layers; the spread of its hidden features."""

import pytest
import torch

from claims.tensor_tasks import in_another_basis
from intertwine.audit import assert_equivariant
from intertwine.groups import SO, Cyclic, GLPlus, Lorentz, O, S, Sp
from intertwine.models.tensors import EMLP, tensors
from intertwine.so3 import Irreps

GROUPS = [S(3), Cyclic(3), O(3), SO(2), Sp(2), Lorentz(1, 2), GLPlus(2), S(2) * SO(2)]


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_equivariance(group, generator):
    V = group.V
    network = EMLP(2 * V + group.trivial, V * V.dual + group.trivial, 60, 2, generator=generator).double()
    assert_equivariant(network, elements=3, generator=generator)
    assert_equivariant(network, elements=2, steps=2, generator=generator)


def test_equivariance_with_irreps(generator):
    hidden = Irreps("8x0e + 2x0o + 3x1o + 2x1e")
    network = EMLP(Irreps("2x0e + 2x1o"), Irreps("1x0e + 1x1e"), hidden, generator=generator).double()
    assert_equivariant(network, elements=4, generator=generator)


def test_solver_and_diagrams_span_the_same_networks(generator):
    """Weights of one are weights of the other: only the basis differs."""
    reps = 3 * O(3).V + 2 * O(3).trivial, O(3).V ** 2
    ours = EMLP(*reps, 60, 2, generator=generator).double()
    theirs = EMLP(*reps, 60, 2, generator=generator, method="solver").double()
    for layer in ours.linears:
        torch.nn.init.normal_(layer.bias, generator=generator)
    x = reps[0].randn(5, generator=generator, dtype=torch.float64)
    assert not torch.allclose(ours(x), theirs(x))
    assert "solver" in theirs.last.explain()
    assert torch.allclose(ours(x), in_another_basis(ours, theirs)(x), atol=1e-9)


@pytest.mark.parametrize("group", [O(3), Sp(4), Lorentz(1, 3), S(5)], ids=str)
def test_components_are_spread_over_orders(group):
    rep, n, V = tensors(group, 384), group.dim_V, group.V
    assert rep.dim == 384
    assert rep == (384 - 128 // n * n - 128 // n**2 * n**2) * group.trivial + 128 // n * V + 128 // n**2 * V**2
    V = GLPlus(2).V
    assert tensors(GLPlus(2), 40) == 16 * GLPlus(2).trivial + 3 * V + 3 * V.dual + V**2 + V * V.dual + V.dual**2


def test_what_is_refused():
    V = O(3).V
    with pytest.raises(ValueError, match=r"8 components hold no tensors of order 1 of O\(3\); take 9"):
        tensors(O(3), 8)
    with pytest.raises(ValueError, match="without scalars"):
        EMLP(V, V, 3 * V)
    with pytest.raises(ValueError, match="layers must be at least 1"):
        EMLP(V, V, 60, 0)
    with pytest.raises(ValueError, match=r"rep_in belongs to S\(3\), rep_out to O\(3\)"):
        EMLP(S(3).V, V, 60)
