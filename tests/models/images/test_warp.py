"""Projective maps of points and one resampling: a product of matrices is one warp, and infinity is outside."""

import pytest
import torch

from grids import seeded
from intertwine.models.images import Pose, Warp, look, projective
from intertwine.models.images.warp import places


def near_one(count: int, seed: int = 0) -> torch.Tensor:
    return torch.eye(3).double() + 0.2 * torch.randn(count, 3, 3, generator=seeded(seed), dtype=torch.float64)


def test_a_product_is_one_map_after_the_other():
    A, B = near_one(4), near_one(4, 1)
    points = torch.rand(5, 6, 2, generator=seeded(), dtype=torch.float64) - 0.5
    by_hand = torch.stack([projective(a[None], q)[0] for a, q in zip(A, projective(B, points))])
    torch.testing.assert_close(projective(A @ B, points), by_hand, atol=1e-12, rtol=1e-12)
    back = torch.stack([projective(a[None], q)[0] for a, q in zip(torch.linalg.inv(A), projective(A, points))])
    torch.testing.assert_close(back, points.expand(4, -1, -1, -1), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("w", [0.0, 9e-7, -1e-8, -9e-7])
def test_infinity_shows_nothing_and_has_no_gradient(w):
    """x = -1 goes to the horizon of 1 + x; a hair beside it the sign of w decides, not an epsilon."""
    matrix = torch.eye(3, dtype=torch.float64)[None].clone()
    matrix[0, 2, 0] = 1
    matrix.requires_grad_()
    points = torch.tensor([[[w - 1, 0.3], [0.5, 0.0]]], dtype=torch.float64)
    images = torch.rand(1, 2, 8, 8, generator=seeded(), dtype=torch.float64) + 0.5
    seen = look(images, points, matrix)
    assert (seen[..., 0] == 0).all() and (seen[..., 1] > 0.1).all()
    seen[..., 0].sum().backward()
    assert (matrix.grad == 0).all()
    assert projective(matrix, torch.tensor([-1 - 1e-5, 0.0]).double())[0, 0] > 0


@pytest.mark.parametrize("height, width", [(8, 8), (6, 9), (9, 6), (1, 5)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_pixels_are_where_they_are(height, width, dtype):
    images = torch.rand(3, 2, height, width, generator=seeded(), dtype=dtype)
    points = places(images, "identity", (height, width))
    assert points.dtype == dtype and points.shape == (height, width, 2)
    torch.testing.assert_close(look(images, points), images, atol=1e-6, rtol=0)
    turned = torch.diag(torch.tensor([-1.0, -1, 1], dtype=dtype)).expand(3, 3, 3)
    torch.testing.assert_close(look(images, points, turned), images.rot90(2, (2, 3)), atol=1e-6, rtol=0)
    assert look(images[:0], points, turned[:0]).shape == (0, 2, height, width)


def test_angles_are_angles_on_a_wide_image():
    """The same disc on two canvases looks the same in polar coordinates."""
    square = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    square[..., 4:12, 5:9] = torch.rand(8, 4, generator=seeded(), dtype=torch.float64)
    wide = torch.nn.functional.pad(square, [5, 5])
    points = places(square, "polar", (12, 6), ulim=(0.1, 0.9))
    torch.testing.assert_close(look(wide, points), look(square, points), atol=1e-12, rtol=0)


def test_coordinates_made_without_gradients_serve_with_them():
    images = torch.rand(1, 1, 11, 7, dtype=torch.float64, generator=seeded(), requires_grad=True)
    with torch.inference_mode():
        places(images, "identity", (11, 7))
    look(images, places(images, "identity", (11, 7)), torch.eye(3).double()[None].requires_grad_()).sum().backward()
    assert images.grad.isfinite().all()


def test_a_warp_is_degenerate_where_a_stage_is():
    poses = [Pose({}, {}, torch.tensor(flags)) for flags in ([True, False, False], [False, False, True])]
    assert Warp(torch.eye(3).expand(3, 3, 3), poses).degenerate.tolist() == [True, False, True]
