"""nn.Linear: equivariant in every dtype, variance kept, gradients right, safe to save."""

import copy
import io
import pickle

import pytest
import torch

from conftest import TOL
from intertwine import maps, nn
from intertwine.groups import SO, Automorphism, Cyclic, Dihedral, E, GLPlus, Lorentz, O, S, Sp
from intertwine.maps.constants import Constants

LAYERS = [
    *(
        (3 * G.V + G.V * G.V.dual, 2 * G.V + G.trivial + G.V * G.V.dual)
        for G in (S(4), Dihedral(4), O(3), SO(3), Sp(4))
    ),
    *((3 * G.V, 2 * G.V + G.trivial) for G in (Sp(4), GLPlus(2), Lorentz(1, 3), E(2), S(3) * SO(3))),
    (4 * SO(2).irrep(1) + 3 * SO(2).irrep(0), 2 * SO(2).irrep(0) + 5 * SO(2).irrep(1)),
]


@pytest.fixture(params=LAYERS, ids=lambda reps: f"{reps[0]!r}->{reps[1]}".replace(" ", ""))
def layer(request, generator):
    layer = nn.Linear(*request.param, generator=generator)
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias, generator=generator)
    return layer


def scatter(layer, g, x):
    """How far the layer is from commuting with g at x, relative to the size of what it gives."""
    moved = layer.rep_out.act(g, layer(x))
    return float(((layer(layer.rep_in.act(g, x)) - moved).abs().max() / moved.abs().max().clamp(min=1)).detach())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_commutes_with_the_group_also_after_training(layer, dtype, generator):
    layer = layer.to(dtype)
    rep_in, rep_out = layer.rep_in, layer.rep_out
    x = rep_in.randn(6, generator=generator, dtype=dtype)
    g = rep_in.group.sample(6, generator=generator, dtype=dtype)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)
    for _ in range(4):
        assert scatter(layer, g, x) < TOL[dtype]
        optimizer.zero_grad()
        (layer(x) ** 2).mean().backward()
        optimizer.step()
    assert rep_out.dim == layer(x).shape[-1]


def test_gradient_commutes_with_the_group(layer, generator):
    """Of the input: cotangents move by the dual. Of weight and bias: not at all."""
    layer = layer.double()
    x = layer.rep_in.randn(4, generator=generator, dtype=torch.float64)
    v = layer.rep_out.randn(4, generator=generator, dtype=torch.float64)
    g = layer.rep_in.group.sample(4, generator=generator)

    def pulled(x, v):
        x = x.clone().requires_grad_()
        return torch.autograd.grad((layer(x) * v).sum(), (x, *layer.parameters()))

    here, *own = pulled(x, v)
    there, *other = pulled(layer.rep_in.act(g, x), layer.rep_out.dual.act(g, v))
    moved = layer.rep_in.dual.act(g, here)
    assert (there - moved).abs().max() < TOL[torch.float64] * moved.abs().max().clamp(min=1)
    for a, b in zip(own, other):
        assert (a - b).abs().max() < TOL[torch.float64] * a.abs().max().clamp(min=1)


def test_first_and_second_derivatives(layer, generator):
    layer = layer.double()
    x = layer.rep_in.randn(2, generator=generator, dtype=torch.float64).requires_grad_()
    names, values = zip(*layer.named_parameters())

    def f(x, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters)), (x,))

    values = tuple(value.detach().clone().requires_grad_() for value in values)
    assert torch.autograd.gradcheck(f, (x, *values), fast_mode=True)
    assert torch.autograd.gradgradcheck(f, (x, *values), fast_mode=True)


def test_matrix_and_bias_are_the_layer(layer, generator):
    layer = layer.double()
    x = layer.rep_in.randn(3, generator=generator, dtype=torch.float64)
    offset = layer(torch.zeros_like(x))
    assert torch.allclose(layer(x), x @ layer.matrix().T + offset, atol=1e-10)


