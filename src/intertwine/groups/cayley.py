"""Subgroups of a finite group, found by walking its Cayley graph: what functions on the group are pooled to."""

import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch

from .embedding import Embedding, embedding
from .finite import ListedImages, Trivial
from .group import Element, Group
from .permutation import PermutationGroup
from .polygon import Cyclic, Dihedral
from .product import DirectProduct


def subgroup(group: Group, elements: Element) -> Embedding:
    """The subgroup of a finite group that some of its elements, stacked, generate, with its place in the group.

    It is Trivial(), Cyclic(m) or Dihedral(m) where that has a standard embedding, a product of subgroups where the
    group is a product and the subgroup too, and otherwise a PermutationGroup: of the points where the group is made of
    permutations, else of the group's elements by left multiplication.
    Raises ValueError where the group is infinite or has too many elements to list.
    """
    return _named(group, _reached(group, elements))


def subsample(group: Group, generator: int, rate: int, *, generators: Element | None = None) -> Embedding:
    """The subgroup left when one generator s takes steps of s^rate: what is reached from the identity in the Cayley
    graph with the edges v -> v s replaced by v -> v s^rate.

    generator: which of `generators` (stacked; by default `group.generators()`) is s. The index of the subgroup is
    `rate` where the other generators leave s alone; where they bring it back, it is less, and a warning says so.
    Raises ValueError where the order of s is no multiple of the rate, and where the subgroup collapses: two reflections
    of an n-gon generate its rotations together, so leaving out one leaves two elements.
    Source: arXiv:2504.17258, algorithm 1.
    """
    given = group.generators() if generators is None else generators
    (count,) = group.batch_shape(given)
    if not 0 <= generator < count:
        raise ValueError(f"subsample: {group} has generators 0 to {count - 1} here, got {generator}")
    if rate < 1:
        raise ValueError(f"subsample: the rate must be at least 1, got {rate}")
    step = group.take(given, generator)
    power, order = step, 1
    while int(group.index(power)):
        power, order = group.compose(power, step), order + 1
    if order % rate:
        raise ValueError(f"subsample: generator {generator} of {group} has order {order}, no multiple of rate {rate}")
    power = group.identity()
    for _ in range(rate):
        power = group.compose(power, step)
    kept = [power if i == generator else group.take(given, i) for i in range(count)]
    members = _reached(group, _stack(kept))
    reached = group.order / len(members)
    if reached > rate:
        raise ValueError(
            f"subsample: along generator {generator} at rate {rate} {group} collapses to {len(members)} elements, "
            f"a rate of {reached:g}: give other generators, or take subgroup(group, elements) as it is"
        )
    if reached < rate:
        warnings.warn(
            f"subsample: the other generators of {group} bring back steps of generator {generator}: the rate is "
            f"{reached:g} instead of {rate}",
            stacklevel=2,
        )
    return _named(group, members)


def positions(embed: Embedding) -> np.ndarray:
    """Where the elements of the smaller group, in its order, stand in `elements()` of the larger one: int64 [|H|]."""
    return embed.target.index(embed(embed.source.elements())).numpy()


def _stack(elements: Sequence[Element]) -> Element:
    if isinstance(elements[0], tuple):
        return tuple(torch.stack(part) for part in zip(*elements))
    return torch.stack(list(elements))


def _reached(group: Group, elements: Element) -> np.ndarray:
    """Positions of everything reached from the identity by right multiplication, ascending."""
    everything = group.elements()
    (count,) = group.batch_shape(elements)
    steps = [group.index(group.compose(everything, group.take(elements, i))).numpy() for i in range(count)]
    inside = np.zeros(group.order, bool)
    inside[0], front = True, np.zeros(1, np.int64)
    while len(front):
        met = np.unique(np.concatenate([front[:0], *(step[front] for step in steps)]))
        front = met[~inside[met]]
        inside[front] = True
    return np.flatnonzero(inside)


def _named(group: Group, members: np.ndarray) -> Embedding:
    """The subgroup with elements at the given positions, under the best name it has."""
    if len(members) == group.order:
        return embedding(group, group)
    if len(members) == 1:
        return embedding(Trivial(), group)
    if isinstance(group, Cyclic | Dihedral):
        m = len(members)
        for candidate in (Cyclic(m), *([Dihedral(m // 2)] if m % 2 == 0 else [])):
            try:
                found = embedding(candidate, group)
            except ValueError:
                continue
            if set(positions(found)) == set(members):
                return found
    if isinstance(group, DirectProduct) and (found := _member_by_member(group, members)):
        return found
    chosen = group.take(group.elements(), torch.from_numpy(members))
    if isinstance(group, ListedImages):
        return embedding(PermutationGroup(chosen), group, lambda h: h)
    # left multiplication by h is a permutation of all elements, and sends the identity, listed first, to h
    moves = group.index(group.compose(group.reshape(chosen, -1, 1), group.elements()))
    return embedding(PermutationGroup(moves), group, lambda h: group.take(group.elements(), h[..., 0].cpu()))


def _member_by_member(group: DirectProduct, members: np.ndarray) -> Embedding | None:
    """A product of subgroups of the factors, where the subgroup is one."""
    places = [np.unique(part) for part in np.unravel_index(members, [factor.order for factor in group.factors])]
    if math.prod(map(len, places)) != len(members):
        return None
    embeds = [_named(factor, part) for factor, part in zip(group.factors, places)]
    source = DirectProduct(tuple(embed.source for embed in embeds))
    return embedding(source, group, lambda h: tuple(embed(part) for embed, part in zip(embeds, h)))
