"""Irreps: the notation, its errors, the layout, and the laws of a representation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from intertwine import so3
from intertwine.groups import SO, O
from intertwine.reps import Rep
from intertwine.so3 import Irrep, Irreps
from intertwine.so3.irreps import as_irrep

EXACT = {"atol": 1e-12, "rtol": 0.0}
blocks = st.lists(
    st.tuples(st.integers(1, 3), st.builds(Irrep, st.integers(0, 4), st.sampled_from([1, -1]))), min_size=1, max_size=4
)


@pytest.mark.parametrize(
    ("text", "printed", "dim"),
    [
        ("8x0e + 4x1o", "8x0e + 4x1o", 20),
        ("8x0e+4x1o", "8x0e + 4x1o", 20),
        ("1o", "1x1o", 3),
        (" 2 x 3e ", "2x3e", 14),
        ("0e+1o+0e", "1x0e + 1x1o + 1x0e", 5),
        ("8x0 + 4x1", "8x0 + 4x1", 20),
        ("0x1o + 2x0e", "2x0e", 2),
        ("12x11o", "12x11o", 276),
        ("", "", 0),
    ],
)
def test_notation(text, printed, dim):
    irreps = Irreps(text)
    assert (str(irreps), irreps.dim) == (printed, dim)
    assert Irreps(str(irreps)) == irreps


def test_group_is_read_from_the_parities():
    assert Irreps("1o").group == O(3)
    assert Irreps("1").group == SO(3)
    assert Irreps("").group == O(3)


@pytest.mark.parametrize(
    ("text", "position"),
    [("8x0e + 4xo", 10), ("8x0e 4x1o", 6), ("8y0e", 2), ("1o+", 4), ("x1", 1), (" +1e", 2), ("8x0z", 4), ("1oe", 3)],
)
def test_errors_point_at_the_character(text, position):
    with pytest.raises(ValueError, match=f"at character {position}:") as error:
        Irreps(text)
    shown, caret = str(error.value).splitlines()[-2:]
    assert shown == f"  {text}"
    assert caret.index("^") == position + 1  # two spaces in front, counted from one


@pytest.mark.parametrize("mixed", ["1o + 1", "0 + 2e", [(1, "1o"), (2, Irrep(0))]])
def test_mixing_parities_is_a_type_error(mixed):
    with pytest.raises(TypeError, match=r"belongs to S?O\(3\) and .* to S?O\(3\); write every parity"):
        Irreps(mixed)


def test_mixing_groups_in_products_and_sums():
    with pytest.raises(TypeError, match="1o belongs to O\\(3\\) and 1 to SO\\(3\\)"):
        Irrep(1, -1) * Irrep(1)
    with pytest.raises(ValueError, match=r"cannot add a representation of O\(3\) to one of SO\(3\)"):
        Irreps("1o") + Irreps("1")


def test_bad_values():
    with pytest.raises(ValueError, match="at least 0, got -1"):
        Irrep(-1, 1)
    with pytest.raises(ValueError, match=r"parity must be 1 .* got 0"):
        Irrep(1, 0)
    with pytest.raises(ValueError, match="expected pairs"):
        Irreps([("1o", 8)])
    with pytest.raises(ValueError, match="name of one irrep"):
        as_irrep("2x1o")
    with pytest.raises(TypeError, match="not written in irreps"):
        Irreps(O(3).V)
    with pytest.raises(ValueError, match="no highest degree"):
        _ = Irreps("").lmax
    with pytest.raises(ValueError, match="lmax: a degree must be"):
        Irreps.spherical(-1)


def test_other_ways_to_write_them():
    same = Irreps("8x0e + 4x1o")
    assert Irreps([(8, "0e"), (4, Irrep(1, -1))]) == same
    assert Irreps(same) == same
    assert Irreps(Irrep(1, -1)) == Irreps("1o")
    assert Irreps.spherical(2, 3) == Irreps("3x0e + 3x1o + 3x2e")
    assert Irreps.spherical(2, 3, parity=1) == Irreps("3x0e + 3x1e + 3x2e")
    assert Irreps.spherical(2, 3, parity=None) == Irreps("3x0 + 3x1 + 3x2")
    assert hash(same) == hash(Irreps(str(same)))


def test_products_follow_the_triangle_and_the_parities():
    assert Irrep(1, -1) * Irrep(2, 1) == [Irrep(1, -1), Irrep(2, -1), Irrep(3, -1)]
    assert Irrep(1) * Irrep(1) == [Irrep(0), Irrep(1), Irrep(2)]


@given(blocks)
def test_the_product_of_characters_is_the_sum_over_the_product(found):
    g = O(3).sample(3, generator=torch.Generator().manual_seed(0))
    (_, a), (_, b) = found[0], found[-1]
    product = Irreps([(1, irrep) for irrep in a * b])
    assert_close(Irreps(a).character(g) * Irreps(b).character(g), product.character(g), atol=1e-10, rtol=0.0)


def test_algebra_stays_irreps_where_it_can():
    a = Irreps("2x0e + 1o")
    assert isinstance(a + a, Irreps)
    assert isinstance(3 * a, Irreps)
    assert str(3 * a) == "6x0e + 3x1o"
    assert isinstance(a.dual, Irreps)
    assert a.dual == a
    assert type(a * a) is Rep  # two component axes: not decomposed
    assert (a * a).dim == 25
    assert a.count("0e") == 2
    assert a.count("2e") == 0


def test_features_are_components_first(generator):
    irreps = Irreps("2x1o + 3x0e")
    x = torch.arange(9.0)
    first, second = irreps.split(x)
    assert first.tolist() == [[0, 1], [2, 3], [4, 5]]  # rows x, y, z; columns channels
    assert second.tolist() == [[6, 7, 8]]
    assert torch.equal(irreps.join([first, second]), x)
    R = so3.random_rotation(generator=generator)
    moved = irreps.split(irreps.act(R, x.double()))
    assert_close(moved[0], R @ first.double(), **EXACT)
    assert_close(moved[1], second.double(), **EXACT)


def test_sort_and_simplify_move_the_entries(generator):
    irreps = Irreps("2x2e + 1e + 3x0o + 1o + 2x0e + 1o")
    R = -so3.random_rotation(generator=generator)
    x = irreps.randn(4, generator=generator, dtype=torch.float64)
    ordered, perm = irreps.sort()
    assert str(ordered) == "3x0o + 2x0e + 1x1o + 1x1o + 1x1e + 2x2e"
    assert_close(irreps.act(R, x)[..., perm], ordered.act(R, x[..., perm]), **EXACT)
    simple, join = ordered.simplify()
    assert str(simple) == "3x0o + 2x0e + 2x1o + 1x1e + 2x2e"
    assert_close(ordered.act(R, x[..., perm])[..., join], simple.act(R, x[..., perm][..., join]), **EXACT)
    assert Irreps("").sort()[1].shape == (0,)
    assert Irreps("").simplify()[1].shape == (0,)


def test_sort_is_e3nn_s(o3):
    text = "1x2o+1x1e+1x0o+1x2e+1x1o+1x0e"
    assert str(Irreps(text).sort()[0]).replace(" ", "") == str(o3.Irreps(text).sort().irreps)


@given(blocks, st.integers(0, 10))
def test_matrices_are_an_orthogonal_homomorphism(found, seed):
    irreps = Irreps([(c, irrep) for c, irrep in found])
    g, h = O(3).sample(2, generator=torch.Generator().manual_seed(seed))
    M = irreps.matrix(g)
    assert_close(M @ irreps.matrix(h), irreps.matrix(g @ h), **EXACT)
    assert_close(M.mT @ M, torch.eye(irreps.dim, dtype=torch.float64), **EXACT)
    assert_close(irreps.character(g), M.trace(), atol=1e-11, rtol=0.0)


@pytest.mark.parametrize(("name", "sign"), [("0e", 1), ("0o", -1), ("1o", -1), ("1e", 1), ("2e", 1), ("2o", -1)])
def test_inversion_acts_by_the_parity(name, sign):
    irreps = Irreps(name)
    assert_close(
        irreps.matrix(-torch.eye(3, dtype=torch.float64)), sign * torch.eye(irreps.dim, dtype=torch.float64), **EXACT
    )


@pytest.mark.parametrize("text", ["0o + 1e + 2x2o", "0 + 1 + 3"])
def test_algebra_is_the_slope_of_the_group(text):
    irreps = Irreps(text)
    for X in irreps.group.lie_algebra():
        expected = torch.linalg.matrix_exp(irreps.algebra_matrix(0.4 * X))
        assert_close(irreps.matrix(torch.linalg.matrix_exp(0.4 * X)), expected, **EXACT)


def test_trivial_and_signed():
    assert Irreps("3x0e").is_permutation
    assert not Irreps("0o").is_permutation
    assert Irreps("0e + 0o").is_signed_permutation
    assert not Irreps("1o").is_signed_permutation
    assert Irreps("1o + 2e").is_orthogonal
    assert [irrep.is_trivial for irrep, _ in Irreps("0e + 0o + 1e").blocks] == [True, False, False]
    g = O(3).sample(4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Irreps("2x0e").act(g, torch.ones(4, 2)), torch.ones(4, 2))
