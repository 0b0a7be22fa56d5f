"""A graph lifted to positions and directions: an edge becomes a node that stands at its target and looks along it."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class LiftedGraph(NamedTuple):
    """Nodes of a lifted graph, as edges (source, target) of the graph below, and the pairs of them that meet."""

    nodes: Int[Tensor, "2 lifted"]
    pairs: Int[Tensor, "2 pairs"]


def lift_graph(edge_index: Int[Tensor, "2 edges"], nodes: int) -> LiftedGraph:
    """One lifted node for each edge j → i that is no loop; two of them meet if their targets are equal or joined.

    On a complete graph all lifted nodes meet, which is a number of pairs of the fourth power of the nodes. Repeated
    edges count once. The work depends on the numbers in `edge_index`: made outside, it is given to `Ponita` in place
    of `edge_index`, which then compiles whole. Source: arXiv:2310.02970, section 5, orientations from edges.
    """
    device = edge_index.device
    source, target = edge_index
    keys = torch.unique(target * nodes + source)  # sorted by target, then source
    target, source = keys // max(nodes, 1), keys % max(nodes, 1)
    kept = source != target
    source, target = source[kept], target[kept]
    loops = torch.arange(nodes, device=device)
    from_base, to_base = torch.cat([source, loops]), torch.cat([target, loops])
    order = torch.argsort(to_base * nodes + from_base)
    from_base, to_base = from_base[order], to_base[order]
    count = torch.bincount(target, minlength=nodes)
    first = count.cumsum(0) - count  # lifted nodes are sorted by target: those of a target are a range
    sizes = count[from_base] * count[to_base]
    edge = torch.repeat_interleave(torch.arange(len(sizes), device=device), sizes)
    within = torch.arange(len(edge), device=device) - (sizes.cumsum(0) - sizes)[edge]
    width = count[from_base][edge]
    sender = first[from_base][edge] + within % width
    receiver = first[to_base][edge] + within // width
    return LiftedGraph(torch.stack([source, target]), torch.stack([sender, receiver]))
