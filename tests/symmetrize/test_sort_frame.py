"""Orderings of nodes as frames: any model on graphs and sets, whatever the ties."""

import pytest
import torch
from torch import nn

from intertwine.audit import assert_equivariant
from intertwine.groups import Cyclic, S
from intertwine.reps import Invariant, Nested, Permute
from intertwine.symmetrize import FrameAverage, SortFrame
from symmetrize.models import FlatMLP


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def graph(n: int, edges: list[tuple[int, int]]) -> torch.Tensor:
    A = torch.zeros(1, n, n, dtype=torch.float64)
    for i, j in edges:
        A[0, i, j] = A[0, j, i] = 1
    return A


def cycle(n: int, start: int = 0) -> list[tuple[int, int]]:
    return [(start + i, start + (i + 1) % n) for i in range(n)]


def path(n: int) -> list[tuple[int, int]]:
    return [(i, i + 1) for i in range(n - 1)]


SIZES = {
    "P4": (graph(4, path(4)), 4),
    "P5": (graph(5, path(5)), 4),
    "C6": (graph(6, cycle(6)), 720),
    "K1,4": (graph(5, [(0, i) for i in range(1, 5)]), 24),
    "K4": (graph(4, [(i, j) for i in range(4) for j in range(i)]), 24),
}


def wrapped(n: int, out: int = 1, **options) -> FrameAverage:
    source = SortFrame(S(n), **options)
    return FrameAverage(FlatMLP(n * n, out), Permute(S(n), axes=(1, 2)), Invariant(), frame=source)


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_invariance_of_small_graphs(name):
    A, size = SIZES[name]
    n = A.shape[1]
    model = wrapped(n, max_size=720, on_large="error", tol=1e-6)
    assert model.guarantee == "exact"
    assert model.source(A).mask.sum() == size
    assert_equivariant(model, data=A, elements=3, gradient=False)


def test_twenty_graphs_and_their_relabellings():
    A = (randn(20, 8, 8) > 0.3).double().triu(1)
    A = A + A.mT
    model = wrapped(8, max_size=720, on_large="error")
    g = S(8).sample(20, generator=torch.Generator().manual_seed(0))
    change = model(Permute(S(8), axes=(1, 2))(g, A)) - model(A)
    assert change.abs().max() < 1e-10


def test_outputs_that_move_with_the_nodes():
    """Ties are averaged over, so that nodes which look alike get the same output."""

    class Net(nn.Module):
        def __init__(self, n: int):
            super().__init__()
            self.net = FlatMLP(n * n + 2 * n, n, 3)

        def forward(self, data):
            return self.net(torch.cat([data["features"].flatten(1), data["adjacency"].flatten(1)], 1))

    A, n = SIZES["P4"][0].repeat(3, 1, 1), 4
    features = randn(3, n, 2)
    features[1] = 1.0
    features[2, 0] = features[2, 3]
    rep_in = Nested({"features": Permute(S(n)), "adjacency": Permute(S(n), axes=(1, 2))})
    model = FrameAverage(Net(n), rep_in, Permute(S(n)))
    data = {"features": features, "adjacency": A}
    assert assert_equivariant(model, data=data).forward < 1e-10
    assert model.source(data).mask.sum(1).tolist() == [1, 4, 2]
    y = model(data)
    torch.testing.assert_close(y[1, 0], y[1, 3], atol=1e-12, rtol=0)


def test_sets_and_representations():
    group = S(5)
    sets = FrameAverage(FlatMLP(10, 5, 2), Permute(group), Permute(group))
    assert_equivariant(sets, data=randn(3, 5, 2), elements=3)
    rep_in, rep_out = 2 * group.V + group.V**2, group.V
    flat = FrameAverage(FlatMLP(rep_in.dim, 5), rep_in, rep_out)
    assert_equivariant(flat, elements=3)
    own = SortFrame(group, key=lambda x: x[..., :1], on_large="error")
    assert_equivariant(FrameAverage(FlatMLP(10, 1), Permute(group), Invariant(), frame=own), data=randn(3, 5, 2))


