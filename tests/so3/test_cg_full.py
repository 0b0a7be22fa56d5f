"""The fully connected product: the sum that defines it, each way of a path, every kind of weights, all derivatives."""

import pytest
import torch
from torch.testing import assert_close

from intertwine.so3 import Irreps, TensorProduct, cg_full, clebsch_gordan, tensor_product
from intertwine.so3.cg_product import ClebschGordan

EXACT = {"atol": 1e-11, "rtol": 0.0}
CASES = {
    "natural": ("3x0e + 3x1o + 3x2e", "2x0e + 2x1o + 2x2e", "2x0e + 3x1o + 2x2e"),
    "one channel": ("4x0e + 4x1o", "1x0e + 1x1o", "4x0e + 4x1o"),
    "one channel first": ("1x0e + 1x1o + 1x2e", "3x0e + 2x1o", "2x0e + 3x1o + 2x2e"),
    "many channels out": ("2x0e + 1x1o", "1x0e + 2x1o", "9x0e + 9x1o + 9x1e"),
    "no path to some": ("2x1o", "3x1o", "2x0e + 2x3o + 2x2e + 2x1o"),
}


@pytest.fixture(autouse=True)
def with_few_channels(monkeypatch):
    monkeypatch.setattr(tensor_product, "FULL_CHANNELS", 1)


@pytest.fixture(params=CASES)
def reps(request):
    return CASES[request.param]


def setting(reps, generator, batch=(3,), per_sample=False):
    product = TensorProduct(*reps, mode="uvw").double()

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    x, y = (draw(*batch, Irreps(rep).dim) for rep in reps[:2])
    return product, (x, y, draw(*(batch if per_sample else ()), product.weight_numel))


def by_definition(product, x, y, w):
    sides = [Irreps(rep) for rep in (product.irreps_in1, product.irreps_in2, product.rep_out)]
    xs, ys = sides[0].split(x), sides[1].split(y)
    out = [x.new_zeros(len(x), irrep.dim, c) for irrep, c in sides[2].blocks]
    start = 0
    for path, shape in zip(product.paths, product.path_shapes):
        l1, l2, l3 = (side.blocks[i][0].l for side, i in zip(sides, path[:3]))
        C = torch.tensor(clebsch_gordan(l1, l2, l3))
        weights = w[..., start : start + shape[0] * shape[1] * shape[2]].unflatten(-1, shape).expand(len(x), *shape)
        start += shape[0] * shape[1] * shape[2]
        found = torch.einsum("nuvw,ijk,niu,njv->nkw", weights, C, xs[path.i1], ys[path.i2])
        out[path.i3] = out[path.i3] + path.scale * found
    return torch.cat([block.flatten(1) for block in out], 1)


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "a sample"])
@pytest.mark.parametrize("way", [cg_full.FullProduct, ClebschGordan])
def test_value_and_derivatives(reps, per_sample, way, generator, monkeypatch):
    if way is ClebschGordan:  # by pairs
        monkeypatch.setattr(tensor_product, "FULL_CHANNELS", 99)
        monkeypatch.setattr(tensor_product, "FULL_DEGREE", -1)
    product, given = setting(reps, generator, per_sample=per_sample)
    assert isinstance(product.product, way)
    found = []
    for run in (product, lambda *a: by_definition(product, *a)):
        value = run(*given)
        first = torch.autograd.grad(value.square().sum(), given, create_graph=True)
        second = torch.autograd.grad(sum(f.square().sum() for f in first), given)
        found.append((value, *first, *second))
    for own, defined in zip(*found):
        assert_close(own, defined, atol=1e-9, rtol=1e-11)


def test_few_channels_go_by_pairs(monkeypatch):
    monkeypatch.undo()
    sizes = {(7, 2): cg_full.FullProduct, (7, 4): ClebschGordan, (8, 4): cg_full.FullProduct}
    for (c, l), way in sizes.items():
        product = TensorProduct(f"{c}x{l}e + {c}x1o", "1x0e + 1x1o", "2x1o", mode="uvw")
        assert isinstance(product.product, way)


def test_every_way_is_taken(generator):
    ways = {name: {t.way for t in TensorProduct(*reps, mode="uvw").product.terms} for name, reps in CASES.items()}
    assert ways["natural"] == {"table", "dot", "x first", "y first"}
    assert ways["many channels out"] == {"table", "dot", "outer"}
    exchanged = {name: TensorProduct(*reps, mode="uvw").product.exchanged for name, reps in CASES.items()}
    assert exchanged["one channel first"] and not exchanged["one channel"]


@pytest.mark.parametrize("samples", [0, 1, 7, 40])
@pytest.mark.parametrize("per_sample", [False, True])
def test_chunks(samples, per_sample, generator, monkeypatch):
    product, given = setting(CASES["natural"], generator, (samples,), per_sample)
    whole = product(*given)
    monkeypatch.setattr(cg_full, "CHUNK", 1)
    monkeypatch.setattr(cg_full, "LEAST_SAMPLES", 3)
    assert_close(product(*given), whole, **EXACT)


def test_batches_of_any_shape(generator):
    product, (x, y, w) = setting(CASES["natural"], generator, (2, 3))
    flat = product(x.flatten(0, 1), y.flatten(0, 1), w)
    assert_close(product(x, y, w).flatten(0, 1), flat, **EXACT)
    assert_close(product(x, y, w[None, None]).flatten(0, 1), flat, **EXACT)
    assert_close(product(x, y[:1], w)[0], product(x, y, w)[0], **EXACT)
    own = torch.randn(3, len(w), generator=generator, dtype=torch.float64)
    assert_close(product(x, y, own)[1], product(x[1], y[1], own), **EXACT)
    assert_close(product(x[0, 0], y[0, 0], w), flat[0], **EXACT)


def test_transforms(generator):
    product, (x, y, w) = setting(CASES["natural"], generator)
    whole = product(x, y, w)
    assert_close(torch.func.vmap(product, (0, 0, None))(x, y, w), whole, **EXACT)
    found = torch.func.grad(lambda w: product(x, y, w).square().sum())(w)
    assert_close(found, torch.autograd.grad(whole.square().sum(), w)[0], **EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("per_sample", [False, True])
def test_compiled_for_any_number_of_samples(per_sample, generator):
    product, given = setting(CASES["natural"], generator, (5,), per_sample)
    x, y, w = (a.detach() for a in given)
    compiled = torch.compile(product, fullgraph=True, backend="aot_eager", dynamic=True)
    for n in (4, 5):
        few = x[:n], y[:n], w[:n] if per_sample else w
        assert_close(compiled(*few), product(*few), **EXACT)


@pytest.mark.slow
def test_exported_for_any_number_of_samples(generator):
    product, given = setting(CASES["natural"], generator, (5,))
    given = tuple(a.detach() for a in given)
    n = {0: torch.export.Dim("n")}
    exported = torch.export.export(product, given, dynamic_shapes=(n, n, None)).module()
    few = given[0][:3], given[1][:3], given[2]
    assert_close(exported(*few), product(*few), **EXACT)
