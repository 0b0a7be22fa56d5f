"""Frames of structures from their edges: what makes any network of edge vectors symmetric, molecule or crystal.

Principal axes of positions change when an atom of a crystal moves by a lattice vector, though nothing else does. Those
of the edges do not, belong to one structure whatever its cell, and for a molecule within the cutoff are the same.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from intertwine.data.atoms.action import AtomsAction, PotentialOutputAction
from intertwine.groups import SO, O
from intertwine.nn.radial import PolynomialEnvelope
from intertwine.nn.segment import segment_sum
from intertwine.symmetrize import PCAFrame, PlanarFrame, StochasticFrame

METHODS = ("stochastic", "all", "det")


class EdgeFrames(nn.Module):
    """Runs a network in the frames of each structure's edges, and takes the mean of what comes out.

    method: "stochastic" (one frame drawn in training, by torch's default generator as dropout does; all in evaluation),
    "all", or "det" (one, by the skew of the edges); group: "E" or "SE"; plane: only turns about z, and for "E" mirrors
    through it. Where principal axes are not defined, frames are made of the edges themselves (`PCAFrame`). Axes and
    skew weigh an edge by an envelope of its length and by the species of its source, so that they are smooth and tell
    the two ends apart. Raises ValueError for another method or group. Source: arXiv:2305.05577.
    """

    def __init__(
        self,
        cutoff: float,
        method: Literal["stochastic", "all", "det"] = "stochastic",
        *,
        group: Literal["E", "SE"] = "E",
        plane: bool = False,
    ):
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"EdgeFrames: method must be one of {', '.join(METHODS)}, got {method!r}")
        if group not in ("E", "SE"):
            raise ValueError(f"EdgeFrames: group must be 'E' or 'SE', got {group!r}")
        turns = O(3) if group == "E" else SO(3)  # edges do not feel translations
        whole = (PlanarFrame if plane else PCAFrame)(turns, weights=lambda x: x.weight)
        picks = {"all": None, "stochastic": {"k": 1}, "det": {"pick": "det", "eval_k": 1}}[method]
        self.source = whole if picks is None else StochasticFrame(whole, **picks)
        self.source.bind(AtomsAction(turns), PotentialOutputAction(turns))
        self.envelope = PolynomialEnvelope(cutoff)

    def elements(
        self,
        species: Int[Tensor, " atoms"],
        vectors: Float[Tensor, "edges 3"],
        edge_index: Int[Tensor, "2 edges"],
        graph: Int[Tensor, " atoms"],
        graphs: int,
    ) -> Any:
        """The frames of each structure, `symmetrize.Elements` of shape (graphs, frames)."""
        source, target = edge_index
        owner = graph.index_select(0, target)
        weight = self.envelope(torch.linalg.vector_norm(vectors, dim=1)) * (1 + species.index_select(0, source))
        # A structure without edges may have any frame, of which the mean of all leaves it no force: it gets edges along
        # x, y and z, both ways.
        full = torch.zeros(graphs, dtype=torch.bool, device=graph.device).index_fill(0, owner, True)
        lone = (~full).nonzero()[:, 0]
        axes = torch.diag(torch.arange(3.0, 0.0, -1.0)).to(vectors)
        axes = torch.cat([axes, -axes]).repeat(len(lone), 1)
        batch, order = torch.cat([owner, lone.repeat_interleave(6)]).sort(stable=True)
        pos = torch.cat([vectors, axes])[order]
        weight = torch.cat([weight, weight.new_ones(len(axes))])[order]
        return self.source(SimpleNamespace(pos=pos, batch=batch, num_graphs=graphs, weight=_padded(weight, batch)))

    def forward(
        self,
        network: Callable[..., Any],
        species: Int[Tensor, " atoms"],
        vectors: Float[Tensor, "edges 3"],
        edge_index: Int[Tensor, "2 edges"],
        graph: Int[Tensor, " atoms"],
    ) -> Any:
        """The mean over frames of network(species, turned vectors, edge_index, graph); vectors that it gives are turned
        back."""
        graphs, n = int(graph.max()) + 1 if len(graph) else 0, len(graph)
        found = self.elements(species, vectors, edge_index, graph, graphs)
        R, weight, mask = found.g.to(vectors), found.weight, found.mask
        # Only frames that are there run: structures with many do not lengthen the others' work.
        copy, atom = mask[graph].T.nonzero().T
        place = torch.full((mask.shape[1], n), -1, device=graph.device)
        place = place.index_put((copy, atom), torch.arange(len(atom), device=graph.device))
        owner = graph.index_select(0, edge_index[1])
        edge_copy, edge = mask[owner].T.nonzero().T
        turned = torch.einsum("eij,ei->ej", R[owner[edge], edge_copy], vectors[edge])
        ends = place[edge_copy, edge_index[:, edge]]
        # Each copy is a structure of its own, numbered without gaps.
        number = mask.T.flatten().cumsum(0).reshape(mask.T.shape) - 1
        out = network(species[atom], turned, ends, number[copy, graph[atom]])
        share = weight[graph[atom], copy]
        if not isinstance(out, tuple):
            return segment_sum(out * share.to(out), atom, n)
        energies, heads = out
        heads = torch.einsum("aij,aj->ai", R[graph[atom], copy], heads) * share.to(heads)[:, None]
        return segment_sum(energies * share.to(energies), atom, n), segment_sum(heads, atom, n)


def _padded(x: Float[Tensor, " edges"], owner: Int[Tensor, " edges"]) -> Float[Tensor, "graphs most"]:
    """A row for each structure, 0 after its last edge; owners are sorted, and each has one."""
    counts = torch.bincount(owner)
    place = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner]
    return x.new_zeros(len(counts), int(counts.max())).index_put((owner, place), x)
