"""What an architecture cannot tell apart, whatever its weights: equivariant colour refinement (arXiv:2406.08966).

The architecture: layers of all equivariant affine maps between permutation representations of a finite group, a
non-polynomial function of every entry in between, an invariant read-out. Two inputs that get the same multiset of
colours have the same output for every choice of weights, and some choice tells any others apart. Widths (numbers of
channels) and the choice of the function do not matter, as long as it is no polynomial.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..extras import require
from ..groups import Embedding, Group, embedding
from ..groups.group import listable
from ..nn import Linear
from ..reps import Rep
from . import refinement
from .refinement import Chosen

TOL = 1e-9


def colours(
    x: Float[Tensor, "samples dim"],
    rep_in: Rep,
    hidden: Sequence[Rep],
    *,
    tol: float = TOL,
    layers: Sequence[Chosen] | None = None,
) -> list[Int[Tensor, "samples points"]]:
    """The colour of each point of each hidden layer: equal where no network of this shape sees a difference.

    Numbers can be compared between samples, not between layers. A point of the first layer is coloured by the values
    of all equivariant functionals at it, to tol relative to the largest; a point of a later one by the multisets of
    colours over the orbits of its stabiliser. layers: for each layer the basis maps it may use (None for all), as for
    a small filter: indices into `maps.between(a, b, method="solver")` of single channels, pair of terms by pair.
    Raises ValueError for an infinite group, a hidden Rep that does not permute entries, or data of the wrong size.
    Source: arXiv:2406.08966.
    """
    return [torch.from_numpy(layer) for layer in _refine(x, rep_in, hidden, tol, layers)[0]]


def classes(
    x: Float[Tensor, "samples dim"],
    rep_in: Rep,
    hidden: Sequence[Rep],
    *,
    tol: float = TOL,
    layers: Sequence[Chosen] | None = None,
) -> Int[Tensor, " samples"]:
    """A number for each sample, the same where no network with these hidden features tells two of them apart.

    Arguments and errors as in `colours`.
    """
    return torch.from_numpy(refinement.classes(_refine(x, rep_in, hidden, tol, layers)[0][-1]))


def separated(
    x: Float[Tensor, " dim"],
    y: Float[Tensor, " dim"],
    rep_in: Rep,
    hidden: Sequence[Rep],
    *,
    tol: float = TOL,
    layers: Sequence[Chosen] | None = None,
) -> bool:
    """Whether some network with these hidden features, and an invariant read-out, has different outputs for x and y.

    Arguments and errors as in `colours`.
    """
    first, second = classes(_pair(x, y), rep_in, hidden, tol=tol, layers=layers).tolist()
    return first != second


def depth_threshold(rep_in: Rep, hidden: Rep, samples: Float[Tensor, "samples dim"], *, tol: float = TOL) -> int:
    """The number of hidden layers `hidden` after which more of them tell no further samples apart.

    Errors as in `colours`. Source: arXiv:2406.08966.
    """
    layer, _ = refinement.first_layer(_checked(samples, rep_in, [hidden]), rep_in, hidden, tol)
    found = [refinement.classes(layer)]
    while True:
        finer = refinement.next_layer(layer, hidden, hidden)
        if finer.max(initial=-1) == layer.max(initial=-1):  # every layer refines the one before, so now none will
            return next(depth for depth, got in enumerate(found, 1) if np.array_equal(got, found[-1]))
        layer = finer
        found.append(refinement.classes(layer))


def hierarchy(group: Group, subgroups: Sequence[Group | Embedding]) -> "networkx.DiGraph":
    """Which hidden features R^(G/H) of one layer separate at least as much as which: an edge points to the weaker.

    A node is the name of a subgroup, with the attribute `index` = |G/H|; conjugate ones separate the same and share a
    node, `A = B`. Edges that follow from others are left out. A subgroup is a Group with a standard embedding, or an
    `Embedding`.
    Raises ValueError where a subgroup has none, or G is too large to list.
    Source: arXiv:2406.08966 (smaller subgroups separate more).
    """
    networkx = require("networkx", "report")
    listable(group)
    along = [H if isinstance(H, Embedding) else embedding(H, group) for H in subgroups]
    for H in along:
        if H.target != group:
            raise ValueError(f"hierarchy: {H.source} is embedded in {H.target}, not in {group}")
    members = [set(group.index(H(H.source.elements())).tolist()) for H in along]
    below = [[_conjugate_inside(group, H, K) for K in members] for H in along]
    names = [f"{H.source} by {H.name}" if H.name else str(H.source) for H in along]
    graph, nodes = networkx.DiGraph(), []
    for i in range(len(along)):
        same = [j for j in range(len(along)) if below[i][j] and below[j][i]]
        nodes.append(" = ".join(dict.fromkeys(names[j] for j in same)))
        graph.add_node(nodes[i], index=group.order // len(members[i]))
    stronger = ((i, j) for i in range(len(along)) for j in range(len(along)) if below[i][j] and nodes[i] != nodes[j])
    graph.add_edges_from((nodes[i], nodes[j]) for i, j in stronger)
    reduced = networkx.transitive_reduction(graph)
    reduced.add_nodes_from(graph.nodes(data=True))
    return reduced


@dataclass(frozen=True)
class Separation:
    """One pair of inputs: whether the architecture can tell them apart, and by how little values differed."""

    name: str
    separated: bool
    gap: float  # smallest difference in the first layer that counted as one, relative to the largest value


@dataclass(frozen=True)
class SeparationReport:
    """What `report` found; prints as a table."""

    rep_in: Rep
    hidden: tuple[Rep, ...]
    pairs: tuple[Separation, ...]

    @property
    def together(self) -> tuple[str, ...]:
        """Names of the pairs that no choice of weights tells apart."""
        return tuple(pair.name for pair in self.pairs if not pair.separated)

    def __str__(self) -> str:
        width = max((len(pair.name) for pair in self.pairs), default=0)
        lines = [f"{self.rep_in} -> {' -> '.join(map(str, self.hidden))} -> 1 of {self.rep_in.group}"]
        for pair in self.pairs:
            word = "told apart" if pair.separated else "NOT told apart by any weights"
            lines.append(f"  {pair.name:<{width}}  {word}")
        return "\n".join(lines)


def report(
    architecture: nn.Module | Sequence[Rep],
    pairs: Mapping[str, tuple[Tensor, Tensor]] | Iterable[tuple[Tensor, Tensor]],
    *,
    tol: float = TOL,
) -> SeparationReport:
    """Which pairs of inputs an architecture cannot tell apart, whatever its weights.

    architecture: a model, of which the `nn.Linear` layers are read in the order they are registered and must follow on
    each other, or the Reps [rep_in, hidden, hidden, ...]. A last layer into invariants is the read-out; any other is
    taken as one more hidden layer, summed over orbits. Weights, dropped biases and connections around layers are not
    looked at: this is the most that a network of such layers can do. pairs: two flat inputs each, named or not.
    Raises ValueError for layers that do not follow on each other, and as `colours` does.
    """
    rep_in, hidden = _shape(architecture)
    named = pairs.items() if isinstance(pairs, Mapping) else ((f"pair {k}", pair) for k, pair in enumerate(pairs))
    found = []
    for name, (x, y) in named:
        layers, gap = _refine(_pair(x, y), rep_in, hidden, tol, None)
        first, second = refinement.classes(layers[-1])
        found.append(Separation(name, bool(first != second), gap))
    return SeparationReport(rep_in, tuple(hidden), tuple(found))


def _shape(architecture: nn.Module | Sequence[Rep]) -> tuple[Rep, list[Rep]]:
    """rep_in and the hidden Reps."""
    if not isinstance(architecture, nn.Module):
        rep_in, *hidden = architecture
        return rep_in, hidden
    linear = [module for module in architecture.modules() if isinstance(module, Linear)]
    if not linear:
        raise ValueError(f"separation: {type(architecture).__name__} holds no nn.Linear; give its Reps instead")
    for before, after in pairwise(linear):
        if {W for W, _ in before.rep_out.terms} != {W for W, _ in after.rep_in.terms}:
            raise ValueError(
                f"separation: {before!r} is followed by {after!r}, which takes other features; "
                "give the Reps [rep_in, hidden, ...] instead"
            )
    outs = [layer.rep_out for layer in linear]
    read = all(W.dim == 1 and all(factor.is_permutation for factor in W.factors) for W, _ in outs[-1].terms)
    return linear[0].rep_in, outs[:-1] if read and len(outs) > 1 else outs


def _conjugate_inside(group: Group, H: Embedding, K: set[int]) -> bool:
    """Whether some conjugate of the image of H lies in K."""
    elements = group.elements()
    inside = torch.ones(group.order, dtype=torch.bool)
    wanted = torch.tensor(sorted(K))
    images = H(H.source.generators())
    for k in range(group.batch_shape(images)[0]):
        moved = group.compose(group.compose(elements, group.take(images, k)), group.inverse(elements))
        inside &= torch.isin(group.index(moved), wanted)
    return bool(inside.any())


def _pair(x: Tensor, y: Tensor) -> Tensor:
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"separation: x and y must be two flat inputs, got {tuple(x.shape)} and {tuple(y.shape)}")
    return torch.stack([x, y])


def _checked(x: Tensor, rep_in: Rep, hidden: Sequence[Rep]) -> Tensor:
    if x.ndim != 2:
        raise ValueError(f"separation: samples must be [samples, dim], got {tuple(x.shape)}")
    rep_in.check(x)
    if not hidden:
        raise ValueError("separation: give at least one hidden Rep")
    for rep in hidden:
        if rep.group != rep_in.group:
            raise ValueError(f"separation: rep_in belongs to {rep_in.group}, a hidden Rep to {rep.group}")
    return x.detach().to("cpu", torch.float64)


def _refine(x: Tensor, rep_in: Rep, hidden: Sequence[Rep], tol: float, layers) -> tuple[list[np.ndarray], float]:
    x = _checked(x, rep_in, hidden)
    layers = [None] * len(hidden) if layers is None else list(layers)
    if len(layers) != len(hidden):
        raise ValueError(f"separation: {len(hidden)} hidden Reps take {len(hidden)} choices of maps, got {len(layers)}")
    first, gap = refinement.first_layer(x, rep_in, hidden[0], tol, layers[0])
    found = [first]
    for source, target, chosen in zip(hidden, hidden[1:], layers[1:]):
        found.append(refinement.next_layer(found[-1], source, target, chosen))
    return found, gap
