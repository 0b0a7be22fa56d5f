"""Frames of principal axes: exact for any model and dimension, and degenerate clouds as good as any."""

import warnings

import pytest
import torch

from intertwine.audit import assert_equivariant
from intertwine.groups import SE, SO, E, O, S
from intertwine.reps import Invariant, Nested, Points, Rows, Tensors, Vectors
from intertwine.symmetrize import FrameAverage, PCAFrame, PlanarFrame, PointFrame
from symmetrize.models import CLOUDS, FlatMLP, PointNet, placed

KINDS = {"invariant": (Invariant, ()), "vector": (Vectors, (3,)), "points": (Points, (5, 3))}


def cloud(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("group", [O(3), SO(3), E(3), SE(3)], ids=str)
def test_any_model_becomes_equivariant(group, kind):
    action, shape = KINDS[kind]
    model = FrameAverage(FlatMLP(15, *(shape or (1,))), Points(group), action(group))
    found = assert_equivariant(model, data=cloud(4, 5, 3), elements=4)
    assert found.forward < 1e-12 and found.gradient < 1e-10 and found.scale > 0


@pytest.mark.parametrize("rank", [2, 3])
def test_tensors_of_higher_rank(rank):
    model = FrameAverage(FlatMLP(15, *[3] * rank), Points(O(3)), Tensors(O(3), rank))
    assert assert_equivariant(model, data=cloud(4, 5, 3), elements=4).forward < 1e-12


@pytest.mark.parametrize(("d", "reflected", "proper"), [(1, 2, 1), (2, 4, 2), (3, 8, 4), (4, 16, 8), (5, 32, 16)])
def test_numbers_of_frames(d, reflected, proper):
    for group, size in ((E(d), reflected), (O(d), reflected), (SE(d), proper), (SO(d), proper)):
        model = FrameAverage(FlatMLP(7 * d, d), Points(group), Vectors(group))
        elements = model.source(cloud(3, 7, d))
        assert elements.mask.shape == (3, size) and elements.mask.all()
        assert group.contains(elements.g, 1e-10)
        assert model.cost.calls_per_sample[0] == size
        assert assert_equivariant(model, data=cloud(3, 7, d), elements=2).forward < 1e-11


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
@pytest.mark.parametrize("group", [O(3), SO(3), E(3), SE(3)], ids=str)
def test_fifty_clouds_one_motion_each(group, rank):
    """Must hold 1 of arXiv:2110.03336: 1e-13 for numbers and vectors, 1e-12 for tensors."""
    x, out = cloud(50, 5, 3), [Invariant(group), Vectors(group), Tensors(group), Tensors(group, 3)][rank]
    model = FrameAverage(FlatMLP(15, *([3] * rank or [1])), Points(group), out)
    g = group.sample(50, generator=torch.Generator().manual_seed(1))
    error = model(Points(group)(g, x)) - out(g, model(x))
    assert error.abs().max() < (1e-13 if rank < 2 else 1e-12)


def test_chirality_is_seen_by_rotation_frames_only():
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    x = cloud(4, 5, 3)
    for group, small in ((O(3), True), (SO(3), False)):
        model = FrameAverage(FlatMLP(15, 1), Points(group), Invariant())
        change = (model(x @ mirror) - model(x)).abs().max()
        assert (change < 1e-12) == small


def test_an_equivariant_model_is_left_alone_and_twice_is_once():
    class Mean(torch.nn.Module):
        def forward(self, x):
            return (x * (x - x.mean(1, keepdim=True)).square().sum(-1, keepdim=True)).mean(1)

    x = cloud(4, 5, 3)
    once = FrameAverage(Mean(), Points(O(3)), Vectors(O(3)))
    torch.testing.assert_close(once(x), Mean()(x), atol=1e-12, rtol=0)
    any_model = FrameAverage(FlatMLP(15, 3), Points(E(3)), Vectors(E(3)))
    twice = FrameAverage(any_model, Points(E(3)), Vectors(E(3)))
    torch.testing.assert_close(twice(x), any_model(x), atol=1e-12, rtol=0)


def test_gradient_is_that_of_the_value_and_forces_add_up_to_nothing():
    x = cloud(2, 4, 3).requires_grad_()
    model = FrameAverage(FlatMLP(12, 1), Points(E(3)), Invariant())
    assert model(x, return_info=True)[1]["gap"].min() > 1e-2
    assert torch.autograd.gradcheck(model, (x,))
    (force,) = torch.autograd.grad(model(x).sum(), x)
    torque = torch.linalg.cross(x.detach(), force).sum(1)
    assert force.sum(1).abs().max() < 1e-10 and torque.abs().max() < 1e-10


def test_a_frame_that_is_not_differentiated_makes_no_forces():
    x = cloud(2, 4, 3)
    model = FrameAverage(FlatMLP(12, 1), Points(E(3)), Invariant(), frame=PCAFrame(E(3), detach=True))
    model(x)
    with pytest.raises(ValueError, match="no derivative of the energy"):
        model(x.requires_grad_())
    allowed = PCAFrame(E(3), detach=True, allow_nonconservative=True)
    model = FrameAverage(FlatMLP(12, 1), Points(E(3)), Invariant(), frame=allowed)
    (force,) = torch.autograd.grad(model(x).sum(), x)
    assert torch.linalg.cross(x.detach(), force).sum(1).abs().max() > 1e-4


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("group", [E(3), SO(3)], ids=str)
def test_degenerate_clouds_are_exact(group, name):
    x = placed(CLOUDS[name])
    n = x.shape[1]
    for action, shape in ((Vectors(group), (3,)), (Tensors(group), (3, 3))):
        model = FrameAverage(FlatMLP(3 * n, *shape), Points(group), action)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = assert_equivariant(model, data=x, elements=2)
        assert found.forward < 1e-9 and found.gradient < 1e-9  # NaN would fail too


@pytest.mark.parametrize(
    ("name", "size"), [("methane", 12), ("benzene", 12), ("cube", 24), ("generic", 1), ("water", 2)]
)
def test_sizes_of_point_frames(name, size):
    water = torch.tensor([[0, 0, 0], [1, 1, 0], [-1, 1, 0]], dtype=torch.float64)
    x = {**{k: placed(v) for k, v in CLOUDS.items()}, "generic": cloud(1, 6, 3), "water": placed(water)}[name]
    assert PointFrame(SE(3))(x).mask.sum() == size
    assert PointFrame(E(3))(x).mask.sum() == 2 * size


@pytest.mark.parametrize("d", [1, 2, 4])
def test_point_frames_in_other_dimensions(d):
    for points in (cloud(6, d), torch.eye(d, dtype=torch.float64), torch.ones(3, d, dtype=torch.float64)):
        for group in (E(d), SO(d)):
            n = len(points)
            frame = PointFrame(group)
            model = FrameAverage(FlatMLP(n * d, d), Points(group), Vectors(group), frame=frame)
            assert assert_equivariant(model, data=points[None], elements=3).forward < 1e-10


def test_policies_for_degenerate_clouds():
    x = torch.cat([placed(CLOUDS["square"]), cloud(2, 4, 3)])
    group = E(3)

    def model(policy, frame=None):
        frame = PCAFrame(group, on_degenerate=policy)
        return FrameAverage(FlatMLP(12, 1), Points(group), Invariant(), frame=frame)

    with pytest.raises(ValueError, match="sample 0 has principal axes that are not defined"):
        model("error")(x)
    kept = model("warn")
    with pytest.warns(UserWarning, match="1 of 3 samples"):
        kept(x)
    y, info = kept(x, return_info=True)  # said once
    assert info["degenerate"].tolist() == [True, False, False] and info["gap"][0] < 1e-10
    with pytest.raises(AssertionError):
        assert_equivariant(kept, data=x)
    cured = model("points")
    with pytest.warns(UserWarning, match="1 of 3 samples"):
        y, info = cured(x, return_info=True)
    assert info["policy_used"].tolist() == [1, 0, 0] and info["mask"].sum(1).tolist() == [16, 8, 8]
    torch.testing.assert_close(y[1:], model("points")(x[1:]), atol=1e-14, rtol=0)  # neighbours do not matter


def test_lines_and_points_are_harmless_for_vectors_without_any_cure():
    for name in ("a line", "equal points"):
        x = placed(CLOUDS[name])
        frame = PCAFrame(E(3), on_degenerate="error")
        model = FrameAverage(FlatMLP(3 * x.shape[1], 3), Points(E(3)), Vectors(E(3)), frame=frame)
        assert_equivariant(model, data=x, gradient=False)
        frame = PCAFrame(E(3), on_degenerate="error")
        model = FrameAverage(FlatMLP(3 * x.shape[1], 3, 3), Points(E(3)), Tensors(E(3)), frame=frame)
        with pytest.raises(ValueError, match="not defined"):
            model(x)


def test_gradients_stay_finite_as_a_gap_closes():
    square = CLOUDS["square"]
    direction = cloud(4, 3, seed=3)
    model = FrameAverage(FlatMLP(12, 1), Points(E(3)), Invariant())
    largest = []
    for size in (0.0, 1e-12, 1e-8, 1e-5, 1e-3, 1e-1):
        x = (square + size * direction)[None].requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (force,) = torch.autograd.grad(model(x).sum(), x)
        largest.append(force.abs().max())
    assert all(torch.isfinite(torch.stack(largest))) and max(largest) < 1e3


class WithVelocities(torch.nn.Module):
    """Takes a dict, returns a dict."""

    def __init__(self, n: int):
        super().__init__()
        self.net = FlatMLP(6 * n, n + 1, 3)

    def forward(self, data):
        y = self.net(torch.cat([data["pos"], data["vel"]], 1)) * data["mass"][:, None, None]
        return {"pos": y[:, :-1], "dipole": y[:, -1], "label": torch.arange(len(y))}


@pytest.mark.parametrize("name", ["generic", "triangle", "a line", "equal points"])
def test_dicts_with_velocities(name):
    """Velocities turn and do not shift; on a line of points they say what the points leave open."""
    group = SE(3)
    pos = cloud(2, 3, 3) if name == "generic" else placed(CLOUDS[name][:3]).expand(2, 3, 3)
    data = {"pos": pos, "vel": cloud(2, 3, 3, seed=1), "mass": cloud(2, seed=2)}
    rep_in = Nested({"pos": Points(group), "vel": Vectors(SO(3)), "mass": Invariant()})
    rep_out = Nested({"pos": Points(group), "dipole": Vectors(SO(3)), "label": Invariant()})
    model = FrameAverage(WithVelocities(3), rep_in, rep_out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_equivariant(model, data=data, elements=3)
        assert model(data)["label"].tolist() == [0, 1]


def test_tensors_beside_points_on_a_line_are_not_promised():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = FlatMLP(18, 3)

        def forward(self, data):
            return self.net(torch.cat(data, 1))

    model = FrameAverage(Net(), Nested((Points(E(3)), Tensors(O(3)))), Vectors(E(3)))
    stress = cloud(1, 3, 3)
    assert_equivariant(model, data=(cloud(1, 3, 3, seed=1), stress), elements=2)
    with pytest.warns(UserWarning, match="parts that frames do not see"):
        _, info = model((placed(CLOUDS["a line"]), stress), return_info=True)
    assert info["degenerate"].all()


def test_padding_changes_no_bit():
    x, mask = cloud(3, 5, 3), torch.ones(3, 5, dtype=torch.float64)
    padded = torch.cat([x, torch.full((3, 4, 3), 7.0, dtype=torch.float64)], 1)
    padded_mask = torch.cat([mask, torch.zeros(3, 4, dtype=torch.float64)], 1)
    rep_in = Nested({"pos": Points(E(3)), "mask": Invariant()})

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = PointNet(3, 1)

        def forward(self, data):
            return self.net(data["pos"], data["mask"])

    model = FrameAverage(Net(), rep_in, Invariant(), frame=PCAFrame(E(3), weights=lambda data: data["mask"]))
    plain, more = {"pos": x, "mask": mask}, {"pos": padded, "mask": padded_mask}
    assert torch.equal(model.source(plain).g, model.source(more).g)
    torch.testing.assert_close(model(plain), model(more), atol=1e-14, rtol=0)
    assert_equivariant(model, data=more, elements=3)
    nothing = {"pos": padded, "mask": 0 * padded_mask}
    with pytest.warns(UserWarning, match="3 of 3 samples"):
        assert torch.isfinite(model(nothing)).all()


def test_cells_turn_with_positions():
    class Energy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = FlatMLP(21, 1)

        def forward(self, data):
            return self.net(torch.cat(data, 1))

    rep_in = Nested((Points(E(3)), Rows(O(3))))
    model = FrameAverage(Energy(), rep_in, Invariant())
    assert_equivariant(model, data=(cloud(2, 4, 3), cloud(2, 3, 3, seed=1)), elements=3)


@pytest.mark.parametrize("group", [E(3), SE(3), O(3)], ids=str)
def test_planar_frames_keep_their_axis_only(group):
    frame = PlanarFrame(group)
    linear = group.linear if isinstance(group, E) else group
    size = 4 if not isinstance(linear, SO) else 2
    model = FrameAverage(FlatMLP(15, 3), Points(group), Vectors(group), frame=frame)
    x = cloud(3, 5, 3)
    assert model.source(x).mask.shape == (3, size)
    c, s = torch.tensor(0.7).cos(), torch.tensor(0.7).sin()
    turn = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64)
    tilt = turn[[2, 0, 1]][:, [2, 0, 1]]
    for R, exact in ((turn, True), (tilt, False)):
        Q = torch.linalg.qr(R).Q  # orthogonal to the last bit
        Q = Q * (Q * R).sum(0).sign()
        g = group.element(Q, torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)) if isinstance(group, E) else Q
        error = (model(Points(group)(g, x)) - Vectors(group)(g, model(x))).abs().max()
        assert (error < 1e-12) == exact
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    if isinstance(group, E):  # heights are not centred: the surface stays where it is
        assert (model(x + up) - model(x)).abs().max() > 1e-6
    upright = x.clone()
    upright[..., :2] = 0  # all points above one another: any turn about z is as good
    with pytest.warns(UserWarning, match="not defined"):
        y = model(upright)
    torch.testing.assert_close(y[..., :2], torch.zeros_like(y[..., :2]), atol=1e-12, rtol=0)


