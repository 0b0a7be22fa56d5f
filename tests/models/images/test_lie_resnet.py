"""The network of sampled affine maps: exact where the samples move with the image, noisy by its draws alone."""

import math

import pytest
import torch

from conftest import TOL
from grids import seeded
from intertwine.groups import SE, SL, SO, Affine, GLPlus, Samples
from intertwine.models.images import LieResNet
from intertwine.reps import Images, Invariant

SIZE = {"width": 3, "kernel_size": 3, "samples": 3, "head": 8, "classes": 4}  # needs images of 8 pixels


AFFINE = GLPlus(2)


def small(group=AFFINE, **changes) -> LieResNet:
    return LieResNet(group, generator=seeded(), **(SIZE | changes)).eval()


def half_turned(samples: Samples) -> Samples:
    """Samples moved by −1, which is in every group here and moves a grid of pixels onto itself."""
    return Samples(-samples.g, -samples.g_inv, samples.log_weight)


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_quarter_turns_change_nothing(dtype, blocks):
    """Four equispaced rotations are a group, whatever is drawn: invariant, and so are the gradients."""
    model = small(SO(2), samples=4, blocks=blocks, in_channels=2).to(dtype)
    side = 2 + 8 * blocks
    x = torch.randn(3, 2, side, side, dtype=dtype, generator=seeded(), requires_grad=True)
    y, turned = model(x), model(torch.rot90(x, 1, (-2, -1)))
    size = y.abs().max() if dtype == torch.float32 else 1
    assert (y - turned).abs().max() < TOL[dtype] * size
    target = torch.linspace(-1, 1, y.numel(), dtype=dtype).reshape(y.shape)
    inputs = [x, *model.parameters()]
    pairs = zip(*(torch.autograd.grad((out * target).sum(), inputs) for out in (y, turned)))
    for a, b in pairs:
        assert (a - b).abs().max() < TOL[dtype] * (max(1, a.abs().max().item()) if dtype == torch.float32 else 1)


@pytest.mark.parametrize("measure", ["proposal", "haar"])
@pytest.mark.parametrize("group", [GLPlus(2), SL(2), Affine(2)], ids=str)
def test_samples_that_move_with_the_image_change_nothing(group, measure):
    model = small(group, measure=measure).double()
    samples = model.draw(generator=seeded(1))
    x = torch.randn(2, 1, 10, 10, dtype=torch.float64, generator=seeded())
    moved = tuple(half_turned(part) for part in samples)
    assert (model(x, samples) - model(x.flip(-2, -1), moved)).abs().max() < 1e-10
    assert (model(x, samples) - model(x.flip(-2, -1), samples)).abs().max() > 1e-6  # they have to move


def test_more_samples_make_less_noise_and_less_change():
    """Over draws the output varies, less with more samples; so does the difference between an image and its warp."""
    x = torch.zeros(1, 1, 14, 14, dtype=torch.float64)
    x[:, :, 3:11, 5:8], x[:, :, 3:5, 5:11] = 1, 0.5
    warped = Images(SL(2))(torch.tensor([[1.1, 0.2], [0.0, 1 / 1.1]], dtype=torch.float64), x)
    noise, change = [], []
    for count in (2, 16):
        model, generator = small(SL(2), samples=count).double(), seeded(2)
        with torch.no_grad():
            y, z = (torch.cat([model(image, generator=generator) for _ in range(24)]) for image in (x, warped))
        noise.append(y.std(0).mean().item())
        change.append((y - z).square().mean().sqrt().item())
    assert noise[1] < 0.7 * noise[0]
    assert change[1] < 0.7 * change[0]


def test_the_published_network():
    """40 channels, 5 × 5 kernels without bias, two convolutions in one block, ten samples of variance 0.1."""
    model = LieResNet(GLPlus(2))
    kernels = [model.lift, model.blocks[0].first, model.blocks[0].second, model.last]
    assert [(k.in_channels, k.out_channels, k.kernel_size) for k in kernels] == [(1, 40, 5), *[(40, 40, 5)] * 3]
    assert [k.padding for k in kernels] == [0, 2, 2, 0] and len(model.blocks) == 1
    assert [tuple(k.kernel.weights[0].shape) for k in kernels] == [(60, 2), *[(60, 6)] * 3]
    assert [len(k.kernel.weights) for k in kernels] == [4] * 4 and model.lift.kernel.w0 == 10
    assert (model.samples, model.sigma) == (10, math.sqrt(0.1)) and model.head[3].p == 0.3
    assert tuple(model.head[0].weight.shape) == (256, 40) and model.head[0].bias is None
    assert all(name.split(".")[-2] in ("weights", "biases") or name.startswith("head.") for name in model.state_dict())


