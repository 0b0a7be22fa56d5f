"""FA-GNN: equivariant for any weights, in any dimension, of the published size, and still where frames are open."""

import warnings

import pytest
import torch

from grids import seeded
from intertwine.audit import assert_equivariant
from intertwine.models.points.fa_gnn import FAGNN, message_layers, pair_features


def drawn(*systems, n=5, dim=3):
    g = seeded(dim)
    x, v = (torch.randn(*systems, n, dim, generator=g, dtype=torch.float64) for _ in range(2))
    return x, v, torch.randint(2, (*systems, n), generator=g).double() * 2 - 1


def model(dim=3, vectors=4, layers=3, **options):
    return FAGNN(vectors, layers, dim=dim, generator=seeded(), **options).double()


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("vectors", [1, 4])
def test_equivariant(dim, vectors):
    found = assert_equivariant(model(dim, vectors), data=drawn(2, dim=dim), elements=3)
    assert found.forward < 1e-10 and found.gradient < 1e-10 and found.scale > 1e-2


def test_the_plain_layers_are_not():
    layers = message_layers(12, 3, generator=seeded())

    def bare(x, v, q):
        h, pairs = torch.cat([x, v], -1), pair_features(x, q)
        for layer in layers:
            h = layer.double()(h, pairs)
        return x.mean(1, keepdim=True) + h

    own = model()
    with pytest.raises(AssertionError):
        assert_equivariant(bare, rep_in=own.rep_in, rep_out=own.rep_out, data=drawn(2), elements=2)


def test_points_may_be_renamed_and_systems_do_not_see_each_other():
    (x, v, q), own = drawn(2, 3), model()
    y, p = own(x, v, q), torch.randperm(5, generator=seeded())
    assert y.shape == x.shape
    assert (own(x[..., p, :], v[..., p, :], q[..., p]) - y[..., p, :]).abs().max() < 1e-12
    assert (own(x[1, 2], v[1, 2], q[1, 2]) - y[1, 2]).abs().max() < 1e-12
    assert own(*drawn(0)).shape == (0, 5, 3)
    assert (own(x, v, -q * torch.tensor([1, 1, 1, 1, -1])) - y).abs().max() > 1e-6


@pytest.mark.parametrize("n", [1, 2])
def test_few_points_and_points_at_rest(n):
    """Latents of a single point, or of points on a line, leave axes open: warned of, exact, finite derivatives."""
    x, v, q = drawn(1, n=n)
    own = model()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_equivariant(own, data=(x, v, q), elements=2)
        own(x, 0 * v, q).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in own.parameters())


def test_frames_may_have_a_gradient():
    """Then the gradient is that of the values."""
    x, v, q = drawn(1)
    own = model(3, 2, 2, detach=False)
    assert torch.autograd.gradcheck(lambda x: own(x, v, q), (x.requires_grad_(),))


def test_published_size():
    assert [layer.n_out for layer in message_layers(60, 4)] == [60, 60, 60, 3]
    published = 4 * (2 * 60 * 60 + 60 + 2 * 60 + 60 * 60 + 60 + 120 * 60 + 60 + 60 * 60 + 60)
    assert sum(p.numel() for p in FAGNN().parameters()) == published + 7 * 60 + 61 * 60 + 61 * 3


def test_bad_input():
    with pytest.raises(ValueError, match="must be at least 1, got 0, 4 and 3"):
        FAGNN(0)
    x, v, q = drawn(2)
    with pytest.raises(ValueError, match=r"FAGNN: positions .* got \(2, 5, 3\) and \(2, 5, 1\)"):
        model()(x, v, q[..., None])
