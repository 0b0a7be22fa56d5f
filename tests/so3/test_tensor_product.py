"""The plain tensor product against e3nn, and the edge convolution against the plain product."""

import warnings

import pytest
import torch
from torch.testing import assert_close

from intertwine import so3
from intertwine.so3 import EdgeConv, Irreps, TensorProduct

EXACT = {"atol": 1e-12, "rtol": 0.0}
PAIRS = [
    ("4x0e + 4x1o + 4x2e", "1x0e + 1x1o + 1x2e", "4x0e + 4x1o + 4x2e"),
    ("2x0e + 3x1o + 1x1e + 3x0o", "2x1o + 1x2e", "2x1o + 3x2o + 3x0e + 1x2e + 3x1e"),
    ("2x1o + 2x1o", "3x1o + 1x1o", "2x1e + 2x1e + 2x0e"),  # repeated irreps, many channels in the second
    ("2x3e + 1x4o", "1x2e + 2x3o", "2x3e + 1x5e + 2x4o"),
]


def to_e3nn(irreps: Irreps, x: torch.Tensor) -> torch.Tensor:
    """Each block [2l+1, c] becomes [c, 2l+1]."""
    return torch.cat([block.mT.flatten(-2) for block in irreps.split(x)], -1)


MODES = {  # mode: inputs and output that fit it, both parities, unequal channels, repeated irreps
    "uvw": ("2x1o + 3x0e + 1x1e", "3x1o + 2x2e", "4x1o + 2x1e + 3x2o + 2x1e + 1x0e"),
    "uvu": PAIRS[1],
    "uvv": ("2x1o + 1x2e", "2x0e + 3x1o + 2x1e", "2x1o + 3x2o + 3x0e + 3x1e"),
    "uuw": ("3x1o + 2x0e + 2x1e", "3x1o + 2x2e + 3x1o", "4x1e + 2x2e + 3x0e + 2x2o"),
    "uuu": ("3x1o + 2x0e + 3x2e", "3x1o + 2x2e + 3x1o", "3x1e + 2x2e + 3x0e + 3x1o"),
    "uvuv": ("2x1o + 1x2e", "3x1o + 2x0e", "6x0e + 6x1e + 4x1o + 3x3o + 2x2e"),
    "uvu<v": ("4x1o + 3x0e", "4x1o + 3x2e", "6x1e + 6x2e + 3x2e + 6x0e"),
    "u<vw": ("4x1o + 3x0e", "4x1o + 3x2e", "2x1e + 5x2e + 3x0e"),
}
UNWEIGHTED = ("uvu", "uvv", "uuw", "uuu", "uvuv", "uvu<v")


def pair_with_e3nn(o3, one, two, out, mode, weights, generator, **normalization):
    """Ours and theirs on the same numbers: outputs in e3nn's layout."""
    if mode == "uuw" and weights == "none":
        out = "1x1e + 1x2e + 1x0e"  # without weights all channels are added up
    own = {{"irrep_normalization": "normalization"}.get(name, name): value for name, value in normalization.items()}
    ours = TensorProduct(one, two, out, mode=mode, weights=weights, **own).double()
    instructions = [(p.i1, p.i2, p.i3, mode, weights != "none") for p in ours.paths]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = o3.TensorProduct(
            *(str(Irreps(x)) for x in (one, two, out)),
            instructions,
            shared_weights=False,
            internal_weights=False,
            **normalization,
        )
    assert ours.weight_shape == (theirs.weight_numel,)
    x, y = (Irreps(i).randn(6, generator=generator, dtype=torch.float64) for i in (one, two))
    w = [torch.randn(6, ours.weight_numel, generator=generator, dtype=torch.float64)] * (weights != "none")
    return to_e3nn(ours.rep_out, ours(x, y, *w)), theirs(to_e3nn(Irreps(one), x), to_e3nn(Irreps(two), y), *w)


@pytest.mark.parametrize(("one", "two", "out"), PAIRS)
@pytest.mark.parametrize("path_normalization", ["element", "path"])
def test_equal_to_e3nn_weight_by_weight(o3, one, two, out, path_normalization, generator, float64_default):
    normalization = {"path_normalization": path_normalization}
    assert_close(*pair_with_e3nn(o3, one, two, out, "uvu", "external", generator, **normalization), **EXACT)


