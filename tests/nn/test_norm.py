"""Norms: unit size out, statistics that learn and then rest, equivariance in both modes."""

import copy

import pytest
import torch
from torch.testing import assert_close

from intertwine import nn
from intertwine.audit import assert_equivariant
from intertwine.groups import Lorentz, O, S
from intertwine.so3 import Irreps

REPS = [Irreps("4x0e + 2x0o + 3x1o + 2x2e"), Irreps("4x0 + 3x1"), 2 * O(3).V ** 2 + 3 * O(3).trivial, 3 * S(4).V]
KINDS = [nn.EquivariantBatchNorm, nn.DegreeRMSNorm, nn.SeparableLayerNorm, nn.InstanceNorm]


@pytest.mark.parametrize("rep", REPS, ids=str)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not nn.InstanceNorm])
def test_equivariance_also_after_training(kind, rep):
    layer = kind(rep).double()
    assert_equivariant(layer, steps=3)
    assert_equivariant(kind(rep, affine=False).double())
    assert_equivariant(kind(rep).float(), steps=2)


@pytest.mark.parametrize("rep", REPS, ids=str)
def test_batch_norm_in_training_commutes_with_one_element_for_the_batch(rep, generator):
    x, g = rep.randn(16, generator=generator, dtype=torch.float64), rep.group.sample(1, generator=generator)[0]
    assert_close(batch_norm(rep)(rep.act(g, x)), rep.act(g, batch_norm(rep)(x)), atol=1e-10, rtol=0.0)


@pytest.mark.parametrize("rep", REPS, ids=str)
@pytest.mark.parametrize("layout", ["samples", "graphs"])
def test_instance_norm_is_equivariant_also_after_training(rep, layout, generator):
    graph = torch.tensor([0, 0, 0, 2, 2, 2, 2])
    for layer, shape in ((nn.InstanceNorm(rep).double(), (3, 7)), (nn.InstanceNorm(rep, affine=False), (1, 7))):
        x = rep.randn(*(shape if layout == "samples" else shape[1:]), generator=generator, dtype=torch.float64) + 1
        arguments = () if layout == "samples" else (graph, 4)
        if layer.weight is not None:
            for parameter in layer.parameters():
                parameter.data.add_(torch.rand(parameter.shape, generator=generator, dtype=torch.float64))
        g = rep.group.take(rep.group.sample(1, generator=generator), 0)
        x.requires_grad_()
        moved, expected = layer(rep.act(g, x), *arguments), rep.act(g, layer(x, *arguments))
        assert_close(moved, expected, atol=1e-10, rtol=0.0)
        v = rep.randn(*x.shape[:-1], generator=generator, dtype=torch.float64)
        assert_close(*(torch.autograd.grad((v * y).sum(), x)[0] for y in (moved, expected)), atol=1e-10, rtol=0.0)


def test_instance_norm_is_e3nn_s_and_graphs_are_samples(generator):
    e3nn = pytest.importorskip("e3nn.nn")
    text = "4x0e + 2x0o + 3x1o"
    rep = Irreps(text)
    theirs, ours = e3nn.BatchNorm(text.replace(" ", ""), instance=True).double(), nn.InstanceNorm(rep).double()
    x = 3 * rep.randn(4, 9, generator=generator, dtype=torch.float64) + 1
    mine, other = (torch.cat([b.mT.flatten(2) for b in rep.split(v)], 2) for v in (x, ours(x)))
    assert_close(other, theirs(mine), atol=1e-10, rtol=0.0)
    flat = ours(x.flatten(0, 1), torch.arange(4).repeat_interleave(9), 5)
    assert_close(flat, ours(x).flatten(0, 1), atol=1e-12, rtol=0.0)
    for empty in (x[:0], x[:, :0]):
        assert ours(empty).shape == empty.shape
    assert ours(x[0, :0], torch.zeros(0, dtype=torch.int64), 2).shape == (0, rep.dim)
    with pytest.raises(ValueError, match=r"expected \[.., points, dim\], got \(36, 15\) with graph \(9,\)"):
        ours(x.flatten(0, 1), torch.zeros(9, dtype=torch.int64), 1)
    with pytest.raises(ValueError, match=r"expected \[.., points, dim\], got \(15,\)"):
        ours(x[0, 0])


