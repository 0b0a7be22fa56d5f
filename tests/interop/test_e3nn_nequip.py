"""A NequIP layer of e3nn's modules moves over with the same numbers, values and gradients."""

import warnings

import pytest
import torch
from torch.testing import assert_close

from intertwine.interop.e3nn import from_e3nn, to_e3nn
from intertwine.interop.e3nn_nequip import nequip_layer
from intertwine.so3 import random_rotation, spherical_harmonics

NODES, EDGES, SPECIES, NEIGHBORS = 7, 30, 3, 4.3
FULL = ("4x0e + 4x0o + 4x1o + 4x1e", 2, "4x0e + 4x0o + 4x1o + 4x1e + 4x2e")
CASES = {"both parities": FULL, "first layer": ("4x0e", 1, "4x0e + 4x1o"), "last layer": ("4x0e + 4x1o", 1, "4x0e")}


def theirs(o3, case, *, simplified=True):
    """The modules of one layer as e3nn users write them."""
    from e3nn.nn import Gate

    features, degree, out = CASES[case]
    features, out, edges = o3.Irreps(features), o3.Irreps(out), o3.Irreps.spherical_harmonics(degree)
    scalars = o3.Irreps([(m, ir) for m, ir in out if ir.l == 0])
    gated = o3.Irreps([(m, ir) for m, ir in out if ir.l > 0])
    gates = o3.Irreps([(m, "0e") for m, _ in gated])
    acts = [torch.nn.functional.silu if ir.p == 1 else torch.tanh for _, ir in scalars]
    gate = Gate(scalars, acts, gates, [torch.sigmoid] * len(gates), gated)
    terms, paths = [], []
    for i, (mul, a) in enumerate(features):
        for j, (_, b) in enumerate(edges):
            for c in a * b:
                if c in out:
                    paths.append((i, j, len(terms), "uvu", True))
                    terms.append((mul, c))
    middle, order, _ = o3.Irreps(terms).sort()
    paths = [(i, j, order[k], mode, train) for i, j, k, mode, train in paths]
    product = o3.TensorProduct(features, edges, middle, paths, shared_weights=False, internal_weights=False)
    attributes = o3.Irreps([(SPECIES, "0e")])
    return {
        "linear_1": o3.Linear(features, features),
        "product": product,
        "linear_2": o3.Linear(middle.simplify() if simplified else middle, gate.irreps_in),
        "self_connection": o3.FullyConnectedTensorProduct(features, attributes, gate.irreps_in),
        "gate": gate,
    }


def run_theirs(layer, h, species, Y, weight, source, target):
    summed = h.new_zeros(NODES, layer["product"].irreps_out.dim)
    summed.index_add_(0, target, layer["product"](layer["linear_1"](h)[source], Y, weight))
    new = layer["linear_2"](summed / NEIGHBORS**0.5)
    one_hot = torch.nn.functional.one_hot(species, SPECIES).to(h)
    return layer["gate"](new + layer["self_connection"](h, one_hot))


@pytest.mark.parametrize(
    ("case", "simplified"), [("both parities", True), ("first layer", False), ("last layer", False)]
)
def test_layer_moves_over(o3, case, simplified, generator, float64_default):
    other = theirs(o3, case, simplified=simplified)
    ours, order = nequip_layer(**other, avg_num_neighbors=NEIGHBORS)
    source, target = torch.randint(NODES, (2, EDGES), generator=generator)
    species = torch.randint(SPECIES, (NODES,), generator=generator)
    vectors = torch.randn(EDGES, 3, generator=generator) @ random_rotation(generator=generator)
    Y = spherical_harmonics(vectors, other["product"].irreps_in2.lmax)
    h = ours.rep_in.randn(NODES, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.randn(EDGES, other["product"].weight_numel, generator=generator)
    expected = run_theirs(other, to_e3nn(h, ours.rep_in), species, Y, weight, source, target)
    found = ours(h, species, Y, weight[:, order].unflatten(1, ours.conv.weight_shape), source, target)
    assert_close(to_e3nn(found, ours.rep_out), expected, atol=1e-10, rtol=0.0)
    draw = torch.randn(expected.shape, generator=generator)
    gradients = [torch.autograd.grad((y * draw).sum(), h)[0] for y in (to_e3nn(found, ours.rep_out), expected)]
    assert gradients[0].abs().max() > 0.1
    assert_close(*gradients, atol=1e-10, rtol=0.0)


def test_layer_in_single_precision(o3, generator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = theirs(o3, "both parities")
    ours, order = nequip_layer(**other, avg_num_neighbors=NEIGHBORS)
    source, target = torch.randint(NODES, (2, EDGES), generator=generator)
    species = torch.randint(SPECIES, (NODES,), generator=generator)
    Y = spherical_harmonics(torch.randn(EDGES, 3, generator=generator), 2)
    h = ours.rep_in.randn(NODES, generator=generator)
    weight = torch.randn(EDGES, other["product"].weight_numel, generator=generator)
    expected = from_e3nn(run_theirs(other, to_e3nn(h, ours.rep_in), species, Y, weight, source, target), ours.rep_out)
    found = ours(h, species, Y, weight[:, order].unflatten(1, ours.conv.weight_shape), source, target)
    assert (found - expected).norm() < 1e-6 * expected.norm()


def test_other_forms_are_refused(o3, float64_default):
    from e3nn.nn import Gate

    good = theirs(o3, "first layer")
    twice = o3.Linear("4x0e + 4x0e", "4x0e + 4x0e")
    with pytest.raises(ValueError, match="linear_1 has an irrep twice"):
        nequip_layer(**good | {"linear_1": twice}, avg_num_neighbors=1.0)
    full = o3.FullyConnectedTensorProduct("4x0e", "1x0e + 1x1o", "4x0e + 4x1o")
    with pytest.raises(ValueError, match="product must be 'uvu'"):
        nequip_layer(**good | {"product": full}, avg_num_neighbors=1.0)
    vectors = o3.FullyConnectedTensorProduct("4x0e", "1x0e + 1x1o", good["gate"].irreps_in)
    with pytest.raises(ValueError, match="species as scalars"):
        nequip_layer(**good | {"self_connection": vectors}, avg_num_neighbors=1.0)
    odd = Gate("4x0o", [torch.tanh], "4x0e", [torch.sigmoid], "4x1o")
    with pytest.raises(ValueError, match="scalars 0e first"):
        nequip_layer(**good | {"gate": odd}, avg_num_neighbors=1.0)
    with pytest.raises(ValueError, match="does not have the paths"):
        nequip_layer(**good | {"product": theirs(o3, "last layer")["product"]}, avg_num_neighbors=1.0)
