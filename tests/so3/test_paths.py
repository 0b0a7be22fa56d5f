"""Which couplings exist, their number, scales and order."""

import numpy as np
import pytest

from intertwine.so3 import EdgeConv, Irrep, Irreps, TensorProduct
from intertwine.so3.paths import edge_plan


def both(lmax: int) -> Irreps:
    return Irreps([(1, Irrep(l, p)) for l in range(lmax + 1) for p in (1, -1)])


def test_counts_of_paths():
    natural = [len(EdgeConv(Irreps.spherical(L), L, Irreps.spherical(L)).paths) for L in range(7)]
    assert natural == [1, 4, 11, 23, 42, 69, 106]
    every = [len(EdgeConv(s, L, s).paths) for L in range(7) for s in [Irreps.spherical(L, parity=None)]]
    assert every == [1, 5, 15, 34, 65, 111, 175]
    wide = [
        len(EdgeConv(Irreps.spherical(L, parity=None), L, Irreps.spherical(2 * L, parity=None)).paths)
        for L in range(1, 5)
    ]
    assert wide == [6, 19, 44, 85]
    assert len(EdgeConv(both(2), 2, both(2)).paths) == 2 * 15


def test_order_of_paths_is_frozen():
    conv = EdgeConv("2x0e + 2x1o", 1, "0e + 1o + 1e")
    assert [(i, l, str(irrep)) for i, l, irrep in conv.paths] == [
        (0, 0, "0e"),
        (0, 1, "1o"),
        (1, 1, "0e"),
        (1, 0, "1o"),
        (1, 1, "1e"),
    ]
    assert str(conv.rep_out) == "4x0e + 4x1o + 2x1e"
    assert conv.weight_shape == (5, 2)


def test_output_irreps_keep_the_order_given_and_ignore_channels():
    conv = EdgeConv("3x0e", 2, "7x2e + 0e + 1o + 5x1e")
    assert str(conv.rep_out) == "3x2e + 3x0e + 3x1o"  # 1e is out of reach


def test_unequal_channels_have_flat_weights():
    conv = EdgeConv("3x0e + 2x1o", 1, "0e + 1o")
    assert str(conv.rep_out) == "5x0e + 5x1o"
    assert conv.weight_shape == (3 + 3 + 2 + 2,)


def test_indices_of_the_plan_are_permutations():
    plan = edge_plan(Irreps("3x0e + 2x1o + 2x1e + 0o"), 2, Irreps("1o + 0e + 2o + 1e + 0o"))
    assert sorted(plan.entries) == list(range(plan.dim_out))
    assert sorted(set(plan.entry_weights)) == list(range(plan.weights))
    assert plan.table.flags.writeable is False


def test_blocks_of_one_degree_share_their_constants():
    plan = edge_plan(Irreps("4x1o + 3x1o"), 2, both(2))
    assert plan.sources[0].table == plan.sources[1].table
    assert plan.table.shape == (9, plan.sources[0].dim * plan.sources[0].rows)


def test_weights_are_taken_as_they_are_where_outputs_are_sorted_by_degree():
    assert edge_plan(Irreps("4x1o + 2x1e"), 2, both(2)).in_order
    plan = edge_plan(Irreps("4x1o + 2x1e"), 2, Irreps("2o + 0e + 1e"))
    assert not plan.in_order
    assert sorted(plan.order) == list(range(plan.weights))


@pytest.mark.parametrize("normalization", ["component", "norm"])
@pytest.mark.parametrize("path_normalization", ["element", "path"])
def test_scales_are_e3nn_s(o3, normalization, path_normalization):
    one, two, out = "2x0e + 2x1o + 3x1e", "1x0e + 4x1o + 2x2e", "2x0e + 2x1o + 3x1e + 2x1o"
    options = {"path_normalization": path_normalization}
    ours = TensorProduct(one, two, out, normalization=normalization, **options)
    instructions = [(p.i1, p.i2, p.i3, "uvu", True) for p in ours.paths]
    options["irrep_normalization"] = normalization
    theirs = o3.TensorProduct(
        one, two, out, instructions, shared_weights=False, internal_weights=False, compile_left_right=False, **options
    )
    expected = [i.path_weight for i in theirs.instructions]
    # e3nn's CG has Frobenius norm 1 and its path_weight is the same factor
    np.testing.assert_allclose([p.scale for p in ours.paths], expected, rtol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match="no path leads from 2x0e and degrees up to 0 to 1x1o"):
        EdgeConv("2x0e", 0, "1o")
    with pytest.raises(TypeError, match=r"belongs to O\(3\) and .* to SO\(3\)"):
        EdgeConv("2x0e", 1, "1")
    with pytest.raises(ValueError, match="lmax_edge: a degree must be"):
        EdgeConv("2x0e", -1, "0e")
    with pytest.raises(ValueError, match="need a term each"):
        EdgeConv("", 1, "0e")
    with pytest.raises(ValueError, match=r"path \(0, 0, 0\): 1o is not in 0e ⊗ 0e"):
        TensorProduct("0e", "0e", "1o", [(0, 0, 0)])
    with pytest.raises(ValueError, match=r"in mode uvu .* cannot lead from 2x0e and 1x0e to 3x0e"):
        TensorProduct("2x0e", "0e", "3x0e", [(0, 0, 0)])
    with pytest.raises(ValueError, match="no path leads from 1x0e ⊗ 1x0e to 1x1o"):
        TensorProduct("0e", "0e", "1o")
    with pytest.raises(ValueError, match="'integral'"):
        TensorProduct("0e", "0e", "0e", normalization="integral")
