"""nn.Bilinear: its formula, equivariance for every kind of form, the variance it starts with, what it refuses."""

import pytest
import torch

from conftest import TOL
from intertwine import nn
from intertwine.audit import assert_equivariant
from intertwine.groups import SO, A, Dihedral, GLPlus, Lorentz, O, S, Sp, Trivial
from intertwine.so3 import Irreps

float64 = torch.float64


def tensors(group, c=(4, 3, 2)):
    """Scalars, vectors, tensors, and dual ones."""
    V = group.V
    return c[0] * group.trivial + c[1] * V + c[2] * V**2 + c[1] * V.dual + V * V.dual


REPS = [tensors(G) for G in (S(3), A(4), Dihedral(3), O(2), O(3), SO(3), Sp(2), Sp(4), GLPlus(2), Trivial(2))]
REPS += [tensors(G) for G in (Lorentz(1, 2), Lorentz(1, 3), Lorentz(2, 1, "restricted"))]
REPS += [
    Irreps("4x0e + 2x0o + 3x1o + 2x2e"),
    3 * O(3).trivial + 2 * O(3).V + O(3).V ** 3 + 2 * O(3).V ** 2 * O(3).det + O(3).V * O(3).det,
    2 * (S(3) * SO(2)).trivial + (S(3) * SO(2)).V,
    1 * S(4).V + S(4).V ** 2,
]


@pytest.mark.parametrize("rep", REPS, ids=repr)
def test_equivariance_of_value_and_gradient(rep, generator):
    layer = nn.Bilinear(rep, generator=generator).double()
    assert_equivariant(layer, elements=4, generator=generator)
    assert_equivariant(layer, elements=2, steps=2, generator=generator)


def test_equivariance_in_single_precision(generator):
    for rep in (tensors(O(3)), tensors(S(3))):
        assert_equivariant(nn.Bilinear(rep, generator=generator), elements=4, atol=TOL[torch.float32])


def test_formula(generator):
    """One channel each: a scalar, a vector and a matrix of O(2), all eight products."""
    group = O(2)
    layer = nn.Bilinear(group.trivial + group.V + group.V**2, generator=generator).double()
    s, v, M = torch.randn(7, generator=generator, dtype=float64).split([1, 2, 4])
    named = {
        (0, 0, 0): s * s,
        (1, 0, 1): v * s,
        (1, 1, 0): v @ v[:, None],
        (1, 1, 2): torch.outer(v, v).flatten(),
        (2, 0, 2): M * s,
        (2, 1, 1): M.view(2, 2) @ v,
        (2, 2, 0): M @ M[:, None],
        (2, 2, 2): (M.view(2, 2) @ M.view(2, 2)).flatten(),
    }
    assert [(p.left, p.right, p.out) for p in layer.paths] == list(named)
    expected = [torch.zeros(1), torch.zeros(2), torch.zeros(4)]
    for (_, _, out), w, z in zip(named, layer.weight, named.values()):
        expected[out] = expected[out] + w * z
    assert torch.allclose(layer(torch.cat([s, v, M])), torch.cat(expected), atol=1e-12)


def test_channels(generator):
    """Every output channel sums over the first c_p' channels of the left term and all of the right one."""
    group = O(3)
    layer = nn.Bilinear(5 * group.V + 4 * group.trivial, generator=generator).double()
    x, s = layer.rep_in.randn(2, generator=generator, dtype=float64).split([15, 4], -1)
    x = x.view(2, 3, 5)
    assert [p.channels for p in layer.paths] == [(3, 5, 4), (3, 4, 5), (1, 4, 4)]
    dot, scaled, product = layer.weight.split([60, 60, 16])
    vectors = torch.einsum("nia,nb,abc->nic", x[..., :3], s, scaled.view(3, 4, 5))
    scalars = torch.einsum("nia,nib,abc->nc", x[..., :3], x, dot.view(3, 5, 4))
    scalars = scalars + torch.einsum("na,nb,abc->nc", s[:, :1], s, product.view(1, 4, 4))
    assert torch.allclose(layer(torch.cat([x.flatten(1), s], 1)), torch.cat([vectors.flatten(1), scalars], 1))


