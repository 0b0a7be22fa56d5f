"""A name for an irreducible subspace, read off its character: the same name wherever that irrep is found.

Groups whose irreps have labels (`G.irrep`, `so3.Irreps`) name them so; S(n) by partitions of n; in any other group the
character itself is the name.
"""

from collections.abc import Iterator
from itertools import islice, product

import numpy as np
import torch

from ..groups import DirectProduct, Group, S
from ..groups.group import Element
from ..reps import Product, Rep, known_irreps
from ..reps.pullback import Pulled
from .diagrams.tableaux import shapes, tableaux

MOST_CLASSES = 2000  # conjugacy classes are looked for in groups up to this order
MOST_TRIED = 200  # labels of an infinite group that are tried
MOST_TRIED_EACH = 30  # and of each member of a product


def testers(group: Group) -> Element:
    """Elements whose traces tell irreps apart: one of each conjugacy class of a small group, the cycles of S(n), eight
    fixed samples of any other group."""
    if isinstance(group, S) and type(group) is S:
        return torch.stack([_cycle(group.n, k) for k in range(1, group.n + 1)])
    if group.is_finite and group.order <= MOST_CLASSES:
        return group.take(group.elements(), torch.stack([c[0] for c in group.conjugacy_classes()]))
    return group.sample(8, generator=torch.Generator().manual_seed(0))


def _cycle(n: int, k: int) -> torch.Tensor:
    p = torch.arange(n)
    p[:k] = (p[:k] + 1) % k
    return p


class Names:
    """Finds names of irreps of one group by dimension and character at the elements g of `testers`."""

    def __init__(self, group: Group, g: Element):
        self.group, self.g = group, g
        self._known = list(known_terms(group))
        self._characters: dict[Product, np.ndarray] = {}

    def term(self, dim: int, character: np.ndarray) -> tuple[int, Product] | None:
        """The irrep with a label that has this character, and its place in their order; None where there is none."""
        for place, term in enumerate(self._known):
            if term.dim != dim:
                continue
            if term not in self._characters:
                self._characters[term] = Rep(self.group, [(term, 1)]).character(self.g).numpy()
            if np.abs(self._characters[term] - character).max() < 1e-6:
                return place, term
        return None

    def name(self, dim: int, character: np.ndarray) -> tuple[tuple, str]:
        """A key to sort by, and the name, of an irrep without a label."""
        if type(self.group) is S:
            for place, shape in enumerate(shapes(self.group.n, self.group.n)):
                if tableaux(shape) == dim and np.abs(cycle_characters(shape) - character).max() < 1e-6:
                    return (place,), f"({', '.join(map(str, shape))})"
        if dim == 1 and np.abs(character - 1).max() < 1e-6:
            return (0,), "trivial"
        values = np.round(character, 3) + 0.0
        # the identity is the first class of a finite group; elsewhere the dimension says what it would
        classes = self.group.is_finite and self.group.order <= MOST_CLASSES
        shown = values if classes else np.array([dim, *values[:4]])
        return (1, dim, *(-shown)), f"chi({', '.join(f'{value:g}' for value in shown)})"


def known_terms(group: Group) -> Iterator[Product]:
    """Irreps of a group that have labels, as terms; of a product, the products of one of each member (not of two of
    complex type, which is no irrep). The first `MOST_TRIED` of an infinite group."""
    if not isinstance(group, DirectProduct):
        yield from (Product((irrep,)) for irrep in islice(known_irreps(group) or (), MOST_TRIED))
        return
    members = [list(islice(known_irreps(member) or (), MOST_TRIED_EACH)) for member in group.factors]
    places = product(*(range(len(member)) for member in members))
    for place in sorted(places, key=lambda place: (sum(place), place)):
        chosen = [(i, members[i][k]) for i, k in enumerate(place)]
        if sum(irrep.endo != "R" for _, irrep in chosen) < 2:
            yield Product(tuple(Pulled(group, i, irrep) for i, irrep in chosen if not irrep.is_trivial))


def cycle_characters(shape: tuple[int, ...]) -> np.ndarray:
    """The character of the irrep of S(n) with this shape at cycles of lengths 1..n (Murnaghan and Nakayama).

    These n values determine the shape: they are free generators of the shifted symmetric functions of its rows.
    """
    n, rows = sum(shape), len(shape)
    beads = {shape[i] + rows - 1 - i for i in range(rows)}  # removing a hook of length k moves a bead down by k
    values = np.zeros(n)
    for k in range(1, n + 1):
        for bead in beads:
            if bead < k or bead - k in beads:
                continue
            height = sum(bead - k < other < bead for other in beads)
            moved = sorted(beads - {bead} | {bead - k}, reverse=True)
            rest = tuple(row for i, b in enumerate(moved) if (row := b - rows + 1 + i) > 0)
            values[k - 1] += (-1) ** height * tableaux(rest)
    return values
