"""Convolutions over sampled Lie groups: exact where the samples form a group, converging where they do not."""

import math

import pytest
import torch
from torch.nn.functional import conv2d

from conftest import TOL
from grids import seeded
from intertwine.groups import SE, SL, SO, Affine, GLPlus, O, Samples, sample_invariant
from intertwine.nn import KernelNet, LieConv, LieLift, LieProject
from lie_images import errors, slope

PLANE = [SL(2), GLPlus(2), SO(2), Affine(2), SE(2)]


def quarter_turns(dtype=torch.float64) -> Samples:
    """C_4 as samples of SO(2): closed under multiplication, so the integral is exact."""
    g = torch.tensor([[[1, 0], [0, 1]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]], [[0, 1], [-1, 0]]], dtype=dtype)
    return Samples(g, g.mT, torch.zeros(4, dtype=dtype))


def turn(x: torch.Tensor, steps: int) -> torch.Tensor:
    """Quarter turns in the direction of g: x to the right goes to y down."""
    return torch.rot90(x, -steps, (-2, -1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("size", [4, 5])
def test_samples_that_form_c4_give_the_c4_group_convolution(size, dtype):
    """Against an explicit one: one kernel for each angle, turned and cycled by hand."""
    generator, samples = seeded(), quarter_turns(dtype)
    lift = LieLift(1, 2, size, SO(2), generator=generator).to(dtype)
    conv = LieConv(2, 3, size, SO(2), padding=1, generator=generator).to(dtype)
    x = torch.randn(2, 1, 13, 13, generator=generator, dtype=dtype)
    centre = (2 * torch.arange(size, dtype=dtype) + 1) / size - 1
    u = torch.stack(torch.meshgrid(centre, centre, indexing="xy"), -1)
    disk = u.square().sum(-1).sqrt() <= 1 + 1e-6

    base = (lift.kernel(u) * disk[..., None]).permute(2, 0, 1).unflatten(0, (2, 1))
    lifted = torch.stack([conv2d(x, turn(base, k)) for k in range(4)], 2)
    assert (lift(x, samples) - lifted).abs().max() < TOL[dtype]

    angles = [0, math.pi / 2, math.pi, -math.pi / 2]  # in (−π, π]
    relative = torch.tensor(angles, dtype=dtype) * math.sqrt(2)
    v = torch.cat([u.expand(4, *u.shape), relative[:, None, None, None].expand(4, size, size, 1)], -1)
    kernels = (conv.kernel(v) * disk[..., None]).permute(0, 3, 1, 2).unflatten(1, (3, 2)) / 4
    expected = [
        sum(conv2d(lifted[:, :, i], turn(kernels[(i - o) % 4], o), padding=1) for i in range(4)) for o in range(4)
    ]
    assert (conv(lifted, samples) - torch.stack(expected, 2)).abs().max() < TOL[dtype]


def test_quarter_turns_are_exact_forward_and_backward():
    generator, samples = seeded(), quarter_turns()
    lift, conv = LieLift(2, 3, 5, SO(2), generator=generator).double(), LieConv(3, 2, 5, SO(2), generator=generator)
    conv, project = conv.double(), LieProject("integral")
    x = torch.randn(3, 2, 14, 14, generator=generator, dtype=torch.float64)
    weights = [*lift.parameters(), *conv.parameters()]

    def run(x):
        y = conv(lift(x, samples).relu(), samples)
        return y, project(y, samples), LieProject()(y, samples)

    y, image, best = run(x)
    y_turned, image_turned, best_turned = run(turn(x, 1))
    assert (y_turned - turn(y.roll(1, 2), 1)).abs().max() < 1e-10
    assert (image_turned - turn(image, 1)).abs().max() < 1e-10
    assert (best_turned - best).abs().max() < 1e-10
    target = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    gradients = torch.autograd.grad((image * target).sum(), weights)
    turned = torch.autograd.grad((image_turned * turn(target, 1)).sum(), weights)
    assert max((a - b).abs().max().item() for a, b in zip(gradients, turned)) < 1e-10


@pytest.mark.parametrize("group", [SL(2), GLPlus(2)], ids=str)
def test_moving_samples_with_the_image_changes_nothing(group):
    """Kernels depend on relative positions alone: h·g and h·g̃ give the kernel of g and g̃, seen through h."""
    generator = seeded()
    conv = LieConv(1, 1, 3, group, generator=generator).double()
    samples = sample_invariant(group, 5, generator=generator)
    half_turn = -torch.eye(2, dtype=torch.float64)  # in both groups; moves the grid of pixels onto itself
    moved = Samples(half_turn @ samples.g, samples.g_inv @ half_turn, samples.log_weight)
    x = torch.randn(2, 1, 5, 9, 9, generator=generator, dtype=torch.float64)
    assert (conv(x.flip(-2, -1), moved) - conv(x, samples).flip(-2, -1)).abs().max() < 1e-10


def test_volume_enters_once_in_each_layer():
    """Scaling by s: a lift divides by |det g|, a convolution by |det g̃|; forgotten, GL⁺ is wrong and SL is not."""

    class One(torch.nn.Module):
        def forward(self, v):
            return torch.exp(-8 * v[..., :2].square().sum(-1, keepdim=True)) * torch.exp(
                -v[..., 2:].square().sum(-1, keepdim=True)
            )

    group, size = GLPlus(2), 31
    lift, conv = LieLift(1, 1, size, group, kernel=One()).double(), LieConv(1, 1, size, group, kernel=One(), padding=0)
    lift._mask = conv._mask = lambda v: torch.ones_like(v[..., 0])
    base = sample_invariant(group, 3, 0.2, generator=seeded())
    small = 0.8 * torch.eye(2, dtype=torch.float64)

    def place(h):
        return Samples(h @ base.g, base.g_inv @ torch.linalg.inv(h), torch.zeros(3, dtype=torch.float64))

    with torch.no_grad():
        flat = torch.ones(1, 1, 2 * size - 1, 2 * size - 1, dtype=torch.float64)
        here, there = (lift(flat, place(h)) for h in (torch.eye(2, dtype=torch.float64), small))
        assert (here - there).abs().max() < 2e-3 * here.abs().max()  # an integral of a constant keeps its value
        both = [
            conv.double()(torch.ones(1, 1, 3, size, size).double(), place(h)) for h in (small, torch.eye(2).double())
        ]
    assert (both[0] - both[1]).abs().max() < 2e-3 * both[1].abs().max()


def test_the_error_falls_like_the_root_of_the_number_of_samples():
    """The short form; `claims/test_lie_integration.py` fits 4 to 256 samples."""
    counts = (4, 16, 64)
    found = errors(counts, 30, seeded())
    assert -0.75 < slope(counts, found) < -0.25
    assert found[-1] < 0.6 * found[0]


@pytest.mark.parametrize("group", PLANE, ids=str)
def test_shapes_dtypes_and_batches(group, device):
    generator = seeded()
    linear = group.linear if hasattr(group, "linear") else group
    first, second = (sample_invariant(linear, k, generator=generator, device=device) for k in (3, 2))
    for dtype in (torch.float32, torch.float64):
        lift, conv = LieLift(2, 4, 3, group).to(device, dtype), LieConv(4, 1, 3, group, padding=0).to(device, dtype)
        for batch in (0, 1, 5):
            x = torch.randn(batch, 2, 9, 7, dtype=dtype, device=device)
            y = conv(lift(x, first), first, second)
            assert (tuple(y.shape), y.dtype, y.device.type) == ((batch, 1, 2, 5, 3), dtype, device)
            assert LieProject("integral")(y, second).shape == (batch, 1, 5, 3)
            assert LieProject()(y, second).shape == (batch, 1)
    assert all(name.startswith("kernel.") for name in conv.state_dict())


def test_unit_features_stay_unit_features():
    """KernelNet's scale: with one element, a lift keeps the size of what comes in."""
    generator = seeded()
    x = torch.randn(20, 8, 12, 12, generator=generator)
    sizes = []
    for i in range(10):
        lift = LieLift(8, 32, 5, GLPlus(2), generator=seeded(i))
        lift._mask = lambda v: torch.ones_like(v[..., 0])
        sizes.append(lift(x, Samples(torch.eye(2)[None], torch.eye(2)[None], torch.zeros(1))).var().item())
    assert 0.7 < sum(sizes) / 10 < 1.4


def test_derivatives_of_all_orders():
    generator, samples = seeded(), quarter_turns()
    conv = LieConv(1, 1, 3, SO(2), kernel=KernelNet(3, 1, 9, hidden=4, generator=generator)).double()
    x = torch.randn(1, 1, 4, 4, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: conv(x, samples), x, fast_mode=True)
    weight = conv.kernel.weights[1]

    def of_weight(w):
        return torch.func.functional_call(conv, {"kernel.weights.1": w}, (x.detach(), samples))

    assert torch.autograd.gradcheck(of_weight, weight, fast_mode=True)
    assert torch.autograd.gradgradcheck(of_weight, weight, fast_mode=True)


def test_layers_start_from_a_seed():
    for make in (lambda g: LieLift(1, 2, 3, SL(2), generator=g), lambda g: LieConv(1, 2, 3, SL(2), generator=g)):
        first, again, other = (list(make(seeded(i)).parameters()) for i in (1, 1, 2))
        assert all(torch.equal(a, b) for a, b in zip(first, again))
        assert not torch.equal(first[0], other[0])


def test_compiles_whole():
    """Forward and gradients, for unknown batches, sizes and numbers of samples."""
    torch._dynamo.reset()
    conv = LieConv(2, 2, 3, GLPlus(2), kernel=KernelNet(6, 4, 18, hidden=8, layers=1, generator=seeded()))
    compiled = torch.compile(conv, fullgraph=True, dynamic=True, backend="aot_eager")
    for batch, count, size in ((4, 5, 8), (7, 6, 9)):
        samples = sample_invariant(GLPlus(2), count, generator=seeded())
        x = torch.randn(batch, 2, count, size, size, generator=seeded(), requires_grad=True)
        y, expected = compiled(x, samples), conv(x, samples)
        assert (y - expected).abs().max() < 1e-5
        inputs = [x, *conv.parameters()]
        pairs = zip(*(torch.autograd.grad(out.square().sum(), inputs) for out in (y, expected)))
        assert max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs) < 1e-5


def test_inductor_finds_a_layout():
    """It fails on a convolution of a view with unknown sizes; compiled alone, as C++ for all the rest takes long."""

    class Light(LieConv):
        def _weight(self, samples, out, dtype):
            return (out.g_inv[:, None] @ samples.g).to(dtype)[:, :, None, None].expand(-1, -1, 3, 3, 2, 2)

    torch._dynamo.reset()
    conv = Light(2, 2, 3, GLPlus(2))
    compiled = torch.compile(conv, fullgraph=True, dynamic=True)
    samples = sample_invariant(GLPlus(2), 5, generator=seeded())
    x = torch.randn(4, 2, 5, 8, 8, generator=seeded())
    with torch.no_grad():
        assert (compiled(x, samples) - conv(x, samples)).abs().max() < 1e-4


def test_what_does_not_fit():
    samples, x = sample_invariant(GLPlus(2), 3, generator=seeded()), torch.zeros(1, 1, 3, 8, 8)
    for call, message in [
        (lambda: LieConv(1, 1, 3, SL(2))(x, samples), r"LieConv: built for SL\(2\), the samples do not belong to it"),
        (lambda: LieLift(1, 1, 3, SO(2))(x[:, :, 0], samples), r"LieLift: built for SO\(2\), the samples do not"),
        (lambda: LieConv(1, 1, 3, O(2)), r"O\(2\) has no polar coordinates"),
        (lambda: LieLift(1, 1, 3, SL(3)), r"images are planar, SL\(3\) acts on R\^3"),
        (lambda: LieLift(1, 1, 0, SL(2)), "kernel_size 0"),
        (lambda: LieConv(2, 1, 3, GLPlus(2))(x, samples), r"needs \[batch, 2, 3, h, w\] for 3 samples, got \(1, 1, 3"),
        (lambda: LieConv(1, 1, 3, GLPlus(2))(x[:, :, :2], samples), "for 3 samples"),
        (lambda: LieLift(2, 1, 3, GLPlus(2))(x[:, :, 0], samples), r"needs \[batch, 2, h, w\], got \(1, 1, 8, 8\)"),
        (lambda: LieProject("mean"), "must be 'integral' or 'max', got 'mean'"),
        (lambda: LieProject()(x[:, :, :2], samples), "3 samples do not fit"),
        (lambda: KernelNet(0, 1, 1), "KernelNet: sizes must be positive"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
