"""What is NequIP's own: paths, parities, radial networks that end at the cutoff."""

import pytest
import torch

from intertwine.models.atoms import NequIP
from models.atoms.conftest import CUTOFF, SPECIES


@pytest.mark.parametrize(
    ("parity", "counts"), [("natural", (1, 4, 11, 23)), (None, (1, 5, 15, 34))], ids=("natural", "SO(3)")
)
def test_paths_of_a_middle_layer(parity, counts):
    for degree, count in enumerate(counts):
        network = NequIP(SPECIES, degree=degree, channels=2, parity=parity, radial=(4,))
        assert len(network.blocks[1].conv.paths) == count


def test_features_by_parity():
    def features(parity):
        network = NequIP(SPECIES, degree=1, channels=3, parity=parity, radial=(4,), layers=6)
        return [str(block.rep_out) for block in network.blocks]

    assert features("natural") == ["3x0e + 3x1o"] * 5 + ["3x0e"]
    assert features(None) == ["3x0 + 3x1"] * 5 + ["3x0"]
    # An axial vector is reached after one layer and an odd scalar after two; before the end the same steps lead back,
    # and what could not come back to an energy is not made.
    there = ["3x0e + 3x1o", "3x0e + 3x1o + 3x1e", "3x0e + 3x0o + 3x1o + 3x1e"]
    assert features("full") == [*there, *there[1::-1], "3x0e"]


def test_radial_networks_end_at_the_cutoff(natural):
    network = natural.backbone
    r = torch.tensor([0.5 * CUTOFF, CUTOFF - 1e-9, CUTOFF, CUTOFF + 1.0], dtype=torch.float64)
    weights = network.radial(network.basis(r) * network.envelope(r)[:, None])
    for weight in weights:
        assert weight[0].abs().max() > 1e-3
        assert weight[1:].abs().max() < 1e-12


def test_features_and_messages_start_at_order_one(graphs, generator):
    """Wide layers keep the size of their features, so that depth and width are free."""
    network = NequIP(SPECIES, cutoff=CUTOFF, degree=2, channels=64, avg_num_neighbors=8.0, generator=generator)
    network = network.double()
    seen = []
    for block in network.blocks:
        block.register_forward_hook(lambda module, args, out: seen.append(module.rep_out.split(out.detach())))
    graph = graphs["ethanol"]
    source, target = graph.edge_index
    network(torch.zeros(len(graph.z), dtype=torch.int64), graph.pos[source] - graph.pos[target], graph.edge_index)
    assert len(seen) == 3
    for blocks in seen:
        for block in blocks:
            assert 0.1 < block.square().mean().sqrt() < 10


def test_the_same_generator_gives_the_same_network():
    def weights(seed):
        network = NequIP(SPECIES, channels=3, generator=torch.Generator().manual_seed(seed))
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
