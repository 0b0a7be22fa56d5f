"""One interface, many methods: those of one map agree, `auto` never takes another map, and the plan says why."""

import pytest
import torch
from torch.testing import assert_close

from intertwine import so3
from intertwine.so3 import GauntTensorProduct, Irreps, TensorProduct, fully_connected, spherical_harmonics
from intertwine.so3.matrix_product import FusedMatrixProduct
from intertwine.so3.vector_product import VectorSignalProduct

NEAR = {"atol": 1e-12, "rtol": 1e-12}
EDGE = [  # features in, harmonics, features out
    (Irreps.spherical(2, 3), Irreps.spherical(2), Irreps.spherical(2, 4)),
    (Irreps.spherical(1, 3), Irreps.spherical(4), Irreps.spherical(3, 2)),
    (Irreps.spherical(2, 2, parity=None), Irreps("0 + 1 + 2 + 3 + 4"), Irreps.spherical(2, 3, parity=None)),
    (Irreps("2x0e + 2x1o"), Irreps("1o + 2e"), Irreps("3x0e + 3x1e + 3x2e")),  # odd products too
]


def edge_pair(sides, generator):
    """The same product by both methods, with the same weights."""
    made = [
        fully_connected(*sides, harmonics=True, method=method, generator=torch.Generator().manual_seed(1)).double()
        for method in ("cg", "so2")
    ]
    made[0].load_state_dict(made[1].state_dict())
    return made


@pytest.mark.parametrize("sides", EDGE, ids=["natural", "other degrees", "SO(3)", "odd"])
def test_edge_frame_equals_clebsch_gordan(sides, generator):
    products = edge_pair(sides, generator)
    x = sides[0].randn(7, generator=generator, dtype=torch.float64).requires_grad_()
    r = torch.randn(7, 3, generator=generator, dtype=torch.float64).requires_grad_()
    g = sides[2].randn(7, generator=generator, dtype=torch.float64)
    lmax = sides[1].lmax
    start = 0 if len(sides[1].blocks) == lmax + 1 else 1
    values, slopes = [], []
    for product in products:
        values.append(product(x, spherical_harmonics(r, lmax)[:, start:]))
        slopes.append(torch.autograd.grad(values[-1], [x, r, product.weight], g))
    assert_close(*values, **NEAR)
    for a, b in zip(*slopes):
        assert_close(a, b, atol=1e-11, rtol=1e-11)


def test_edge_frame_broadcasts_and_takes_empty_batches(generator):
    _, product = edge_pair(EDGE[0], generator)
    Y = spherical_harmonics(torch.randn(5, 1, 3, generator=generator, dtype=torch.float64), 2)
    x = EDGE[0][0].randn(4, generator=generator, dtype=torch.float64)
    assert product(x, Y).shape == (5, 4, product.rep_out.dim)
    assert_close(product(x, Y)[2, 3], product(x[3], Y[2, 0]), **NEAR)
    assert product(x[:0], Y[0, :1]).shape == (0, product.rep_out.dim)


def test_orders_cut_are_another_map(generator):
    options = {"harmonics": True, "generator": generator}
    full = fully_connected(*EDGE[0], **options).double()
    cut = fully_connected(*EDGE[0], mmax=1, **options).double()
    assert cut.plan.method == "so2"
    assert "no orders to cut" in str(cut.plan)
    cut.load_state_dict(full.state_dict())
    x = EDGE[0][0].randn(3, generator=generator, dtype=torch.float64)
    r, R = torch.randn(3, 3, generator=generator, dtype=torch.float64), so3.random_rotation(generator=generator)
    y = cut(x, spherical_harmonics(r, 2))
    assert (y - full(x, spherical_harmonics(r, 2))).abs().max() > 1e-3
    moved = cut(EDGE[0][0].act(R, x), spherical_harmonics(r @ R.mT, 2))
    assert_close(moved, EDGE[0][2].act(R, y), atol=1e-10, rtol=0.0)


