"""The control keeps what it should keep, breaks what it should break, and is as large as what it is compared with."""

import pytest
import torch

from intertwine.data.atoms import collate
from intertwine.groups import E
from intertwine.models.atoms import Cartesian, NequIP
from models.atoms.conftest import CUTOFF, SPECIES, potential


def test_translations_are_kept_and_rotations_are_not(graphs, generator):
    model = potential("Cartesian")
    batch = collate([graphs["ethanol"]])
    out = model(batch)
    group = E(3)
    shift = group.identity().clone()
    shift[:3, 3] = torch.tensor([3.0, -1.0, 2.0])
    torch.testing.assert_close(model(model.rep_in(shift, batch))["energy"], out["energy"], rtol=0, atol=1e-10)
    turn = group.sample(1, generator=generator)[0]
    turned = model(model.rep_in(turn, batch))
    assert (turned["energy"] - out["energy"]).abs() > 1e-3
    assert (turned["forces"] - model.rep_out(turn, out)["forces"]).abs().max() > 1e-2


@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize("channels", [4, 16, 32])
def test_the_twin_has_as_many_parameters(degree, channels):
    def count(network):
        return sum(p.numel() for p in network.parameters())

    network = NequIP(SPECIES, cutoff=CUTOFF, degree=degree, channels=channels)
    twin = Cartesian.like(network, SPECIES)
    assert abs(count(twin) - count(network)) <= 0.02 * count(network)
    assert twin.cutoff == network.cutoff
    assert len(twin.layers) == len(network.blocks)


def test_bad_sizes():
    with pytest.raises(ValueError, match="at least 1"):
        Cartesian(SPECIES, hidden=0)
