"""Surfaces: points where they must lie, normals that are those of the surface, areas, and turns."""

import math

import pytest
import torch

from intertwine.data import surfaces


def implicit(name: str, p: torch.Tensor) -> torch.Tensor:
    """A function that is 0 on the solid that is not stretched, negative inside."""
    r, h = p[:, :2].norm(dim=1), p[:, 2]
    corners = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=p.dtype)
    return {
        "sphere": lambda: p.norm(dim=1) - 1,
        "cube": lambda: p.abs().amax(1) - 1,
        "cylinder": lambda: torch.maximum(r, h.abs()) - 1,
        "cone": lambda: torch.maximum(-1 - h, h - 1 + 2 * r),
        "torus": lambda: (r - 1).square() + h.square() - 0.16,
        "tetrahedron": lambda: (p @ -corners.T).amax(1) - 1,
    }[name]()


@pytest.mark.parametrize("k", range(6))
def test_normals_are_those_of_the_surface(k):
    """Undoing the stretch, which the extent of many points tells, gives zeros of f, and ∇f is along the normal."""
    made = surfaces(6, 3000, seed=3, rotate=False, dtype=torch.float64)
    name, p, n = made.names[k], made.pos[k], made.normal[k]
    assert (n.norm(dim=1) - 1).abs().max() < 1e-12
    scale = torch.rand(6, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64).mul(-math.log(2)).exp()[k]
    p = p.clone().requires_grad_()
    f = implicit(name, p / scale)
    assert f.abs().max() < 1e-12
    (slope,) = torch.autograd.grad(f.sum(), p)
    slope = slope / slope.norm(dim=1, keepdim=True)
    assert ((slope * n).sum(1) - 1).abs().max() < 1e-9  # outward too


def test_uniform_by_area_after_the_stretch():
    """An ellipsoid's points, weighted by 1 over the density of a stretched uniform sphere, and a box's faces."""
    made = surfaces(6, 20_000, seed=1, rotate=False, stretch=3.0, dtype=torch.float64)
    box, n = made.pos[1], made.normal[1]
    a = box.abs().amax(0)
    areas = torch.stack([a[1] * a[2], a[0] * a[2], a[0] * a[1]])
    shares = n.abs().mean(0)
    assert (shares - areas / areas.sum()).abs().max() < 4 * 0.5 / math.sqrt(20_000)
    ball, a = made.pos[0] / made.pos[0].abs().amax(0), made.pos[0].abs().amax(0)
    growth = (ball / a).norm(dim=1)
    cap = ball[:, 0] > 0.5  # a quarter of the sphere
    share = (cap / growth).sum() / (1 / growth).sum()
    assert abs(share - 0.25) < 0.02


def test_turns_seeds_and_sizes():
    still, turned = (surfaces(8, 20, seed=5, rotate=r, dtype=torch.float64) for r in (False, True))
    for a, b in ((still.pos, turned.pos), (still.normal, turned.normal)):
        assert (a @ turned.rotation.mT - b).abs().max() < 1e-12
    assert turned.label.tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    again = surfaces(8, 20, seed=5)
    assert again.pos.dtype == torch.float32 and torch.equal(again.pos, turned.pos.float())
    assert not torch.equal(surfaces(8, 20, seed=6).pos, again.pos)
    g = turned.rep_in.group.sample(8, generator=torch.Generator().manual_seed(0))
    assert turned.rep_in(g, turned.pos).shape == turned.rep_out(g, turned.normal).shape == (8, 20, 3)
    noisy = surfaces(8, 20, seed=5, noise=0.1, dtype=torch.float64)
    assert torch.equal(noisy.normal, turned.normal) and 0.05 < (noisy.pos - turned.pos).std() < 0.2
    plain = surfaces(1, 20, seed=0, stretch=1.0, dtype=torch.float64)
    assert torch.allclose(plain.pos, plain.normal)
    assert surfaces(0, 20, seed=0).pos.shape == (0, 20, 3) and surfaces(7, 0, seed=0).normal.shape == (7, 0, 3)


def test_bad_sizes():
    with pytest.raises(ValueError, match="stretch at least 1"):
        surfaces(2, 20, seed=0, stretch=0.5)
    with pytest.raises(ValueError, match="must not be negative"):
        surfaces(2, -1, seed=0)