def test_forms():
    """Four-vectors meet with η, symplectic vectors with ω, a vector and a covector with δ."""
    x, y = torch.tensor([2.0, 1.0, 0.0, 0.0]), torch.tensor([3.0, 5.0, 0.0, 0.0])
    for rep, expected in (
        (Lorentz(1, 3).V, 6.0 - 5.0),
        (Sp(4).V, 2.0 * 5.0 - 1.0 * 3.0),
        (O(4).V, 11.0),
    ):
        layer = nn.Bilinear(rep.group.trivial + rep + rep)
        with torch.no_grad():
            layer.weight.zero_()
            start = 0
            for path in layer.paths:
                if (path.left, path.right, path.out) == (1, 2, 0):
                    layer.weight[start] = 1.0
                start += path.weights
        assert layer(torch.cat([torch.zeros(1), x, y]))[0] == expected
    V = GLPlus(2).V
    assert [(p.left, p.right) for p in nn.Bilinear(GLPlus(2).trivial + V + V.dual).paths if p.out == 0] == [
        (0, 0),
        (1, 2),
        (2, 1),
    ]


@pytest.mark.parametrize(
    "rep", [tensors(O(3), (40, 30, 20)), tensors(S(4), (9, 8, 6)), tensors(Lorentz(1, 3))], ids=repr
)
def test_second_moment_at_the_start(rep, generator):
    """In the mean over weights and features: gain², products of an entry with itself counted."""
    squares = []
    for _ in range(60):
        layer = nn.Bilinear(rep, gain=2.0, generator=generator)
        x = rep.randn(100, generator=generator)
        squares.append([block.square().mean().item() for block in rep.split(layer(x))])
    squares = torch.tensor(squares)
    assert ((squares.mean(0) - 4).abs() < 0.2 + 4 * squares.std(0) / 60**0.5).all()


def test_sizes_dtypes_and_seeds(generator):
    layer = nn.Bilinear(tensors(Lorentz(1, 2)), generator=generator)
    for batch in ((), (0,), (1,), (2, 3)):
        assert layer(layer.rep_in.randn(*batch, generator=generator)).shape == (*batch, layer.rep_out.dim)
    assert layer.bfloat16()(torch.ones(2, layer.rep_in.dim, dtype=torch.bfloat16)).dtype == torch.bfloat16
    one, two = (nn.Bilinear(tensors(O(2)), generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.weight, two.weight)
    assert list(one.state_dict()) == ["weight"]


def test_terms_that_no_product_reaches_are_zero(generator):
    layer = nn.Bilinear(O(3).V + O(3).V ** 3 + 2 * O(3).V ** 2, generator=generator)
    assert {p.out for p in layer.paths} == {0, 1, 2}
    layer = nn.Bilinear(2 * O(3).V + O(3).trivial + O(3).V * O(3).det, generator=generator)
    assert {p.out for p in layer.paths} == {0, 1, 2}
    layer = nn.Bilinear(2 * O(3).det + O(3).V + O(3).V * O(3).V, generator=generator)
    y = layer(layer.rep_in.randn(3, generator=generator))
    assert not y[:, :2].any()
    assert y[:, 2:].abs().min() > 0


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"no product of two terms of 3\*V of O\(3\) is a term of it"):
        nn.Bilinear(3 * O(3).V)
    with pytest.raises(ValueError, match="has dimension 4"):
        nn.Bilinear(O(3).trivial + O(3).V)(torch.zeros(2, 5))


def test_traces_whole_at_several_sizes(generator):
    G = Lorentz(1, 2)
    layer = nn.Bilinear(3 * G.trivial + 2 * G.V, generator=generator).double()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for batch in (2, 5):
        x = layer.rep_in.randn(batch, generator=generator, dtype=float64).requires_grad_()
        grads = [torch.autograd.grad(f(x).square().sum(), (x, layer.weight)) for f in (layer, compiled)]
        for a, b in zip(*grads):
            assert torch.allclose(a, b, atol=1e-9)