def batch_norm(rep) -> nn.EquivariantBatchNorm:
    return nn.EquivariantBatchNorm(rep).double()


def test_batch_norm_gives_unit_size_and_centres_invariants_only(generator):
    rep = Irreps("4x0e + 2x0o + 3x1o")
    x = 5 * rep.randn(2000, generator=generator, dtype=torch.float64) + 3
    even, odd, vectors = rep.split(batch_norm(rep)(x))
    assert even.mean(0).abs().max() < 1e-10
    for block in (even, odd, vectors):
        assert_close(block.square().mean((0, 1)), torch.ones(block.shape[-1], dtype=torch.float64), atol=1e-5, rtol=0.0)
    assert odd.mean() > 0.1  # a shift of a pseudoscalar would break parity


def test_batch_norm_is_e3nn_s(generator):
    e3nn = pytest.importorskip("e3nn.nn")
    text = "4x0e + 2x0o + 3x1o"
    theirs, ours = e3nn.BatchNorm(text.replace(" ", ""), instance=False).double(), batch_norm(Irreps(text))
    for _ in range(3):
        x = 3 * Irreps(text).randn(50, generator=generator, dtype=torch.float64) + 1
        mine, other = (torch.cat([b.mT.flatten(1) for b in Irreps(text).split(v)], 1) for v in (x, ours(x)))
        assert_close(other, theirs(mine), atol=1e-10, rtol=0.0)
    ours.eval(), theirs.eval()
    mine, other = (torch.cat([b.mT.flatten(1) for b in Irreps(text).split(v)], 1) for v in (x, ours(x)))
    assert_close(other, theirs(mine), atol=1e-10, rtol=0.0)


def test_running_statistics_converge_and_rest(generator):
    rep = Irreps("2x0e + 2x1o")
    layer = batch_norm(rep)
    for _ in range(200):
        layer(3 * rep.randn(100, generator=generator, dtype=torch.float64) + 1)
    assert (layer.running_mean - 1).abs().max() < 0.2
    assert (layer.running_square[:2] - 9).abs().max() < 1
    assert (layer.running_square[2:] - 10).abs().max() < 1  # |x|² / 3 with the shift
    layer.eval()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    one = rep.randn(1, generator=generator, dtype=torch.float64)
    both = torch.cat([one, 100 + one])
    assert_close(layer(both)[:1], layer(one), atol=1e-12, rtol=0.0)  # no talk between samples
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    assert set(before) == {"weight", "bias", "running_mean", "running_square"}


def test_an_empty_batch_changes_nothing():
    layer = nn.EquivariantBatchNorm(Irreps("2x0e + 2x1o"))
    assert layer(torch.zeros(0, 8)).shape == (0, 8)
    assert not layer.running_mean.any()
    assert torch.equal(layer.running_square, torch.ones(4))


def test_degree_rms_norm_is_its_formula(generator):
    rep = Irreps("4x0e + 3x1o")
    x = 7 * rep.randn(6, generator=generator, dtype=torch.float64)
    for block, normed in zip(rep.split(x), rep.split(nn.DegreeRMSNorm(rep).double()(x))):
        assert_close(normed, block / block.square().mean((1, 2), keepdim=True).sqrt(), atol=1e-5, rtol=0.0)


