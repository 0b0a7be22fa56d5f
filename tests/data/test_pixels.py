import pytest
import torch

from intertwine.data import superpixels


def test_small_images_keep_their_bright_pixels():
    image = torch.zeros(2, 2, 3)
    image[0, 0, 2], image[1, 1, 0], image[1, 0, 1] = 0.5, 2.0, 3.0
    points = superpixels(image)
    assert points.pos.tolist() == [[1.0, 0.5], [0.0, 0.5], [-1.0, -0.5]]
    assert points.intensity.flatten().tolist() == [0.5, 3.0, 2.0] and points.batch.tolist() == [0, 1, 1]


@pytest.mark.parametrize("shape, count", [((12, 12), 16), ((9, 20), 10), ((30, 7), 7), ((5, 5), 1)])
def test_larger_images_are_summed_up(shape, count, generator):
    images = (torch.rand(4, *shape, generator=generator, dtype=torch.float64) - 0.5).clamp(min=0)
    points = superpixels(images, count)
    assert torch.bincount(points.batch).min() >= 1 and torch.bincount(points.batch).max() <= count
    for k in range(4):
        mass = points.intensity[points.batch == k]
        assert abs(mass.sum() - images[k].sum()) < 1e-10 and mass.min() > 0
        y, x = images[k].nonzero().double().unbind(1)
        where = torch.stack([x - (shape[1] - 1) / 2, (shape[0] - 1) / 2 - y], 1)
        centre = (where * images[k][images[k] > 0][:, None]).sum(0)
        assert ((points.pos[points.batch == k] * mass).sum(0) - centre).abs().max() < 1e-10  # of mass, kept exactly


def test_two_spots_become_two_points_of_the_blocks_they_lie_in():
    image = torch.zeros(1, 10, 10)
    image[0, 1:3, 1:3], image[0, 7:9, 7:9] = 1.0, 2.0
    points = superpixels(image, 4)
    assert points.pos.tolist() == [[-3.0, 3.0], [3.0, -3.0]] and points.intensity.flatten().tolist() == [4.0, 8.0]


def test_no_images_black_ones_and_bad_ones():
    for images in (torch.zeros(0, 8, 8), torch.zeros(2, 8, 8), torch.zeros(2, 20, 20)):
        assert superpixels(images).pos.shape == (0, 2)
    for images, count in ((torch.zeros(8, 8), 4), (-torch.ones(1, 8, 8), 4), (torch.ones(1, 8, 8), 0)):
        with pytest.raises(ValueError, match="superpixels: needs images"):
            superpixels(images, count)
