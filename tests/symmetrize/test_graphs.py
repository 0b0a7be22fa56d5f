"""Batches of molecules of different sizes: one frame for each graph, outputs per graph and per atom."""

import warnings

import pytest
import torch
from torch import nn

from intertwine.groups import SE, E
from intertwine.symmetrize import FrameAverage, PCAFrame
from symmetrize.models import CLOUDS, FlatMLP

pytest.importorskip("torch_geometric")
from intertwine.data.atoms import AtomicGraph
from intertwine.data.atoms.action import AtomsAction, PotentialOutputAction
from intertwine.data.atoms.graph import collate


class Potential(nn.Module):
    """Energies and forces that depend on the axes of the laboratory."""

    def __init__(self):
        super().__init__()
        self.net = FlatMLP(4, 4)

    def forward(self, graph):
        h = self.net(torch.cat([graph.pos, graph.z[:, None].to(graph.pos)], 1))
        energy = torch.zeros(graph.num_graphs, dtype=h.dtype).index_add(0, graph.batch, h[:, 0])
        return {"energy": energy, "forces": h[:, 1:], "batch": graph.batch}


def molecules() -> list[AtomicGraph]:
    generator = torch.Generator().manual_seed(0)
    random = [torch.randn(n, 3, dtype=torch.float64, generator=generator) for n in (3, 5)]
    clouds = [random[0], CLOUDS["methane"], random[1], CLOUDS["one point"]]
    return [AtomicGraph(pos=pos, z=torch.arange(len(pos)) % 3 + 1) for pos in clouds]


@pytest.mark.parametrize("group", [E(3), SE(3)], ids=str)
def test_molecules_of_different_sizes(group):
    action, output = AtomsAction(group), PotentialOutputAction(group)
    model = FrameAverage(Potential(), action, output)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch = collate(molecules())
        y, info = model(batch, return_info=True)
        assert info["degenerate"].tolist() == [False, True, False, True]
        assert torch.equal(y["batch"], batch.batch)
        g = group.sample(4, generator=torch.Generator().manual_seed(1))
        moved, expected = model(action(g, batch)), output(g, y)
        for name in ("energy", "forces"):
            torch.testing.assert_close(moved[name], expected[name], atol=1e-10, rtol=0)
        alone = [model(collate([graph])) for graph in molecules()]
        for name in ("energy", "forces"):  # neighbours in the batch do not matter
            torch.testing.assert_close(torch.cat([a[name] for a in alone]), y[name], atol=1e-10, rtol=0)


def test_data_without_points():
    model = FrameAverage(Potential(), AtomsAction(E(3)), PotentialOutputAction(E(3)), frame=PCAFrame(E(3)))
    with pytest.raises(ValueError, match="has no `pos`"):
        model(object())