@pytest.mark.parametrize("batch", [(), (0,), (1,), (3,), (2, 0), (2, 3)])
def test_batch_shapes(layer, batch, generator):
    x = layer.rep_in.randn(*batch, generator=generator)
    y = layer(x)
    assert y.shape == (*batch, layer.rep_out.dim)
    if x.numel():
        flat = layer(x.reshape(-1, layer.rep_in.dim))
        assert torch.allclose(y.reshape(flat.shape), flat, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_and_device_follow_the_module(layer, dtype, device):
    layer = layer.to(device, dtype)
    y = layer(torch.ones(4, layer.rep_in.dim, dtype=dtype, device=device))
    assert (y.dtype, y.device.type) == (dtype, device)
    exact = copy.deepcopy(layer).double()(torch.ones(4, layer.rep_in.dim, dtype=torch.float64, device=device))
    assert (y - exact).abs().max() < 20 * TOL[dtype] * exact.abs().max().clamp(min=1)


PETERSEN = Automorphism("0-1 1-2 2-3 3-4 4-0 5-7 7-9 9-6 6-8 8-5 0-5 1-6 2-7 3-8 4-9")
VARIANCE = [
    (S(10).V, S(10).V ** 2 + S(10).V),
    (S(6).V ** 2 + S(6).V, S(6).V ** 2),
    (O(3).V ** 2 + O(3).V, O(3).V ** 2 + O(3).V),
    (SO(3).V ** 2 + SO(3).V, SO(3).V),
    (Sp(4).V * Sp(4).V.dual, Sp(4).V ** 2),
    (Cyclic(8).irrep(1), Cyclic(8).irrep(1)),
    (Dihedral(5).V, Dihedral(5).V ** 2),
    (PETERSEN.V, PETERSEN.V),
    (Cyclic(8).regular, Cyclic(8).regular),
]


@pytest.mark.parametrize("normalize", ["rms", "mean", "none"])
@pytest.mark.parametrize(("rep_in", "rep_out"), VARIANCE, ids=lambda rep: repr(rep).replace(" ", ""))
def test_output_variance_is_gain_squared(rep_in, rep_out, normalize, generator):
    """For 2000 inputs with independent entries of variance one, 64 channels, in every term of the output."""
    layer = nn.Linear(64 * rep_in, 64 * rep_out, gain=1.7, normalize=normalize, generator=generator)
    y = layer(layer.rep_in.randn(2000 if rep_in.dim < 20 else 500, generator=generator))
    for block in layer.rep_out.split(y.detach()):
        assert 0.9 < float((block**2).mean()) / 1.7**2 < 1.1


def test_variance_counts_every_term_that_feeds_an_output(generator):
    """Exactly: the sum of squares of the layer's matrix over a term, in the mean over weights."""
    V = O(3).V
    layer = nn.Linear(7 * V**2 + 30 * V**2, 40 * V**2 + 2 * O(3).trivial, generator=generator).double()
    rows = (layer.matrix().detach() ** 2).sum(1)
    assert float(rows[: 9 * 40].mean()) == pytest.approx(1, abs=0.1)


def test_mean_keeps_features_with_a_mean_of_order_one(generator):
    """On constant features the largest output grows with the set under "rms", and does not under "mean"."""
    sizes = {}
    for normalize in ("rms", "mean"):
        for n in (8, 128):
            V = S(n).V
            layer = nn.Linear(32 * V, 32 * V, normalize=normalize, generator=generator)
            sizes[normalize, n] = float(layer(torch.ones(layer.rep_in.dim)).detach().std())
    assert sizes["rms", 128] > 3 * sizes["rms", 8]
    assert sizes["mean", 128] < 1.5 * sizes["mean", 8]


def test_diagonal_maps_keep_unit_entries_for_permutations():
    """r_b is the largest row norm, so y = diag(x) is not blown up by the zeros around it."""
    V = S(10).V
    layer = nn.Linear(V, V**2, method="solver")
    label = layer.map.blocks[0].labels.index("0,0|0")
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[label] = 1
    assert torch.equal(layer(torch.ones(10)).reshape(10, 10), torch.eye(10))


def test_bias_is_invariant_and_starts_at_zero(generator):
    V = S(4).V
    layer = nn.Linear(2 * V, 3 * V**2 + V, generator=generator)
    assert len(layer.bias) == 2 * 3 + 1
    assert not layer.bias.any()
    torch.nn.init.normal_(layer.bias, generator=generator)
    offset = layer(torch.zeros(8))
    assert offset.any()
    for g in S(4).elements():
        assert torch.allclose(layer.rep_out.act(g, offset), offset)
    assert nn.Linear(O(3).V, O(3).V).bias is None
    assert nn.Linear(2 * V, V, bias=False).bias is None
    assert "bias" not in nn.Linear(O(3).V, O(3).V).state_dict()


def test_same_generator_same_weights():
    V = S(4).V
    a, b = (nn.Linear(V, V, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a.weight, b.weight)
    a.reset_parameters(torch.Generator().manual_seed(4))
    assert not torch.equal(a.weight, b.weight)


# --- copies and files


def test_copies_are_independent_and_share_the_map(layer, generator):
    x = layer.rep_in.randn(3, generator=generator)
    before = layer(x)
    copied, pickled = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))
    assert copied.map is layer.map
    with torch.no_grad():
        layer.weight.zero_()
    assert torch.equal(copied(x), before)
    assert torch.equal(pickled(x), before)


