"""One weight for every n: the same diagrams on spaces of another size."""

import pytest
import torch

from intertwine import maps, nn
from intertwine.groups import SO, A, Cyclic, GLPlus, Lorentz, O, S, Sp
from intertwine.so3 import Irreps

float64 = torch.float64


@pytest.mark.parametrize(("group", "n"), [(S(4), 7), (S(7), 4), (A(6), 7), (O(3), 5), (O(5), 2), (Sp(4), 6)], ids=str)
def test_labels_stay_and_the_space_is_that_of_the_other_size(group, n):
    V = group.V
    space = maps.between(2 * V**2 + V, V**2 + 3 * V)
    moved = space.at_size(n)
    other = type(group)(n)
    assert moved.rep_in == 2 * other.V**2 + other.V
    assert (moved.dim, [b.labels for b in moved.blocks]) == (space.dim, [b.labels for b in space.blocks])
    assert moved.at_size(group.dim_V).labels == space.labels
    if group.dim_V >= 4:
        assert moved.labels == maps.between(moved.rep_in, moved.rep_out).labels


@pytest.mark.parametrize("group", [S(4), O(4), Sp(4), GLPlus(3)], ids=str)
def test_a_moved_map_is_equivariant(group, generator):
    V = group.V
    space = maps.between(V * V.dual + 2 * V, 2 * V * V.dual + 3 * V + group.trivial)
    moved = space.at_size(group.dim_V + 2)
    w = torch.randn(space.dim, generator=generator, dtype=float64)
    x = moved.rep_in.randn(3, generator=generator, dtype=float64)
    g = moved.rep_in.group.sample(3, generator=generator)
    gap = moved.apply(moved.rep_in.act(g, x), w) - moved.rep_out.act(g, moved.apply(x, w))
    assert gap.abs().max() < 1e-9


def test_a_subspace_grows_but_nothing_is_lost():
    """Order 2 to 2 of S(2) has 8 maps; at n = 5 they are 8 of 15, at n = 2 the 15 of S(5) do not exist."""
    V = S(2).V
    grown = maps.between(V**2, V**2).at_size(5)
    assert (grown.dim, "8 of the 15 there are" in grown.explain()) == (8, True)
    assert "8 of the 15 there are" in grown.transpose.explain()
    with pytest.raises(ValueError, match=r"V\^2 -> V\^2 of S\(2\) has no map \"partition 1-2 1' 2'\""):
        maps.between(S(5).V ** 2, S(5).V ** 2).at_size(2)
    with pytest.raises(ValueError, match="has no map"):
        maps.between(O(3).V ** 2, O(3).V ** 2).at_size(1)
    with pytest.raises(ValueError, match=r"has no map .jellyfish"):  # a head has as many legs as there are things
        maps.between(A(3).V, A(3).V).at_size(6)
    with pytest.raises(ValueError, match=r"has no map .brauer\+free"):
        maps.between(SO(2).V, SO(2).V).at_size(3)
    assert maps.between(SO(4).V, SO(4).V ** 2 + SO(4).V).at_size(5).dim == 1


@pytest.mark.parametrize("basis", ["spanning", "orbit"])
def test_other_bases(basis, generator):
    """A grown orbit basis are the indicators of the same orbits."""
    moved = maps.between(S(3).V ** 2, S(3).V, basis=basis).at_size(5)
    whole = maps.between(S(5).V ** 2, S(5).V, basis=basis)
    place = [whole.blocks[0].labels.index(label) for label in moved.blocks[0].labels]
    assert torch.equal(moved.blocks[0].dense(), whole.blocks[0].dense()[place])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: maps.between(Cyclic(4).V, Cyclic(4).V), "not one of a family"),
        (lambda: maps.between(Lorentz(1, 3).V, Lorentz(1, 3).V), "not one of a family"),
        (lambda: maps.between(S(4).regular, S(4).regular), "not made of V"),
        (lambda: maps.between(Irreps("2x1o"), Irreps("1x1o")), "not made of V"),
        (lambda: maps.between(S(4).V, S(4).V, method="solver"), "only diagrams exist for any n"),
        (lambda: maps.between(S(4).V, S(4).V, basis="orthonormal"), "only diagrams exist for any n"),
    ],
)
def test_what_has_no_other_size_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make().at_size(5)


def test_impossible_sizes():
    for space, n in [(maps.between(Sp(4).V, Sp(4).V), 3), (maps.between(S(4).V, S(4).V), 0)]:
        with pytest.raises(ValueError):
            space.at_size(n)


# --- layers


def test_a_layer_shares_its_parameters(generator):
    layer = nn.Linear(2 * S(5).V ** 2 + S(5).V, 3 * S(5).V, generator=generator).double()
    moved = layer.at_size(9)
    assert moved.weight is layer.weight
    assert moved.bias is layer.bias
    x = moved.rep_in.randn(4, generator=generator, dtype=float64)
    assert moved(x).shape == (4, 27)
    moved(x).square().sum().backward()
    assert layer.weight.grad.abs().max() > 0
    assert layer.at_size(5).label_hash == layer.label_hash
    with pytest.raises(RuntimeError, match="was saved for another pair"):
        moved.load_state_dict(layer.state_dict())
    bare = nn.Linear(2 * S(5).V, S(5).V, bias=False)
    assert bare.at_size(6).bias is None
    orthonormal = nn.Linear(S(5).V, S(5).V, basis="orthonormal")
    with pytest.raises(ValueError, match="only diagrams"):
        orthonormal.at_size(6)


def test_means_carry_over_and_sums_do_not(generator):
    """A feature that is the same for every member of the set: with means, the same answer for sets of any size."""
    answers = {}
    for normalize in ("mean", "rms"):
        layer = nn.Linear(2 * S(5).V ** 2 + S(5).V, 3 * S(5).V + S(5).trivial, normalize=normalize, generator=generator)
        torch.nn.init.normal_(layer.bias, generator=generator)
        layer = layer.double()
        for n in (5, 40):
            moved = layer.at_size(n)
            answers[normalize, n] = moved(torch.ones(moved.rep_in.dim, dtype=float64))
    for normalize, gap in (("mean", 0.0), ("rms", 1.0)):
        few, many = answers[normalize, 5], answers[normalize, 40]
        for a, b in zip(few.split([15, 1]), many.split([120, 1])):
            difference = (a.view(-1, max(1, len(a) // 5))[0] - b.view(-1, max(1, len(b) // 40))[0]).abs().max()
            assert difference < 1e-10 if gap == 0 else difference > 0.1