@pytest.mark.parametrize("lmax", [(2, 2, 4), (3, 1, 2)])
@pytest.mark.parametrize("parity", [-1, None])
def test_three_ways_over_the_sphere_agree(lmax, parity, generator):
    sides = [Irreps.spherical(l, 3, parity) for l in lmax]
    found = {
        method: TensorProduct(*sides, weights="separable", method=method).double()
        for method in ("auto", "cg", "gaunt_grid", "gaunt_fourier")
    }
    x, y = (side.randn(4, generator=generator, dtype=torch.float64) for side in sides[:2])
    reference = GauntTensorProduct(*lmax, 3).double()
    expected = reference(x.unflatten(-1, (-1, 3)), y.unflatten(-1, (-1, 3))).flatten(-2)
    for product in found.values():
        assert_close(product(x, y), expected, **NEAR)
    assert found["auto"].plan.method in ("cg", "gaunt_grid", "gaunt_fourier")
    assert TensorProduct(*sides, method="gaunt_grid").weights == "separable"


def test_ways_over_the_sphere_agree_for_both_parities(generator):
    both = [Irreps("3x0e + 3x1o + 3x2e + 3x0o + 3x1e + 3x2o")] * 3
    x, y = (both[0].randn(4, generator=generator, dtype=torch.float64) for _ in range(2))
    methods = ("auto", "cg", "gaunt_grid", "gaunt_fourier")
    found = [TensorProduct(*both, weights="separable", method=method).double()(x, y) for method in methods]
    for z in found[1:]:
        assert_close(z, found[0], **NEAR)


def test_other_maps_run_by_name_only(generator):
    free = [Irreps.spherical(2, 3, parity=None)] * 3
    both = [Irreps("3x0e + 3x1o + 3x2e + 3x0o + 3x1e + 3x2o")] * 3
    x, y = (free[0].randn(4, generator=generator, dtype=torch.float64) for _ in range(2))
    u, v = (both[0].randn(4, generator=generator, dtype=torch.float64) for _ in range(2))
    shape = {"x": x.unflatten(-1, (-1, 3)), "y": y.unflatten(-1, (-1, 3))}

    matrix = TensorProduct(*free, method="matrix").double()
    assert_close(matrix(x, y), FusedMatrixProduct(2, 2, 2, 3, False).double()(**shape).flatten(-2), **NEAR)
    halves = [z.unflatten(-1, (2, -1, 3)) for z in (u, v)]
    matrix = TensorProduct(*both, method="matrix").double()
    assert_close(matrix(u, v), FusedMatrixProduct(2, 2, 2, 3).double()(*halves).flatten(-3), **NEAR)
    vector = TensorProduct(*both, method="vector", generator=torch.Generator().manual_seed(3)).double()
    other = VectorSignalProduct(2, 2, 2, 3, parity=True, generator=torch.Generator().manual_seed(3)).double()
    assert_close(vector(u, v), other(*halves).flatten(-3), **NEAR)
    vector = TensorProduct(*free, method="vector", generator=torch.Generator().manual_seed(3)).double()
    other = VectorSignalProduct(2, 2, 2, 3, generator=torch.Generator().manual_seed(3)).double()
    assert_close(vector(x, y), other(**shape).flatten(-2), **NEAR)
    assert TensorProduct(*free, weights="separable").plan.method not in ("matrix", "vector")
    with pytest.raises(ValueError, match=r"'vector' over O\(3\) takes .* got 3x0e"):
        TensorProduct(*[Irreps.spherical(2, 3)] * 3, method="vector")
    for sides in (Irreps.spherical(2, 3), Irreps("3x0e + 3x0o + 3x1e + 3x1o")):
        with pytest.raises(ValueError, match=r"of natural parity, then all .* without parities, it takes"):
            TensorProduct(*[sides] * 3, method="matrix")


@pytest.mark.parametrize("weights", ["external", "shared", "none"])
@pytest.mark.parametrize("method", ["gaunt_grid", "gaunt_fourier", "matrix", "vector"])
def test_weights_of_paths_are_never_given_up(method, weights, generator):
    sides = [Irreps.spherical(2, 3)] * 3
    with pytest.raises(ValueError, match="no weight for each path; weights='separable' asks"):
        TensorProduct(*sides, mode="uuu", weights=weights, method=method, generator=generator)
    plan = TensorProduct(*sides, mode="uuu", weights=weights, generator=generator).plan
    assert plan.method == "cg"