@pytest.mark.parametrize(
    ("mode", "weights"), [*((mode, "external") for mode in MODES), *((mode, "none") for mode in UNWEIGHTED)]
)
@pytest.mark.parametrize("normalization", ["component", "norm"])
def test_every_mode_equals_e3nn(o3, mode, weights, normalization, generator, float64_default):
    both = pair_with_e3nn(o3, *MODES[mode], mode, weights, generator, irrep_normalization=normalization)
    assert_close(*both, **EXACT)


def test_cross_product():
    product = TensorProduct("1o", "1o", "1e", weights="none").double()
    x, y = torch.tensor([[1.0, 2, 3], [-4, 0, 5]], dtype=torch.float64)
    assert_close(product(x, y), torch.linalg.cross(x, y) / 6**0.5 * 3**0.5, **EXACT)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weights", ["external", "shared", "none"])
def test_product_is_equivariant(mode, weights, generator):
    if weights == "none" and mode not in UNWEIGHTED:
        with pytest.raises(ValueError, match=f"mode {mode} mixes channels by its weights"):
            TensorProduct(*MODES[mode], mode=mode, weights=weights)
        return
    one, two, out = (Irreps(text) for text in MODES[mode])
    if mode == "uuw" and weights == "none":
        out = Irreps("1e + 2e")
    product = TensorProduct(one, two, out, mode=mode, weights=weights, generator=generator).double()
    x, y = (irreps.randn(5, generator=generator, dtype=torch.float64) for irreps in (one, two))
    w = [torch.randn(5, product.weight_numel, generator=generator, dtype=torch.float64)] * (weights == "external")
    g = -so3.random_rotation(5, generator=generator)
    moved = product(one.act(g, x), two.act(g, y), *w)
    assert_close(moved, out.act(g, product(x, y, *w)), atol=1e-10, rtol=0.0)


def test_product_keeps_unit_variance(generator):
    one, two = Irreps("16x0e + 16x1o + 16x2e"), Irreps("0e + 1o + 2e")
    conv = EdgeConv(one, 2, two)
    out = Irreps([(16, irrep) for _, _, irrep in conv.paths])
    product = TensorProduct(one, two, out, [(i, l, k) for k, (i, l, _) in enumerate(conv.paths)])
    x, y = one.randn(4000, generator=generator), two.randn(4000, generator=generator)
    w = torch.randn(4000, product.weight_numel, generator=generator)
    for block in out.split(product(x, y, w)):
        assert abs(block.square().mean().item() - 1) < 0.1


def test_shared_weights_are_the_only_parameter(generator):
    product = TensorProduct("2x1o", "1o", "2x1e", weights="shared", generator=generator)
    assert list(product.state_dict()) == ["weight"]
    assert product.weight.shape == (2,)


def test_product_errors(generator):
    product = TensorProduct("2x1o", "1o", "2x1e")
    x, y, w = torch.zeros(3, 6), torch.zeros(3, 3), torch.zeros(3, 2)
    with pytest.raises(ValueError, match="weights='external', but the call gave no weight"):
        product(x, y)
    with pytest.raises(ValueError, match=r"2 weights are needed, got shape \(3, 5\)"):
        product(x, y, torch.zeros(3, 5))
    with pytest.raises(ValueError, match="has dimension 6, the data has trailing dimension 5"):
        product(x[:, :5], y, w)
    with pytest.raises(ValueError, match="mode 'uvx' is not one of uvw, uvu"):
        TensorProduct("2x1o", "1o", "2x1e", mode="uvx")
    with pytest.raises(ValueError, match=r"path \(0, 0, 0\) in mode uuu .* cannot lead from 2x1o and 1x1o to 2x1e"):
        TensorProduct("2x1o", "1o", "2x1e", [(0, 0, 0)], mode="uuu")
    with pytest.raises(ValueError, match="weights 'mine' is not one of"):
        TensorProduct("2x1o", "1o", "2x1e", weights="mine")
    with pytest.raises(ValueError, match="give a generator"):
        TensorProduct("2x1o", "1o", "2x1e", weights="shared")


@pytest.mark.parametrize("mode", list(MODES))
def test_no_samples_at_all(mode):
    """As for pairs of atoms in a batch of single ones."""
    product = TensorProduct(*MODES[mode], mode=mode).double()
    one, two = (torch.zeros(0, rep.dim, dtype=torch.float64) for rep in (product.irreps_in1, product.irreps_in2))
    weight = torch.zeros(0, product.weight_numel, dtype=torch.float64)
    assert product(one, two, weight).shape == (0, product.rep_out.dim)
