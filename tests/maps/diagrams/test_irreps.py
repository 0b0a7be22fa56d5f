"""The plan by irreps against the dense matrix: values, derivatives of both orders, transforms, dtypes."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from intertwine import maps, nn
from intertwine.groups import SO, A, O, S, Sp
from intertwine.maps.diagrams import irreps

float64 = torch.float64
CASES = [
    (O(3), 3, 3),
    (O(3), 2, 4),
    (O(3), 4, 2),
    (SO(3), 2, 3),
    (S(3), 3, 2),
    (S(5), 2, 2),
    (S(2), 1, 3),
    (Sp(2), 3, 3),
]


@pytest.fixture
def by_irreps(monkeypatch):
    """Whatever can be done by irreps is."""
    monkeypatch.setattr(irreps, "WORTH", 1e9)

    def made(group, k, l, c_in=2, c_out=3):
        space = maps.between(c_in * group.V**k, c_out * group.V**l)
        space = maps.Map(space.rep_in, space.rep_out, space.blocks, space.options)
        assert space._diagrams.by_irreps is not None
        return space

    return made


def draw(space, generator, *batch):
    x = space.rep_in.randn(*batch, generator=generator, dtype=float64).requires_grad_()
    return x, torch.randn(space.dim, generator=generator, dtype=float64).requires_grad_()


@pytest.mark.parametrize(("group", "k", "l"), CASES, ids=[f"{group}-{k}-{l}" for group, k, l in CASES])
def test_equals_the_dense_matrix(group, k, l, by_irreps, generator):
    space = by_irreps(group, k, l)
    for batch in ((), (0,), (1,), (2, 3)):
        x, w = draw(space, generator, *batch)
        y, expected = space.apply(x, w), x @ space.matrix(w).T
        scale = max([1.0, *expected.detach().abs().flatten().tolist()])
        assert torch.allclose(y, expected, rtol=0, atol=1e-12 * scale)
        v = torch.randn(y.shape, generator=generator, dtype=float64)
        for a, b in zip(*(torch.autograd.grad(out, (x, w), v) for out in (y, expected))):
            assert torch.allclose(a, b, rtol=1e-11, atol=1e-11 * scale)


def test_copies_are_orthonormal_and_as_many_as_maps():
    for group, k, l in CASES:
        (block,) = maps.between(group.V**k, group.V**l).blocks
        found = irreps.irreps(block.kernel)
        assert sum(len(F) * len(G) for F, G in zip(found.ins, found.outs)) == block.N
        for F in (*found.ins, *found.outs):
            gram = torch.from_numpy(F).movedim(1, -1).flatten(0, 1)
            assert torch.allclose(gram @ gram.T, torch.eye(len(gram), dtype=float64), atol=1e-11)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own
def test_derivatives_and_transforms(by_irreps, generator):
    space = by_irreps(SO(3), 2, 2, 1, 2)
    x, w = draw(space, generator, 2)
    assert gradcheck(space.apply, (x, w), check_forward_ad=True)
    assert gradgradcheck(space.apply, (x, w))
    x, w = x.detach(), w.detach()
    ws = torch.stack([w, 2 * w])
    rows = torch.stack([space.apply(a, b) for a, b in zip(x, ws)])
    assert torch.allclose(torch.func.vmap(space.apply)(x, ws), rows)
    assert torch.allclose(torch.func.vmap(space.apply, (0, None))(x, w), space.apply(x, w))
    assert torch.allclose(torch.func.jacrev(space.apply)(x[0], w), space.matrix(w))
    with torch.no_grad():
        assert torch.allclose(space.apply(x, w), x @ space.matrix(w).T)


def test_compiles(generator):
    layer = nn.Linear(16 * O(3).V ** 3, 16 * O(3).V ** 3, generator=generator).double()
    assert layer.map._diagrams.by_irreps is not None
    torch.compiler.reset()  # compilers count what all layers share: a few kinds of Linear, then they give up
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = layer.rep_in.randn(4, generator=generator, dtype=float64).requires_grad_()
    y, expected = compiled(x), layer(x)
    assert torch.allclose(y, expected, atol=1e-12)
    for a, b in zip(*(torch.autograd.grad(out.square().sum(), (x, layer.weight)) for out in (y, expected))):
        assert torch.allclose(a, b, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_half_precision_is_left_to_diagrams(dtype, by_irreps, generator, monkeypatch):
    space, called = by_irreps(O(3), 3, 3), []
    forward = irreps.IrrepPlan.forward
    monkeypatch.setattr(irreps.IrrepPlan, "forward", lambda *given: called.append(1) or forward(*given))
    x, w = (t.detach() for t in draw(space, generator, 4))
    exact = x @ space.matrix(w).T
    y = space.apply(x.to(dtype), w.to(dtype))
    assert y.dtype == dtype
    assert (y.double() - exact).abs().max() < 4 * torch.finfo(dtype).eps * exact.abs().max()
    assert bool(called) == (dtype == torch.float32)


def test_chosen_where_it_pays():
    assert maps.between(32 * O(3).V ** 3, 32 * O(3).V ** 3)._diagrams.by_irreps is not None
    few_channels = maps.between(O(3).V ** 3, O(3).V ** 3)
    large = maps.between(32 * O(12).V ** 2, 32 * O(12).V ** 2)
    complex_type = maps.between(32 * SO(2).V ** 2, 32 * SO(2).V ** 2)
    mixed = maps.between(32 * O(3).V ** 2 + O(3).trivial, 32 * O(3).V ** 2)
    for space in (few_channels, large, complex_type, mixed):
        assert space._diagrams.by_irreps is None
    assert irreps.irreps(maps.between(A(3).V, A(3).V).blocks[0].kernel) is None