def test_auto_takes_the_frame_only_where_it_is_the_same_map(generator):
    sides = [Irreps.spherical(4, 32), Irreps.spherical(4), Irreps.spherical(4, 32)]
    assert fully_connected(*sides, harmonics=True, generator=generator).plan.method == "so2"
    assert fully_connected(*sides, generator=generator).plan.method == "cg"  # any second input
    assert TensorProduct(*sides, harmonics=True).plan.method == "cg"  # weights per sample, depth-wise


def test_plan_says_what_runs_and_why(generator):
    product = fully_connected(*EDGE[0], harmonics=True, method="cg", generator=generator)
    text = str(product.plan)
    assert "shared weights for each path, 11 paths" in text
    assert "cg " in text.splitlines()[1]
    assert "<- runs" in text.splitlines()[1]
    assert "flops" in text
    assert "gaunt_grid    no: no weight for each path" in text
    assert "by cg" in repr(product)


def test_errors_of_methods(generator):
    natural = [Irreps.spherical(2, 3)] * 3
    with pytest.raises(ValueError, match="method 'fast' is not one of auto, cg"):
        TensorProduct(*natural, method="fast")
    with pytest.raises(ValueError, match="not known to be harmonics of one direction"):
        fully_connected(*natural, method="so2", generator=generator)
    with pytest.raises(ValueError, match="it needs mode 'uvw' with shared weights, not 'uvu' with 'external'"):
        TensorProduct(natural[0], Irreps.spherical(2), natural[0], harmonics=True, method="so2")
    with pytest.raises(ValueError, match="once each, in equal channels"):
        fully_connected("2x0e + 3x1o", "0e + 1o", "2x0e", harmonics=True, method="so2", generator=generator)
    with pytest.raises(ValueError, match="0e holds no direction"):
        fully_connected("2x0e", "0e", "2x0e", harmonics=True, method="so2", generator=generator)
    with pytest.raises(ValueError, match="parities must be natural"):
        TensorProduct(*["2x0e + 2x1e"] * 3, method="gaunt_grid")
    with pytest.raises(ValueError, match=r"nothing computes 2x0e \+ 3x1o .* in equal channels"):
        TensorProduct(*["2x0e + 3x1o"] * 3, weights="separable")
    with pytest.raises(ValueError, match="degrees 1 and 1 give none above their sum, not 3"):
        TensorProduct(Irreps.spherical(1), Irreps.spherical(1), Irreps.spherical(3), weights="separable")
    with pytest.raises(ValueError, match="separable weights leave no choice of paths"):
        TensorProduct(*natural, weights="separable", mode="uvw")
    product = fully_connected(*EDGE[0], harmonics=True, method="so2", generator=generator)
    with pytest.raises(ValueError, match="1 edges have length zero"):
        product(torch.zeros(2, 27), spherical_harmonics(torch.tensor([[0.0, 0, 1], [0, 0, 0]]), 2))


def test_frame_method_compiles(generator):
    product = fully_connected(*EDGE[0], harmonics=True, method="so2", generator=generator)
    x = EDGE[0][0].randn(5, generator=generator)
    Y = spherical_harmonics(torch.randn(5, 3, generator=generator), 2)
    compiled = torch.compile(product, fullgraph=True, backend="eager")
    assert_close(compiled(x, Y), product(x, Y), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("weights", ["external", "shared"])
def test_chunks_of_samples_change_nothing(weights, generator, monkeypatch):
    sides = ["3x0e + 3x1o + 3x2e"] * 3
    product = TensorProduct(*sides, mode="uuu", weights=weights, generator=generator).double()
    x, y = (product.irreps_in1.randn(90, generator=generator, dtype=torch.float64) for _ in range(2))
    w = [torch.randn(90, product.weight_numel, generator=generator, dtype=torch.float64)] * (weights == "external")
    whole = product(x, y, *w)
    monkeypatch.setattr("intertwine.so3.cg_product.CACHED", 1)
    assert_close(product(x, y, *w), whole, **NEAR)
