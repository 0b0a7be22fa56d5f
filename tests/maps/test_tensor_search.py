"""Invariants and covariants of tensors: as many as characters count, equivariant, derivatives as autograd has them."""

import pytest
import torch

from intertwine.groups import SO, O
from intertwine.maps import (
    Cartesian,
    TensorAction,
    TensorNetwork,
    tensor_covariants,
    tensor_invariant_basis,
    tensor_invariants,
)
from intertwine.so3 import Spherical, clebsch_gordan

VECTOR, SYMMETRIC = Cartesian(1), Cartesian(2, symmetric=True)
COUNTS = {
    "degree 2": ({"x": Spherical(2)}, [1, 0, 1, 1, 1, 1, 2, 1, 2]),
    "degree 3": ({"x": Spherical(3)}, [1, 0, 1, 0, 2, 0, 3, 0, 4]),
    "degree 4": ({"x": Spherical(4)}, [1, 0, 1, 1, 2, 2, 4, 4, 7]),
    "symmetric": ({"C": SYMMETRIC}, [1, 1, 2, 3, 4, 5, 7]),
    "three vectors": ({"a": VECTOR, "b": VECTOR, "c": VECTOR}, [1, 0, 6, 1, 21, 6, 56]),
    "vector and degree 2": ({"v": VECTOR, "x": Spherical(2)}, [1, 0, 2, 2, 4, 4, 10]),
    "two of degree 2": ({"x": Spherical(2), "y": Spherical(2)}, [1, 0, 3, 4, 7, 12, 23]),
}


def random(kinds, generator, batch=3):
    made = {}
    for name, kind in kinds.items():
        x = torch.randn(batch, *kind.shape, generator=generator, dtype=torch.float64)
        if kind.symmetric and isinstance(kind, Cartesian) and kind.rank == 2:
            x = x + x.mT
        made[name] = x
    return made


@pytest.mark.parametrize("name", COUNTS)
def test_as_many_independent_invariants_as_there_are(name):
    inputs, counts = COUNTS[name]
    assert [len(tensor_invariant_basis(inputs, d, SO(3))) for d in range(len(counts))] == counts


def test_three_vectors_have_six_products_and_the_determinant():
    inputs = COUNTS["three vectors"][0]
    products = tensor_invariants(inputs, 6)
    assert len(products) == 6 and all(len(network.nodes) == 2 for network in products)
    (extra,) = (n for n in tensor_invariants(inputs, 6, SO(3)) if n not in products)
    assert sorted(extra.nodes) == ["a", "b", "c", "ε"]


@pytest.mark.parametrize("group", [O(3), SO(3)], ids=str)
def test_networks_turn_with_their_inputs(group, generator):
    inputs = {"C": SYMMETRIC, "v": Cartesian(1, parity=1), "F": Cartesian(2), "x": Spherical(3)}
    data = random(inputs, generator)
    g = torch.cat([group.sample(2, generator=generator), group.generators()])
    networks = tensor_invariants(inputs, 3, group)
    assert networks
    for output in (SYMMETRIC, Spherical(2, -1), VECTOR):
        networks = networks + tensor_covariants(inputs, output, 2, group)
    for R in g:
        moved = {name: TensorAction(kind, group)(R, data[name]) for name, kind in inputs.items()}
        for network in networks:
            y, z = network.evaluate(data), network.evaluate(moved)
            for kind in network.outputs:
                y = TensorAction(kind, group)(R, y)
            assert (y - z).abs().max() < 1e-10 * max(1, y.abs().max()), network


def test_bilinear_covariants_are_clebsch_gordan(generator):
    for l1, l2, l3 in ((1, 1, 0), (1, 1, 1), (1, 1, 2), (2, 1, 2), (2, 2, 2), (2, 2, 3), (3, 2, 4), (0, 2, 2)):
        p = (-1) ** (l1 + l2)
        kinds = {"x": Spherical(l1), "y": Spherical(l2), "z": Spherical(l3, p)}
        once = dict.fromkeys(kinds, 1)
        assert not tensor_invariant_basis(kinds | {"z": Spherical(l3, -p)}, once)
        (network,) = tensor_invariant_basis(kinds, once)
        assert network.degree("ε") == (l1 + l2 + l3) % 2
        data = random(kinds, generator)
        ours = network.diff("z").evaluate(data)
        theirs = torch.einsum("zi,zj,ijk->zk", data["x"], data["y"], torch.tensor(clebsch_gordan(l1, l2, l3)))
        scale = (ours * theirs).sum() / theirs.square().sum()
        assert (ours - scale * theirs).abs().max() < 1e-12


def test_diff_is_autograd(generator):
    inputs = {"C": SYMMETRIC, "v": VECTOR, "x": Spherical(2)}
    data = {name: x.requires_grad_() for name, x in random(inputs, generator).items()}
    for network in tensor_invariants(inputs, 4, SO(3)):
        for name in inputs:
            value = network.evaluate(data).sum()
            (slope,) = torch.autograd.grad(value, data[name], allow_unused=True, materialize_grads=True)
            slope = (slope + slope.mT) / 2 if name == "C" else slope
            assert torch.allclose(network.diff(name).evaluate(data), slope, atol=1e-10)


def test_odd_total_parity_has_none_and_pseudoscalars_come_in_pairs():
    assert tensor_invariants({"a": VECTOR}, {"a": 3})[1:] == []
    assert tensor_invariant_basis({"a": VECTOR, "b": VECTOR, "c": VECTOR}, 3, O(3)) == []
    mixed = tensor_invariants({"a": VECTOR, "b": Cartesian(1, parity=1)}, 4)
    assert [repr(n) for n in mixed] == ["a[a] a[a]", "b[a] b[a]", "a[a] b[a] a[b] b[b]"]


def test_symmetric_matrices_and_text():
    assert [repr(n) for n in tensor_invariants({"C": SYMMETRIC}, 6)] == ["C[aa]", "C[ab] C[ab]", "C[ab] C[ac] C[bc]"]
    laws = tensor_covariants({"C": SYMMETRIC}, SYMMETRIC, 5)
    assert [n.latex() for n in laws] == [r"\delta_{ij}", "C_{ij}", "C_{ia} C_{ja}"]
    assert laws[2].ascii() == "C.1 ----- C.2\nC.1 -----> i\nC.2 -----> j"


def test_what_makes_no_sense():
    with pytest.raises(ValueError, match="not O"):
        tensor_invariants({"a": VECTOR}, 2, O(2))
    with pytest.raises(ValueError, match="at least 0"):
        tensor_invariants({"a": VECTOR}, -1)
    with pytest.raises(ValueError, match="names"):
        tensor_invariants({"ε": VECTOR}, 2)
    with pytest.raises(ValueError, match="legs"):
        TensorNetwork(("a", "a"), (), (), {"a": VECTOR})
    with pytest.raises(ValueError, match="lack"):
        tensor_invariants({"a": VECTOR}, 2)[0].evaluate({})
    with pytest.raises(ValueError, match="traceless"):
        Cartesian(3, traceless=True)
