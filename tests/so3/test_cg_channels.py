"""Products channel by channel with derivatives of their own: what autograd finds, to the third, whatever the chunks."""

import pytest
import torch
from torch.testing import assert_close

from intertwine.so3 import Irreps, TensorProduct, cg_channels

EXACT = {"atol": 1e-12, "rtol": 0.0}
CASES = {
    "natural": ("uuu", "3x0e + 3x1o + 3x2e", "3x0e + 3x1o + 3x2e", "3x0e + 3x1o + 3x2e"),
    "scalars only": ("uuu", "2x0e", "2x0e", "2x0e"),
    "no output without a path": ("uuu", "2x1o", "2x1o", "2x0e + 2x1o + 2x2e"),
    "channels differ": ("uuu", "2x0e + 1x1o + 2x2e", "1x1o + 2x2e", "2x0e + 1x0e + 2x2e + 1x2e"),
    "free of parity": ("uuu", "2x0 + 2x1", "2x1 + 2x2", "2x0 + 2x1 + 2x2"),
    "one channel second": ("uvu", "3x0e + 2x1o + 3x2e", "1x0e + 1x1o + 1x2e", "3x0e + 2x1o + 3x2e + 2x0e + 3x1o"),
    "one channel first": ("uvv", "1x1o + 1x0e + 1x2e", "3x0e + 2x1o", "3x0e + 2x1o + 3x1o + 2x2e + 2x0e"),
    "one channel each": ("uvu", "1x0e + 1x1o", "1x0e + 1x1o", "1x0e + 1x1o"),
    "all pairs": ("uvuv", "2x0e + 3x1o + 2x2e", "2x0e + 3x1o", "4x0e + 6x1o + 9x0e + 9x2e + 4x1o + 6x2e + 6x3o"),
}


@pytest.fixture(params=CASES)
def reps(request):
    return CASES[request.param]


@pytest.fixture(params=["shared", "a sample", "none"])
def weighting(request):
    return request.param


def setting(reps, weighting, generator, samples=3):
    mode, *sides = reps
    product = TensorProduct(*sides, mode=mode, weights="none" if weighting == "none" else "external").double()

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    x, y = (draw(samples, Irreps(rep).dim) for rep in sides[:2])
    shape = {"shared": [(product.weight_numel,)], "a sample": [(samples, product.weight_numel)], "none": []}[weighting]
    return product, (x, y, *(draw(*s) for s in shape))


def plainly(product, x, y, w=None):
    """The same sum in ordinary operations."""
    cg = product.product
    return cg._run(x, y, [None] * len(cg.paths) if w is None else cg._split(w), cg._tables(x))


def test_value_and_derivatives(reps, weighting, generator):
    product, given = setting(reps, weighting, generator)
    assert product.product._by_channels
    assert_close(product(*given), plainly(product, *given), **EXACT)
    h = torch.randn(product(*given).shape, generator=generator, dtype=torch.float64)
    found = []
    for run in (product, lambda *a: plainly(product, *a)):
        first = torch.autograd.grad(run(*given), given, h, create_graph=True)
        second = torch.autograd.grad(sum(f.square().sum() for f in first), given, create_graph=True)
        third = torch.autograd.grad(sum(s.pow(3).sum() for s in second), given)
        found.append((*first, *second, *third))
    for own, plain in zip(*found):
        assert_close(own, plain, atol=1e-10, rtol=1e-12)


def test_gradgradcheck(generator):
    product, given = setting(CASES["natural"], "shared", generator, samples=2)
    assert torch.autograd.gradgradcheck(product, given)


def test_each_derivative_alone(reps, generator):
    product, given = setting(reps, "a sample", generator)
    everything = torch.autograd.grad(product(*given).square().sum(), given)
    for k, own in enumerate(everything):
        alone = [a if i == k else a.detach() for i, a in enumerate(given)]
        assert_close(torch.autograd.grad(product(*alone).square().sum(), alone[k])[0], own, **EXACT)


@pytest.mark.parametrize("samples", [0, 1, 7, 40])
def test_chunks(weighting, samples, generator, monkeypatch):
    monkeypatch.setattr(cg_channels, "CACHED", 1)
    monkeypatch.setattr(cg_channels, "LEAST_SAMPLES", 3)
    product, given = setting(CASES["natural"], weighting, generator, samples)
    found = []
    for run in (product, lambda *a: plainly(product, *a)):
        first = torch.autograd.grad(run(*given).sum(), given, create_graph=True)  # a gradient with strides of zero
        found.append((run(*given), *first, *torch.autograd.grad(sum(f.square().sum() for f in first), given)))
    for own, plain in zip(*found):
        assert_close(own, plain, atol=1e-10, rtol=1e-12)


def test_features_that_are_parts_of_others(generator):
    product, (x, y, w) = setting(CASES["natural"], "a sample", generator)
    wide = torch.stack([x, y], 2).detach()
    columns = torch.stack([w, w], 2).detach()
    assert_close(product(wide[..., 0], wide[..., 1], columns[..., 1]), product(x, y, w), **EXACT)
    one = x[:1].detach().requires_grad_()
    found = [
        torch.autograd.grad(product(same(one.expand(3, -1)), y, w).square().sum(), one)[0]
        for same in (torch.Tensor.contiguous, lambda x: x)
    ]
    assert_close(*found, **EXACT)


def test_transforms_and_other_shapes_take_the_ordinary_way(generator):
    product, (x, y, w) = setting(CASES["natural"], "shared", generator)
    whole = product(x, y, w)
    assert_close(torch.func.vmap(product, (0, 0, None))(x, y, w), whole, **EXACT)
    by_transform = torch.func.grad(lambda w: product(x, y, w).square().sum())(w)
    assert_close(by_transform, torch.autograd.grad(product(x, y, w).square().sum(), w)[0], **EXACT)
    assert_close(product(x[None], y[None], w)[0], whole, **EXACT)
    assert_close(product(x[:1], y, w)[:1], whole[:1], **EXACT)
    rows = torch.stack([w, 2 * w])
    assert_close(product(x, y, rows[:1]), whole, **EXACT)  # one weight for all, in a row of its own
    with pytest.raises(RuntimeError):
        product(x, y, rows)


def test_a_call_in_inference_mode_leaves_training_as_it_was(generator):
    product, given = setting(CASES["natural"], "shared", generator)
    with torch.inference_mode():
        before = product(*given)
    after = product(*given)
    after.sum().backward()
    assert_close(before.clone(), after.detach(), **EXACT)
