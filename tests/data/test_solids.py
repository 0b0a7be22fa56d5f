"""Points on solids: where they must lie, that they fill the surface, and the two helices."""

import math

import pytest
import torch

from intertwine.data import constellations, primitive_shapes
from intertwine.reps import Points


def upright(points=4000, **options):
    made = primitive_shapes(8, points, seed=1, rotate=False, dtype=torch.float64, **options)
    return dict(zip(made.names, made.pos))


def test_points_lie_on_their_solids():
    clouds = upright()
    x, y, z = clouds["torus"].unbind(1)
    inside = {
        "sphere": clouds["sphere"].norm(dim=1) - 1,
        "cube": clouds["cube"].abs().amax(1) - 1,
        "cylinder": torch.maximum(clouds["cylinder"][:, :2].norm(dim=1), clouds["cylinder"][:, 2].abs()) - 1,
        "torus": ((x**2 + y**2).sqrt() - 1).square() + z**2 - 0.16,
    }
    for name, gap in inside.items():
        assert gap.abs().max() < 1e-12, name
    r, h = clouds["cone"][:, :2].norm(dim=1), clouds["cone"][:, 2]
    assert torch.minimum((h + 1).abs(), (h - 1 + 2 * r).abs()).max() < 1e-12 and r.max() <= 1
    normals = -torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64) / math.sqrt(3)
    assert ((clouds["tetrahedron"] @ normals.T).amax(1) - 1 / math.sqrt(3)).abs().max() < 1e-12


def test_points_are_uniform_by_area():
    """Shares of the surface, to four deviations of 4000 draws."""
    clouds, tol = upright(), 4 * 0.5 / math.sqrt(4000)
    for axis in range(3):
        assert abs((clouds["sphere"][:, axis] > 0.5).double().mean() - 0.25) < tol  # Archimedes
        assert abs((clouds["cube"][:, axis] == 1).double().mean() - 1 / 6) < tol
    assert abs((clouds["cylinder"][:, 2].abs() == 1).double().mean() - 1 / 3) < tol
    assert abs((clouds["cone"][:, 2] == -1).double().mean() - 1 / (1 + math.sqrt(5))) < tol
    outside = (clouds["torus"][:, :2].norm(dim=1) > 1).double().mean()
    assert abs(outside - (0.5 + 0.4 / math.pi)) < tol
    assert clouds["tetrahedron"].mean(0).abs().max() < 4 * clouds["tetrahedron"].std() / math.sqrt(4000)


def test_helices_are_mirror_images():
    clouds = upright()
    for name, sense in (("helix right", 1), ("helix left", -1)):
        x, y, z = clouds[name].unbind(1)
        angle = sense * 2 * math.pi * (z + 1)
        torch.testing.assert_close(torch.stack([x, y]), torch.stack([angle.cos(), angle.sin()]) / 2)


def test_rotations_are_those_given_and_seeds_repeat():
    turned, still = (primitive_shapes(20, 16, seed=3, rotate=r, dtype=torch.float64) for r in (True, False))
    torch.testing.assert_close(turned.pos, still.pos @ turned.rotation.mT)
    assert (turned.rotation.det() - 1).abs().max() < 1e-12 and turned.label.tolist() == [i % 8 for i in range(20)]
    again = primitive_shapes(20, 16, seed=3, dtype=torch.float64)
    assert torch.equal(again.pos, turned.pos) and isinstance(turned.rep_in, Points)
    g = turned.rep_in.group.sample(20, generator=torch.Generator().manual_seed(0))
    moved = turned.rep_in(g, turned.pos)
    torch.testing.assert_close(torch.cdist(moved, moved), torch.cdist(turned.pos, turned.pos), atol=1e-6, rtol=0)
    blurred = primitive_shapes(20, 16, seed=3, noise=0.1, dtype=torch.float64)
    assert 0.05 < (blurred.pos - turned.pos).std() < 0.15
    assert primitive_shapes(0, 16, seed=0).pos.shape == (0, 16, 3)
    with pytest.raises(ValueError, match="must not be negative"):
        primitive_shapes(-1, 3, seed=0)


def test_constellations():
    made = constellations(200, seed=0, dtype=torch.float64)
    assert (
        made.pos.shape == (200, 34, 2)
        and made.counts.shape == (200, 4)
        and set(made.counts.unique().tolist()) == {0, 1, 2}
    )
    sizes = torch.tensor([3, 4, 5, 5])
    assert torch.equal(made.present.sum(1), (made.counts * sizes).sum(1))
    assert not made.pos[~made.present].any() and made.pos.abs().max() < 1.4
    clean = constellations(40, seed=1, noise=0.0, dtype=torch.float64)
    alone = clean.counts.sum(1) == 1
    assert alone.any()
    for pos, present, counts in zip(clean.pos[alone], clean.present[alone], clean.counts[alone]):
        points = pos[present]
        distance = torch.cdist(points, points)[~torch.eye(len(points), dtype=torch.bool)]
        least = {3: math.sqrt(3), 4: math.sqrt(2), 5: 2 * math.sin(math.pi / 5)}
        side = 1.0 if counts[3] else least[len(points)]
        assert abs(float(distance.min()) - side / 12) < 1e-12
    assert torch.equal(constellations(5, seed=2).pos, constellations(5, seed=2).pos)
    with pytest.raises(ValueError, match="impossible sizes"):
        constellations(3, seed=0, repeats=0)
