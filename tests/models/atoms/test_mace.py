"""What is MACE's own: how many bodies a layer sees, its plain limit, its features and paths."""

import math

import pytest
import torch

from intertwine.models.atoms import MACE
from models.atoms.conftest import CUTOFF, SPECIES


def mace(**options):
    """A small network in float64."""
    options = {"cutoff": CUTOFF, "channels": 4, "radial": (8,), "avg_num_neighbors": 4.0} | options
    return MACE(SPECIES, generator=torch.Generator().manual_seed(3), **options).double()


def centre(network, angles):
    """The energy of an atom that alone sees others: at 2 Å in a plane, at these angles."""
    angles = torch.tensor(angles, dtype=torch.float64)
    vectors = 2.0 * torch.stack([angles.cos(), angles.sin(), torch.zeros_like(angles)], 1)
    edges = torch.stack([torch.arange(1, len(angles) + 1), torch.zeros(len(angles), dtype=torch.int64)])
    return network(torch.zeros(len(angles) + 1, dtype=torch.int64), vectors, edges)[0].detach()


@pytest.mark.parametrize("correlation", [1, 2, 3])
def test_one_layer_sees_correlation_plus_one_bodies(correlation):
    """ν = 1 sees distances, ν = 2 the angles between pairs too, ν = 3 also which pairs belong together.

    Of thirteen directions in a plane, {0, 1, 4, 6} and {0, 1, 3, 9} have the same angles between pairs (differences of
    1, 2, 3, 4, 5, 6 steps, once each), and are no images of one another.
    """
    step = 2 * math.pi / 13
    first, second = ([step * k for k in chosen] for chosen in ((0, 1, 4, 6), (0, 1, 3, 9)))
    network = mace(layers=1, correlation=correlation)
    differences = (
        centre(network, [0.0, 0.5, 1.0, 3.0]) - centre(network, first),
        centre(network, first) - centre(network, second),
    )
    seen = [bool(d.abs() > 1e-6) for d in differences]
    assert seen == [correlation >= 2, correlation >= 3], differences
    assert all(d.abs() < 1e-13 for d, visible in zip(differences, seen) if not visible)


def test_distances_alone_give_a_plain_network(graphs):
    """Degree 0 and ν = 1: continuous filters and sums over neighbours, as in SchNet, written out here."""
    network = mace(edge_degree=0, hidden_degree=0, correlation=1)
    graph = graphs["crystal"]
    species = torch.tensor([SPECIES.index("Cu"), SPECIES.index("C")])
    source, target = graph.edge_index
    vectors = graph.pos[source] - graph.pos[target] + graph.edge_shift @ graph.cell[0]
    r = vectors.norm(dim=1)
    filters = network.radial(network.basis(r) * network.envelope(r)[:, None])
    h, energy, root = network.embedding[species], 0, math.sqrt(4)
    for layer, (block, R) in enumerate(zip(network.blocks, filters)):
        message = R[:, 0] * (h @ block.before[0] / root)[source]
        A = torch.zeros_like(h).index_add(0, target, message) @ block.sums[0] / root / 4.0
        m = block.contraction.weights[0][species, 0] * A
        h = m @ block.after[0] / root + torch.einsum("nc,ncd->nd", h, block.self_connection["0"][species]) / root
        if layer == 0:
            energy = energy + h @ network.readouts[0] / root
    first, last = network.last
    energy = energy + torch.nn.functional.silu(h @ first / root) @ last / 4  # sixteen hidden numbers
    torch.testing.assert_close(network(species, vectors, graph.edge_index), energy.squeeze(1), rtol=0, atol=1e-12)


def test_features_and_paths():
    network = mace(layers=3, edge_degree=3, hidden_degree=2, channels=2)
    assert [str(block.rep_out) for block in network.blocks] == ["2x0e + 2x1o + 2x2e"] * 2 + ["2x0e"]
    assert [len(block.conv.paths) for block in network.blocks] == [4, 17, 17]
    first, _, last = (block.contraction.path_counts for block in network.blocks)
    assert first == ((1, 4, 8), (1, 3, 12), (1, 5, 14))
    assert last == ((1, 4, 8),)


def test_the_published_number_of_paths():
    network = mace(layers=2, edge_degree=3, hidden_degree=1, channels=2, symmetric=False)
    assert network.blocks[0].contraction.path_counts == ((1, 4, 23), (1, 6, 51))


def test_without_edges_only_the_species_count():
    network = mace()
    species = torch.tensor([0, 1, 0, 2])
    energy = network(species, torch.zeros(0, 3, dtype=torch.float64), torch.zeros(2, 0, dtype=torch.int64))
    assert energy[0] == energy[2]
    assert len(set(energy.tolist())) == 3


def test_the_same_generator_gives_the_same_network():
    def weights(seed):
        network = MACE(SPECIES, channels=3, radial=(4,), generator=torch.Generator().manual_seed(seed))
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "layers=0"),
        ({"correlation": 0}, "correlation=0"),
        ({"hidden_degree": -1}, "hidden_degree=-1"),
        ({"radial": (8, 0)}, "radial"),
        ({"avg_num_neighbors": 0.0}, "avg_num_neighbors must be positive"),
        ({"edge_degree": 1, "hidden_degree": 2, "correlation": 1}, "no power up to 1"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "+".join(value),
)
def test_what_does_not_fit_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        mace(**options)