def test_jacobian_and_vmap_are_the_matrix(layer, generator):
    x = layer.rep_in.randn(3, generator=generator)
    matrix = layer.matrix()
    assert torch.allclose(torch.func.jacrev(layer)(x[0]), matrix, atol=1e-5)
    assert torch.allclose(torch.func.vmap(layer)(x), layer(x), atol=1e-5)


def test_state_dict_holds_parameters_only(layer):
    assert set(layer.state_dict()) == {name for name, _ in layer.named_parameters()}
    assert all(isinstance(m.arrays, tuple) for m in layer.modules() if isinstance(m, Constants))


def test_saved_and_loaded(layer, generator):
    file = io.BytesIO()
    torch.save(torch.nn.Sequential(layer).state_dict(), file)
    file.seek(0)
    other = nn.Linear(layer.rep_in, layer.rep_out)
    torch.nn.Sequential(other).load_state_dict(torch.load(file, weights_only=True))
    x = layer.rep_in.randn(3, generator=generator)
    assert torch.equal(other(x), layer(x))


def test_weights_of_another_layer_are_refused():
    """Of the same size, but another group, other Reps, or another normalization."""
    saved = nn.Linear(2 * S(4).V, 2 * S(4).V).state_dict()
    others = [
        nn.Linear(2 * S(5).V, 2 * S(5).V),
        nn.Linear(4 * S(4).V, S(4).V + 0 * S(4).V),
        nn.Linear(2 * S(4).V, 2 * S(4).V, normalize="mean"),
        nn.Linear(2 * S(4).V, 2 * S(4).V, basis="orthonormal"),
    ]
    for other in others:
        with pytest.raises(RuntimeError, match="was saved for another pair of representations or another basis"):
            other.load_state_dict(saved)
        with pytest.raises(RuntimeError, match="was saved for another pair"):
            torch.nn.Sequential(other).load_state_dict(
                torch.nn.Sequential(nn.Linear(2 * S(4).V, 2 * S(4).V)).state_dict()
            )


def test_bare_tensors_are_loaded_by_shape():
    """A plain dict, as safetensors gives it, has no labels; the shapes still must fit."""
    layer = nn.Linear(2 * S(4).V, 2 * S(4).V)
    bare = dict(layer.state_dict())
    nn.Linear(2 * S(4).V, 2 * S(4).V).load_state_dict(bare)
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        nn.Linear(3 * S(4).V, 2 * S(4).V).load_state_dict(bare)


def test_labels_are_frozen():
    """The meaning of saved weights must not drift: these names are in users' files."""
    V = S(3).V
    layer = nn.Linear(V, V**2, method="solver")
    assert layer.map.blocks[0].labels == ("0,0|0", "0,0|1", "0,1|0", "0,1|1", "0,1|2")
    rep = 2 * SO(2).irrep(1)
    assert nn.Linear(rep, rep).map.blocks[0].labels == ("1", "i")


# --- errors


def test_group_mismatch():
    with pytest.raises(ValueError, match=r"^Linear: rep_in belongs to S\(5\), rep_out to O\(3\)$"):
        nn.Linear(S(5).V, O(3).V)


def test_zero_layer_is_refused():
    with pytest.raises(ValueError, match="is zero \\(allow_zero=True keeps it\\)"):
        nn.Linear(O(3).V, O(3).V ** 2)
    layer = nn.Linear(O(3).V, O(3).V ** 2, allow_zero=True)
    assert not layer(torch.ones(2, 3)).any()


def test_bad_arguments(generator):
    V = S(3).V
    with pytest.raises(ValueError, match="normalize must be one of"):
        nn.Linear(V, V, normalize="std")
    with pytest.raises(TypeError, match="must be a Rep"):
        nn.Linear(3, V)
    with pytest.raises(ValueError, match=r"rep_in is V of S\(3\) of dimension 3, the data has trailing dimension 4"):
        nn.Linear(V, V)(torch.zeros(2, 4))


