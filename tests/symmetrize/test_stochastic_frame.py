"""Frames drawn one element at a time: right on the average, exact in eval mode, and a deterministic choice."""

import pytest
import torch

from intertwine.audit import assert_equivariant
from intertwine.groups import SE, SO, E, O
from intertwine.reps import Invariant, Nested, Points, Rows, Vectors
from intertwine.symmetrize import FrameAverage, PCAFrame, PlanarFrame, PointFrame, StochasticFrame
from symmetrize.models import CLOUDS, FlatMLP, placed


def cloud(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def wrapped(group, frame, out=Vectors, n: int = 5) -> FrameAverage:
    shape = (3,) if out is Vectors else (1,)
    return FrameAverage(FlatMLP(3 * n, *shape), Points(group), out(group), frame=frame)


def test_the_mean_of_single_frames_is_the_whole_frame():
    group, x = E(3), cloud(2, 5, 3)
    model = wrapped(group, StochasticFrame(PCAFrame(group)))
    many = x.repeat(4000, 1, 1)
    y = model(many, generator=torch.Generator().manual_seed(0)).unflatten(0, (4000, 2))
    standard_error = y.std(0) / 4000**0.5
    assert ((y.mean(0) - wrapped(group, PCAFrame(group))(x)).abs() < 4 * standard_error).all()


def test_eval_mode_uses_the_whole_frame():
    group, x = SE(3), cloud(3, 5, 3)
    model = wrapped(group, "stochastic")
    assert model.guarantee == "in expectation" and model.cost.calls_per_sample == (1, 1)
    model.eval()
    assert model.guarantee == "exact" and model.cost.calls_per_sample[0] == 4
    torch.testing.assert_close(model(x), wrapped(group, "auto")(x), atol=1e-14, rtol=0)
    assert_equivariant(model, data=x, elements=2)


@pytest.mark.parametrize("k", [4, 99])
def test_as_many_draws_as_frames_are_the_frame(k):
    group, x = SO(3), cloud(3, 5, 3)
    model = wrapped(group, StochasticFrame(PCAFrame(group), k=k))
    torch.testing.assert_close(model(x), wrapped(group, "auto")(x), atol=1e-14, rtol=0)


def test_draws_are_without_replacement_and_per_sample():
    group = E(3)
    source = StochasticFrame(PCAFrame(group), k=3)
    elements = source(cloud(1, 5, 3).expand(64, 5, 3), generator=torch.Generator().manual_seed(0))
    apart = (elements.g[:, :, None] - elements.g[:, None]).abs().amax((-1, -2)) + torch.eye(3)
    assert apart.min() > 1e-6  # no element twice
    assert len({tuple(g.flatten().tolist()) for g in elements.g[:, 0]}) == 8  # each sample draws for itself
    again = source(cloud(1, 5, 3).expand(64, 5, 3), generator=torch.Generator().manual_seed(0))
    other = source(cloud(1, 5, 3).expand(64, 5, 3), generator=torch.Generator().manual_seed(1))
    assert torch.equal(again.g, elements.g) and not torch.equal(other.g, elements.g)


@pytest.mark.filterwarnings("ignore:PCAFrame")
def test_padding_is_never_drawn():
    x = torch.cat([placed(CLOUDS["square"]), cloud(1, 4, 3)])  # 16 frames and 8
    elements = StochasticFrame(PCAFrame(E(3)), k=12)(x, generator=torch.Generator().manual_seed(0))
    assert elements.mask.sum(1).tolist() == [12, 8]
    torch.testing.assert_close(elements.weight.sum(1), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("group", [E(3), SE(3), O(3)], ids=str)
def test_one_frame_chosen_by_skew_is_invariant(group):
    x = cloud(1000, 5, 3)
    model = wrapped(group, StochasticFrame(PCAFrame(group), pick="det", eval_k=1), Invariant).eval()
    g = group.sample(1000, generator=torch.Generator().manual_seed(1))
    change = model(Points(group)(g, x)) - model(x)
    elements = model.source(x)
    assert (elements.mask.sum(1) == 1).float().mean() > 0.99
    assert change.abs().max() < 1e-12 and model.guarantee == "exact"


@pytest.mark.filterwarnings("ignore:PCAFrame")
def test_skew_leaves_the_signs_of_centred_clouds_open():
    half = cloud(1, 3, 3)
    x = torch.cat([half, -half], 1)
    model = wrapped(E(3), StochasticFrame(PCAFrame(E(3)), pick="det", eval_k=1), n=6).eval()
    assert model.source(x).mask.sum() == 8
    assert_equivariant(model, data=x, elements=3)
    square = wrapped(E(3), StochasticFrame(PCAFrame(E(3)), pick="det", eval_k=1), n=4).eval()
    assert_equivariant(square, data=placed(CLOUDS["square"]), elements=3)


def test_planar_frames_of_slabs():
    group, x = SE(3), cloud(50, 5, 3)
    model = wrapped(group, StochasticFrame(PlanarFrame(group), pick="det", eval_k=1), Invariant).eval()
    turn = SO(2).sample(50, generator=torch.Generator().manual_seed(0))
    R = torch.eye(3, dtype=torch.float64).repeat(50, 1, 1)
    R[:, :2, :2] = turn
    assert (model(Points(group)(group.element(R), x)) - model(x)).abs().max() < 1e-10


def test_crystals_turn_with_their_cell_and_relabelled_images_change_nothing():
    class Energy(torch.nn.Module):
        """A function of all distances modulo the cell; it sees the laboratory axes too."""

        def forward(self, data):
            pos, cell = data
            difference = pos[:, :, None] - pos[:, None]
            fraction = torch.linalg.solve(cell.mT[:, None, None], difference[..., None])[..., 0]
            wave = (2 * torch.pi * fraction).cos().sum((1, 2, 3))
            return (wave + cell[:, 0, 0])[:, None]

    pos, cell = cloud(2, 4, 3), torch.eye(3, dtype=torch.float64) * 3 + 0.3 * cloud(2, 3, 3, seed=1)
    rep_in = Nested((Vectors(O(3)), Rows(O(3))))
    frame = PCAFrame(O(3))
    frame_of_cell = FrameAverage(Energy(), rep_in, Invariant(), frame=frame).eval()
    assert_equivariant(frame_of_cell, data=(pos, cell), elements=3)
    only_cell = FrameAverage(
        Energy(), rep_in, Invariant(), frame=StochasticFrame(PCAFrame(O(3), weights=lambda x: _cell_only(x)))
    ).eval()
    shift = torch.tensor([[1.0, 0, -2], [0, 0, 0], [3, 1, 0], [0, -1, 0]], dtype=torch.float64)
    moved = pos + shift @ cell
    torch.testing.assert_close(only_cell((moved, cell)), only_cell((pos, cell)), atol=1e-10, rtol=0)
    assert_equivariant(only_cell, data=(pos, cell), elements=3)


def _cell_only(data):
    """Weights for positions and rows of the cell, in the order of the data: only the cell makes the frame."""
    pos, cell = data
    return torch.cat([pos.new_zeros(pos.shape[:2]), cell.new_ones(cell.shape[:2])], 1)


def test_one_graph_when_compiled():
    frame = StochasticFrame(PCAFrame(E(3), on_degenerate="warn"))
    model = wrapped(E(3), frame)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    x = cloud(3, 5, 3)
    assert compiled(x).shape == (3, 3)
    model.eval()
    torch.testing.assert_close(compiled(x), model(x), atol=1e-12, rtol=0)


def test_bad_input():
    with pytest.raises(TypeError, match="ElementSource"):
        StochasticFrame(E(3))
    with pytest.raises(ValueError, match="k must be"):
        StochasticFrame(PCAFrame(E(3)), k=0)
    with pytest.raises(ValueError, match="k must be"):
        StochasticFrame(PCAFrame(E(3)), k="all")
    with pytest.raises(ValueError, match="eval_k must be"):
        StochasticFrame(PCAFrame(E(3)), eval_k=0)
    with pytest.raises(ValueError, match="pick must be"):
        StochasticFrame(PCAFrame(E(3)), pick="first")
    with pytest.raises(ValueError, match="needs the axes of a PCAFrame"):
        StochasticFrame(PointFrame(E(3)), pick="det")