def test_graphs_that_message_passing_cannot_tell_apart():
    """Two triangles and a hexagon, every node of degree two: 720 orderings each, different outputs."""
    triangles, hexagon = graph(6, cycle(3) + cycle(3, 3)), SIZES["C6"][0]
    model = wrapped(6, max_size=720, on_large="error")
    assert model.source(triangles).mask.sum() == 720
    g = S(6).sample(1, generator=torch.Generator().manual_seed(0))[0]
    moved = Permute(S(6), axes=(1, 2))(g, triangles)
    assert (model(moved) - model(triangles)).abs().max() < 1e-10
    assert (model(triangles) - model(hexagon)).abs().max() > 1e-4
    assert (messages(triangles) - messages(hexagon)).abs().max() < 1e-12


def test_decalin_and_bicyclopentyl():
    """The smallest pair of molecules that message passing takes for one: 1,152 orderings each."""
    decalin = graph(10, [*cycle(10), (0, 5)])
    bicyclopentyl = graph(10, [*cycle(5), *cycle(5, 5), (0, 5)])
    model, generator = wrapped(10, max_size=1152, on_large="error"), torch.Generator().manual_seed(0)
    for p in model.parameters():
        nn.init.normal_(p, std=0.5, generator=generator)
    assert [int(model.source(A).mask.sum()) for A in (decalin, bicyclopentyl)] == [1152, 1152]
    assert (model(decalin) - model(bicyclopentyl)).abs().max() > 1e-3
    assert (messages(decalin) - messages(bicyclopentyl)).abs().max() < 1e-12


def messages(A: torch.Tensor) -> torch.Tensor:
    """Three layers h ← MLP(h + Σ_j h_j) from equal nodes, and their sum."""
    h = torch.ones(*A.shape[:2], 4, dtype=torch.float64)
    for k in range(3):
        h = FlatMLP(4, 4, seed=k)((h + A @ h).flatten(0, 1)).unflatten(0, h.shape[:2])
    return h.sum(1)


def test_frames_too_large_are_drawn_or_refused():
    A = SIZES["C6"][0]
    with pytest.raises(ValueError, match="sample 0 has 720 orderings, more than max_size=24"):
        wrapped(6, on_large="error")(A)
    model = wrapped(6)
    assert model.guarantee == "in expectation"
    with pytest.warns(UserWarning, match="1 of 1 samples have more than 24 orderings"):
        y, info = model(A, generator=torch.Generator().manual_seed(0), return_info=True)
    assert info["sampled"].tolist() == [True] and info["mask"].sum() == 24
    assert torch.equal(model(A, generator=torch.Generator().manual_seed(0)), y)
    whole = wrapped(6, max_size=720)(A)
    many = model(A.repeat(400, 1, 1), generator=torch.Generator().manual_seed(1))
    assert ((many.mean(0) - whole[0]).abs() < 4 * many.std(0) / 20).all()
    elements = model.source(A, generator=torch.Generator().manual_seed(0))
    assert S(6).contains(elements.g)


def test_gradients_of_what_is_sorted():
    x = randn(2, 4, 2).requires_grad_()
    model = FrameAverage(FlatMLP(8, 1), Permute(S(4)), Invariant())
    assert torch.autograd.gradcheck(model, (x,))
    ties = torch.ones(1, 4, 2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(ties).sum(), ties)
    torch.testing.assert_close(gradient, gradient[:, :1].expand(1, 4, 2), atol=1e-12, rtol=0)


@pytest.mark.parametrize("size", [0, 1])
def test_small_batches(size):
    assert wrapped(4)(randn(size, 4, 4)).shape == (size, 1)


def test_bad_input():
    with pytest.raises(ValueError, match=r"is not S\(n\)"):
        SortFrame(Cyclic(4))
    with pytest.raises(ValueError, match="key must be"):
        SortFrame(S(4), key="degree")
    with pytest.raises(ValueError, match="on_large"):
        SortFrame(S(4), on_large="ignore")
    with pytest.raises(ValueError, match="max_size"):
        SortFrame(S(4), max_size=0)
    with pytest.raises(ValueError, match="no nodes to sort"):
        FrameAverage(FlatMLP(4, 1), Invariant(S(4)), Invariant(), frame=SortFrame(S(4)))
    short = SortFrame(S(4), key=lambda x: x[:, :2])
    with pytest.raises(ValueError, match="must be"):
        FrameAverage(FlatMLP(8, 1), Permute(S(4)), Invariant(), frame=short)(randn(2, 4, 2))
    with pytest.raises(ValueError, match="no frame is known"):
        FrameAverage(FlatMLP(4, 1), Cyclic(4).V, Invariant())