def test_separable_layer_norm_is_its_formula(generator):
    rep = Irreps.spherical(2, 8)
    x = rep.randn(6, generator=generator, dtype=torch.float64) * 4 + 1
    scalars, vectors, tensors = rep.split(x)
    found = rep.split(nn.SeparableLayerNorm(rep).double()(x))
    expected = torch.nn.functional.layer_norm(scalars, (8,))
    assert_close(found[0], expected, atol=1e-12, rtol=0.0)
    # arXiv:2306.12059: sqrt(mean_C (1/L) Σ_l (1/(2l+1)) Σ_m x² + eps)
    square = (vectors.square().sum(1) / 3 + tensors.square().sum(1) / 5).mean(-1) / 2
    assert_close(found[1], vectors / torch.sqrt(square + 1e-5)[:, None, None], atol=1e-12, rtol=0.0)
    assert_close(found[2], tensors / torch.sqrt(square + 1e-5)[:, None, None], atol=1e-12, rtol=0.0)


def test_the_other_two_norms_of_equiformer(generator):
    """Each degree by itself ("layer_norm"), or all together ("rms_norm_sh"); degree 0 is centred in both."""
    rep = Irreps.spherical(2, 8)
    x = rep.randn(6, generator=generator, dtype=torch.float64) * 4 + 1
    blocks = list(rep.split(x))
    blocks[0] = blocks[0] - blocks[0].mean(-1, keepdim=True)
    squares = [block.square().mean((1, 2), keepdim=True) for block in blocks]
    each = [block / torch.sqrt(square + 1e-5) for block, square in zip(blocks, squares)]
    together = [block / torch.sqrt(sum(squares) / 3 + 1e-5) for block in blocks]
    assert_close(nn.DegreeRMSNorm(rep, center=True).double()(x), rep.join(each), atol=1e-12, rtol=0.0)
    assert_close(nn.SeparableLayerNorm(rep, separate=False).double()(x), rep.join(together), atol=1e-12, rtol=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_a_scale_for_every_channel_and_a_shift_for_invariants(kind):
    layer = kind(Irreps("4x0e + 2x0o + 3x1o"))
    assert layer.weight.shape == (9,)
    assert layer.bias.shape == (4,)
    assert kind(Irreps("1o")).bias is None
    assert not list(kind(Irreps("0e + 1o"), affine=False).parameters())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_zero_input_dtype_and_shape(kind, dtype):
    rep = Irreps("2x0e + 2x1o")
    layer = kind(rep).to(dtype)
    for batch in ((1,), (3,), (2, 3)) if kind is nn.InstanceNorm else ((), (3,), (2, 3)):
        x = torch.zeros(*batch, 8, dtype=dtype, requires_grad=True)
        y = layer(x)
        (g,) = torch.autograd.grad(y.sum(), x)
        assert (y.dtype, y.shape) == (dtype, (*batch, 8))
        assert torch.isfinite(y).all()
        assert torch.isfinite(g).all()


@pytest.mark.parametrize("kind", KINDS)
def test_errors(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__}: lengths are not invariant"):
        kind(2 * Lorentz(1, 3).V)
    with pytest.raises(ValueError, match="eps must be positive, got 0"):
        kind(Irreps("1o"), eps=0.0)
    with pytest.raises(ValueError, match="has dimension 3, the data has trailing dimension 4"):
        kind(Irreps("1o"))(torch.zeros(2, 4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_second_derivatives_compile_and_export(kind, training, generator):
    rep = Irreps("2x0e + 1x0o + 2x1o")
    layer = kind(rep).double().train(training)
    x = rep.randn(3, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(layer, x) and torch.autograd.gradgradcheck(layer, x)
    more = rep.randn(5, generator=generator, dtype=torch.float64)
    if training:
        compiled = torch.compile(copy.deepcopy(layer), fullgraph=True, dynamic=True, backend="eager")
        assert_close(compiled(more), copy.deepcopy(layer)(more), atol=1e-12, rtol=0.0)
    else:
        program = torch.export.export(layer, (x.detach(),), dynamic_shapes=({0: torch.export.Dim("batch", min=2)},))
        assert_close(program.module()(more), layer(more), atol=1e-12, rtol=0.0)
