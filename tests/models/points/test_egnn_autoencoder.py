"""Graphs as points and back: symmetric, trainable, and able to break the ties of featureless nodes."""

import pytest
import torch

from grids import seeded
from intertwine.models.points.egnn_autoencoder import EGNNAutoencoder


def random_graphs(k, n):
    upper = (torch.rand(k, n, n, generator=seeded()) < 0.3).double().triu(1)
    return upper + upper.mT


def test_renamed_nodes_give_renamed_edges():
    model, graphs = EGNNAutoencoder(8, 3, 2, generator=seeded()).double(), random_graphs(3, 6)
    noise = torch.randn(3, 6, 3, generator=seeded(1), dtype=torch.float64)
    p = torch.randperm(6, generator=seeded(2))
    found, renamed = model(graphs, noise), model(graphs[:, p][:, :, p], noise[:, p])
    assert (found[:, p][:, :, p] - renamed).abs().max() < 1e-12
    assert torch.equal(found, found.mT)
    assert not found.diagonal(dim1=1, dim2=2).any()
    assert (model(graphs[1:2], noise[1:2]) - found[1:2]).abs().max() < 1e-12
    turn = torch.linalg.qr(torch.randn(3, 3, generator=seeded(), dtype=torch.float64)).Q
    assert (model(graphs, noise @ turn) - found).abs().max() < 1e-12


def test_it_learns_to_draw_a_ring():
    """Every node of a ring sees the same, so a network of features alone gives all pairs the same probability."""
    n = 8
    ring = torch.zeros(1, n, n)
    for i in range(n):
        ring[0, i, (i + 1) % n] = ring[0, (i + 1) % n, i] = 1
    model, generator = EGNNAutoencoder(16, 4, 3, generator=seeded()), seeded(1)
    off = ~torch.eye(n, dtype=torch.bool)
    batch = ring.expand(8, n, n)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(120):
        optimizer.zero_grad()
        odds = model.decode(model.encode(batch, generator=generator))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(odds[:, off], batch[:, off])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    same = -(2 / 7 * torch.tensor(2 / 7).log() + 5 / 7 * torch.tensor(5 / 7).log()).item()
    assert sum(losses[-10:]) / 10 < 0.75 * same, losses[-1]


@pytest.mark.parametrize("shape", [(0, 4), (2, 0), (2, 1)])
def test_small_sizes(shape):
    graphs, n = shape
    assert EGNNAutoencoder(4, 2, 1)(torch.zeros(graphs, n, n), generator=seeded()).shape == (graphs, n, n)


def test_bad_input():
    with pytest.raises(ValueError, match="dimension of at least 1"):
        EGNNAutoencoder(dim=0)
    with pytest.raises(ValueError, match=r"matrices \[graphs, n, n\], got \(2, 3, 4\)"):
        EGNNAutoencoder(4, 2, 1)(torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match=r"noise must be \(2, 3, 2\)"):
        EGNNAutoencoder(4, 2, 1)(torch.zeros(2, 3, 3), torch.zeros(2, 3, 1))
