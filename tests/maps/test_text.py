"""What `intertwine basis` prints and draws."""

import numpy as np
import pytest

from intertwine import maps
from intertwine.groups import SO, O, S
from intertwine.maps.plot import plot_basis
from intertwine.maps.text import describe, number, shown


def test_permutations_are_written_out():
    V = S(3).V
    text = describe(maps.between(V**2, V, method="solver"))
    assert text.startswith("V^2 -> V of S(3): 5 weights\n  V^2 -> V  5 maps, by ")
    assert "map 2 of 5: 0|0,1\n  . 1 1 | . . . | . . .\n  . . . | 1 . 1 | . . .\n  . . . | . . . | 1 1 ." in text


def test_numerical_bases_are_shown_with_fractions():
    V = SO(3).V
    space = maps.between(V**2, V, method="solver")
    assert "in echelon form\n   .  .  . |  .  .  1 |  . -1  ." in describe(space)
    (block,) = space.blocks
    matrices, echelon = shown(block)
    assert echelon
    assert set(np.unique(matrices)) == {-1, 0, 1}
    ratio = matrices[0][matrices[0] != 0] / block.kernel.dense()[0][matrices[0] != 0]
    assert np.ptp(ratio) < 1e-12


def test_large_matrices_are_listed_by_entries(monkeypatch):
    V = S(7).V
    text = describe(maps.between(V**2, V, method="solver"), most=2)
    assert "  y[0] += 1 x[0,1]" in text
    assert "and 34 more entries" in text
    assert "V^2 -> V: 3 more maps" in text
    monkeypatch.setattr("intertwine.maps.text.MOST_ENTRIES", 1000)
    with pytest.raises(ValueError, match="5 matrices of 7 x 49 are too many to show"):
        describe(maps.between(V**2, V, method="solver"))


def test_numbers():
    assert [number(v) for v in (0.0, 1.0, -2.0, 0.5, 2 / 3, np.pi)] == [".", "1", "-2", "1/2", "2/3", "3.142"]


@pytest.mark.parametrize(
    "space",
    [
        lambda: maps.between(S(5).V ** 2, S(5).V),
        lambda: maps.between(SO(3).V ** 2 + SO(3).V, SO(3).V + SO(3).trivial),
        lambda: maps.between(2 * O(2).irrep(1, 1), O(2).irrep(1, 1)),
        lambda: maps.invariants(S(3).V ** 4),
    ],
)
def test_plot(space, tmp_path):
    space = space()
    path = tmp_path / "basis.png"
    figure = plot_basis(space, path)
    assert path.stat().st_size > 5000
    titles = [text.get_text() for part in [figure, *figure.subfigs] for text in part.texts]
    title = figure._suptitle.get_text()
    assert f"{space.dim} weights" in title
    assert titles


def test_plot_as_svg(tmp_path):
    plot_basis(maps.between(SO(2).irrep(1), SO(2).irrep(1)), tmp_path / "basis.svg")
    assert "<svg" in (tmp_path / "basis.svg").read_text()


def test_plot_numbers_the_shared_weights():
    figure = plot_basis(maps.between(S(3).V, S(3).V, method="solver"))
    (axes,) = figure.subfigs[0].subfigs[0].axes
    assert [text.get_text() for text in axes.texts] == list("122212221")


def test_nothing_to_plot():
    with pytest.raises(ValueError, match="has no basis to draw"):
        plot_basis(maps.between(O(3).V, O(3).V ** 2, allow_zero=True))
