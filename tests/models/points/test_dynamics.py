"""Networks that move charged points: one interface, the published sizes, and who keeps the symmetry."""

import pytest
import torch

from grids import seeded
from intertwine.audit import assert_equivariant
from intertwine.data import charged
from intertwine.models.points.baselines import LinearDynamics, MessagePassing, RadialField
from intertwine.models.points.dynamics import all_pairs
from intertwine.models.points.egnn import EGNNDynamics
from intertwine.models.points.tfn import TFN
from intertwine.nn import full_graph

MODELS = {
    "EGNN": lambda **kw: EGNNDynamics(8, 2, generator=seeded(), **kw),
    "RadialField": lambda **kw: RadialField(8, 2, generator=seeded(), **kw),
    "MessagePassing": lambda **kw: MessagePassing(8, 2, generator=seeded(), **kw),
    "LinearDynamics": LinearDynamics,
    "TFN": lambda: TFN(4, 1, 3, generator=seeded()),
    "TFN of degree 2": lambda: TFN(3, 2, 2, generator=seeded()),
    "TFN with charges on edges": lambda: TFN(4, 1, 2, edge_charges=True, generator=seeded()),
}
EQUIVARIANT = [name for name in MODELS if name != "MessagePassing"]


@pytest.fixture(scope="module")
def inputs():
    found, _ = charged(4, steps=301, seed=0).task(0, 1, dtype=torch.float64)
    return found["positions"], found["velocities"], found["charges"]


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_equivariant(name, inputs):
    assert_equivariant(MODELS[name]().double(), data=inputs)


def test_messages_of_raw_positions_are_not(inputs):
    with pytest.raises(AssertionError):
        assert_equivariant(MODELS["MessagePassing"]().double(), data=inputs)


@pytest.mark.parametrize("name", ["EGNN", "RadialField", "LinearDynamics"])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_any_dimension(name, dim):
    model = MODELS[name](dim=dim).double()
    x, v = torch.randn(2, 3, 4, dim, generator=seeded(), dtype=torch.float64)
    assert_equivariant(model, data=(x, v, torch.ones(3, 4, dtype=torch.float64)))


@pytest.mark.parametrize("name", MODELS)
def test_systems_do_not_see_each_other(name, inputs):
    model = MODELS[name]().double()
    together = model(*inputs)
    assert together.shape == inputs[0].shape
    for k, part in enumerate(zip(*inputs)):
        assert (model(*part) - together[k]).abs().max() < 1e-12
        assert (model(*part, full_graph(5)) - together[k]).abs().max() < 1e-12
    assert (model(*(part[:0] for part in inputs))).shape == (0, 5, 3)
    assert model(*(part[:, :1] for part in inputs)).isfinite().all()  # a point alone


@pytest.mark.parametrize("name", MODELS)
def test_charges_matter(name, inputs):
    model, (x, v, q) = MODELS[name]().double(), inputs
    change = (model(x, v, q * torch.tensor([1, -1, 1, 1, 1])) - model(x, v, q)).abs().max()
    assert (change > 1e-9) == (name != "LinearDynamics")


def test_published_sizes():
    sizes = {model: sum(p.numel() for p in model().parameters()) for model in (EGNNDynamics, MessagePassing, TFN)}
    biases = 3_232  # of the last layer of the published radial networks, which `TensorFieldKernel` leaves out
    assert sizes == {EGNNDynamics: 134_020, MessagePassing: 104_387, TFN: 127_024 - biases}


def test_a_tfn_tells_mirror_images_apart(inputs):
    mirrored = {"rep_in": EGNNDynamics(4, 1).rep_in, "rep_out": EGNNDynamics(4, 1).rep_out}  # all of E(3)
    with pytest.raises(AssertionError):
        assert_equivariant(MODELS["TFN"]().double(), data=inputs, **mirrored)


def test_pairs_of_systems():
    assert torch.equal(all_pairs(1, 4), full_graph(4))
    assert torch.equal(all_pairs(3, 2), torch.tensor([[1, 0, 3, 2, 5, 4], [0, 1, 2, 3, 4, 5]]))
    assert all_pairs(0, 3).shape == all_pairs(3, 0).shape == all_pairs(2, 1).shape == (2, 0)


def test_bad_input(inputs):
    x, v, q = inputs
    with pytest.raises(ValueError, match=r"charges \(4, 5\), got \(4, 5, 3\) and \(4, 5, 1\)"):
        LinearDynamics().double()(x, v, q[..., None])
    with pytest.raises(ValueError, match="need velocities of the same shape"):
        LinearDynamics().double()(x, v[:3], q)
    with pytest.raises(ValueError, match="at least 1, got hidden=0"):
        TFN(0)