def test_explains_itself():
    V = S(3).V
    layer = nn.Linear(2 * V, V)
    assert repr(layer) == "Linear(2*V -> V of S(3), weights=4, bias=1)"
    assert "2 maps = 4 weights" in layer.explain()
    assert "bias: 1 weights" in layer.explain()


# --- compiled


COMPILED = {
    "mix first": (3 * S(4).V ** 2, 2 * S(4).V ** 3 + S(4).V),
    "gather first": (2 * S(4).V ** 3 + S(4).V, 4 * S(4).V ** 2),
    "dense": (3 * SO(3).V ** 2, 2 * SO(3).V + SO(3).trivial),
    "schur": (3 * SO(2).irrep(1) + SO(2).V, 2 * SO(2).irrep(1)),
    "product": (2 * (S(4) * SO(3)).V, 2 * (S(4) * SO(3)).V),
}


def agrees_compiled(layer, backend, generator):
    layer = layer.double()
    torch.compiler.reset()  # compilers count what all layers share: a few kinds of Linear, then they give up
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=backend)
    for batch in (3, 5):
        x = layer.rep_in.randn(batch, generator=generator, dtype=torch.float64).requires_grad_()
        expected, found = layer(x), compiled(x)
        assert torch.allclose(expected, found, atol=1e-12)
        slow = torch.autograd.grad((expected**2).sum(), (x, *layer.parameters()))
        fast = torch.autograd.grad((found**2).sum(), (x, *layer.parameters()))
        for a, b in zip(slow, fast):
            assert torch.allclose(a, b, atol=1e-10)


@pytest.mark.parametrize("kind", COMPILED)
def test_traces_whole_at_several_sizes(kind, generator):
    agrees_compiled(nn.Linear(*COMPILED[kind], generator=generator), "aot_eager", generator)


@pytest.mark.slow
def test_compiles_whole(generator):
    agrees_compiled(nn.Linear(*COMPILED["schur"], generator=generator), "inductor", generator)


# --- against e3nn


def test_agrees_with_e3nn(generator):
    o3 = pytest.importorskip("e3nn.o3")
    from intertwine.so3 import Irreps

    irreps = Irreps("8x0e + 4x1o")
    ours = nn.Linear(irreps, irreps, bias=False, generator=generator).double()
    theirs = o3.Linear("8x0e + 4x1o", "8x0e + 4x1o").double()
    with torch.no_grad():
        # e3nn divides by the root of the number of channels in the forward pass; we draw weights so divided
        theirs.weight[:64] = ours.weight[:64] * 8**0.5
        theirs.weight[64:] = ours.weight[64:] * 4**0.5
    x = irreps.randn(10, generator=generator, dtype=torch.float64)
    scalars, vectors = irreps.split(x)
    transposed = torch.cat([scalars.flatten(1), vectors.mT.flatten(1)], 1)  # e3nn keeps channels first
    scalars, vectors = theirs(transposed).split([8, 12], 1)
    expected = torch.cat([scalars, vectors.unflatten(1, (4, 3)).mT.flatten(1)], 1)
    assert (ours(x) - expected).abs().max() < 1e-12
    assert maps.between(irreps, irreps).dim == theirs.weight_numel


def test_order_two_of_space_is_one_weight_for_each_degree(generator):
    """V² -> V² of O(3), by pairings, is in e3nn's basis of 0e + 1e + 2e a number for each degree."""
    io = pytest.importorskip("e3nn.io")
    V = O(3).V
    theirs = io.CartesianTensor("ij")
    products = theirs.reduced_tensor_products()
    Q = products.change_of_basis.double().reshape(9, 9)  # rows 0e, 1e, 2e
    space = maps.between(V**2, V**2)
    M = space.matrix(torch.randn(space.dim, generator=generator, dtype=torch.float64))
    turned = Q @ M @ Q.T
    weights = [turned[0, 0], turned[1, 1], turned[4, 4]]
    expected = torch.block_diag(*(w * torch.eye(d, dtype=torch.float64) for w, d in zip(weights, (1, 3, 5))))
    assert str(theirs) == "1x0e+1x1e+1x2e"
    assert space.dim == len(weights)
    assert (turned - expected).abs().max() < 1e-6
    assert len({round(float(w), 6) for w in weights}) == 3
