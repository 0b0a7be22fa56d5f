"""The usual tensor products against e3nn's classes."""

import warnings

import pytest
import torch
from torch.testing import assert_close

from intertwine.so3 import elementwise, full_tensor_product, fully_connected

EXACT = {"atol": 1e-12, "rtol": 0.0}
FULL = [
    ("2x0e + 3x1o + 1x1e", "2x1o + 1x2e"),
    ("2x1o + 1x0o + 2x1o", "1x2o + 2x0e + 1x2o"),
    ("3x1", "2x2 + 1x0"),  # SO(3)
]


def theirs(o3, name, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(o3, name)(*(natural(a) if isinstance(a, str) else a for a in args), **options)


def natural(text):
    """SO(3) in e3nn's notation: everything even."""
    return text if "e" in text or "o" in text else " + ".join(f"{part}e" for part in text.split(" + "))


def to_e3nn(irreps, x):
    return torch.cat([block.mT.flatten(-2) for block in irreps.split(x)], -1)


def both(ours, other, generator, *weights):
    x, y = (i.randn(5, generator=generator, dtype=torch.float64) for i in (ours.irreps_in1, ours.irreps_in2))
    given = other(to_e3nn(ours.irreps_in1, x), to_e3nn(ours.irreps_in2, y), *weights)
    return to_e3nn(ours.rep_out, ours.double()(x, y)), given


@pytest.mark.parametrize(("one", "two"), FULL)
@pytest.mark.parametrize("normalization", ["component", "norm"])
def test_full(o3, one, two, normalization, generator, float64_default):
    ours = full_tensor_product(one, two, normalization=normalization)
    other = theirs(o3, "FullTensorProduct", one, two, irrep_normalization=normalization)
    if "e" in one:
        assert str(ours.rep_out).replace(" ", "") == str(other.irreps_out)
    assert_close(*both(ours, other, generator), **EXACT)


def test_full_keeps_some(o3, generator, float64_default):
    ours = full_tensor_product(*FULL[0], keep=["0e", "1e"])
    other = theirs(o3, "FullTensorProduct", *FULL[0], filter_ir_out=["0e", "1e"])
    assert_close(*both(ours, other, generator), **EXACT)


@pytest.mark.parametrize("path_normalization", ["element", "path"])
def test_fully_connected(o3, path_normalization, generator, float64_default):
    one, two, out = "2x0e + 3x1o + 1x1e", "2x1o + 1x2e", "4x1o + 2x1e + 3x2o + 2x1e"
    ours = fully_connected(one, two, out, generator=generator, path_normalization=path_normalization)
    other = theirs(
        o3, "FullyConnectedTensorProduct", one, two, out, path_normalization=path_normalization, internal_weights=False
    )
    assert_close(*both(ours, other, generator, ours.weight.detach()), **EXACT)


@pytest.mark.parametrize(
    ("one", "two"),
    [("3x1o + 2x0e + 3x2e", "2x1o + 4x2e + 2x0o"), ("4x1o", "4x1o"), ("2x1o + 1x0o + 1x1o", "1x1e + 3x0e")],
)
@pytest.mark.parametrize("normalization", ["component", "norm"])
def test_elementwise(o3, one, two, normalization, generator, float64_default):
    ours = elementwise(one, two, normalization=normalization)
    other = theirs(o3, "ElementwiseTensorProduct", one, two, irrep_normalization=normalization)
    assert str(ours.rep_out).replace(" ", "") == str(other.irreps_out)
    assert_close(*both(ours, other, generator), **EXACT)


def test_elementwise_keeps_some_and_refuses_unequal_channels(o3, generator, float64_default):
    ours = elementwise("2x1o", "2x1o", keep=["1e"])
    assert_close(*both(ours, theirs(o3, "ElementwiseTensorProduct", "2x1o", "2x1o", ["1e"]), generator), **EXACT)
    with pytest.raises(ValueError, match="2x1o has 2 channels, 3x1o has 3; they go in pairs"):
        elementwise("2x1o", "3x1o")
