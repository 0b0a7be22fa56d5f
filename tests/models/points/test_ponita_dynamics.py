import torch

from intertwine.models.points import PonitaDynamics
from solid_rotations import solid_rotations


def test_it_moves_with_the_rotations_of_its_grid_and_any_shift(generator):
    model = PonitaDynamics(8, 2, orientations=6, basis_dim=8, layer_scale=None, grid="platonic", generator=generator)
    x, v = torch.randn(2, 3, 4, 3, generator=generator, dtype=torch.float64)
    q = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    model.double()(x, v, q)
    model.eval()
    out = model(x, v, q)
    assert out.shape == x.shape and (out - x).std() > 1e-3
    assert torch.allclose(model(x[1:2], v[1:2], q[1:2]), out[1:2], atol=1e-10)
    for R in solid_rotations(6):
        assert (model(x @ R.T + 2, v @ R.T, q) - (out @ R.T + 2)).abs().max() < 1e-10


def test_published_sizes():
    """5 layers of width 128, two basis nets (14 and 3 numbers), read-outs of one vector."""
    model = PonitaDynamics()
    layer = 2 * 256 * 128 + 128 + 2 * 128 + (128 * 512 + 512) + (512 * 128 + 128) + 128
    nets = sum(numbers * 128 + 128 + 128 * 256 + 256 for numbers in (14, 3))
    assert sum(p.numel() for p in model.parameters()) == 2 * 128 + nets + 5 * (layer + 128 + 1)