def test_float32_far_from_the_origin():
    far = (cloud(4, 5, 3) + 300).float()
    near, source = far.double() - 300, PCAFrame(E(3))  # both exact: what is lost is lost in the data
    apart = source(far).g[:, :, None, :3, :3] - source(near).g[:, None, :, :3, :3]
    assert apart.abs().amax((-1, -2)).amin(2).max() < 1e-10
    x = cloud(4, 5, 3).float()
    model = FrameAverage(FlatMLP(15, 3).float(), Points(E(3)), Vectors(E(3)))
    assert assert_equivariant(model, data=x, gradient=False).forward < 1e-5
    assert model(x).dtype == torch.float32
    square = placed(CLOUDS["square"]).float()
    model = FrameAverage(FlatMLP(12, 3).float(), Points(E(3)), Vectors(E(3)))
    with pytest.warns(UserWarning, match="not defined"):
        assert_equivariant(model, data=square, gradient=False)


def test_bad_input():
    with pytest.raises(ValueError, match="has no frames of points"):
        PCAFrame(S(4))
    with pytest.raises(ValueError, match="on_degenerate"):
        PCAFrame(E(3), on_degenerate="ignore")
    with pytest.raises(ValueError, match="gap_tol"):
        PCAFrame(E(3), gap_tol=2.0)
    with pytest.raises(ValueError, match="leaves no plane"):
        PlanarFrame(E(3), axis=3)
    with pytest.raises(ValueError, match="computed from points or vectors"):
        FrameAverage(FlatMLP(3, 1), Invariant(O(3)), Invariant())
    model = FrameAverage(FlatMLP(15, 1), Points(O(3)), Invariant())
    with pytest.raises(ValueError, match="needs real data"):
        model(torch.zeros(2, 5, 2))
    x = cloud(2, 5, 3)
    x[0, 0, 0] = torch.nan
    y = model(x)  # what is not a number stays one, and stays alone
    assert y[0].isnan().all() and torch.isfinite(y[1]).all()
    with pytest.raises(ValueError, match=r"sample 0.*max_size=4"):
        PointFrame(SE(3), max_size=4)(placed(CLOUDS["cube"]))


@pytest.mark.parametrize("size", [0, 1])
def test_small_batches(size):
    model = FrameAverage(FlatMLP(15, 3), Points(E(3)), Vectors(E(3)))
    assert model(cloud(size, 5, 3)).shape == (size, 3)


def test_forces_by_functional_derivatives():
    x = cloud(2, 4, 3)
    model = FrameAverage(FlatMLP(12, 1), Points(E(3)), Invariant())
    functional = torch.func.grad(lambda x: model(x).sum())(x)
    y = x.clone().requires_grad_()
    (tape,) = torch.autograd.grad(model(y).sum(), y)
    torch.testing.assert_close(functional, tape, atol=1e-12, rtol=0)