def test_samples_are_drawn_anew_or_given():
    model = small()
    x = torch.randn(2, 1, 12, 12, generator=seeded())
    with torch.random.fork_rng(devices=[]):
        assert not torch.equal(model(x), model(x))  # in evaluation too
    assert torch.equal(model(x, generator=seeded(3)), model(x, generator=seeded(3)))
    assert torch.equal(model(x, generator=seeded(3)), model(x, model.draw(generator=seeded(3))))
    here, there = model.draw(generator=seeded())
    assert here.g.shape == there.g.shape == (3, 2, 2) and not torch.equal(here.g, there.g)
    assert (here.log_weight == 0).all()


def test_rotations_are_the_same_or_drawn():
    """With the same angles in every draw SO(2) leaves no noise; with Haar rotations each quarter turn is as likely."""
    model, x = small(SO(2)).double(), torch.randn(2, 1, 10, 10, dtype=torch.float64, generator=seeded())
    assert torch.equal(model(x, generator=seeded(1)), model(x, generator=seeded(2)))
    model = small(SO(2), rotations="haar").double()
    assert (model(x, generator=seeded(1)) - model(x, generator=seeded(2))).abs().max() > 1e-6
    samples, turn = model.draw(generator=seeded()), torch.tensor([[0, 1], [-1, 0]], dtype=torch.float64)
    moved = tuple(Samples(turn @ s.g, s.g_inv @ turn.mT, s.log_weight) for s in samples)
    assert (model(x, samples) - model(torch.rot90(x, 1, (-2, -1)), moved)).abs().max() < 1e-10


def test_haar_weights_are_normalised():
    weights = small(measure="haar", samples=50).draw(generator=seeded())[0].log_weight.exp()
    assert weights.mean().item() == pytest.approx(1) and weights.std() > 0.1


@pytest.mark.parametrize("group", [GLPlus(2), SL(2), SO(2), Affine(2), SE(2)], ids=str)
def test_shapes_batches_and_actions(group, device):
    model = small(group).to(device)
    assert repr(model.rep_in) == f"Images({group})" and isinstance(model.rep_out, Invariant)
    assert model.rep_out.group == group
    for batch, height, width in ((0, 8, 8), (1, 8, 9), (5, 13, 8)):
        y = model(torch.randn(batch, 1, height, width, device=device, generator=torch.Generator(device)))
        assert (tuple(y.shape), y.device.type, y.isfinite().all().item()) == ((batch, 4), device, True)


def test_every_weight_learns():
    model = small().train()
    loss = torch.nn.functional.cross_entropy(
        model(torch.randn(6, 1, 12, 12, generator=seeded()), generator=seeded()), torch.arange(6) % 4
    )
    loss.backward()
    silent = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    # An offset of the last layer of a kernel shifts it by a constant, which is felt too.
    assert not silent


def test_a_seed_fixes_the_start():
    first, again = small().state_dict(), small().state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.slow
def test_compiles_whole():
    torch._dynamo.reset()
    model = small(samples=6)
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="eager")
    samples = model.draw(generator=seeded())
    for batch, side in ((5, 10), (7, 12)):
        x = torch.randn(batch, 1, side, side, generator=seeded())
        assert (compiled(x, samples) - model(x, samples)).abs().max() < 1e-5


def test_what_does_not_fit():
    model, x = small(SL(2)), torch.zeros(1, 1, 8, 8)
    other = small(GLPlus(2)).draw(generator=seeded())
    for call, message in [
        (lambda: small(SO(3)), r"SO\(3\) does not move the plane"),
        (lambda: small(samples=0), "'samples': 0"),
        (lambda: small(head=0), "'head': 0"),
        (lambda: small(sigma=0.0), "sigma 0.0"),
        (lambda: small(kernel_size=4), "kernel_size 4 is even"),
        (lambda: small(in_channels=0), r"channels \(0, 3\)"),
        (lambda: small(measure="lebesgue"), "measure must be 'proposal' or 'haar' .* got 'lebesgue'"),
        (lambda: small(rotations="none"), "rotations 'equispaced' or 'haar', got 'proposal' and 'none'"),
        (lambda: model(x[..., :7]), r"at least 8 pixels a side, got \(1, 1, 8, 7\)"),
        (lambda: model(x[0]), r"needs images \[batch, channels"),
        (lambda: model(x.expand(1, 2, 8, 8)), r"LieLift: needs \[batch, 1, h, w\]"),
        (lambda: model(x, other), r"built for SL\(2\), the samples do not belong"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
