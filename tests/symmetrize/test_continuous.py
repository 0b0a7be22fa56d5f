"""Rotations made of vectors: equivariant where the vectors are, finite where they determine none."""

import pytest
import torch
from torch import nn

from intertwine.audit import assert_equivariant
from intertwine.groups import SO, O, S
from intertwine.groups.matrix import SE, E
from intertwine.reps import Invariant, Points, Vectors
from intertwine.symmetrize import Canonicalize, ContinuousCanonicalizer
from intertwine.symmetrize.orthogonalise import gram_schmidt, polar
from symmetrize.models import FlatMLP

METHODS = ("svd", "gram_schmidt")


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Mixed(nn.Module):
    """n vectors as mixtures of the positions, by weights that depend on their lengths."""

    def __init__(self, group, points: int):
        super().__init__()
        self.net = FlatMLP(points, group.n, points)
        self.rep_in = Points(group)
        self.rep_out = group.n * group.V

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.net(x.norm(dim=-1)) @ x).mT.flatten(1)  # components first


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("group", [SO(3), O(3), SE(3), E(3), SO(2), O(2)], ids=str)
def test_exact_for_equivariant_vectors(group, method):
    linear = getattr(group, "linear", group)
    source = ContinuousCanonicalizer(Mixed(linear, 5), group, orthogonalise=method)
    model = Canonicalize(FlatMLP(5 * group.n, group.n), Points(group), Vectors(group), source)
    x = randn(3, 5, group.n)
    assert (model.guarantee, model.cost.calls_per_sample) == ("exact", (1.0, 1))
    error = assert_equivariant(model, data=x)
    assert max(error.forward, error.gradient) < 1e-10
    h = group.take(group.sample(1, generator=torch.Generator().manual_seed(0)), 0)
    assert source.alignment(x, h) > 1 - 1e-12
    _, info = model(x, return_info=True)
    assert not info["degenerate"].any()
    eye = {"rotation": torch.eye(group.n).expand(3, -1, -1)}
    assert source.prior_loss(eye) == 0 and source.identity_metric(eye) == 1
    assert source.prior_loss(info) > 0


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("make", [polar, gram_schmidt])
def test_rotations_have_two_derivatives(make, special):
    M = randn(2, 3, 3, seed=3)
    M[1, :, 2] = -M[1, :, 2]
    R, open_ = make(M, special)
    torch.testing.assert_close(R.mT @ R, torch.eye(3).double().expand(2, 3, 3), atol=1e-14, rtol=0)
    assert not open_.any() and (not special or (torch.linalg.det(R) > 0).all())
    M.requires_grad_()
    assert torch.autograd.gradcheck(lambda m: make(m, special)[0], M)
    assert torch.autograd.gradgradcheck(lambda m: make(m, special)[0], M)


def test_equal_singular_values_have_derivatives():
    M = torch.eye(3, dtype=torch.float64)[None].requires_grad_()
    assert torch.autograd.gradcheck(lambda m: polar(m, True)[0], M)


DEGENERATE = {
    "parallel": torch.tensor([[1.0, 2, 3], [2, 4, 6], [0, 0, 1]], dtype=torch.float64).mT,
    "all parallel": torch.ones(3, 3, dtype=torch.float64),
    "zero": torch.zeros(3, 3, dtype=torch.float64),
    "nan": torch.full((3, 3), float("nan"), dtype=torch.float64),
}


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("make", [polar, gram_schmidt])
def test_vectors_that_determine_no_rotation(make, special, name):
    M = torch.stack([DEGENERATE[name], randn(3, 3)]).requires_grad_()
    R, undetermined = make(M, special)
    # two parallel vectors and a third still have a nearest rotation, but two nearest orthogonal matrices
    assert undetermined.tolist() == [not (make is polar and special and name == "parallel"), False]
    torch.testing.assert_close(R.mT @ R, torch.eye(3).double().expand(2, 3, 3), atol=1e-12, rtol=0)
    assert not special or (torch.linalg.det(R) > 0).all()
    R.square().mul(torch.arange(9).reshape(3, 3)).sum().backward()
    assert torch.isfinite(M.grad).all()


@pytest.mark.parametrize("method", METHODS)
def test_degenerate_samples_are_counted(method):
    group = SO(3)
    x = randn(3, 4, 3)
    x[1] = x[1, :1]  # four equal points
    source = ContinuousCanonicalizer(Mixed(group, 4), group, orthogonalise=method)
    model = Canonicalize(FlatMLP(12, 2), Points(group), Invariant(), source)
    with pytest.warns(UserWarning, match="1 of 3 samples have vectors that determine no rotation"):
        y, info = model(x, return_info=True)
    assert info["degenerate"].tolist() == [False, True, False] and torch.isfinite(y).all()
    source.on_degenerate = "error"
    with pytest.raises(ValueError, match="1 of 3 samples"):
        model(x)


def test_info_is_a_copy():
    group = SO(3)
    source = ContinuousCanonicalizer(Mixed(group, 4), group)
    source.bind(Points(group), Invariant(group))
    with torch.no_grad():
        elements = source(randn(2, 4, 3))
        kept = elements.info["rotation"].clone()
        elements.g.zero_()
    assert torch.equal(elements.info["rotation"], kept)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="needs SO"):
        ContinuousCanonicalizer(Mixed(SO(3), 4), S(3))
    with pytest.raises(ValueError, match="orthogonalise must be"):
        ContinuousCanonicalizer(Mixed(SO(3), 4), SO(3), orthogonalise="qr")
    plain = ContinuousCanonicalizer(FlatMLP(12, 2, 3), SO(3))
    assert plain.guarantee == "approximate"
    with pytest.raises(ValueError, match="3 vectors of 3 numbers"):
        Canonicalize(FlatMLP(12, 1), Points(SO(3)), Invariant(), plain)(randn(2, 4, 3))
