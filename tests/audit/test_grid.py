import math

import pytest
import torch

from intertwine.audit import OrbitGrid
from intertwine.audit.grid import fibonacci_sphere, mollweide
from intertwine.groups import SE, SO, Dihedral, E, O, S

GRIDS = [
    OrbitGrid.circle(12),
    OrbitGrid.circle(7, group=E(3), plane=(2, 0)),
    OrbitGrid.torus(3, 4, 2.0),
    OrbitGrid.torus(3, 3, 1.0, group=E(3)),
    OrbitGrid.finite(Dihedral(4)),
    OrbitGrid.finite(S(3)),
    OrbitGrid.sphere_axis_angle(10, 5),
    OrbitGrid.sphere_axis_angle(10, 5, group=E(3)),
    OrbitGrid.plane(SE(2), SE(2).lie_algebra()[0], SE(2).lie_algebra()[1], 5),
]


@pytest.mark.parametrize("grid", GRIDS, ids=lambda g: f"{g.kind} {g.group}")
def test_a_grid_holds_group_elements_with_places_and_weights(grid):
    assert grid.group.contains(grid.elements)
    assert grid.group.batch_shape(grid.elements) == (len(grid),)
    assert len(set(grid.labels)) == len(grid.labels) or grid.kind == "sphere"
    assert grid.weight.sum() == pytest.approx(1)
    assert math.prod(grid.shape) >= len(grid)
    assert all(len(t) == len(grid) for t in grid.coordinates.values())


def test_circle_is_counter_clockwise_with_exact_quarter_turns():
    grid = OrbitGrid.circle(8)
    assert grid.labels[:3] == ["0°", "45°", "90°"]
    assert grid.elements[2].tolist() == [[0, -1], [1, 0]]
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)
    turned = grid.elements @ x
    angles = torch.atan2(turned[:, 1], turned[:, 0]) * 180 / math.pi % 360
    torch.testing.assert_close(angles, grid.coordinates["angle"])


def test_sphere_weights_estimate_the_haar_average():
    """E[tr ρ(g)] = 0 and E[(tr ρ(g))²] = 1 over SO(3)."""
    grid = OrbitGrid.sphere_axis_angle(50, 37)
    trace = grid.elements.diagonal(dim1=1, dim2=2).sum(1)
    assert (grid.weight * trace).sum() == pytest.approx(0, abs=5e-3)
    assert (grid.weight * trace.square()).sum() == pytest.approx(1, abs=5e-3)


def test_axes_are_even_and_the_map_keeps_areas():
    axes = fibonacci_sphere(2000)
    assert axes.norm(dim=1).sub(1).abs().max() < 1e-12
    assert (axes.mT @ axes / 2000 - torch.eye(3, dtype=torch.float64) / 3).abs().max() < 1e-3
    flat = mollweide(axes)
    assert ((flat[:, 0] / 2).square() + flat[:, 1].square()).max() <= 1 + 1e-9
    # equal area: the share of points in a smaller ellipse is its share of the area
    for scale in (0.3, 0.6, 0.9):
        inside = ((flat[:, 0] / 2).square() + flat[:, 1].square()) <= scale**2
        assert inside.double().mean() == pytest.approx(scale**2, abs=0.01)
    poles = mollweide(torch.tensor([[0.0, 0, 1], [0, 0, -1], [1, 0, 0]], dtype=torch.float64))
    torch.testing.assert_close(poles, torch.tensor([[0.0, 1], [0, -1], [0, 0]], dtype=torch.float64), atol=1e-6, rtol=0)


def test_tiles_of_a_dihedral_group_are_turns_by_flips():
    grid = OrbitGrid.finite(Dihedral(4))
    assert grid.shape == (2, 4)
    named = OrbitGrid.finite(Dihedral(2), labels=["a", "b", "c", "d"], columns=4)
    assert named.shape == (1, 4)
    assert named.labels[3] == "d"


def test_errors():
    with pytest.raises(ValueError, match="n ≥ 3"):
        OrbitGrid.circle(2)
    with pytest.raises(ValueError, match="two different axes"):
        OrbitGrid.circle(8, group=SO(3), plane=(0, 3))
    with pytest.raises(ValueError, match=r"turns need .* got S\(3\)"):
        OrbitGrid.circle(8, group=S(3))
    with pytest.raises(ValueError, match=r"needs SE\(d\)"):
        OrbitGrid.torus(3, 3, 1.0, group=O(2))
    with pytest.raises(ValueError, match="max_shift > 0"):
        OrbitGrid.torus(3, 3, -1.0)
    with pytest.raises(ValueError, match=r"needs SO\(3\)"):
        OrbitGrid.sphere_axis_angle(group=SO(2))
    with pytest.raises(ValueError, match="at least 2 axes"):
        OrbitGrid.sphere_axis_angle(1, 5)
    with pytest.raises(ValueError, match="6 elements of S\\(3\\) but 2 labels"):
        OrbitGrid.finite(S(3), labels=["a", "b"])
    with pytest.raises(ValueError, match=r"leaves SO\(2\)"):
        OrbitGrid.plane(SO(2), torch.eye(2), torch.eye(2), 3)
    with pytest.raises(ValueError, match="n ≥ 2"):
        OrbitGrid.plane(SO(2), torch.eye(2), torch.eye(2), 1)
